// Fuzzes the manifest of a pack of `lastbit check kernel`; its inputs are drawn only where the pack has arrays of their
// names, and here it has none. (Its container formats have targets of their own.)
#include <algorithm>

#include "check/kernel_pack.h"
#include "fuzz/expect_input_error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using lastbit::tensor::Tensor;
  Tensor manifest = Tensor::empty(lastbit::tensor::DType::kU8, {static_cast<std::int64_t>(size)});
  std::copy(bytes, bytes + size, reinterpret_cast<std::uint8_t*>(manifest.mutable_bytes().data()));
  lastbit::fuzz::expect_input_error([&] { (void)lastbit::check::read_kernel_pack({{"manifest", manifest}}, "pack"); });
  return 0;
}
