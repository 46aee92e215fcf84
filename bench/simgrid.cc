#include "bench/simgrid.h"

#ifdef LASTBIT_SIMGRID
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <simgrid/s4u.hpp>
#include <string>
#endif

namespace lastbit::bench {

#ifndef LASTBIT_SIMGRID

SimgridRun run_simgrid(const sim::network::LinkList&, const sim::network::FlowList&,
                       const std::vector<std::pair<std::uint32_t, std::uint32_t>>&, SimgridActors) {
  return {};
}

#else

namespace {

namespace s4u = simgrid::s4u;

double now_s() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

SimgridRun simulate(const sim::network::LinkList& links, const sim::network::FlowList& flows,
                    const std::vector<std::pair<std::uint32_t, std::uint32_t>>& ends, SimgridActors actors) {
  SimgridRun result;
  const double begin_s = now_s();
  std::string name = "network_bench";
  std::string quiet = "--log=root.thres:error";
  char* arguments[] = {name.data(), quiet.data(), nullptr};
  int count = 2;
  s4u::Engine engine(&count, arguments);
  for (const char* setting :
       {"network/model:CM02", "network/latency-factor:1.0", "network/bandwidth-factor:1.0", "network/weight-S:0",
        "network/TCP-gamma:0", "network/crosstraffic:0", "maxmin/precision:1e-11", "surf/precision:1e-13"})
    s4u::Engine::set_config(setting);
  s4u::NetZone* zone = s4u::create_full_zone("cluster");
  std::vector<s4u::Link*> all;
  for (std::size_t link = 0; link < links.size(); ++link)
    all.push_back(zone->create_link(fmt::format("link{}", link), links.capacity[link])->set_latency(0)->seal());
  std::vector<s4u::Host*> hosts;
  const auto host = [&](std::uint32_t gpu) {
    if (hosts.size() <= gpu) hosts.resize(gpu + 1);
    if (hosts[gpu] == nullptr) hosts[gpu] = zone->create_host(fmt::format("gpu{}", gpu), 1e9)->seal();
    return hosts[gpu];
  };
  for (const auto& [from, to] : ends) {
    host(from);
    host(to);
  }
  for (std::size_t flow = 0; flow < flows.size(); ++flow) {
    std::vector<s4u::LinkInRoute> route;
    for (const std::uint32_t link : flows.route(flow)) route.emplace_back(all[link]);
    zone->add_route(hosts[ends[flow].first]->get_netpoint(), hosts[ends[flow].second]->get_netpoint(), nullptr, nullptr,
                    route, false);
  }
  zone->seal();
  const double built_s = now_s();
  result.completion_s.resize(flows.size());
  const auto bytes = [&](std::size_t flow) { return static_cast<std::uint64_t>(flows.bytes(flow)); };
  const auto from = [&](std::size_t flow) { return hosts[ends[flow].first]; };
  const auto to = [&](std::size_t flow) { return hosts[ends[flow].second]; };
  if (actors == SimgridActors::kOnePerFlow) {
    for (std::size_t flow = 0; flow < flows.size(); ++flow)
      s4u::Actor::create("sender", from(flow), [&, flow] {
        s4u::Comm::sendto(from(flow), to(flow), bytes(flow));
        result.completion_s[flow] = s4u::Engine::get_clock();
      });
  } else {
    s4u::Actor::create("sender", from(0), [&] {
      std::vector<s4u::CommPtr> sent;
      for (std::size_t flow = 0; flow < flows.size(); ++flow)
        sent.push_back(s4u::Comm::sendto_async(from(flow), to(flow), bytes(flow)));
      for (const s4u::CommPtr& flow : sent) flow->wait();
      for (std::size_t flow = 0; flow < sent.size(); ++flow) result.completion_s[flow] = sent[flow]->get_finish_time();
    });
  }
  engine.run();
  result.run_s = now_s() - built_s;
  result.build_s = built_s - begin_s;
  result.available = true;
  return result;
}

void write_all(int file, const void* data, std::size_t size) {
  const char* next = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = write(file, next, size);
    if (written <= 0) _exit(1);
    next += written;
    size -= static_cast<std::size_t>(written);
  }
}

bool read_all(int file, void* data, std::size_t size) {
  char* next = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t got = read(file, next, size);
    if (got <= 0) return false;
    next += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

}  // namespace

SimgridRun run_simgrid(const sim::network::LinkList& links, const sim::network::FlowList& flows,
                       const std::vector<std::pair<std::uint32_t, std::uint32_t>>& ends, SimgridActors actors) {
  int ways[2];
  if (pipe(ways) != 0) return {};
  const pid_t child = fork();
  if (child < 0) return {};
  if (child == 0) {
    close(ways[0]);
    const SimgridRun run = simulate(links, flows, ends, actors);
    write_all(ways[1], &run.build_s, sizeof run.build_s);
    write_all(ways[1], &run.run_s, sizeof run.run_s);
    write_all(ways[1], run.completion_s.data(), run.completion_s.size() * sizeof(double));
    _exit(0);
  }
  close(ways[1]);
  SimgridRun run;
  run.completion_s.resize(flows.size());
  run.available = read_all(ways[0], &run.build_s, sizeof run.build_s) &&
                  read_all(ways[0], &run.run_s, sizeof run.run_s) &&
                  read_all(ways[0], run.completion_s.data(), run.completion_s.size() * sizeof(double));
  close(ways[0]);
  waitpid(child, nullptr, 0);
  return run;
}

#endif

}  // namespace lastbit::bench
