#include "sim/workload/token_routing.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/philox.h"
#include "sim/workload/expert_load.h"

namespace lastbit::sim::workload {
namespace {

constexpr std::int64_t kMostChoices = 1'000'000'000;  // 4 GB of them

// Numbers in (0, 1), one after another, of one token.
class TokenRandom {
 public:
  TokenRandom(const core::RandomStream& stream, std::uint64_t token, std::uint64_t words_a_token)
      : stream_(stream), next_(token * words_a_token) {}

  double uniform() {
    if (next_ % 4 == 0 || !filled_) block_ = stream_.block(static_cast<std::uint32_t>(next_ / 4));
    filled_ = true;
    return (block_[next_++ % 4] + 0.5) * 0x1p-32;
  }

 private:
  const core::RandomStream& stream_;
  std::uint64_t next_;
  core::PhiloxBlock block_{};
  bool filled_ = false;
};

// The index at which the running sum of weights [begin, end) passes `share` (0 to 1) of their sum; zeros are passed
// over. Rounding can carry the target past the last sum, so the last weight above 0 takes what is left.
std::size_t pick(const double* begin, const double* end, double share) {
  const double target = share * std::accumulate(begin, end, 0.0);
  double sum = 0;
  const double* last = end;
  for (const double* at = begin; at != end; ++at) {
    if (*at <= 0) continue;
    last = at;
    sum += *at;
    if (target < sum) break;
  }
  core::check(last != end, "something is left to pick");
  return static_cast<std::size_t>(last - begin);
}

void check_rule(std::size_t experts, const ChoiceRule& rule) {
  const auto refuse = [](const char* what, std::int64_t found, std::int64_t most) {
    if (found < 1 || found > most) core::fail_input("routing: {}: found {}, expected 1 to {}", what, found, most);
  };
  const auto all = static_cast<std::int64_t>(experts);
  refuse("experts", all, 1 << 20);
  refuse("groups", rule.groups, all);
  if (all % rule.groups != 0) core::fail_input("routing: {} experts do not divide into {} groups", all, rule.groups);
  refuse("kept groups", rule.kept_groups, rule.groups);
  refuse("top_k", rule.top_k, all / rule.groups * rule.kept_groups);
}

// Draws one token after another; buffers are reused.
class Drawer {
 public:
  Drawer(const std::vector<double>& loads, const ChoiceRule& rule) : loads_(loads), rule_(rule) {
    // Without a limit one group would make every draw a walk over all experts: buckets as large as their number walk
    // the square root of it twice.
    const std::size_t groups = rule.kept_groups == rule.groups ? bucket_count() : static_cast<std::size_t>(rule.groups);
    size_ = loads.size() / groups;
    for (std::size_t g = 0; g < groups; ++g)
      totals_.push_back(std::accumulate(bucket(loads_, g), bucket(loads_, g) + size_, 0.0));
    check_loaded();
  }

  void draw(TokenRandom& random, std::int32_t* into) {
    left_ = loads_;
    weights_ = totals_;
    if (rule_.kept_groups < rule_.groups) keep_groups(random);
    for (int i = 0; i < rule_.top_k; ++i) {
      const std::size_t g = pick(weights_.data(), weights_.data() + weights_.size(), random.uniform());
      double* experts = left_.data() + g * size_;
      const std::size_t inside = pick(experts, experts + size_, random.uniform());
      into[i] = static_cast<std::int32_t>(g * size_ + inside);
      experts[inside] = 0;
      weights_[g] = std::accumulate(experts, experts + size_, 0.0);
    }
  }

 private:
  [[nodiscard]] const double* bucket(const std::vector<double>& loads, std::size_t g) const {
    return loads.data() + g * size_;
  }

  // The divisor of the number of experts that is nearest to its square root from below.
  [[nodiscard]] std::size_t bucket_count() const {
    std::size_t best = 1;
    for (std::size_t d = 1; d * d <= loads_.size(); ++d)
      if (loads_.size() % d == 0) best = d;
    return best;
  }

  void keep_groups(TokenRandom& random) {
    kept_.assign(totals_.size(), 0);
    for (int i = 0; i < rule_.kept_groups; ++i) {
      const std::size_t g = pick(weights_.data(), weights_.data() + weights_.size(), random.uniform());
      kept_[g] = totals_[g];
      weights_[g] = 0;
    }
    weights_ = kept_;
  }

  // A token must find enough experts that are chosen at all, whichever groups it keeps.
  void check_loaded() const {
    std::vector<std::int64_t> loaded;
    for (std::size_t g = 0; g < totals_.size(); ++g)
      loaded.push_back(std::count_if(bucket(loads_, g), bucket(loads_, g) + size_, [](double x) { return x > 0; }));
    std::sort(loaded.begin(), loaded.end());
    std::erase(loaded, 0);
    const bool limited = rule_.kept_groups < rule_.groups;
    const std::size_t kept = limited ? static_cast<std::size_t>(rule_.kept_groups) : loaded.size();
    if (loaded.size() < kept)
      core::fail_input("routing: {} groups have a load, fewer than the {} that a token keeps", loaded.size(), kept);
    const auto least =
        std::accumulate(loaded.begin(), loaded.begin() + static_cast<std::ptrdiff_t>(kept), std::int64_t{0});
    if (least < rule_.top_k)
      core::fail_input("routing: a token may find only {} experts with a load, fewer than its top {}", least,
                       rule_.top_k);
  }

  const std::vector<double>& loads_;
  const ChoiceRule& rule_;
  std::size_t size_ = 1;  // experts of a bucket
  std::vector<double> totals_;
  std::vector<double> left_;
  std::vector<double> weights_;
  std::vector<double> kept_;
};

}  // namespace

RoutedTokens draw_tokens(const std::vector<double>& loads, const ChoiceRule& rule, std::int64_t tokens,
                         std::uint64_t seed, int layer) {
  check_rule(loads.size(), rule);
  const core::RandomStream stream(seed, "token routing", static_cast<std::uint32_t>(layer));
  std::uint64_t words = static_cast<std::uint64_t>(rule.kept_groups) + 2 * static_cast<std::uint64_t>(rule.top_k);
  words = (words + 3) / 4 * 4;  // whole blocks
  const auto most = std::min(static_cast<std::int64_t>((std::uint64_t{1} << 34) / words), kMostChoices / rule.top_k);
  if (tokens < 1 || tokens > most) core::fail_input("routing: found {} tokens, expected 1 to {}", tokens, most);
  RoutedTokens routed{static_cast<int>(loads.size()), rule.top_k, {}};
  routed.choices.resize(static_cast<std::size_t>(tokens) * static_cast<std::size_t>(rule.top_k));
  Drawer drawer(loads, rule);
  for (std::int64_t t = 0; t < tokens; ++t) {
    TokenRandom random(stream, static_cast<std::uint64_t>(t), words);
    drawer.draw(random, routed.choices.data() + t * rule.top_k);
  }
  return routed;
}

RoutedTokens trace_tokens(const io::RoutingTrace& trace, std::size_t layer, std::int64_t step) {
  if (trace.choices.empty())
    core::fail_input("the routing trace of {} has counts alone, expected the tokens' choices", trace.source);
  core::check(layer < trace.layers.size() && step < static_cast<std::int64_t>(trace.steps.size()),
              "a layer and a step of the trace");
  const auto sum = [&trace](std::int64_t steps) {
    return std::accumulate(trace.tokens.begin(), trace.tokens.begin() + steps, std::int64_t{0});
  };
  const std::int64_t first = step < 0 ? 0 : sum(step);
  const std::int64_t end = step < 0 ? sum(static_cast<std::int64_t>(trace.steps.size())) : sum(step + 1);
  RoutedTokens routed{static_cast<int>(trace.experts), static_cast<int>(trace.top_k), {}};
  const auto top_k = static_cast<std::size_t>(trace.top_k);
  for (auto t = static_cast<std::size_t>(first); t < static_cast<std::size_t>(end); ++t) {
    for (std::size_t i = 0; i < top_k; ++i) {
      const std::uint16_t expert = trace.choices[(t * trace.layers.size() + layer) * top_k + i];
      routed.choices.push_back(expert == io::kNoExpert ? -1 : expert);
    }
  }
  return routed;
}

RoutedTokens segment_experts(const RoutedTokens& tokens, int groups, int experts, int top_k, std::uint64_t seed) {
  const bool whole =
      experts >= tokens.experts && experts % tokens.experts == 0 && top_k >= tokens.top_k && top_k % tokens.top_k == 0;
  const int parts = whole ? experts / tokens.experts : 1;
  const int taken = whole ? top_k / tokens.top_k : 1;
  if (!whole || taken > parts) {
    core::fail_input(
        "tokens recorded with {} experts, top {}, cannot be replayed with {}, top {}: expected m times the experts and "
        "q times the choices, whole numbers with q <= m",
        tokens.experts, tokens.top_k, experts, top_k);
  }
  if (static_cast<std::int64_t>(tokens.choices.size()) > kMostChoices / taken)
    core::fail_input("{} tokens, top {}: expected at most {} choices", tokens.tokens(), top_k, kMostChoices);
  const core::RandomStream stream(seed, "expert segments");
  RoutedTokens routed{experts, top_k, {}};
  routed.choices.reserve(tokens.choices.size() * static_cast<std::size_t>(taken));
  std::vector<std::int64_t> chosen;
  std::uint64_t word = 0;
  for (const std::int32_t expert : tokens.choices) {
    chosen.clear();
    // Floyd's draw of q of m: each new number, or the largest allowed so far when it is there already.
    for (std::int64_t most = parts - taken; most < parts; ++most) {
      const auto drawn =
          static_cast<std::int64_t>(std::uint64_t{stream.word(word++)} * static_cast<std::uint64_t>(most + 1) >> 32);
      chosen.push_back(std::find(chosen.begin(), chosen.end(), drawn) == chosen.end() ? drawn : most);
    }
    for (const std::int64_t part : chosen) {
      routed.choices.push_back(
          expert < 0 ? -1 : static_cast<std::int32_t>(finer_expert(expert, part, parts, tokens.experts, groups)));
    }
  }
  return routed;
}

}  // namespace lastbit::sim::workload
