#include "corpus/shards.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "io/checksum.h"
#include "io/config_reader.h"
#include "io/file_bytes.h"
#include "io/hdf5.h"
#include "io/json.h"
#include "text/packing.h"

namespace lastbit::corpus {
namespace {

using tensor::Tensor;
using text::TokenId;

// 0 .. count - 1 in an order that depends on seed, purpose and `layer` alone: sorted by 64 random bits, ties by number.
std::vector<std::uint32_t> shuffled(std::size_t count, std::uint64_t seed, std::string_view purpose,
                                    std::uint32_t layer) {
  const core::RandomStream stream(seed, purpose, layer);
  std::vector<std::pair<std::uint64_t, std::uint32_t>> keys(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    const core::PhiloxBlock words = stream.block(i);
    keys[i] = {std::uint64_t{words[0]} << 32U | words[1], i};
  }
  std::ranges::sort(keys);
  std::vector<std::uint32_t> order(count);
  std::ranges::transform(keys, order.begin(), [](const auto& key) { return key.second; });
  return order;
}

// Where a document's tokens are.
struct DocumentRange {
  std::uint32_t segment;
  std::int64_t begin;
  std::int64_t length;
  std::int64_t document;
};

std::vector<DocumentRange> ranges_of(const std::vector<Segment>& segments) {
  std::vector<DocumentRange> ranges;
  for (std::uint32_t s = 0; s < segments.size(); ++s) {
    std::int64_t begin = 0;
    for (std::size_t i = 0; i < segments[s].lengths.size(); ++i) {
      ranges.push_back({s, begin, segments[s].lengths[i], segments[s].documents[i]});
      begin += segments[s].lengths[i];
    }
  }
  return ranges;
}

class ShardWriter {
 public:
  ShardWriter(const PrepareConfig& config, const std::vector<Segment>& segments, TokenId padding)
      : config_(config), segments_(segments), padding_(padding) {}

  ShardEntry write(std::uint32_t number, std::span<const DocumentRange> documents, const std::string& folder,
                   ShardTotals& totals) const {
    std::vector<std::int64_t> lengths;
    for (const DocumentRange& document : documents) lengths.push_back(document.length);
    const text::Packing packing = config_.pack == PackMethod::kBestFit
                                      ? text::best_fit(lengths, config_.window_tokens)
                                      : text::concat_chunk(lengths, config_.window_tokens);
    const text::PackingReport report = text::report(packing);
    totals.windows += std::ssize(packing.windows);
    totals.tokens += report.tokens;
    totals.padding_tokens += report.padding_tokens;
    totals.dropped_tokens += report.dropped_tokens;
    totals.cut_documents += report.cut_documents;
    const std::vector<std::uint32_t> order = shuffled(packing.windows.size(), config_.seed, "window order", number);
    ShardEntry entry;
    entry.file = fmt::format("shard-{:05}.h5", number);
    entry.windows = std::ssize(packing.windows);
    const std::string path = folder + "/" + entry.file;
    io::save_hdf5(path, arrays(packing, order, documents));
    const auto file = io::FileBytes::open(path);
    entry.bytes = std::ssize(file->bytes());
    entry.crc32 = io::crc32_of(file->bytes());
    return entry;
  }

 private:
  [[nodiscard]] tensor::NamedTensors arrays(const text::Packing& packing, const std::vector<std::uint32_t>& order,
                                            std::span<const DocumentRange> documents) const {
    const auto windows = static_cast<std::int64_t>(order.size());
    const auto width = static_cast<std::size_t>(config_.window_tokens);
    Tensor tokens = Tensor::empty(tensor::DType::kU32, {windows, config_.window_tokens});
    Tensor segments = Tensor::empty(tensor::DType::kI32, {windows, config_.window_tokens});
    const std::span<TokenId> all_tokens = tokens.mutable_values<TokenId>();
    const std::span<std::int32_t> all_segments = segments.mutable_values<std::int32_t>();
    core::parallel_for(windows, 16, [&](std::int64_t begin, std::int64_t end) {
      for (auto w = static_cast<std::size_t>(begin); w < static_cast<std::size_t>(end); ++w)
        lay_out(packing, packing.windows[order[w]], documents, all_tokens.subspan(w * width, width),
                all_segments.subspan(w * width, width));
    });
    std::vector<std::int64_t> pieces;
    for (std::int64_t w = 0; w < windows; ++w)
      for (const std::int64_t index : packing.windows[order[static_cast<std::size_t>(w)]]) {
        const text::Piece& piece = packing.pieces[static_cast<std::size_t>(index)];
        const DocumentRange& document = documents[static_cast<std::size_t>(piece.document)];
        pieces.insert(pieces.end(), {w, document.document, piece.offset, piece.length});
      }
    return {{"tokens", std::move(tokens)},
            {"segments", std::move(segments)},
            {"pieces", Tensor::from<std::int64_t>({std::ssize(pieces) / 4, 4}, pieces)}};
  }

  void lay_out(const text::Packing& packing, const std::vector<std::int64_t>& window,
               std::span<const DocumentRange> documents, std::span<TokenId> tokens,
               std::span<std::int32_t> segments) const {
    std::size_t place = 0;
    std::int32_t number = 0;
    for (const std::int64_t index : window) {
      const text::Piece& piece = packing.pieces[static_cast<std::size_t>(index)];
      const DocumentRange& document = documents[static_cast<std::size_t>(piece.document)];
      const std::int64_t begin = document.begin + piece.offset;
      const auto length = static_cast<std::size_t>(piece.length);
      segments_[document.segment].tokens->read(begin, tokens.subspan(place, length));
      std::ranges::fill(segments.subspan(place, length), number++);
      place += length;
    }
    std::fill(tokens.begin() + static_cast<std::ptrdiff_t>(place), tokens.end(), padding_);
    std::fill(segments.begin() + static_cast<std::ptrdiff_t>(place), segments.end(), -1);
  }

  const PrepareConfig& config_;
  const std::vector<Segment>& segments_;
  TokenId padding_;
};

}  // namespace

std::vector<ShardEntry> write_shards(const PrepareConfig& config, const std::vector<Segment>& segments, TokenId padding,
                                     const std::string& folder, ShardTotals& totals,
                                     const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
  std::vector<DocumentRange> ranges = ranges_of(segments);
  if (ranges.size() > std::numeric_limits<std::uint32_t>::max())
    core::fail_input("{}: {} documents, expected at most 2^32 - 1", config.output, ranges.size());
  std::vector<DocumentRange> order;
  order.reserve(ranges.size());
  for (const std::uint32_t i : shuffled(ranges.size(), config.seed, "document order", 0)) order.push_back(ranges[i]);
  ranges = {};
  const ShardWriter writer(config, segments, padding);
  std::vector<ShardEntry> entries;
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin;
    for (std::int64_t tokens = 0; end < order.size() && tokens < config.shard_tokens; ++end)
      tokens += order[end].length;
    entries.push_back(writer.write(static_cast<std::uint32_t>(entries.size()),
                                   std::span(order).subspan(begin, end - begin), folder, totals));
    begin = end;
    if (progress) progress(end, order.size());
  }
  return entries;
}

ShardIndex load_shard_index(const std::string& folder) {
  const std::string path = folder + "/index.json";
  const io::ConfigReader reader(io::load_json(path), path);
  if (const auto format = reader.require<std::string>("format"); format != "lastbit-shards-1")
    reader.fail("format", "lastbit-shards-1");
  ShardIndex index;
  index.folder = folder;
  index.window_tokens = reader.require_in("window_tokens", std::int64_t{1}, std::int64_t{1} << 24U);
  index.id_limit = reader.require_in("id_limit", std::int64_t{1}, std::int64_t{text::kMostTokens});
  for (const io::ConfigReader& entry : reader.require_objects("shards")) {
    ShardEntry shard;
    shard.file = entry.require<std::string>("file");
    if (shard.file.find('/') != std::string::npos) entry.fail("file", "a name without '/'");
    shard.windows = entry.require_in("windows", std::int64_t{0}, std::int64_t{1} << 32U);
    shard.bytes = entry.require_in("bytes", std::int64_t{0}, std::int64_t{1} << 48U);
    shard.crc32 = static_cast<std::uint32_t>(entry.require_in("crc32", std::int64_t{0}, std::int64_t{0xffffffff}));
    index.shards.push_back(shard);
  }
  return index;
}

Shard load_shard(const ShardIndex& index, std::size_t shard) {
  core::check(shard < index.shards.size(), "a shard of the index");
  const ShardEntry& entry = index.shards[shard];
  const std::string path = index.folder + "/" + entry.file;
  const auto file = io::FileBytes::open(path);
  if (std::ssize(file->bytes()) != entry.bytes)
    core::fail_input("{}: {} bytes, expected {} as the index says", path, file->bytes().size(), entry.bytes);
  if (const std::uint32_t sum = io::crc32_of(file->bytes()); sum != entry.crc32)
    core::fail_input("{}: checksum {:08x}, expected {:08x} as the index says", path, sum, entry.crc32);
  Shard result{io::load_hdf5_array(path, "tokens"), io::load_hdf5_array(path, "segments")};
  const tensor::Shape expected{entry.windows, index.window_tokens};
  for (const auto& [name, array, dtype] :
       {std::tuple{"tokens", &result.tokens, tensor::DType::kU32}, {"segments", &result.segments, tensor::DType::kI32}})
    if (array->shape() != expected || array->dtype() != dtype)
      core::fail_input("{}: {} is {} of {}, expected {} of {}", path, name, tensor::to_string(array->shape()),
                       tensor::name(array->dtype()), tensor::to_string(expected), tensor::name(dtype));
  for (const TokenId token : result.tokens.values<TokenId>())
    if (token >= index.id_limit) core::fail_input("{}: token {}, expected one below {}", path, token, index.id_limit);
  return result;
}

}  // namespace lastbit::corpus
