// The validator held to kernels of which it is known what is wrong with them, and to such that are right.
#include "check/validation.h"

#include <gtest/gtest.h>

#include "check/plugin.h"
#include "check/probe.h"
#include "core/error.h"
#include "support/cli.h"

namespace lastbit::check {
namespace {

struct Candidate {
  const char* contract;
  const char* symbol;
  OpSettings settings = {};
  std::vector<tensor::Shape> shapes = {};
  std::vector<std::string> families = {};
};

void PrintTo(const Candidate& candidate, std::ostream* out) {
  *out << candidate.symbol << " for " << candidate.contract;
}

Validation check_candidate(const Candidate& candidate, double time_limit_s = 60) {
  const Contract& contract = find_contract(candidate.contract);
  ValidationRequest request;
  request.contract = &contract;
  request.settings = contract_settings(contract, candidate.settings);
  request.shapes = candidate.shapes;
  request.families = candidate.families;
  PluginOptions options;
  options.library = LASTBIT_CANDIDATES;
  options.symbol = candidate.symbol;
  options.runner = testing::program();
  options.time_limit_s = time_limit_s;
  return validate(request, plugin_implementation(options));
}

std::string told(const Validation& validation) {
  std::string text;
  for (const CaseReport& report : validation.cases)
    for (const Finding& finding : report.findings)
      text += fmt::format("{} {}: {}\n", to_string(finding.kind), report.id.name(), finding.text);
  for (const std::string& cause : validation.causes) text += "cause: " + cause + "\n";
  return text;
}

const std::vector<tensor::Shape> kMatrix{{1, 1}, {150, 300}};

class TrueKernel : public ::testing::TestWithParam<Candidate> {};

TEST_P(TrueKernel, IsAccepted) {
  const Validation validation = check_candidate(GetParam());
  EXPECT_TRUE(validation.passed()) << told(validation);
  EXPECT_EQ(validation.skipped(), 0);
}

INSTANTIATE_TEST_SUITE_P(
    All, TrueKernel,
    ::testing::Values(Candidate{"fp8_gemm", "gemm", {}, {{1, 1, 1}, {33, 65, 300}}},
                      Candidate{"fp8_gemm", "gemm", {{"promotion", "cublas"}, {"d_type", "f32"}}, {{9, 130, 760}}},
                      Candidate{"fp8_gemm", "gemm", {{"scaling", "none"}, {"promotion", "none"}}, {{9, 130, 760}}},
                      Candidate{"fp8_gemm", "gemm", {{"promotion", "muladd"}}, {{9, 130, 760}}},
                      Candidate{"fp8_grouped_gemm_contiguous", "gemm", {}, {{24, 65, 256, 4}}},
                      Candidate{"fp8_grouped_gemm_masked", "gemm", {{"promotion", "cublas"}}, {{9, 33, 256, 4}}},
                      Candidate{"mma",
                                "mma",
                                {},
                                {{100, 32}, {50, 70}},
                                {"all_codes", "normal", "outlier", "cancelling", "zero_rows", "subnormal"}},
                      Candidate{"quantize_1x128", "quantize_true", {}, kMatrix},
                      Candidate{"quantize_128x128", "quantize_true", {}, kMatrix},
                      Candidate{"quantize_1x128",
                                "quantize_true",
                                {{"transpose", "true"}, {"method", "reciprocal"}, {"x_type", "f32"}},
                                kMatrix},
                      Candidate{"quantize_1x128", "quantize_true", {{"zero_block", "epsilon"}}, kMatrix},
                      Candidate{"swiglu_quantize_1x128", "swiglu_quantize_true"},
                      Candidate{"swiglu_quantize_1x128", "swiglu_quantize_true", {{"between", "f32"}}},
                      Candidate{"cast", "cast_true"}, Candidate{"rms_norm", "rms_norm_true"},
                      Candidate{"rope", "rope_true"},
                      Candidate{"rope", "rope_fused", {{"layout", "interleaved_to_halves"}}},
                      Candidate{"mla_decode", "mla_decode_true", {}, {{1, 1, 1}, {2, 3, 100}}},
                      Candidate{"mla_prefill", "mla_prefill_true"}, Candidate{"router", "router_true"},
                      Candidate{"permute", "permute_true"}, Candidate{"unpermute", "unpermute_true"},
                      Candidate{"dispatch_ranks", "dispatch_true"}, Candidate{"combine_ranks", "combine_true"},
                      Candidate{"combine_ranks", "combine_true", {{"wire", "f32"}}},
                      Candidate{"rms_norm_backward", "rms_norm_backward_true", {}, {{1, 2}, {33, 512}}},
                      Candidate{"swiglu_backward", "swiglu_backward_true"},
                      Candidate{"mla_prefill_backward", "mla_prefill_backward_true", {}, {{1, 2, 1}, {7, 9, 2}}},
                      Candidate{"router_backward", "router_backward_true"},
                      Candidate{"unpermute_backward", "unpermute_backward_true", {}, {{17, 40, 8, 2}}},
                      Candidate{"embedding_backward", "embedding_backward_true", {}, {{40, 7, 9}}},
                      Candidate{"cross_entropy", "cross_entropy_true"}, Candidate{"adamw", "adamw_true"}),
    [](const auto& of) { return fmt::format("{}_{}", of.index, of.param.symbol); });

// What a user's files may hold: indices beyond what they point into.
TEST(GradientContracts, RefuseIndicesOutOfRange) {
  const auto expect_error = [](const char* name, tensor::Shape sizes, const char* array, std::int64_t index,
                               const std::string& says) {
    const Contract& contract = find_contract(name);
    const ContractSettings settings = contract_settings(contract, {});
    tensor::NamedTensors inputs = contract.draw({"normal", std::move(sizes), 1, settings});
    tensor::Tensor changed = inputs.at(array).clone();
    changed.mutable_values<std::int64_t>()[0] = index;
    inputs[array] = changed;
    try {
      (void)contract.expect(inputs, settings);
      FAIL() << name;
    } catch (const core::Error& error) {
      EXPECT_EQ(error.what(), says);
    }
  };
  expect_error("router_backward", {3, 16}, "topk_idx", 16, "router_backward: topk_idx has 16, expected 0 to 15");
  expect_error("router_backward", {3, 16}, "topk_idx", -1, "router_backward: topk_idx has -1, expected 0 to 15");
  expect_error("unpermute_backward", {3, 4, 8, 2}, "row_of_slot", 6,
               "unpermute_backward: row_of_slot has 6, expected -1 to 5");
  expect_error("embedding_backward", {3, 4, 8}, "ids", 8, "embedding_backward: ids has 8, expected 0 to 7");
}

struct Wrong {
  Candidate candidate;
  FindingKind kind;
  const char* says;  // among findings and causes
};

void PrintTo(const Wrong& wrong, std::ostream* out) { PrintTo(wrong.candidate, out); }

class WrongKernel : public ::testing::TestWithParam<Wrong> {};

TEST_P(WrongKernel, IsRejectedForWhatIsWrongWithIt) {
  const bool hangs = GetParam().kind == FindingKind::kHang;
  const Validation validation = check_candidate(GetParam().candidate, hangs ? 0.3 : 60);
  EXPECT_FALSE(validation.passed());
  const std::string text = told(validation);
  EXPECT_NE(text.find(std::string(to_string(GetParam().kind)) + " "), std::string::npos) << text;
  EXPECT_NE(text.find(GetParam().says), std::string::npos) << "expected: " << GetParam().says << "\n" << text;
}

constexpr FindingKind kValues = FindingKind::kValues;
const std::vector<tensor::Shape> kOne{{33, 130, 300}};
const std::vector<tensor::Shape> kTwo{{9, 130, 760}, {16, 74, 1016}};
const std::vector<std::string> kNormal{"normal"};
const std::vector<std::string> kTelling{"normal", "specials", "prefixes", "cancelling_blocks"};
const OpSettings kUnscaled{{"scaling", "none"}, {"d_type", "f32"}};

INSTANTIATE_TEST_SUITE_P(
    Products, WrongKernel,
    ::testing::Values(
        Wrong{{"fp8_grouped_gemm_masked", "gemm_ignores_mask", {}, {{9, 33, 256, 4}}, kTelling}, kValues, "d: "},
        Wrong{{"fp8_grouped_gemm_contiguous", "gemm_cublas_order", {}, {{24, 65, 256, 4}}, kTelling},
              kValues,
              "matches promotion cublas every 128 of hopper_wgmma in 100 %"},
        Wrong{{"fp8_gemm", "gemm_zeros", {}, kTwo, kTelling}, kValues, "every element is zero"},
        Wrong{{"fp8_gemm", "gemm_one_bit", {}, kTwo, kTelling}, kValues, "one bit of one element differs: bit 0"},
        Wrong{{"fp8_gemm", "gemm_wrong_scale", {}, kTwo, kTelling}, kValues, "a wrong scale: 2 times the reference"},
        Wrong{{"fp8_gemm", "gemm_no_scales", {}, kTwo, kTelling}, kValues, "matches both scales ignored in 100 %"},
        Wrong{{"fp8_gemm", "gemm_swapped_rows", {}, kOne}, kValues, "(swapped)"},
        Wrong{{"fp8_gemm", "gemm_no_promotion", kUnscaled, kTwo, kTelling},
              kValues,
              "matches without promotion of hopper_wgmma"},
        Wrong{
            {"fp8_gemm", "gemm_cublas_order"}, kValues, "matches promotion cublas every 128 of hopper_wgmma in 100 %"},
        Wrong{{"fp8_gemm", "gemm_every_64", {}, kTwo, kTelling},
              kValues,
              "matches promotion deepgemm every 64 of hopper_wgmma in 100 %"},
        Wrong{{"fp8_gemm", "gemm_ada_step", {}, kTwo, kTelling},
              kValues,
              "matches unit ada_mma, promotion as asked in 100 %"},
        Wrong{{"fp8_gemm", "gemm_wide_sum", {{"d_type", "f32"}}, kTwo, kTelling},
              kValues,
              "matches unit blackwell_tcgen05"},
        Wrong{{"fp8_gemm", "gemm_odd_unit", {{"d_type", "f32"}}, kTwo, kTelling}, kValues, "results part at step 0 of"},
        Wrong{{"fp8_gemm", "gemm_dropped_tail", {}, kTwo, kTelling},
              kValues,
              "K cut to a multiple of 128: the tail is dropped in 100 %"},
        Wrong{{"fp8_gemm", "gemm_truncated_output", {}, kTwo, kTelling},
              kValues,
              "matches the output truncated rather than rounded to nearest in 100 %"},
        Wrong{{"fp8_gemm", "gemm_unwritten_rows", {}, kOne, kNormal},
              FindingKind::kUninitialised,
              "130 of 4290 elements are never written, the first at [32, 0]"},
        Wrong{{"fp8_gemm", "gemm_adds_to_output", {}, kOne, kNormal},
              FindingKind::kNondeterministic,
              "differ between two runs"},
        Wrong{{"fp8_gemm", "gemm_behind_end", {}, kOne, kNormal},
              FindingKind::kMemory,
              "wrote 0 bytes behind the end of output d"},
        Wrong{{"fp8_gemm", "gemm_far_behind_end", {}, kOne, kNormal},
              FindingKind::kMemory,
              "wrote 300 bytes behind the end of output d"},
        Wrong{{"fp8_gemm", "gemm_before_begin", {}, kOne, kNormal},
              FindingKind::kMemory,
              "wrote 1 bytes before output d"},
        Wrong{{"fp8_gemm", "gemm_writes_input", {}, kOne, kNormal},
              FindingKind::kMemory,
              "wrote into input b, at byte 0"},
        Wrong{{"fp8_gemm", "gemm_crash", {}, kOne, kNormal}, FindingKind::kCrash, "SIGSEGV"},
        Wrong{{"fp8_gemm", "gemm_abort", {}, kOne, kNormal}, FindingKind::kCrash, "SIGABRT"},
        Wrong{{"fp8_gemm", "gemm_exit", {}, kOne, kNormal}, FindingKind::kError, "it ended its process, exit code 0"},
        Wrong{{"fp8_gemm", "gemm_hang", {}, {{1, 1, 1}}, kNormal}, FindingKind::kHang, "not done after 0.3 s"},
        Wrong{{"fp8_gemm", "gemm_fails", {}, kOne, kNormal}, FindingKind::kError, "it returned 5: no device"}),
    [](const auto& of) { return fmt::format("{}_{}", of.index, of.param.candidate.symbol); });

INSTANTIATE_TEST_SUITE_P(
    Operators, WrongKernel,
    ::testing::Values(
        Wrong{{"quantize_1x128", "quantize_reciprocal", {}, kMatrix},
              kValues,
              "matches multiplication by the reciprocal in 100 %"},
        Wrong{{"quantize_128x128", "quantize_truncating", {}, kMatrix},
              kValues,
              "matches codes rounded toward zero in 100 %"},
        Wrong{{"swiglu_quantize_1x128", "swiglu_quantize_swapped"}, kValues, "codes: "},
        Wrong{{"cast", "cast_ml_dtypes"}, kValues, "matches ml_dtypes casts"},
        Wrong{{"rms_norm", "rms_norm_no_eps"}, kValues, "matches eps left out"},
        Wrong{{"rms_norm", "rms_norm_plus_one"}, kValues, "matches weight + 1 for the weight in 100 %"},
        Wrong{{"rope", "rope_backwards"}, kValues, "matches the turn backwards (-sin for sin) in 100 %"},
        Wrong{{"mla_decode", "mla_decode_whole_pages", {}, {{2, 3, 100}}},
              kValues,
              "behind the end of a sequence in 100 %"},
        Wrong{{"mla_decode", "mla_decode_latent_scale", {}, {{2, 3, 100}}},
              kValues,
              "matches scores times 1/sqrt(576) rather than 1/sqrt(192) in 100 %"},
        Wrong{{"mla_prefill", "mla_prefill_no_mask"}, kValues, "matches no causal mask in 100 %"},
        Wrong{{"router", "router_ties_high"}, kValues, "matches equal affinities given to the higher expert in 100 %"},
        Wrong{{"router", "router_no_bias"}, kValues, "matches the bias left out of the choice in 100 %"},
        Wrong{{"router", "router_unsorted"}, kValues, "topk_idx: the reference's values, in another order within rows"},
        Wrong{{"permute", "permute_padding_left"}, FindingKind::kUninitialised, "elements are never written"},
        Wrong{{"unpermute", "unpermute_descending"}, kValues, "matches experts added in descending order in 100 %"},
        Wrong{{"combine_ranks", "combine_descending"}, kValues, "matches ranks added in descending order in 100 %"},
        Wrong{{"combine_ranks", "combine_without_ranks"}, kValues, "matches all experts added one after the other"},
        Wrong{{"rms_norm_backward", "rms_norm_backward_no_mean", {}, {{5, 70}}},
              kValues,
              "matches the gradient of the mean square left out in 100 %"},
        Wrong{{"swiglu_backward", "swiglu_backward_sigmoid"},
              kValues,
              "matches the sigmoid for the derivative of silu in 100 %"},
        Wrong{{"mla_prefill_backward", "mla_prefill_backward_no_dots", {}, {{7, 9, 2}}},
              kValues,
              "matches the sum of dout out left out in 100 %"},
        Wrong{{"router_backward", "router_backward_no_mean", {}, {{7, 64}}},
              kValues,
              "matches the sum of the chosen affinities taken for a constant in 100 %"},
        Wrong{{"unpermute_backward", "unpermute_backward_padding_left", {}, {{17, 40, 8, 2}}},
              FindingKind::kUninitialised,
              "elements are never written"},
        Wrong{{"embedding_backward", "embedding_backward_last_token", {}, {{40, 7, 9}}}, kValues, "dtable: "},
        Wrong{{"cross_entropy", "cross_entropy_mean_over_all"}, kValues, "matches the mean taken over all tokens"},
        Wrong{{"adamw", "adamw_no_decay"}, kValues, "matches no weight decay in 100 %"}),
    [](const auto& of) { return fmt::format("{}_{}", of.index, of.param.candidate.symbol); });

TEST(Validation, AKernelThatSkipsEverythingIsNotAccepted) {
  const Validation validation = check_candidate({"fp8_gemm", "gemm_unsupported", {}, kOne});
  EXPECT_FALSE(validation.passed());
  EXPECT_EQ(validation.skipped(), std::ssize(validation.cases));
}

TEST(Validation, EveryContractHasPowerAndAcceptsItself) {
  for (const Contract& contract : contract_registry()) {
    ValidationRequest request;
    request.contract = &contract;
    request.settings = contract_settings(contract, {});
    request.shapes = {contract.shapes[0], contract.shapes[1]};
    const Validation validation = validate(request, find_implementation("reference"));
    EXPECT_TRUE(validation.passed()) << contract.name << "\n" << told(validation);
    for (const OutputPower& power : validation.power) EXPECT_GT(power.cases, 0) << contract.name << " " << power.output;
    for (const ContractOutput& output : contract.outputs) EXPECT_FALSE(output.derivation.empty()) << contract.name;
  }
}

TEST(Probe, AsksPlugins) {
  PluginOptions options;
  options.library = LASTBIT_CANDIDATES;
  options.runner = testing::program();
  options.runs = 1;
  const ProbeQuestion question;
  options.symbol = "mma";
  const std::optional<ProbeAnswer> of_mma = probe_mma(question, plugin_implementation(options), 1);
  ASSERT_TRUE(of_mma.has_value());
  EXPECT_EQ(of_mma->matched, of_mma->records);
  EXPECT_EQ(of_mma->row.fraction_bits, 13);
  EXPECT_EQ(of_mma->row.step_k, 32);
  // Through a product with BF16 outputs, promoted every 64.
  options.symbol = "gemm_every_64";
  const std::optional<GemmProbeAnswer> of_gemm =
      probe_gemm(question, numerics::Format::kBF16, plugin_implementation(options), 1);
  ASSERT_TRUE(of_gemm.has_value());
  EXPECT_EQ(of_gemm->rule.row.fraction_bits, 13);
  EXPECT_EQ(of_gemm->rule.row.step_k, 32);
  ASSERT_EQ(of_gemm->promotions.size(), 1U);
  EXPECT_EQ(of_gemm->promotions[0].order, numerics::PromotionOrder::kDeepgemm);
  EXPECT_EQ(of_gemm->promotions[0].every, 64);
}

TEST(Validation, PluginsThatAreNoneAreBadInput) {
  const Candidate nobody{"fp8_gemm", "no_such_function", {}, kOne};
  EXPECT_THROW((void)check_candidate(nobody), core::Error);
  PluginOptions options;
  options.library = "/nowhere.so";
  EXPECT_THROW((void)plugin_implementation(options), core::Error);
}

}  // namespace
}  // namespace lastbit::check
