// Verbs as text, written and read.
#include <fmt/format.h>

#include <charconv>
#include <limits>

#include "sim/schedule/schedule.h"

namespace lastbit::sim::schedule {
namespace {

// A number at the front of `text`, which it then leaves; -1 if there is none that fits.
std::int32_t take_number(std::string_view& text) {
  std::int32_t number = -1;
  if (text.empty() || text.front() < '0' || text.front() > '9') return -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return -1;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number;
}

// The whole of `text` as a chunk's label.
std::optional<Chunk> parse_chunk(std::string_view text, LabelStyle style) {
  const std::int32_t first = take_number(text);
  std::int32_t second = 0;
  if (!text.empty()) {
    if (text.front() != '.') return std::nullopt;
    text.remove_prefix(1);
    second = take_number(text);
  } else if (style == LabelStyle::kDirection) {
    return std::nullopt;
  }
  const std::int32_t slot = style == LabelStyle::kChunk ? second : first;
  const std::int32_t micro_batch = style == LabelStyle::kChunk ? first : second;
  if (!text.empty() || slot < 0 || micro_batch < 0 || slot > std::numeric_limits<std::int16_t>::max())
    return std::nullopt;
  return Chunk{micro_batch, static_cast<std::int16_t>(slot)};
}

std::optional<Op> parse_single(std::string_view text, LabelStyle style) {
  const auto starts = [&text](std::string_view prefix) {
    const bool found = text.starts_with(prefix);
    if (found) text.remove_prefix(prefix.size());
    return found;
  };
  Op op;
  if (starts("F")) {
    op.verb = Verb::kForward;
  } else if (starts("BW")) {
    op.verb = Verb::kBackward;
  } else if (starts("Bi")) {
    op.verb = Verb::kBackwardInput;
  } else if (starts("B")) {
    op.verb = style == LabelStyle::kChunk ? Verb::kBackwardInput : Verb::kBackward;
  } else if (starts("W")) {
    op.verb = Verb::kWeight;
  } else {
    return std::nullopt;
  }
  const std::optional<Chunk> chunk = parse_chunk(text, style);
  if (!chunk) return std::nullopt;
  op.chunk = *chunk;
  return op;
}

}  // namespace

std::string chunk_label(const Chunk& chunk, LabelStyle style) {
  return style == LabelStyle::kChunk ? fmt::format("{}.{}", chunk.micro_batch, chunk.slot)
                                     : fmt::format("{}.{}", chunk.slot, chunk.micro_batch);
}

std::string label(const Op& op, LabelStyle style) {
  const bool chunked = style == LabelStyle::kChunk;
  const std::string first = chunk_label(op.chunk, style);
  switch (op.verb) {
    case Verb::kForward:
      return "F" + first;
    case Verb::kBackward:
      return (chunked ? "BW" : "B") + first;
    case Verb::kBackwardInput:
      return (chunked ? "B" : "Bi") + first;
    case Verb::kWeight:
      return "W" + first;
    case Verb::kFused:
      return fmt::format("F{}&{}{}", first, chunked ? "BW" : "B", chunk_label(op.second, style));
  }
  return {};
}

std::optional<Op> parse_label(std::string_view text, LabelStyle style) {
  const std::size_t both = text.find('&');
  if (both == std::string_view::npos) return parse_single(text, style);
  const std::optional<Op> forward = parse_single(text.substr(0, both), style);
  const std::optional<Op> backward = parse_single(text.substr(both + 1), style);
  if (!forward || !backward || forward->verb != Verb::kForward || backward->verb != Verb::kBackward)
    return std::nullopt;
  return Op{Verb::kFused, forward->chunk, backward->chunk};
}

}  // namespace lastbit::sim::schedule
