#include "sim/schedule/build.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"
#include "core/suggest.h"

namespace lastbit::sim::schedule {
namespace {

// Most verbs of all lists together: beyond it the lists alone would take several GB.
constexpr std::int64_t kMostVerbs = 100'000'000;

void check_counts(const BuildParams& params) {
  if (params.ranks < 1) core::fail_input("pipeline ranks: found {}, expected at least 1", params.ranks);
  if (params.micro_batches < 1) core::fail_input("micro-batches: found {}, expected at least 1", params.micro_batches);
  if (params.chunks < 1) core::fail_input("chunks a rank: found {}, expected at least 1", params.chunks);
  if (params.activation_limit < 0) {
    core::fail_input("activation limit: found {}, expected at least 1, or 0 for the schedule's own",
                     params.activation_limit);
  }
  const double verbs = 3.0 * params.ranks * params.micro_batches * params.chunks;
  if (verbs > static_cast<double>(kMostVerbs)) {
    core::fail_input("{} ranks x {} micro-batches x {} chunks make {:.3g} verbs, expected at most {}", params.ranks,
                     params.micro_batches, params.chunks, verbs, kMostVerbs);
  }
}

// Names that a suggestion may offer.
std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const Kind& kind : kinds()) all.push_back(kind.name);
  return all;
}

}  // namespace

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all{
      {"gpipe", 1, build_gpipe},       {"1f1b", 1, build_one_f_one_b},   {"interleaved", 0, build_interleaved},
      {"zb-h1", 1, build_zb_h1},       {"zb-h2", 1, build_zb_h2},        {"zb-v", 2, build_zb_v},
      {"dualpipe", 1, build_dualpipe}, {"dualpipev", 2, build_dualpipev}};
  return all;
}

const Kind& find_kind(std::string_view name) {
  const auto plain = [](std::string_view text) {
    std::string letters(text);
    std::erase_if(letters, [](char c) { return c == '-' || c == '_'; });
    return letters;
  };
  std::string wanted = plain(name);
  if (wanted == "zb1p") wanted = "zbh1";
  if (wanted == "interleaved1f1b") wanted = "interleaved";
  const auto found =
      std::find_if(kinds().begin(), kinds().end(), [&](const Kind& k) { return plain(k.name) == wanted; });
  if (found == kinds().end()) {
    core::fail_input("unknown schedule '{}'{}; known: {}", name, core::suggestion(name, names()),
                     fmt::join(names(), ", "));
  }
  return *found;
}

void check_stage_times(const char* kind, const BuildParams& params, int stages) {
  if (params.stages.size() != static_cast<std::size_t>(stages)) {
    core::fail_input("{} on {} ranks has {} stages, found durations of {}", kind, params.ranks, stages,
                     params.stages.size());
  }
}

int stage_count(const Kind& kind, const BuildParams& params) {
  check_counts(params);
  return params.ranks * (kind.slots == 0 ? params.chunks : kind.slots);
}

Schedule build(std::string_view kind, const BuildParams& params) {
  check_counts(params);
  const Kind& found = find_kind(kind);
  if (params.chunks > 1 && found.slots != 0)
    core::fail_input("{} does not take a number of chunks: found {}, expected 1", found.name, params.chunks);
  return found.build(params);
}

Schedule build_uniform(std::string_view kind, BuildParams params, const StageTimes& times) {
  params.stages.assign(static_cast<std::size_t>(stage_count(find_kind(kind), params)), times);
  return build(kind, params);
}

}  // namespace lastbit::sim::schedule
