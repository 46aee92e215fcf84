// Verification of drafted tokens against the target model (Leviathan et al., arXiv 2211.17192; Chen et al., arXiv
// 2302.01318). The target has looked at all drafts at once: row i of what it says is for the place of draft i, the last
// row for the place behind them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lastbit::infer {

struct Verification {
  std::int64_t accepted = 0;     // leading drafts that stand
  std::int64_t next_token = 0;   // the target's own token behind them: every verification gains accepted + 1 tokens
  std::vector<double> residual;  // sampled: what next_token was drawn from, [vocabulary]; greedy: empty
};

// Drafts stand while they are greedy()'s choice, so that the tokens are those of plain greedy decoding.
// target: [drafts + 1, vocabulary], logits or probabilities; T is float or double.
// Errors (bad input): sizes that do not fit, a draft outside the vocabulary, rows that greedy() refuses.
template <typename T>
[[nodiscard]] Verification verify_greedy(std::span<const T> target, std::span<const std::int64_t> drafts);

// Draft i, drawn from q_i, stands if u_accept[i] < min(1, p_i / q_i) at it. The next token is drawn at u_resample from
// max(p_i - q_i, 0) / sum where draft i fell, from p / sum behind the last draft when all stand. Together the tokens
// are distributed as the target alone would have them. Where draft i fell although p_i is nowhere above q_i, which only
// rounded sums allow, the next token comes from p_i.
// target: p, [drafts + 1, vocabulary]; draft: q, [drafts, vocabulary].
// Errors (bad input): sizes that do not fit, rows that are not distributions, uniform numbers outside [0, 1), a draft
// outside the vocabulary or of probability 0 under q.
[[nodiscard]] Verification verify_sampled(std::span<const double> target, std::span<const double> draft,
                                          std::span<const std::int64_t> drafts, std::span<const double> u_accept,
                                          double u_resample);

}  // namespace lastbit::infer
