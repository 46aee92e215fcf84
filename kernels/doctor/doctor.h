// Every kernel against its contract on one device, how long it takes there, and what a probe says of the tensor cores.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kernels/doctor/candidates.h"
#include "kernels/doctor/roofline.h"

namespace lastbit::kernels {

enum class DoctorVerdict { kAccepted, kRejected, kSkipped };
[[nodiscard]] const char* to_string(DoctorVerdict verdict);

struct KernelTiming {
  std::string shape;  // "2048x2048x2048"
  double seconds = 0;
  Work work;
  Bound bound;

  [[nodiscard]] double share() const { return seconds > 0 ? bound.seconds / seconds : 0; }  // 0: not known
};

struct KernelRow {
  std::string contract = {};
  std::string kernel = {};
  std::string version = {};
  std::string tolerance = {};  // of its outputs
  DoctorVerdict verdict = DoctorVerdict::kSkipped;
  std::string reason = {};  // why skipped, or held to another contract than elsewhere
  std::int64_t passed = 0;
  std::int64_t failed = 0;
  std::int64_t skipped = 0;                // cases that the kernel does not take
  std::vector<std::string> findings = {};  // the first of them
  std::vector<std::string> causes = {};    // what a diagnosis says
  std::optional<KernelTiming> timing = {};
};

// A device and the way to run kernels on it.
struct DoctorPlace {
  DeviceInfo device;
  Peaks peaks;
  std::function<check::Implementation(const ContractKernel&, Version)> run_on;
  // Whether the device does no more for this process, as a GPU after a kernel's fault; empty: it never is.
  std::function<bool()> is_lost = {};
  std::vector<Candidate> candidates;
  // The model itself there, under a policy (examine_device_path); empty: it is not examined.
  std::function<KernelRow(const std::string& numerics, std::uint64_t seed)> device_path = {};
};

struct ProbeRow {
  std::string instruction = {};  // "mma.sync"
  std::string types = {};        // "e4m3.e4m3.f32"
  std::string reason = {};       // why it was not probed
  bool found = false;
  std::int64_t matched = 0;
  std::int64_t records = 0;
  std::string rule = {};  // the one found, or the closest
  std::vector<std::string> known_as = {};
  std::string promotion = {};  // of a whole product
};

struct DoctorReport {
  DeviceInfo device;
  Peaks peaks;
  std::vector<KernelRow> kernels = {};
  std::vector<ProbeRow> probes = {};
  std::string lost_since = {};  // the kernel or probe since which the device is lost, and nothing more ran; empty: none

  [[nodiscard]] std::int64_t count(DoctorVerdict verdict) const;
  // No kernel rejected, the device not lost, and at least one kernel accepted or, where kernels were not asked for, a
  // probe done.
  [[nodiscard]] bool accepted() const;
};

// The executor in the place of a GPU.
[[nodiscard]] DoctorPlace executor_place();

inline constexpr const char* kDevicePath = "device_path";  // the model's rows, by contract

struct DoctorRequest {
  std::vector<std::string> contracts;  // "mma" are the probes, kDevicePath the model; empty: all
  std::uint64_t seed = 1;
};

// `progress` is told how many kernels and probes are done. Kernels are timed on a GPU only. Errors (bad input): a
// contract that no kernel has. An error of a kernel is its row's rejection; what comes after the loss of the device is
// not run.
[[nodiscard]] DoctorReport examine(const DoctorPlace& place, const DoctorRequest& request,
                                   const std::function<void(std::int64_t done, std::int64_t all)>& progress);

}  // namespace lastbit::kernels
