#include "corpus/tokenize_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "core/error.h"
#include "core/parallel.h"
#include "corpus/json_lines.h"
#include "io/atomic_file.h"
#include "text/bpe_trainer.h"
#include "text/tokenizer_file.h"
#include "text/utf8.h"

namespace lastbit::corpus {
namespace {

using nlohmann::json;
using text::TokenId;

constexpr std::size_t kBlockBytes = std::size_t{16} << 20U;  // of a file, in memory at a time
constexpr std::size_t kTextChunk = std::size_t{1} << 20U;    // of plain text, for counting words

// A block of documents: views into the file, or into `lines`.
struct DocumentBlock {
  std::vector<JsonLine> lines;
  std::vector<std::string> replaced;
  std::vector<std::string_view> texts;
};

std::string line_name(const std::string& path, std::int64_t number) { return fmt::format("{}:{}", path, number); }

void parse_lines(const std::vector<LineBlocks::Line>& lines, const std::string& path, DocumentBlock& block) {
  block.lines.resize(lines.size());
  core::parallel_for(std::ssize(lines), 16, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
      block.lines[i] = parse_json_line(lines[i].text, "text", line_name(path, lines[i].number));
  });
  for (const JsonLine& line : block.lines) block.texts.emplace_back(line.text);
}

void replace_invalid(DocumentBlock& block) {
  block.replaced.resize(block.texts.size());
  for (std::size_t i = 0; i < block.texts.size(); ++i) {
    if (text::valid_utf8_prefix(block.texts[i]) == block.texts[i].size()) continue;
    block.replaced[i] = text::replace_invalid_utf8(block.texts[i]);
    block.texts[i] = block.replaced[i];
  }
}

// Calls visit(block) for the documents of a file, block by block.
template <typename Visit>
void for_each_block(const std::string& path, InvalidBytes invalid, const Visit& visit) {
  const auto hand_over = [&](DocumentBlock& block) {
    if (invalid == InvalidBytes::kReplace) replace_invalid(block);
    visit(block);
  };
  if (!is_json_lines(path)) {
    const auto file = io::FileBytes::open(path);
    DocumentBlock block;
    block.texts.push_back(file->text());
    hand_over(block);
    return;
  }
  LineBlocks blocks(path);
  for (auto lines = blocks.next(kBlockBytes); !lines.empty(); lines = blocks.next(kBlockBytes)) {
    DocumentBlock block;
    parse_lines(lines, path, block);
    hand_over(block);
  }
}

std::string ids_json(const std::vector<TokenId>& ids) {
  std::string text = "[";
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) text += ',';
    text += fmt::format_int(ids[i]).c_str();
  }
  return text += ']';
}

std::vector<TokenId> ids_of(const json& object, const std::string& name) {
  const auto found = object.find("ids");
  if (found == object.end()) core::fail_input("{}: no 'ids'", name);
  if (!found->is_array()) core::fail_input("{}: 'ids' is {}, expected an array", name, found->type_name());
  std::vector<TokenId> ids;
  ids.reserve(found->size());
  for (const json& id : *found) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= text::kMostTokens)
      core::fail_input("{}: ids[{}] is {}, expected a token's id", name, ids.size(), id.dump().substr(0, 60));
    ids.push_back(id.get<TokenId>());
  }
  return ids;
}

std::string decode_line(const text::Tokenizer& tokenizer, json object, const std::string& name, InvalidBytes invalid,
                        bool skip_special) {
  const std::vector<TokenId> ids = ids_of(object, name);
  object.erase("ids");
  std::string bytes;
  try {
    bytes = tokenizer.decode(ids, skip_special);
  } catch (const core::Error& error) {
    throw core::Error(error.kind(), name + ": " + error.what());
  }
  if (invalid == InvalidBytes::kReplace) bytes = text::replace_invalid_utf8(bytes);
  return json_line(object, "text", json_string(bytes));
}

// Where a chunk of plain text may end: behind a line break that a letter follows, where DeepSeek's splits always cut.
std::size_t chunk_end(std::string_view text, std::size_t begin) {
  if (text.size() - begin <= kTextChunk) return text.size();
  for (std::size_t at = begin + kTextChunk; at + 1 < text.size(); ++at) {
    const char next = text[at + 1];
    const bool letter = (next >= 'a' && next <= 'z') || (next >= 'A' && next <= 'Z');
    if (text[at] == '\n' && letter) return at + 1;
  }
  return text.size();
}

std::vector<std::string_view> chunks_of(std::string_view text, const text::PreTokenizer& pre_tokenizer) {
  if (!pre_tokenizer.is_deepseek()) return {text};
  std::vector<std::string_view> chunks;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = chunk_end(text, at);
    chunks.push_back(text.substr(at, end - at));
    at = end;
  }
  return chunks;
}

// Counts texts in parallel into `total`: each range on its own, joined in order.
void count_texts(const std::vector<std::string_view>& texts, const text::PreTokenizer& pre_tokenizer,
                 text::WordCounts& total) {
  const std::int64_t parts = std::min<std::int64_t>(core::num_threads(), std::ssize(texts));
  std::vector<text::WordCounts> counts(static_cast<std::size_t>(std::max<std::int64_t>(parts, 0)));
  core::parallel_for(parts, 1, [&](std::int64_t part, std::int64_t) {
    const std::int64_t begin = part * std::ssize(texts) / parts;
    const std::int64_t end = (part + 1) * std::ssize(texts) / parts;
    for (std::int64_t i = begin; i < end; ++i)
      text::count_words(texts[static_cast<std::size_t>(i)], pre_tokenizer, counts[static_cast<std::size_t>(part)]);
  });
  for (const text::WordCounts& part : counts) total.add_all(part);
}

}  // namespace

text::Tokenizer load_tokenizer(const std::string& path) {
  return text::parse_tokenizer(io::FileBytes::open(path)->text(), path);
}

void encode_file(const text::Tokenizer& tokenizer, const std::string& in, const std::string& out,
                 InvalidBytes invalid) {
  io::AtomicFile file(out);
  for_each_block(in, invalid, [&](const DocumentBlock& block) {
    const std::vector<std::vector<TokenId>> ids = tokenizer.encode_batch(block.texts);
    for (std::size_t i = 0; i < ids.size(); ++i)
      file.write(json_line(block.lines.empty() ? json::object() : block.lines[i].rest, "ids", ids_json(ids[i])));
  });
  file.commit();
}

void decode_file(const text::Tokenizer& tokenizer, const std::string& in, const std::string& out, InvalidBytes invalid,
                 bool skip_special) {
  io::AtomicFile file(out);
  LineBlocks blocks(in);
  for (auto lines = blocks.next(kBlockBytes); !lines.empty(); lines = blocks.next(kBlockBytes)) {
    std::vector<std::string> results(lines.size());
    core::parallel_for(std::ssize(lines), 16, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
        const std::string name = line_name(in, lines[i].number);
        results[i] = decode_line(tokenizer, parse_json_object(lines[i].text, name), name, invalid, skip_special);
      }
    });
    for (const std::string& line : results) file.write(line);
  }
  file.commit();
}

text::WordCounts count_words_in_files(const std::vector<std::string>& paths, const text::PreTokenizer& pre_tokenizer,
                                      const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
  std::uint64_t all = 0;
  for (const std::string& path : paths) all += io::FileBytes::open(path)->bytes().size();
  text::WordCounts total;
  std::uint64_t done = 0;
  for (const std::string& path : paths) {
    for_each_block(path, InvalidBytes::kReplace, [&](const DocumentBlock& block) {
      std::vector<std::string_view> texts;
      for (const std::string_view document : block.texts) {
        const std::vector<std::string_view> chunks = chunks_of(document, pre_tokenizer);
        texts.insert(texts.end(), chunks.begin(), chunks.end());
        done += document.size();
      }
      count_texts(texts, pre_tokenizer, total);
      if (progress) progress(std::min(done, all), all);
    });
  }
  return total;
}

TokenStatistics token_statistics(const text::Tokenizer& tokenizer, const std::vector<std::string>& paths) {
  TokenStatistics statistics;
  std::vector<bool> used(tokenizer.id_limit());
  for (const std::string& path : paths) {
    for_each_block(path, InvalidBytes::kKeep, [&](const DocumentBlock& block) {
      for (const std::string_view document : block.texts) {
        ++statistics.documents;
        statistics.bytes += std::ssize(document);
        statistics.code_points += std::ranges::count_if(
            document, [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0U) != 0x80; });
      }
      for (const std::vector<TokenId>& ids : tokenizer.encode_batch(block.texts)) {
        statistics.tokens += std::ssize(ids);
        for (const TokenId id : ids) used[id] = true;
      }
    });
  }
  statistics.different_tokens = std::count(used.begin(), used.end(), true);
  return statistics;
}

}  // namespace lastbit::corpus
