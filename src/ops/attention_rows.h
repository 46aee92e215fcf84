// Pieces that the attention core's forward and backward share: rows gathered from a document, the part of a block of
// keys that each row meets, and the arithmetic of one row.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "numerics/elementary.h"
#include "numerics/elementary_array.h"
#include "numerics/matmul.h"
#include "ops/attention_layout.h"

namespace lastbit::ops {

// Rows or keys on the edge of the mask that enter one product together. What is masked of them is computed in vain;
// fewer would not pay for a product. A multiple of the rows that the product keeps in registers (6 or 12).
inline constexpr std::int64_t kAttentionStrip = 24;

template <typename T>
std::unique_ptr<T[]> attention_scratch(std::int64_t count) {
  return std::make_unique_for_overwrite<T[]>(static_cast<std::size_t>(count));
}

// Consecutive rows of a document.
struct AttentionRows {
  const AttentionLayout* layout;
  const AttentionDocument* document;
  std::int64_t kv_head;
  std::int64_t first;
  std::int64_t count;

  [[nodiscard]] std::int64_t index(std::int64_t row) const {
    return layout->row_index(*document, kv_head, first + row);
  }
  [[nodiscard]] std::int64_t end_key(std::int64_t row) const { return layout->row_end(*document, first + row); }
  // The first row that meets a key beyond `key`; ends do not decrease.
  [[nodiscard]] std::int64_t first_beyond(std::int64_t key) const {
    std::int64_t low = 0;
    for (std::int64_t high = count; low < high;) {
      const std::int64_t middle = low + (high - low) / 2;
      if (end_key(middle) > key)
        high = middle;
      else
        low = middle + 1;
    }
    return low;
  }

  // source [B, Sq, heads, width] to target [count, width], and back.
  template <typename T>
  void gather(const T* source, std::int64_t width, T* target) const {
    for (std::int64_t row = 0; row < count; ++row)
      std::copy_n(source + index(row) * width, width, target + row * width);
  }
  template <typename T>
  void scatter(const T* source, std::int64_t width, T* target) const {
    for (std::int64_t row = 0; row < count; ++row)
      std::copy_n(source + row * width, width, target + index(row) * width);
  }
};

// Rows of a tile that meet the keys [block, block + keys), the last of them all `keys`.
struct AttentionStrip {
  std::int64_t first;
  std::int64_t rows;
  std::int64_t keys;
};

// Calls body(strip) for the rows that meet a key of [block, block + keys): all that meet every key in one strip, those
// before in strips of `partial`.
template <typename Body>
void for_each_strip(const AttentionRows& rows, std::int64_t block, std::int64_t keys, std::int64_t partial, Body body) {
  const std::int64_t whole = rows.first_beyond(block + keys - 1);
  for (std::int64_t row = rows.first_beyond(block); row < whole; row += partial) {
    const std::int64_t count = std::min(partial, whole - row);
    body(AttentionStrip{row, count, rows.end_key(row + count - 1) - block});
  }
  if (whole < rows.count) body(AttentionStrip{whole, rows.count - whole, keys});
}

// Elements that a loop takes at a time: a constant, so that it vectorises as it stands.
inline constexpr std::int64_t kAttentionLanes = 8;

// body(i) for 0 <= i < count, in any order.
template <typename Body>
void for_each_element(std::int64_t count, Body body) {
  const std::int64_t whole = count - count % kAttentionLanes;
  for (std::int64_t base = 0; base < whole; base += kAttentionLanes)
    for (std::int64_t i = 0; i < kAttentionLanes; ++i) body(base + i);
  for (std::int64_t i = whole; i < count; ++i) body(i);
}

// Whether all of x [rows, width] is finite: 0 x is 0 then, and NaN otherwise.
template <typename T>
bool all_finite(const T* x, std::int64_t rows, std::int64_t width, std::int64_t stride) {
  T lane[kAttentionLanes] = {};
  const std::int64_t whole = width - width % kAttentionLanes;
  for (std::int64_t row = 0; row < rows; ++row, x += stride) {
    for (std::int64_t base = 0; base < whole; base += kAttentionLanes)
      for (std::int64_t i = 0; i < kAttentionLanes; ++i) lane[i] += x[base + i] * T{0};
    for (std::int64_t i = whole; i < width; ++i) lane[0] += x[i] * T{0};
  }
  return std::all_of(lane, lane + kAttentionLanes, [](T value) { return value == T{0}; });
}

// Multiplies scores by `scale` and returns the largest of them and of `least`.
template <typename T>
T scale_scores(T* x, std::int64_t count, T scale, T least) {
  T lane[kAttentionLanes];
  std::fill_n(lane, kAttentionLanes, least);
  const std::int64_t whole = count - count % kAttentionLanes;
  for (std::int64_t base = 0; base < whole; base += kAttentionLanes) {
    for (std::int64_t i = 0; i < kAttentionLanes; ++i) x[base + i] *= scale;
    for (std::int64_t i = 0; i < kAttentionLanes; ++i) lane[i] = lane[i] < x[base + i] ? x[base + i] : lane[i];
  }
  for (std::int64_t i = whole; i < count; ++i) lane[0] = std::max(lane[0], x[i] *= scale);
  return *std::max_element(lane, lane + kAttentionLanes);
}

// x[i] = exp(x[i] - offset).
template <typename T>
void exp_below(T* x, std::int64_t count, T offset) {
  for_each_element(count, [x, offset](std::int64_t i) { x[i] -= offset; });
  const std::span<T> all(x, static_cast<std::size_t>(count));
  numerics::exp(all, all);
}

// FP32 numbers rounded to BF16, nearest even, in place; NaNs stay.
inline void round_to_bf16(float* x, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(x[i]);
    const std::uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u;
    if (x[i] == x[i]) x[i] = std::bit_cast<float>(rounded);
  }
}
inline void round_to_bf16(double* /*x*/, std::int64_t /*count*/) {
  core::check(false, "attention_core: round_weights wants FP32");
}

}  // namespace lastbit::ops
