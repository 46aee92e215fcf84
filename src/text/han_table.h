// Where byte-pair encoding may begin with whole code points instead of bytes: a shortcut for Han and kana, of which
// every code point has three bytes and most pieces come once.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lastbit::text {

class BpeModel;
struct Merge;

// It rests on this. Let each merge come after the merges that make its two parts, and each token be made by one merge.
// Then merging by lowest rank is the same as applying merge 0 wherever it fits, then merge 1, and so on. A code point
// that is one token when it stands alone becomes that token in any text before a merge can use the token, unless a
// merge joins a part of it to a neighbour first. So every code point may be replaced by its token at once where no
// token holds the end of the code point on the left with the beginning of the one on the right, one of them in part.
// Tokens that could are few; the two neighbours in question get a flag each, and pieces in which a left flag meets a
// right one go the long way.
class HanTable {
 public:
  // `model`: gives the tokens of single code points; token_bytes: by id. Empty when the merges are not in such an
  // order.
  HanTable(const BpeModel& model, const std::vector<Merge>& merges, const std::array<std::uint32_t, 256>& byte_tokens,
           const std::vector<std::string>& token_bytes);

  // Writes the tokens to begin with to `symbols`, one for every three bytes of `piece` (valid UTF-8). False when the
  // piece has to go the long way.
  bool begin(std::string_view piece, std::uint32_t* symbols) const {
    if (entries_.empty() || piece.size() % 3 != 0) return false;
    bool left = false;
    for (std::size_t at = 0; at < piece.size(); at += 3) {
      const auto first = static_cast<unsigned char>(piece[at]);
      if (first < kFirstLead || first > kLastLead) return false;
      const Entry& entry = entries_[index(piece.data() + at)];
      if (entry.token == kNone || (left && entry.right)) return false;
      left = entry.left;
      *symbols++ = entry.token;
    }
    return true;
  }

 private:
  static constexpr unsigned kFirstLead = 0xe3;  // U+3000 to U+9FFF
  static constexpr unsigned kLastLead = 0xe9;
  static constexpr std::uint32_t kNone = 0xffffffffU;
  struct Entry {
    std::uint32_t token = kNone;
    bool left = false;   // its last bytes may join what follows
    bool right = false;  // its first bytes may join what is before
  };

  static std::size_t index(const char* at) {
    const auto byte = [&](int k) { return static_cast<unsigned char>(at[k]); };
    return (byte(0) - kFirstLead) << 12U | (byte(1) & 0x3fU) << 6U | (byte(2) & 0x3fU);
  }
  void flag_joins(std::string_view bytes);
  void flag(std::string_view before, std::string_view after);

  std::vector<Entry> entries_;
};

}  // namespace lastbit::text
