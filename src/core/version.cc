#include "core/version.h"

namespace lastbit::core {

const char* version() { return LASTBIT_VERSION; }

}  // namespace lastbit::core
