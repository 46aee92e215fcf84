// A tensor: a dtype, a shape, strides, and bytes that are owned, shared or borrowed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "tensor/dtype.h"

namespace lastbit::tensor {

using Shape = std::vector<std::int64_t>;

// Product of the sizes. Errors: a negative size or a product that does not fit 63 bits is bad input; `what` names
// the array in the message.
[[nodiscard]] std::int64_t element_count(const Shape& shape, const std::string& what = "array");
[[nodiscard]] std::string to_string(const Shape& shape);  // "[2, 3]"

// Copying a Tensor shares its bytes; clone() copies them.
class Tensor {
 public:
  Tensor() = default;

  [[nodiscard]] static Tensor empty(DType dtype, Shape shape);  // bytes undefined
  [[nodiscard]] static Tensor zeros(DType dtype, Shape shape);
  // Bytes of somebody else, row-major; `keep_alive` (may be null) is held as long as the tensor lives.
  [[nodiscard]] static Tensor borrow(DType dtype, Shape shape, const std::byte* bytes,
                                     std::shared_ptr<const void> keep_alive);
  template <typename T>
  [[nodiscard]] static Tensor from(Shape shape, std::span<const T> values);

  [[nodiscard]] DType dtype() const { return dtype_; }
  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] const Shape& strides() const { return strides_; }  // in elements
  [[nodiscard]] std::int64_t rank() const { return static_cast<std::int64_t>(shape_.size()); }
  [[nodiscard]] std::int64_t dim(std::int64_t axis) const;  // negative axes count from the end
  [[nodiscard]] std::int64_t size() const { return size_; }
  [[nodiscard]] std::size_t nbytes() const { return static_cast<std::size_t>(size_) * size_of(dtype_); }
  [[nodiscard]] bool is_contiguous() const;                                             // row-major without gaps
  [[nodiscard]] bool is_borrowed() const { return size_ > 0 && writable_ == nullptr; }  // bytes of somebody else

  // All elements in row-major order; the tensor is contiguous and holds(dtype(), kDTypeOf<T>), else an internal error.
  template <typename T>
  [[nodiscard]] std::span<const T> values() const;
  template <typename T>
  [[nodiscard]] std::span<T> mutable_values();  // an internal error for borrowed bytes
  [[nodiscard]] std::span<const std::byte> bytes() const;
  [[nodiscard]] std::span<std::byte> mutable_bytes();

  // Views: the same bytes under another shape.
  [[nodiscard]] Tensor reshape(Shape shape) const;  // contiguous only, the same number of elements
  [[nodiscard]] Tensor slice(std::int64_t axis, std::int64_t begin, std::int64_t end) const;
  [[nodiscard]] Tensor transpose(std::int64_t axis_a, std::int64_t axis_b) const;
  [[nodiscard]] Tensor view_as(DType dtype) const;  // other dtype of the same width

  [[nodiscard]] Tensor contiguous() const;  // itself when contiguous, else a row-major copy
  [[nodiscard]] Tensor clone() const;       // always an owned row-major copy

 private:
  Tensor(DType dtype, Shape shape);
  [[nodiscard]] const std::byte* data() const { return data_; }
  void require_contiguous_access(DType access) const;

  DType dtype_ = DType::kF32;
  Shape shape_{0};
  Shape strides_{1};
  std::int64_t size_ = 0;
  const std::byte* data_ = nullptr;
  std::byte* writable_ = nullptr;  // null when borrowed
  std::shared_ptr<const void> owner_;
};

// Arrays by name, in name order: what an npz, safetensors or HDF5 file holds.
using NamedTensors = std::map<std::string, Tensor>;

template <typename T>
Tensor Tensor::from(Shape shape, std::span<const T> values) {
  Tensor tensor = empty(kDTypeOf<T>, std::move(shape));
  std::span<T> target = tensor.mutable_values<T>();
  core::check(target.size() == values.size(), "as many values as the shape has elements");
  std::copy(values.begin(), values.end(), target.begin());
  return tensor;
}

template <typename T>
std::span<const T> Tensor::values() const {
  require_contiguous_access(kDTypeOf<T>);
  return {reinterpret_cast<const T*>(data_), static_cast<std::size_t>(size_)};
}

template <typename T>
std::span<T> Tensor::mutable_values() {
  require_contiguous_access(kDTypeOf<T>);
  return {reinterpret_cast<T*>(mutable_bytes().data()), static_cast<std::size_t>(size_)};
}

}  // namespace lastbit::tensor
