#include <cstddef>
#include <cstdint>
#include <span>

#include "fuzz/expect_input_error.h"
#include "io/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  lastbit::fuzz::expect_input_error([&] {
    const auto file = lastbit::io::SafetensorsFile::parse(bytes, "fuzz.safetensors");
    // Every tensor lies inside the file: the sanitizer sees reads that do not.
    for (const auto& [name, tensor] : file.tensors()) (void)tensor.clone();
  });
  return 0;
}
