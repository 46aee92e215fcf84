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
  int activation_limit = 0;  // zero-bubble kinds: most in flight on a rank; 0: the kind's own default
  // Zero-bubble kinds place W by time, so their lists depend on the durations of a stage's verbs and on a hop.
  std::vector<StageTimes> stages{};  // [stages] for the zero-bubble kinds, unused otherwise
  SimTime hop{};
};

// GPipe (Huang et al. 2019): all forwards, then all backwards.
[[nodiscard]] Schedule build_gpipe(const BuildParams& params);
// 1F1B (PipeDream-Flush; Narayanan et al. 2021, section 2.2): rank r runs min(P-r-1, M) forwards, then one forward
// and one full backward in turn, then the backwards that are left.
[[nodiscard]] Schedule build_one_f_one_b(const BuildParams& params);
// Interleaved 1F1B (same source): v = chunks >= 2 stages a rank, M a multiple of P, 2(P-r-1) + (v-1)P warm-up chunks.
[[nodiscard]] Schedule build_interleaved(const BuildParams& params);
// ZB-H1 (Qi et al. 2024; "ZB1P" in the DeepSeek-V3 report): weight parts deferred into bubbles with at most
// activation_limit micro-batches in flight on any rank, counted from F's start to W's end; default P, what 1F1B needs
// on its first rank. The lists depend on the durations.
[[nodiscard]] Schedule build_zb_h1(const BuildParams& params);
// ZB-H2: the same with a default limit of 2P.
[[nodiscard]] Schedule build_zb_h2(const BuildParams& params);
// ZB-V (same authors): two stages a rank, r and 2P-1-r; at most activation_limit chunks (halves of a rank's work on a
// micro-batch) in flight, default 2P: the memory of 1F1B's first rank. No bubble but the wait for the first forward
// when F, input gradient and W take equal time. The lists depend on the durations.
[[nodiscard]] Schedule build_zb_v(const BuildParams& params);
// DualPipe (DeepSeek-V3 report, section 3.2.1; deepseek-ai/DualPipe): P and M even, M >= 2P.
[[nodiscard]] Schedule build_dualpipe(const BuildParams& params);
// DualPipeV (deepseek-ai/DualPipe): P ranks hold 2P stages, rank r the stages r and 2P-1-r; M >= 2P.
[[nodiscard]] Schedule build_dualpipev(const BuildParams& params);

struct Kind {
  std::string name;
  int slots;  // stages of the model for each rank; 0: params.chunks
  std::function<Schedule(const BuildParams&)> build;
};

// Every kind that can be built.
[[nodiscard]] const std::vector<Kind>& kinds();

// The kind of that name; hyphens may be underscores or missing, and "zb1p" is "zb-h1", "interleaved-1f1b"
// "interleaved". Unknown: Error(kInput) with a suggestion.
[[nodiscard]] const Kind& find_kind(std::string_view name);
// How many stages of the model a kind has: one duration of each verb for every one of them makes params.stages.
[[nodiscard]] int stage_count(const Kind& kind, const BuildParams& params);

// For kinds whose lists depend on durations: Error(kInput) unless params.stages has `stages` of them.
void check_stage_times(const char* kind, const BuildParams& params, int stages);

// Builds the kind of that name.
[[nodiscard]] Schedule build(std::string_view kind, const BuildParams& params);
// The same with equal stages: params.stages is filled in.
[[nodiscard]] Schedule build_uniform(std::string_view kind, BuildParams params, const StageTimes& times);

}  // namespace lastbit::sim::schedule
