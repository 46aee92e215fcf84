#include "io/sealed_hdf5.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/checksum.h"
#include "io/file_bytes.h"

namespace lastbit::io {
namespace {

constexpr std::size_t kSealBytes = 512;
constexpr std::string_view kSealTitle = "lastbit sealed hdf5 1: ";
constexpr const char* kChecksumAttribute = "crc32";

// The user block of a file whose remaining bytes have this length and checksum.
std::string seal_of(std::size_t bytes, std::uint32_t crc32) {
  std::string seal = fmt::format("{}{} bytes, crc32 {:08x}\n", kSealTitle, bytes, crc32);
  seal.resize(kSealBytes, '\0');
  return seal;
}

struct Seal {
  std::size_t bytes = 0;
  std::uint32_t crc32 = 0;
};

// What a seal says; nothing when a byte of it is not as seal_of() writes it.
std::optional<Seal> parse_seal(std::string_view block) {
  if (!block.starts_with(kSealTitle)) return std::nullopt;
  Seal seal;
  const char* end = block.data() + block.size();
  const auto bytes = std::from_chars(block.data() + kSealTitle.size(), end, seal.bytes);
  constexpr std::string_view kBetween = " bytes, crc32 ";
  if (bytes.ec != std::errc() || !std::string_view(bytes.ptr, end).starts_with(kBetween)) return std::nullopt;
  std::from_chars(bytes.ptr + kBetween.size(), end, seal.crc32, 16);
  if (block != seal_of(seal.bytes, seal.crc32)) return std::nullopt;
  return seal;
}

// Names the dataset that is damaged.
[[noreturn]] void fail_damaged(const std::string& path) {
  const tensor::NamedTensors tensors = load_hdf5(path);
  for (const auto& [key, array] : tensors) {
    const Attributes attributes = load_hdf5_attributes(path, key);
    const auto found = attributes.find(kChecksumAttribute);
    const std::uint32_t sum = crc32_of(array.bytes());
    if (found == attributes.end() || !std::holds_alternative<std::int64_t>(found->second))
      core::fail_input("{}:{}: damaged: its checksum is missing", path, key);
    if (const auto expected = static_cast<std::uint32_t>(std::get<std::int64_t>(found->second)); sum != expected)
      core::fail_input("{}:{}: damaged: checksum {:08x}, expected {:08x}", path, key, sum, expected);
  }
  core::fail_input("{}: damaged outside its datasets: the file's checksum is not the one it was sealed with", path);
}

}  // namespace

void save_sealed_hdf5(const std::string& path, const tensor::NamedTensors& tensors, ObjectAttributes attributes) {
  AtomicFile target(path);
  for (const auto& [key, tensor] : tensors)
    attributes[key][kChecksumAttribute] = std::int64_t{crc32_of(tensor.contiguous().bytes())};
  const std::vector<std::byte> image = hdf5_image(path, tensors, attributes);
  const auto body = std::span(image);
  target.write(seal_of(body.size(), crc32_of(body)));
  target.write(body);
  target.commit();
}

SealedFile load_sealed_hdf5(const std::string& path) {
  const auto file = FileBytes::open(path);
  const std::string_view text = file->text();
  const std::optional<Seal> seal = parse_seal(text.substr(0, std::min(text.size(), kSealBytes)));
  if (!seal) core::fail_input("{}: damaged, or not one of Lastbit's checkpoints: it does not begin with a seal", path);
  const auto body = file->bytes().subspan(kSealBytes);
  if (body.size() != seal->bytes)
    core::fail_input("{}: damaged: {} bytes after the seal, expected {}", path, body.size(), seal->bytes);
  if (crc32_of(body) != seal->crc32) fail_damaged(path);
  return {load_hdf5(path), load_hdf5_attributes(path, "")};
}

}  // namespace lastbit::io
