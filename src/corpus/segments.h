// The first half of data preparation: documents become tokens, block by block, and duplicates go. Each block leaves a
// segment on disk, from which an interrupted run goes on.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "corpus/document_tokens.h"
#include "corpus/prepare_config.h"
#include "corpus/token_file.h"
#include "text/tokenizer.h"

namespace lastbit::corpus {

struct PrepareStatistics {
  std::int64_t documents = 0;  // read
  std::int64_t bytes = 0;      // of their text as it was read
  std::int64_t kept_documents = 0;
  std::int64_t kept_bytes = 0;                  // of their text after the clean-up
  std::int64_t kept_tokens = 0;                 // end tokens included
  std::map<std::string, std::int64_t> dropped;  // documents by reason
  void add(const PrepareStatistics& other);
};

// A segment on disk.
struct Segment {
  std::vector<std::int64_t> lengths;        // tokens of each document that was kept
  std::vector<std::int64_t> documents;      // their numbers among all documents read
  std::shared_ptr<const TokenFile> tokens;  // of all documents, one after another
  PrepareStatistics statistics;
  std::string dropped;  // lines of JSON
};

// Makes the segments of a config below `folder`, or finds those that are there. progress(bytes done, in all).
// Errors (bad input): what is wrong with a document, with file and line; tables of duplicates that outgrow memory_mb;
// a segment that is damaged.
[[nodiscard]] std::vector<Segment> make_segments(
    const PrepareConfig& config, const std::string& folder, const text::Tokenizer& tokenizer,
    const DocumentTokens& document_tokens,
    const std::function<void(std::uint64_t done, std::uint64_t all)>& progress = {});

}  // namespace lastbit::corpus
