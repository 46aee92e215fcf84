// Kernels with one fault each, and the same without it: what shows that the executor finds faults.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/simt/device_array.h"
#include "kernels/simt/finding.h"
#include "kernels/simt/launch.h"

namespace lastbit::broken {

struct BrokenKernel {
  std::string name;
  std::string fault;
  // What the executor must say; nothing: the results alone are wrong.
  std::optional<simt::FindingKind> finding;
  std::function<std::vector<float>(bool broken)> run;  // of one launch, in the current order
  std::vector<float> expected;
};

// out = kernel(in), where in[i] = i; n is the number of inputs.
using PlainKernel = void (*)(const float* in, float* out, int n);

struct PlainShape {
  unsigned blocks = 1;
  unsigned threads = 128;
  int inputs = 128;
  std::size_t outputs = 128;
  std::size_t shared_bytes = 0;
};

inline std::vector<float> ramp(int count) {
  std::vector<float> values;
  for (int i = 0; i < count; ++i) values.push_back(static_cast<float>(i));
  return values;
}

inline BrokenKernel plain_case(const std::string& name, const std::string& fault,
                               std::optional<simt::FindingKind> finding, const PlainShape& shape, PlainKernel broken,
                               PlainKernel sound, std::vector<float> expected) {
  const auto run = [=](bool with_fault) {
    const std::vector<float> x = ramp(shape.inputs);
    const simt::DeviceArray<float> in("in", std::span<const float>(x));
    const std::vector<float> zeros(shape.outputs);
    const simt::DeviceArray<float> out("out", std::span<const float>(zeros));
    simt::launch({name.c_str(), dim3{shape.blocks}, dim3{shape.threads}, shape.shared_bytes},
                 with_fault ? broken : sound, in.data(), out.data(), shape.inputs);
    return out.download();
  };
  return {name, fault, finding, run, std::move(expected)};
}

[[nodiscard]] std::vector<BrokenKernel> broken_indices();     // wrong elements, and memory that is none of the kernel's
[[nodiscard]] std::vector<BrokenKernel> broken_barriers();    // of blocks
[[nodiscard]] std::vector<BrokenKernel> broken_warps();       // of warps
[[nodiscard]] std::vector<BrokenKernel> broken_reductions();  // several threads and one sum
[[nodiscard]] std::vector<BrokenKernel> broken_copies();      // cp.async and TMA
[[nodiscard]] std::vector<BrokenKernel> broken_products();    // wgmma

}  // namespace lastbit::broken
