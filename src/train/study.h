// Studies: the same run with one thing changed at a time, and what came of it.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "train/train_run.h"

namespace lastbit::train {

struct StudyVariant {
  std::string name;
  std::vector<std::string> settings;  // of the base config
  std::string from = {};              // an earlier variant, whose weights it starts from
};

// What a paper says of the results, to be held against them.
struct StudyClaim {
  std::string variant;
  std::string measure;  // relative_difference, max_violation, validation_difference
  double below = 0;     // the claim: the measure is below this; or, above it
  bool above = false;
  std::string source;
};

struct Study {
  std::string name;
  std::string title;
  std::string question;
  std::string base;       // a training preset
  std::string reference;  // the variant that the others are compared with
  std::vector<StudyVariant> variants;
  std::vector<StudyClaim> claims;
};

// data/studies/NAME.toml. Errors (bad input): an unknown name, with a suggestion; unknown keys; a reference or a
// claim's variant that is not there; a variant `from` one that does not stand before it.
[[nodiscard]] Study load_study(const std::string& name);
[[nodiscard]] std::vector<std::string> study_names();

// Sizes of models and runs: "micro" (minutes), "tiny" (half an hour a variant), "small" (a long run elsewhere).
[[nodiscard]] const std::vector<std::string>& study_scales();
// What a scale changes in a study's base; a variant's own settings go before it. Errors (bad input): no such scale.
[[nodiscard]] std::vector<std::string> settings_of_scale(const std::string& scale);

struct StudyOptions {
  std::string output;  // a folder; runs go below, and an interrupted study goes on
  std::string scale = "micro";
  std::vector<std::string> settings;  // that go before the variants' own
  // Every variant runs once for each, below seed-N of the folder, and results are means; none: once, with the seed of
  // the base or of the settings.
  std::vector<std::uint64_t> seeds;
  std::string commit;  // for the record
  std::function<bool()> stop;
  std::function<void(const std::string& variant, const RunProgress& progress)> progress;
};

// Runs what is left to run, then writes results.json, README.md (the table and what was seen), loss.svg and
// difference.svg into the folder. Variants are compared seed by seed, at the same step; with several seeds a result
// also has "by_seed" and the standard error of the mean difference. Returns results.json; without "results" when it was
// stopped. Errors (bad input): a seed that is there twice.
[[nodiscard]] nlohmann::json run_study(const Study& study, const StudyOptions& options);

// The table and the claims, as Markdown.
[[nodiscard]] std::string study_text(const nlohmann::json& results);

}  // namespace lastbit::train
