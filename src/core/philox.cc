#include "core/philox.h"

namespace lastbit::core {
namespace {

// FNV-1a: a fixed, short hash of the purpose's name.
std::uint32_t hash_name(std::string_view name) {
  std::uint32_t hash = 2166136261u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

}  // namespace

PhiloxBlock philox4x32(PhiloxBlock counter, std::array<std::uint32_t, 2> key) {
  constexpr std::uint64_t kMultiplier0 = 0xD2511F53u;
  constexpr std::uint64_t kMultiplier1 = 0xCD9E8D57u;
  constexpr std::uint32_t kWeyl0 = 0x9E3779B9u;  // golden ratio
  constexpr std::uint32_t kWeyl1 = 0xBB67AE85u;  // sqrt(3) - 1
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = kMultiplier0 * counter[0];
    const std::uint64_t product1 = kMultiplier1 * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

RandomStream::RandomStream(std::uint64_t seed, std::string_view purpose, std::uint32_t layer, std::uint32_t step)
    : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
      purpose_(hash_name(purpose)),
      layer_(layer),
      step_(step) {}

PhiloxBlock RandomStream::block(std::uint32_t index) const {
  return philox4x32({index, step_, layer_, purpose_}, key_);
}

std::uint32_t RandomStream::word(std::uint64_t index) const {
  return block(static_cast<std::uint32_t>(index >> 2))[index & 3];
}

float RandomStream::uniform(std::uint64_t index) const { return static_cast<float>(word(index) >> 8) * 0x1p-24f; }

}  // namespace lastbit::core
