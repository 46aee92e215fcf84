// lastbit doctor --gpu: every kernel and the tensor cores of the GPU of this machine, as a report.
#include "cli/doctor_gpu.h"

#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/progress.h"
#include "core/error.h"
#include "io/atomic_file.h"
#include "io/preset_list.h"
#include "sim/cluster/cluster.h"
#if defined(LASTBIT_GPU) || defined(LASTBIT_EXECUTOR)
#include "kernels/doctor/doctor_report.h"
#endif
#if defined(LASTBIT_GPU)
#include "kernels/cuda/gpu_place.h"
#endif

namespace lastbit::cli {

const char* gpu_support() {
#if defined(LASTBIT_GPU)
  return "kernels for one; --gpu examines it";
#elif defined(LASTBIT_EXECUTOR)
  return "kernels run on an executor on the CPU; -DLASTBIT_CUDA=ON builds them for a GPU";
#else
  return "no kernels in this build; everything runs on the CPU";
#endif
}

#if defined(LASTBIT_GPU) || defined(LASTBIT_EXECUTOR)
namespace {

#if defined(LASTBIT_GPU)
// The GPUs of data/clusters.
std::vector<kernels::KnownGpu> known_gpus() {
  std::vector<kernels::KnownGpu> known;
  for (const io::PresetFile& preset : io::list_presets("clusters")) {
    const sim::cluster::Gpu gpu = sim::cluster::load_cluster(preset.name).gpu;
    known.push_back({gpu.name, "data/clusters/" + preset.name + ".toml", gpu.sms, gpu.hbm_bandwidth, gpu.bf16_flops,
                     gpu.fp8_flops});
  }
  return known;
}
#endif

kernels::DoctorPlace place_of(const DoctorGpuOptions& options) {
#if defined(LASTBIT_GPU)
  if (options.on == "executor")
    core::fail_unsupported(
        "doctor --gpu --on executor: this build has the kernels for a GPU in the executor's place; configure one with "
        "-DLASTBIT_CUDA=AUTO");
  return cuda::gpu_place(known_gpus());
#else
  if (options.on == "gpu")
    core::fail_unsupported(
        "doctor --gpu: this build runs no kernels on a GPU; configure one with -DLASTBIT_CUDA=ON where nvcc is, or see "
        "what it does with --on executor");
  return kernels::executor_place();
#endif
}

}  // namespace

int run_doctor_gpu(const DoctorGpuOptions& options) {
  const kernels::DoctorPlace place = place_of(options);
  Progress progress("examining", "kernels");
  const kernels::DoctorReport report = kernels::examine(
      place, {options.contracts, options.seed},
      [&](std::int64_t done, std::int64_t all) { progress.show(static_cast<double>(done), static_cast<double>(all)); });
  progress.finish();
  const std::string json =
      kernels::doctor_json(report).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  io::write_text_file(options.report + ".json", json);
  io::write_text_file(options.report + ".md", kernels::doctor_markdown(report));
  std::cout << (options.as_json ? json : kernels::doctor_text(report));
  if (!options.as_json)
    std::cout << fmt::format("\nreport in {0}.json and {0}.md{1}\n", options.report,
                             place.device.is_gpu ? "; please send them in as an issue" : "");
  return report.accepted() ? core::kExitOk : core::kExitCheckFailed;
}
#else
int run_doctor_gpu(const DoctorGpuOptions& /*options*/) {
  core::fail_unsupported("doctor --gpu: this build has no kernels; configure one without -DLASTBIT_KERNELS=OFF");
}
#endif

}  // namespace lastbit::cli
