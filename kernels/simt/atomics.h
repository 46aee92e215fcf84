// Atomic operations on the host: one thread runs at a time, so that the plain operation is atomic.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/simt/language.h"

namespace lastbit::simt {

void note_atomic(const void* address, std::size_t bytes);

// Not instrumented: the access is noted as an atomic one instead.
template <typename T, typename Change>
__attribute__((no_sanitize("thread"), noinline)) T atomically(T* address, T operand, Change change) {
  note_atomic(address, sizeof(T));
  const T before = *address;
  *address = change(before, operand);
  return before;
}

}  // namespace lastbit::simt

// Each returns what was there before.
template <typename T>
T atomicAdd(T* address, T value) {
  return lastbit::simt::atomically(address, value, [](T a, T b) { return static_cast<T>(a + b); });
}
template <typename T>
T atomicMax(T* address, T value) {
  return lastbit::simt::atomically(address, value, [](T a, T b) { return a < b ? b : a; });
}
template <typename T>
T atomicMin(T* address, T value) {
  return lastbit::simt::atomically(address, value, [](T a, T b) { return b < a ? b : a; });
}
template <typename T>
T atomicOr(T* address, T value) {
  return lastbit::simt::atomically(address, value, [](T a, T b) { return static_cast<T>(a | b); });
}
template <typename T>
T atomicExch(T* address, T value) {
  return lastbit::simt::atomically(address, value, [](T, T b) { return b; });
}
template <typename T>
T atomicCAS(T* address, T expected, T value) {
  return lastbit::simt::atomically(address, value, [expected](T a, T b) { return a == expected ? b : a; });
}
