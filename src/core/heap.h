// The process's heap.
#pragma once

namespace lastbit::core {

// For programs, at their start: what tensors up to 32 MiB give back stays with the process and serves the next ones.
// As glibc comes, a layer's tensors are fresh pages each time, whose faults take about a tenth of a prefill. The peak
// of memory stays what it is. Does nothing with other C libraries.
void keep_freed_memory();

}  // namespace lastbit::core
