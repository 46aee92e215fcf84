// Flows as tasks of the event engine: a task's duration is what the network makes of it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/engine/engine.h"
#include "sim/network/flow_list.h"
#include "sim/network/max_min.h"

namespace lastbit::sim::network {

// Serves tasks that stand for flows, with max-min fair shares. A flow begins to share when its task begins: let the
// task depend on what it sends after `route_latency`, and the latency is over by then.
class FlowServer : public engine::Server {
 public:
  explicit FlowServer(const LinkList& links);

  // `task` sends `bytes` over `route`, which has at least one link. Before the engine runs.
  void assign(engine::TaskId task, double bytes, std::span<const std::uint32_t> route);

  void begin(engine::TaskId task, SimTime now) override;
  SimTime next_completion() override;
  void complete(SimTime now, std::vector<engine::TaskId>& done) override;

 private:
  MaxMin sharing_;
  FlowList flows_;                       // as assigned; their starts mean nothing
  std::vector<std::uint32_t> flow_of_;   // by task; kNone: not assigned
  std::vector<engine::TaskId> task_of_;  // by number in sharing_
  std::vector<std::uint32_t> finished_;

  static constexpr std::uint32_t kNone = UINT32_MAX;
};

}  // namespace lastbit::sim::network
