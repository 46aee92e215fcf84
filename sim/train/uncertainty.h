// How sure a forecast is, and what its step is made of.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/train/phase.h"

namespace lastbit::sim::train {

// What of the headline step follows from values drawn from the assumptions' ranges.
struct Uncertainty {
  int samples = 0;  // 0: nothing has a range
  double p5_s = 0;
  double p50_s = 0;
  double p95_s = 0;
  // One assumption alone at either end of its range, the others at their values.
  struct Swing {
    std::string name;
    double low = 0;
    double high = 0;
    double step_at_low_s = 0;
    double step_at_high_s = 0;
  };
  std::vector<Swing> swings;  // the widest first
};

// Latin hypercube: every range is cut into `samples` equal parts, each drawn from once; values are uniform within
// ranges and independent of each other. The same seed gives the same figures whatever the number of threads.
[[nodiscard]] Uncertainty step_uncertainty(const model::ModelConfig& model, const Job& job,
                                           const cluster::Cluster& cluster, const cost::Calibration& calibration,
                                           const Phase& phase, int samples, std::uint64_t seed);

// What the step loses when one cause is left out. Causes overlap: the sum is not the step.
struct Contribution {
  std::string cause;
  double seconds = 0;
};

// Of every cause that adds at least a thousandth, the largest first.
[[nodiscard]] std::vector<Contribution> step_contributions(const model::ModelConfig& model, const Job& job,
                                                           const cluster::Cluster& cluster,
                                                           const cost::Calibration& calibration, const Phase& phase,
                                                           double step_s);

}  // namespace lastbit::sim::train
