// One operator of a layer as the forecast sees it: its kind, its shape, its FLOPs and bytes.
#pragma once

#include <string>

#include "ops/cost.h"

namespace lastbit::sim::workload {

enum class OpKind {
  kGemm,         // D[tokens, n] = A[tokens, k] B[n, k]: forward or input gradient of a Linear
  kGemmWgrad,    // D[n, k] += A[tokens, n]^T B[tokens, k]
  kGroupedGemm,  // the same for `groups` experts, `tokens` rows together
  kGroupedGemmWgrad,
  kAttentionForward,  // causal core: `queries` of a sequence of `keys`
  kAttentionBackward,
  kMemory,          // bound by memory: rows x width elements
  kGather,          // collective over the context-parallel ranks, exposed: bytes over NVLink and NIC
  kTensorExchange,  // all-gather or reduce-scatter over the tensor-parallel ranks of a node: bytes over NVLink
};

// "dense", "grouped_wgrad", "memory", ...: what dumps and tables of kernel times call it.
[[nodiscard]] const char* kind_name(OpKind kind);

enum class Format { kFp8, kBf16 };

struct Operator {
  std::string name;  // memory-bound: the key of its measurement in data/calibration
  OpKind kind = OpKind::kMemory;
  Format format = Format::kFp8;  // operands of a GEMM
  double tokens = 0;             // GEMM
  double n = 0;
  double k = 0;
  double groups = 1;
  double repeats = 1;  // attention: sequences
  double queries = 0;  // attention: of one sequence on this rank; balanced over context-parallel ranks
  double keys = 0;     // the whole sequence
  double heads = 0;
  double qk_dim = 0;
  double v_dim = 0;
  bool whole_scores = false;  // attention that is not fused
  double score_bytes = 0;     // its passes over scores and probabilities
  double rows = 0;            // memory-bound
  double width = 0;
  double nic_bytes = 0;     // kGather
  double nvlink_bytes = 0;  // kGather, kTensorExchange
  ops::Cost cost;           // what it does
  // What of it is work of the model: forward and backward once. 0 for recomputation and for norms, casts and softmax.
  double model_flops = 0;
  bool again = false;  // recomputation

  // `times` of the same attention core one after another: several sequences.
  void scale(double times);
};

// A Linear's GEMM on `tokens` rows, forward or input gradient; 2 tokens n k FLOPs, BF16 results.
[[nodiscard]] Operator gemm(std::string name, double tokens, double n, double k, Format format);
// Its weight gradient, accumulated in FP32; named after the Linear as "name, weight gradient".
[[nodiscard]] Operator gemm_wgrad(std::string name, double tokens, double n, double k, Format format);
[[nodiscard]] Operator grouped_gemm(std::string name, double rows, double n, double k, double groups, Format format);
[[nodiscard]] Operator grouped_gemm_wgrad(std::string name, double rows, double n, double k, double groups,
                                          Format format);
// The causal core over `queries` of a sequence of `keys`: on average half of the pairs; backward counts twice the
// forward's FLOPs as work of the model and 2.5 times as done (the scores are computed again).
[[nodiscard]] Operator attention_core(OpKind kind, double queries, double keys, double heads, double qk_dim,
                                      double v_dim);
// The same with scores and probabilities in memory: every pair is computed, softmax, mask and dropout are passes of
// their own over heads x queries x keys elements, and the scores are not computed again in backward.
[[nodiscard]] Operator plain_attention_core(OpKind kind, double queries, double keys, double heads, double qk_dim,
                                            double v_dim);
// rows x width elements, `bytes_an_element` read and written together.
[[nodiscard]] Operator memory_bound(std::string name, double rows, double width, double bytes_an_element);
[[nodiscard]] Operator recomputed(Operator op);

}  // namespace lastbit::sim::workload
