#include "sim/workload/operator.h"

#include <utility>

namespace lastbit::sim::workload {
namespace {

// Behind the name of the Linear, which is that of its forward GEMM.
constexpr const char* kWeightGradient = ", weight gradient";

double operand_bytes(Format format) { return format == Format::kFp8 ? 1.0 : 2.0; }

Operator linear(OpKind kind, std::string name, double tokens, double n, double k, double groups, Format format) {
  Operator op;
  op.name = std::move(name);
  op.kind = kind;
  op.format = format;
  op.tokens = tokens;
  op.n = n;
  op.k = k;
  op.groups = groups;
  const double bytes = operand_bytes(format);
  if (kind == OpKind::kGemmWgrad || kind == OpKind::kGroupedGemmWgrad) {
    // Reads both operands and the FP32 accumulator, writes the accumulator: groups of [n, k].
    op.cost = {2 * tokens * n * k, tokens * (n + k) * bytes + groups * n * k * 4, groups * n * k * 4};
  } else {
    op.cost = ops::matmul_cost(tokens, n, k, bytes, 0, 2);
    op.cost.bytes_read += groups * n * k * bytes;
  }
  op.model_flops = op.cost.flops;
  return op;
}

}  // namespace

const char* kind_name(OpKind kind) {
  switch (kind) {
    case OpKind::kGemm:
      return "dense";
    case OpKind::kGemmWgrad:
      return "dense_wgrad";
    case OpKind::kGroupedGemm:
      return "grouped";
    case OpKind::kGroupedGemmWgrad:
      return "grouped_wgrad";
    case OpKind::kAttentionForward:
      return "attention_forward";
    case OpKind::kAttentionBackward:
      return "attention_backward";
    case OpKind::kMemory:
      return "memory";
    case OpKind::kGather:
      return "context_exchange";
    case OpKind::kTensorExchange:
      return "tensor_exchange";
  }
  return "";
}

void Operator::scale(double times) {
  repeats *= times;
  score_bytes *= times;
  model_flops *= times;
  cost = {cost.flops * times, cost.bytes_read * times, cost.bytes_written * times};
}

Operator gemm(std::string name, double tokens, double n, double k, Format format) {
  return linear(OpKind::kGemm, std::move(name), tokens, n, k, 1, format);
}

Operator gemm_wgrad(std::string name, double tokens, double n, double k, Format format) {
  return linear(OpKind::kGemmWgrad, std::move(name) + kWeightGradient, tokens, n, k, 1, format);
}

Operator grouped_gemm(std::string name, double rows, double n, double k, double groups, Format format) {
  return linear(OpKind::kGroupedGemm, std::move(name), rows, n, k, groups, format);
}

Operator grouped_gemm_wgrad(std::string name, double rows, double n, double k, double groups, Format format) {
  return linear(OpKind::kGroupedGemmWgrad, std::move(name) + kWeightGradient, rows, n, k, groups, format);
}

Operator attention_core(OpKind kind, double queries, double keys, double heads, double qk_dim, double v_dim) {
  Operator op;
  const bool forward = kind == OpKind::kAttentionForward;
  op.name = forward ? "attention core" : "attention core, backward";
  op.kind = kind;
  op.format = Format::kBf16;
  op.queries = queries;
  op.keys = keys;
  op.heads = heads;
  op.qk_dim = qk_dim;
  op.v_dim = v_dim;
  // The whole sequence's causal pairs, shared evenly by the ranks that hold `queries` of `keys` each.
  const ops::Cost whole = ops::attention_core_cost(keys, heads, qk_dim, v_dim, true, 2);
  const double forward_flops = whole.flops * queries / keys;
  const double io = heads * 2 * (queries * (qk_dim + v_dim) + keys * (qk_dim + v_dim));
  op.model_flops = forward ? forward_flops : 2 * forward_flops;
  op.cost = forward ? ops::Cost{forward_flops, io - queries * heads * v_dim * 2, queries * heads * v_dim * 2}
                    : ops::Cost{2.5 * forward_flops, io + queries * heads * v_dim * 2, io};
  return op;
}

Operator plain_attention_core(OpKind kind, double queries, double keys, double heads, double qk_dim, double v_dim) {
  Operator op = attention_core(kind, queries, keys, heads, qk_dim, v_dim);
  const bool forward = kind == OpKind::kAttentionForward;
  op.name += ", not fused";
  op.whole_scores = true;
  op.cost.flops = (forward ? 2 : 4) * queries * keys * heads * (qk_dim + v_dim);
  // BF16 passes over the scores: written, softmax read and written, dropout read and written with its mask, read; in
  // backward their gradients the same way beside the probabilities and the mask.
  op.score_bytes = queries * keys * heads * (forward ? 13 : 18);
  return op;
}

Operator memory_bound(std::string name, double rows, double width, double bytes_an_element) {
  Operator op;
  op.name = std::move(name);
  op.rows = rows;
  op.width = width;
  op.cost.bytes_read = rows * width * bytes_an_element;
  return op;
}

Operator recomputed(Operator op) {
  op.model_flops = 0;
  op.again = true;
  if (op.kind != OpKind::kMemory)
    op.name += ", recomputed";  // memory-bound operators keep the key of their measurement
  return op;
}

}  // namespace lastbit::sim::workload
