#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "fuzz/expect_input_error.h"
#include "io/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  // What was read is written and read again: the same bytes.
  lastbit::fuzz::expect_input_error([&] {
    const lastbit::tensor::Tensor tensor = lastbit::io::parse_npy(bytes, "fuzz.npy");
    std::string file = lastbit::io::npy_preamble(tensor);
    file.append(reinterpret_cast<const char*>(tensor.bytes().data()), tensor.nbytes());
    const lastbit::tensor::Tensor again = lastbit::io::parse_npy(std::as_bytes(std::span(file)), "again.npy");
    if (again.shape() != tensor.shape() || !std::ranges::equal(again.bytes(), tensor.bytes())) std::abort();
  });
  return 0;
}
