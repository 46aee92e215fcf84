// Reads the schedule timelines of ../shared/groundtruth/pipeline.
#pragma once

#include <string>
#include <vector>

#include "sim/schedule/build.h"

namespace lastbit::sim::schedule {

struct Golden {
  std::string name;
  std::string kind;  // as in the file: "1f1b", "zb_h1", "interleaved_1f1b", ...
  BuildParams params;
  StageTimes times;
  SimTime fused;
  double total = 0;
  double formula_bubble = 0;
  std::vector<double> finish;
  std::vector<double> busy;
  std::vector<double> bubble;
  std::vector<int> peak;
  std::vector<std::vector<std::string>> order;  // empty where the file has none
};

// Every file of a kind.
std::vector<Golden> load_golden(const std::string& kind);

}  // namespace lastbit::sim::schedule
