// An interpolated n-gram model of tokens: what a small network has to beat.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace lastbit::eval {

// Interpolated Kneser-Ney smoothing with one absolute discount (Kneser and Ney, ICASSP 1995; in the form of Chen and
// Goodman, TR-10-98, section 2.7): the highest order counts occurrences, the lower ones the different tokens that
// precede, and the lowest is mixed with the uniform distribution over the vocabulary.
class NgramModel {
 public:
  // Errors (bad input): an order outside 1 ... 8, a discount outside (0, 1), a vocabulary below 1 or above 65535.
  NgramModel(std::int64_t order, std::int64_t vocabulary, double discount = 0.75);

  // Counts a stretch of tokens. Errors (internal): ids outside the vocabulary; counting after nll().
  void add(std::span<const std::int64_t> tokens);
  // -ln P(tokens[i] | up to order - 1 tokens before it).
  [[nodiscard]] double nll(std::span<const std::int64_t> tokens, std::size_t i) const;
  [[nodiscard]] std::int64_t contexts() const;  // different ones, of all orders

 private:
  using Context = std::string;  // two bytes a token
  struct Followers {
    std::unordered_map<std::uint16_t, std::uint32_t> counts;
    std::uint64_t total = 0;
  };
  using Table = std::unordered_map<Context, Followers>;

  std::int64_t order_;
  std::int64_t vocabulary_;
  double discount_;
  std::vector<Table> tables_;  // by length of the context
};

}  // namespace lastbit::eval
