// Whether there is a GPU that this build can use.
#pragma once

#include <optional>
#include <string>

namespace lastbit::device {

// Why there is none, in words that follow "no GPU: "; nothing where there is one.
[[nodiscard]] std::optional<std::string> why_no_gpu();

// Whether the kernels of this build run on the executor, else on a GPU.
[[nodiscard]] bool on_executor();

}  // namespace lastbit::device
