// Pictures of fabrics.
#pragma once

#include <string>

#include "sim/network/fabric.h"

namespace lastbit::sim::network {

// The fabric as an SVG picture of its own: switches layer by layer, a panel a plane, rail, pod or group, links in grey
// and failed ones in red; one node beside it with its GPUs, NVSwitch and NICs. What does not fit (more than 8 panels,
// more than 64 switches of a layer in a panel) is left out, and the picture says how much.
[[nodiscard]] std::string draw_svg(const Fabric& fabric);

}  // namespace lastbit::sim::network
