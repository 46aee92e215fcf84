// --device of lastbit run, train and generate.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/small_config.h"
#include "io/arrays.h"
#include "io/atomic_file.h"
#include "support/cli.h"
#include "support/shared.h"
#include "train/metrics_log.h"

namespace lastbit {
namespace {

using testing::CliResult;
using testing::expect_one_line_error;
using testing::run_cli;

class DeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    io::write_text_file(dir_.file("config.json"), small_config().dump());
    const CliResult made = run_cli({"init", dir_.file("config.json"), "--seed", "5", "--out", model()});
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }

  [[nodiscard]] std::string model() const { return dir_.file("model"); }
  [[nodiscard]] CliResult run(const std::string& device, const std::vector<std::string>& more) const {
    std::vector<std::string> args{"run", model(), "--token-ids", "1,2,3,31,0,7", "--device", device};
    args.insert(args.end(), more.begin(), more.end());
    return run_cli(args);
  }
  // The figure at the end of the line that begins so.
  static double figure(const CliResult& result, const std::string& line) {
    const std::size_t at = result.out.find(line + " ");
    EXPECT_NE(at, std::string::npos) << line << " in:\n" << result.out << result.err;
    return at == std::string::npos ? 0 : std::stod(result.out.substr(at + line.size()));
  }
  // The last line of a step.
  static nlohmann::json last_step(const std::string& path) {
    nlohmann::json step;
    for (const nlohmann::json& line : train::read_metrics(path))
      if (line.contains("loss")) step = line;
    return step;
  }

  testing::TempDir dir_;
};

TEST_F(DeviceTest, FlagsOfTheReferenceAloneAreRefused) {
  expect_one_line_error(run("simt", {"--loss", "--documents", "2,4"}), 2,
                        {"run: --documents is of the CPU's reference alone, expected --device cpu with it"});
  expect_one_line_error(run("gpu", {"--loss"}), 2, {"--device", "gpu", "cpu", "cuda", "simt"});
}

// Without a GPU, or without kernels for one.
TEST_F(DeviceTest, CudaWithoutAGpuIsTheCpuAndSaysSo) {
  const CliResult result = run("cuda", {"--loss"});
#if defined(LASTBIT_GPU)
  if (result.err.empty()) GTEST_SKIP() << "this machine has a GPU";
#endif
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.err.find("--device cuda: no GPU: "), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("; running on the CPU"), std::string::npos) << result.err;
  EXPECT_EQ(result.out, run("cpu", {"--loss"}).out);
}

#if defined(LASTBIT_EXECUTOR)
TEST_F(DeviceTest, RunOnTheExecutorIsTheReferences) {
  const std::vector<std::string> devices{"simt", "cpu"};
  std::vector<CliResult> results;
  std::vector<tensor::NamedTensors> gradients;
  for (const std::string& device : devices) {
    const std::string file = dir_.file(device + ".npz");
    results.push_back(run(device, {"--loss", "--grads", file}));
    ASSERT_EQ(results.back().exit_code, 0) << results.back().err;
    gradients.push_back(io::load_arrays(file));
  }
  for (const char* line : {"loss", "loss, with gradients", "loss, with MTP as paper", "loss, with MTP as hf"})
    EXPECT_NEAR(figure(results[0], line), figure(results[1], line), 1e-5) << line;
  ASSERT_EQ(gradients[0].size(), gradients[1].size());
  for (const auto& [name, expected] : gradients[1]) {
    const auto found = gradients[0].at(name).values<float>();
    double distance = 0;
    double norm = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
      distance = std::hypot(distance, static_cast<double>(found[i] - expected.values<float>()[i]));
      norm = std::hypot(norm, static_cast<double>(expected.values<float>()[i]));
    }
    EXPECT_LE(distance, 2e-5 * norm) << name;
  }
}

TEST_F(DeviceTest, DryRunPrintsWhatTheDeviceTakes) {
  const CliResult forward = run("cuda", {"--loss", "--dry-run", "--numerics", "bf16"});
  EXPECT_EQ(forward.exit_code, 0) << forward.err;
  EXPECT_EQ(forward.err, "");
  for (const char* part : {"weights, FP32", "weights, BF16 and FP8 for products", "activations", "total"})
    EXPECT_NE(forward.out.find(part), std::string::npos) << forward.out;
  EXPECT_EQ(forward.out.find("gradients"), std::string::npos) << forward.out;
  const CliResult backward = run("simt", {"--grads", dir_.file("g.npz"), "--dry-run"});
  EXPECT_NE(backward.out.find("gradients"), std::string::npos) << backward.out;
}

TEST_F(DeviceTest, GeneratesTheSameText) {
  const auto text = [](const std::string& device) {
    const CliResult result =
        run_cli({"generate", "--prompt", "def", "--max-tokens", "2", "--temperature", "0", "--device", device});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_FALSE(result.out.empty());
    return result.out;
  };
  EXPECT_EQ(text("simt"), text("cpu"));
}

// A run goes on where it began: other devices have other bits.
TEST_F(DeviceTest, TrainsAndGoesOnOnTheSameDevice) {
  std::string text;
  for (int i = 0; i < 400; ++i) text += std::to_string(i * i % 1009) + (i % 9 == 0 ? ".\n" : " ");
  io::write_text_file(dir_.file("text.txt"), text);
  const nlohmann::json config{{"model", dir_.file("config.json")},
                              {"model_config", {{"vocab_size", 1024}}},
                              {"numerics", "fp32"},
                              {"steps", 2},
                              {"output", dir_.file("run")},
                              {"data",
                               {{"text", {"text.txt"}},
                                {"tokenizer", testing::source_path("data/tokenizer/lastbit-1k.json")},
                                {"sequence_tokens", 6},
                                {"validation_share", 0}}},
                              {"batch", {{"sequences", 1}}},
                              {"record", {{"evaluate_every", 0}}}};
  io::write_text_file(dir_.file("train.json"), config.dump());
  const auto train = [&](const std::string& device, const std::string& out, const std::vector<std::string>& more) {
    std::vector<std::string> args{"train", dir_.file("train.json"), "--device", device, "--out", dir_.file(out)};
    args.insert(args.end(), more.begin(), more.end());
    return run_cli(args);
  };
  for (const std::string device : {"simt", "cpu"}) {
    const CliResult begun = train(device, device, {"--max-steps", "1"});
    ASSERT_EQ(begun.exit_code, 0) << begun.err;
    const std::string other = device == "cpu" ? "simt" : "cpu";
    expect_one_line_error(train(other, device, {"--resume"}), 2, {"'device'"});
    const CliResult ended = train(device, device, {"--resume"});
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
  }
  const nlohmann::json simt = last_step(dir_.file("simt/metrics.jsonl"));
  const nlohmann::json cpu = last_step(dir_.file("cpu/metrics.jsonl"));
  const auto loss = cpu.at("loss").get<double>();
  EXPECT_NEAR(simt.at("loss").get<double>(), loss, 1e-5 * loss);
  const nlohmann::json::json_pointer share("/layers/0/share_on_nodes");
  EXPECT_TRUE(simt.at(share).is_null());
  EXPECT_EQ(cpu.at(share).size(), 3);  // no node, one, and both groups
}
#else
TEST_F(DeviceTest, SimtNeedsTheExecutor) { expect_one_line_error(run("simt", {"--loss"}), 4, {"--device"}); }
#endif

}  // namespace
}  // namespace lastbit
