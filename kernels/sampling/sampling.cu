#include "kernels/numbers/block_sum.h"
#include "kernels/sampling/sampling.h"

namespace lastbit::kernels {
namespace {

constexpr int kThreads = 256;

// Largest logit of a row, the lowest id among equals.
__device__ int best_of(const float* logits, int vocabulary) {
  int best = 0;
  for (int i = 1; i < vocabulary; ++i)
    if (logits[i] > logits[best]) best = i;
  return best;
}

__device__ float weight_of(float logit, float largest, float temperature) {
  return expf(__fdiv_rn(logit - largest, temperature));
}

// The k-th largest logit.
__device__ float least_of_top_k(const float* logits, int vocabulary, int top_k) {
  float least = logits[best_of(logits, vocabulary)];
  for (int i = 0; i < vocabulary; ++i) {
    int greater = 0;
    for (int j = 0; j < vocabulary; ++j) greater += logits[j] > logits[i] ? 1 : 0;
    if (greater < top_k) least = fminf(least, logits[i]);
  }
  return least;
}

// v0: one thread a row. A token's fate is looked up in the whole row.
struct Row {
  const float* logits;
  int vocabulary;
  int best;
  float least;  // logit of a token in top_k
  SamplingRule rule;

  __device__ float weight(int i) const { return weight_of(logits[i], logits[best], rule.temperature); }
  __device__ bool in_top_k(int i) const { return logits[i] >= least; }
  // Of the tokens in top_k: what of them is as unlikely as i, or less likely.
  __device__ float mass_up_to(int i) const {
    float mass = 0;
    for (int j = 0; j < vocabulary; ++j) {
      const bool goes_first = logits[j] < logits[i] || (logits[j] == logits[i] && j >= i);
      if (goes_first && in_top_k(j)) mass += weight(j);
    }
    return mass;
  }
};

__global__ void sample_v0(const float* logits, const float* u, int rows, int vocabulary, SamplingRule rule,
                          std::int32_t* tokens) {
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (index >= rows) return;
  const float* const row_logits = logits + static_cast<std::size_t>(index) * static_cast<std::size_t>(vocabulary);
  const float least = rule.top_k == 0 ? -INFINITY : least_of_top_k(row_logits, vocabulary, rule.top_k);
  const Row row{row_logits, vocabulary, best_of(row_logits, vocabulary), least, rule};
  const auto kept = [&](int i, float left_out) {
    return i == row.best || (row.in_top_k(i) && (rule.top_p == 1 || row.mass_up_to(i) > left_out));
  };
  const float left_out = (1 - rule.top_p) * row.mass_up_to(row.best);
  float total = 0;
  for (int i = 0; i < vocabulary; ++i)
    if (kept(i, left_out)) total += row.weight(i);
  float sum = 0;
  int token = row.best;
  for (int i = 0; i < vocabulary; ++i) {
    if (!kept(i, left_out)) continue;
    sum += row.weight(i);
    token = i;
    if (sum > u[index] * total) break;
  }
  tokens[index] = token;
}

// Floats as integers of the same order, both zeros alike.
__device__ unsigned key_of(float value) {
  if (value == 0) return 0x80000000U;
  const unsigned bits = __float_as_uint(value);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

// A block's row, a thread's share of which are consecutive ids.
struct Share {
  const float* logits;
  int begin;
  int end;
  float largest;
  float temperature;

  __device__ float weight(int i) const { return weight_of(logits[i], largest, temperature); }
  // Of keys in [low, high).
  __device__ float mass(unsigned low, unsigned high) const {
    float sum = 0;
    for (int i = begin; i < end; ++i) {
      const unsigned key = key_of(logits[i]);
      if (key >= low && key < high) sum += weight(i);
    }
    return sum;
  }
  __device__ int count(unsigned low, unsigned last) const {
    int sum = 0;
    for (int i = begin; i < end; ++i) {
      const unsigned key = key_of(logits[i]);
      sum += key >= low && key <= last ? 1 : 0;
    }
    return sum;
  }
};

// Sums over the block that may follow one another.
__device__ float sum_of_block(float value, float* space) {
  const float sum = block_sum<kThreads>(value, space);
  __syncthreads();
  return sum;
}

// The largest key with at least `wanted` keys from it on; bit by bit. Counts are exact in FP32 below 2^24.
__device__ unsigned key_of_rank(const Share& share, int wanted, float* space) {
  unsigned key = 0;
  for (int bit = 31; bit >= 0; --bit) {
    const unsigned next = key | 1U << bit;
    const float count = sum_of_block(static_cast<float>(share.count(next, ~0U)), space);
    if (count >= static_cast<float>(wanted)) key = next;
  }
  return key;
}

// The largest key below which no more than `limit` of the mass lies.
__device__ unsigned key_of_mass(const Share& share, unsigned least, float limit, float* space) {
  unsigned key = 0;
  for (int bit = 31; bit >= 0; --bit) {
    const unsigned next = key | 1U << bit;
    if (sum_of_block(share.mass(least, next), space) <= limit) key = next;
  }
  return key;
}

// Which tokens are kept: keys above `key`, and the first `equal` ids of those that have it.
struct Kept {
  unsigned key;
  int equal;
};

__device__ Kept kept_tokens(const Share& share, const SamplingRule& rule, int vocabulary, float* space) {
  const bool all = rule.top_k == 0 || rule.top_k >= vocabulary;
  const unsigned least = all ? 0 : key_of_rank(share, rule.top_k, space);
  if (rule.top_p == 1) return {least, vocabulary};
  const unsigned largest = key_of(share.largest);
  const float limit = (1 - rule.top_p) * sum_of_block(share.mass(least, largest + 1), space);
  const unsigned key = min(key_of_mass(share, least, limit, space), largest);
  const float below = sum_of_block(share.mass(least, key), space);
  const int equal = static_cast<int>(sum_of_block(static_cast<float>(share.count(key, key)), space));
  // Of the equal ones the higher ids go while the limit allows it; the likeliest stays.
  const unsigned bits = (key & 0x80000000U) != 0 ? key & 0x7fffffffU : ~key;
  const float weight = weight_of(__uint_as_float(bits), share.largest, share.temperature);
  int gone = 0;
  float mass = below;
  while (gone < equal - (key == largest ? 1 : 0) && mass + weight <= limit) {
    mass += weight;
    ++gone;
  }
  return {key, equal - gone};
}

// Calls visit(id, weight) for the kept of a thread's share; `equal_before` of the equal ones have lower ids.
template <typename Visit>
__device__ void each_kept(const Share& share, const Kept& kept, int equal_before, const Visit& visit) {
  for (int i = share.begin; i < share.end; ++i) {
    const unsigned key = key_of(share.logits[i]);
    if (key > kept.key || (key == kept.key && equal_before++ < kept.equal)) visit(i, share.weight(i));
  }
}

// One block a row: borders by bisection over the bits of the logits, so that nothing is sorted.
__global__ void __launch_bounds__(kThreads)
    sample_rows(const float* logits, const float* u, int vocabulary, SamplingRule rule, std::int32_t* tokens) {
  __shared__ float space[kThreads / 32];
  __shared__ float maxima[kThreads / 32];
  __shared__ int equals[kThreads];
  __shared__ float sums[kThreads];
  const int thread = static_cast<int>(threadIdx.x);
  const int each = (vocabulary + kThreads - 1) / kThreads;
  Share share{logits + static_cast<std::size_t>(blockIdx.x) * static_cast<std::size_t>(vocabulary),
              min(thread * each, vocabulary), min((thread + 1) * each, vocabulary), 0, rule.temperature};
  float largest = -3.4028235e38F;
  for (int i = share.begin; i < share.end; ++i) largest = fmaxf(largest, share.logits[i]);
  share.largest = block_max<kThreads>(largest, maxima);
  const Kept kept = kept_tokens(share, rule, vocabulary, space);
  equals[thread] = share.count(kept.key, kept.key);
  __syncthreads();
  int equal_before = 0;
  for (int t = 0; t < thread; ++t) equal_before += equals[t];
  float mine = 0;
  each_kept(share, kept, equal_before, [&](int, float weight) { mine += weight; });
  sums[thread] = mine;
  __syncthreads();
  float before = 0;
  float total = 0;
  int last = 0;  // thread that has anything
  for (int t = 0; t < kThreads; ++t) {
    if (t < thread) before += sums[t];
    if (sums[t] > 0) last = t;
    total += sums[t];
  }
  const float wanted = u[blockIdx.x] * total;
  if (!(mine > 0) || before > wanted || (before + mine <= wanted && thread != last)) return;
  int token = 0;
  float sum = before;
  bool found = false;
  each_kept(share, kept, equal_before, [&](int i, float weight) {
    if (found) return;
    sum += weight;
    token = i;
    found = sum > wanted;
  });
  tokens[blockIdx.x] = token;  // where rounding hides the border, the last one before it
}

}  // namespace

void sample_tokens(const float* logits, const float* u, int rows, int vocabulary, const SamplingRule& rule,
                   std::int32_t* tokens, Version version) {
  const auto blocks = static_cast<unsigned>(rows);
  if (version == Version::kObvious)
    simt::launch({"sample_tokens", dim3{(blocks + 31) / 32, 1, 1}, dim3{32, 1, 1}}, sample_v0, logits, u, rows,
                 vocabulary, rule, tokens);
  else
    simt::launch({"sample_tokens", dim3{blocks, 1, 1}, dim3{kThreads, 1, 1}}, sample_rows, logits, u, vocabulary, rule,
                 tokens);
}

}  // namespace lastbit::kernels
