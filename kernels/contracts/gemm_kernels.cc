// Contracts of matrix products.
#include <cstring>
#include <memory>

#include "kernels/contracts/kernel_registry.h"
#include "kernels/gemm/fp8_gemm.h"
#include "kernels/gemm/linear_gemm.h"

namespace lastbit::kernels {
namespace {

Fp8Gemm fp8_gemm_of(const DeviceCall& call) {
  const check::KernelCall& of = call.call();
  Fp8Gemm gemm{};
  gemm.a = call.input<const std::uint8_t>("a");
  gemm.b = call.input<const std::uint8_t>("b");
  if (call.has_input("scale_a")) {
    gemm.scale_a = call.input<const float>("scale_a");
    gemm.scale_b = call.input<const float>("scale_b");
  }
  if (call.has_input("group_of_row")) gemm.group_of_row = call.input<const std::int32_t>("group_of_row");
  if (call.has_input("rows_of_group")) gemm.rows_of_group = call.input<const std::int64_t>("rows_of_group");
  gemm.d = call.output<void>("d");
  const tensor::Tensor& a = of.inputs.at("a");
  const tensor::Tensor& b = of.inputs.at("b");
  gemm.k = static_cast<int>(a.shape().back());
  gemm.m = static_cast<int>(a.size() / gemm.k);
  gemm.n = static_cast<int>(b.dim(std::ssize(b.shape()) - 2));
  gemm.groups = b.shape().size() == 3 ? static_cast<int>(b.dim(0)) : 1;
  gemm.a_e5m2 = call.setting("a_type") == "e5m2";
  gemm.b_e5m2 = call.setting("b_type") == "e5m2";
  const std::string& order = call.setting("promotion");
  gemm.promotion = order == "none"       ? PromotionOrder::kNone
                   : order == "deepgemm" ? PromotionOrder::kDeepgemm
                   : order == "cublas"   ? PromotionOrder::kCublas
                                         : PromotionOrder::kMuladd;
  gemm.promote_every = static_cast<int>(of.settings.whole("promote_every"));
  const std::string& type = call.setting("d_type");
  gemm.output = type == "f32" ? OutputFormat::kF32 : type == "bf16" ? OutputFormat::kBf16 : OutputFormat::kF16;
  return gemm;
}

std::string refuse_emulated(const check::KernelCall& call) {
  if (call.settings.text("unit") != "hopper_wgmma") return "it computes unit hopper_wgmma alone";
  return call.settings.whole("promote_every") % 32 == 0 ? "" : "promotion within a step of 32 elements of K";
}

std::string refuse_wgmma(const check::KernelCall& call) {
  const auto is = [&](const char* key, const char* value) { return call.settings.text(key) == value; };
  if (!is("unit", "hopper_wgmma")) return "it runs on Hopper's tensor core alone";
  if (!is("a_type", "e4m3") || !is("b_type", "e4m3")) return "it multiplies E4M3 alone";
  if (!is("promotion", "none") && !is("promote_every", "128")) return "it promotes every 128 elements of K";
  return call.inputs.at("a").dim(1) % 16 == 0 ? "" : "TMA wants rows of a multiple of 16 bytes";
}

void run_emulated(const DeviceCall& call) { fp8_gemm_1x128_128x128_nt_emulated(fp8_gemm_of(call), call.version()); }
void run_wgmma(const DeviceCall& call) { fp8_gemm_1x128_128x128_nt_wgmma(fp8_gemm_of(call), call.version()); }

std::string refuse_bf16(const check::KernelCall& call) {
  if (std::string reason = refuse_bf16_types(call); !reason.empty()) return reason;
  return call.settings.text("unit") == "ampere_mma" ? "" : "mma.sync: unit ampere_mma alone";
}

// The contract's operands are those of kNt; other roles take them transposed.
std::shared_ptr<const simt::DeviceArray<std::uint16_t>> transposed_codes(const tensor::Tensor& tensor,
                                                                         const std::string& name) {
  const auto rows = static_cast<std::size_t>(tensor.dim(0));
  const auto cols = static_cast<std::size_t>(tensor.dim(1));
  const tensor::Tensor dense = tensor.contiguous();
  std::vector<std::uint16_t> codes(rows * cols);
  std::memcpy(codes.data(), dense.bytes().data(), dense.nbytes());
  std::vector<std::uint16_t> turned(codes.size());
  for (std::size_t i = 0; i < codes.size(); ++i) turned[i % cols * rows + i / cols] = codes[i];
  return std::make_shared<const simt::DeviceArray<std::uint16_t>>(name, std::span<const std::uint16_t>(turned));
}

template <GemmRole kRole>
Launch prepare_bf16(const DeviceCall& call) {
  const tensor::NamedTensors& inputs = call.call().inputs;
  const auto a = kRole == GemmRole::kTn ? transposed_codes(inputs.at("a"), "a, transposed") : nullptr;
  const auto b = kRole == GemmRole::kNt ? nullptr : transposed_codes(inputs.at("b"), "b, transposed");
  const Bf16Gemm gemm{a ? a->data() : call.input<const std::uint16_t>("a"),
                      b ? b->data() : call.input<const std::uint16_t>("b"),
                      call.output<void>("d"),
                      call.size("a", 0),
                      call.size("b", 0),
                      call.size("a", 1),
                      kRole,
                      call.setting("d_type") == "bf16",
                      false,
                      nullptr,
                      1};
  return [a, b, gemm, version = call.version()] { bf16_gemm(gemm, version); };
}

}  // namespace

std::string refuse_bf16_types(const check::KernelCall& call) {
  const auto is = [&](const char* key, const char* value) { return call.settings.text(key) == value; };
  if (!is("a_type", "bf16") || !is("b_type", "bf16") || is("d_type", "f16"))
    return "it multiplies BF16 to BF16 or FP32";
  return is("promotion", "none") ? "" : "it chains along K without promotion";
}

std::vector<ContractKernel> gemm_kernels() {
  constexpr const char* kEmulated = "fp8_gemm_1x128_128x128_nt_emulated";
  return {{"fp8_gemm", kEmulated, kPortable, refuse_emulated, prepare<run_emulated>},
          {"fp8_gemm", "fp8_gemm_1x128_128x128_nt_wgmma", "sm_90a", refuse_wgmma, prepare<run_wgmma>},
          {"fp8_grouped_gemm_contiguous", kEmulated, kPortable, refuse_emulated, prepare<run_emulated>},
          {"fp8_grouped_gemm_masked", kEmulated, kPortable, refuse_emulated, prepare<run_emulated>},
          {"bf16_gemm", "bf16_gemm_nt", kPortable, refuse_bf16, prepare_bf16<GemmRole::kNt>},
          {"bf16_gemm", "bf16_gemm_nn", kPortable, refuse_bf16, prepare_bf16<GemmRole::kNn>},
          {"bf16_gemm", "bf16_gemm_tn", kPortable, refuse_bf16, prepare_bf16<GemmRole::kTn>}};
}

}  // namespace lastbit::kernels
