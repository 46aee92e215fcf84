// What `lastbit data prepare` is told.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "text/clean.h"
#include "text/document_filter.h"
#include "text/fim.h"

namespace lastbit::corpus {

enum class PackMethod : std::uint8_t { kBestFit, kConcat };

struct PrepareConfig {
  std::vector<std::string> inputs;  // .jsonl, .ndjson: a document a line; any other file is a document
  std::string text_field = "text";
  std::string language_field = "language";
  std::string url_field = "url";
  text::CleanUp clean;
  text::DocumentFilter filter;
  bool exact_duplicates = true;  // are removed
  bool near_duplicates = true;   // are removed
  double near_threshold = 0.8;
  int shingle_words = 5;
  std::string tokenizer;  // tokenizer.json
  double line_break_share = 0.1;
  text::FimRule fim;
  PackMethod pack = PackMethod::kBestFit;
  std::int64_t window_tokens = 4096;
  std::int64_t shard_tokens = std::int64_t{1} << 22U;  // about
  std::string output;                                  // folder
  std::uint64_t seed = 1;
  std::int64_t memory_mb = 1024;  // for documents, tables of duplicates and shards
};

// From a file, TOML or JSON. Paths are relative to its folder. Errors (bad input): unknown keys with a suggestion,
// values out of range, inputs that are not there.
[[nodiscard]] PrepareConfig load_prepare_config(const std::string& path);

// Everything that decides what comes out, with the sizes of the inputs and a checksum of the tokenizer; not where it
// goes and how much memory that takes.
[[nodiscard]] nlohmann::json effective_config(const PrepareConfig& config);

}  // namespace lastbit::corpus
