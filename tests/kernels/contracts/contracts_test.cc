// Every kernel fulfils its contract on the executor, in every order of warps.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "check/validation.h"
#include "kernels/contracts/kernel_registry.h"
#include "kernels/simt/memory_map.h"

namespace lastbit::kernels {
namespace {

struct Settings {
  std::string contract;
  check::OpSettings settings = {};
  std::vector<tensor::Shape> shapes = {};  // small ones; none: the contract's
  std::vector<std::string> families = {};  // none: all
};

const std::vector<tensor::Shape> kMatrices{{1, 1}, {3, 128}, {130, 140}};
const std::vector<std::string> kFew{"normal", "outlier", "zero_blocks"};

std::vector<Settings> all_settings() {
  const std::vector<std::string> products{"normal", "all_codes", "prefixes", "cancelling_blocks", "specials"};
  return {{"fp8_gemm", {}, {{1, 1, 1}, {3, 33, 160}}, products},
          {"fp8_gemm", {}, {{65, 130, 272}}, {"normal"}},
          {"fp8_gemm", {{"promotion", "cublas"}, {"d_type", "f32"}}, {{3, 33, 272}}, {"normal", "cancelling_blocks"}},
          {"fp8_gemm", {{"promotion", "muladd"}, {"d_type", "f16"}}, {{3, 33, 272}}, {"normal", "scales_apart"}},
          {"fp8_gemm", {{"promotion", "none"}, {"scaling", "none"}}, {{3, 33, 640}}, {"normal", "all_codes"}},
          {"fp8_gemm", {{"a_type", "e5m2"}, {"promote_every", "64"}}, {{5, 34, 300}}, products},
          {"fp8_grouped_gemm_contiguous", {}, {{1, 1, 128, 1}, {19, 33, 200, 4}}, {"normal", "empty_experts"}},
          {"fp8_grouped_gemm_masked", {}, {{1, 1, 128, 1}, {9, 33, 200, 4}}, {"normal", "empty_experts"}},
          {"bf16_gemm", {{"unit", "ampere_mma"}}, {{1, 1, 1}, {17, 70, 140}}, products},
          {"bf16_gemm", {{"unit", "ampere_mma"}, {"d_type", "f32"}}, {{17, 70, 140}}, {"normal", "subnormal"}},
          {"quantize_1x128", {}, kMatrices},
          {"quantize_1x128", {{"transpose", "true"}, {"x_type", "f32"}}, kMatrices, kFew},
          {"quantize_1x128", {{"format", "e5m2"}, {"scale", "ue8m0"}, {"method", "reciprocal"}}, kMatrices, kFew},
          {"quantize_1x128", {{"method", "reciprocal"}, {"zero_block", "epsilon"}}, kMatrices, kFew},
          {"quantize_128x128", {}, kMatrices},
          {"quantize_128x128", {{"transpose", "true"}, {"scale", "ue8m0"}}, kMatrices, kFew},
          {"swiglu_quantize_1x128", {}, {{1, 1}, {5, 128}, {33, 300}}},
          {"swiglu_quantize_1x128", {{"between", "f32"}, {"format", "e5m2"}}, {{5, 128}, {33, 300}}, {"normal"}},
          {"rms_norm", {}, {{1, 1}, {3, 7}, {17, 512}}},
          {"rope", {}, {{1, 1, 2}, {5, 3, 64}}},
          {"rope", {{"layout", "interleaved"}}, {{5, 3, 64}}},
          {"rope", {{"layout", "interleaved_to_halves"}}, {{5, 3, 64}}},
          {"mla_prefill", {}, {{1, 1, 1}, {7, 7, 2}, {33, 65, 2}}, {"normal", "outlier", "sparse"}},
          {"mla_prefill", {{"causal", "false"}}, {{7, 40, 2}}, {"normal"}},
          {"mla_decode", {}, {{1, 1, 1}, {2, 5, 100}}, {"normal", "outlier", "long_tail"}},
          {"router", {}, {{1, 32}, {7, 64}, {5, 256}}},
          {"router", {{"group_rank", "max"}, {"norm_topk_prob", "false"}}, {{7, 64}}, {"normal", "ties"}},
          {"permute", {}, {{1, 1, 1, 1}, {17, 40, 8, 2}, {64, 9, 32, 8}}},
          {"unpermute", {}, {{1, 1, 1, 1}, {17, 40, 8, 2}, {64, 9, 32, 8}}},
          {"unpermute", {{"fma", "true"}}, {{17, 40, 8, 2}}, {"normal", "cancelling_slots"}},
          {"rms_norm_backward", {}, {{1, 2}, {3, 7}, {33, 260}}},
          {"swiglu_backward", {}, {{1, 1}, {3, 7}, {17, 132}}},
          {"mla_prefill_backward", {}, {{1, 2, 1}, {19, 40, 1}}, {"normal", "outlier", "sparse"}},
          {"mla_prefill_backward", {{"causal", "false"}}, {{7, 9, 2}}, {"normal"}},
          {"router_backward", {}, {{1, 8}, {7, 64}}},
          {"router_backward", {{"norm_topk_prob", "false"}, {"top_k", "3"}}, {{7, 64}}, {"normal"}},
          {"unpermute_backward", {}, {{1, 1, 1, 1}, {17, 40, 8, 2}}},
          {"embedding_backward", {}, {{1, 1, 1}, {40, 7, 9}}},
          {"cross_entropy", {}, {{1, 1}, {7, 300}, {3, 2050}}},
          {"cross_entropy", {{"logits_type", "bf16"}, {"gradient_type", "bf16"}}, {{7, 300}}, {"normal", "no_targets"}},
          {"adamw", {}, {{1}, {17}, {515}}},
          {"adamw", {{"moment_use", "update_from_unrounded"}}, {{515}}, {"normal"}}};
}

std::string text_of(const check::Validation& validation) {
  std::string text;
  for (const check::CaseReport& report : validation.cases)
    for (const check::Finding& finding : report.findings) text += report.id.name() + ": " + finding.text + "\n";
  for (const check::OutputPower& power : validation.power)
    if (!power.enough()) text += power.output + ": the comparison has no power\n";
  return text;
}

// Under LASTBIT_ALL_SHAPES every shape and family of every contract, under its defaults.
std::vector<Settings> settings_to_run() {
  if (std::getenv("LASTBIT_ALL_SHAPES") == nullptr) return all_settings();
  std::vector<Settings> all;
  for (const check::Contract& contract : check::contract_registry()) all.push_back({contract.name});
  return all;
}

TEST(Contracts, KernelsFulfilThem) {
  for (const Settings& settings : settings_to_run()) {
    const check::Contract& contract = check::find_contract(settings.contract);
    for (const ContractKernel& kernel : kernel_registry()) {
      if (kernel.contract != contract.name) continue;
      for (const Version version : {Version::kObvious, Version::kTuned}) {
        const check::Implementation implementation = on_executor(kernel, version);
        SCOPED_TRACE(implementation.name);
        check::ValidationRequest request;
        request.contract = &contract;
        request.settings = check::contract_settings(contract, settings.settings);
        request.diagnose = false;
        request.shapes = settings.shapes;
        request.families = settings.families;
        const check::Validation validation = check::validate(request, implementation);
        if (validation.skipped() == std::ssize(validation.cases)) continue;  // settings that are none of the kernel's
        EXPECT_TRUE(validation.passed()) << text_of(validation).substr(0, 2000);
        std::printf("%-42s %3lld cases %6.2f s\n", implementation.name.c_str(),
                    static_cast<long long>(validation.count(&check::CaseReport::passed)), validation.seconds);
      }
    }
  }
}

// What a GPU's clock would time of a call is its kernels: nothing is allocated, freed or copied meanwhile.
TEST(Contracts, LaunchesDoNoWorkOfTheHost) {
  std::int64_t launches = 0;
  for (const Settings& settings : all_settings()) {
    const check::Contract& contract = check::find_contract(settings.contract);
    for (const ContractKernel& kernel : kernel_registry()) {
      if (kernel.contract != contract.name) continue;
      check::Implementation watched = on_executor(kernel, Version::kTuned);
      watched.run = [&](const check::KernelCall& call) {
        check::KernelRun run;
        run.status = check::RunStatus::kUnsupported;
        if (!kernel.refuse(call).empty()) return run;
        const DeviceCall device(call, Version::kTuned, 0xa5);
        const Launch launch = kernel.prepare(device);
        const std::int64_t before = simt::MemoryMap::instance().changes();
        launch();
        EXPECT_EQ(simt::MemoryMap::instance().changes(), before) << kernel.name;
        ++launches;
        return run;
      };
      check::ValidationRequest request;
      request.contract = &contract;
      request.settings = check::contract_settings(contract, settings.settings);
      request.shapes.assign(settings.shapes.begin(), settings.shapes.begin() + (settings.shapes.empty() ? 0 : 1));
      request.families = {contract.families.front()};
      request.diagnose = false;
      (void)check::validate(request, watched);
    }
  }
  EXPECT_GE(launches, std::ssize(kernel_registry()));
}

}  // namespace
}  // namespace lastbit::kernels
