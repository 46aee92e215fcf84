#include "kernels/plain/attention.h"
#include "kernels/plain/values.h"
#include "kernels/simt/cuda.h"

namespace lastbit::kernels {
namespace {

constexpr int kHeadThreads = 32;
constexpr int kRopeColumns = kMostRopeDim / kHeadThreads;  // a thread

// Rows of one query and one key, and the head.
struct Meeting {
  int query;
  int key;
  int head;
};

__device__ float latent_score(const LatentHeads& call, const Meeting& at) {
  const std::size_t query = element_at(at.query, call.heads, at.head);
  const std::size_t q = query * static_cast<std::size_t>(call.nope + call.rope);
  const std::size_t q_rope = query * static_cast<std::size_t>(call.rope);
  const std::size_t k = element_at(at.key, call.heads, at.head) * static_cast<std::size_t>(call.nope + call.value);
  const std::size_t k_rope = element_at(at.key, call.rope, 0);
  float sum = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(call.nope); ++i)
    sum = __fmaf_rn(load_value(call.q, q + i), load_value(call.expanded, k + i), sum);
  for (std::size_t i = 0; i < static_cast<std::size_t>(call.rope); ++i)
    sum = __fmaf_rn(load_value(call.q_rope, q_rope + i), load_value(call.k_rope, k_rope + i), sum);
  return sum * call.scale;
}

// Of value column `col`, in `expanded` and its gradient.
__device__ std::size_t value_at(const LatentHeads& call, int key, int head, int col) {
  return element_at(key, call.heads, head) * static_cast<std::size_t>(call.nope + call.value) +
         static_cast<std::size_t>(call.nope + col);
}
__device__ std::size_t out_at(const LatentHeads& call, int query, int head, int col) {
  return element_at(query, call.heads, head) * static_cast<std::size_t>(call.value) + static_cast<std::size_t>(col);
}

// One block a query and head: a thread scores some keys, all add them up, a thread makes some columns.
__global__ void __launch_bounds__(kHeadThreads)
    latent_attention_heads(LatentHeads call, Values out, float* log_sum_exp) {
  auto* const weights = reinterpret_cast<float*>(simt::dynamic_shared());
  const int thread = static_cast<int>(threadIdx.x);
  const int query = static_cast<int>(blockIdx.x);  // of all sequences
  const int head = static_cast<int>(blockIdx.y);
  const int first_key = query / call.queries * call.keys;
  const int end = call.keys - call.queries + query % call.queries + 1;
  for (int key = thread; key < end; key += kHeadThreads)
    weights[key] = latent_score(call, {query, first_key + key, head});
  __syncthreads();
  float largest = weights[0];
  for (int key = 1; key < end; ++key) largest = fmaxf(largest, weights[key]);
  __syncthreads();
  for (int key = thread; key < end; key += kHeadThreads) weights[key] = expf(weights[key] - largest);
  __syncthreads();
  float sum = 0;
  for (int key = 0; key < end; ++key) sum += weights[key];
  for (int col = thread; col < call.value; col += kHeadThreads) {
    float total = 0;
    for (int key = 0; key < end; ++key)
      total = __fmaf_rn(weights[key], load_value(call.expanded, value_at(call, first_key + key, head, col)), total);
    store_value(out, out_at(call, query, head, col), __fdiv_rn(total, sum));
  }
  if (thread == 0) log_sum_exp[element_at(query, call.heads, head)] = largest + logf(sum);
}

// The weight of a key and the gradient of its score.
struct WeightGradient {
  float weight;
  float dscore;
};
__device__ WeightGradient weight_gradient(const LatentHeads& call, const LatentGradients& gradients, const Meeting& at,
                                          float delta) {
  float dweight = 0;
  for (int col = 0; col < call.value; ++col)
    dweight = __fmaf_rn(load_value(gradients.dout, out_at(call, at.query, at.head, col)),
                        load_value(call.expanded, value_at(call, at.key, at.head, col)), dweight);
  const float weight = expf(latent_score(call, at) - gradients.log_sum_exp[element_at(at.query, call.heads, at.head)]);
  return {weight, weight * (dweight - delta) * call.scale};
}

// One block a query and head.
__global__ void __launch_bounds__(kHeadThreads) query_gradients(LatentHeads call, LatentGradients gradients) {
  auto* const dscores = reinterpret_cast<float*>(simt::dynamic_shared());
  const int thread = static_cast<int>(threadIdx.x);
  const int query = static_cast<int>(blockIdx.x);
  const int head = static_cast<int>(blockIdx.y);
  const int first_key = query / call.queries * call.keys;
  const int end = call.keys - call.queries + query % call.queries + 1;
  float delta = 0;
  for (int col = 0; col < call.value; ++col)
    delta = __fmaf_rn(load_value(gradients.dout, out_at(call, query, head, col)),
                      load_value(gradients.out, out_at(call, query, head, col)), delta);
  if (thread == 0) gradients.delta[element_at(query, call.heads, head)] = delta;
  for (int key = thread; key < end; key += kHeadThreads)
    dscores[key] = weight_gradient(call, gradients, {query, first_key + key, head}, delta).dscore;
  __syncthreads();
  const std::size_t row = element_at(query, call.heads, head);
  for (int col = thread; col < call.nope + call.rope; col += kHeadThreads) {
    const bool turned = col >= call.nope;
    float sum = 0;
    for (int key = 0; key < end; ++key) {
      const float k = turned ? load_value(call.k_rope, element_at(first_key + key, call.rope, col - call.nope))
                             : load_value(call.expanded, value_at(call, first_key + key, head, col - call.nope));
      sum = __fmaf_rn(dscores[key], k, sum);
    }
    if (turned)
      store_value(gradients.dq_rope,
                  row * static_cast<std::size_t>(call.rope) + static_cast<std::size_t>(col - call.nope), sum);
    else
      store_value(gradients.dq, row * static_cast<std::size_t>(call.nope + call.rope) + static_cast<std::size_t>(col),
                  sum);
  }
}

// The queries that a block's key meets, and what of them is in shared memory: weights, then gradients of scores.
struct QueryRange {
  int begin;  // row of the first one
  int count;
};

__device__ void expanded_gradient(const LatentHeads& call, const LatentGradients& gradients, const QueryRange& queries,
                                  const float* weights, int key, int head) {
  const float* const dscores = weights + queries.count;
  for (int col = static_cast<int>(threadIdx.x); col < call.nope + call.value; col += kHeadThreads) {
    const bool is_key = col < call.nope;
    float sum = 0;
    for (int i = 0; i < queries.count; ++i) {
      const std::size_t row = element_at(queries.begin + i, call.heads, head);
      sum = is_key ? __fmaf_rn(dscores[i],
                               load_value(call.q, row * static_cast<std::size_t>(call.nope + call.rope) +
                                                      static_cast<std::size_t>(col)),
                               sum)
                   : __fmaf_rn(weights[i],
                               load_value(gradients.dout, out_at(call, queries.begin + i, head, col - call.nope)), sum);
    }
    store_value(gradients.dexpanded, value_at(call, key, head, col - call.nope), sum);
  }
}

// One block a key, which goes through the heads.
__global__ void __launch_bounds__(kHeadThreads) key_gradients(LatentHeads call, LatentGradients gradients) {
  auto* const weights = reinterpret_cast<float*>(simt::dynamic_shared());
  const int thread = static_cast<int>(threadIdx.x);
  const int row = static_cast<int>(blockIdx.x);  // of all sequences
  const int sequence = row / call.keys;
  const int first = max(0, row % call.keys - (call.keys - call.queries));
  const QueryRange queries{sequence * call.queries + first, call.queries - first};
  float rope_sums[kRopeColumns] = {};
  for (int head = 0; head < call.heads; ++head) {
    for (int i = thread; i < queries.count; i += kHeadThreads) {
      const int query = queries.begin + i;
      const WeightGradient one =
          weight_gradient(call, gradients, {query, row, head}, gradients.delta[element_at(query, call.heads, head)]);
      weights[i] = one.weight;
      weights[queries.count + i] = one.dscore;
    }
    __syncthreads();
    expanded_gradient(call, gradients, queries, weights, row, head);
    for (int c = 0; c < kRopeColumns; ++c) {
      const int col = c * kHeadThreads + thread;
      if (col >= call.rope) break;
      float sum = 0;
      for (int i = 0; i < queries.count; ++i)
        sum = __fmaf_rn(weights[queries.count + i],
                        load_value(call.q_rope, element_at(queries.begin + i, call.heads, head) *
                                                        static_cast<std::size_t>(call.rope) +
                                                    static_cast<std::size_t>(col)),
                        sum);
      rope_sums[c] += sum;
    }
    __syncthreads();
  }
  for (int c = 0; c < kRopeColumns; ++c)
    if (c * kHeadThreads + thread < call.rope)
      store_value(gradients.dk_rope, element_at(row, call.rope, c * kHeadThreads + thread), rope_sums[c]);
}

dim3 query_grid(const LatentHeads& heads) {
  return dim3{static_cast<unsigned>(heads.batch * heads.queries), static_cast<unsigned>(heads.heads), 1};
}

constexpr dim3 kHeadBlock{kHeadThreads, 1, 1};

}  // namespace

void latent_attention(const LatentHeads& heads, const Values& out, float* log_sum_exp) {
  const std::size_t room = static_cast<std::size_t>(heads.keys) * sizeof(float);
  simt::launch({"latent_attention", query_grid(heads), kHeadBlock, room}, latent_attention_heads, heads, out,
               log_sum_exp);
}

void latent_attention_gradient(const LatentHeads& heads, const LatentGradients& gradients) {
  const std::size_t room = static_cast<std::size_t>(heads.keys) * sizeof(float);
  simt::launch({"query_gradients", query_grid(heads), kHeadBlock, room}, query_gradients, heads, gradients);
  simt::launch({"key_gradients", dim3{static_cast<unsigned>(heads.batch * heads.keys), 1, 1}, kHeadBlock,
                2 * static_cast<std::size_t>(heads.queries) * sizeof(float)},
               key_gradients, heads, gradients);
}

}  // namespace lastbit::kernels
