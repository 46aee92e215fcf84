// Every record published as captured on a GPU through `lastbit mma`, bit for bit.
#include <gtest/gtest.h>

#include <map>

#include "golden/vectors.h"
#include "io/arrays.h"
#include "support/shared.h"

namespace lastbit::golden {
namespace {

struct Replay {
  std::string unit;
  std::string type;
  bool c_is_zero;
};

// H100 FP8: the published D does not contain C. B200 FP8 is mma.sync.
Replay replay_of(const std::string& gpu, const std::string& published_type) {
  static const std::map<std::string, std::string> types{
      {"E4M3", "e4m3"}, {"E5M2", "e5m2"}, {"fp16", "f16"}, {"bf16", "bf16"}, {"tf32", "tf32"}};
  static const std::map<std::string, std::string> units{{"H100", "hopper_wgmma"}, {"Ada", "ada_mma"},
                                                        {"L40S", "ada_mma"},      {"A100", "ampere_mma"},
                                                        {"V100", "volta_mma"},    {"B200", "blackwell_tcgen05"}};
  const std::string& type = types.at(published_type);
  const bool fp8 = type == "e4m3" || type == "e5m2";
  if (gpu == "B200" && fp8) return {"b200_mma_sync", type, false};
  return {units.at(gpu), type, gpu == "H100" && fp8};
}

TEST(GoldenPublishedGpu, EveryRecord) {
  LASTBIT_NEEDS_SHARED();
  const nlohmann::json entries = index_of("published_gpu.npz").at("entries");
  EXPECT_EQ(entries.size(), 19u);
  for (const nlohmann::json& entry : entries) {
    const std::string key = entry.at("key");
    const Replay replay = replay_of(entry.at("gpu"), entry.at("type"));
    const auto path = [&key](const char* part) { return array_path("published_gpu.npz", key + "__" + part); };
    std::vector<std::string> args{"mma",       "--unit", replay.unit, "--a-type", replay.type, "--b-type",
                                  replay.type, "--a",    path("A"),   "--b",      path("B")};
    if (!replay.c_is_zero) args.insert(args.end(), {"--c", path("C")});
    expect_same_bits(run_to_array(args), io::load_array(path("D")), key);
  }
}

}  // namespace
}  // namespace lastbit::golden
