// Counts of pairs of tokens while a vocabulary is trained.
#pragma once

#include <cstdint>
#include <vector>

namespace lastbit::text {

// Hot: a hash table with open addressing, millions of look-ups a second. A pair that is not there counts 0; pairs that
// have come to 0 are left out when the table grows.
class PairCounts {
 public:
  static constexpr std::uint32_t kNowhere = 0xffffffffU;
  struct Entry {
    std::uint64_t pair = kEmpty;
    std::int64_t count = 0;
    std::uint32_t step_place = kNowhere;  // the trainer's: where the pair is in its list of this step
  };

  PairCounts() : slots_(kFirstSlots) {}

  // The entry of `pair`, made when it is not there; valid until the next call.
  Entry& at(std::uint64_t pair) {
    Entry* entry = find(pair);
    if (entry->pair == pair) return *entry;
    if ((used_ + 1) * 2 > slots_.size()) {
      grow();
      entry = find(pair);
    }
    ++used_;
    entry->pair = pair;
    return *entry;
  }
  [[nodiscard]] std::int64_t count(std::uint64_t pair) { return find(pair)->count; }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  static constexpr std::size_t kFirstSlots = std::size_t{1} << 16U;

  Entry* find(std::uint64_t pair) {
    const std::size_t mask = slots_.size() - 1;
    std::size_t slot = ((pair * 0x9e3779b97f4a7c15U) >> 20U) & mask;
    while (slots_[slot].pair != pair && slots_[slot].pair != kEmpty) slot = (slot + 1) & mask;
    return &slots_[slot];
  }
  void grow() {
    std::vector<Entry> old(slots_.size() * 2);
    old.swap(slots_);
    used_ = 0;
    for (const Entry& entry : old) {
      if (entry.pair == kEmpty || (entry.count == 0 && entry.step_place == kNowhere)) continue;
      *find(entry.pair) = entry;
      ++used_;
    }
  }

  std::vector<Entry> slots_;
  std::size_t used_ = 0;
};

}  // namespace lastbit::text
