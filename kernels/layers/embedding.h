// Rows of the embedding table, and its gradient. T is float or std::uint16_t (BF16 codes). Arrays are the device's,
// row-major; each function launches one kernel; errors as launch(). ids [tokens] lie within the table: the host checks
// them before.
#pragma once

#include <cstdint>

#include "kernels/version.h"

namespace lastbit::kernels {

// y [tokens, d]: rows of table [vocabulary, d].
template <typename T>
void embedding(const std::int64_t* ids, const T* table, int tokens, int d, T* y, Version version);

// dtable [vocabulary, d] FP32: dtable[id] += dy[token], tokens ascending, one addition each, without atomics: the bits
// of ops::embedding_backward(). dy [tokens, d].
template <typename T>
void embedding_backward(const T* dy, const std::int64_t* ids, int tokens, int d, float* dtable, Version version);

}  // namespace lastbit::kernels
