// What pieces became, for pieces that come again: most of a text is a few thousand words.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "text/bpe_model.h"

namespace lastbit::text {

// Hot: one look-up a piece. A table of 2^16 entries of 32 bytes in which a later piece takes the place of an earlier
// one: pieces of at most 16 bytes and 3 tokens fit, which are nearly all that come again; others are not kept. The key
// is exact: two 8-byte words that overlap, and the length. Not thread-safe: one a thread.
class WordCache {
 public:
  static constexpr std::size_t kLongest = 16;
  static constexpr std::size_t kMostIds = 3;

  struct Entry {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    std::uint16_t length = 0;  // 0: empty
    std::uint16_t count = 0;
    TokenId ids[kMostIds] = {};
  };

  WordCache() : entries_(kEntries) {}

  // Asks for the entry of a piece that will be looked for soon: it is seldom in a near cache.
  void prefetch(std::string_view piece) const {
    if (piece.size() <= kLongest) __builtin_prefetch(&entries_[place(piece)]);
  }

  // The entry where `piece` (1 to kLongest bytes) is or would be; `hit` says which.
  [[nodiscard]] Entry& find(std::string_view piece, bool& hit) {
    Entry key;
    load(piece, key.first, key.last);
    Entry& entry = entries_[place_of(key.first, key.last, piece.size())];
    hit = entry.first == key.first && entry.last == key.last && entry.length == piece.size();
    return entry;
  }

  static void store(Entry& entry, std::string_view piece, const TokenId* ids, std::size_t count) {
    load(piece, entry.first, entry.last);
    entry.length = static_cast<std::uint16_t>(piece.size());
    entry.count = static_cast<std::uint16_t>(count);
    std::memcpy(entry.ids, ids, count * sizeof(TokenId));
  }

 private:
  static constexpr unsigned kBits = 16;
  static constexpr std::size_t kEntries = std::size_t{1} << kBits;

  static std::size_t place_of(std::uint64_t first, std::uint64_t last, std::size_t size) {
    return ((first ^ (last * 0x9e3779b97f4a7c15U) ^ size) * 0xff51afd7ed558ccdU) >> (64 - kBits);
  }
  static std::size_t place(std::string_view piece) {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    load(piece, first, last);
    return place_of(first, last, piece.size());
  }
  template <typename Word>
  static std::uint64_t read(const char* at) {
    Word word = 0;
    std::memcpy(&word, at, sizeof(Word));
    return word;
  }
  // Reads no byte outside the piece.
  static void load(std::string_view piece, std::uint64_t& first, std::uint64_t& last) {
    const char* begin = piece.data();
    const std::size_t size = piece.size();
    if (size >= 8) {
      first = read<std::uint64_t>(begin);
      last = read<std::uint64_t>(begin + size - 8);
    } else if (size >= 4) {
      first = read<std::uint32_t>(begin);
      last = read<std::uint32_t>(begin + size - 4);
    } else {
      first = read<std::uint8_t>(begin) | read<std::uint8_t>(begin + size / 2) << 8U;
      last = read<std::uint8_t>(begin + size - 1);
    }
  }

  std::vector<Entry> entries_;
};

}  // namespace lastbit::text
