#include "kernels/layers/embedding.h"
#include "kernels/numbers/values.h"

namespace lastbit::kernels {
namespace {

constexpr int kThreads = 128;
constexpr unsigned kAll = 0xffffffffU;

__device__ std::size_t element(std::int64_t row, int d, int col) {
  return static_cast<std::size_t>(row) * static_cast<std::size_t>(d) + static_cast<std::size_t>(col);
}

// v0: one thread an element.
template <typename T>
__global__ void embedding_v0(const std::int64_t* ids, const T* table, int tokens, int d, T* y) {
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (index < tokens * d) y[index] = table[element(ids[index / d], d, index % d)];
}

// One block a token.
template <typename T>
__global__ void __launch_bounds__(kThreads) embedding_rows(const std::int64_t* ids, const T* table, int d, T* y) {
  const T* const from = table + element(ids[blockIdx.x], d, 0);
  T* const to = y + element(blockIdx.x, d, 0);
  for (int col = static_cast<int>(threadIdx.x); col < d; col += kThreads) to[col] = from[col];
}

// v0: one thread a column, token after token.
template <typename T>
__global__ void embedding_backward_v0(const T* dy, const std::int64_t* ids, int tokens, int d, float* dtable) {
  const int col = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (col >= d) return;
  for (int token = 0; token < tokens; ++token)
    dtable[element(ids[token], d, col)] += load_value(dy + element(token, d, col));
}

// Whether a token before this one has its id; by all threads of the block.
__device__ bool came_before(const std::int64_t* ids, int token, int& found) {
  if (threadIdx.x == 0) found = 0;
  __syncthreads();
  for (int other = static_cast<int>(threadIdx.x); other < token; other += kThreads)
    if (ids[other] == ids[token]) atomicOr(&found, 1);
  __syncthreads();
  return found != 0;
}

// One block a token. The first token of an id adds the rows of all tokens that have it, kThreads tokens at a time:
// every warp votes on 32 of them, so that `votes` lists them in order.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    embedding_backward_tokens(const T* dy, const std::int64_t* ids, int tokens, int d, float* dtable) {
  __shared__ int found;
  __shared__ unsigned votes[kThreads / 32];
  const int token = static_cast<int>(blockIdx.x);
  if (came_before(ids, token, found)) return;  // the whole block
  const std::int64_t id = ids[token];
  for (int begin = token; begin < tokens; begin += kThreads) {
    const int other = begin + static_cast<int>(threadIdx.x);
    const unsigned same = __ballot_sync(kAll, other < tokens && ids[other] == id ? 1 : 0);
    if (threadIdx.x % 32 == 0) votes[threadIdx.x / 32] = same;
    __syncthreads();
    for (int warp = 0; warp < kThreads / 32; ++warp)
      for (unsigned left = votes[warp]; left != 0; left &= left - 1) {
        const int source = begin + warp * 32 + __ffs(static_cast<int>(left)) - 1;
        for (int col = static_cast<int>(threadIdx.x); col < d; col += kThreads)
          dtable[element(id, d, col)] += load_value(dy + element(source, d, col));
      }
    __syncthreads();
  }
}

dim3 grid_of(int count, int each) { return dim3{static_cast<unsigned>((count + each - 1) / each), 1, 1}; }

}  // namespace

template <typename T>
void embedding(const std::int64_t* ids, const T* table, int tokens, int d, T* y, Version version) {
  const dim3 block{kThreads, 1, 1};
  if (version == Version::kObvious)
    simt::launch({"embedding", grid_of(tokens * d, kThreads), block}, embedding_v0<T>, ids, table, tokens, d, y);
  else
    simt::launch({"embedding", grid_of(tokens, 1), block}, embedding_rows<T>, ids, table, d, y);
}

template <typename T>
void embedding_backward(const T* dy, const std::int64_t* ids, int tokens, int d, float* dtable, Version version) {
  const bool obvious = version == Version::kObvious;
  simt::launch({"embedding_backward", obvious ? grid_of(d, kThreads) : grid_of(tokens, 1), dim3{kThreads, 1, 1}},
               obvious ? embedding_backward_v0<T> : embedding_backward_tokens<T>, dy, ids, tokens, d, dtable);
}

template void embedding<float>(const std::int64_t* ids, const float* table, int tokens, int d, float* y,
                               Version version);
template void embedding<std::uint16_t>(const std::int64_t* ids, const std::uint16_t* table, int tokens, int d,
                                       std::uint16_t* y, Version version);
template void embedding_backward<float>(const float* dy, const std::int64_t* ids, int tokens, int d, float* dtable,
                                        Version version);
template void embedding_backward<std::uint16_t>(const std::uint16_t* dy, const std::int64_t* ids, int tokens, int d,
                                                float* dtable, Version version);

}  // namespace lastbit::kernels
