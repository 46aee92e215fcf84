// CRC-32 of files (zlib's; ISO 3309), against damage, not against malice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace lastbit::io {

[[nodiscard]] std::uint32_t crc32_of(std::span<const std::byte> bytes);
// Errors: as io::FileBytes::open.
[[nodiscard]] std::uint32_t crc32_of_file(const std::string& path);

}  // namespace lastbit::io
