#include "text/han_table.h"

#include "text/bpe_model.h"
#include "text/utf8.h"

namespace lastbit::text {
namespace {

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xc0U) == 0x80; }

bool is_ordered(const std::vector<Merge>& merges, const std::array<TokenId, 256>& byte_tokens, std::size_t tokens) {
  std::vector<bool> made(tokens);
  for (const TokenId token : byte_tokens) made[token] = true;
  for (const Merge& merge : merges) {
    if (!made[merge.left] || !made[merge.right] || made[merge.result]) return false;
    made[merge.result] = true;
  }
  return true;
}

// Boundaries of code points in a run of bytes that may begin and end inside one: where no continuation byte follows.
std::vector<std::size_t> boundaries_of(std::string_view bytes) {
  std::vector<std::size_t> boundaries;
  for (std::size_t at = 1; at < bytes.size(); ++at)
    if (!is_continuation(bytes[at])) boundaries.push_back(at);
  return boundaries;
}

}  // namespace

HanTable::HanTable(const BpeModel& model, const std::vector<Merge>& merges,
                   const std::array<std::uint32_t, 256>& byte_tokens, const std::vector<std::string>& token_bytes) {
  if (!is_ordered(merges, byte_tokens, token_bytes.size())) return;
  entries_.resize((kLastLead - kFirstLead + 1) << 12U);
  std::vector<TokenId> ids;
  for (char32_t value = 0x3000; value < 0xa000; ++value) {
    std::string symbol;
    append_utf8(symbol, value);
    ids.clear();
    model.encode_bytes(symbol, ids);
    if (ids.size() == 1) entries_[index(symbol.data())].token = ids.front();
  }
  for (const Merge& merge : merges) flag_joins(token_bytes[merge.result]);
}

// Flags what may join at each boundary in a token that begins or ends inside a code point.
void HanTable::flag_joins(std::string_view bytes) {
  for (const char byte : bytes)
    if (const auto value = static_cast<unsigned char>(byte);
        !is_continuation(byte) && (value < kFirstLead || value > kLastLead))
      return;  // not in a text of these code points
  const std::vector<std::size_t> boundaries = boundaries_of(bytes);
  if (boundaries.empty()) return;
  const bool starts_inside = is_continuation(bytes.front());
  const bool ends_inside = bytes.size() - boundaries.back() < 3;
  if (starts_inside) flag(bytes.substr(0, boundaries.front()), bytes.substr(boundaries.front(), 3));
  if (ends_inside) {
    const std::size_t end = boundaries.back();
    flag(bytes.substr(end >= 3 ? end - 3 : 0, end >= 3 ? 3 : end), bytes.substr(end));
  }
}

// before: the last bytes of the code point on the left; after: the first ones of that on the right; 1 to 3 of each.
void HanTable::flag(std::string_view before, std::string_view after) {
  const auto for_each = [&](std::string_view fixed, std::size_t from, const auto& set) {
    const auto fits = [&](std::size_t place, unsigned byte) {
      return place < from || place >= from + fixed.size() || static_cast<unsigned char>(fixed[place - from]) == byte;
    };
    for (unsigned lead = kFirstLead; lead <= kLastLead; ++lead)
      for (unsigned middle = 0x80; fits(0, lead) && middle < 0xc0; ++middle)
        for (unsigned last = 0x80; fits(1, middle) && last < 0xc0; ++last)
          if (fits(2, last)) set(entries_[(lead - kFirstLead) << 12U | (middle & 0x3fU) << 6U | (last & 0x3fU)]);
  };
  for_each(before, 3 - before.size(), [](Entry& entry) { entry.left = true; });
  for_each(after, 0, [](Entry& entry) { entry.right = true; });
}

}  // namespace lastbit::text
