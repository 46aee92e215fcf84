#include "golden/vectors.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <fstream>

#include "io/npy.h"
#include "support/cli.h"
#include "support/shared.h"

namespace lastbit::golden {
namespace {

bool both_nan(std::uint32_t x, std::uint32_t y) {
  return std::isnan(std::bit_cast<float>(x)) && std::isnan(std::bit_cast<float>(y));
}

}  // namespace

std::string array_path(const std::string& file, const std::string& key) {
  return testing::shared_path("golden/fp8/" + file) + ":" + key;
}

nlohmann::json index_of(const std::string& file) {
  std::ifstream text(testing::shared_path("golden/fp8/index.json"));
  return nlohmann::json::parse(text).at("files").at(file);
}

tensor::Tensor run_to_array(std::vector<std::string> args) {
  const testing::TempDir folder;
  const std::string out = folder.file("out.npy");
  args.insert(args.end(), {"--out", out});
  const testing::CliResult result = testing::run_cli(args);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return result.exit_code == 0 ? io::load_npy(out) : tensor::Tensor();
}

std::vector<std::uint32_t> bits_of(const tensor::Tensor& array) {
  const auto widen = [](const auto& values) { return std::vector<std::uint32_t>(values.begin(), values.end()); };
  switch (tensor::size_of(array.dtype())) {
    case 1:
      return widen(array.view_as(tensor::DType::kU8).values<std::uint8_t>());
    case 2:
      return widen(array.view_as(tensor::DType::kU16).values<std::uint16_t>());
    default:
      return widen(array.view_as(tensor::DType::kU32).values<std::uint32_t>());
  }
}

void expect_same_bits(const tensor::Tensor& computed, const tensor::Tensor& golden, const std::string& what,
                      bool any_nan) {
  const std::vector<std::uint32_t> got = bits_of(computed);
  const std::vector<std::uint32_t> want = bits_of(golden);
  ASSERT_EQ(tensor::size_of(computed.dtype()), tensor::size_of(golden.dtype())) << what;
  ASSERT_GT(want.size(), 0u) << what;
  ASSERT_GE(got.size(), want.size()) << what;
  std::size_t different = 0;
  std::size_t first = 0;
  for (std::size_t i = want.size(); i-- > 0;) {
    if (got[i] == want[i] || (any_nan && both_nan(got[i], want[i]))) continue;
    ++different;
    first = i;
  }
  EXPECT_EQ(different, 0u) << what << ": first at " << first << ", computed " << std::hex << got[first] << ", golden "
                           << want[first];
}

}  // namespace lastbit::golden
