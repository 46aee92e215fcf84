#pragma once

namespace lastbit::core {

// "0.1.0": the version of the library that runs.
[[nodiscard]] const char* version();

}  // namespace lastbit::core
