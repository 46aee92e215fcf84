#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "io/atomic_file.h"
#include "support/cli.h"
#include "support/shared.h"

namespace lastbit {
namespace {

using testing::expect_one_line_error;
using testing::run_cli;

TEST(Units, AreListedWithWhatTheyWereHeldTo) {
  const testing::CliResult text = run_cli({"units"});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_NE(text.out.find("hopper_wgmma"), std::string::npos);
  EXPECT_NE(text.out.find("unverified"), std::string::npos);
  const nlohmann::json all = nlohmann::json::parse(run_cli({"units", "--json"}).out);
  EXPECT_EQ(all.at("unit").size(), 10u);
  const nlohmann::json one = nlohmann::json::parse(run_cli({"units", "hopper_wgmma+clamped_e", "--json"}).out);
  EXPECT_EQ(one.at("unit").at(0).at("row").at(0).at("least_alignment"), -133);
  EXPECT_EQ(one.at("unit").at(0).at("row").at(0).at("vectorised"), false);
}

TEST(Units, AFileDefinesMore) {
  const testing::TempDir dir;
  io::write_text_file(
      dir.file("mine.toml"),
      "[[unit]]\nname = \"mine\"\n[[unit.row]]\noperands = [\"bf16\"]\nfraction_bits = 20\nstep_k = 16\n");
  const testing::CliResult text = run_cli({"units", dir.file("mine.toml")});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_NE(text.out.find("F 20"), std::string::npos);
  EXPECT_EQ(run_cli({"study", "accumulation", "--unit", dir.file("mine.toml"), "--a-type", "bf16", "--m", "4", "--n",
                     "4", "--k", "64", "--promote-every", "0"})
                .exit_code,
            0);
}

TEST(Units, WrongNamesAreOneLine) {
  expect_one_line_error(run_cli({"units", "hoper_wgmma"}), 2, {"hopper_wgmma"});
  expect_one_line_error(run_cli({"units", "hopper_wgmma+zero"}), 2, {"variant", "zero_in_e"});
  expect_one_line_error(run_cli({"units", "missing.toml"}), 2, {"missing.toml", "no such file"});
}

}  // namespace
}  // namespace lastbit
