#include "sim/cost/cost_model.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "sim/cost/curve.h"
#include "sim/cost/kernel_times.h"

namespace lastbit::sim::cost {
namespace {

using workload::Format;
using workload::Operator;
using workload::OpKind;

// A measurement at nearly as many rows is taken as the operator's own, in proportion.
constexpr double kSameRows = 0.05;

bool is_gemm(OpKind kind) {
  return kind == OpKind::kGemm || kind == OpKind::kGemmWgrad || kind == OpKind::kGroupedGemm ||
         kind == OpKind::kGroupedGemmWgrad;
}

// Distance of shapes in octaves: how many doublings lie between them.
double octaves(double a, double b) { return std::abs(std::log2(a / b)); }

double shape_distance(const GemmFamily& family, const Operator& op) {
  return octaves(family.n, op.n) + octaves(family.k, op.k) + 0.25 * octaves(family.groups, op.groups);
}

const GemmFamily* same_shape(const std::vector<GemmFamily>& families, const Operator& op) {
  for (const GemmFamily& family : families) {
    if (family.kind == op.kind && family.n == op.n && family.k == op.k && family.groups == op.groups) return &family;
  }
  return nullptr;
}

// The family whose curve over rows stands in for the operator's own; weight gradients borrow from the forward kernel.
const GemmFamily* nearest_curve(const std::vector<GemmFamily>& families, const Operator& op) {
  const bool grouped = op.kind == OpKind::kGroupedGemm || op.kind == OpKind::kGroupedGemmWgrad;
  const GemmFamily* best = nullptr;
  for (const GemmFamily& family : families) {
    if ((family.kind == OpKind::kGroupedGemm) != grouped) continue;
    if (best == nullptr || shape_distance(family, op) < shape_distance(*best, op)) best = &family;
  }
  return best;
}

// The assumption that says what share of the peak the operator reaches.
const char* efficiency_name(const Operator& op) {
  if (op.kind == OpKind::kAttentionForward || op.kind == OpKind::kAttentionBackward) return "attention_efficiency";
  if (op.kind == OpKind::kGroupedGemm || op.kind == OpKind::kGroupedGemmWgrad) return "grouped_gemm_efficiency";
  return op.format == Format::kBf16 ? "bf16_gemm_efficiency" : "roofline_efficiency";
}

double peak(const cluster::Gpu& gpu, Format format) {
  if (format == Format::kBf16) return gpu.bf16_flops;
  if (gpu.fp8_flops <= 0) core::fail_input("GPU '{}' has no FP8 units, but the job computes in fp8", gpu.name);
  return gpu.fp8_flops;
}

}  // namespace

CostModel::CostModel(cluster::Cluster cluster, Calibration calibration, Assumptions assumptions, Without without)
    : cluster_(std::move(cluster)),
      calibration_(std::move(calibration)),
      assumptions_(std::move(assumptions)),
      without_(without) {
  if (assumptions_["solo_compute_sms"] > cluster_.gpu.sms) {
    core::fail_input("assumption 'solo_compute_sms': found {:g}, expected at most {}, the SMs of GPU '{}'",
                     assumptions_["solo_compute_sms"], cluster_.gpu.sms, cluster_.gpu.name);
  }
  if (!calibration_.has_tables()) return;
  const Reference& reference = calibration_.reference;
  same_gpu_ = reference.fp8_flops == cluster_.gpu.fp8_flops && reference.bf16_flops == cluster_.gpu.bf16_flops &&
              reference.hbm_bandwidth == cluster_.gpu.hbm_bandwidth;
  double sum = 0;
  double count = 0;
  for (const GemmFamily& training : calibration_.training_gemms) {
    if (training.kind != OpKind::kGemm) continue;
    for (const GemmFamily& alone : calibration_.alone_gemms) {
      if (alone.kind != training.kind || alone.n != training.n || alone.k != training.k) continue;
      const double alone_s = interpolate(alone.tokens, alone.seconds, training.tokens.front(), 1).seconds;
      sum += training.seconds.front() / alone_s * calibration_.training_sms / reference.sms;
      count += 1;
    }
  }
  if (count > 0) in_situ_factor_ = sum / count;
}

double CostModel::compute_ratio(Format format) const {
  const Reference& reference = calibration_.reference;
  const double reference_peak = format == Format::kFp8 ? reference.fp8_flops : reference.bf16_flops;
  return reference_peak / reference.sms * cluster_.gpu.sms / peak(cluster_.gpu, format);
}

Timed CostModel::operator_time(const Operator& op, double sms) const {
  const bool left_out = (op.again && without_[Cause::kRecomputation]) ||
                        (op.kind == OpKind::kMemory && without_[Cause::kMemoryBound]) ||
                        (op.kind == OpKind::kGather && without_[Cause::kContextExchange]) ||
                        (op.kind == OpKind::kTensorExchange && without_[Cause::kTensorExchange]);
  if (left_out) return {0, Provenance::kMeasured};
  if (op.kind == OpKind::kGather) {
    return {cluster_.network.latency_s + std::max(nic_time(op.nic_bytes), nvlink_time(op.nvlink_bytes)),
            Provenance::kRoofline};
  }
  if (op.kind == OpKind::kTensorExchange) return {tensor_exchange_time(op.nvlink_bytes), Provenance::kRoofline};
  if (perfect()) return roofline(op, sms);
  if (const std::optional<Timed> given = given_time(calibration_.given, op)) return *given;
  if (!calibration_.has_tables()) return roofline(op, sms);
  if (is_gemm(op.kind)) return op.format == Format::kBf16 ? roofline(op, sms) : gemm_time(op, sms);
  if (op.kind == OpKind::kMemory) return memory_bound_time(op);
  return attention_time(op, sms);
}

Timed CostModel::roofline(const Operator& op, double sms) const {
  const double share = sms / cluster_.gpu.sms;
  double compute_efficiency = 1;
  double memory_efficiency = 1;
  double gap_s = 0;
  if (!perfect()) {
    compute_efficiency = assumptions_[efficiency_name(op)];
    memory_efficiency = assumptions_["memory_efficiency"];
    // Measured segments bring their own gaps.
    if (!calibration_.has_tables() && !without_[Cause::kLaunchGaps]) gap_s = assumptions_["kernel_gap"] * 1e-6;
  }
  const double bandwidth = cluster_.gpu.hbm_bandwidth * memory_efficiency;
  const double memory_s = (op.cost.bytes_read + op.cost.bytes_written) / bandwidth;
  if (op.kind == OpKind::kMemory) return {gap_s + memory_s, Provenance::kRoofline};
  const double compute_s = op.cost.flops / (peak(cluster_.gpu, op.format) * share * compute_efficiency);
  return {gap_s + std::max(compute_s, memory_s) + op.score_bytes / bandwidth, Provenance::kRoofline};
}

// Time at the operator's rows over time at `from_tokens`, by the nearest curve measured alone.
Timed CostModel::rows_ratio(const Operator& op, double from_tokens) const {
  // Rows of routed tokens differ a little from layer to layer of the profile, whose mean is the measurement.
  if (std::abs(op.tokens / from_tokens - 1) < kSameRows) return {op.tokens / from_tokens, Provenance::kMeasured};
  const GemmFamily* curve = nearest_curve(calibration_.alone_gemms, op);
  if (curve == nullptr) return {op.tokens / from_tokens, Provenance::kExtrapolated};
  const Timed here = interpolate(curve->tokens, curve->seconds, op.tokens, 1);
  const Timed there = interpolate(curve->tokens, curve->seconds, from_tokens, 1);
  return {here.seconds / there.seconds, weaker(weaker(here.provenance, there.provenance), Provenance::kInterpolated)};
}

// FLOP/s on one SM of the nearest shapes of the training run, by the inverse square of their distance.
double CostModel::nearest_efficiency(const Operator& op) const {
  double weights = 0;
  double sum = 0;
  for (const GemmFamily& family : calibration_.training_gemms) {
    if (family.kind != op.kind) continue;
    const double distance = std::max(0.1, shape_distance(family, op));
    const double rate = 2 * family.tokens.front() * family.n * family.k / family.seconds.front();
    sum += rate / calibration_.training_sms / (distance * distance);
    weights += 1 / (distance * distance);
  }
  core::check(weights > 0, "the training run has a GEMM of every kind");
  return sum / weights;
}

Timed CostModel::gemm_time(const Operator& op, double sms) const {
  const double carried = compute_ratio(op.format);
  const Provenance gpu = same_gpu_ ? Provenance::kMeasured : Provenance::kExtrapolated;
  if (const GemmFamily* training = same_shape(calibration_.training_gemms, op)) {
    const Timed rows = rows_ratio(op, training->tokens.front());
    const double seconds = training->seconds.front() * rows.seconds * calibration_.training_sms / sms * carried;
    const Provenance on_sms = sms == calibration_.training_sms ? Provenance::kMeasured : Provenance::kInterpolated;
    return {seconds, weaker(gpu, weaker(rows.provenance, on_sms))};
  }
  if (const GemmFamily* alone = same_shape(calibration_.alone_gemms, op)) {
    const Timed at = interpolate(alone->tokens, alone->seconds, op.tokens, 1);
    const double seconds = at.seconds * in_situ_factor_ * calibration_.reference.sms / sms * carried;
    return {seconds, weaker(gpu, weaker(at.provenance, Provenance::kInterpolated))};
  }
  // The nearest shapes' rate holds at their own rows; from there along a curve.
  const double from_tokens = op.groups > 1 ? op.tokens : calibration_.training_gemms.front().tokens.front();
  const double at_from = 2 * from_tokens * op.n * op.k / (nearest_efficiency(op) * sms);
  return {at_from * rows_ratio(op, from_tokens).seconds * carried, Provenance::kExtrapolated};
}

Timed CostModel::attention_time(const Operator& op, double sms) const {
  for (const AttentionFamily& training : calibration_.training_attention) {
    if (training.kind != op.kind || op.whole_scores) continue;
    // Work in pairs of query and key, head by head; longer sequences run at the rate of the forward kernel's curve.
    const double own_keys = training.keys.front();
    const double pairs = op.repeats * op.queries * (op.keys + 1) / (own_keys * (own_keys + 1));
    const double width = op.heads * (op.qk_dim + op.v_dim) / (training.heads * (training.qk_dim + training.v_dim));
    const bool same = op.repeats == 1 && op.queries == own_keys && op.keys == own_keys && width == 1;
    double slower = 1;
    if (op.keys != own_keys && !calibration_.alone_attention.empty()) {
      const AttentionFamily& curve = calibration_.alone_attention.front();
      const auto seconds_a_pair = [&curve](double keys) {
        return interpolate(curve.keys, curve.seconds, keys, 2).seconds / (keys * (keys + 1));
      };
      slower = seconds_a_pair(op.keys) / seconds_a_pair(own_keys);
    }
    const double seconds = training.seconds.front() * pairs * width * slower * calibration_.training_sms / sms *
                           compute_ratio(Format::kBf16);
    const bool inside =
        calibration_.alone_attention.empty() || op.keys <= calibration_.alone_attention.front().keys.back();
    Provenance provenance =
        same && sms == calibration_.training_sms ? Provenance::kMeasured : Provenance::kInterpolated;
    if (!inside || width != 1 || !same_gpu_) provenance = Provenance::kExtrapolated;
    return {seconds, provenance};
  }
  return roofline(op, sms);
}

Timed CostModel::memory_bound_time(const Operator& op) const {
  for (const MemoryTime& measured : calibration_.memory) {
    if (measured.op != op.name) continue;
    const double carried = calibration_.reference.hbm_bandwidth / cluster_.gpu.hbm_bandwidth;
    const double scale = op.rows * op.width / (measured.rows * measured.width);
    const bool same = std::abs(scale - 1) < kSameRows;
    const Provenance provenance = !same_gpu_ ? Provenance::kExtrapolated
                                  : same     ? Provenance::kMeasured
                                             : Provenance::kInterpolated;
    return {measured.seconds * scale * carried, provenance};
  }
  return roofline(op, cluster_.gpu.sms);
}

double CostModel::gap_s(workload::Segment segment) const {
  if (perfect() || without_[Cause::kLaunchGaps]) return 0;
  for (const SegmentGap& gap : calibration_.gaps) {
    if (gap.segment == workload::segment_name(segment)) return gap.seconds;
  }
  return 0;
}

double CostModel::nic_time(double bytes) const {
  const cluster::Network& network = cluster_.network;
  return bytes / ((perfect() ? network.nic_peak : network.nic_attainable) * network.nics_per_gpu);
}

double CostModel::nvlink_time(double bytes) const {
  return bytes / (perfect() ? cluster_.node.nvlink_peak : cluster_.node.nvlink_attainable);
}

double CostModel::tensor_exchange_time(double bytes) const {
  const double latency_s = cluster_.node.nvlink_latency_s;
  return (latency_s + nvlink_time(bytes)) * (perfect() ? 1 : 1 - assumptions_["tensor_overlap"]);
}

double CostModel::memory_time(double bytes) const {
  return bytes / (cluster_.gpu.hbm_bandwidth * (perfect() ? 1 : assumptions_["memory_efficiency"]));
}

}  // namespace lastbit::sim::cost
