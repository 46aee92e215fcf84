// The documents of many files, in order, a block at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "corpus/json_lines.h"
#include "corpus/prepare_config.h"

namespace lastbit::corpus {

// Where a document is: the line of a JSONL file, or a file of plain text (line 0).
struct DocumentPlace {
  std::size_t file = 0;  // index into the inputs
  std::int64_t line = 0;
  std::string_view bytes;  // of the line or the file, until the next block is asked for
};

class DocumentSource {
 public:
  // A block has about `block_bytes`, and at least one document. Errors (bad input): a document above `most_bytes`.
  DocumentSource(const std::vector<std::string>& inputs, std::size_t block_bytes, std::size_t most_bytes);

  // The places of the next documents; empty at the end.
  [[nodiscard]] std::vector<DocumentPlace> next();
  [[nodiscard]] std::uint64_t bytes_done() const { return bytes_done_; }
  [[nodiscard]] std::uint64_t bytes_in_all() const { return bytes_in_all_; }

 private:
  void check_size(const DocumentPlace& place) const;

  const std::vector<std::string>& inputs_;
  std::size_t block_bytes_;
  std::size_t most_bytes_;
  std::size_t file_ = 0;
  std::optional<LineBlocks> lines_;
  std::vector<std::shared_ptr<const io::FileBytes>> plain_;  // files of the block
  std::uint64_t bytes_done_ = 0;
  std::uint64_t bytes_in_all_ = 0;
};

// What the file says about the document. Errors (bad input): as parse_json_line.
struct Document {
  std::string text;
  std::string language;
  std::string url;
};
[[nodiscard]] Document read_document(const DocumentPlace& place, const PrepareConfig& config);

// "x.jsonl:3", or "x.txt".
[[nodiscard]] std::string place_name(const DocumentPlace& place, const PrepareConfig& config);

}  // namespace lastbit::corpus
