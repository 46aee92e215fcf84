// Errors that reach a user: one line of text, one kind, one exit code.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace lastbit::core {

// What went wrong, and so the exit code of the program (see exit_code).
enum class ErrorKind {
  kInput,        // usage, a bad value, shape, key or a damaged file: exit code 2
  kIo,           // the system refused to read or write: exit code 3
  kUnsupported,  // valid, but not available in this build or on this machine: exit code 4
  kInternal,     // a bug in Lastbit: exit code 70
};

// Exit codes that are not errors.
inline constexpr int kExitOk = 0;
inline constexpr int kExitCheckFailed = 1;  // ran, and the check failed

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  [[nodiscard]] ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// 2, 3, 4 or 70, as listed at ErrorKind.
[[nodiscard]] int exit_code(ErrorKind kind);

// Throws Error(kInput): the message names the file, key or shape, what was found and what was expected, in one line.
template <typename... Args>
[[noreturn]] void fail_input(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::kInput, fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
[[noreturn]] void fail_io(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::kIo, fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
[[noreturn]] void fail_unsupported(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::kUnsupported, fmt::format(format, std::forward<Args>(args)...));
}

// For programmers: throws Error(kInternal) with the place of the call when `condition` is false. (The compiler's
// builtins rather than std::source_location, which clang 14 does not have.)
void check(bool condition, const char* what, const char* file = __builtin_FILE(), int line = __builtin_LINE());

}  // namespace lastbit::core
