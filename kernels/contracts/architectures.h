// Which GPUs the kernels of a build run on.
#pragma once

#include <optional>
#include <string>

namespace lastbit::kernels {

// What kernels are compiled for that use no instruction of one GPU alone: code of these GPUs, and PTX, which the driver
// compiles for any later one.
inline constexpr const char* kPortable = "sm_80, sm_90a, sm_100a, compute_80";

// Whether a kernel that is compiled for `architectures` ("sm_80, sm_90a, compute_80") runs on compute capability
// major.minor: code for sm_XY runs on the same major version from that minor on, code for sm_XYa on that one alone, PTX
// of compute_XY on that and every later one.
[[nodiscard]] bool runs_on(const std::string& architectures, int major, int minor);

// Why the kernels of kPortable do not run on a GPU of this name and compute capability; nothing: they do.
[[nodiscard]] std::optional<std::string> why_not_portable(const std::string& name, int major, int minor);

}  // namespace lastbit::kernels
