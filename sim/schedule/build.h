// Schedules by name.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/schedule/execute.h"
#include "sim/schedule/schedule.h"

namespace lastbit::sim::schedule {

// What a schedule is built from. A rule that a kind sets and the parameters break is an Error(kInput) that names it.
struct BuildParams {
  int ranks = 1;             // pipeline ranks P, >= 1
  int micro_batches = 1;     // M a step and pipeline, >= 1
  int chunks = 1;            // stages a rank holds; interleaved only
  int activation_limit = 0;  // zero-bubble kinds: most micro-batches in flight on a rank; 0: the kind's own default
  // Zero-bubble kinds place W by time, so their lists depend on the durations of a stage's verbs and on a hop.
  std::vector<StageTimes> stages;  // [ranks] for the zero-bubble kinds, unused otherwise
  SimTime hop;
};

// 1F1B (PipeDream-Flush; Narayanan et al. 2021, section 2.2): rank r runs min(P-r-1, M) forwards, then one forward
// and one full backward in turn, then the backwards that are left.
[[nodiscard]] Schedule build_one_f_one_b(const BuildParams& params);
// DualPipe (DeepSeek-V3 report, section 3.2.1; deepseek-ai/DualPipe): P and M even, M >= 2P.
[[nodiscard]] Schedule build_dualpipe(const BuildParams& params);
// DualPipeV (deepseek-ai/DualPipe): P ranks hold 2P stages, rank r the stages r and 2P-1-r; M >= 2P.
[[nodiscard]] Schedule build_dualpipev(const BuildParams& params);

struct Kind {
  std::string name;
  std::function<Schedule(const BuildParams&)> build;
};

// Every kind that can be built.
[[nodiscard]] const std::vector<Kind>& kinds();

// Builds the kind of that name ("zb1p" is "zb-h1"). Unknown: Error(kInput) with a suggestion.
[[nodiscard]] Schedule build(std::string_view kind, const BuildParams& params);

}  // namespace lastbit::sim::schedule
