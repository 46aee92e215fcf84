#include "text/fim.h"

#include <algorithm>
#include <vector>

#include "core/error.h"

namespace lastbit::text {
namespace {

// The bytes of the code point at `i`; 0 when there is none in UTF-8 (RFC 3629: no surrogates, no overlong forms).
std::size_t code_point_bytes(std::string_view text, std::size_t i) {
  const auto byte = [&](std::size_t k) { return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0U; };
  const auto follows = [&](std::size_t k, unsigned least = 0x80, unsigned most = 0xbf) {
    return byte(k) >= least && byte(k) <= most;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return follows(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const unsigned least = first == 0xe0 ? 0xa0 : 0x80;
    const unsigned most = first == 0xed ? 0x9f : 0xbf;
    return follows(1, least, most) && follows(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const unsigned least = first == 0xf0 ? 0x90 : 0x80;
    const unsigned most = first == 0xf4 ? 0x8f : 0xbf;
    return follows(1, least, most) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

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
