#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/philox.h"
#include "io/atomic_file.h"
#include "io/json.h"
#include "io/sealed_hdf5.h"
#include "support/cli.h"
#include "support/shared.h"

namespace lastbit {
namespace {

namespace fs = std::filesystem;
using testing::CliProcess;
using testing::CliResult;
using testing::expect_one_line_error;
using testing::run_cli;

// A run of `steps` steps of a few milliseconds, with a checkpoint after each.
class TrainCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string text;
    for (int i = 0; i < 3000; ++i) text += std::to_string(i * i % 1009) + (i % 9 == 0 ? ".\n" : " ");
    io::write_text_file(file("text.txt"), text);
    const nlohmann::json config = {{"model", "micro"},
                                   {"model_config",
                                    {{"vocab_size", 1024},
                                     {"hidden_size", 32},
                                     {"num_hidden_layers", 2},
                                     {"n_routed_experts", 8},
                                     {"num_nextn_predict_layers", 0}}},
                                   {"numerics", "fp32"},
                                   {"steps", 400},
                                   {"output", "run"},
                                   {"data",
                                    {{"text", {"text.txt"}},
                                     {"tokenizer", testing::source_path("data/tokenizer/lastbit-1k.json")},
                                     {"sequence_tokens", 16},
                                     {"validation_share", 0}}},
                                   {"batch", {{"sequences", 1}}},
                                   {"record", {{"checkpoint_every", 1}, {"evaluate_every", 0}}}};
    io::write_text_file(file("config.json"), config.dump());
  }

  [[nodiscard]] std::string file(const std::string& name) const { return folder_.file(name); }
  [[nodiscard]] std::vector<std::string> command(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words{"--threads", "1", "train", file("config.json"), "--resume"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  // Names in the folder of checkpoints.
  [[nodiscard]] std::vector<std::string> checkpoints() const {
    std::vector<std::string> names;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(file("run/checkpoints"), ignored))
      names.push_back(entry.path().filename().string());
    std::ranges::sort(names);
    return names;
  }
  [[nodiscard]] bool has_any(const std::string& ending) const {
    const std::vector<std::string> names = checkpoints();
    return std::ranges::any_of(names, [&](const std::string& name) { return name.ends_with(ending); });
  }
  [[nodiscard]] bool is_saving() const { return has_any(".partial"); }
  // The step of the latest checkpoint, which is read whole; nothing without one.
  [[nodiscard]] std::optional<std::int64_t> latest_good() const {
    std::optional<std::int64_t> step;
    for (const std::string& name : checkpoints())
      if (name.ends_with(".h5"))
        step = std::get<std::int64_t>(io::load_sealed_hdf5(file("run/checkpoints/" + name)).attributes.at("step"));
    return step;
  }

  static bool wait_until(const std::function<bool()>& condition) {
    constexpr int kMostWaits = 200'000;  // of 100 us: 20 s
    for (int i = 0; i < kMostWaits; ++i) {
      if (condition()) return true;
      usleep(100);
    }
    return false;
  }

  testing::TempDir folder_;
};

TEST_F(TrainCommand, KilledWhileSavingItNeverLosesTheLastGoodCheckpoint) {
  const core::RandomStream random(1, "moments of death");
  std::int64_t last = 0;
  for (std::uint32_t death = 0; death < 20; ++death) {
    CliProcess process(command());
    const std::int64_t wanted = last + 1 + static_cast<std::int64_t>(random.word(2 * death) % 3);
    const auto name = "/step-" + std::string(9 - std::to_string(wanted).size(), '0') + std::to_string(wanted) + ".h5";
    ASSERT_TRUE(wait_until([&] { return fs::exists(file("run/checkpoints") + name) || !process.running(); }));
    ASSERT_TRUE(wait_until([&] { return is_saving() || !process.running(); }));
    usleep(random.word(2 * death + 1) % 2000);
    process.send(SIGKILL);
    ASSERT_EQ(process.wait().exit_code, 128 + SIGKILL);
    const std::optional<std::int64_t> step = latest_good();
    ASSERT_TRUE(step.has_value());
    ASSERT_GE(*step, wanted);
    last = *step;
  }
  ASSERT_EQ(run_cli(command({"--max-steps", "1"})).exit_code, 0);
  EXPECT_EQ(latest_good(), last + 1);
  EXPECT_FALSE(is_saving()) << "what killed writers left is removed";
}

TEST_F(TrainCommand, ASignalEndsItAfterTheStepWithACheckpoint) {
  CliProcess process(command({"--json"}));
  ASSERT_TRUE(wait_until([&] { return has_any(".h5"); }));  // not read: the run removes old ones
  process.send(SIGTERM);
  const CliResult result = process.wait();
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const nlohmann::json summary = io::parse_json(result.out, "summary");
  EXPECT_EQ(summary["end"], "stopped");
  EXPECT_EQ(summary["step"], *latest_good());
  EXPECT_TRUE(fs::exists(file("run/model/model.safetensors")));
  EXPECT_TRUE(fs::exists(file("run/model/tokenizer.json")));
}

TEST_F(TrainCommand, AFullDiskIsOneLineAndTheLastCheckpointStays) {
  ASSERT_EQ(run_cli(command({"--max-steps", "2"})).exit_code, 0);
  const std::vector<std::string> before = checkpoints();
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit small{100'000, limit.rlim_max};  // bytes: a checkpoint is larger
  setrlimit(RLIMIT_FSIZE, &small);
  const CliResult result = run_cli(command({"--max-steps", "2"}));
  setrlimit(RLIMIT_FSIZE, &limit);
  expect_one_line_error(result, 3, {"step-000000003.h5: cannot write: File too large"});
  EXPECT_EQ(checkpoints(), before);
  EXPECT_EQ(latest_good(), 2);
}

TEST_F(TrainCommand, RefusesADamagedCheckpointAndBadInputWithOneLine) {
  ASSERT_EQ(run_cli(command({"--max-steps", "1"})).exit_code, 0);
  const std::string path = file("run/checkpoints/step-000000001.h5");
  std::string bytes = testing::read_file(path);
  bytes[bytes.size() / 2] ^= 1;
  io::write_text_file(path, bytes);
  expect_one_line_error(run_cli(command()), 2, {"step-000000001.h5:", "damaged"});
  expect_one_line_error(run_cli({"train", file("config.json")}), 2, {"--resume"});
  expect_one_line_error(run_cli({"train", "mikro"}), 2, {"did you mean 'micro'"});
  expect_one_line_error(run_cli(command({"--set", "batch.sequence=2"})), 2, {"batch.sequence", "did you mean"});
  expect_one_line_error(run_cli(command({"--set", "numerics=fp64"})), 4, {"fp64"});
}

}  // namespace
}  // namespace lastbit
