#include "kernels/doctor/timed_case.h"

#include <map>

namespace lastbit::kernels {
namespace {

double size_of(const tensor::Shape& sizes, std::size_t axis) { return static_cast<double>(sizes[axis]); }

// Of every row of A with every row of B: a multiplication and an addition each.
double product_operations(const tensor::Shape& sizes) {
  return 2 * size_of(sizes, 0) * size_of(sizes, 1) * size_of(sizes, 2);
}

// Query i of Sq sees the first Sk - Sq + i + 1 of Sk keys: 192 elements against each, and 128 of its values.
double prefill_operations(const tensor::Shape& sizes) {
  const double sq = size_of(sizes, 0);
  const double pairs = sq * size_of(sizes, 1) - sq * (sq - 1) / 2;
  return 2 * (192 + 128) * pairs * size_of(sizes, 2);
}

// The products of the way back for the same pairs: four of 192 elements and three of 128.
double prefill_backward_operations(const tensor::Shape& sizes) {
  return prefill_operations(sizes) / (192 + 128) * (4 * 192 + 3 * 128);
}

// A latent of 576 elements is the key, its first 512 the value.
double decode_operations(const tensor::Shape& sizes) { return 2 * (576 + 512) * product_operations(sizes) / 2; }

double no_operations(const tensor::Shape& /*sizes*/) { return 0; }

struct Entry {
  tensor::Shape sizes;
  double (*operations)(const tensor::Shape&);
  Rate rate = Rate::kNone;
};

}  // namespace

std::optional<TimedCase> timed_case(const std::string& contract) {
  // Of the masked product only the rows that count are work, and how many those are is drawn: bytes alone bound it.
  static const std::map<std::string, Entry> entries{
      {"fp8_gemm", {{2048, 2048, 2048}, product_operations, Rate::kFp8}},
      {"fp8_grouped_gemm_contiguous", {{1024, 1024, 1024, 4}, product_operations, Rate::kFp8}},
      {"fp8_grouped_gemm_masked", {{256, 1024, 1024, 4}, no_operations}},
      {"bf16_gemm", {{1024, 2048, 2048}, product_operations, Rate::kBf16}},
      {"quantize_1x128", {{2048, 7168}, no_operations}},
      {"quantize_128x128", {{2048, 7168}, no_operations}},
      {"swiglu_quantize_1x128", {{1024, 2048}, no_operations}},
      {"rms_norm", {{1024, 7168}, no_operations}},
      {"rope", {{1024, 128, 64}, no_operations}},
      {"mla_prefill", {{512, 512, 16}, prefill_operations, Rate::kBf16}},
      {"mla_decode", {{8, 128, 1024}, decode_operations, Rate::kBf16}},
      {"router", {{4096, 256}, no_operations}},
      {"permute", {{512, 7168, 256, 8}, no_operations}},
      {"unpermute", {{512, 7168, 256, 8}, no_operations}},
      {"cross_entropy", {{128, 129280}, no_operations}},
      {"adamw", {{4194304}, no_operations}},
      {"rms_norm_backward", {{1024, 7168}, no_operations}},
      {"swiglu_backward", {{1024, 2048}, no_operations}},
      {"mla_prefill_backward", {{256, 256, 16}, prefill_backward_operations, Rate::kBf16}},
      {"router_backward", {{4096, 256}, no_operations}},
      {"unpermute_backward", {{512, 7168, 256, 8}, no_operations}},
      {"embedding_backward", {{1024, 1024, 16384}, no_operations}}};
  const auto found = entries.find(contract);
  if (found == entries.end()) return std::nullopt;
  const Entry& entry = found->second;
  return TimedCase{entry.sizes, entry.operations(entry.sizes), entry.rate};
}

}  // namespace lastbit::kernels
