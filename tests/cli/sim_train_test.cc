// lastbit sim train, as a user runs it.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "support/cli.h"
#include "support/shared.h"

namespace lastbit {
namespace {

using testing::expect_one_line_error;
using testing::run_cli;

std::vector<std::string> train(std::vector<std::string> more = {}, const std::string& job = "v3-pretrain") {
  std::vector<std::string> args{"sim", "train", "--model", "deepseek-v3", "--cluster", "h800-2048", "--job", job};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

TEST(SimTrain, JsonHasTheKeysOfTheContract) {
  const testing::CliResult result = run_cli(train({"--json"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const nlohmann::json out = nlohmann::json::parse(result.out);
  for (const char* key : {"step_s", "tokens_per_day", "tokens_per_gpu_s", "tflops_per_gpu_causal",
                          "tflops_per_gpu_noncausal", "mfu_causal", "mfu_noncausal", "gpu_hours_total", "usd_total"}) {
    EXPECT_TRUE(out.at(key).is_number()) << key;
    EXPECT_GT(out.at(key).get<double>(), 0) << key;
  }
  for (const char* rows : {"breakdown", "breakdown_mean"}) {
    double sum = 0;
    for (const char* key : {"F_s", "B_s", "W_s", "FB_s", "bubble_s", "optimizer_s"}) {
      sum += out.at(rows).at(key).get<double>();
    }
    EXPECT_NEAR(sum, out.at("step_s").get<double>(), 1e-9);
    EXPECT_TRUE(out.at(rows).at("exposed_comm_s").is_number());
  }
  EXPECT_LT(out.at("mfu_causal").get<double>(), 1);
  EXPECT_EQ(out.at("schedule"), "dualpipe");
}

TEST(SimTrain, TheFullJobHasItsPhases) {
  const testing::CliResult result = run_cli(train({"--json", "--schedule", "dualpipe"}, "v3-full"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const nlohmann::json phases = nlohmann::json::parse(result.out).at("phases");
  for (const char* phase : {"pretraining", "context_extension", "post_training"}) {
    EXPECT_GT(phases.at(phase).at("gpu_hours").get<double>(), 0) << phase;
  }
}

TEST(SimTrain, TextPutsThePublishedStepBesideThePrediction) {
  const testing::CliResult result = run_cli(train());
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("19.926"), std::string::npos);
  EXPECT_NE(result.out.find("assumed"), std::string::npos);
  // Nothing was published of another schedule.
  EXPECT_EQ(run_cli(train({"--schedule", "1f1b"})).out.find("19.926"), std::string::npos);
}

TEST(SimTrain, WritesATraceOfEveryRank) {
  const testing::TempDir folder;
  const testing::CliResult result = run_cli(train({"--json", "--trace", folder.file("t.json")}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  std::ifstream file(folder.file("t.json"));
  const nlohmann::json trace = nlohmann::json::parse(file);
  std::set<int> ranks;
  double last_us = 0;
  for (const nlohmann::json& event : trace.at("traceEvents")) {
    if (event.at("ph") != "X" || event.at("pid") != 0) continue;  // 1: links between ranks
    ranks.insert(event.at("tid").get<int>());
    last_us = std::max(last_us, event.at("ts").get<double>() + event.at("dur").get<double>());
  }
  EXPECT_EQ(ranks.size(), 16u);
  EXPECT_NEAR(last_us * 1e-6, nlohmann::json::parse(result.out).at("step_s").get<double>(), 1e-6);
}

TEST(SimTrain, WrongInputGivesOneLine) {
  expect_one_line_error(
      run_cli({"sim", "train", "--model", "deepseek-v3", "--cluster", "h80-2048", "--job", "v3-pretrain"}), 2,
      {"unknown cluster 'h80-2048'", "h800-2048"});
  expect_one_line_error(run_cli(train({}, "v3-pretain")), 2, {"unknown job 'v3-pretain'", "v3-pretrain"});
  expect_one_line_error(
      run_cli({"sim", "train", "--model", "deepsek-v3", "--cluster", "h800-2048", "--job", "v3-pretrain"}), 2,
      {"deepsek-v3", "did you mean 'deepseek-v3'"});
  expect_one_line_error(run_cli(train({"--schedule", "dualpip"})), 2, {"dualpip", "dualpipe"});
  expect_one_line_error(run_cli(train({"--set", "cluster.network.nic_peek=1 GB/s"})), 2,
                        {"nic_peek", "nic_peak", "h800-2048.toml with --set cluster.network.nic_peek=1 GB/s"});
  expect_one_line_error(run_cli(train({"--set", "assume.expert_sink=1"})), 2,
                        {"--set assume.expert_sink=1", "expert_sync"});
  expect_one_line_error(run_cli(train({"--set", "assume.solo_compute_sms=133"})), 2, {"133", "at most 132"});
  expect_one_line_error(run_cli(train({"--set", "cluster.network.nic_peak=400"})), 2, {"nic_peak", "no unit"});
  expect_one_line_error(run_cli(train({"--set", "job.layout.expert=48"})), 2, {"expert 48", "128"});
  expect_one_line_error(run_cli(train({"--set", "job.phase.0.batch_sequences=3072"})), 2, {"24", "32"});
  expect_one_line_error(run_cli(train({"--set", "step=1"})), 2, {"step", "assume."});
  expect_one_line_error(run_cli(train({"--trace", "/no/such/folder/t.json"})), 2, {"/no/such/folder"});
}

TEST(SimTrain, WhatIsWrongWithOptionsIsSaidInOneLine) {
  expect_one_line_error(run_cli(train({"--set", "cluster.gpu.hbm_capacity=40 GiB"})), 2,
                        {"needs", "40.0 GiB", "largest part is gradients", "--force"});
  expect_one_line_error(run_cli(train({"--load", "zipf:steep"})), 2, {"zipf:steep", "zipf:EXPONENT"});
  expect_one_line_error(run_cli(train({"--trace", "t.txt"})), 2, {"t.txt", ".pftrace"});
  expect_one_line_error(run_cli(train({"--kernel-times", "/no/such.csv"})), 2, {"/no/such.csv"});
  expect_one_line_error(run_cli(train({"--beside", "cluster.nodes=128"})), 2, {"--html"});
  for (const char* number : {"nan", "0", "inf", "-3"}) {
    expect_one_line_error(run_cli(train({"--budget", number})), 2,
                          {"--budget", std::string("found '") + number + "', expected a finite number above 0"});
    expect_one_line_error(run_cli(train({"--deadline", number})), 2, {"--deadline", "a finite number above 0"});
  }
  expect_one_line_error(run_cli(train({"--seed", "-1"})), 2,
                        {"--seed", "Value -1 not in range 0 to 9223372036854775807"});
  expect_one_line_error(run_cli(train({"--trace", "t.json", "--trace-ranks", "5-3"})), 2, {"5-3", "backwards"});
}

TEST(SimValidate, PrintsEveryRunWithItsError) {
  const testing::CliResult result = run_cli({"sim", "validate", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const nlohmann::json out = nlohmann::json::parse(result.out);
  EXPECT_GE(out.at("counted").at("runs").get<int>(), 40);
  EXPECT_GT(out.at("rows").size(), 60u);
  for (const nlohmann::json& row : out.at("rows")) {
    EXPECT_NEAR(row.at("predicted").get<double>() / row.at("measured").get<double>() - 1, row.at("error").get<double>(),
                1e-9);
  }
}

TEST(SimTrain, ADescriptionOfOnesOwnIsReadFromItsPath) {
  const testing::TempDir folder;
  const std::string path = folder.file("mine.toml");
  std::ofstream(path)
      << "name = \"mine\"\nnodes = 256\n[gpu]\nname = \"X\"\nbf16 = \"989 TFLOPS\"\nfp8 = \"1979 TFLOPS\"\n"
         "sms = 132\nhbm_capacity = \"80 GiB\"\nhbm_bandwidth = \"3.35 TB/s\"\n[node]\ngpus = 8\n"
         "nvlink_peak = \"450 GB/s\"\nnvlink_attainable = \"360 GB/s\"\n[network]\n"
         "fabric = \"multi-rail\"\nnics_per_gpu = 1\nnic_peak = \"400 Gb/s\"\n"
         "nic_attainable = \"45 GB/s\"\nlatency = \"3.7 us\"\n";
  const std::vector<std::string> args{"sim",       "train", "--model", "deepseek-v3",
                                      "--cluster", path,    "--job",   "v3-pretrain"};
  const testing::CliResult result = run_cli(args);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out.find("19.926"), std::string::npos);
  std::ofstream(path, std::ios::app) << "colour = \"blue\"\n";
  expect_one_line_error(run_cli(args), 2, {"mine.toml", "colour"});
}

}  // namespace
}  // namespace lastbit
