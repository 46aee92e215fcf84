#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "io/arrays.h"
#include "support/cli.h"
#include "support/shared.h"

namespace lastbit {
namespace {

using testing::expect_one_line_error;
using testing::run_cli;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// A pack of contract quantize_1x128, and outputs that are what its reference expects.
tensor::NamedTensors answer_pack(const std::string& pack) {
  EXPECT_EQ(run_cli({"check", "kernel", "quantize_1x128", "--shapes", "5x300", "--families", "normal,zero_blocks",
                     "--write-pack", pack, "--expected"})
                .exit_code,
            0);
  tensor::NamedTensors outputs;
  const std::string mark = "/expected.";
  for (const auto& [name, tensor] : io::load_arrays(pack)) {
    const std::size_t at = name.find(mark);
    if (at != std::string::npos) outputs[name.substr(0, at) + "/" + name.substr(at + mark.size())] = tensor;
  }
  return outputs;
}

TEST(CheckKernel, AcceptsAndRejectsOutputsInFiles) {
  const testing::TempDir dir;
  for (const char* extension : {".npz", ".safetensors", ".h5"}) {
    const std::string pack = dir.file(std::string("pack") + extension);
    const std::string out = dir.file(std::string("out") + extension);
    tensor::NamedTensors outputs = answer_pack(pack);
    ASSERT_EQ(outputs.size(), 4U);
    io::save_arrays(out, outputs);
    const auto accepted = run_cli({"check", "kernel", "--pack", pack, "--outputs", out});
    EXPECT_EQ(accepted.exit_code, 0) << accepted.out << accepted.err;
    EXPECT_TRUE(has(accepted.out, "ACCEPTED  quantize_1x128: 2 of 2 cases passed")) << accepted.out;

    tensor::Tensor scales = outputs.at("normal/5x300/scales").clone();
    for (float& scale : scales.mutable_values<float>()) scale *= 2;
    outputs["normal/5x300/scales"] = scales;
    outputs.erase("zero_blocks/5x300/codes");
    io::save_arrays(out, outputs);
    const auto rejected = run_cli({"check", "kernel", "--pack", pack, "--outputs", out, "--html", dir.file("r.html"),
                                   "--junit", dir.file("r.xml"), "--json"});
    EXPECT_EQ(rejected.exit_code, 1);
    const nlohmann::json report = nlohmann::json::parse(rejected.out);
    EXPECT_EQ(report.at("passed"), false);
    EXPECT_EQ(report.at("cases").size(), 2U);
    EXPECT_TRUE(has(report.at("causes").dump(), "a wrong scale: 2 times the reference"));
    EXPECT_TRUE(has(testing::read_file(dir.file("r.html")), "<svg "));
    EXPECT_TRUE(has(testing::read_file(dir.file("r.xml")), "failures=\"1\" errors=\"1\""));
  }
}

TEST(CheckKernel, APackIsItsManifest) {
  const testing::TempDir dir;
  const std::string pack = dir.file("a.npz");
  (void)answer_pack(pack);
  (void)answer_pack(dir.file("b.npz"));
  EXPECT_EQ(testing::read_file(pack), testing::read_file(dir.file("b.npz")));

  tensor::NamedTensors arrays = io::load_arrays(pack);
  tensor::Tensor x = arrays.at("normal/5x300/x").clone();
  x.mutable_bytes()[7] ^= std::byte{1};
  arrays["normal/5x300/x"] = x;
  io::save_arrays(dir.file("changed.npz"), arrays);
  expect_one_line_error(run_cli({"check", "kernel", "--pack", dir.file("changed.npz"), "--outputs", pack}), 2,
                        {"changed.npz", "'normal/5x300/x' is not what seed 1 draws"});
}

TEST(CheckKernel, SaysWhatItCannotRead) {
  const testing::TempDir dir;
  const auto refused = [&](std::vector<std::string> words, const std::vector<std::string>& parts) {
    words.insert(words.begin(), {"check", "kernel"});
    expect_one_line_error(run_cli(words), 2, parts);
  };
  refused({"fp8_gem", "--implementation", "plain"}, {"unknown contract 'fp8_gem' (did you mean 'fp8_gemm'?)"});
  refused({"fp8_gemm"}, {"expected one of --plugin, --outputs and --implementation"});
  refused({"fp8_gemm", "--implementation", "plain", "--set", "promotion=cubla"}, {"'cubla' (did you mean 'cublas'?)"});
  refused({"fp8_gemm", "--implementation", "plain", "--set", "promote=1"}, {"unknown setting 'promote'"});
  refused({"fp8_gemm", "--implementation", "plain", "--shapes", "3x4"}, {"shape of 2 sizes, expected 3: MxNxK"});
  refused({"fp8_gemm", "--implementation", "plain", "--shapes", "3x0x4"}, {"N = 0, expected 1 to"});
  refused({"fp8_gemm", "--implementation", "plain", "--families", "norml"}, {"'norml'", "'normal'"});
  refused({"fp8_gemm", "--implementation", "plain", "--tolerance", "norm=1e-3"}, {"element by element"});
  refused({"rope", "--implementation", "plain"}, {"does not support contract rope"});
  refused({"fp8_gemm", "--plugin", dir.file("nowhere.so")}, {"nowhere.so: no such file, expected a shared library"});
  refused({"fp8_gemm", "--write-pack", dir.file("x.csv")}, {"x.csv", ".npz"});
  const std::string other = dir.file("other.npz");
  io::save_arrays(other, {{"x", tensor::Tensor::zeros(tensor::DType::kF32, {1})}});
  refused({"--pack", other, "--outputs", other}, {"has no array 'manifest'"});
  refused({"fp8_gemm", "--outputs", other}, {"has no output of the cases asked for"});
}

#if defined(LASTBIT_EXECUTOR)
TEST(CheckKernel, RunsOwnKernelsOnTheExecutor) {
  const auto run = [](const std::string& implementation) {
    return run_cli(
        {"check", "kernel", "rope", "--implementation", implementation, "--shapes", "5x3x64", "--families", "normal"});
  };
  for (const std::string name : {"v0", "tuned", "rope:tuned"}) {
    const auto result = run(name);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_NE(result.out.find("ACCEPTED  rope: 1 of 1 cases passed"), std::string::npos) << result.out;
  }
  expect_one_line_error(run("tund"), 2, {"unknown implementation 'tund'"});
}
#endif

TEST(ProbeCommand, FindsAUnitFromOutputsInAFile) {
  const testing::TempDir dir;
  const std::string in = dir.file("in.npz");
  ASSERT_EQ(run_cli({"probe", "--k", "32", "--write-inputs", in}).exit_code, 0);
  const std::string pair = in + ":e4m3.e4m3.f32/";
  ASSERT_EQ(run_cli({"mma", "--unit", "ada_mma", "--a-type", "e4m3", "--b-type", "e4m3", "--a", pair + "a", "--b",
                     pair + "b", "--c", pair + "c", "--out", dir.file("out.npz:e4m3.e4m3.f32/d")})
                .exit_code,
            0);
  const auto found = run_cli(
      {"probe", "--k", "32", "--outputs", dir.file("out.npz"), "--name", "mine", "--out", dir.file("mine.toml")});
  EXPECT_EQ(found.exit_code, 0) << found.out << found.err;
  EXPECT_TRUE(has(found.out, "truncated, 16 elements of K a step, 13 fraction bits, output e8m13 truncated"))
      << found.out;
  EXPECT_TRUE(has(found.out, "known as ada_mma")) << found.out;
  const auto units = run_cli({"units", dir.file("mine.toml")});
  EXPECT_EQ(units.exit_code, 0) << units.err;
  EXPECT_TRUE(has(units.out, "F 13  K 16")) << units.out;
  // Answers of another instruction are no unit's.
  expect_one_line_error(run_cli({"probe", "--k", "64", "--outputs", in}), 2, {"has no array 'e4m3.e4m3.f32/d'"});
  expect_one_line_error(run_cli({"probe", "--types", "e4m4", "--write-inputs", in}), 2, {"'e4m4'", "'e4m3'"});
  expect_one_line_error(run_cli({"probe"}), 2, {"expected one of --plugin, --write-inputs and --outputs"});
}

}  // namespace
}  // namespace lastbit
