// The memory that a plugin's process and its parent share: a status, a description of the call, and the arrays.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

namespace lastbit::check {

inline constexpr std::size_t kPageBytes = 4096;
inline constexpr std::size_t kArrayAlignment = 256;
inline constexpr std::size_t kGuardBytes = 16 * kPageBytes;  // on each side of an array
inline constexpr std::byte kCanary{0xc3};
inline constexpr int kMostRuns = 2;

enum class PluginState : std::uint32_t {
  kStarting,    // the library is being loaded
  kLoadFailed,  // `message` says why
  kCalling,     // inside the function, in `run`
  kReturned,    // after the last run, or with another result than OK
};

struct PluginStatus {
  PluginState state;
  std::int32_t run;
  std::int32_t result;   // of the last call
  std::int32_t signal;   // that ended the process, 0: none was seen
  std::int32_t writing;  // of a fault in memory: 1 a write, 0 a read, -1 unknown
  std::int32_t array;    // index in the description of the array whose surroundings were touched, -1: no array
  std::int64_t offset;   // from the array's first byte
  double seconds[kMostRuns];
  char message[512];
};

// Where an array lies, its end as close to the end of its last page as the alignment allows.
struct ArrayPlace {
  std::size_t file_offset = 0;  // of its first page
  std::size_t page_bytes = 0;
  std::size_t nbytes = 0;

  [[nodiscard]] std::size_t begin() const {  // within the pages
    return page_bytes - (nbytes + kArrayAlignment - 1) / kArrayAlignment * kArrayAlignment;
  }
};
[[nodiscard]] ArrayPlace place_array(std::size_t nbytes, std::size_t& file_bytes);

// A mapping of the whole of a memory file; unmapped at the end.
class SharedMemory {
 public:
  // Errors: what the system refuses is an I/O error.
  [[nodiscard]] static SharedMemory create(std::size_t bytes);
  ~SharedMemory();
  SharedMemory(SharedMemory&& other) noexcept;
  SharedMemory& operator=(SharedMemory&&) = delete;
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  [[nodiscard]] int descriptor() const { return descriptor_; }
  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }
  [[nodiscard]] PluginStatus& status() const { return *reinterpret_cast<PluginStatus*>(bytes_.data()); }

 private:
  SharedMemory() = default;
  int descriptor_ = -1;
  std::span<std::byte> bytes_;
};

// The first page holds the status, the next ones the description: its length in 8 bytes, then JSON.
inline constexpr std::size_t kDescriptionOffset = kPageBytes;

}  // namespace lastbit::check
