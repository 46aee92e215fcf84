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
      {"gpipe", build_gpipe}, {"1f1b", build_one_f_one_b},  {"interleaved", build_interleaved}, {"zb-h1", build_zb_h1},
      {"zb-h2", build_zb_h2}, {"dualpipe", build_dualpipe}, {"dualpipev", build_dualpipev}};
  return all;
}

Schedule build(std::string_view kind, const BuildParams& params) {
  check_counts(params);
  const std::string_view name = kind == "zb1p" ? "zb-h1" : kind;
  if (name == "zb-v") core::fail_unsupported("schedule zb-v is not available; available: {}", fmt::join(names(), ", "));
  const auto found = std::find_if(kinds().begin(), kinds().end(), [&](const Kind& k) { return k.name == name; });
  if (found == kinds().end()) {
    core::fail_input("unknown schedule '{}'{}; known: {}", kind, core::suggestion(kind, names()),
                     fmt::join(names(), ", "));
  }
  if (params.chunks > 1 && name != "interleaved")
    core::fail_input("{} does not take a number of chunks: found {}, expected 1", name, params.chunks);
  return found->build(params);
}

Schedule build_uniform(std::string_view kind, BuildParams params, const StageTimes& times) {
  check_counts(params);
  params.stages.assign(static_cast<std::size_t>(params.ranks), times);
  return build(kind, params);
}

}  // namespace lastbit::sim::schedule
