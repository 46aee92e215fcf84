// Compiled without instrumentation: the executor schedules threads, but sees no loads and stores.
#define LASTBIT_BENCH_VARIANT unchecked
#include "executor_kernels.cu"  // NOLINT(bugprone-suspicious-include)
