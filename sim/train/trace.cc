#include "sim/train/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <memory>
#include <numeric>

#include "core/error.h"
#include "sim/report/perfetto.h"
#include "sim/report/pipeline.h"

namespace lastbit::sim::train {
namespace {

using schedule::Op;
using schedule::Verb;

constexpr std::size_t kMostTraced = 131072;

int rank_number(std::string_view text, const std::string& whole, int world) {
  int rank = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), rank);
  if (error != std::errc{} || end != text.data() + text.size() || rank < 0 || rank >= world) {
    core::fail_input("--trace-ranks: found '{}', expected pipeline, all, or ranks below {} as in 0-15,128", whole,
                     world);
  }
  return rank;
}

// What leaves a rank at the end of a verb, on a track for each pair of ranks.
class LinkTracks {
 public:
  LinkTracks(report::Trace& trace, int process) : trace_(trace), process_(process) {}

  void sent(int from, int to, const char* what, SimTime at, double hop_s) {
    const auto [place, added] = tracks_.try_emplace({from, to}, static_cast<int>(tracks_.size()));
    if (added) trace_.name_thread(process_, place->second, fmt::format("link {} to {}", from, to));
    double& free_at = free_[place->second];
    const double start = std::max(at.s, free_at);
    free_at = start + hop_s;
    trace_.span(process_, place->second, what, "pipeline transfer", {start}, {start + hop_s});
  }

 private:
  report::Trace& trace_;
  int process_;
  std::map<std::pair<int, int>, int> tracks_;
  std::map<int, double> free_;
};

// The rank that holds a stage next to that of `chunk`; -1: there is none, or the rank itself.
int neighbour(const schedule::Schedule& lists, int rank, const schedule::Chunk& chunk, int direction) {
  const schedule::Placement& own = lists.at(rank, chunk.slot);
  const int stage = own.stage + direction;
  for (int other = 0; other < lists.ranks; ++other) {
    for (const schedule::Placement& slot : lists.placement[static_cast<std::size_t>(other)]) {
      if (slot.stage == stage && slot.path == own.path) return other == rank ? -1 : other;
    }
  }
  return -1;
}

void add_links(const Forecast& forecast, report::Trace& trace, int process) {
  const PhaseForecast& main = forecast.main();
  if (main.hop_s <= 0) return;
  trace.name_process(process, "links between pipeline ranks");
  LinkTracks links(trace, process);
  struct Message {
    SimTime at;
    int from;
    int to;
    const char* what;
  };
  std::vector<Message> messages;
  for (int rank = 0; rank < main.lists.ranks; ++rank) {
    for (const schedule::TimedOp& timed : main.execution.timeline[static_cast<std::size_t>(rank)]) {
      const Op& op = timed.op;
      const bool forward = op.verb == Verb::kForward || op.verb == Verb::kFused;
      const bool backward = op.verb == Verb::kBackward || op.verb == Verb::kBackwardInput || op.verb == Verb::kFused;
      if (forward) {
        const int to = neighbour(main.lists, rank, op.chunk, 1);
        if (to >= 0) messages.push_back({timed.end, rank, to, "activation"});
      }
      if (backward) {
        const int to = neighbour(main.lists, rank, op.verb == Verb::kFused ? op.second : op.chunk, -1);
        if (to >= 0) messages.push_back({timed.end, rank, to, "gradient"});
      }
    }
  }
  std::stable_sort(messages.begin(), messages.end(), [](const Message& a, const Message& b) { return a.at < b.at; });
  for (const Message& message : messages) links.sent(message.from, message.to, message.what, message.at, main.hop_s);
}

}  // namespace

TraceRanks parse_trace_ranks(const std::string& text, int world) {
  TraceRanks result;
  if (text.empty() || text == "pipeline") return result;
  result.pipeline = false;
  if (text == "all") {
    result.ranks.resize(static_cast<std::size_t>(world));
    std::iota(result.ranks.begin(), result.ranks.end(), 0);
  } else {
    std::string_view rest = text;
    while (!rest.empty()) {
      const std::string_view item = rest.substr(0, rest.find(','));
      const std::size_t dash = item.find('-');
      const int first = rank_number(item.substr(0, dash), text, world);
      const int last = dash == std::string_view::npos ? first : rank_number(item.substr(dash + 1), text, world);
      if (last < first) {
        core::fail_input("--trace-ranks: found '{}', whose range {} runs backwards, expected ranges as in 0-15", text,
                         item);
      }
      for (int rank = first; rank <= last; ++rank) result.ranks.push_back(rank);
      rest.remove_prefix(std::min(rest.size(), item.size() + 1));
    }
    std::sort(result.ranks.begin(), result.ranks.end());
    result.ranks.erase(std::unique(result.ranks.begin(), result.ranks.end()), result.ranks.end());
  }
  if (result.ranks.size() > kMostTraced) {
    core::fail_input("--trace-ranks: {} ranks, expected at most {}", result.ranks.size(), kMostTraced);
  }
  return result;
}

void write_trace(const Forecast& forecast, const std::string& path, const TraceRanks& ranks) {
  const PhaseForecast& main = forecast.main();
  const std::unique_ptr<report::Trace> trace = report::open_trace(path);
  if (ranks.pipeline) {
    report::add_pipeline(*trace, 0, main.lists, main.execution);
    for (int rank = 0; rank < main.lists.ranks; ++rank) {
      trace->span(0, rank, "optimizer", "optimizer", {main.pipeline_s}, {main.step_s});
    }
  } else {
    const int stage_ranks = main.groups.world / main.lists.ranks;
    trace->name_process(0, fmt::format("{} ranks, {}", main.groups.world, main.schedule));
    for (const int rank : ranks.ranks) {
      const int pipeline_rank = rank / stage_ranks;
      trace->name_thread(0, rank, fmt::format("rank {} (pipeline rank {})", rank, pipeline_rank));
      report::add_rank(*trace, 0, rank, main.lists, main.execution, pipeline_rank);
      trace->span(0, rank, "optimizer", "optimizer", {main.pipeline_s}, {main.step_s});
    }
  }
  add_links(forecast, *trace, 1);
  trace->finish();
}

}  // namespace lastbit::sim::train
