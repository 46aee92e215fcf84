// A schedule as a file: somebody's own order, or any kind's lists written down. docs/schedules.md describes it.
#pragma once

#include <string>
#include <string_view>

#include "sim/schedule/schedule.h"

namespace lastbit::sim::schedule {

// TOML for ".toml", else JSON:
//   name = "mine"                   # optional, for messages and charts
//   micro_batches = 3               # in all
//   labels = "chunk"                # or "direction"; optional: "chunk". How verbs are written: see LabelStyle
//   stages = [[0, 3], [1, 2]]       # optional: what each rank holds, slot by slot; else rank r holds stage r
//   paths = [0, 1]                  # optional: the path of each slot, for micro-batches that enter at several ends
//   order = ["F0 F1 BW0 BW1", ...]  # each rank's verbs, separated by spaces or new lines; or [["F0", "F1", ...], ...]
// Errors (bad input): unknown keys, words that are no verbs, and what validate() refuses, in one line each.
[[nodiscard]] Schedule load_schedule(const std::string& path);
// The same from text in memory; `toml` or JSON.
[[nodiscard]] Schedule parse_schedule(std::string_view text, const std::string& name, bool toml);

// The schedule in that form, as TOML that a person can read: load_schedule() gives it back.
[[nodiscard]] std::string schedule_text(const Schedule& schedule);

}  // namespace lastbit::sim::schedule
