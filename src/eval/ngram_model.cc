#include "eval/ngram_model.h"

#include <algorithm>

#include "core/error.h"
#include "numerics/elementary.h"

namespace lastbit::eval {
namespace {

constexpr std::int64_t kMostOrders = 8;
constexpr std::int64_t kMostTokens = 65535;

std::string context_of(std::span<const std::int64_t> tokens) {
  std::string context;
  for (const std::int64_t token : tokens) {
    context += static_cast<char>(token & 0xFF);
    context += static_cast<char>(token >> 8U);
  }
  return context;
}

}  // namespace

NgramModel::NgramModel(std::int64_t order, std::int64_t vocabulary, double discount)
    : order_(order), vocabulary_(vocabulary), discount_(discount), tables_(static_cast<std::size_t>(order)) {
  if (order < 1 || order > kMostOrders)
    core::fail_input("n-gram model: order {}, expected 1 to {}", order, kMostOrders);
  if (vocabulary < 1 || vocabulary > kMostTokens)
    core::fail_input("n-gram model: a vocabulary of {}, expected 1 to {}", vocabulary, kMostTokens);
  if (!(discount > 0 && discount < 1)) core::fail_input("n-gram model: discount {}, expected one in (0, 1)", discount);
}

void NgramModel::add(std::span<const std::int64_t> tokens) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    core::check(tokens[i] >= 0 && tokens[i] < vocabulary_, "tokens of the vocabulary");
    const auto token = static_cast<std::uint16_t>(tokens[i]);
    // The longest context counts; shorter ones count a token once for each token that first precedes them.
    for (std::size_t length = std::min(i, static_cast<std::size_t>(order_ - 1)) + 1; length-- > 0;) {
      Followers& followers = tables_[length][context_of(tokens.subspan(i - length, length))];
      std::uint32_t& count = followers.counts[token];
      const bool known = count > 0;
      ++count;
      ++followers.total;
      if (known) break;
    }
  }
}

double NgramModel::nll(std::span<const std::int64_t> tokens, std::size_t i) const {
  double probability = 1 / static_cast<double>(vocabulary_);
  const auto token = static_cast<std::uint16_t>(tokens[i]);
  for (std::size_t length = 0; length <= std::min(i, static_cast<std::size_t>(order_ - 1)); ++length) {
    const Table& table = tables_[length];
    const auto found = table.find(context_of(tokens.subspan(i - length, length)));
    if (found == table.end()) break;
    const Followers& followers = found->second;
    const auto total = static_cast<double>(followers.total);
    const auto different = static_cast<double>(followers.counts.size());
    const auto count = followers.counts.find(token);
    const double kept =
        count == followers.counts.end() ? 0 : std::max(static_cast<double>(count->second) - discount_, 0.0);
    probability = kept / total + discount_ * different / total * probability;
  }
  return -numerics::log(probability);
}

std::int64_t NgramModel::contexts() const {
  std::int64_t all = 0;
  for (const Table& table : tables_) all += std::ssize(table);
  return all;
}

}  // namespace lastbit::eval
