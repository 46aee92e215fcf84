// Byte-level byte-pair encoding of one piece: a vocabulary and its merges.
// Source: Sennrich, Haddow, Birch, arXiv 1508.07909; on bytes: Radford et al., GPT-2, 2019.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/han_table.h"

namespace lastbit::text {

using TokenId = std::uint32_t;
inline constexpr TokenId kNoToken = 0xffffffffU;
// Ids lie below this; larger ones are refused, as tables have a place for each id.
inline constexpr TokenId kMostTokens = TokenId{1} << 22U;

struct Merge {
  TokenId left = kNoToken;
  TokenId right = kNoToken;
  TokenId result = kNoToken;
  friend bool operator==(const Merge&, const Merge&) = default;
};

class BpeModel {
 public:
  // byte_tokens[b]: the token of byte b. merges: in order of rank, the first is applied first; of two merges of one
  // pair the later counts. token_bytes: by id. All ids have a place there (the caller has checked them).
  BpeModel(const std::array<TokenId, 256>& byte_tokens, const std::vector<Merge>& merges,
           const std::vector<std::string>& token_bytes);

  // Appends the tokens of `piece`: of all pairs of neighbours the one of lowest rank (ties: the leftmost) is merged,
  // until none has a rank. O(n^2) with a small constant for short pieces, O(n log n) for long ones.
  // `piece` is valid UTF-8.
  void encode(std::string_view piece, std::vector<TokenId>& ids) const;
  // The same for any bytes.
  void encode_bytes(std::string_view piece, std::vector<TokenId>& ids) const;
  // The same by its definition; what tests compare encode() with.
  void encode_plainly(std::string_view piece, std::vector<TokenId>& ids) const;

  static constexpr std::uint32_t kNoRank = 0xffffffffU;
  // kNoRank when the two do not merge.
  [[nodiscard]] std::uint32_t rank(TokenId left, TokenId right) const {
    const std::uint64_t key = std::uint64_t{left} << 32U | right;
    const std::uint64_t mixed = mix(key);
    // Most pairs do not merge. Eight bits a merge, which lie in the second-level cache, say so of seven in eight.
    const std::uint64_t bit = mixed >> filter_shift_;
    if ((filter_[bit / 64] >> (bit % 64) & 1U) == 0) return kNoRank;
    for (std::size_t slot = mixed >> shift_;; slot = (slot + 1) & mask_) {
      if (slots_[slot].key == key) return slots_[slot].rank;
      if (slots_[slot].rank == kNoRank) return kNoRank;
    }
  }

 private:
  struct Slot {
    std::uint64_t key = ~std::uint64_t{0};
    std::uint32_t rank = kNoRank;  // kNoRank: empty
  };
  static std::uint64_t mix(std::uint64_t key) { return key * 0x9e3779b97f4a7c15U; }
  void insert(std::uint64_t key, std::uint32_t rank);
  // Tokens and the ranks of their pairs: ranks[i] of symbols i and i + 1, the last is kNoRank.
  static constexpr std::size_t kLongestShort = 128;  // bytes; above, a queue is faster than looking at every pair
  struct Symbols {
    std::array<TokenId, kLongestShort> ids;
    std::array<std::uint32_t, kLongestShort> ranks;
    std::size_t count = 0;
  };
  void merge(Symbols& symbols, std::vector<TokenId>& ids) const;
  void encode_long(std::string_view piece, std::vector<TokenId>& ids) const;

  std::array<TokenId, 256> byte_tokens_{};
  std::vector<TokenId> results_;           // by rank
  std::vector<std::uint32_t> byte_ranks_;  // [256, 256]: of pairs of bytes
  std::vector<Slot> slots_;                // open addressing, at most half full
  std::size_t mask_ = 0;
  unsigned shift_ = 0;
  std::vector<std::uint64_t> filter_;  // bits of pairs that may merge
  unsigned filter_shift_ = 0;
  std::optional<HanTable> han_;
};

}  // namespace lastbit::text
