// Flows that share links max-min fairly, kept up to date as flows come and go.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

namespace lastbit::sim::network {

// One flow as the sharing sees it; its latency is over when it begins.
struct SharedFlow {
  double bytes = 0;
  double weight = 1;  // its rate is weight x the level of its bottleneck
  double count = 1;   // identical flows that this one stands for: each has its bytes and its rate
};

// Max-min fair rates by progressive filling (Bertsekas and Gallager, "Data Networks", section 6.5.2): all levels
// (rate / weight) rise together; when a link is full, its flows are frozen at that level and the others rise on.
//
// What makes it fast: links are kept in the order in which they were full, each with the group of flows that froze on
// it. A flow that leaves at level x changes nothing below x (there it held no capacity that anyone else was short of),
// and a flow that comes changes nothing below the least level at which one of its links can possibly be full, so only
// the end of the order is filled again. Within a group all flows have one level, so a group keeps one clock, the
// service it gave to a unit of weight; a flow finishes when the clock reaches a value that stays put while the level
// moves. Running minima of the groups' finishes along the order find the next completion without a search.
// `progressive_filling` is the plain twin.
class MaxMin {
 public:
  // Called when a span of a flow's life at one rate ends: flow, rate in B/s of each it stands for, from, to.
  using Recorder = std::function<void(std::uint32_t flow, double rate, double from_s, double to_s)>;

  explicit MaxMin(std::vector<double> capacity, Recorder recorder = {});

  void reserve(std::size_t flows, std::size_t links_of_all_routes);
  // A flow that begins to share at `now_s`, which never goes back. Returns its number: 0, 1, ...
  // Link numbers are below the number of capacities, and a route has at least one.
  std::uint32_t begin(const SharedFlow& flow, std::span<const std::uint32_t> route, double now_s);
  // When the next flow finishes if nothing else begins; infinity when none is left.
  [[nodiscard]] double next_completion_s();
  // Ends the flows that finish at next_completion_s() and appends their numbers to `done`, in an order that depends on
  // nothing but the calls so far.
  void complete(std::vector<std::uint32_t>& done);

 private:
  enum class State : std::uint8_t { kFrozen, kOpen, kDone };
  // Flows and links are visited in no order, so that none lies across two cache lines.
  struct alignas(32) Flow {
    double usage_weight;  // count x weight: what a unit of level takes of each link on the route
    double finish;        // reading of its group's clock at which it is done; bytes / weight while it has no group
    std::uint32_t route;  // in routes_
    std::uint32_t length;
    std::uint32_t group;  // the link it froze on, kNone before
    State state;
  };
  struct Link {          // what filling goes through: kept small
    double residual;     // capacity less what flows take that froze elsewhere
    double open_weight;  // sum of usage_weight of open flows
    std::uint32_t open;  // their number
    std::uint32_t mark;  // the fill that last touched it
  };
  struct Clock {  // of a link's group
    double level;
    double service;  // its reading at service_s
    double service_s;
    double finish_s;  // of the first flow of the group
    [[nodiscard]] double at(double now_s) const { return service + level * (now_s - service_s); }
  };
  struct Full {
    double level;
    std::uint32_t link;
    std::uint32_t first;  // position of the earliest finish up to here
  };
  struct Freezing {  // a link while its flows freeze
    std::uint32_t link;
    double level;
    double clock;        // of its group, now
    std::uint32_t open;  // flows still to freeze
    double earliest;     // finish among those frozen, by the clock
  };
  struct Candidate {
    double level;
    std::uint32_t link;
  };
  static constexpr std::uint32_t kNone = UINT32_MAX;

  void fill();
  [[nodiscard]] std::size_t first_to_redo();
  void reopen(std::size_t position);
  void open_begun();
  bool freeze_in_order(bool guess);
  [[nodiscard]] bool overtaken(std::uint32_t number, double reached) const;
  void freeze_link(std::uint32_t number, double level);
  void freeze_flow(std::uint32_t number, Freezing& on_own);
  void settle(std::uint32_t number, double level);
  void touch(std::uint32_t link);
  void sift_down();
  void record(std::uint32_t flow, double rate);
  [[nodiscard]] std::span<const std::uint32_t> route_of(const Flow& flow) const {
    return {routes_.data() + flow.route, flow.length};
  }

  std::vector<double> capacity_;
  Recorder recorder_;
  std::vector<Link> links_;
  std::vector<Clock> clocks_;
  std::vector<double> total_weight_;                 // of the flows alive on each link
  std::vector<std::vector<std::uint32_t>> on_link_;  // flows of each link, some of them done
  std::vector<std::vector<std::uint32_t>> group_;    // those that froze on it
  std::vector<Flow> flows_;
  std::vector<double> weight_;  // of each flow
  std::vector<std::uint32_t> routes_;
  std::vector<Full> order_;           // links in the order in which they were full: levels never fall along it
  std::vector<std::uint32_t> begun_;  // since the last fill
  std::vector<std::uint32_t> touched_;
  std::vector<Candidate> heap_;
  std::vector<std::pair<double, double>> recorded_;  // rate of each flow and since when; with a recorder only
  double now_s_ = 0;
  double redo_level_;  // what lies below it stands
  std::uint32_t fills_ = 0;
};

}  // namespace lastbit::sim::network
