// lastbit doctor: what this build and this machine have.
#include <fmt/format.h>

#include <filesystem>
#include <iostream>
#include <string>

#include "cli/command.h"
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
            << fmt::format("data          {}\n", data)
            << "GPU           no kernels in this build; everything runs on the CPU\n";
  return core::kExitOk;
}

}  // namespace

void add_doctor(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("doctor", "Say what this build and this machine have");
  command->callback([&action] { action = run_doctor; });
}

}  // namespace lastbit::cli
