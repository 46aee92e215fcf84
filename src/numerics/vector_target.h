// Instruction sets that the vectorised loops were compiled for. All give the same bits; tests hold each to the plain
// path, and a user may force one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lastbit::numerics {

// Names of those that were compiled, fastest first: "AVX3_DL", "AVX3", "AVX2", "SSE4", "SSSE3", ...
[[nodiscard]] std::vector<std::string> compiled_vector_targets();
// Those of them that this machine can run.
[[nodiscard]] std::vector<std::string> vector_targets();
// The one in use: the fastest, unless another was chosen.
[[nodiscard]] std::string vector_target();

// Uses this one from now on; "" is the fastest again. Not while a loop runs. Errors: an unknown name is bad input with
// a suggestion, one that this machine cannot run is unsupported.
void use_vector_target(std::string_view name);

}  // namespace lastbit::numerics
