#include "sim/train/job.h"

#include <gtest/gtest.h>

#include <fstream>

#include "core/error.h"
#include "support/shared.h"

namespace lastbit::sim::train {
namespace {

std::string refused(const std::string& name, const std::vector<std::string>& settings) {
  try {
    (void)load_job(name, cluster::parse_overrides(settings));
  } catch (const core::Error& error) {
    EXPECT_EQ(core::exit_code(error.kind()), 2);
    return error.what();
  }
  return "";
}

TEST(Job, EveryPresetLoadsUnderItsOwnName) {
  for (const std::string& name : cluster::description_names("jobs")) EXPECT_EQ(load_job(name).name, name);
}

TEST(Job, TheWholeRunHasThePublishedTokens) {
  const Job job = load_job("v3-full");
  double pretraining = 0;
  double extension = 0;
  for (const Phase& phase : job.phases) {
    if (phase.name == "pretraining") pretraining += phase.tokens;
    if (phase.name == "context_extension") extension += phase.tokens;
  }
  EXPECT_DOUBLE_EQ(pretraining, 14.8e12);
  EXPECT_NEAR(extension, 125.8e9, 0.1e9);
  EXPECT_EQ(job.phases.back().given_gpu_hours, 5000);
}

TEST(Job, ABaseGivesWhatTheJobDoesNotSay) {
  const Job base = load_job("v3-pretrain");
  const Job full = load_job("v3-full");
  EXPECT_EQ(full.layout.stage_layers, base.layout.stage_layers);
  EXPECT_EQ(full.assumptions.entries().size(), base.assumptions.entries().size());
  EXPECT_GT(full.phases.size(), base.phases.size());
}

TEST(Job, AssumptionsAreDeclaredWithTheirReasons) {
  const Job job = load_job("v3-pretrain");
  for (const cost::Assumption& entry : job.assumptions.entries()) {
    EXPECT_FALSE(entry.source.empty()) << entry.name;
    EXPECT_FALSE(entry.unit.empty()) << entry.name;
  }
  EXPECT_EQ(load_job("v3-pretrain", cluster::parse_overrides({"assume.routing_load_factor=1.2"}))
                .assumptions["routing_load_factor"],
            1.2);
}

// What the report lists under "--set assume.NAME=VALUE" can be set so, whether or not the file has it.
TEST(Job, EveryAssumptionCanBeSet) {
  for (const std::string& name : cluster::description_names("jobs")) {
    const Job job = load_job(name);
    for (const cost::Assumption& entry : job.assumptions.entries()) {
      const std::string set = "assume." + entry.name + "=" + std::to_string(entry.value);
      EXPECT_EQ(refused(name, {set}), "") << name;
    }
  }
  const Job job = load_job("v3-pretrain", cluster::parse_overrides({"assume.attention_efficiency=0.5"}));
  EXPECT_EQ(job.assumptions["attention_efficiency"], 0.5);
  const Job set = load_job("v3-pretrain", cluster::parse_overrides({"assume.routing_load_factor=1.2"}));
  EXPECT_EQ(set.assumptions.entries().front().name, "routing_load_factor");
  EXPECT_EQ(set.assumptions.entries().front().source, "set by --set assume");
  for (const cost::Assumption& entry : job.assumptions.entries()) EXPECT_FALSE(entry.unit.empty()) << entry.name;
}

TEST(Job, StageLayersStandInsteadOfAPresetsChunks) {
  const auto layers = [](const std::string& job, const std::vector<std::string>& settings) {
    return load_job(job, cluster::parse_overrides(settings)).layout.stage_layers;
  };
  EXPECT_EQ(layers("megatron", {"job.layout.stage_layers=[3,4]"}), (std::vector<int>{3, 4}));
  const testing::TempDir folder;
  std::ofstream(folder.file("mine.toml")) << "base = \"megatron\"\n[layout]\nstage_layers = [5, 6]\n";
  EXPECT_EQ(layers(folder.file("mine.toml"), {}), (std::vector<int>{5, 6}));
  // Both at once contradict each other.
  EXPECT_NE(refused("megatron", {"job.layout.stage_layers=[3,4]", "job.layout.chunks=2"}).find("either chunks"),
            std::string::npos);
  EXPECT_NE(refused("v3-pretrain", {"job.layout.chunks=2"}).find("either chunks"), std::string::npos);
}

TEST(Job, RefusesInOneLine) {
  EXPECT_NE(refused("v3-pretain", {}).find("did you mean 'v3-pretrain'"), std::string::npos);
  EXPECT_NE(refused("v3-pretrain", {"job.layout.pipelin=8"}).find("did you mean 'pipeline'"), std::string::npos);
  EXPECT_NE(refused("v3-pretrain", {"assume.routing_load_facto=1"}).find("routing_load_factor"), std::string::npos);
  EXPECT_NE(refused("v3-pretrain", {"assume.routing_load_factor=0.5"}).find("routing_load_factor.value"),
            std::string::npos);
  EXPECT_NE(refused("v3-pretrain", {"job.precision.gemm=fp4"}).find("precision.gemm"), std::string::npos);
  EXPECT_NE(refused("v3-pretrain", {"job.layout.stage_layers=[]"}).find("stage_layers"), std::string::npos);
  EXPECT_NE(refused("v3-pretrain", {"job.phase.0.steps=5"}).find("either tokens or steps"), std::string::npos);
  EXPECT_NE(refused("v3-pretrain", {"job.phase.1.steps=5"}).find("expected 0 to 0"), std::string::npos);
}

}  // namespace
}  // namespace lastbit::sim::train
