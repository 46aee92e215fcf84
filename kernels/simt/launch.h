// Launches of kernels, the same for a GPU and for the executor: no kernel is launched by <<<>>>.
#pragma once

#include <cstddef>
#include <tuple>
#include <utility>

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#else
#include "kernels/simt/language.h"
#endif

namespace lastbit::simt {

struct LaunchShape {
  const char* kernel;  // its name, for messages
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;  // of dynamic shared memory
};

// Runs or, on a GPU, enqueues on the default stream `kernel(arguments...)`. Errors: on the host a Finding; on a GPU an
// error of kind kUnsupported with CUDA's words. Bad input: a grid or block that no GPU takes.
void launch_checked(const LaunchShape& shape, const void* kernel, void** arguments);
#if !defined(__CUDACC__)
void launch_on_host(const LaunchShape& shape, const void* call, std::size_t call_bytes, void (*run)(const void* call));
#endif

template <typename... Parameters, typename... Arguments>
void launch(const LaunchShape& shape, void (*kernel)(Parameters...), Arguments... arguments) {
  std::tuple<Parameters...> values(arguments...);
#if defined(__CUDACC__)
  std::apply(
      [&](auto&... value) {
        void* pointers[] = {const_cast<void*>(static_cast<const void*>(&value))...};
        launch_checked(shape, reinterpret_cast<const void*>(kernel), pointers);
      },
      values);
#else
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> values;
  };
  const Call call{kernel, std::move(values)};
  launch_on_host(shape, &call, sizeof(call), [](const void* self) {
    const auto* const it = static_cast<const Call*>(self);
    std::apply(it->kernel, it->values);
  });
#endif
}

// The block's dynamic shared memory, at a multiple of 1024 bytes.
#if defined(__CUDACC__)
__device__ inline unsigned char* dynamic_shared() {
  extern __shared__ __align__(1024) unsigned char lastbit_dynamic_shared[];
  return lastbit_dynamic_shared;
}
#else
[[nodiscard]] unsigned char* dynamic_shared();
#endif

}  // namespace lastbit::simt
