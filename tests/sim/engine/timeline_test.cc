#include "sim/engine/timeline.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"

namespace lastbit::sim::engine {
namespace {

// Stream 0: long 0-3, short 3-4; stream 1: short 1-2 (behind a wait), long 4-7.
TaskGraph two_streams() {
  TaskGraph graph;
  const LabelId longer = graph.add_label("long");
  const LabelId shorter = graph.add_label("short");
  const StreamId a = graph.add_stream("a");
  const StreamId b = graph.add_stream("b");
  const StreamId wait = graph.add_stream("wait");
  graph.add_task(a, {3}, longer);
  const TaskId last = graph.add_task(a, {1}, shorter);
  const TaskId first = graph.add_task(b, {1}, shorter);
  graph.add_dependency(graph.add_task(b, {3}, longer), last);
  graph.add_dependency(first, graph.add_task(wait, {0}, shorter), {1});
  return graph;
}

TEST(FoldedTimeline, SumsByStreamAndLabel) {
  const TaskGraph graph = two_streams();
  FoldedTimeline folded(graph);
  EXPECT_EQ(run(graph, folded), SimTime{7});
  EXPECT_EQ(folded.streams()[0].busy, SimTime{4});
  EXPECT_EQ(folded.streams()[1].tasks, 2);
  EXPECT_EQ(folded.streams()[1].first_start, SimTime{1});
  EXPECT_EQ(folded.streams()[1].last_end, SimTime{7});
  EXPECT_EQ(folded.labels()[0].busy, SimTime{6});
  EXPECT_EQ(folded.labels()[1].tasks, 3);
}

TEST(SampledTimeline, KnowsWhatRunsAtEachSample) {
  const TaskGraph graph = two_streams();
  SampledTimeline sampled(graph, {1.5});
  run(graph, sampled);
  ASSERT_EQ(sampled.samples(), 5u);  // 0, 1.5, 3, 4.5, 6
  const auto row = [&sampled](std::uint32_t stream) {
    std::vector<std::int64_t> tasks;
    for (std::size_t i = 0; i < sampled.samples(); ++i) {
      const std::uint32_t task = sampled.at({stream}, i);
      tasks.push_back(task == TaskGraph::kNone ? -1 : std::int64_t{task});
    }
    return tasks;
  };
  EXPECT_EQ(row(0), (std::vector<std::int64_t>{0, 0, 1, -1, -1}));
  EXPECT_EQ(row(1), (std::vector<std::int64_t>{-1, 2, -1, 3, 3}));
  EXPECT_EQ(row(2), (std::vector<std::int64_t>{-1, -1, -1, -1, -1}));
}

TEST(SampledTimeline, AgreesWithTheRecordedOne) {
  const TaskGraph graph = two_streams();
  const Timeline recorded = run(graph);
  SampledTimeline sampled(graph, {0.1});
  run(graph, sampled);
  for (std::size_t i = 0; i < sampled.samples(); ++i) {
    const double time_s = static_cast<double>(i) * 0.1;
    for (std::uint32_t task = 0; task < graph.tasks().size(); ++task) {
      const bool runs = recorded.start[task].s <= time_s && time_s < recorded.end[task].s;
      EXPECT_EQ(sampled.at({graph.tasks()[task].stream}, i) == task, runs) << task << " at " << time_s;
    }
  }
}

TEST(SampledTimeline, RefusesPeriodsThatAreNone) {
  const TaskGraph graph = two_streams();
  for (const double period : {0.0, -1.0, kNever.s}) EXPECT_THROW(SampledTimeline(graph, {period}), core::Error);
  SampledTimeline tiny(graph, {1e-9});
  EXPECT_THROW(run(graph, tiny), core::Error);
}

// Ends are told in order of time, ties by task number.
TEST(Observer, IsToldInOrder) {
  class Order : public Observer {
   public:
    void ended(TaskId task, SimTime, SimTime end) override { told.emplace_back(end.s, task.index); }
    std::vector<std::pair<double, std::uint32_t>> told;
  };
  TaskGraph graph;
  const LabelId name = graph.add_label("t");
  for (int i = 0; i < 40; ++i) graph.add_task(graph.add_stream("s"), {1.0 + i % 3}, name);
  Order order;
  run(graph, order);
  ASSERT_EQ(order.told.size(), 40u);
  EXPECT_TRUE(std::is_sorted(order.told.begin(), order.told.end()));
}

}  // namespace
}  // namespace lastbit::sim::engine
