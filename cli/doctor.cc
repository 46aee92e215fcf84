// lastbit doctor: what this build and this machine have.
#include <fmt/format.h>

#include <filesystem>
#include <iostream>
#include <limits>
#include <memory>
#include <string>

#include "cli/command.h"
#include "cli/doctor_gpu.h"
#include "core/error.h"
#include "core/parallel.h"
#include "core/version.h"
#include "io/data_dir.h"

namespace lastbit::cli {
namespace {

// Instruction sets of this machine. Results do not depend on them.
std::string vector_instructions() {
#if defined(__x86_64__)
  std::string found = "SSE2";
  if (__builtin_cpu_supports("sse4.2")) found += ", SSE4.2";
  if (__builtin_cpu_supports("avx2")) found += ", AVX2";
  if (__builtin_cpu_supports("avx512f")) found += ", AVX-512";
  return found;
#else
  return "not an x86-64 machine";
#endif
}

int run_doctor() {
  // Refuses with one line when the data is not found.
  const std::string data = std::filesystem::path(io::data_path("models")).parent_path().string();
  std::cout << fmt::format("lastbit       {}, built with {} {}\n", core::version(),
#if defined(__clang__)
                           "clang",
#else
                           "gcc",
#endif
                           __VERSION__)
            << fmt::format("threads       {}\n", core::num_threads())
            << fmt::format("instructions  {} (the same bits on all of them)\n", vector_instructions())
            << fmt::format("data          {}\n", data) << fmt::format("GPU           {}\n", gpu_support());
  return core::kExitOk;
}

}  // namespace

void add_doctor(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("doctor", "Say what this build and this machine have");
  const auto options = std::make_shared<DoctorGpuOptions>();
  CLI::Option* const gpu =
      command->add_flag("--gpu", options->gpu,
                        "Hold every kernel against its contract on this machine's GPU, time it, "
                        "run the model beside the reference, probe the tensor cores, and write a report");
  command->add_option("--on", options->on, "gpu, or executor: the same on the CPU, without times")
      ->check(CLI::IsMember({"gpu", "executor"}))
      ->capture_default_str()
      ->needs(gpu);
  command
      ->add_option("--contracts", options->contracts,
                   "Only kernels of these contracts, several with commas; device_path: the model; mma: the probes "
                   "(default: all)")
      ->delimiter(',')
      ->needs(gpu);
  command->add_option("--report", options->report, "Write the report as NAME.json and NAME.md")
      ->capture_default_str()
      ->needs(gpu);
  command->add_option("--seed", options->seed, "Seed of all inputs")
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str()
      ->needs(gpu);
  command->add_flag("--json", options->as_json, "Print the report as JSON")->needs(gpu);
  command->callback(
      [options, &action] { action = [options] { return options->gpu ? run_doctor_gpu(*options) : run_doctor(); }; });
}

}  // namespace lastbit::cli
