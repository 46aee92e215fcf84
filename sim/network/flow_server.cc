#include "sim/network/flow_server.h"

#include <algorithm>

#include "core/error.h"

namespace lastbit::sim::network {

FlowServer::FlowServer(const LinkList& links) : sharing_(links.capacity) {}

void FlowServer::assign(engine::TaskId task, double bytes, std::span<const std::uint32_t> route) {
  core::check(!route.empty(), "a flow crosses a link");
  if (flow_of_.size() <= task.index) flow_of_.resize(task.index + 1, kNone);
  flow_of_[task.index] = flows_.add(0, bytes, route);
}

void FlowServer::begin(engine::TaskId task, SimTime now) {
  core::check(task.index < flow_of_.size() && flow_of_[task.index] != kNone, "the task has a flow");
  const std::uint32_t flow = flow_of_[task.index];
  sharing_.begin({.bytes = flows_.bytes(flow)}, flows_.route(flow), now.s);
  task_of_.push_back(task);
}

SimTime FlowServer::next_completion() { return {sharing_.next_completion_s()}; }

void FlowServer::complete(SimTime, std::vector<engine::TaskId>& done) {
  finished_.clear();
  sharing_.complete(finished_);
  std::sort(finished_.begin(), finished_.end());
  for (const std::uint32_t number : finished_) done.push_back(task_of_[number]);
}

}  // namespace lastbit::sim::network
