#include "corpus/document_tokens.h"

#include <algorithm>
#include <optional>

#include "core/error.h"
#include "core/philox.h"
#include "text/fim.h"

namespace lastbit::corpus {
namespace {

using text::TokenId;

TokenId require_marker(const text::Tokenizer& tokenizer, const std::string& marker, const PrepareConfig& config) {
  const std::optional<TokenId> id = tokenizer.find(marker);
  if (!id) core::fail_input("{}: no token '{}', which [fim] names", config.tokenizer, marker);
  return *id;
}

bool starts_code_point(char byte) { return (static_cast<unsigned char>(byte) & 0xc0U) != 0x80; }

// Where code point number `index` of valid UTF-8 begins.
std::size_t byte_of(std::string_view text, std::int64_t index) {
  std::size_t at = 0;
  for (; at < text.size(); ++at)
    if (starts_code_point(text[at]) && index-- == 0) break;
  return at;
}

}  // namespace

DocumentTokens::DocumentTokens(const text::Tokenizer& tokenizer, const PrepareConfig& config)
    : config_(config), splitter_(tokenizer, config.line_break_share) {
  const text::FimMarkers& markers = config.fim.markers;
  end_of_text_ = require_marker(tokenizer, markers.end_of_text, config);
  if (config.fim.rate == 0) return;
  begin_ = require_marker(tokenizer, markers.begin, config);
  hole_ = require_marker(tokenizer, markers.hole, config);
  end_ = require_marker(tokenizer, markers.end, config);
}

void DocumentTokens::append(std::string_view text, std::int64_t index, text::Encoder& encoder,
                            std::vector<TokenId>& tokens) const {
  std::vector<TokenId> ids;
  const core::RandomStream stream(config_.seed, "fim");
  const std::int64_t code_points = std::ranges::count_if(text, starts_code_point);
  if (const auto cut = text::draw_fim_cut(stream, index, code_points, config_.fim.rate)) {
    const std::size_t first = byte_of(text, cut->begin);
    const std::size_t second = byte_of(text, cut->end);
    const bool psm = config_.fim.order == text::FimOrder::kPsm;
    ids.push_back(begin_);
    if (psm) encoder.encode_ordinary(text.substr(0, first), ids);
    ids.push_back(hole_);
    encoder.encode_ordinary(text.substr(second), ids);
    ids.push_back(end_);
    if (!psm) encoder.encode_ordinary(text.substr(0, first), ids);
    encoder.encode_ordinary(text.substr(first, second - first), ids);
  } else {
    encoder.encode_ordinary(text, ids);
  }
  ids.push_back(end_of_text_);
  splitter_.apply(ids, config_.seed, static_cast<std::uint64_t>(index), tokens);
}

}  // namespace lastbit::corpus
