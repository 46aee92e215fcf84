#include "sim/schedule/build.h"

#include <algorithm>

#include "core/error.h"
#include "core/suggest.h"

namespace lastbit::sim::schedule {

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all{
      {"1f1b", build_one_f_one_b}, {"dualpipe", build_dualpipe}, {"dualpipev", build_dualpipev}};
  return all;
}

Schedule build(std::string_view kind, const BuildParams& params) {
  if (params.ranks < 1) core::fail_input("pipeline ranks: found {}, expected at least 1", params.ranks);
  if (params.micro_batches < 1) core::fail_input("micro-batches: found {}, expected at least 1", params.micro_batches);
  const std::string_view name = kind == "zb1p" ? "zb-h1" : kind;
  const auto found = std::find_if(kinds().begin(), kinds().end(), [&](const Kind& k) { return k.name == name; });
  if (found != kinds().end()) return found->build(params);
  std::vector<std::string> names;
  for (const Kind& known : kinds()) names.push_back(known.name);
  std::string listed;
  for (const std::string& known : names) listed += (listed.empty() ? "" : ", ") + known;
  core::fail_input("unknown schedule '{}'{}; known: {}", kind, core::suggestion(kind, names), listed);
}

}  // namespace lastbit::sim::schedule
