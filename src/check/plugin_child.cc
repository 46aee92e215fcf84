// The process in which a plugin runs: maps the arrays between pages that may not be touched, and calls.
#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

#include "check/kernel_plugin.h"
#include "check/plugin.h"
#include "check/plugin_memory.h"
#include "core/error.h"

namespace lastbit::check {
namespace {

// An array where the plugin sees it.
struct MappedArray {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  int run;
  ArrayPlace place;
  std::byte* reserved;  // the first byte of the guard before it
  std::byte* data;
};

// What the signal handler needs; set before the first call.
struct FaultSite {
  PluginStatus* status = nullptr;
  const MappedArray* arrays = nullptr;
  std::size_t count = 0;
};
FaultSite fault_site;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables): signal handlers have no arguments

int writing_of(const void* context) {
#if defined(__x86_64__)
  constexpr greg_t kWrite = 2;  // bit 1 of the page fault's error code
  return (static_cast<const ucontext_t*>(context)->uc_mcontext.gregs[REG_ERR] & kWrite) != 0 ? 1 : 0;
#else
  (void)context;
  return -1;
#endif
}

void on_fault(int signal, siginfo_t* info, void* context) {
  PluginStatus& status = *fault_site.status;
  status.signal = signal;
  status.writing = -1;
  if (signal == SIGSEGV || signal == SIGBUS) {
    const auto* const address = static_cast<const std::byte*>(info->si_addr);
    for (std::size_t i = 0; i < fault_site.count; ++i) {
      const MappedArray& array = fault_site.arrays[i];
      if (address < array.reserved || address >= array.reserved + 2 * kGuardBytes + array.place.page_bytes) continue;
      status.array = static_cast<std::int32_t>(i);
      status.offset = address - array.data;
      status.writing = writing_of(context);
    }
  }
  _exit(core::exit_code(core::ErrorKind::kInternal));
}

void install_handlers() {
  static std::array<std::byte, 1 << 16> stack;  // a fault may be the stack's own overflow
  stack_t alternative{};
  alternative.ss_sp = stack.data();
  alternative.ss_size = stack.size();
  sigaltstack(&alternative, nullptr);
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) sigaction(signal, &action, nullptr);
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
}

MappedArray map_array(const nlohmann::json& entry, int descriptor) {
  MappedArray array{entry.at("name"), entry.at("dtype"), entry.at("shape"), entry.at("run"), {}, nullptr, nullptr};
  array.place = {entry.at("file_offset"), entry.at("page_bytes"), entry.at("nbytes")};
  void* const reserved = mmap(nullptr, 2 * kGuardBytes + array.place.page_bytes, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) core::fail_io("cannot reserve memory for {}: {}", array.name, std::strerror(errno));
  array.reserved = static_cast<std::byte*>(reserved);
  const int access = array.run < 0 ? PROT_READ : PROT_READ | PROT_WRITE;
  void* const pages = mmap(array.reserved + kGuardBytes, array.place.page_bytes, access, MAP_SHARED | MAP_FIXED,
                           descriptor, static_cast<off_t>(array.place.file_offset));
  if (pages == MAP_FAILED) core::fail_io("cannot map memory for {}: {}", array.name, std::strerror(errno));
  array.data = static_cast<std::byte*>(pages) + array.place.begin();
  return array;
}

void set_message(PluginStatus& status, const std::string& text) {
  const std::size_t length = std::min(text.size(), sizeof(status.message) - 1);
  std::memcpy(status.message, text.data(), length);
  status.message[length] = '\0';
}

// The function, or null with a message.
lastbit_kernel_function load_function(const nlohmann::json& call, PluginStatus& status) {
  const std::string library = call.at("library");
  const std::string symbol = call.at("symbol");
  void* const handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    set_message(status, fmt::format("{}: cannot be loaded: {}", library, dlerror()));
    return nullptr;
  }
  void* const function = dlsym(handle, symbol.c_str());
  if (function == nullptr)
    set_message(status, fmt::format("{}: has no symbol '{}', expected a function of kernel_plugin.h", library, symbol));
  return reinterpret_cast<lastbit_kernel_function>(function);
}

std::vector<lastbit_array> arrays_of(const std::vector<MappedArray>& mapped, int run) {
  std::vector<lastbit_array> arrays;
  for (const MappedArray& array : mapped)
    if (array.run == run)
      arrays.push_back({array.name.c_str(), array.dtype.c_str(), array.shape.data(),
                        static_cast<std::int32_t>(array.shape.size()), array.data, array.place.nbytes});
  return arrays;
}

void call_plugin(const nlohmann::json& call, const std::vector<MappedArray>& mapped, PluginStatus& status) {
  const lastbit_kernel_function function = load_function(call, status);
  if (function == nullptr) {
    status.state = PluginState::kLoadFailed;
    return;
  }
  const std::map<std::string, std::string> values = call.at("settings");
  std::vector<lastbit_setting> settings;
  for (const auto& [key, value] : values) settings.push_back({key.c_str(), value.c_str()});
  const std::string contract = call.at("contract");
  const std::vector<lastbit_array> inputs = arrays_of(mapped, -1);
  for (int run = 0; run < call.at("runs").get<int>(); ++run) {
    const std::vector<lastbit_array> outputs = arrays_of(mapped, run);
    const lastbit_kernel_call of_run{LASTBIT_KERNEL_ABI,
                                     contract.c_str(),
                                     static_cast<std::int32_t>(inputs.size()),
                                     static_cast<std::int32_t>(outputs.size()),
                                     static_cast<std::int32_t>(settings.size()),
                                     inputs.data(),
                                     outputs.data(),
                                     settings.data(),
                                     status.message,
                                     sizeof(status.message)};
    status.state = PluginState::kCalling;
    status.run = run;
    const auto begin = std::chrono::steady_clock::now();
    status.result = function(&of_run);
    status.seconds[run] = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (status.result != LASTBIT_KERNEL_OK) break;
  }
  status.state = PluginState::kReturned;
}

}  // namespace

int run_plugin_child(int descriptor) {
  struct stat file {};
  if (fstat(descriptor, &file) != 0 ||
      static_cast<std::size_t>(file.st_size) <= kDescriptionOffset + sizeof(std::uint64_t))
    core::fail_input("check run-plugin: descriptor {} holds no call; this command is for lastbit itself", descriptor);
  const auto bytes = static_cast<std::size_t>(file.st_size);
  void* const at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (at == MAP_FAILED) core::fail_io("cannot map the call: {}", std::strerror(errno));
  auto* const memory = static_cast<std::byte*>(at);
  std::uint64_t length = 0;
  std::memcpy(&length, memory + kDescriptionOffset, sizeof(length));
  if (length > bytes - kDescriptionOffset - sizeof(length))
    core::fail_input("check run-plugin: descriptor {} holds no call; this command is for lastbit itself", descriptor);
  const char* const text = reinterpret_cast<const char*>(memory + kDescriptionOffset + sizeof(length));
  const nlohmann::json call = nlohmann::json::parse(text, text + length);
  std::vector<MappedArray> mapped;
  for (const nlohmann::json& entry : call.at("arrays")) mapped.push_back(map_array(entry, descriptor));
  auto& status = *reinterpret_cast<PluginStatus*>(memory);
  fault_site = {&status, mapped.data(), mapped.size()};
  install_handlers();
  call_plugin(call, mapped, status);
  // Not exit(): destructors of the plugin are none of the call's business.
  _exit(core::kExitOk);
}

}  // namespace lastbit::check
