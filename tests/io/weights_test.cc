#include "io/weights.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/json.h"
#include "io/samples.h"
#include "support/shared.h"

namespace lastbit::io {
namespace {

using tensor::DType;
using tensor::NamedTensors;

NamedTensors all_of(const WeightDirectory& weights) {
  NamedTensors tensors;
  for (const std::string& name : weights.names()) tensors.emplace(name, weights.tensor(name));
  return tensors;
}

std::string error_of(const std::string& directory) {
  try {
    (void)WeightDirectory::open(directory);
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "accepted";
  return "";
}

TEST(Weights, OneFileComesBack) {
  const testing::TempDir dir;
  save_weight_directory(dir.file("w"), samples());
  EXPECT_TRUE(std::filesystem::exists(dir.file("w/model.safetensors")));
  expect_same(samples(), all_of(WeightDirectory::open(dir.file("w"))));
  EXPECT_EQ(SafetensorsFile::open(dir.file("w/model.safetensors")).metadata().at("format"), "pt");
}

TEST(Weights, ShardsComeBack) {
  const testing::TempDir dir;
  constexpr std::size_t kMaxShardBytes = 40;
  save_weight_directory(dir.file("w"), samples(), kMaxShardBytes);
  EXPECT_FALSE(std::filesystem::exists(dir.file("w/model.safetensors")));
  const WeightDirectory weights = WeightDirectory::open(dir.file("w"));
  expect_same(samples(), all_of(weights));
  EXPECT_TRUE(weights.contains("scalar"));
  EXPECT_FALSE(weights.contains("vector"));
  std::size_t total = 0;
  for (const auto& [name, tensor] : samples()) total += tensor.nbytes();
  const nlohmann::json index = load_json(dir.file("w/model.safetensors.index.json"));
  EXPECT_EQ(index.at("metadata").at("total_size"), total);
  std::size_t shards = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir.file("w"))) {
    if (entry.path().extension() != ".safetensors") continue;
    ++shards;
    const NamedTensors tensors = SafetensorsFile::open(entry.path()).tensors();
    std::size_t bytes = 0;
    for (const auto& [name, tensor] : tensors) bytes += tensor.nbytes();
    EXPECT_TRUE(bytes <= kMaxShardBytes || tensors.size() == 1) << entry.path();
  }
  EXPECT_GT(shards, 3u);
}

TEST(Weights, WritingAgainReplacesTheOtherForm) {
  const testing::TempDir dir;
  const NamedTensors first{{"a", sample(DType::kF32, {8})}, {"b", sample(DType::kF32, {8})}};
  const NamedTensors second{{"a", sample(DType::kU8, {8})}, {"c", sample(DType::kU8, {8})}};
  save_weight_directory(dir.path(), first);
  save_weight_directory(dir.path(), second, 8);
  expect_same(second, all_of(WeightDirectory::open(dir.path())));
  save_weight_directory(dir.path(), first);
  expect_same(first, all_of(WeightDirectory::open(dir.path())));
}

TEST(Weights, MissingTensorsGetASuggestion) {
  const testing::TempDir dir;
  save_weight_directory(dir.path(), {{"lm_head.weight", sample(DType::kF32, {8})}});
  try {
    (void)WeightDirectory::open(dir.path()).tensor("lm_head.weigth");
    FAIL() << "accepted";
  } catch (const core::Error& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean 'lm_head.weight'?"), std::string::npos) << error.what();
  }
}

TEST(Weights, RefusesFoldersWithoutACheckpoint) {
  const testing::TempDir dir;
  EXPECT_NE(error_of(dir.path()).find("found neither model.safetensors nor"), std::string::npos);
  EXPECT_NE(error_of(dir.file("none")).find("no such folder"), std::string::npos);
}

TEST(Weights, RefusesIndexesThatLie) {
  const testing::TempDir dir;
  save_safetensors(dir.file("one.safetensors"), {{"a", sample(DType::kF32, {2})}});
  const auto error_with = [&](const std::string& index) {
    write_text_file(dir.file("model.safetensors.index.json"), index);
    return error_of(dir.path());
  };
  EXPECT_NE(error_with(R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})")
                .find("shard 'two.safetensors', which holds tensor 'b', is not in the folder"),
            std::string::npos);
  EXPECT_NE(error_with(R"({"weight_map":{"a":"one.safetensors","b":"one.safetensors"}})")
                .find("tensor 'b' is not in its shard 'one.safetensors'"),
            std::string::npos);
  EXPECT_NE(
      error_with(R"({"weight_map":{"a":"../one.safetensors"}})").find("expected the name of a file in the same folder"),
      std::string::npos);
  EXPECT_NE(error_with(R"({"weight_map":{"a":1}})").find("expected a shard's name"), std::string::npos);
  EXPECT_NE(error_with(R"({"weight_map":[]})").find("found no object 'weight_map'"), std::string::npos);
  EXPECT_NE(error_with("[]").find("found no object 'weight_map'"), std::string::npos);
  EXPECT_NE(error_with("{").find("index.json:1:2:"), std::string::npos);
}

}  // namespace
}  // namespace lastbit::io
