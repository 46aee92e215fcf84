// Tokenizers on files: texts to ids and back, vocabularies from corpora, and what a vocabulary makes of a corpus.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "text/tokenizer.h"
#include "text/word_counts.h"

namespace lastbit::corpus {

// What becomes of bytes that are not UTF-8.
enum class InvalidBytes : std::uint8_t {
  kKeep,     // "bytes": encoded, and decoded, byte by byte
  kReplace,  // "replace": U+FFFD first
};

// tokenizer.json, from a file. Errors as text::parse_tokenizer.
[[nodiscard]] text::Tokenizer load_tokenizer(const std::string& path);

// The lines of `in`: {"text": ...} become {"ids": [...]}, other fields stay. A file of plain text (see is_json_lines)
// becomes one line. In blocks, so that memory does not grow with the file; the same bytes for any number of threads.
// Errors: bad input with file and line; nothing is written then.
void encode_file(const text::Tokenizer& tokenizer, const std::string& in, const std::string& out, InvalidBytes invalid);

// The reverse. Bytes that are not UTF-8 go into the JSON string as they are, unless they are replaced.
void decode_file(const text::Tokenizer& tokenizer, const std::string& in, const std::string& out, InvalidBytes invalid,
                 bool skip_special);

// The pieces of all files, in parallel. progress(bytes done, bytes in all).
[[nodiscard]] text::WordCounts count_words_in_files(
    const std::vector<std::string>& paths, const text::PreTokenizer& pre_tokenizer,
    const std::function<void(std::uint64_t done, std::uint64_t all)>& progress = {});

struct TokenStatistics {
  std::int64_t documents = 0;
  std::int64_t bytes = 0;
  std::int64_t code_points = 0;
  std::int64_t tokens = 0;
  std::int64_t different_tokens = 0;
};
[[nodiscard]] TokenStatistics token_statistics(const text::Tokenizer& tokenizer, const std::vector<std::string>& paths);

}  // namespace lastbit::corpus
