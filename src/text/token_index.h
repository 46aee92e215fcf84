// Ids of tokens by what they are called.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "text/bpe_model.h"

namespace lastbit::text {

// A hash table with open addressing: most of the time of loading a tokenizer is half a million look-ups in it.
class TokenIndex {
 public:
  // For at most `tokens` entries.
  explicit TokenIndex(std::size_t tokens = 0) {
    std::size_t slots = 16;
    while (slots < tokens * 2) slots *= 2;
    slots_.resize(slots);
  }

  // False, and nothing changes, when the name is there. The name's characters must stay where they are.
  bool add(std::string_view name, TokenId id) {
    const std::uint32_t hash = hash_of(name);
    Slot& slot = slots_[place(name, hash)];
    if (slot.id != kNoToken) return false;
    slot = {name.data(), static_cast<std::uint32_t>(name.size()), hash, id};
    return true;
  }
  // kNoToken when there is none.
  [[nodiscard]] TokenId find(std::string_view name) const { return slots_[place(name, hash_of(name))].id; }

 private:
  struct Slot {
    const char* name = nullptr;
    std::uint32_t size = 0;
    std::uint32_t hash = 0;
    TokenId id = kNoToken;  // kNoToken: empty
  };
  static std::uint32_t hash_of(std::string_view name) {
    return static_cast<std::uint32_t>(std::hash<std::string_view>{}(name));
  }
  [[nodiscard]] std::size_t place(std::string_view name, std::uint32_t hash) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = hash & mask;
    while (slots_[at].id != kNoToken &&
           (slots_[at].hash != hash || std::string_view(slots_[at].name, slots_[at].size) != name))
      at = (at + 1) & mask;
    return at;
  }

  std::vector<Slot> slots_;
};

}  // namespace lastbit::text
