#include "text/bpe_model.h"

#include <algorithm>
#include <bit>
#include <queue>

namespace lastbit::text {
BpeModel::BpeModel(const std::array<TokenId, 256>& byte_tokens, const std::vector<Merge>& merges,
                   const std::vector<std::string>& token_bytes)
    : byte_tokens_(byte_tokens), byte_ranks_(std::size_t{256} * 256, kNoRank) {
  const auto bits = static_cast<unsigned>(std::bit_width(std::max<std::size_t>(merges.size(), 8) * 2));
  slots_.resize(std::size_t{1} << bits);
  mask_ = slots_.size() - 1;
  shift_ = 64 - bits;
  filter_.resize(slots_.size() * 4 / 64);
  filter_shift_ = shift_ - 2;
  results_.reserve(merges.size());
  for (std::uint32_t rank = 0; rank < merges.size(); ++rank) {
    const Merge& merge = merges[rank];
    results_.push_back(merge.result);
    insert(std::uint64_t{merge.left} << 32U | merge.right, rank);
  }
  for (std::size_t left = 0; left < 256; ++left)
    for (std::size_t right = 0; right < 256; ++right)
      byte_ranks_[left * 256 + right] = this->rank(byte_tokens_[left], byte_tokens_[right]);
  han_.emplace(*this, merges, byte_tokens_, token_bytes);
}

void BpeModel::insert(std::uint64_t key, std::uint32_t rank) {
  const std::uint64_t mixed = mix(key);
  const std::uint64_t bit = mixed >> filter_shift_;
  filter_[bit / 64] |= std::uint64_t{1} << (bit % 64);
  std::size_t slot = mixed >> shift_;
  while (slots_[slot].rank != kNoRank && slots_[slot].key != key) slot = (slot + 1) & mask_;
  slots_[slot] = {key, rank};
}

void BpeModel::encode_plainly(std::string_view piece, std::vector<TokenId>& ids) const {
  std::vector<TokenId> symbols;
  for (const char byte : piece) symbols.push_back(byte_tokens_[static_cast<unsigned char>(byte)]);
  while (true) {
    std::uint32_t best = kNoRank;
    std::size_t place = 0;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i)
      if (const std::uint32_t now = rank(symbols[i], symbols[i + 1]); now < best) {
        best = now;
        place = i;
      }
    if (best == kNoRank) break;
    symbols[place] = results_[best];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(place) + 1);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

void BpeModel::encode(std::string_view piece, std::vector<TokenId>& ids) const {
  Symbols symbols;
  if (piece.size() > kLongestShort || !han_->begin(piece, symbols.ids.data())) return encode_bytes(piece, ids);
  symbols.count = piece.size() / 3;
  for (std::size_t i = 0; i + 1 < symbols.count; ++i) symbols.ranks[i] = rank(symbols.ids[i], symbols.ids[i + 1]);
  merge(symbols, ids);
}

void BpeModel::encode_bytes(std::string_view piece, std::vector<TokenId>& ids) const {
  if (piece.empty()) return;
  if (piece.size() > kLongestShort) return encode_long(piece, ids);
  Symbols symbols;
  symbols.count = piece.size();
  const auto byte = [&](std::size_t i) { return std::size_t{static_cast<unsigned char>(piece[i])}; };
  // The pairs of bytes, which are most look-ups, have a table of their own.
  for (std::size_t i = 0; i < symbols.count; ++i) symbols.ids[i] = byte_tokens_[byte(i)];
  for (std::size_t i = 0; i + 1 < symbols.count; ++i) symbols.ranks[i] = byte_ranks_[byte(i) * 256 + byte(i + 1)];
  merge(symbols, ids);
}

// Ids and ranks lie side by side in arrays that shrink by one at every merge.
void BpeModel::merge(Symbols& symbols, std::vector<TokenId>& ids) const {
  TokenId* const tokens = symbols.ids.data();
  std::uint32_t* const ranks = symbols.ranks.data();
  std::size_t count = symbols.count;
  while (count > 1) {
    std::size_t place = 0;
    std::uint32_t best = ranks[0];
    for (std::size_t i = 1; i + 1 < count; ++i)
      if (ranks[i] < best) {
        best = ranks[i];
        place = i;
      }
    if (best == kNoRank) break;
    tokens[place] = results_[best];
    for (std::size_t i = place + 1; i + 1 < count; ++i) tokens[i] = tokens[i + 1];
    for (std::size_t i = place + 1; i + 2 < count; ++i) ranks[i] = ranks[i + 1];
    --count;
    if (place > 0) ranks[place - 1] = rank(tokens[place - 1], tokens[place]);
    if (place + 1 < count) ranks[place] = rank(tokens[place], tokens[place + 1]);
  }
  ids.insert(ids.end(), tokens, tokens + count);
}

// A queue of pairs by rank and place over a linked list; entries whose pair has changed since are passed over.
void BpeModel::encode_long(std::string_view piece, std::vector<TokenId>& ids) const {
  struct Symbol {
    TokenId id;
    std::uint32_t previous;
    std::uint32_t next;
  };
  struct Candidate {
    std::uint32_t rank;
    std::uint32_t place;
    TokenId left;
    TokenId right;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : place > other.place;
    }
  };
  const auto size = static_cast<std::uint32_t>(piece.size());
  std::vector<Symbol> symbols(size);
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto offer = [&](std::uint32_t place) {
    const Symbol& left = symbols[place];
    if (left.next >= size) return;
    const std::uint32_t now = rank(left.id, symbols[left.next].id);
    if (now != kNoRank) queue.push({now, place, left.id, symbols[left.next].id});
  };
  for (std::uint32_t i = 0; i < size; ++i)
    symbols[i] = {byte_tokens_[static_cast<unsigned char>(piece[i])], i == 0 ? size : i - 1, i + 1};
  for (std::uint32_t i = 0; i < size; ++i) offer(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[best.place];
    if (left.id != best.left || left.next >= size || symbols[left.next].id != best.right) continue;
    const std::uint32_t gone = left.next;
    left.id = results_[best.rank];
    left.next = symbols[gone].next;
    symbols[gone].id = kNoToken;
    if (left.next < size) symbols[left.next].previous = best.place;
    offer(best.place);
    if (left.previous < size) offer(left.previous);
  }
  for (std::uint32_t i = 0; i < size; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace lastbit::text
