#include "text/fim.h"

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "text/utf8.h"

namespace lastbit::text {
namespace {

// Where each code point starts, and the end of the text.
std::vector<std::size_t> code_point_starts(std::string_view text) {
  std::vector<std::size_t> starts;
  starts.reserve(text.size() + 1);
  for (std::size_t i = 0; i < text.size();) {
    starts.push_back(i);
    const std::size_t bytes = code_point_bytes(text, i);
    if (bytes == 0) core::fail_input("fill in the middle: the text is not UTF-8 at byte {}", i);
    i += bytes;
  }
  starts.push_back(text.size());
  return starts;
}

std::string turned(std::string_view text, const std::vector<std::size_t>& starts, FimCut cut, FimOrder order,
                   const FimMarkers& markers) {
  const std::int64_t code_points = std::ssize(starts) - 1;
  if (cut.begin < 0 || cut.end < cut.begin || code_points < cut.end)
    core::fail_input("fill in the middle: cut [{}, {}) of a text of {} code points", cut.begin, cut.end, code_points);
  const std::size_t begin = starts[static_cast<std::size_t>(cut.begin)];
  const std::size_t end = starts[static_cast<std::size_t>(cut.end)];
  const std::string_view prefix = text.substr(0, begin);
  const std::string_view middle = text.substr(begin, end - begin);
  const std::string_view suffix = text.substr(end);
  std::string result = markers.begin;
  if (order == FimOrder::kPsm) result += prefix;
  (result += markers.hole) += suffix;
  result += markers.end;
  if (order == FimOrder::kSpm) result += prefix;
  (result += middle) += markers.end_of_text;
  return result;
}

}  // namespace

std::string fill_in_middle(std::string_view text, FimCut cut, FimOrder order, const FimMarkers& markers) {
  return turned(text, code_point_starts(text), cut, order, markers);
}

std::optional<FimCut> draw_fim_cut(const core::RandomStream& stream, std::int64_t index, std::int64_t code_points,
                                   double rate) {
  if (!(rate >= 0 && rate <= 1)) core::fail_input("fill in the middle: rate {}, expected a number in [0, 1]", rate);
  if (index < 0 || index >> 32 != 0)
    core::fail_input("fill in the middle: document number {}, expected 0 to 2^32 - 1", index);
  // Ends are drawn from 32-bit words.
  if (code_points < 0 || code_points >> 32 != 0)
    core::fail_input("fill in the middle: {} code points, expected 0 to 2^32 - 1", code_points);
  const core::PhiloxBlock words = stream.block(static_cast<std::uint32_t>(index));
  if (static_cast<double>(words[0]) * 0x1p-32 >= rate) return std::nullopt;
  // floor(word (n + 1) / 2^32): each of the n + 1 places within n + 1 parts in 2^32 of its share. n + 1 may be 2^32.
  const auto places = static_cast<std::uint64_t>(code_points) + 1;
  const auto place = [&](std::uint32_t word) { return static_cast<std::int64_t>((word * places) >> 32); };
  const auto [low, high] = std::minmax({place(words[1]), place(words[2])});
  return FimCut{low, high};
}

std::string fim_document(std::string_view text, const core::RandomStream& stream, std::int64_t index,
                         const FimRule& rule) {
  const std::vector<std::size_t> starts = code_point_starts(text);
  const std::optional<FimCut> cut = draw_fim_cut(stream, index, std::ssize(starts) - 1, rule.rate);
  if (!cut) return std::string(text) + rule.markers.end_of_text;
  return turned(text, starts, *cut, rule.order, rule.markers);
}

}  // namespace lastbit::text
