// Durations of a layer's operators from a file, for schedules whose chunks are simulated operator by operator.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sim/schedule/overlap.h"

namespace lastbit::sim::schedule {

// TOML for ".toml", else JSON; all times in one unit, the file's own:
//   layers = 4                # of each stage, or one number a stage: [3, 4, 4, 2]
//   [compute]                 # of one layer, with the GPU to itself: attention_forward, mlp_forward, mlp_backward
//   attention_forward = 1.2   # (input gradient), mlp_weight, attention_backward (input gradient), attention_weight
//   [compute_beside]          # optional, the same keys: while communication takes its share of the GPU
//   [communication]           # optional: dispatch_forward, combine_forward, dispatch_backward, combine_backward
//   [[ends]]                  # optional, any number: what a stage computes before its layers ("first") or after them
//   stage = 3                 # ("last"), such as an embedding or a head
//   where = "last"
//   forward = 2.0
//   backward = 2.5            # input gradient
//   weight = 2.0
// The units of each of `stages` stages. Errors (bad input): unknown or missing keys, times below 0, numbers of layers
// for another number of stages, a stage that is not there.
[[nodiscard]] std::vector<Units> load_operators(const std::string& path, int stages);
// The same from text in memory; `toml` or JSON.
[[nodiscard]] std::vector<Units> parse_operators(std::string_view text, const std::string& name, bool toml, int stages);

}  // namespace lastbit::sim::schedule
