// The golden checkpoints through the program: hidden states, routing and logits against the FP64 run of the same model.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "io/arrays.h"
#include "io/npy.h"
#include "io/safetensors.h"
#include "model/transformer.h"
#include "support/cli.h"
#include "support/shared.h"

namespace lastbit {
namespace {

using tensor::DType;
using tensor::Tensor;

std::vector<double> as_doubles(const Tensor& x) {
  if (x.dtype() == DType::kF64) return {x.values<double>().begin(), x.values<double>().end()};
  return {x.values<float>().begin(), x.values<float>().end()};
}

// |a - b| / |b| over all elements of b; a may be longer (golden tables are cut at 64 positions).
double relative_error(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = as_doubles(a);
  const std::vector<double> y = as_doubles(b);
  EXPECT_GE(x.size(), y.size());
  double difference = 0;
  double norm = 0;
  for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
    difference += std::pow(x[i] - y[i], 2);
    norm += std::pow(y[i], 2);
  }
  if (norm == 0) return std::sqrt(difference);  // an expert without tokens: no gradient at all
  return std::sqrt(difference / norm);
}

std::string file_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Names that our taps and the golden file share: not packing, greedy ids, training modes or FP64 twins.
std::vector<std::string> shared_taps(const io::SafetensorsFile& golden) {
  std::vector<std::string> taps;
  for (const std::string& name : golden.names())
    for (const char* prefix : {"logits", "loss", "hidden.", "attn_out.", "mlp_out.", "router.", "cache.", "rope.",
                               "decode.logits", "mtp.", "aux_loss."})
      if (name.starts_with(prefix) && name != "loss_ce_only" && !name.starts_with("logits_")) taps.push_back(name);
  return taps;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ",") + word;
  return text;
}

// What one run of the program wrote.
struct Outputs {
  tensor::NamedTensors taps;
  tensor::NamedTensors gradients;
};

// Runs the golden case forward and backward; the files must not depend on the number of threads.
Outputs run_case(const std::string& name, const std::string& taps, const testing::TempDir& dir,
                 const std::string& numerics = "fp32", const std::vector<std::string>& more = {}) {
  const std::string folder = testing::shared_path("golden/model/" + name);
  const std::string ids = dir.file("ids.npy");
  io::save_npy(ids, io::SafetensorsFile::open(folder + "/golden.safetensors").tensor("input_ids"));
  for (const char* threads : {"1", "3"}) {
    std::vector<std::string> arguments = {"--threads",  threads,
                                          "run",        folder,
                                          "--tokens",   ids,
                                          "--tap",      taps,
                                          "--numerics", numerics,
                                          "--out",      dir.file(std::string(threads) + ".safetensors"),
                                          "--grads",    dir.file(std::string(threads) + "_grads.safetensors")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const testing::CliResult result = testing::run_cli(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
  }
  for (const char* file : {".safetensors", "_grads.safetensors"})
    EXPECT_EQ(file_bytes(dir.file(std::string("1") + file)), file_bytes(dir.file(std::string("3") + file))) << name;
  return {io::SafetensorsFile::open(dir.file("1.safetensors")).tensors(),
          io::SafetensorsFile::open(dir.file("1_grads.safetensors")).tensors()};
}

io::SafetensorsFile golden_file(const std::string& name, const std::string& file) {
  return io::SafetensorsFile::open(testing::shared_path("golden/model/" + name + "/" + file));
}

void expect_gradients(const tensor::NamedTensors& ours, const io::SafetensorsFile& golden, double tolerance) {
  ASSERT_FALSE(golden.names().empty());
  for (const std::string& name : golden.names()) {
    ASSERT_TRUE(ours.contains(name)) << name;
    EXPECT_EQ(ours.at(name).shape(), golden.tensor(name).shape()) << name;
    EXPECT_LE(relative_error(ours.at(name), golden.tensor(name)), tolerance) << name;
  }
}

class ModelGolden : public ::testing::TestWithParam<const char*> {};

TEST_P(ModelGolden, EveryTapAndGradientAgreesWithTheReference) {
  LASTBIT_NEEDS_SHARED();
  constexpr double kTolerance = 2e-5;
  const testing::TempDir dir;
  const io::SafetensorsFile golden = golden_file(GetParam(), "golden.safetensors");
  const std::vector<std::string> taps = shared_taps(golden);
  ASSERT_GE(taps.size(), 8U);
  const Outputs run = run_case(GetParam(), joined(taps), dir);
  const tensor::NamedTensors& outputs = run.taps;
  expect_gradients(run.gradients, golden_file(GetParam(), "grads.safetensors"), kTolerance);
  ASSERT_EQ(outputs.size(), taps.size());
  for (const std::string& tap : taps) {
    const Tensor& ours = outputs.at(tap);
    const Tensor reference = golden.tensor(tap);
    const bool table = tap == "rope.cos" || tap == "rope.sin";
    if (!table) {
      EXPECT_EQ(ours.shape(), reference.shape()) << tap;
    }
    if (reference.dtype() == DType::kI64) {
      const auto chosen = ours.values<std::int64_t>();
      const auto expected = reference.values<std::int64_t>();
      EXPECT_TRUE(std::equal(chosen.begin(), chosen.end(), expected.begin(), expected.end())) << tap;
      continue;
    }
    EXPECT_LE(relative_error(ours, reference), kTolerance) << tap;
    if (golden.contains("f64." + tap)) {
      EXPECT_LE(relative_error(ours, golden.tensor("f64." + tap)), kTolerance) << tap << " against FP64";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, ModelGolden,
                         ::testing::Values("v3_base", "v3_yarn_noq", "v3_zerobias_nonorm", "v3_fp8", "v2_group"),
                         [](const auto& golden_case) { return std::string(golden_case.param); });

// Two documents in row 0 that do not see each other, as if each were alone.
TEST_P(ModelGolden, PackedDocumentsAgreeWithTheReference) {
  LASTBIT_NEEDS_SHARED();
  const testing::TempDir dir;
  const io::SafetensorsFile golden = golden_file(GetParam(), "golden.safetensors");
  const Tensor ids = golden.tensor("input_ids").slice(0, 0, 1).contiguous();
  const Tensor lengths = golden.tensor("packed.doc_lens");
  const auto length = lengths.values<std::int64_t>();
  io::save_npy(dir.file("ids.npy"), ids);
  const testing::CliResult result = testing::run_cli(
      {"run", testing::shared_path(std::string("golden/model/") + GetParam()), "--tokens", dir.file("ids.npy"),
       "--documents", std::to_string(length[0]) + "," + std::to_string(length[1]), "--out", dir.file("packed.npz")});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_LE(relative_error(io::load_array(dir.file("packed.npz:logits")), golden.tensor("packed.logits")), 2e-5);
}

// The golden gradients are an FP64 run's, rounded to FP32: 2^-25 of each entry, at most 6e-8 of the norm.
TEST_P(ModelGolden, GradientsInFp64AgreeToTheRoundingOfTheFile) {
  LASTBIT_NEEDS_SHARED();
  const testing::TempDir dir;
  const Outputs run = run_case(GetParam(), "logits,loss", dir, "fp64");
  expect_gradients(run.gradients, golden_file(GetParam(), "grads.safetensors"), 6e-8);
  // FP32 tables and weights' dequantisation inside the golden FP64 run leave about 1e-6 in the activations.
  EXPECT_LE(relative_error(run.taps.at("logits"), golden_file(GetParam(), "golden.safetensors").tensor("f64.logits")),
            2e-6);
}

TEST_P(ModelGolden, GreedyTokensAreThoseOfTheReference) {
  LASTBIT_NEEDS_SHARED();
  const model::Transformer transformer = model::Transformer::load(
      testing::shared_path(std::string("golden/model/") + GetParam()), ops::numerics_by_name("fp32"));
  const Tensor golden = golden_file(GetParam(), "golden.safetensors").tensor("greedy.ids");
  const auto expected = golden.values<std::int64_t>();
  constexpr std::int64_t kPrompt = 4;
  for (const model::MlaForm form : {model::MlaForm::kNaive, model::MlaForm::kAbsorbed}) {
    model::KeyValueCache cache(transformer.config().num_hidden_layers);
    Tensor logits = transformer.decode(golden.slice(1, 0, kPrompt), cache, form);
    for (std::size_t i = kPrompt; i < expected.size(); ++i) {
      const auto values = logits.values<float>().last(static_cast<std::size_t>(logits.dim(-1)));
      const std::int64_t next = std::max_element(values.begin(), values.end()) - values.begin();
      ASSERT_EQ(next, expected[i]) << "token " << i;
      logits = transformer.decode(Tensor::from<std::int64_t>({1, 1}, std::span(&next, 1)), cache, form);
    }
  }
}

TEST_P(ModelGolden, AbsorbedAttentionAgreesWithNaive) {
  LASTBIT_NEEDS_SHARED();
  const model::Transformer transformer = model::Transformer::load(
      testing::shared_path(std::string("golden/model/") + GetParam()), ops::numerics_by_name("fp32"));
  const Tensor ids = golden_file(GetParam(), "golden.safetensors").tensor("input_ids");
  model::ForwardOptions options;
  const Tensor naive = transformer.forward(ids, options).at("logits");
  options.mla_form = model::MlaForm::kAbsorbed;
  EXPECT_LE(relative_error(transformer.forward(ids, options).at("logits"), naive), 1e-5);
}

TEST(ModelGoldenV1, LogitsAndGradientsAgreeWithTheRelease) {
  LASTBIT_NEEDS_SHARED();
  const testing::TempDir dir;
  const io::SafetensorsFile golden = golden_file("v1_seqaux", "golden.safetensors");
  std::vector<std::string> taps = {"logits", "loss"};
  for (const std::string& name : golden.names())
    for (const char* prefix : {"hidden.", "router.", "aux_loss."})
      if (name.starts_with(prefix)) taps.push_back(name);
  const Outputs run = run_case("v1_seqaux", joined(taps), dir);
  for (const std::string& tap : taps) {
    const Tensor& ours = run.taps.at(tap);
    const std::string name = tap == "logits" ? "logits_eval" : tap == "loss" ? "loss_ce_only" : tap;
    const Tensor reference = golden.tensor(name);
    if (reference.dtype() == DType::kI64) {
      const auto chosen = ours.values<std::int64_t>();
      const auto expected = reference.values<std::int64_t>();
      EXPECT_TRUE(std::equal(chosen.begin(), chosen.end(), expected.begin(), expected.end())) << tap;
    } else {
      EXPECT_LE(relative_error(ours, reference), 2e-5) << tap;
    }
  }
  // The release adds the auxiliary loss's gradient in backward while it reports the cross-entropy alone.
  expect_gradients(run.gradients, golden_file("v1_seqaux", "grads.safetensors"), 2e-5);
}

TEST(ModelGoldenLast, TheLastLogitsAloneHaveTheBitsOfAll) {
  LASTBIT_NEEDS_SHARED();
  const testing::TempDir dir;
  const tensor::NamedTensors outputs = run_case("v3_base", "logits,logits.last", dir).taps;
  const Tensor& all = outputs.at("logits");
  const Tensor& last = outputs.at("logits.last");
  ASSERT_EQ(last.shape(), (tensor::Shape{all.dim(0), all.dim(2)}));
  for (std::int64_t row = 0; row < all.dim(0); ++row) {
    const Tensor expected = all.slice(0, row, row + 1).slice(1, all.dim(1) - 1, all.dim(1)).clone();
    const auto bytes = last.slice(0, row, row + 1).bytes();
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), expected.bytes().begin(), expected.bytes().end())) << row;
  }
}

}  // namespace
}  // namespace lastbit
