// Gradients of the router and of the way to experts and back, as src/ops has them. T is float or std::uint16_t (BF16
// codes), computed in FP32. Arrays are the device's, row-major; each function launches one kernel unless it says
// otherwise; errors as launch().
#pragma once

#include <cstdint>

#include "kernels/routing/routing.h"
#include "kernels/version.h"

namespace lastbit::kernels {

// dlogits [tokens, experts] of route() from dweights [tokens, top_k], the gradient of its weights: the choice topk_idx
// is constant, affinities, normalisation (with ops' kAffinityOffset) and scale are differentiated. Slots of -1 are
// ignored. The order of ops::route_backward(); exp() is off by 2 ulp.
void route_backward(const float* logits, const std::int64_t* topk_idx, const float* dweights, int tokens,
                    const RouterRule& rule, float* dlogits, Version version);

// Of permute(): dx [tokens, d] = the sum of a token's rows of drows [tokens * top_k, d], from +0, experts ascending.
template <typename T>
void permute_backward(const T* drows, const std::int64_t* row_of_slot, const PermutationShape& shape, T* dx,
                      Version version);

// Of unpermute(), for dy [tokens, d]: drows [tokens * top_k, d] = weight dy, +0 in the rows behind the last, and
// dweights [tokens, top_k] = dy . row, 0 for unused slots. The dot product of v0 is numerics::dot(), that of the tuned
// version block_sum()'s.
template <typename T>
struct UnpermuteBackward {
  const T* dy;
  const T* rows;                    // as unpermute() had them
  const std::int64_t* offsets;      // of permute()
  const std::int64_t* row_of_slot;  // likewise
  const float* weights;
  T* drows;
  float* dweights;
  PermutationShape shape;
};
template <typename T>
void unpermute_backward(const UnpermuteBackward<T>& call, Version version);

}  // namespace lastbit::kernels
