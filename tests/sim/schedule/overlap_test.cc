#include "sim/schedule/overlap.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "sim/schedule/build.h"
#include "sim/schedule/execute.h"
#include "sim/schedule/operator_file.h"

namespace lastbit::sim::schedule {
namespace {

constexpr const char* kOperators = R"(
layers = 1
[compute]
attention_forward = 2
mlp_forward = 3
mlp_backward = 4
mlp_weight = 3
attention_backward = 5
attention_weight = 2
[communication]
dispatch_forward = 1
combine_forward = 2
dispatch_backward = 1
combine_backward = 2
)";

std::vector<Units> stages_of(const std::string& text, int stages = 1) {
  return parse_operators(text, "ops.toml", true, stages);
}

TEST(Overlap, AloneCommunicationIsExposedByHand) {
  const Units units = stages_of(kOperators)[0];
  EXPECT_EQ(run_forward(units).total, SimTime{2 + 1 + 3 + 2});
  EXPECT_EQ(run_forward(units).exposed(), SimTime{3});
  // Dispatch 1, MLP to 5, combine to 7 beside the MLP's weights to 8, attention to 13, its weights to 15.
  const ChunkRun backward = run_backward(units);
  EXPECT_EQ(backward.total, SimTime{15});
  EXPECT_EQ(backward.exposed(), SimTime{1});
  EXPECT_EQ(run_backward_input(units).total, SimTime{1 + 4 + 2 + 5});
  EXPECT_EQ(run_weight(units).total, SimTime{5});
}

// Compute: attention F 0-2, MLP B 2-6, MLP W 6-9, MLP F 9-12, attention B 12-17, attention W 17-19. Communication:
// the gradient's dispatch 0-1, the forward's 2-3, the gradient's combine 6-8, the forward's 12-14. All of it hidden.
TEST(Overlap, AFusedChunkHidesItByHand) {
  const Units units = stages_of(kOperators)[0];
  const ChunkRun fused = run_fused(units, units);
  EXPECT_EQ(fused.total, SimTime{19});
  EXPECT_EQ(fused.compute, SimTime{19});
  EXPECT_EQ(fused.communication, SimTime{6});
  EXPECT_EQ(fused.exposed(), SimTime{0});
  ASSERT_EQ(fused.spans.size(), 10u);
  for (const OperatorSpan& span : fused.spans) {
    if (span.name == "combine_forward") {
      EXPECT_EQ(span.start, SimTime{12});
      EXPECT_FALSE(span.of_backward);
    }
    if (span.name == "combine_backward") {
      EXPECT_EQ(span.end, SimTime{8});
    }
  }
}

TEST(Overlap, ASlowNetworkShowsInAFusedChunk) {
  std::string text = kOperators;
  text.replace(text.find("combine_backward = 2"), 20, "combine_backward = 9");
  const Units units = stages_of(text)[0];
  // The gradient's combine now lasts to 15 and holds up the attention's backward: 15-20, weights to 22, while the
  // forward's combine waits for the stream: 15-17.
  EXPECT_EQ(run_fused(units, units).total, SimTime{22});
  EXPECT_EQ(run_fused(units, units).exposed(), SimTime{3});
}

TEST(Overlap, UnitsWithoutAPartnerRunOneByOne) {
  const Units one = stages_of(kOperators)[0];
  const Units none;
  EXPECT_EQ(run_fused(one, none).total, run_forward(one).total);
  EXPECT_EQ(run_fused(none, one).total, run_backward(one).total);
}

TEST(ChunkTimes, DrivesASchedule) {
  ChunkTimes chunks(stages_of(kOperators, 4));
  const Schedule schedule = build("dualpipe", {.ranks = 4, .micro_batches = 8});
  const Execution simulated = execute(schedule, chunk_costs(chunks, {0.5}));
  Costs by_hand = uniform_costs({{8}, {15}, {5}}, {19}, {0.5});
  const auto usual = by_hand.duration;
  by_hand.duration = [usual](const Schedule& lists, int rank, const Op& op) {
    return op.verb == Verb::kBackwardInput ? SimTime{12} : usual(lists, rank, op);  // more than B - W: nothing hides it
  };
  EXPECT_EQ(simulated.total, execute(schedule, by_hand).total);
}

TEST(OperatorFile, StagesMayDifferAndHaveEnds) {
  std::string text = kOperators;
  text.replace(text.find("layers = 1"), 10, "layers = [2, 0]");
  text += "[[ends]]\nstage = 1\nwhere = \"last\"\nforward = 3\nbackward = 4\nweight = 5\n";
  const std::vector<Units> stages = stages_of(text, 2);
  EXPECT_EQ(run_forward(stages[0]).total, SimTime{16});
  EXPECT_EQ(run_forward(stages[1]).total, SimTime{3});
  EXPECT_EQ(run_backward(stages[1]).total, SimTime{9});
  EXPECT_EQ(run_weight(stages[1]).total, SimTime{5});
}

TEST(OperatorFile, RefusesWhatItCannotRun) {
  const auto refused = [](const std::string& from, const std::string& to, const std::string& part) {
    std::string text = kOperators;
    text.replace(text.find(from), from.size(), to);
    try {
      static_cast<void>(stages_of(text, 2));
      ADD_FAILURE() << "accepted " << to;
    } catch (const core::Error& error) {
      EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  refused("mlp_forward = 3", "mlp_forward = -3", "compute.mlp_forward");
  refused("mlp_forward = 3\n", "", "no key 'compute.mlp_forward'");
  refused("mlp_forward = 3", "mlp_forward = 3\nmlp = 1", "unknown key 'compute.mlp'");
  refused("dispatch_forward = 1", "dispatch_forward = nan", "communication.dispatch_forward");
  refused("layers = 1", "layers = [1, 2, 3]", "one for each of 2 stages");
  refused("layers = 1", "layers = -1", "0 to 10000 layers");
  refused("layers = 1", "layer = 1", "layers");
  refused("[communication]", "[[ends]]\nstage = 2\n[communication]", "ends[0].stage");
}

}  // namespace
}  // namespace lastbit::sim::schedule
