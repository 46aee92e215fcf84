#include "corpus/document_source.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "core/error.h"

namespace lastbit::corpus {

DocumentSource::DocumentSource(const std::vector<std::string>& inputs, std::size_t block_bytes, std::size_t most_bytes)
    : inputs_(inputs), block_bytes_(block_bytes), most_bytes_(most_bytes) {
  for (const std::string& path : inputs) bytes_in_all_ += std::filesystem::file_size(path);
}

void DocumentSource::check_size(const DocumentPlace& place) const {
  if (place.bytes.size() <= most_bytes_) return;
  core::fail_input("{}{}: a document of {} bytes, expected at most {} (an eighth of memory_mb)", inputs_[place.file],
                   place.line == 0 ? "" : fmt::format(":{}", place.line), place.bytes.size(), most_bytes_);
}

// A block is lines of one file, or files of plain text.
std::vector<DocumentPlace> DocumentSource::next() {
  std::vector<DocumentPlace> places;
  plain_.clear();
  std::size_t bytes = 0;
  while (file_ < inputs_.size() && bytes < block_bytes_) {
    const std::string& path = inputs_[file_];
    if (!is_json_lines(path)) {
      plain_.push_back(io::FileBytes::open(path));
      places.push_back({file_++, 0, plain_.back()->text()});
      bytes += places.back().bytes.size();
      bytes_done_ += places.back().bytes.size();
      continue;
    }
    if (!places.empty()) break;
    if (!lines_) lines_.emplace(path);
    for (const LineBlocks::Line& line : lines_->next(block_bytes_)) {
      places.push_back({file_, line.number, line.text});
      bytes_done_ += line.text.size() + 1;
    }
    if (!places.empty()) break;
    lines_.reset();
    ++file_;
  }
  for (const DocumentPlace& place : places) check_size(place);
  return places;
}

Document read_document(const DocumentPlace& place, const PrepareConfig& config) {
  if (place.line == 0) return {std::string(place.bytes), "", ""};
  std::vector<std::string> fields = parse_json_strings(
      place.bytes, {config.text_field, config.language_field, config.url_field}, place_name(place, config));
  return {std::move(fields[0]), std::move(fields[1]), std::move(fields[2])};
}

std::string place_name(const DocumentPlace& place, const PrepareConfig& config) {
  const std::string& path = config.inputs[place.file];
  return place.line == 0 ? path : fmt::format("{}:{}", path, place.line);
}

}  // namespace lastbit::corpus
