#include "io/checksum.h"

#include <zlib.h>

#include <algorithm>

#include "io/file_bytes.h"

namespace lastbit::io {

std::uint32_t crc32_of(std::span<const std::byte> bytes) {
  uLong sum = ::crc32(0, nullptr, 0);
  constexpr std::size_t kAtATime = std::size_t{1} << 30U;
  for (std::size_t at = 0; at < bytes.size(); at += kAtATime)
    sum = ::crc32(sum, reinterpret_cast<const Bytef*>(bytes.data() + at),
                  static_cast<uInt>(std::min(kAtATime, bytes.size() - at)));
  return static_cast<std::uint32_t>(sum);
}

std::uint32_t crc32_of_file(const std::string& path) { return crc32_of(io::FileBytes::open(path)->bytes()); }

}  // namespace lastbit::io
