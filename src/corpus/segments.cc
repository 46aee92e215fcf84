#include "corpus/segments.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <optional>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "core/parallel.h"
#include "corpus/document_source.h"
#include "io/atomic_file.h"
#include "io/hdf5.h"
#include "io/json.h"
#include "text/encoder_pool.h"
#include "text/min_hash.h"

namespace lastbit::corpus {
namespace {

using nlohmann::json;
using tensor::Tensor;
using text::TokenId;

// 128 bits of a text, to tell whether it was there before.
using ContentHash = std::array<std::uint64_t, 2>;

struct HashOfHash {
  std::size_t operator()(const ContentHash& hash) const { return hash[0]; }
};

// Two multiply-and-fold lanes over words of 8 bytes (in the manner of wyhash). Not against an adversary.
ContentHash content_hash(std::string_view text) {
  const auto fold = [](std::uint64_t a, std::uint64_t b) {
    a = (a ^ a >> 32U) * 0x9fb21c651e98df25U;
    return (a ^ b) * 0xd6e8feb86659fd93U ^ (a >> 29U);
  };
  ContentHash hash{0x243f6a8885a308d3U ^ text.size(), 0x13198a2e03707344U};
  for (std::size_t at = 0; at < text.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + at, std::min<std::size_t>(8, text.size() - at));
    hash[0] = fold(hash[0], word);
    hash[1] = fold(hash[1], word + 0xa4093822299f31d0U);
  }
  return {fold(hash[0], hash[1]), fold(hash[1], hash[0] + 1)};
}

// A document on its way.
struct Draft {
  std::string text;
  std::int64_t bytes = 0;
  std::string_view rejected;  // by which rule
  ContentHash hash{};
  text::MinHashes min_hashes{};
};

// What decides between documents, and grows with their number.
class Duplicates {
 public:
  explicit Duplicates(const PrepareConfig& config)
      : config_(config),
        limit_bytes_(static_cast<std::size_t>(config.memory_mb) * 1'000'000 / 2),
        near_(config.near_threshold) {}

  struct Found {
    std::string_view reason;  // empty: it is new
    std::int64_t of = -1;     // the document that it repeats
  };
  Found find_or_keep(const ContentHash& hash, const text::MinHashes& hashes, std::int64_t document) {
    if (config_.exact_duplicates)
      if (const auto known = exact_.find(hash); known != exact_.end()) return {"exact_duplicate", known->second};
    if (config_.near_duplicates) {
      const std::int64_t of = near_.find_or_keep(hashes, document);
      if (of != text::NearDuplicates::kNone) return {"near_duplicate", of};
    }
    if (config_.exact_duplicates) exact_.emplace(hash, document);
    check_memory();
    return {};
  }

 private:
  void check_memory() const {
    constexpr std::size_t kExactBytes = 56;  // a node of the map and its place in the table
    const std::size_t bytes = exact_.size() * kExactBytes + near_.memory_bytes();
    if (bytes > limit_bytes_)
      core::fail_input("memory_mb: {} documents need more than {} MB to find duplicates among, expected a larger limit",
                       exact_.size(), limit_bytes_ / 1'000'000);
  }

  const PrepareConfig& config_;
  std::size_t limit_bytes_;
  std::unordered_map<ContentHash, std::int64_t, HashOfHash> exact_;
  text::NearDuplicates near_;
};

// What a block becomes, before it is on disk.
struct BlockResult {
  std::vector<std::int64_t> documents;
  std::vector<std::int64_t> lengths;
  std::vector<std::uint64_t> hashes;      // [documents, 2]
  std::vector<std::uint32_t> min_hashes;  // [documents, kMinHashes]
  std::vector<TokenId> tokens;
  PrepareStatistics statistics;
  std::string dropped;
};

json statistics_json(const PrepareStatistics& statistics) {
  return {{"documents", statistics.documents},           {"bytes", statistics.bytes},
          {"kept_documents", statistics.kept_documents}, {"kept_bytes", statistics.kept_bytes},
          {"kept_tokens", statistics.kept_tokens},       {"dropped", statistics.dropped}};
}

PrepareStatistics statistics_of(const json& object) {
  PrepareStatistics statistics;
  statistics.documents = object.at("documents");
  statistics.bytes = object.at("bytes");
  statistics.kept_documents = object.at("kept_documents");
  statistics.kept_bytes = object.at("kept_bytes");
  statistics.kept_tokens = object.at("kept_tokens");
  statistics.dropped = object.at("dropped").get<std::map<std::string, std::int64_t>>();
  return statistics;
}

template <typename T>
Tensor rows(const std::vector<T>& values, std::size_t width = 1) {
  const auto count = static_cast<std::int64_t>(values.size() / width);
  tensor::Shape shape{count};
  if (width > 1) shape.push_back(static_cast<std::int64_t>(width));
  return Tensor::from<T>(std::move(shape), values);
}

std::vector<std::uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }
std::string text_of(const Tensor& bytes) {
  const auto values = bytes.values<std::uint8_t>();
  return {values.begin(), values.end()};
}

class SegmentMaker {
 public:
  SegmentMaker(const PrepareConfig& config, const std::string& folder, const text::Tokenizer& tokenizer,
               const DocumentTokens& document_tokens)
      : config_(config), folder_(folder), document_tokens_(document_tokens), pool_(tokenizer), duplicates_(config) {}

  // Documents are numbered from `first_`.
  Segment segment(std::size_t index, const std::vector<DocumentPlace>& places) {
    if (std::filesystem::exists(meta_path(index))) {
      Segment found = read(index);
      if (found.statistics.documents != std::ssize(places))
        core::fail_input("{}: {} documents, expected {}", meta_path(index), found.statistics.documents, places.size());
      first_ += std::ssize(places);
      return found;
    }
    std::vector<Draft> drafts = draft(places);
    BlockResult result = choose(places, drafts);
    tokenize(drafts, result);
    write(index, result);
    first_ += std::ssize(places);
    return read_back(index, std::move(result));
  }

 private:
  [[nodiscard]] std::string meta_path(std::size_t index) const {
    return fmt::format("{}/segment-{:06}.h5", folder_, index);
  }
  [[nodiscard]] std::string tokens_path(std::size_t index) const {
    return fmt::format("{}/segment-{:06}.tokens", folder_, index);
  }

  std::vector<Draft> draft(const std::vector<DocumentPlace>& places) const {
    std::vector<Draft> drafts(places.size());
    core::parallel_for(std::ssize(places), 8, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
        Draft& now = drafts[i];
        const Document document = read_document(places[i], config_);
        now.bytes = std::ssize(document.text);
        now.text = text::clean_up(document.text, config_.clean);
        now.rejected = text::rejected_by(config_.filter, now.text, document.language, document.url);
        if (!now.rejected.empty()) continue;
        if (config_.exact_duplicates) now.hash = content_hash(now.text);
        if (config_.near_duplicates) now.min_hashes = text::min_hashes(now.text, config_.shingle_words);
      }
    });
    return drafts;
  }

  // One after another: which documents are kept depends on those before them.
  BlockResult choose(const std::vector<DocumentPlace>& places, std::vector<Draft>& drafts) {
    BlockResult result;
    for (std::size_t i = 0; i < drafts.size(); ++i) {
      Draft& now = drafts[i];
      const std::int64_t number = first_ + static_cast<std::int64_t>(i);
      Duplicates::Found found{now.rejected, -1};
      if (now.rejected.empty()) found = duplicates_.find_or_keep(now.hash, now.min_hashes, number);
      result.statistics.documents += 1;
      result.statistics.bytes += now.bytes;
      now.rejected = found.reason;
      if (!found.reason.empty()) {
        json line{{"document", number}, {"place", place_name(places[i], config_)}, {"reason", found.reason}};
        if (found.of >= 0) line["of"] = found.of;
        result.dropped += line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
        result.statistics.dropped[std::string(found.reason)] += 1;
        continue;
      }
      result.statistics.kept_documents += 1;
      result.statistics.kept_bytes += std::ssize(now.text);
      result.documents.push_back(number);
      result.hashes.insert(result.hashes.end(), now.hash.begin(), now.hash.end());
      if (config_.near_duplicates)
        result.min_hashes.insert(result.min_hashes.end(), now.min_hashes.begin(), now.min_hashes.end());
    }
    return result;
  }

  void tokenize(const std::vector<Draft>& drafts, BlockResult& result) {
    std::vector<std::vector<TokenId>> tokens(result.documents.size());
    core::parallel_for(std::ssize(tokens), 8, [&](std::int64_t begin, std::int64_t end) {
      std::unique_ptr<text::Encoder> encoder = pool_.take();
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
        const std::int64_t number = result.documents[i];
        document_tokens_.append(drafts[static_cast<std::size_t>(number - first_)].text, number, *encoder, tokens[i]);
      }
      pool_.give_back(std::move(encoder));
    });
    for (const std::vector<TokenId>& document : tokens) {
      result.lengths.push_back(std::ssize(document));
      result.tokens.insert(result.tokens.end(), document.begin(), document.end());
    }
    result.statistics.kept_tokens = std::ssize(result.tokens);
  }

  // The tokens first: a segment is there when its second file is.
  void write(std::size_t index, const BlockResult& result) const {
    io::AtomicFile tokens(tokens_path(index));
    tokens.write(std::as_bytes(std::span(result.tokens)));
    tokens.commit();
    io::save_hdf5(meta_path(index), {{"documents", rows(result.documents)},
                                     {"lengths", rows(result.lengths)},
                                     {"hashes", rows(result.hashes, 2)},
                                     {"min_hashes", rows(result.min_hashes, text::kMinHashes)},
                                     {"dropped", rows(bytes_of(result.dropped))},
                                     {"statistics", rows(bytes_of(statistics_json(result.statistics).dump()))}});
  }

  [[nodiscard]] Segment read_back(std::size_t index, BlockResult result) const {
    Segment segment{std::move(result.lengths), std::move(result.documents), nullptr, std::move(result.statistics),
                    std::move(result.dropped)};
    open_tokens(index, segment);
    return segment;
  }

  void open_tokens(std::size_t index, Segment& segment) const {
    segment.tokens = std::make_shared<TokenFile>(tokens_path(index), segment.statistics.kept_tokens);
  }

  // A segment of an earlier run; its documents go into the tables of duplicates again.
  Segment read(std::size_t index) {
    const tensor::NamedTensors arrays = io::load_hdf5(meta_path(index));
    for (const char* name : {"documents", "lengths", "hashes", "min_hashes", "dropped", "statistics"})
      if (!arrays.contains(name)) core::fail_input("{}: no dataset '{}'", meta_path(index), name);
    Segment segment;
    const auto documents = arrays.at("documents").values<std::int64_t>();
    const auto lengths = arrays.at("lengths").values<std::int64_t>();
    segment.documents.assign(documents.begin(), documents.end());
    segment.lengths.assign(lengths.begin(), lengths.end());
    segment.dropped = text_of(arrays.at("dropped"));
    segment.statistics = statistics_of(io::parse_json(text_of(arrays.at("statistics")), meta_path(index)));
    const auto hashes = arrays.at("hashes").values<std::uint64_t>();
    const auto min_hashes = arrays.at("min_hashes").values<std::uint32_t>();
    for (std::size_t i = 0; i < documents.size(); ++i) {
      text::MinHashes row{};
      if (config_.near_duplicates)
        std::copy_n(min_hashes.begin() + static_cast<std::ptrdiff_t>(i * text::kMinHashes), text::kMinHashes,
                    row.begin());
      (void)duplicates_.find_or_keep({hashes[2 * i], hashes[2 * i + 1]}, row, documents[i]);
    }
    open_tokens(index, segment);
    return segment;
  }

  const PrepareConfig& config_;
  const std::string& folder_;
  const DocumentTokens& document_tokens_;
  text::EncoderPool pool_;
  Duplicates duplicates_;
  std::int64_t first_ = 0;
};

}  // namespace

void PrepareStatistics::add(const PrepareStatistics& other) {
  documents += other.documents;
  bytes += other.bytes;
  kept_documents += other.kept_documents;
  kept_bytes += other.kept_bytes;
  kept_tokens += other.kept_tokens;
  for (const auto& [reason, count] : other.dropped) dropped[reason] += count;
}

std::vector<Segment> make_segments(const PrepareConfig& config, const std::string& folder,
                                   const text::Tokenizer& tokenizer, const DocumentTokens& document_tokens,
                                   const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
  const auto limit = static_cast<std::size_t>(config.memory_mb) * 1'000'000;
  constexpr std::size_t kMostBlockBytes = 16'000'000;
  DocumentSource source(config.inputs, std::min(kMostBlockBytes, limit / 16), limit / 8);
  SegmentMaker maker(config, folder, tokenizer, document_tokens);
  std::vector<Segment> segments;
  for (auto places = source.next(); !places.empty(); places = source.next()) {
    segments.push_back(maker.segment(segments.size(), places));
    if (progress) progress(source.bytes_done(), source.bytes_in_all());
  }
  return segments;
}

}  // namespace lastbit::corpus
