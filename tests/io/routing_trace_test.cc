#include "io/routing_trace.h"

#include <gtest/gtest.h>

#include <functional>

#include "core/error.h"
#include "support/shared.h"

namespace lastbit::io {
namespace {

using tensor::NamedTensors;
using tensor::Tensor;

RoutingTrace sample_trace() {
  RoutingTrace trace;
  trace.source = "tiny, seed 1";
  trace.experts = 4;
  trace.top_k = 2;
  trace.groups = 2;
  trace.kept_groups = 1;
  trace.layers = {1, 3};
  append_step(trace, 0, std::vector<std::uint16_t>{0, 1, 2, 3, 1, 0, kNoExpert, 3}, true);
  append_step(trace, 5, std::vector<std::uint16_t>{3, 2, 1, 0}, true);
  return trace;
}

std::string trace_refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  return "accepted";
}

TEST(RoutingTrace, CountsWhatItIsGiven) {
  const RoutingTrace trace = sample_trace();
  EXPECT_EQ(trace.tokens, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ(trace.counts, (std::vector<std::int64_t>{2, 2, 0, 0, 0, 0, 1, 2, 0, 0, 1, 1, 1, 1, 0, 0}));
}

TEST(RoutingTrace, ComesBackFromAFileWithTheSameBytes) {
  const testing::TempDir dir;
  RoutingTrace trace = sample_trace();
  save_routing_trace(dir.file("a.h5"), trace);
  const RoutingTrace back = load_routing_trace(dir.file("a.h5"));
  EXPECT_EQ(back.source, trace.source);
  EXPECT_EQ(back.experts, 4);
  EXPECT_EQ(back.top_k, 2);
  EXPECT_EQ(back.groups, 2);
  EXPECT_EQ(back.kept_groups, 1);
  EXPECT_EQ(back.layers, trace.layers);
  EXPECT_EQ(back.steps, trace.steps);
  EXPECT_EQ(back.tokens, trace.tokens);
  EXPECT_EQ(back.counts, trace.counts);
  EXPECT_EQ(back.choices, trace.choices);
  save_routing_trace(dir.file("b.h5"), back);
  EXPECT_EQ(testing::read_file(dir.file("a.h5")), testing::read_file(dir.file("b.h5")));
  trace.choices.clear();
  trace.source.clear();
  save_routing_trace(dir.file("c.h5"), trace);
  EXPECT_TRUE(load_routing_trace(dir.file("c.h5")).choices.empty());
}

TEST(RoutingTrace, RefusesWhatDoesNotFit) {
  const auto refused = [](const std::string& part, const std::function<void(RoutingTrace&)>& spoil) {
    RoutingTrace trace = sample_trace();
    spoil(trace);
    const std::string error = trace_refusal([&] { check_routing_trace(trace, "t.h5"); });
    EXPECT_NE(error.find(part), std::string::npos) << error;
    EXPECT_EQ(error.find("t.h5: "), 0u) << error;
  };
  refused("experts: found 0", [](RoutingTrace& t) { t.experts = 0; });
  refused("experts: found 65535", [](RoutingTrace& t) { t.experts = 65535; });
  refused("top_k: found 5", [](RoutingTrace& t) { t.top_k = 5; });
  refused("4 experts do not divide into 3 groups", [](RoutingTrace& t) { t.groups = 3; });
  refused("kept_groups: found 3", [](RoutingTrace& t) { t.kept_groups = 3; });
  refused("layers is empty", [](RoutingTrace& t) { t.layers.clear(); });
  refused("layers[1] is 1, expected more than 1", [](RoutingTrace& t) { t.layers = {1, 1}; });
  refused("steps[0] is -1", [](RoutingTrace& t) { t.steps = {-1, 5}; });
  refused("tokens has 1 entries", [](RoutingTrace& t) { t.tokens.pop_back(); });
  refused("tokens[1] is 0", [](RoutingTrace& t) { t.tokens[1] = 0; });
  refused("counts has 15 entries, expected 16", [](RoutingTrace& t) { t.counts.pop_back(); });
  refused("counts: 3 tokens chose expert 0 at step 0, expected 0 to 2", [](RoutingTrace& t) { t.counts[0] = 3; });
  refused("5 choices at step 0 in layer 1, expected at most 4", [](RoutingTrace& t) { t.counts[2] = 1; });
  refused("choices has 11 entries", [](RoutingTrace& t) { t.choices.pop_back(); });
  refused("token 0 chose expert 4", [](RoutingTrace& t) { t.choices[0] = 4; });
  refused("token 0 chose expert 1 twice in layer 1", [](RoutingTrace& t) { t.choices[0] = 1; });
  refused("counts of step 5 are not those of its choices",
          [](RoutingTrace& t) { std::swap(t.choices[9], t.choices[11]); });
}

TEST(RoutingTrace, RefusesStepsThatDoNotFollow) {
  RoutingTrace trace = sample_trace();
  const std::vector<std::uint16_t> one{0, 1, 2, 3};
  EXPECT_NE(trace_refusal([&] { append_step(trace, 5, one, true); }).find("after those before"), std::string::npos);
  EXPECT_NE(trace_refusal([&] { append_step(trace, 6, one, false); }).find("every step"), std::string::npos);
  EXPECT_NE(trace_refusal([&] {
              append_step(trace, 6, std::vector<std::uint16_t>{0, 1, 2}, true);
            }).find("multiple of 2"),
            std::string::npos);
  EXPECT_EQ(trace.steps.size(), 2u);
}

TEST(RoutingTrace, RefusesFilesOfAnotherKind) {
  const testing::TempDir dir;
  const auto refused = [&dir](const std::string& part, const NamedTensors& arrays, const Attributes& attributes) {
    save_hdf5(dir.file("x.h5"), arrays, {{"", attributes}});
    const std::string error = trace_refusal([&] { static_cast<void>(load_routing_trace(dir.file("x.h5"))); });
    EXPECT_NE(error.find(part), std::string::npos) << error;
  };
  const Tensor numbers = Tensor::from<std::int64_t>({1}, std::vector<std::int64_t>{1});
  const Attributes good{{"format", std::string("lastbit-routing-trace")},
                        {"version", std::int64_t{1}},
                        {"source", std::string("s")},
                        {"experts", std::int64_t{2}},
                        {"top_k", std::int64_t{1}},
                        {"groups", std::int64_t{1}},
                        {"kept_groups", std::int64_t{1}}};
  const NamedTensors arrays{{"layers", numbers},
                            {"steps", numbers},
                            {"tokens", numbers},
                            {"counts", Tensor::from<std::int64_t>({1, 1, 2}, std::vector<std::int64_t>{1, 0})}};
  refused("no attribute 'format'", arrays, {});
  const auto with = [&good](const std::string& key, const Attribute& value) {
    Attributes changed = good;
    changed[key] = value;
    return changed;
  };
  refused("'format' is string \"other\"", arrays, with("format", std::string("other")));
  refused("version 2", arrays, with("version", std::int64_t{2}));
  refused("attribute 'experts' is not an integer", arrays, with("experts", 2.0));
  refused("counts has the shape [1, 1, 2], expected [1, 1, 3]", arrays, with("experts", std::int64_t{3}));
  const auto plus = [&arrays](const std::string& key, const Tensor& value) {
    NamedTensors changed = arrays;
    changed.insert_or_assign(key, value);
    return changed;
  };
  refused("unknown dataset 'choice' (did you mean 'choices'?", plus("choice", numbers), good);
  refused("steps is i64 of [1, 1]", plus("steps", numbers.reshape({1, 1})), good);
  refused("choices is i64 of [1]", plus("choices", numbers), good);
  NamedTensors less = arrays;
  less.erase("tokens");
  refused("no dataset 'tokens'", less, good);
}

}  // namespace
}  // namespace lastbit::io
