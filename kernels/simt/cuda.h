// What a kernel's source includes first: CUDA under nvcc, the executor elsewhere.
#pragma once

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#else
#include "kernels/simt/atomics.h"
#include "kernels/simt/language.h"
#include "kernels/simt/warp.h"
#endif
#include "kernels/simt/launch.h"
