// The work of one layer on one rank for one micro-batch, in the segments between which it communicates.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "model/config.h"
#include "sim/workload/operator.h"
#include "sim/workload/routing.h"

namespace lastbit::sim::workload {

enum class Segment {
  kAttentionForward,  // up to and with the router
  kMlpForward,
  kMlpBackward,  // input gradient
  kMlpWeight,
  kAttentionBackward,  // input gradient, with what is recomputed for it
  kAttentionWeight,
};
inline constexpr std::size_t kNumSegments = 6;
[[nodiscard]] const char* segment_name(Segment segment);

// All-to-alls of a MoE layer; backward ones carry gradients the other way.
enum class TransferKind { kDispatchForward, kCombineForward, kDispatchBackward, kCombineBackward };
inline constexpr std::size_t kNumTransfers = 4;
[[nodiscard]] const char* transfer_name(TransferKind kind);

// What one rank sends in an all-to-all. Logical bytes count each node that a token goes to once, its own included, as
// DeepEP's bandwidths do.
struct Transfer {
  double logical_bytes = 0;
  double nic_bytes = 0;     // of those, to other nodes
  double nvlink_bytes = 0;  // to other GPUs of the node, forwarded ones included
};

// What backward computes again instead of keeping it.
enum class Recompute {
  kNone,
  kSelective,  // MLA: norms, up-projections, SwiGLU outputs (DeepSeek-V3 report, section 3.2.3); GQA: norms, and the
               // attention core where it is not fused (arXiv 2205.05198, section 5)
  kFull,       // every layer from its input (the same, section 2)
};

// The setting of a layer.
struct LayerSetting {
  model::ModelConfig model;
  double tokens = 0;           // of a micro-batch on this rank, or on its tensor-parallel group
  double sequence_tokens = 0;  // of the whole sequence; tokens * context_parallel when it is split
  double context_parallel = 1;
  double tensor_parallel = 1;  // ranks of a node that share matrices, and tokens between them (sequence parallelism)
  Recompute recompute = Recompute::kSelective;
  bool fused_attention = true;  // else scores and probabilities go through memory and nothing is skipped above the
                                // diagonal
  RoutingShape routing;
  double load_factor = 1;  // rows and bytes of the busiest rank over the mean
  Format format = Format::kFp8;
  double dispatch_bytes = 1.03125;  // an element: FP8 and one FP32 scale per 128
  double combine_bytes = 2;         // BF16
};

struct LayerWork {
  bool moe = false;
  std::array<std::vector<Operator>, kNumSegments> segments;
  std::array<std::optional<Transfer>, kNumTransfers> transfers;  // MoE over more than one rank

  [[nodiscard]] std::vector<Operator>& at(Segment segment) { return segments[static_cast<std::size_t>(segment)]; }
  [[nodiscard]] const std::vector<Operator>& at(Segment segment) const {
    return segments[static_cast<std::size_t>(segment)];
  }
  [[nodiscard]] double model_flops() const;  // forward and backward
};

// Attention, FFN and messages of one layer. Operators and their order are those of the published profile of
// DeepSeek-V3's training (deepseek-ai/profile-data); RMSNorm and the up-projections are computed again in backward.
[[nodiscard]] LayerWork layer_work(const LayerSetting& setting, bool moe);

}  // namespace lastbit::sim::workload
