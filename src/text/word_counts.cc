#include "text/word_counts.h"

#include <functional>

#include "core/error.h"

namespace lastbit::text {
namespace {

constexpr std::size_t kFirstSlots = 1024;
constexpr std::size_t kMostWords = 0xfffffff0U;

}  // namespace

WordCounts::WordCounts() : slots_(kFirstSlots, 0) {}

void WordCounts::add(std::string_view word, std::uint64_t count) {
  const std::uint64_t hash = std::hash<std::string_view>{}(word);
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = hash & mask;
  for (; slots_[slot] != 0; slot = (slot + 1) & mask) {
    Word& known = words_[slots_[slot] - 1];
    if (known.hash != hash || this->word(slots_[slot] - 1) != word) continue;
    known.count += count;
    return;
  }
  if (words_.size() >= kMostWords) core::fail_input("tokenizer: more than {} different pieces", kMostWords);
  words_.push_back({bytes_.size(), count, hash, static_cast<std::uint32_t>(word.size())});
  bytes_ += word;
  slots_[slot] = static_cast<std::uint32_t>(words_.size());
  if (words_.size() * 2 > slots_.size()) grow();
}

void WordCounts::add_all(const WordCounts& other) {
  for (std::size_t i = 0; i < other.size(); ++i) add(other.word(i), other.count(i));
}

void WordCounts::grow() {
  slots_.assign(slots_.size() * 2, 0);
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t i = 0; i < words_.size(); ++i) {
    std::size_t slot = words_[i].hash & mask;
    while (slots_[slot] != 0) slot = (slot + 1) & mask;
    slots_[slot] = static_cast<std::uint32_t>(i + 1);
  }
}

}  // namespace lastbit::text
