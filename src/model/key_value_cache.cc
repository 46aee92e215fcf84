#include "model/key_value_cache.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace lastbit::model {
namespace {

using tensor::Tensor;

constexpr std::int64_t kLeastCapacity = 64;

// Copies rows [0, tokens) of axis 1 of `from` to rows [at, at + tokens) of `to`.
void copy_tokens(const Tensor& from, std::int64_t tokens, Tensor& to, std::int64_t at) {
  const std::int64_t batch = from.dim(0);
  const std::size_t token_bytes = from.nbytes() / static_cast<std::size_t>(batch * from.dim(1));
  if (token_bytes == 0) return;  // MLA without positions has no rotated key
  const auto source = from.bytes();
  const auto target = to.mutable_bytes();
  for (std::int64_t row = 0; row < batch; ++row)
    std::memcpy(target.data() + static_cast<std::size_t>(row * to.dim(1) + at) * token_bytes,
                source.data() + static_cast<std::size_t>(row * from.dim(1)) * token_bytes,
                static_cast<std::size_t>(tokens) * token_bytes);
}

void append_tokens(Tensor& stored, std::int64_t tokens, const Tensor& added) {
  const std::int64_t wanted = tokens + added.dim(1);
  if (tokens == 0 || wanted > stored.dim(1)) {
    tensor::Shape shape = added.shape();
    shape[1] = std::max({kLeastCapacity, wanted, 2 * tokens});
    Tensor larger = Tensor::empty(added.dtype(), shape);
    if (tokens > 0) copy_tokens(stored, tokens, larger, 0);
    stored = larger;
  }
  copy_tokens(added, added.dim(1), stored, tokens);
}

}  // namespace

KeyValueCache::Entry KeyValueCache::append(std::int64_t layer, const Entry& entry) {
  Layer& place = layers_.at(static_cast<std::size_t>(layer));
  core::check(entry.first.dim(0) == entry.second.dim(0) && entry.first.dim(1) == entry.second.dim(1) &&
                  entry.first.dim(0) > 0 && entry.first.dim(1) > 0,
              "a cache takes as many first entries as second ones");
  append_tokens(place.stored.first, place.tokens, entry.first);
  append_tokens(place.stored.second, place.tokens, entry.second);
  place.tokens += entry.first.dim(1);
  return {place.stored.first.slice(1, 0, place.tokens).contiguous(),
          place.stored.second.slice(1, 0, place.tokens).contiguous()};
}

std::int64_t KeyValueCache::tokens() const { return layers_.empty() ? 0 : layers_.front().tokens; }

}  // namespace lastbit::model
