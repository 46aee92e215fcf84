#include "check/implementation.h"

#include <fmt/ranges.h>

#include <chrono>

#include "check/contract_families.h"
#include "core/error.h"
#include "core/suggest.h"
#include "io/unit_file.h"
#include "numerics/gemm.h"
#include "tensor/cast.h"

namespace lastbit::check {
namespace {

using tensor::NamedTensors;
using tensor::Tensor;

template <typename Compute>
KernelRun timed(const Compute& compute) {
  const auto begin = std::chrono::steady_clock::now();
  KernelRun run;
  run.results.push_back(compute());
  run.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return run;
}

KernelRun run_reference(const KernelCall& call) {
  return timed([&] {
    NamedTensors results;
    for (auto& [name, expected] : call.contract.expect(call.inputs, call.settings))
      results.emplace(name, expected.value);
    return results;
  });
}

NamedTensors plain_product(const KernelCall& call) {
  const Tensor& a = input(call.inputs, "a");
  const Tensor& b = input(call.inputs, "b");
  const auto format = [&](const char* key) { return *numerics::find_format(call.settings.text(key)); };
  numerics::GemmOperands operands{
      {format("a_type"), a.dim(0), a.dim(1), a.bytes()}, {format("b_type"), b.dim(0), b.dim(1), b.bytes()}, {}, {}};
  if (call.settings.text("scaling") == "block") {
    operands.scale_a = input(call.inputs, "scale_a").values<float>();
    operands.scale_b = input(call.inputs, "scale_b").values<float>();
  }
  const numerics::MmaRule rule = numerics::rule_of(io::find_unit(call.settings.text("unit")), format("a_type"),
                                                   format("b_type"), numerics::Format::kF32);
  Tensor y = Tensor::empty(tensor::DType::kF32, {a.dim(0), b.dim(0)});
  numerics::gemm_plain(
      rule, operands, {numerics::find_promotion(call.settings.text("promotion")), call.settings.whole("promote_every")},
      y.mutable_values<float>());
  const tensor::DType type = dtype_named(call.settings.text("d_type"));
  return {{"d", type == tensor::DType::kF32 ? y : tensor::cast(y, type)}};
}

}  // namespace

const std::vector<Implementation>& implementation_registry() {
  static const std::vector<Implementation> kAll{
      {"reference", "the operators of this library", [](const Contract&) { return true; }, run_reference},
      {"plain", "products one scalar step after the other",
       [](const Contract& contract) { return contract.name == "fp8_gemm" || contract.name == "bf16_gemm"; },
       [](const KernelCall& call) { return timed([&] { return plain_product(call); }); }}};
  return kAll;
}

const Implementation& find_implementation(const std::string& name) {
  std::vector<std::string> names;
  for (const Implementation& implementation : implementation_registry()) {
    if (implementation.name == name) return implementation;
    names.push_back(implementation.name);
  }
  core::fail_input("unknown implementation '{}'{}; there are: {}", name, core::suggestion(name, names),
                   fmt::join(names, ", "));
}

}  // namespace lastbit::check
