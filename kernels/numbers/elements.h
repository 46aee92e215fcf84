// Operators on one element at a time: `Op` has the arrays, op.one(i) computes element i and op.vector(i) the elements
// [i, i + Op::kEach) with wide loads and stores.
#pragma once

#include <cstddef>

#include "kernels/simt/cuda.h"
#include "kernels/version.h"

namespace lastbit::kernels {

constexpr int kElementThreads = 128;

// v0: one thread an element.
template <typename Op>
__global__ void elements_v0(Op op, std::size_t count) {
  const std::size_t i = static_cast<std::size_t>(blockIdx.x) * kElementThreads + threadIdx.x;
  if (i < count) op.one(i);
}

// Op::kEach elements a thread; what is left at the end by single ones.
template <typename Op>
__global__ void __launch_bounds__(kElementThreads) elements_vectors(Op op, std::size_t count) {
  const std::size_t first = (static_cast<std::size_t>(blockIdx.x) * kElementThreads + threadIdx.x) * Op::kEach;
  if (first + Op::kEach <= count) return op.vector(first);
  for (std::size_t i = first; i < count; ++i) op.one(i);
}

template <typename Op>
void launch_elements(const char* name, const Op& op, std::size_t count, Version version) {
  const std::size_t each = kElementThreads * (version == Version::kObvious ? 1 : Op::kEach);
  simt::launch({name, dim3{static_cast<unsigned>((count + each - 1) / each), 1, 1}, dim3{kElementThreads, 1, 1}},
               version == Version::kObvious ? elements_v0<Op> : elements_vectors<Op>, op, count);
}

}  // namespace lastbit::kernels
