#include "sim/network/flow_server.h"

#include <gtest/gtest.h>

#include <array>

namespace lastbit::sim::network {
namespace {

TEST(FlowServer, TasksTakeAsLongAsTheNetworkMakesThem) {
  LinkList links;
  links.add(10, 0.5);
  engine::TaskGraph graph;
  const engine::LabelId label = graph.add_label("task");
  const engine::TaskId compute = graph.add_task(graph.add_stream("rank 0"), {2}, label);
  const engine::TaskId first = graph.add_served_task(graph.add_stream("link 0"), label);
  const engine::TaskId second = graph.add_served_task(graph.add_stream("link 1"), label);
  const engine::TaskId after = graph.add_task(graph.add_stream("rank 1"), {1}, label);
  FlowServer server(links);
  const std::array<std::uint32_t, 1> route{0};
  server.assign(first, 100, route);
  server.assign(second, 20, route);
  graph.add_dependency(second, compute, {route_latency(links, route)});
  graph.add_dependency(after, second);
  const engine::Timeline timeline = engine::run(graph, &server);
  // The first has the link alone until 2.5 (25 bytes), then both share it; the second ends at 6.5, the first at 12.
  EXPECT_EQ(timeline.end[second.index].s, 6.5);
  EXPECT_EQ(timeline.end[after.index].s, 7.5);
  EXPECT_EQ(timeline.end[first.index].s, 12);
}

}  // namespace
}  // namespace lastbit::sim::network
