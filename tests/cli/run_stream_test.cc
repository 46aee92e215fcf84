// lastbit run --stream: a checkpoint larger than the memory that the program may use.
#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/atomic_file.h"
#include "io/weights.h"
#include "model/config_file.h"
#include "model/init.h"
#include "model/weight_specs.h"
#include "support/cli.h"
#include "support/shared.h"
#include "tensor/cast.h"

namespace lastbit {
namespace {

constexpr std::int64_t kLayers = 40;
constexpr std::size_t kLimit = std::size_t{96} << 20;  // of the program's own memory

// 40 layers of 1.06 million weights, in BF16: 85 MB as stored, 170 MB in FP32, 4.2 MB a layer.
void write_checkpoint(const std::string& folder) {
  const nlohmann::json object{{"model_type", "deepseek_v3"},
                              {"vocab_size", 64},
                              {"hidden_size", 256},
                              {"intermediate_size", 1024},
                              {"num_hidden_layers", kLayers},
                              {"num_attention_heads", 4},
                              {"q_lora_rank", 64},
                              {"kv_lora_rank", 64},
                              {"qk_nope_head_dim", 32},
                              {"qk_rope_head_dim", 16},
                              {"v_head_dim", 32},
                              {"max_position_embeddings", 64}};
  const model::ModelConfig config = model::parse_model_config(object, "config.json");
  tensor::NamedTensors tensors;
  for (const model::WeightSpec& spec : model::main_weights(config))
    tensors[spec.name] = tensor::cast(model::initial_weight(spec, config, 1), tensor::DType::kBF16);
  io::save_weight_directory(folder, tensors, std::size_t{20} << 20);  // in shards
  io::write_text_file(folder + "/config.json", object.dump());
}

// The program is limited, not this process, whose freed memory may still be its own.
testing::CliResult run(const std::string& folder, const std::string& out, bool stream, bool limited) {
  std::vector<std::string> arguments = {"--threads", "1", "run", folder, "--token-ids", "1,2,3,5,8", "--out", out};
  if (stream) arguments.emplace_back("--stream");
  testing::CliProcess process(arguments);
  if (limited) process.limit_data(kLimit);
  return process.wait();
}

std::string file_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TEST(RunStream, WalksACheckpointThatDoesNotFit) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers need more memory than the limit allows";
#endif
  const testing::TempDir dir;
  const std::string folder = dir.file("checkpoint");
  write_checkpoint(folder);
  const testing::CliResult whole = run(folder, dir.file("whole.npz"), false, true);
  testing::expect_one_line_error(whole, 3, {"out of memory"});
  EXPECT_FALSE(std::filesystem::exists(dir.file("whole.npz")));
  const testing::CliResult streamed = run(folder, dir.file("stream.safetensors"), true, true);
  ASSERT_EQ(streamed.exit_code, 0) << streamed.err;
  const testing::CliResult unlimited = run(folder, dir.file("all.safetensors"), false, false);
  ASSERT_EQ(unlimited.exit_code, 0) << unlimited.err;
  EXPECT_EQ(file_bytes(dir.file("stream.safetensors")), file_bytes(dir.file("all.safetensors")));
}

}  // namespace
}  // namespace lastbit
