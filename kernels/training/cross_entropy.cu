#include "kernels/numbers/bf16.h"
#include "kernels/numbers/block_sum.h"
#include "kernels/training/training.h"

namespace lastbit::kernels {
namespace {

constexpr int kThreads = 128;
constexpr int kChain = 256;  // terms that v0 adds one after the other before it adds them to the sum

__device__ float logit(const LossArrays& arrays, std::size_t at) {
  return arrays.bf16_logits ? bf16_value(static_cast<const std::uint16_t*>(arrays.logits)[at])
                            : static_cast<const float*>(arrays.logits)[at];
}

__device__ void store_gradient(const LossArrays& arrays, std::size_t at, float value) {
  if (arrays.bf16_gradient)
    static_cast<std::uint16_t*>(arrays.gradient)[at] = bf16_code(value);
  else
    static_cast<float*>(arrays.gradient)[at] = value;
}

__device__ std::size_t row_begin(const LossArrays& arrays, int token) {
  return static_cast<std::size_t>(token) * static_cast<std::size_t>(arrays.vocabulary);
}

// What is left to do for a row once its log-sum-exp is known.
__device__ void store_loss(const LossArrays& arrays, int token, float log_sum_exp) {
  const std::int64_t target = arrays.targets[token];
  arrays.log_sum_exp[token] = log_sum_exp;
  arrays.nll[token] =
      target < 0 ? 0 : log_sum_exp - logit(arrays, row_begin(arrays, token) + static_cast<std::size_t>(target));
}

__device__ float gradient_of(const LossArrays& arrays, std::size_t at, bool is_target, float log_sum_exp,
                             float weight) {
  const float p = expf(logit(arrays, at) - log_sum_exp);
  return (is_target ? p - 1 : p) * weight;
}

// v0: one thread a row, which also counts the targets of all rows.
__global__ void cross_entropy_v0(LossArrays arrays) {
  const int token = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (token >= arrays.tokens) return;
  int count = 0;
  for (int i = 0; i < arrays.tokens; ++i) count += arrays.targets[i] >= 0 ? 1 : 0;
  const std::size_t begin = row_begin(arrays, token);
  float largest = logit(arrays, begin);
  for (int j = 1; j < arrays.vocabulary; ++j)
    largest = fmaxf(largest, logit(arrays, begin + static_cast<std::size_t>(j)));
  float sum = 0;
  for (int first = 0; first < arrays.vocabulary; first += kChain) {
    float part = 0;
    for (int j = first; j < min(first + kChain, arrays.vocabulary); ++j)
      part += expf(logit(arrays, begin + static_cast<std::size_t>(j)) - largest);
    sum += part;
  }
  const float log_sum_exp = largest + logf(sum);
  store_loss(arrays, token, log_sum_exp);
  const std::int64_t target = arrays.targets[token];
  const float weight = target < 0 ? 0 : __fdiv_rn(arrays.share, static_cast<float>(count));
  for (int j = 0; j < arrays.vocabulary; ++j) {
    const std::size_t at = begin + static_cast<std::size_t>(j);
    store_gradient(arrays, at, target < 0 ? 0 : gradient_of(arrays, at, j == target, log_sum_exp, weight));
  }
}

// A row's maximum and sum of exponentials, read once: the sum is scaled down whenever the maximum rises.
struct OnlineSum {
  float largest;
  float sum;

  __device__ void add(float x) {
    if (x > largest) {
      sum *= expf(largest - x);
      largest = x;
    }
    sum += expf(x - largest);
  }
};

// One block a row.
__global__ void __launch_bounds__(kThreads) cross_entropy_rows(LossArrays arrays) {
  __shared__ float maxima[kThreads / 32];
  __shared__ float sums[kThreads / 32];
  __shared__ float counts[kThreads / 32];
  const int token = static_cast<int>(blockIdx.x);
  const int thread = static_cast<int>(threadIdx.x);
  const std::size_t begin = row_begin(arrays, token);
  float targets = 0;  // whole numbers below 2^24
  for (int i = thread; i < arrays.tokens; i += kThreads) targets += arrays.targets[i] >= 0 ? 1.0F : 0.0F;
  targets = block_sum<kThreads>(targets, counts);
  OnlineSum mine{-3.4028235e38F, 0};
  for (int j = thread; j < arrays.vocabulary; j += kThreads)
    mine.add(logit(arrays, begin + static_cast<std::size_t>(j)));
  const float largest = block_max<kThreads>(mine.largest, maxima);
  const float sum = block_sum<kThreads>(mine.sum * expf(mine.largest - largest), sums);
  const float log_sum_exp = largest + logf(sum);
  if (thread == 0) store_loss(arrays, token, log_sum_exp);
  const std::int64_t target = arrays.targets[token];
  const float weight = target < 0 ? 0 : __fdiv_rn(arrays.share, targets);
  for (int j = thread; j < arrays.vocabulary; j += kThreads) {
    const std::size_t at = begin + static_cast<std::size_t>(j);
    store_gradient(arrays, at, target < 0 ? 0 : gradient_of(arrays, at, j == target, log_sum_exp, weight));
  }
}

}  // namespace

void cross_entropy(const LossArrays& arrays, Version version) {
  const auto tokens = static_cast<unsigned>(arrays.tokens);
  if (version == Version::kObvious)
    simt::launch({"cross_entropy", dim3{(tokens + 31) / 32, 1, 1}, dim3{32, 1, 1}}, cross_entropy_v0, arrays);
  else
    simt::launch({"cross_entropy", dim3{tokens, 1, 1}, dim3{kThreads, 1, 1}}, cross_entropy_rows, arrays);
}

}  // namespace lastbit::kernels
