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

// launch(shape, kernel, arguments...) runs a kernel or, on a GPU, enqueues it on the default stream. Errors: on the
// host a Finding, bad input where no GPU takes the grid or block; on a GPU those of kernels/cuda/fail.h, which may be
// an earlier kernel's.
#if defined(__CUDACC__)
void launch_checked(const LaunchShape& shape, const void* kernel, void** arguments);
#else
void launch_on_host(const LaunchShape& shape, const void* call, std::size_t call_bytes, void (*run)(const void* call));
#endif

#if defined(__CUDACC__)
template <typename... Parameters, typename... Arguments>
void launch(const LaunchShape& shape, void (*kernel)(Parameters...), Arguments... arguments) {
  std::tuple<Parameters...> values(arguments...);
  std::apply(
      [&](auto&... value) {
        void* pointers[] = {const_cast<void*>(static_cast<const void*>(&value))...};
        launch_checked(shape, reinterpret_cast<const void*>(kernel), pointers);
      },
      values);
}
#else
template <typename... Parameters>
struct HostCall {
  void (*kernel)(Parameters...);
  std::tuple<Parameters...> values;

  // Not instrumented: the arguments are copied from the host's memory.
  template <std::size_t... kIndex>
  __attribute__((no_sanitize("thread"))) void run(std::index_sequence<kIndex...> /*of values*/) const {
    kernel(std::get<kIndex>(values)...);
  }
};

template <typename... Parameters, typename... Arguments>
void launch(const LaunchShape& shape, void (*kernel)(Parameters...), Arguments... arguments) {
  const HostCall<Parameters...> call{kernel, std::tuple<Parameters...>(arguments...)};
  launch_on_host(shape, &call, sizeof(call), [](const void* self) {
    static_cast<const HostCall<Parameters...>*>(self)->run(std::index_sequence_for<Parameters...>());
  });
}
#endif

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
