// Times of all-to-alls, of the cost model.
#include <algorithm>
#include <cmath>

#include "sim/cost/cost_model.h"

namespace lastbit::sim::cost {
namespace {

using workload::TransferKind;

bool is_dispatch(TransferKind kind) {
  return kind == TransferKind::kDispatchForward || kind == TransferKind::kDispatchBackward;
}

const TransferTime* find(const Calibration& calibration, TransferKind kind) {
  for (const TransferTime& measured : calibration.transfers) {
    if (measured.name == workload::transfer_name(kind)) return &measured;
  }
  return nullptr;
}

// The measured rate at the nearest number of expert ranks.
const TransferRate* nearest_rate(const Calibration& calibration, double expert_ranks) {
  const TransferRate* best = nullptr;
  const auto distance = [expert_ranks](const TransferRate& rate) {
    return std::abs(std::log2(rate.expert_ranks / expert_ranks));
  };
  for (const TransferRate& rate : calibration.transfer_rates) {
    if (best == nullptr || distance(rate) < distance(*best)) best = &rate;
  }
  return best;
}

}  // namespace

TransferCost CostModel::transfer_time(TransferKind kind, const workload::Transfer& transfer, double expert_ranks,
                                      Company company) const {
  TransferCost cost;
  if (without_[Cause::kExpertTransfers]) return cost;
  const double nvlink_s = nvlink_time(transfer.nvlink_bytes);
  if (perfect() || !calibration_.has_tables()) {
    cost.transfer = {std::max(nic_time(transfer.nic_bytes), nvlink_s), Provenance::kRoofline};
    cost.wait_s = perfect() ? 0 : cluster_.network.latency_s + assumptions_["expert_sync"] * 1e-6;
    return cost;
  }
  const Reference& reference = calibration_.reference;
  const double own_nic = cluster_.network.nic_attainable * cluster_.network.nics_per_gpu;
  const TransferRate* rate = nearest_rate(calibration_, expert_ranks);
  const TransferTime* measured = find(calibration_, kind);
  const bool same_network = own_nic == reference.nic_attainable;
  double logical_rate = is_dispatch(kind) ? rate->dispatch : rate->combine;
  bool same = rate->expert_ranks == expert_ranks;
  cost.wait_s = assumptions_["expert_sync"] * 1e-6 + (measured != nullptr ? measured->setup_s : 0);
  if (company == Company::kBesideCompute && measured != nullptr) {
    const double bytes =
        measured->tokens * measured->hidden * measured->bytes_per_element * calibration_.profile_places;
    logical_rate = bytes / measured->seconds;
    same = std::abs(transfer.logical_bytes / bytes - 1) < 1e-9;
    cost.wait_s = measured->wait_s + measured->setup_s;
  }
  const double nic_s =
      transfer.nic_bytes > 0 ? transfer.logical_bytes / (logical_rate * own_nic / reference.nic_attainable) : 0;
  cost.transfer = {std::max(nic_s, nvlink_s), same && same_network ? Provenance::kMeasured : Provenance::kInterpolated};
  return cost;
}

}  // namespace lastbit::sim::cost
