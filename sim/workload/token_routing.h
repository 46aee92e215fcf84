// Which experts each token chooses: drawn from loads, or replayed from a recorded trace.
#pragma once

#include <cstdint>
#include <vector>

#include "io/routing_trace.h"

namespace lastbit::sim::workload {

// Experts [tokens, top_k] of one layer; -1: none (a dropped choice).
struct RoutedTokens {
  int experts = 0;
  int top_k = 0;
  std::vector<std::int32_t> choices;

  [[nodiscard]] std::int64_t tokens() const { return static_cast<std::int64_t>(choices.size()) / top_k; }
};

struct ChoiceRule {
  int top_k = 1;
  int groups = 1;       // of experts, in order
  int kept_groups = 1;  // a token chooses among the experts of so many groups; = groups: no limit
};

// Draws `tokens` tokens: `kept_groups` groups without replacement, each in proportion to its load, then top_k of their
// experts without replacement, each in proportion to its load. With even loads this is the uniform routing of
// expected_places(). Each token has random numbers of its own, so a token's choice does not depend on how many there
// are. Errors (bad input): groups that do not divide the experts, counts out of range, fewer loaded groups or experts
// than a token chooses.
[[nodiscard]] RoutedTokens draw_tokens(const std::vector<double>& loads, const ChoiceRule& rule, std::int64_t tokens,
                                       std::uint64_t seed, int layer = 0);

// The tokens that a trace recorded for trace.layers[layer], of step trace.steps[step], or of all when step is -1.
// Errors (bad input): a trace of counts alone.
[[nodiscard]] RoutedTokens trace_tokens(const io::RoutingTrace& trace, std::size_t layer, std::int64_t step = -1);

// The choices of a model with m times the experts, of which a token chooses q <= m times as many: each expert is cut
// into m finer ones (fine-grained segmentation, DeepSeekMoE, Dai et al. 2024, section 3.1), laid out as by
// finer_expert() in `groups` of the old experts, and a token that chose it takes q of them, drawn for each choice.
// Errors (bad input): numbers that are not such multiples.
[[nodiscard]] RoutedTokens segment_experts(const RoutedTokens& tokens, int groups, int experts, int top_k,
                                           std::uint64_t seed);

}  // namespace lastbit::sim::workload
