// From logits to the next token, by infer/sampling.h's rule in FP32. Arrays are the device's; one launch; errors as
// launch().
#pragma once

#include <cstdint>

#include "kernels/version.h"

namespace lastbit::kernels {

struct SamplingRule {
  float temperature;  // above 0
  int top_k;          // 0: off; logits equal to the k-th stay
  float top_p;        // in (0, 1]; of equal logits the higher id goes first
};

// logits [rows, vocabulary], finite or -inf, u [rows] in [0, 1); tokens [rows]: where the cumulative weights of the
// kept, by ascending id, pass u times their sum. Sums are FP32: a u within some 2^-20 of the border between two tokens
// may give the other one, and so may a token at the border of top_p.
void sample_tokens(const float* logits, const float* u, int rows, int vocabulary, const SamplingRule& rule,
                   std::int32_t* tokens, Version version);

}  // namespace lastbit::kernels
