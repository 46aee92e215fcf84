#include <cstddef>
#include <cstdint>
#include <span>

#include "fuzz/expect_input_error.h"
#include "io/npz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  lastbit::fuzz::expect_input_error([&] { (void)lastbit::io::parse_npz(bytes, "fuzz.npz"); });
  return 0;
}
