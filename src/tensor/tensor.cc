#include "tensor/tensor.h"

#include <fmt/ranges.h>

#include <cstring>
#include <new>
#include <numeric>

namespace lastbit::tensor {
namespace {

constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector register

Shape row_major_strides(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * std::max<std::int64_t>(shape[i], 1);
  return strides;
}

std::shared_ptr<std::byte> allocate(std::size_t bytes) {
  auto* raw = static_cast<std::byte*>(::operator new (std::max<std::size_t>(bytes, 1), std::align_val_t{kAlignment}));
  return {raw, [](std::byte* p) { ::operator delete (p, std::align_val_t{kAlignment}); }};
}

}  // namespace

std::int64_t element_count(const Shape& shape, const std::string& what) {
  std::int64_t count = 1;
  std::int64_t extent = 1;  // as if no size were 0: strides are products of these
  for (const std::int64_t size : shape) {
    if (size < 0) core::fail_input("{}: shape {} has a negative size", what, to_string(shape));
    if (__builtin_mul_overflow(extent, std::max<std::int64_t>(size, 1), &extent) || extent > (std::int64_t{1} << 60))
      core::fail_input("{}: shape {} is too large", what, to_string(shape));
    count *= size;
  }
  return count;
}

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

Tensor::Tensor(DType dtype, Shape shape)
    : dtype_(dtype), shape_(std::move(shape)), strides_(row_major_strides(shape_)), size_(element_count(shape_)) {}

Tensor Tensor::empty(DType dtype, Shape shape) {
  Tensor tensor(dtype, std::move(shape));
  const std::shared_ptr<std::byte> storage = allocate(tensor.nbytes());
  tensor.data_ = tensor.writable_ = storage.get();
  tensor.owner_ = storage;
  return tensor;
}

Tensor Tensor::zeros(DType dtype, Shape shape) {
  Tensor tensor = empty(dtype, std::move(shape));
  std::memset(tensor.writable_, 0, tensor.nbytes());
  return tensor;
}

Tensor Tensor::borrow(DType dtype, Shape shape, const std::byte* bytes, std::shared_ptr<const void> keep_alive) {
  Tensor tensor(dtype, std::move(shape));
  tensor.data_ = bytes;
  tensor.owner_ = std::move(keep_alive);
  return tensor;
}

std::int64_t Tensor::dim(std::int64_t axis) const {
  const std::int64_t index = axis < 0 ? axis + rank() : axis;
  core::check(index >= 0 && index < rank(), "axis in range");
  return shape_[static_cast<std::size_t>(index)];
}

bool Tensor::is_contiguous() const {
  if (size_ <= 1) return true;
  std::int64_t expected = 1;
  for (std::size_t i = shape_.size(); i-- > 0;) {
    if (shape_[i] != 1 && strides_[i] != expected) return false;
    expected *= shape_[i];
  }
  return true;
}

void Tensor::require_contiguous_access(DType access) const {
  core::check(is_contiguous(), "values() wants a contiguous tensor");
  core::check(holds(dtype_, access), "values() wants the tensor's own element type");
}

std::span<const std::byte> Tensor::bytes() const {
  core::check(is_contiguous(), "bytes() wants a contiguous tensor");
  return {data_, nbytes()};
}

std::span<std::byte> Tensor::mutable_bytes() {
  core::check(is_contiguous(), "mutable_bytes() wants a contiguous tensor");
  core::check(writable_ != nullptr || size_ == 0, "borrowed bytes are read-only");
  return {writable_, nbytes()};
}

Tensor Tensor::reshape(Shape shape) const {
  core::check(is_contiguous(), "reshape() wants a contiguous tensor");
  core::check(element_count(shape) == size_, "reshape() keeps the number of elements");
  Tensor view = *this;
  view.strides_ = row_major_strides(shape);
  view.shape_ = std::move(shape);
  return view;
}

Tensor Tensor::slice(std::int64_t axis, std::int64_t begin, std::int64_t end) const {
  core::check(begin >= 0 && begin <= end && end <= dim(axis), "slice() within the axis");
  const auto index = static_cast<std::size_t>(axis < 0 ? axis + rank() : axis);
  Tensor view = *this;
  view.shape_[index] = end - begin;
  view.size_ = element_count(view.shape_);
  const std::ptrdiff_t offset = begin * strides_[index] * static_cast<std::ptrdiff_t>(size_of(dtype_));
  view.data_ += offset;
  if (view.writable_ != nullptr) view.writable_ += offset;
  return view;
}

Tensor Tensor::transpose(std::int64_t axis_a, std::int64_t axis_b) const {
  core::check(axis_a >= 0 && axis_a < rank() && axis_b >= 0 && axis_b < rank(), "axes in range");
  Tensor view = *this;
  std::swap(view.shape_[static_cast<std::size_t>(axis_a)], view.shape_[static_cast<std::size_t>(axis_b)]);
  std::swap(view.strides_[static_cast<std::size_t>(axis_a)], view.strides_[static_cast<std::size_t>(axis_b)]);
  return view;
}

Tensor Tensor::view_as(DType dtype) const {
  core::check(size_of(dtype) == size_of(dtype_), "view_as() keeps the element's width");
  Tensor view = *this;
  view.dtype_ = dtype;
  return view;
}

Tensor Tensor::contiguous() const { return is_contiguous() ? *this : clone(); }

Tensor Tensor::clone() const {
  Tensor copy = empty(dtype_, shape_);
  const std::size_t width = size_of(dtype_);
  if (is_contiguous()) {
    if (size_ > 0) std::memcpy(copy.writable_, data_, nbytes());
    return copy;
  }
  // Runs of elements without gaps: those of the axes from `inner` on.
  std::size_t inner = shape_.size();
  std::int64_t run = 1;
  while (inner > 0 && (shape_[inner - 1] == 1 || strides_[inner - 1] == run)) run *= shape_[--inner];
  const std::size_t run_bytes = static_cast<std::size_t>(run) * width;
  Shape index(inner, 0);
  for (std::int64_t i = 0; i < size_; i += run) {
    const std::int64_t offset = std::inner_product(index.begin(), index.end(), strides_.begin(), std::int64_t{0});
    std::memcpy(copy.writable_ + static_cast<std::size_t>(i) * width, data_ + offset * static_cast<std::int64_t>(width),
                run_bytes);
    for (std::size_t axis = inner; axis-- > 0;) {
      if (++index[axis] < shape_[axis]) break;
      index[axis] = 0;
    }
  }
  return copy;
}

}  // namespace lastbit::tensor
