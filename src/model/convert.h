// A checkpoint in another number format: what kernels and serving engines read.
#pragma once

#include <cstddef>
#include <string>

namespace lastbit::model {

enum class WeightFormat { kF32, kBF16, kFp8 };

// fp32, bf16, fp8. Errors: another name is bad input.
[[nodiscard]] WeightFormat find_weight_format(const std::string& name);

// Reads a Hugging Face directory (of any format that Weights::load takes) and writes another in `format`, sharded, with
// the config.json that goes with it.
//   fp32: every tensor in FP32, exact.
//   bf16: rounded to nearest even; the router's bias stays FP32, as in DeepSeek-V3's release.
//   fp8:  the matrices of attention, experts and dense MLPs as E4M3 with one FP32 scale, amax / 448 (1 for a block of
//         zeros), for each block of 128 x 128, under the name + "_scale_inv"; all else as bf16 does. Router, embedding,
//         head and eh_proj are no part of it, as in DeepSeek-V3's release.
// MTP modules are written where they are there, with their copies of embedding and head. One layer is read at a time;
// what is written is held in memory until then. Errors: as Weights::load; `to` is `from`, or has a checkpoint.
void convert_checkpoint(const std::string& from, const std::string& to, WeightFormat format,
                        std::size_t max_shard_bytes);

}  // namespace lastbit::model
