#include "core/error.h"

namespace lastbit::core {

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInput:
      return 2;
    case ErrorKind::kIo:
      return 3;
    case ErrorKind::kUnsupported:
      return 4;
    case ErrorKind::kInternal:
      break;
  }
  return 70;
}

void check(bool condition, const char* what, const char* file, int line) {
  if (condition) return;
  throw Error(ErrorKind::kInternal, fmt::format("{}:{}: {}", file, line, what));
}

}  // namespace lastbit::core
