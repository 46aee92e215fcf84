#include "kernels/simt/finding.h"

#include <fmt/format.h>

namespace lastbit::simt {

std::string_view to_string(FindingKind kind) {
  switch (kind) {
    case FindingKind::kOutOfBounds:
      return "out of bounds";
    case FindingKind::kUninitialised:
      return "uninitialised";
    case FindingKind::kRace:
      return "race";
    case FindingKind::kBarrier:
      return "barrier";
    case FindingKind::kWarp:
      return "warp";
    case FindingKind::kInFlight:
      return "in flight";
    case FindingKind::kFence:
      return "fence";
    case FindingKind::kMisuse:
      return "misuse";
    case FindingKind::kOrder:
      return "order";
    case FindingKind::kEndless:
      break;
  }
  return "endless";
}

std::string Site::text() const {
  if (file == nullptr) return "none";
  const std::string_view path(file);
  return fmt::format("{}:{}", path.substr(path.rfind('/') + 1), line);
}

}  // namespace lastbit::simt
