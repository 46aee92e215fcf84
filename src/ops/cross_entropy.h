// Cross-entropy of the next token, and its gradient in the place of the logits.
//
// In the words of the equations, over a row x of logits with the target t:
//   lse = log sum_i exp(x_i),  nll = lse - x_t,  loss = sum over tokens of w (nll + z lse^2),
//   d loss / d x_i = w ((1 + 2 z lse) exp(x_i) / sum_j exp(x_j) - [i = t]).
// z is the coefficient of the z-loss (Zoph et al., arXiv 2202.08906, equation 5).
//
// Rounding. m: the largest logit, exact. e_i = numerics::exp(x_i - m) in the logits' own type. s = sum of e_i in
// double: stretches of 512 columns by numerics::sum, then one after the other. nll = (m - x_t) + log s and
// lse = m + log s in double. Gradient: e_i times c, where c = w (1 + 2 z lse) / s is computed in double and rounded
// once; the target's entry w ((1 + 2 z lse) exp(-nll) - 1) in double, rounded once. A token's results depend on its
// own row alone.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace lastbit::ops {

// targets [T] i64: this value says that a token has no target. It adds nothing to the loss; its gradient is 0.
inline constexpr std::int64_t kNoTarget = -1;

// w of token t is scale * per_token[t], and `scale` where per_token is empty (1 over the number of targets: a mean).
struct LossWeights {
  double scale = 1;
  std::span<const double> per_token = {};  // [T] or empty
  double z_loss = 0;
};

struct CrossEntropy {
  tensor::Tensor nll;          // [T] FP64, whatever the logits' type; 0 without a target
  tensor::Tensor log_sum_exp;  // [T] FP64, of every token
  std::int64_t targets = 0;    // tokens with one
  double loss = 0;             // terms of the sum over tokens added by numerics::sum
};

// logits [T, vocabulary] FP32 or FP64, targets [T].
// Errors: a target outside the vocabulary, a NaN or +inf among the logits, a target's logit of -inf: internal errors.
[[nodiscard]] CrossEntropy cross_entropy(const tensor::Tensor& logits, const tensor::Tensor& targets,
                                         const LossWeights& weights = {});

// The same, then overwrites the logits by the loss's gradient, so that [T, vocabulary] exists once. After an error the
// logits are undefined.
[[nodiscard]] CrossEntropy cross_entropy_and_gradient(tensor::Tensor& logits, const tensor::Tensor& targets,
                                                      const LossWeights& weights = {});

// For logits that are made chunk by chunk: add all chunks, finish, then make the chunks again for their gradients.
// One chunk gives the bits of cross_entropy. Any chunking gives the same m and x_t to the bit; s, and what follows from
// it, agrees up to roundings in double: of sums, and of the factor exp(old m - new m) that s takes whenever m grows.
// The same chunking gives the same bits.
class OnlineCrossEntropy {
 public:
  OnlineCrossEntropy(tensor::Tensor targets, std::int64_t vocabulary);

  // logits [T, columns] of the ids first_id ... first_id + columns - 1; chunks come in ascending order without gaps.
  void add_chunk(const tensor::Tensor& logits, std::int64_t first_id);

  // After the last chunk. Weights may come later than here: the gradient takes its own.
  [[nodiscard]] CrossEntropy finish(const LossWeights& weights = {}) const;

  // Overwrites the logits of a chunk, in any order, by the gradient of the loss under `weights`.
  void gradient_of_chunk(tensor::Tensor& logits, std::int64_t first_id, const LossWeights& weights = {}) const;

 private:
  friend CrossEntropy cross_entropy_and_gradient(tensor::Tensor& logits, const tensor::Tensor& targets,
                                                 const LossWeights& weights);
  void check_chunk(const tensor::Tensor& logits, std::int64_t first_id) const;
  [[nodiscard]] double weight_of(const LossWeights& weights, std::int64_t token) const;
  [[nodiscard]] double log_sum_exp(std::int64_t token) const;
  [[nodiscard]] double nll(std::int64_t token) const;
  // exponentials: null, or where the e_i of the chunk go (the chunk itself, say).
  template <typename T>
  void add(const tensor::Tensor& logits, std::int64_t first_id, T* exponentials);
  // are_exponentials: the chunk holds its e_i already, under the final m.
  template <typename T>
  void gradient(tensor::Tensor& logits, std::int64_t first_id, const LossWeights& weights, bool are_exponentials) const;

  tensor::Tensor targets_;
  std::int64_t vocabulary_;
  std::int64_t next_id_ = 0;
  std::optional<tensor::DType> dtype_;  // of the chunks
  std::vector<double> largest_;         // m, [T]
  std::vector<double> sum_;             // s, [T]
  std::vector<double> target_logit_;    // x_t, [T]
};

}  // namespace lastbit::ops
