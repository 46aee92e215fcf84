// Errors from sources that nvcc compiles: it does not take fmt's headers, and so not core/error.h.
#pragma once

#include <string>

namespace lastbit::cuda {

// Throws core::Error of kind kUnsupported: "what: why".
[[noreturn]] void fail(const std::string& what, const std::string& why);

}  // namespace lastbit::cuda
