// Near-duplicate documents by MinHash and locality-sensitive hashing.
// Sources: Broder, "On the resemblance and containment of documents", 1997; Leskovec, Rajaraman, Ullman, "Mining of
// Massive Datasets", chapter 3; 16-bit signatures: Li, Koenig, "b-bit minwise hashing", arXiv 0910.3349.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lastbit::text {

inline constexpr std::size_t kMinHashes = 128;
using MinHashes = std::array<std::uint32_t, kMinHashes>;

// The smallest of 128 hashes over the document's shingles: runs of `shingle_words` words. A word is a run of letters,
// digits and '_' outside of Han and kana, of which each code point is a word; a document with fewer words is one
// shingle. text: valid UTF-8. A function of the text alone.
[[nodiscard]] MinHashes min_hashes(std::string_view text, int shingle_words);

// Documents that were kept, found again by what is near to them.
class NearDuplicates {
 public:
  // threshold: Jaccard similarity of shingles in (0, 1] from which two documents count as duplicates. Bands are as long
  // as they may be for a pair at the threshold to become a candidate with probability 0.99.
  explicit NearDuplicates(double threshold);

  static constexpr std::int64_t kNone = -1;
  // The earliest document whose signature agrees with `hashes` in at least `threshold` of its places, among those that
  // share a band; kNone when there is none, and then `document` is kept under this number.
  std::int64_t find_or_keep(const MinHashes& hashes, std::int64_t document);

  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] std::size_t bands() const { return kMinHashes / rows_; }
  // Bytes held, about: what a limit of memory is compared with.
  [[nodiscard]] std::size_t memory_bytes() const;

 private:
  using Signature = std::array<std::uint16_t, kMinHashes>;

  double threshold_;
  std::size_t rows_;
  std::vector<std::int64_t> documents_;
  std::vector<Signature> signatures_;
  // By band and hash of its rows: the first kept document in it; next_ leads to the others.
  std::unordered_map<std::uint64_t, std::uint32_t> buckets_;
  std::vector<std::uint32_t> next_;  // [documents, bands]
};

}  // namespace lastbit::text
