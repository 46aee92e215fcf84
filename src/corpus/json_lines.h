// Documents in files: JSON objects, one a line, or plain text, one document a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "io/file_bytes.h"

namespace lastbit::corpus {

// One object of a JSONL file, with one string field taken out, whose bytes need not be UTF-8.
struct JsonLine {       // NOLINT(bugprone-exception-escape): nlohmann's move checks an invariant
  nlohmann::json rest;  // the object without `field`
  std::string text;
};

// `name` ("x.jsonl:3") precedes messages. Bytes that are not UTF-8 are kept in the field, although JSON has none.
// Errors (bad input): not one object, a key that is there twice, no such field or not a string, bytes that are not
// UTF-8 elsewhere.
[[nodiscard]] JsonLine parse_json_line(std::string_view line, const std::string& field, const std::string& name);

// Strings of a line's object: field k of `fields` at place k, empty when it is missing or no string, but the first has
// to be there. In one pass: what is in other fields is checked to be JSON and left out. Bytes and errors as above.
[[nodiscard]] std::vector<std::string> parse_json_strings(std::string_view line, const std::vector<std::string>& fields,
                                                          const std::string& name);

// The object of a line: strict, in UTF-8.
[[nodiscard]] nlohmann::json parse_json_object(std::string_view line, const std::string& name);

// A JSON string of any bytes: escaped where JSON asks for it, everything else as it is.
[[nodiscard]] std::string json_string(std::string_view bytes);

// The object as one line, with `field` set to `value`, which is JSON text.
[[nodiscard]] std::string json_line(const nlohmann::json& rest, const std::string& field, std::string_view value);

// Whether a file of this name is read line by line: ".jsonl" or ".ndjson"; others are one document of plain text.
[[nodiscard]] bool is_json_lines(const std::string& path);

// The non-empty lines of a file, a block at a time.
class LineBlocks {
 public:
  explicit LineBlocks(const std::string& path);

  struct Line {
    std::string_view text;
    std::int64_t number = 0;  // from 1
  };
  // The next lines, of about `bytes` bytes in all; empty at the end. Views last as long as this object; the memory of
  // earlier ones goes back to the system.
  [[nodiscard]] std::vector<Line> next(std::size_t bytes);

 private:
  std::shared_ptr<const io::FileBytes> file_;
  std::size_t at_ = 0;
  std::int64_t number_ = 0;
};

}  // namespace lastbit::corpus
