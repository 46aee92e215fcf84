#include "text/min_hash.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "text/utf8.h"

namespace lastbit::text {
namespace {

constexpr std::uint32_t kNoNext = 0xffffffffU;

// SplitMix64's finaliser (Steele, Lea, Flood, OOPSLA 2014).
std::uint64_t scramble(std::uint64_t x) {
  x = (x ^ x >> 30U) * 0xbf58476d1ce4e5b9U;
  x = (x ^ x >> 27U) * 0x94d049bb133111ebU;
  return x ^ x >> 31U;
}

struct HashFamily {
  std::array<std::uint32_t, kMinHashes> factor;
  std::array<std::uint32_t, kMinHashes> offset;
};

const HashFamily& hash_family() {
  static const HashFamily family = [] {
    HashFamily made{};
    for (std::size_t i = 0; i < kMinHashes; ++i) {
      const std::uint64_t bits = scramble(0x9e3779b97f4a7c15U * (i + 1));
      made.factor[i] = static_cast<std::uint32_t>(bits) | 1U;
      made.offset[i] = static_cast<std::uint32_t>(bits >> 32U);
    }
    return made;
  }();
  return family;
}

bool is_word_byte(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// Calls visit(hash) for every word.
template <typename Visit>
void for_each_word(std::string_view text, const Visit& visit) {
  std::uint64_t word = 0;
  bool open = false;
  const auto close = [&] {
    if (open) visit(scramble(word));
    word = 0;
    open = false;
  };
  for (std::size_t at = 0; at < text.size();) {
    std::size_t bytes = 0;
    const char32_t value = code_point_at(text, at, bytes);
    at += bytes;
    const bool punctuation = (value >= 0x2000 && value < 0x2070) || (value >= 0x3000 && value < 0x3040) ||
                             (value >= 0xff00 && value < 0xff10) || (value >= 0xa0 && value < 0xc0);
    if (punctuation || (value < 0x80 && !is_word_byte(static_cast<unsigned char>(value)))) {
      close();
    } else if (value >= 0x3040) {  // Han, kana and what lies behind them: a word each
      close();
      visit(scramble(value));
    } else {
      word = (word ^ value) * 0x100000001b3U;
      open = true;
    }
  }
  close();
}

// Hot: 128 hashes of one shingle. Independent lanes of 32 bits, which the compiler turns into vectors; the sum behind
// the product keeps its upper bits, the good ones, through the shift.
void take_smaller(std::uint32_t shingle, const HashFamily& family, MinHashes& smallest) {
  for (std::size_t i = 0; i < kMinHashes; ++i) {
    std::uint32_t hash = shingle * family.factor[i] + family.offset[i];
    hash = (hash ^ hash >> 16U) * 0x85ebca6bU;
    smallest[i] = std::min(smallest[i], hash ^ hash >> 13U);
  }
}

std::size_t rows_for(double threshold) {
  constexpr double kMissed = 0.01;
  std::size_t rows = 1;
  for (std::size_t longer = 2; longer <= 32; ++longer) {
    const std::size_t bands = kMinHashes / longer;
    const double missed = std::pow(1 - std::pow(threshold, static_cast<double>(longer)), static_cast<double>(bands));
    if (missed <= kMissed) rows = longer;
  }
  return rows;
}

}  // namespace

MinHashes min_hashes(std::string_view text, int shingle_words) {
  core::check(shingle_words > 0, "a shingle has at least one word");
  MinHashes smallest;
  smallest.fill(std::numeric_limits<std::uint32_t>::max());
  const HashFamily& family = hash_family();
  std::vector<std::uint64_t> window(static_cast<std::size_t>(shingle_words));  // a ring of the last words
  std::size_t words = 0;
  const auto shingle_of = [&](std::size_t length) {
    std::uint64_t hash = 0;
    for (std::size_t i = 0; i < length; ++i)
      hash = (hash ^ window[(words - length + i) % window.size()]) * 0x9e3779b97f4a7c15U + 1;
    return static_cast<std::uint32_t>(scramble(hash) >> 32U);
  };
  for_each_word(text, [&](std::uint64_t word) {
    window[words++ % window.size()] = word;
    if (words >= window.size()) take_smaller(shingle_of(window.size()), family, smallest);
  });
  if (words < window.size()) take_smaller(shingle_of(words), family, smallest);
  return smallest;
}

NearDuplicates::NearDuplicates(double threshold) : threshold_(threshold), rows_(rows_for(threshold)) {
  if (!(threshold > 0 && threshold <= 1))
    core::fail_input("near duplicates: threshold {}, expected a number in (0, 1]", threshold);
}

std::int64_t NearDuplicates::find_or_keep(const MinHashes& hashes, std::int64_t document) {
  Signature signature;
  for (std::size_t i = 0; i < kMinHashes; ++i) signature[i] = static_cast<std::uint16_t>(hashes[i]);
  std::uint32_t best = kNoNext;
  std::vector<std::uint64_t> keys;
  for (std::size_t band = 0; band < bands(); ++band) {
    std::uint64_t key = band + 1;
    for (std::size_t row = 0; row < rows_; ++row)
      key = scramble(key * 0x9e3779b97f4a7c15U + hashes[band * rows_ + row]);
    keys.push_back(key);
    const auto bucket = buckets_.find(key);
    for (std::uint32_t kept = bucket == buckets_.end() ? kNoNext : bucket->second; kept != kNoNext;
         kept = next_[kept * bands() + band]) {
      if (kept >= best) continue;
      std::size_t equal = 0;
      for (std::size_t i = 0; i < kMinHashes; ++i) equal += signatures_[kept][i] == signature[i] ? 1 : 0;
      if (static_cast<double>(equal) >= threshold_ * static_cast<double>(kMinHashes)) best = kept;
    }
  }
  if (best != kNoNext) return documents_[best];
  const auto index = static_cast<std::uint32_t>(documents_.size());
  documents_.push_back(document);
  signatures_.push_back(signature);
  for (const std::uint64_t key : keys) {
    const auto [bucket, is_new] = buckets_.emplace(key, index);
    next_.push_back(is_new ? kNoNext : bucket->second);
    bucket->second = index;
  }
  return kNone;
}

std::size_t NearDuplicates::memory_bytes() const {
  constexpr std::size_t kBucketBytes = 32;  // a node of the map and its place in the table
  return documents_.size() * (sizeof(std::int64_t) + sizeof(Signature) + bands() * sizeof(std::uint32_t)) +
         buckets_.size() * kBucketBytes;
}

}  // namespace lastbit::text
