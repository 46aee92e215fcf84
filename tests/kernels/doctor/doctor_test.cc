// `doctor --gpu` without a GPU: its arithmetic, its verdicts and its report.
#include "kernels/doctor/doctor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "check/validation.h"
#include "core/error.h"
#include "kernels/doctor/device_path.h"
#include "kernels/doctor/doctor_report.h"
#include "kernels/doctor/timed_case.h"

namespace lastbit::kernels {
namespace {

const auto kQuietly = [](std::int64_t, std::int64_t) {};

DeviceInfo hopper() {
  DeviceInfo device;
  device.is_gpu = true;
  device.name = "NVIDIA H100 80GB HBM3";
  device.major = 9;
  device.sms = 132;
  device.memory_bytes = 85e9;
  device.bandwidth = 3.35e12;
  device.driver = "13.0";
  device.toolkit = "13.0";
  return device;
}

std::vector<KnownGpu> known_gpus() {
  return {{"NVIDIA A100 SXM4", "a", 108, 2.0e12, 312e12, 0}, {"NVIDIA H100 SXM5", "h", 132, 3.3e12, 989e12, 1979e12}};
}

TEST(DoctorDevice, RunsWhatIsCompiledForIt) {
  EXPECT_TRUE(runs_on("sm_80, sm_90a, sm_100a", 8, 0));
  EXPECT_TRUE(runs_on("sm_80, sm_90a, sm_100a", 8, 9));
  EXPECT_TRUE(runs_on("sm_80, sm_90a, sm_100a", 9, 0));
  EXPECT_FALSE(runs_on("sm_80, sm_90a, sm_100a", 12, 0));
  EXPECT_FALSE(runs_on("sm_80, sm_90a, sm_100a", 10, 3));
  EXPECT_FALSE(runs_on("sm_90a", 8, 0));
  EXPECT_FALSE(runs_on("sm_90a", 10, 0));
  EXPECT_TRUE(runs_on("sm_90a, compute_80", 12, 0));
  EXPECT_TRUE(runs_on("sm_90a, compute_80", 8, 0));
  EXPECT_FALSE(runs_on("sm_90a, compute_80", 7, 5));
}

TEST(DoctorDevice, SaysWhyKernelsDoNotRunThere) {
  EXPECT_EQ(why_not_portable("Tesla V100", 7, 0),
            "Tesla V100 is sm_70; the kernels are compiled for sm_80, sm_90a, sm_100a, compute_80");
  for (const auto& [major, minor] : {std::pair{8, 0}, std::pair{9, 0}, std::pair{10, 3}, std::pair{12, 0}})
    EXPECT_FALSE(why_not_portable("a GPU", major, minor));
}

TEST(DoctorRoofline, TakesTheDevicesBandwidthAndAKnownGpusOperations) {
  const Peaks peaks = peaks_of(hopper(), known_gpus());
  EXPECT_EQ(peaks.bandwidth, 3.35e12);
  EXPECT_EQ(peaks.fp8, 1979e12);
  EXPECT_EQ(peaks.operations_source, "h");
  DeviceInfo pcie = hopper();
  pcie.sms = 114;
  EXPECT_EQ(peaks_of(pcie, known_gpus()).fp8, 0) << "another H100";
  DeviceInfo silent = hopper();
  silent.bandwidth = 0;
  EXPECT_EQ(peaks_of(silent, known_gpus()).bandwidth, 3.3e12);
}

TEST(DoctorRoofline, BoundIsTheLongerOfBytesAndOperations) {
  const Peaks peaks = peaks_of(hopper(), known_gpus());
  const Bound by_bytes = bound_of({3.35e9, 0, Rate::kNone}, peaks);
  EXPECT_DOUBLE_EQ(by_bytes.seconds, 1e-3);
  EXPECT_TRUE(by_bytes.by_bytes);
  const Bound by_operations = bound_of({3.35e9, 4 * 1979e9, Rate::kFp8}, peaks);
  EXPECT_DOUBLE_EQ(by_operations.seconds, 4e-3);
  EXPECT_FALSE(by_operations.by_bytes);
  EXPECT_EQ(bound_of({1e9, 1e12, Rate::kBf16}, {}).seconds, 0) << "nothing is known";
}

TEST(DoctorRoofline, CountsTheWorkOfItsCases) {
  for (const ContractKernel& kernel : kernel_registry()) {
    const auto timed = timed_case(kernel.contract);
    ASSERT_TRUE(timed) << kernel.contract;
    EXPECT_EQ(timed->sizes.size(), check::find_contract(kernel.contract).axes.size()) << kernel.contract;
  }
  EXPECT_EQ(timed_case("fp8_gemm")->operations, 2.0 * 2048 * 2048 * 2048);
  // 512 queries on 512 keys see 512 * 513 / 2 pairs a head.
  EXPECT_EQ(timed_case("mla_prefill")->operations, 2.0 * 320 * (512.0 * 513 / 2) * 16);
  EXPECT_EQ(timed_case("mla_decode")->operations, 2.0 * (576 + 512) * 8 * 128 * 1024);
  EXPECT_FALSE(timed_case("no_such_contract"));
}

Candidate candidate_of(const std::string& contract) {
  for (Candidate& candidate : registry_candidates({}))
    if (candidate.contract->name == contract) return candidate;
  return {};
}

// A place where the reference itself runs as every kernel, in no time worth mentioning.
DoctorPlace place_of_references(const DeviceInfo& device, const std::string& contract) {
  DoctorPlace place;
  place.device = device;
  place.peaks = peaks_of(device, known_gpus());
  place.candidates = {candidate_of(contract)};
  place.run_on = [](const ContractKernel&, Version) {
    check::Implementation timed = check::find_implementation("reference");
    timed.run = [run = timed.run](const check::KernelCall& call) {
      check::KernelRun result = run(call);
      result.seconds = 1e-3;
      return result;
    };
    return timed;
  };
  return place;
}

TEST(Doctor, TimesWhatItAcceptsOnAGpu) {
  const DoctorReport report = examine(place_of_references(hopper(), "router"), {}, kQuietly);
  ASSERT_EQ(report.kernels.size(), 1U);
  const KernelRow& row = report.kernels.front();
  EXPECT_EQ(row.verdict, DoctorVerdict::kAccepted);
  ASSERT_TRUE(row.timing);
  EXPECT_EQ(row.timing->shape, "4096x256");
  EXPECT_EQ(row.timing->seconds, 1e-3);
  // Logits and bias in FP32, eight experts and weights a token.
  EXPECT_GT(row.timing->work.bytes, 4096 * 256 * 4.0);
  EXPECT_DOUBLE_EQ(row.timing->share(), row.timing->work.bytes / 3.35e12 / 1e-3);
  EXPECT_TRUE(report.accepted());
}

TEST(Doctor, RejectsWrongResultsAndErrors) {
  DoctorPlace place = place_of_references({}, "rms_norm");
  place.run_on = [](const ContractKernel&, Version) {
    check::Implementation wrong = check::find_implementation("reference");
    wrong.run = [run = wrong.run](const check::KernelCall& call) {
      check::KernelRun result = run(call);
      for (auto& outputs : result.results)
        for (auto& [name, tensor] : outputs) tensor = tensor::Tensor::zeros(tensor.dtype(), tensor.shape());
      return result;
    };
    return wrong;
  };
  DoctorReport report = examine(place, {{"rms_norm"}}, kQuietly);
  EXPECT_EQ(report.count(DoctorVerdict::kRejected), 1);
  EXPECT_FALSE(report.accepted());
  EXPECT_FALSE(report.kernels.front().findings.empty());

  place.run_on = [](const ContractKernel&, Version) {
    check::Implementation broken = check::find_implementation("reference");
    broken.run = [](const check::KernelCall&) -> check::KernelRun { core::fail_unsupported("kernel x: too much"); };
    return broken;
  };
  report = examine(place, {{"rms_norm"}}, kQuietly);
  ASSERT_EQ(report.count(DoctorVerdict::kRejected), 1);
  EXPECT_EQ(report.kernels.front().findings, std::vector<std::string>{"kernel x: too much"});
  EXPECT_NE(doctor_text(report).find("REJECTED: 0 accepted, 1 rejected"), std::string::npos);
}

TEST(Doctor, RunsNothingOnALostDevice) {
  DoctorPlace place = place_of_references({}, "rms_norm");
  place.candidates.push_back(candidate_of("rope"));
  int runs = 0;
  bool lost = false;
  place.is_lost = [&] { return lost; };
  place.run_on = [&](const ContractKernel&, Version) {
    check::Implementation faulty = check::find_implementation("reference");
    faulty.run = [&](const check::KernelCall&) -> check::KernelRun {
      ++runs;
      lost = true;
      throw core::Error(core::ErrorKind::kInternal, "download, and kernels before it: an illegal memory access");
    };
    return faulty;
  };
  const DoctorReport report = examine(place, {}, kQuietly);
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(report.lost_since, "rms_norm:v0");
  EXPECT_FALSE(report.accepted());
  ASSERT_EQ(report.kernels.size(), 2U);
  EXPECT_EQ(report.kernels[0].verdict, DoctorVerdict::kRejected);
  EXPECT_EQ(report.kernels[1].verdict, DoctorVerdict::kSkipped);
  EXPECT_EQ(report.kernels[1].reason, "not run: the device is lost since rms_norm:v0");
  ASSERT_FALSE(report.probes.empty());
  for (const ProbeRow& row : report.probes) EXPECT_EQ(row.reason, "not run: the device is lost since rms_norm:v0");
  EXPECT_NE(doctor_text(report).find("the rest not run: the device is lost since rms_norm:v0"), std::string::npos);
}

TEST(Doctor, SkipsWhatIsNotCompiledForTheGpu) {
  DoctorPlace place = place_of_references(hopper(), "fp8_gemm");
  place.device.major = 8;
  place.candidates.front().kernel.architectures = "sm_90a";
  const DoctorReport report = examine(place, {{"fp8_gemm"}}, kQuietly);
  EXPECT_EQ(report.count(DoctorVerdict::kSkipped), 1);
  EXPECT_FALSE(report.accepted()) << "nothing ran";
  EXPECT_EQ(report.kernels.front().reason, "it is compiled for sm_90a; this GPU is sm_80");
}

TEST(Doctor, WritesWhatItFound) {
  DoctorReport report{hopper(), peaks_of(hopper(), known_gpus())};
  KernelRow row{"fp8_gemm", "some_kernel", "tuned"};
  row.verdict = DoctorVerdict::kRejected;
  row.passed = 3;
  row.failed = 1;
  row.findings = {"normal/1x1x1: off by one"};
  row.causes = {"promotion cublas"};
  row.timing = KernelTiming{"2048x2048x2048", 20e-6, {12.6e6, 17.2e9, Rate::kFp8}, {8.8e-6, false}};
  report.kernels.push_back(row);
  ProbeRow probe{"mma.sync", "e4m3.e4m3.f32"};
  probe.reason = "not today";
  report.probes.push_back(probe);

  const nlohmann::json json = doctor_json(report);
  EXPECT_EQ(json.at("device").at("name"), "NVIDIA H100 80GB HBM3");
  EXPECT_EQ(json.at("device").at("compute_capability"), "9.0");
  EXPECT_FALSE(json.at("accepted").get<bool>());
  EXPECT_DOUBLE_EQ(json.at("kernels").at(0).at("timing").at("share_of_bound").get<double>(), 8.8 / 20);
  EXPECT_EQ(json.at("kernels").at(0).at("timing").at("bound_by"), "operations");
  EXPECT_EQ(json.at("probes").at(0).at("reason"), "not today");

  const std::string page = doctor_markdown(report);
  for (const char* const part :
       {"NVIDIA H100 80GB HBM3, sm_90, 132 SMs", "the driver serves CUDA 13.0", "3.35 TB/s", "1979.00 TFLOP/s (h)",
        "| fp8_gemm | some_kernel:tuned |", "3 of 4", "20.0 us", "44 % (operations)", "- normal/1x1x1: off by one",
        "- diagnosis: promotion cublas", "not probed: not today"})
    EXPECT_NE(page.find(part), std::string::npos) << part << "\n" << page;
  EXPECT_EQ(page.find("not a GPU"), std::string::npos);
}

DeviceInfo gpu_of(int major, int minor) {
  DeviceInfo device;
  device.is_gpu = true;
  device.major = major;
  device.minor = minor;
  return device;
}

TEST(DoctorDevicePath, RunsTheModelBesideTheReference) {
  for (const char* const numerics : {"fp32", "bf16"}) {
    const KernelRow row = examine_device_path(numerics, 1);
    EXPECT_EQ(row.verdict, DoctorVerdict::kAccepted) << (row.findings.empty() ? "" : row.findings.front());
    EXPECT_EQ(row.failed, 0);
    EXPECT_GT(row.passed, 100) << "the logits, and twice every weight";
  }
}

TEST(DoctorDevicePath, RejectsWhatIsOffMissingOrNoNumber) {
  const auto array = [](float value) {
    tensor::Tensor tensor = tensor::Tensor::zeros(tensor::DType::kF32, {4});
    tensor.mutable_values<float>()[0] = 1;
    tensor.mutable_values<float>()[1] = value;
    return tensor;
  };
  const auto row_of = [&](const tensor::NamedTensors& found) {
    KernelRow row;
    compare_arrays(
        found, {{"a", array(0)}}, [](const std::string&) { return 1e-3; }, row);
    return row;
  };
  EXPECT_EQ(row_of({{"a", array(0.9e-3F)}}).verdict, DoctorVerdict::kAccepted);
  EXPECT_EQ(row_of({{"a", array(1.1e-3F)}}).findings,
            std::vector<std::string>{"a: relative norm 0.0011 from the reference, expected at most 0.001"});
  EXPECT_EQ(row_of({{"a", array(std::nanf(""))}}).verdict, DoctorVerdict::kRejected);
  EXPECT_EQ(row_of({}).verdict, DoctorVerdict::kRejected);
}

TEST(Doctor, ExaminesTheModelWhereThePlaceHasOne) {
  DoctorPlace place = place_of_references({}, "rms_norm");
  EXPECT_THROW((void)examine(place, {{kDevicePath}}, kQuietly), core::Error);
  place.device_path = [](const std::string& numerics, std::uint64_t) -> KernelRow {
    if (numerics == "bf16") core::fail_input("logits: not finite");
    KernelRow row{kDevicePath, "model", numerics};
    row.verdict = DoctorVerdict::kAccepted;
    return row;
  };
  const DoctorReport report = examine(place, {{kDevicePath}}, kQuietly);
  ASSERT_EQ(report.kernels.size(), 2U);
  EXPECT_EQ(report.kernels[0].verdict, DoctorVerdict::kAccepted);
  EXPECT_EQ(report.kernels[1].verdict, DoctorVerdict::kRejected);
  EXPECT_EQ(report.kernels[1].findings, std::vector<std::string>{"logits: not finite"});
}

TEST(DoctorCandidates, HoldMmaSyncToTheUnitOfTheGpu) {
  EXPECT_EQ(mma_sync_unit({}), "ampere_mma");
  EXPECT_EQ(mma_sync_unit(gpu_of(8, 0)), "ampere_mma");
  EXPECT_EQ(mma_sync_unit(gpu_of(8, 6)), "ampere_mma");
  EXPECT_EQ(mma_sync_unit(gpu_of(8, 9)), "ada_mma");
  EXPECT_EQ(mma_sync_unit(gpu_of(9, 0)), "hopper_mma_sync");
  EXPECT_EQ(mma_sync_unit(gpu_of(10, 0)), "");
  EXPECT_EQ(mma_sync_unit(gpu_of(12, 0)), "");
}

// What each GPU's own rule gives is accepted there, and another's bits are not.
TEST(DoctorCandidates, HoldBf16ProductsOnEveryGpu) {
  const auto verdict = [](const DeviceInfo& device, const std::string& unit) {
    for (const Candidate& candidate : registry_candidates(device)) {
      if (candidate.kernel.name != "bf16_gemm_nt") continue;
      EXPECT_TRUE(runs_on(candidate.kernel.architectures, device.major, device.minor));
      check::ValidationRequest request;
      request.contract = candidate.contract;
      check::OpSettings settings = candidate.settings;
      settings["d_type"] = "f32";  // rounding to BF16 hides which unit it was
      request.settings = check::contract_settings(*candidate.contract, settings);
      request.shapes = {{17, 33, 160}};
      request.families = {"normal", "cancelling_blocks"};
      request.diagnose = false;
      check::Implementation gpu = check::find_implementation("reference");
      gpu.run = [run = gpu.run, &unit, &candidate](const check::KernelCall& call) {
        const std::string reason = candidate.kernel.refuse(call);
        EXPECT_EQ(reason, "");
        const check::ContractSettings of_unit = call.settings.with({{"unit", unit}});
        return run({check::find_contract("bf16_gemm"), of_unit, call.inputs, call.outputs, call.case_name});
      };
      return check::validate(request, gpu).passed();
    }
    return false;
  };
  EXPECT_TRUE(verdict(gpu_of(8, 0), "ampere_mma"));
  EXPECT_FALSE(verdict(gpu_of(8, 0), "hopper_mma_sync"));
  EXPECT_TRUE(verdict(gpu_of(9, 0), "hopper_mma_sync"));
  EXPECT_FALSE(verdict(gpu_of(9, 0), "ampere_mma"));
  EXPECT_TRUE(verdict(gpu_of(10, 0), "blackwell_tcgen05")) << "within the band of any order";
  EXPECT_TRUE(verdict(gpu_of(10, 0), "ampere_mma"));
}

TEST(DoctorCandidates, ALibrarysProductMayAddInItsOwnOrder) {
  const check::Contract& contract = product_within_magnitudes("fp8_gemm");
  check::ValidationRequest request;
  request.contract = &contract;
  request.settings = check::contract_settings(contract, {});
  request.shapes = {{3, 33, 256}, {1, 1, 128}};
  check::Implementation other_order = check::find_implementation("reference");
  const auto with = [](const check::OpSettings& changes) {
    check::Implementation changed = check::find_implementation("reference");
    changed.run = [run = changed.run, changes](const check::KernelCall& call) {
      const check::ContractSettings settings = call.settings.with(changes);
      return run({check::find_contract("fp8_gemm"), settings, call.inputs, call.outputs, call.case_name});
    };
    return changed;
  };
  EXPECT_TRUE(check::validate(request, with({{"promotion", "cublas"}})).passed());
  EXPECT_FALSE(check::validate(request, with({{"scaling", "none"}})).passed());
}

}  // namespace
}  // namespace lastbit::kernels
