#include "sim/engine/engine.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"

namespace lastbit::sim::engine {
namespace {

TEST(Engine, StreamsRunTheirTasksOneAfterAnother) {
  TaskGraph graph;
  const StreamId stream = graph.add_stream("s");
  const LabelId name = graph.add_label("task");
  graph.add_task(stream, {2}, name);
  graph.add_task(stream, {0}, name);
  graph.add_task(stream, {3}, name);
  const Timeline times = run(graph);
  EXPECT_EQ(times.start, (std::vector<SimTime>{{0}, {2}, {2}}));
  EXPECT_EQ(times.end, (std::vector<SimTime>{{2}, {2}, {5}}));
  EXPECT_EQ(times.total, SimTime{5});
}

TEST(Engine, ATaskWaitsForItsStreamAndForTheLatestOfItsDependencies) {
  TaskGraph graph;
  const LabelId name = graph.add_label("task");
  const StreamId a = graph.add_stream("a");
  const StreamId b = graph.add_stream("b");
  const StreamId c = graph.add_stream("c");
  const TaskId on_a = graph.add_task(a, {1}, name);
  const TaskId on_b = graph.add_task(b, {4}, name);
  graph.add_task(c, {5.5}, name);
  const TaskId last = graph.add_task(c, {1}, name);
  graph.add_dependency(last, on_a, {6});
  graph.add_dependency(last, on_b, {0.5});
  const Timeline times = run(graph);
  EXPECT_EQ(times.start[last.index], SimTime{7});
  EXPECT_EQ(times.end[last.index], SimTime{8});
}

TEST(Engine, AnEmptyGraphTakesNoTime) { EXPECT_EQ(run(TaskGraph{}).total, SimTime{0}); }

TEST(Engine, NamesTheTasksOfACycle) {
  TaskGraph graph;
  const StreamId left = graph.add_stream("left");
  const StreamId right = graph.add_stream("right");
  const TaskId a = graph.add_task(left, {1}, graph.add_label("A"));
  const TaskId b = graph.add_task(left, {1}, graph.add_label("B"));
  const TaskId c = graph.add_task(right, {1}, graph.add_label("C"));
  graph.add_task(right, {1}, graph.add_label("behind"));
  graph.add_dependency(c, b);
  graph.add_dependency(a, c);
  try {
    static_cast<void>(run(graph));
    FAIL() << "a cycle was not seen";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
    const std::string text = error.what();
    EXPECT_NE(text.find("left: A"), std::string::npos) << text;
    EXPECT_NE(text.find("left: B"), std::string::npos) << text;
    EXPECT_NE(text.find("right: C"), std::string::npos) << text;
    EXPECT_EQ(text.find("behind"), std::string::npos) << text;
  }
}

TEST(Engine, RefusesDurationsAndLatenciesThatAreNotTimes) {
  TaskGraph graph;
  const StreamId stream = graph.add_stream("s");
  const LabelId name = graph.add_label("odd");
  for (const double bad : {-1.0, kNever.s, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THROW(graph.add_task(stream, {bad}, name), core::Error);
    const TaskId a = graph.add_task(stream, {1}, name);
    const TaskId b = graph.add_task(stream, {1}, name);
    EXPECT_THROW(graph.add_dependency(b, a, {bad}), core::Error);
  }
}

// One link whose bandwidth the tasks on it share: the simplest model in which a task's end moves when another begins.
class SharedLink : public Server {
 public:
  void begin(TaskId task, SimTime now) override {
    advance(now);
    flows_.push_back({task, kWork});
  }
  SimTime next_completion() override {
    if (flows_.empty()) return kNever;
    return {now_ + least() * static_cast<double>(flows_.size())};
  }
  void complete(SimTime now, std::vector<TaskId>& done) override {
    advance(now);
    for (const Flow& flow : flows_)
      if (flow.left <= 0) done.push_back(flow.task);
    std::erase_if(flows_, [](const Flow& flow) { return flow.left <= 0; });
  }

 private:
  static constexpr double kWork = 4;  // seconds alone on the link
  struct Flow {
    TaskId task;
    double left;
  };
  [[nodiscard]] double least() const {
    return std::min_element(flows_.begin(), flows_.end(), [](const Flow& a, const Flow& b) { return a.left < b.left; })
        ->left;
  }
  void advance(SimTime now) {
    for (Flow& flow : flows_) flow.left -= (now.s - now_) / static_cast<double>(flows_.size());
    now_ = now.s;
  }
  std::vector<Flow> flows_;
  double now_ = 0;
};

TEST(Engine, AServerDecidesHowLongItsTasksLast) {
  TaskGraph graph;
  const LabelId name = graph.add_label("flow");
  const StreamId compute = graph.add_stream("compute");
  const StreamId first = graph.add_stream("first");
  const StreamId second = graph.add_stream("second");
  const TaskId before = graph.add_task(compute, {2}, name);
  const TaskId early = graph.add_served_task(first, name);
  const TaskId late = graph.add_served_task(second, name);
  const TaskId after = graph.add_task(compute, {1}, name);
  graph.add_dependency(late, before);
  graph.add_dependency(after, early);
  SharedLink link;
  const Timeline times = run(graph, &link);
  // Alone for 2 s (2 s of work left), then at half rate: done at 6; the other then has 2 s of work left, alone.
  EXPECT_EQ(times.start[late.index], SimTime{2});
  EXPECT_EQ(times.end[early.index], SimTime{6});
  EXPECT_EQ(times.end[late.index], SimTime{8});
  EXPECT_EQ(times.end[after.index], SimTime{7});
}

}  // namespace
}  // namespace lastbit::sim::engine
