// How often each piece occurs: what training a vocabulary reads of a corpus.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lastbit::text {

class WordCounts {
 public:
  WordCounts();

  // Not thread-safe; one a thread, then add_all() in order.
  void add(std::string_view word, std::uint64_t count = 1);
  void add_all(const WordCounts& other);

  [[nodiscard]] std::size_t size() const { return words_.size(); }
  [[nodiscard]] std::string_view word(std::size_t index) const {
    return {bytes_.data() + words_[index].begin, words_[index].length};
  }
  [[nodiscard]] std::uint64_t count(std::size_t index) const { return words_[index].count; }

 private:
  struct Word {
    std::uint64_t begin;  // in bytes_
    std::uint64_t count;
    std::uint64_t hash;
    std::uint32_t length;
  };
  void grow();

  std::string bytes_;
  std::vector<Word> words_;           // in the order in which they came
  std::vector<std::uint32_t> slots_;  // open addressing: index + 1 into words_, 0 when empty
};

}  // namespace lastbit::text
