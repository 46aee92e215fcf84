#include "sim/workload/layer.h"

#include "sim/workload/attention.h"
#include "sim/workload/feed_forward.h"

namespace lastbit::sim::workload {

const char* segment_name(Segment segment) {
  switch (segment) {
    case Segment::kAttentionForward:
      return "attention_forward";
    case Segment::kMlpForward:
      return "mlp_forward";
    case Segment::kMlpBackward:
      return "mlp_backward";
    case Segment::kMlpWeight:
      return "mlp_weight";
    case Segment::kAttentionBackward:
      return "attention_backward";
    case Segment::kAttentionWeight:
      return "attention_weight";
  }
  return "";
}

const char* transfer_name(TransferKind kind) {
  switch (kind) {
    case TransferKind::kDispatchForward:
      return "dispatch_forward";
    case TransferKind::kCombineForward:
      return "combine_forward";
    case TransferKind::kDispatchBackward:
      return "dispatch_backward";
    case TransferKind::kCombineBackward:
      return "combine_backward";
  }
  return "";
}

double LayerWork::model_flops() const {
  double flops = 0;
  for (const std::vector<Operator>& segment : segments) {
    for (const Operator& op : segment) flops += op.model_flops;
  }
  return flops;
}

namespace {

// Every layer runs forward once more before its backward, its all-to-alls too.
void recompute_layer(LayerWork& work) {
  const auto again = [&work](Segment from, Segment to) {
    std::vector<Operator> list;
    for (const Operator& op : work.at(from)) list.push_back(recomputed(op));
    std::vector<Operator>& backward = work.at(to);
    backward.insert(backward.begin(), list.begin(), list.end());
  };
  again(Segment::kMlpForward, Segment::kMlpBackward);
  again(Segment::kAttentionForward, Segment::kMlpBackward);
  const auto add_transfer = [&work](TransferKind from, TransferKind to) {
    const std::optional<Transfer>& once = work.transfers[static_cast<std::size_t>(from)];
    if (!once) return;
    Transfer& sum = *work.transfers[static_cast<std::size_t>(to)];
    sum.logical_bytes += once->logical_bytes;
    sum.nic_bytes += once->nic_bytes;
    sum.nvlink_bytes += once->nvlink_bytes;
  };
  add_transfer(TransferKind::kDispatchForward, TransferKind::kDispatchBackward);
  add_transfer(TransferKind::kCombineForward, TransferKind::kCombineBackward);
}

}  // namespace

LayerWork layer_work(const LayerSetting& setting, bool moe) {
  LayerWork work;
  add_attention(setting, work);
  if (moe) {
    add_moe_ffn(setting, work);
  } else {
    add_dense_ffn(setting, work);
  }
  if (setting.recompute == Recompute::kFull) recompute_layer(work);
  return work;
}

}  // namespace lastbit::sim::workload
