#include "check/plugin.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "check/kernel_plugin.h"
#include "check/plugin_memory.h"
#include "core/error.h"

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX leaves it to programs

namespace lastbit::check {

ArrayPlace place_array(std::size_t nbytes, std::size_t& file_bytes) {
  ArrayPlace place;
  place.nbytes = nbytes;
  const std::size_t aligned = (nbytes + kArrayAlignment - 1) / kArrayAlignment * kArrayAlignment;
  place.page_bytes = std::max<std::size_t>(1, (aligned + kPageBytes - 1) / kPageBytes) * kPageBytes;
  place.file_offset = file_bytes;
  file_bytes += place.page_bytes;
  return place;
}

SharedMemory SharedMemory::create(std::size_t bytes) {
  SharedMemory memory;
  memory.descriptor_ = memfd_create("lastbit-kernel-call", MFD_CLOEXEC);
  if (memory.descriptor_ < 0 || ftruncate(memory.descriptor_, static_cast<off_t>(bytes)) != 0)
    core::fail_io("cannot make {} bytes of shared memory: {}", bytes, std::strerror(errno));
  void* const at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.descriptor_, 0);
  if (at == MAP_FAILED) core::fail_io("cannot map {} bytes of shared memory: {}", bytes, std::strerror(errno));
  memory.bytes_ = {static_cast<std::byte*>(at), bytes};
  return memory;
}

SharedMemory::SharedMemory(SharedMemory&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), bytes_(std::exchange(other.bytes_, {})) {}

SharedMemory::~SharedMemory() {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
  if (descriptor_ >= 0) close(descriptor_);
}

namespace {

using tensor::NamedTensors;
using tensor::Tensor;

constexpr unsigned char kFills[kMostRuns] = {0xa5, 0x5a};

// One array of a call in the shared memory; outputs have one for each run.
struct PlacedArray {
  std::string name;
  tensor::DType dtype = tensor::DType::kF32;
  tensor::Shape shape;
  int run = -1;  // of outputs
  ArrayPlace place;
};

class PluginCall {
 public:
  PluginCall(const PluginOptions& options, const KernelCall& call)
      : options_(options), call_(call), memory_(make_memory()) {}

  KernelRun run() {
    const pid_t child = start();
    const int status = wait_for(child);
    return report(status);
  }

 private:
  SharedMemory make_memory() {
    for (const auto& [name, tensor] : call_.inputs) arrays_.push_back({name, tensor.dtype(), tensor.shape(), -1, {}});
    for (int run = 0; run < options_.runs; ++run)
      for (const OutputSpec& output : call_.outputs)
        arrays_.push_back({output.name, output.dtype, output.shape, run, {}});
    constexpr std::size_t kDescriptionBytes = 16 * kPageBytes;
    std::size_t bytes = kDescriptionOffset + kDescriptionBytes;
    for (PlacedArray& array : arrays_) {
      const auto count = static_cast<std::size_t>(tensor::element_count(array.shape, array.name));
      array.place = place_array(count * tensor::size_of(array.dtype), bytes);
    }
    SharedMemory memory = SharedMemory::create(bytes);
    const std::string text = description().dump();
    const std::uint64_t length = text.size();
    if (length + sizeof(length) > kDescriptionBytes)
      core::fail_input("{}: a call of {} bytes of names and settings, expected less than {}", call_.contract.name,
                       length, kDescriptionBytes);
    std::memcpy(memory.bytes().data() + kDescriptionOffset, &length, sizeof(length));
    std::memcpy(memory.bytes().data() + kDescriptionOffset + sizeof(length), text.data(), text.size());
    memory.status() = PluginStatus{};
    memory.status().array = -1;
    for (const PlacedArray& array : arrays_) fill(memory, array);
    return memory;
  }

  void fill(const SharedMemory& memory, const PlacedArray& array) const {
    std::byte* const pages = memory.bytes().data() + array.place.file_offset;
    std::fill_n(pages, array.place.page_bytes, kCanary);
    std::byte* const data = pages + array.place.begin();
    if (array.run < 0) {
      const Tensor tensor = call_.inputs.at(array.name).contiguous();
      std::ranges::copy(tensor.bytes(), data);
    } else {
      std::memset(data, kFills[array.run], array.place.nbytes);
    }
  }

  [[nodiscard]] nlohmann::json description() const {
    nlohmann::json arrays = nlohmann::json::array();
    for (const PlacedArray& array : arrays_)
      arrays.push_back({{"name", array.name},
                        {"dtype", tensor::name(array.dtype)},
                        {"shape", array.shape},
                        {"run", array.run},
                        {"file_offset", array.place.file_offset},
                        {"page_bytes", array.place.page_bytes},
                        {"nbytes", array.place.nbytes}});
    return {{"library", std::filesystem::absolute(options_.library).string()},
            {"symbol", options_.symbol},
            {"runs", options_.runs},
            {"contract", call_.contract.name},
            {"settings", call_.settings.values()},
            {"arrays", arrays}};
  }

  [[nodiscard]] pid_t start() const {
    constexpr int kChildDescriptor = 3;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    // dup2 onto itself would keep the close-on-exec flag.
    const int source = memory_.descriptor() == kChildDescriptor ? dup(memory_.descriptor()) : memory_.descriptor();
    posix_spawn_file_actions_adddup2(&actions, source, kChildDescriptor);
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    std::string words[] = {options_.runner, "check", "run-plugin", std::to_string(kChildDescriptor)};
    char* arguments[] = {words[0].data(), words[1].data(), words[2].data(), words[3].data(), nullptr};
    pid_t child = -1;
    const int error = posix_spawn(&child, options_.runner.c_str(), &actions, &attributes, arguments, environ);
    if (source != memory_.descriptor()) close(source);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) core::fail_io("cannot start {}: {}", options_.runner, std::strerror(error));
    return child;
  }

  int wait_for(pid_t child) {
    const auto begin = std::chrono::steady_clock::now();
    const auto limit = std::chrono::duration<double>(options_.time_limit_s);
    auto pause = std::chrono::microseconds(200);
    int status = 0;
    for (;;) {
      const pid_t ended = waitpid(child, &status, WNOHANG);
      if (ended == child || (ended < 0 && errno != EINTR)) break;
      if (std::chrono::steady_clock::now() - begin > limit) {
        timed_out_ = true;
        kill(-child, SIGKILL);
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
        return status;
      }
      std::this_thread::sleep_for(pause);
      pause = std::min(pause * 2, std::chrono::microseconds(5000));
    }
    kill(-child, SIGKILL);  // what it may have started
    return status;
  }

  [[nodiscard]] KernelRun report(int status) const {
    const PluginStatus& seen = memory_.status();
    const std::string message(seen.message, strnlen(seen.message, sizeof(seen.message)));
    if (seen.state == PluginState::kLoadFailed) core::fail_input("{}", message);
    KernelRun run;
    if (timed_out_) {
      run.status = RunStatus::kTimedOut;
      run.message = fmt::format("not done after {} s", options_.time_limit_s);
    } else if (seen.signal != 0 || WIFSIGNALED(status)) {
      run.status = RunStatus::kCrashed;
      run.message = crash_message(seen.signal != 0 ? seen.signal : WTERMSIG(status));
      if (seen.array >= 0) run.violations.push_back(run.message);
    } else if (seen.state != PluginState::kReturned) {
      run.status = RunStatus::kFailed;
      run.message = fmt::format("it ended its process, exit code {}", WEXITSTATUS(status));
      if (seen.state == PluginState::kStarting && WEXITSTATUS(status) != 0)
        core::fail_input("{}: cannot be loaded: the process that loads it ended with exit code {}", options_.library,
                         WEXITSTATUS(status));
    } else if (seen.result == LASTBIT_KERNEL_UNSUPPORTED) {
      run.status = RunStatus::kUnsupported;
      run.message = message;
    } else if (seen.result != LASTBIT_KERNEL_OK) {
      run.status = RunStatus::kFailed;
      run.message = fmt::format("it returned {}{}{}", seen.result, message.empty() ? "" : ": ", message);
    }
    check_canaries(run);
    if (run.status == RunStatus::kRan) take_results(run);
    return run;
  }

  [[nodiscard]] std::string crash_message(int signal) const {
    const PluginStatus& seen = memory_.status();
    const std::string name =
        fmt::format("{} ({})", sigabbrev_np(signal) == nullptr ? "?" : sigabbrev_np(signal), strsignal(signal));
    if (seen.array < 0 || seen.array >= std::ssize(arrays_)) return fmt::format("SIG{}", name);
    const PlacedArray& array = arrays_[static_cast<std::size_t>(seen.array)];
    const char* const what = seen.writing == 1 ? "wrote" : seen.writing == 0 ? "read" : "touched memory";
    const char* const kind = array.run < 0 ? "input" : "output";
    const auto nbytes = static_cast<std::int64_t>(array.place.nbytes);
    if (seen.offset < 0) return fmt::format("{} {} bytes before {} {}", what, -seen.offset, kind, array.name);
    if (seen.offset < nbytes) return fmt::format("{} into {} {}, at byte {}", what, kind, array.name, seen.offset);
    return fmt::format("{} {} bytes behind the end of {} {}", what, seen.offset - nbytes, kind, array.name);
  }

  // What is left of the pages around an output must be as it was.
  void check_canaries(KernelRun& run) const {
    for (const PlacedArray& array : arrays_) {
      if (array.run < 0) continue;
      const std::byte* const pages = memory_.bytes().data() + array.place.file_offset;
      const std::size_t begin = array.place.begin();
      const std::size_t end = begin + array.place.nbytes;
      for (std::size_t i = 0; i < array.place.page_bytes; ++i) {
        if (i == begin) i = end;
        if (i >= array.place.page_bytes || pages[i] == kCanary) continue;
        run.violations.push_back(i < begin
                                     ? fmt::format("wrote {} bytes before output {}", begin - i, array.name)
                                     : fmt::format("wrote {} bytes behind the end of output {}", i - end, array.name));
        break;
      }
    }
  }

  void take_results(KernelRun& run) const {
    run.results.resize(static_cast<std::size_t>(options_.runs));
    run.seconds = memory_.status().seconds[0];
    for (int i = 0; i < options_.runs; ++i) {
      run.fill.push_back(kFills[i]);
      run.seconds = std::min(run.seconds, memory_.status().seconds[i]);
    }
    for (const PlacedArray& array : arrays_) {
      if (array.run < 0) continue;
      Tensor tensor = Tensor::empty(array.dtype, array.shape);
      std::memcpy(tensor.mutable_bytes().data(), memory_.bytes().data() + array.place.file_offset + array.place.begin(),
                  array.place.nbytes);
      run.results[static_cast<std::size_t>(array.run)].emplace(array.name, std::move(tensor));
    }
  }

  const PluginOptions& options_;
  const KernelCall& call_;
  std::vector<PlacedArray> arrays_;
  SharedMemory memory_;
  bool timed_out_ = false;
};

}  // namespace

Implementation plugin_implementation(const PluginOptions& options) {
  if (!std::filesystem::is_regular_file(options.library))
    core::fail_input("{}: no such file, expected a shared library", options.library);
  return {std::filesystem::path(options.library).filename().string() + ":" + options.symbol, "a shared library",
          [](const Contract&) { return true; },
          [options](const KernelCall& call) { return PluginCall(options, call).run(); }};
}

}  // namespace lastbit::check
