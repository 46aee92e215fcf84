// What the executor has to say against a kernel: one line, thrown by launch().
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace lastbit::simt {

enum class FindingKind : std::uint8_t {
  kOutOfBounds,    // no memory of the launch lies there
  kUninitialised,  // a read of memory that nobody wrote
  kRace,           // two accesses without an order between them, one of them a write
  kBarrier,        // threads that wait for each other in vain, or at different barriers
  kWarp,           // a warp's operation with the wrong lanes
  kInFlight,       // memory that an asynchronous copy or product still uses
  kFence,          // what generic stores wrote is read by the asynchronous proxy without a fence
  kMisuse,         // an instruction on operands that it cannot have
  kOrder,          // results that depend on the order in which warps run
  kEndless,        // a thread that runs on and on without meeting another
};
[[nodiscard]] std::string_view to_string(FindingKind kind);

class Finding : public std::runtime_error {
 public:
  Finding(FindingKind kind, const std::string& text) : std::runtime_error(text), kind_(kind) {}
  [[nodiscard]] FindingKind kind() const { return kind_; }

 private:
  FindingKind kind_;
};

// A place in a kernel's source, for messages.
struct Site {
  const char* file = nullptr;
  int line = 0;

  [[nodiscard]] bool operator==(const Site& other) const { return line == other.line && file == other.file; }
  [[nodiscard]] std::string text() const;  // "transpose.cu:41"
};

}  // namespace lastbit::simt
