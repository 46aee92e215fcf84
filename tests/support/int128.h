// 128-bit integers as an oracle.
#pragma once

namespace lastbit::testing {

__extension__ using Int128 = __int128;
__extension__ using Uint128 = unsigned __int128;

}  // namespace lastbit::testing
