// Formats and roundings by the names that users write. Every function here reports an unknown name as bad input, with a
// suggestion or the list of names.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "numerics/format.h"

namespace lastbit::numerics {

[[nodiscard]] Format require_format(std::string_view name);

// convention: cuda or ml_dtypes; overflow: saturate or none; rounding: nearest, zero, up or stochastic. An empty
// overflow or rounding means default_encode_options' choice. Errors: also a rounding that E8M0 does not have.
[[nodiscard]] EncodeOptions require_encode_options(Format format, std::string_view convention,
                                                   std::string_view overflow, std::string_view rounding);

// The index of `name` in `names`; `what` ("unit", "promotion") starts the message when it is not there.
[[nodiscard]] std::size_t require_name(std::string_view what, std::string_view name,
                                       const std::vector<std::string>& names);

}  // namespace lastbit::numerics
