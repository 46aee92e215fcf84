#include "sim/network/solve.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "core/parallel.h"
#include "sim/network/components.h"
#include "sim/network/crossbar.h"
#include "sim/network/fold.h"
#include "sim/network/max_min.h"

namespace lastbit::sim::network {
namespace {

// The problem that is simulated: the flows as given, or one a class.
struct Problem {
  std::vector<double> capacity;
  FlowList folded;                     // one flow a class; empty when nothing is folded
  const FlowList* unfolded = nullptr;  // borrowed
  std::vector<double> begin_s;         // when flows begin to share
  std::vector<double> weight;          // empty: all 1
  std::vector<double> count;           // empty: all 1

  [[nodiscard]] const FlowList& flows() const { return unfolded != nullptr ? *unfolded : folded; }
};

// One link a class with the capacity of all, one flow a class that stands for all.
Problem fold_problem(const FlowList& flows, const Prepared& prepared, const Folding& folding) {
  Problem problem;
  for (std::size_t its = 0; its < folding.capacity.size(); ++its)
    problem.capacity.push_back(folding.capacity[its] * folding.links_in_class[its]);
  std::vector<std::uint32_t> route;
  for (std::size_t its = 0; its < folding.first_flow.size(); ++its) {
    const std::uint32_t first = folding.first_flow[its];
    route.clear();
    for (const std::uint32_t link : flows.route(first)) route.push_back(folding.class_of_link[link]);
    problem.folded.add(flows.start_s(first), flows.bytes(first), route);
    problem.begin_s.push_back(prepared.active_s[first]);
    problem.count.push_back(folding.flows_in_class[its]);
    if (!prepared.weight.empty()) problem.weight.push_back(prepared.weight[first]);
  }
  return problem;
}

using Recorder = std::function<void(std::uint32_t flow, double rate, double from_s, double to_s)>;

bool each_is_one(const Problem& problem, const std::vector<std::uint32_t>& members) {
  return problem.count.empty() || std::all_of(members.begin(), members.end(),
                                              [&problem](std::uint32_t flow) { return problem.count[flow] == 1; });
}

// Begins flows as they arrive, in the order of `arrivals`, and ends them as they are done. False if the sharing turns
// out not to be for these flows.
template <typename Sharing>
bool play_arrivals(const Problem& problem, const Components& components, const std::vector<std::uint32_t>& arrivals,
                   Sharing& sharing, std::vector<double>& completion) {
  const FlowList& flows = problem.flows();
  std::vector<std::uint32_t> route;
  std::vector<std::uint32_t> done;
  std::size_t next = 0;  // arrivals are begun in order, so a flow's number in `sharing` is its place among them
  while (true) {
    const double completes_s = sharing.next_completion_s();
    if constexpr (requires { sharing.inner_link_overloaded(); })
      if (sharing.inner_link_overloaded()) return false;
    const double arrives_s =
        next < arrivals.size() ? problem.begin_s[arrivals[next]] : std::numeric_limits<double>::infinity();
    if (completes_s == arrives_s && next == arrivals.size()) return true;
    if (completes_s <= arrives_s) {
      done.clear();
      sharing.complete(done);
      for (const std::uint32_t flow : done) completion[arrivals[flow]] = completes_s;
    }
    for (; next < arrivals.size() && problem.begin_s[arrivals[next]] == arrives_s && arrives_s <= completes_s; ++next) {
      const std::uint32_t flow = arrivals[next];
      const auto links = flows.route(flow);
      route.resize(links.size());
      for (std::size_t i = 0; i < links.size(); ++i) route[i] = components.local_link[links[i]];
      sharing.begin({flows.bytes(flow), problem.weight.empty() ? 1 : problem.weight[flow],
                     problem.count.empty() ? 1 : problem.count[flow]},
                    route, arrives_s);
    }
  }
}

// Plays one component to its end; completions by flow of the problem.
void play(const Problem& problem, const Components& components, std::size_t component, std::vector<double>& completion,
          const Recorder& recorder) {
  const FlowList& flows = problem.flows();
  const std::vector<std::uint32_t>& members = components.flows[component];
  std::vector<std::uint32_t> arrivals = members;
  const auto earlier = [&problem](std::uint32_t a, std::uint32_t b) { return problem.begin_s[a] < problem.begin_s[b]; };
  if (!std::is_sorted(arrivals.begin(), arrivals.end(), earlier))
    std::stable_sort(arrivals.begin(), arrivals.end(), earlier);
  std::vector<double> capacity;
  for (const std::uint32_t link : components.links[component]) capacity.push_back(problem.capacity[link]);
  std::size_t crossed = 0;
  for (const std::uint32_t flow : members) crossed += flows.route(flow).size();

  if (!recorder && problem.weight.empty() && each_is_one(problem, members)) {
    const CrossbarPorts ports = crossbar_ports(flows, members, components.local_link, capacity);
    if (!ports.first.empty()) {
      Crossbar sharing(ports);
      if (play_arrivals(problem, components, arrivals, sharing, completion)) return;
      // A link between the ports could not carry it: all again, by lists of flows.
    }
  }
  MaxMin::Recorder local_recorder;
  if (recorder)
    local_recorder = [&](std::uint32_t flow, double rate, double from_s, double to_s) {
      recorder(arrivals[flow], rate, from_s, to_s);
    };
  MaxMin sharing(std::move(capacity), std::move(local_recorder));
  sharing.reserve(members.size(), crossed);
  (void)play_arrivals(problem, components, arrivals, sharing, completion);  // for any flows
}

std::vector<double> play_all(const Problem& problem, const Components& components, const Recorder& recorder) {
  std::vector<double> completion(problem.flows().size());
  const auto num = static_cast<std::int64_t>(components.flows.size());
  // Few are played one by one, as they may be large; many by eights. A recorder is called from one thread.
  const std::int64_t grain = recorder ? num : std::min<std::int64_t>(8, num / 64);
  core::parallel_for(num, std::max<std::int64_t>(1, grain), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      play(problem, components, static_cast<std::size_t>(i), completion, recorder);
  });
  return completion;
}

// Bytes in each of the equal spans of [0, makespan], of what flows at `rate` from one time to another.
void add_to_bins(std::span<double> bins, double makespan_s, double rate, double from_s, double to_s) {
  const double width_s = makespan_s / static_cast<double>(bins.size());
  const auto bin_of = [&](double time_s) {
    return std::min(bins.size() - 1, static_cast<std::size_t>(time_s / width_s));
  };
  const std::size_t last = bin_of(to_s);
  for (std::size_t bin = bin_of(from_s); bin <= last; ++bin) {
    const double begin_s = std::max(from_s, static_cast<double>(bin) * width_s);
    const double end_s = bin == last ? to_s : static_cast<double>(bin + 1) * width_s;
    bins[bin] += rate * std::max(0.0, end_s - begin_s);
  }
}

// Bytes that each link of the problem carries a span: [links, bins]. Plays the problem once more, now that the
// makespan is known.
std::vector<double> bins_of(const Problem& problem, const Components& components, double makespan_s, int bins) {
  const auto width = static_cast<std::size_t>(bins);
  std::vector<double> all(problem.capacity.size() * width);
  if (makespan_s <= 0) return all;
  const Recorder recorder = [&](std::uint32_t flow, double rate, double from_s, double to_s) {
    const double sum = rate * (problem.count.empty() ? 1 : problem.count[flow]);
    for (const std::uint32_t link : problem.flows().route(flow))
      add_to_bins({all.data() + link * width, width}, makespan_s, sum, from_s, to_s);
  };
  (void)play_all(problem, components, recorder);
  return all;
}

// What each link of a class carries is the class's share.
std::vector<double> unfold_bins(const std::vector<double>& of_classes, const Folding& folding, std::size_t width) {
  std::vector<double> all(folding.class_of_link.size() * width);
  for (std::size_t link = 0; link < folding.class_of_link.size(); ++link) {
    const std::uint32_t its = folding.class_of_link[link];
    if (its == Folding::kUnused) continue;
    for (std::size_t bin = 0; bin < width; ++bin)
      all[link * width + bin] = of_classes[its * width + bin] / folding.links_in_class[its];
  }
  return all;
}

}  // namespace

double Answer::utilisation(const LinkList& links, std::size_t link) const {
  return makespan_s > 0 ? link_bytes[link] / (links.capacity[link] * makespan_s) : 0;
}

std::vector<double> Answer::utilisation_over_time(const LinkList& links, std::size_t link, std::size_t bins) const {
  std::vector<double> all(bins);
  if (makespan_s <= 0) return all;
  const double most = links.capacity[link] * makespan_s / static_cast<double>(bins);
  for (std::size_t bin = 0; bin < bins; ++bin) all[bin] = bin_bytes[link * bins + bin] / most;
  return all;
}

double worst_relative_difference(const std::vector<double>& found, const std::vector<double>& expected) {
  double worst = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::abs(found[i] - expected[i]);
    worst = std::max(worst, expected[i] == 0 ? difference : difference / std::abs(expected[i]));
  }
  return worst;
}

Answer solve(const LinkList& links, const FlowList& flows, const SolveOptions& options) {
  Prepared prepared = prepare(links, flows, options.sharing);
  std::optional<Folding> folding;
  if (options.fold && flows.size() > 0) folding = fold(links, flows, prepared);
  const Problem problem =
      folding ? fold_problem(flows, prepared, *folding)
              : Problem{links.capacity, {}, &flows, std::move(prepared.active_s), std::move(prepared.weight), {}};
  prepared = {};
  const Components components = find_components(problem.capacity.size(), problem.flows());
  Answer answer;
  answer.flow_classes = problem.flows().size();
  answer.components = components.flows.size();
  std::vector<double> completion = play_all(problem, components, {});
  for (const double time_s : completion) answer.makespan_s = std::max(answer.makespan_s, time_s);
  if (options.bins > 0) {
    answer.bin_bytes = bins_of(problem, components, answer.makespan_s, options.bins);
    if (folding) answer.bin_bytes = unfold_bins(answer.bin_bytes, *folding, static_cast<std::size_t>(options.bins));
  }
  if (folding) {
    answer.completion_s.resize(flows.size());
    for (std::size_t flow = 0; flow < flows.size(); ++flow)
      answer.completion_s[flow] = completion[folding->class_of_flow[flow]];
  } else {
    answer.completion_s = std::move(completion);
  }
  answer.link_bytes.assign(links.size(), 0.0);
  for (std::size_t flow = 0; flow < flows.size(); ++flow)
    for (const std::uint32_t link : flows.route(flow)) answer.link_bytes[link] += flows.bytes(flow);
  return answer;
}

}  // namespace lastbit::sim::network
