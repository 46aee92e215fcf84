// Fill in the middle: documents with their middle moved to the end, so that a model learns to write it (Bavarian et
// al., arXiv 2207.14255). On text, before the tokenizer, one document at a time (DeepSeek-V3, arXiv 2412.19437,
// section 4.1).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/philox.h"

namespace lastbit::text {

enum class FimOrder : std::uint8_t {
  kPsm,  // begin prefix hole suffix end middle end_of_text: DeepSeek-V3
  kSpm,  // begin hole suffix end prefix middle end_of_text: a variant that V3 does not use
};

struct FimMarkers {  // defaults: DeepSeek-V3's tokenizer
  std::string begin = "<｜fim▁begin｜>";
  std::string hole = "<｜fim▁hole｜>";
  std::string end = "<｜fim▁end｜>";
  std::string end_of_text = "<｜end▁of▁sentence｜>";
};

// The middle: code points [begin, end) of the text.
struct FimCut {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  friend bool operator==(const FimCut&, const FimCut&) = default;
};

// Errors (bad input): text that is not UTF-8, with the byte; a cut that is not 0 <= begin <= end <= code points.
[[nodiscard]] std::string fill_in_middle(std::string_view text, FimCut cut, FimOrder order,
                                         const FimMarkers& markers = {});

struct FimRule {
  double rate = 0.1;  // share of documents that are turned
  FimOrder order = FimOrder::kPsm;
  FimMarkers markers;
};

// What becomes of document `index` (below 2^32) of `code_points` code points: nothing, or a cut whose two ends are
// uniform and independent over 0 .. code_points, in order. A function of stream and index: block `index` of the stream,
// its words for the choice and the two ends. Errors (bad input): a rate outside [0, 1], a negative number.
[[nodiscard]] std::optional<FimCut> draw_fim_cut(const core::RandomStream& stream, std::int64_t index,
                                                 std::int64_t code_points, double rate);

// The document as it is trained on: turned or as it is, with end_of_text behind it. Errors: as above.
[[nodiscard]] std::string fim_document(std::string_view text, const core::RandomStream& stream, std::int64_t index,
                                       const FimRule& rule);

}  // namespace lastbit::text
