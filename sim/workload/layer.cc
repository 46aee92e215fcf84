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

LayerWork layer_work(const LayerSetting& setting, bool moe) {
  LayerWork work;
  add_attention(setting, work);
  if (moe) {
    add_moe_ffn(setting, work);
  } else {
    add_dense_ffn(setting, work);
  }
  return work;
}

}  // namespace lastbit::sim::workload
