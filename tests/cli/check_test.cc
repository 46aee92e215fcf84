#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "io/arrays.h"
#include "io/atomic_file.h"
#include "io/file_bytes.h"
#include "support/cli.h"
#include "support/shared.h"

namespace lastbit {
namespace {

using tensor::Tensor;
using testing::CliResult;
using testing::expect_one_line_error;
using testing::run_cli;

Tensor floats(const std::vector<float>& values) {
  return Tensor::from<float>({static_cast<std::int64_t>(values.size())}, values);
}

class CheckTest : public ::testing::Test {
 protected:
  std::string save(const std::string& name, const tensor::NamedTensors& tensors) {
    io::save_arrays(dir_.file(name), tensors);
    return dir_.file(name);
  }
  std::string save(const std::string& name, const std::vector<float>& values) {
    return save(name, {{"x", floats(values)}});
  }
  static CliResult check(const std::string& reference, const std::string& candidate,
                         const std::vector<std::string>& more = {}) {
    std::vector<std::string> args{"check", "--reference", reference, "--candidate", candidate};
    args.insert(args.end(), more.begin(), more.end());
    return run_cli(args);
  }

  testing::TempDir dir_;
};

TEST_F(CheckTest, EqualArraysMatch) {
  const std::string reference = save("a.npy", std::vector<float>{1, 2, 3});
  const CliResult result = check(reference, save("b.npz", std::vector<float>{1, 2, 3}) + ":x");
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_NE(result.out.find("match     f32 [3], all bits"), std::string::npos) << result.out;
  EXPECT_EQ(result.err, "");
}

TEST_F(CheckTest, ToleranceDecides) {
  const std::string reference = save("a.npy", std::vector<float>{1, 2, 3});
  const std::string candidate = save("b.npy", std::vector<float>{1, 2.0000002f, 3});
  EXPECT_EQ(check(reference, candidate).exit_code, 1);
  EXPECT_EQ(check(reference, candidate, {"--tolerance", "ulp=1"}).exit_code, 0);
  EXPECT_EQ(check(reference, candidate, {"--tolerance", "abs=1e-8"}).exit_code, 1);
  EXPECT_EQ(check(reference, candidate, {"--tolerance", "rel=1e-6"}).exit_code, 0);
  EXPECT_EQ(check(reference, candidate, {"--tolerance", "norm=1e-6"}).exit_code, 0);
  EXPECT_EQ(check(reference, candidate, {"--tolerance", "norm=1e-9"}).exit_code, 1);
}

TEST_F(CheckTest, ReportNamesTheFirstMismatch) {
  const CliResult result = check(save("a.npy", std::vector<float>{1, 2}), save("b.npy", std::vector<float>{1, 2.5f}));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.out.find("MISMATCH"), std::string::npos);
  EXPECT_NE(result.out.find("[1]  reference 0x40000000 (2)  candidate 0x40200000 (2.5)"), std::string::npos)
      << result.out;
}

TEST_F(CheckTest, JsonHoldsTheReport) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const CliResult result =
      check(save("a.npy", std::vector<float>{0, 2, 3}), save("b.npy", std::vector<float>{1, nan, 3}), {"--json"});
  EXPECT_EQ(result.exit_code, 1);
  const nlohmann::json report = nlohmann::json::parse(result.out);
  EXPECT_EQ(report.at("match"), false);
  const nlohmann::json& array = report.at("arrays").at(0);
  EXPECT_EQ(array.at("mismatches"), 2);
  EXPECT_EQ(array.at("nonfinite_mismatches"), 1);
  EXPECT_EQ(array.at("max_rel"), "inf");
  EXPECT_EQ(array.at("first").at("candidate").at("bits"), "0x3f800000");
  EXPECT_EQ(array.at("first_nonfinite").at("coordinates"), nlohmann::json::array({1}));
}

TEST_F(CheckTest, ContainersAreComparedByName) {
  const std::string reference = save("a.npz", {{"x", floats({1})}, {"y", floats({2})}});
  const CliResult same = check(reference, save("b.safetensors", {{"x", floats({1})}, {"y", floats({2})}}));
  EXPECT_EQ(same.exit_code, 0) << same.out << same.err;
  EXPECT_NE(same.out.find("2 arrays, 0 mismatched"), std::string::npos) << same.out;
  const CliResult missing = check(reference, save("c.h5", {{"x", floats({1})}}));
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_NE(missing.out.find("missing in the candidate"), std::string::npos) << missing.out;
  const CliResult more = check(reference, save("d.npz", {{"x", floats({1})}, {"y", floats({2})}, {"z", floats({3})}}));
  EXPECT_EQ(more.exit_code, 1);
  EXPECT_NE(more.out.find("missing in the reference"), std::string::npos) << more.out;
}

TEST_F(CheckTest, OtherShapeAndDTypeAreMismatches) {
  const std::string reference = save("a.npy", std::vector<float>{1, 2});
  EXPECT_EQ(check(reference, save("b.npy", std::vector<float>{1, 2, 3})).exit_code, 1);
  const std::string doubles = save("c.npy", {{"x", Tensor::from<double>({2}, std::vector<double>{1, 2})}});
  EXPECT_EQ(check(reference, doubles).exit_code, 1);
  EXPECT_EQ(check(reference, doubles, {"--tolerance", "norm=0"}).exit_code, 0);
}

TEST_F(CheckTest, CodesAreReadAs) {
  const std::vector<std::uint8_t> nans{0x7f, 0x38};
  const std::vector<std::uint8_t> others{0xff, 0x38};
  const std::string reference = save("a.npy", {{"x", Tensor::from<std::uint8_t>({2}, nans)}});
  const std::string candidate = save("b.npy", {{"x", Tensor::from<std::uint8_t>({2}, others)}});
  EXPECT_EQ(check(reference, candidate).exit_code, 1);
  EXPECT_EQ(check(reference, candidate, {"--as", "e4m3"}).exit_code, 1);
  EXPECT_EQ(check(reference, candidate, {"--as", "e4m3", "--tolerance", "bitwise,nan=any"}).exit_code, 0);
  expect_one_line_error(check(reference, candidate, {"--as", "f32"}), 2, {"f32", "u8"});
  expect_one_line_error(check(reference, candidate, {"--as", "e4m2"}), 2, {"e4m2", "did you mean"});
}

TEST_F(CheckTest, KeysThatAreNotUtf8ArePrinted) {
  const std::string file = save("a.npz", {{"QQ x", floats({1})}, {"y", floats({2})}});
  std::string bytes(io::FileBytes::open(file)->text());
  for (std::size_t at = bytes.find("QQ"); at != std::string::npos; at = bytes.find("QQ"))
    bytes.replace(at, 2, "\xff\xe5");
  io::write_text_file(file, bytes);
  const CliResult text = check(file, file);
  EXPECT_EQ(text.exit_code, 0) << text.out << text.err;
  const CliResult json = check(file, file, {"--json"});
  EXPECT_EQ(json.exit_code, 0) << json.err;
  EXPECT_TRUE(nlohmann::json::accept(json.out)) << json.out;
}

TEST_F(CheckTest, BadInputIsOneLine) {
  const std::string reference = save("a.npz", {{"logits", floats({1})}, {"loss", floats({2})}});
  expect_one_line_error(check(reference, dir_.file("none.npz")), 2, {"none.npz", "no such file"});
  expect_one_line_error(check(reference + ":logit", reference + ":loss"), 2, {"logit", "did you mean 'logits'?"});
  expect_one_line_error(check(reference, reference + ":loss"), 2, {"a.npz", "expected a key", "logits, loss"});
  expect_one_line_error(check(reference + ":loss", dir_.file("b.csv")), 2, {"b.csv", "extension"});
  expect_one_line_error(check(reference, reference, {"--tolerance", "ulp"}), 2, {"ulp", "ulp=BOUND"});
  expect_one_line_error(check(reference, reference, {"--tolerance", "bitwse"}), 2, {"did you mean 'bitwise'?"});
  expect_one_line_error(run_cli({"check", "--reference", reference}), 2, {"--candidate"});
  expect_one_line_error(check(save("empty.npz", tensor::NamedTensors{}), reference), 2, {"empty.npz", "no arrays"});
  io::write_text_file(dir_.file("odd.npy"), "not an array");
  expect_one_line_error(check(dir_.file("odd.npy"), dir_.file("odd.npy")), 2, {"odd.npy", "not an npy file"});
  expect_one_line_error(check(dir_.path(), dir_.path()), 2, {"extension"});
  expect_one_line_error(check("a\nb.npy", "c.npy"), 2, {"a?b.npy", "no such file"});
}

}  // namespace
}  // namespace lastbit
