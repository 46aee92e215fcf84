// Arrays of NumPy, PyTorch, JAX and others as tensors, and back, through DLPack: their memory is borrowed, not copied.
#include <fmt/format.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "python/bindings/bind.h"
#include "tensor/tensor.h"

namespace lastbit::python {
namespace {

namespace nb = nanobind;
using nb::dlpack::dtype_code;
using tensor::DType;
using tensor::Tensor;
using Array = nb::ndarray<nb::ro>;

struct DTypeCode {
  DType dtype;
  dtype_code code;
  std::uint8_t bits;
};
constexpr std::array kDTypes = {DTypeCode{DType::kBool, dtype_code::Bool, 8},
                                DTypeCode{DType::kI8, dtype_code::Int, 8},
                                DTypeCode{DType::kU8, dtype_code::UInt, 8},
                                DTypeCode{DType::kI16, dtype_code::Int, 16},
                                DTypeCode{DType::kU16, dtype_code::UInt, 16},
                                DTypeCode{DType::kI32, dtype_code::Int, 32},
                                DTypeCode{DType::kU32, dtype_code::UInt, 32},
                                DTypeCode{DType::kI64, dtype_code::Int, 64},
                                DTypeCode{DType::kU64, dtype_code::UInt, 64},
                                DTypeCode{DType::kF16, dtype_code::Float, 16},
                                DTypeCode{DType::kBF16, dtype_code::Bfloat, 16},
                                DTypeCode{DType::kF32, dtype_code::Float, 32},
                                DTypeCode{DType::kF64, dtype_code::Float, 64},
                                DTypeCode{DType::kE4M3, dtype_code::Float8_E4M3FN, 8},
                                DTypeCode{DType::kE5M2, dtype_code::Float8_E5M2, 8},
                                DTypeCode{DType::kE4M3Fnuz, dtype_code::Float8_E4M3FNUZ, 8},
                                DTypeCode{DType::kE5M2Fnuz, dtype_code::Float8_E5M2FNUZ, 8},
                                DTypeCode{DType::kE8M0, dtype_code::Float8_E8M0FNU, 8}};

nb::dlpack::dtype dlpack_dtype(DType dtype) {
  for (const DTypeCode& one : kDTypes)
    if (one.dtype == dtype) return {static_cast<std::uint8_t>(one.code), one.bits, 1};
  core::check(false, "a dtype of DLPack");
  return {};
}

tensor::Shape shape_of(const Array& array) {
  return array.ndim() == 0 ? tensor::Shape{} : tensor::Shape(array.shape_ptr(), array.shape_ptr() + array.ndim());
}

DType dtype_of(const Array& array, const std::string& name, const std::string& dtype_text) {
  const nb::dlpack::dtype given = array.dtype();
  for (const DTypeCode& one : kDTypes)
    if (given == nb::dlpack::dtype{static_cast<std::uint8_t>(one.code), one.bits, 1}) return one.dtype;
  throw nb::type_error(fmt::format("{}: array {} of dtype {}, which Lastbit does not have", name,
                                   tensor::to_string(shape_of(array)), dtype_text)
                           .c_str());
}

// `name` is that of an 8- or 16-bit dtype whose codes came as unsigned integers.
DType dtype_of_codes(const std::string& dtype, DType given, const std::string& name) {
  for (const DTypeCode& one : kDTypes)
    if (dtype == tensor::name(one.dtype) && tensor::size_of(one.dtype) == tensor::size_of(given)) return one.dtype;
  throw nb::type_error(fmt::format("{}: codes of {} in elements of {}", name, dtype, tensor::name(given)).c_str());
}

// Lastbit computes on the CPU: memory of another device is refused by its name.
void require_cpu(const nb::tuple& device, const tensor::Shape& shape, const std::string& name) {
  constexpr std::array<std::string_view, 18> kDevices = {"",        "cpu",
                                                         "cuda",    "cuda (pinned host memory)",
                                                         "opencl",  "",
                                                         "",        "vulkan",
                                                         "metal",   "vpi",
                                                         "rocm",    "rocm (pinned host memory)",
                                                         "",        "cuda (managed memory)",
                                                         "oneapi",  "webgpu",
                                                         "hexagon", "maia"};
  const auto type = nb::cast<std::int64_t>(nb::int_(device[0]));
  const auto index = nb::cast<std::int64_t>(nb::int_(device[1]));
  if (type == nb::device::cpu::value || type == nb::device::cuda_host::value || type == nb::device::rocm_host::value)
    return;
  const bool known = type >= 0 && type < std::ssize(kDevices) && !kDevices[static_cast<std::size_t>(type)].empty();
  throw nb::value_error(
      fmt::format("{}: array {} on device {}:{}, expected cpu: Lastbit computes on the CPU, copy the array there first",
                  name, tensor::to_string(shape),
                  known ? std::string(kDevices[static_cast<std::size_t>(type)]) : fmt::format("type {}", type), index)
          .c_str());
}

void require_row_major(const Array& array, const std::string& name) {
  const tensor::Shape shape = shape_of(array);
  if (array.size() == 0) return;
  std::int64_t expected = 1;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    if (shape[axis] != 1 && array.stride(axis) != expected)
      throw nb::value_error(
          fmt::format("{}: array {} with strides {} is not contiguous, expected row-major without gaps", name,
                      tensor::to_string(shape),
                      tensor::to_string({array.stride_ptr(), array.stride_ptr() + shape.size()}))
              .c_str());
    expected *= shape[axis];
  }
  const std::size_t width = array.itemsize();
  if (width > 1 && reinterpret_cast<std::uintptr_t>(array.data()) % width != 0)
    throw nb::value_error(fmt::format("{}: array {} does not lie at a multiple of its elements' {} bytes", name,
                                      tensor::to_string(shape), width)
                              .c_str());
}

// What `object` says when it is asked: the best reason for not having read it ("requires grad", another byte order).
std::string reason_of(nb::handle object, const char* method) {
  try {
    (void)object.attr(method)();
  } catch (const nb::python_error& error) {
    return nb::str(error.value()).c_str();
  }
  return "it gives no DLPack capsule";
}

// Borrows the memory of `object` (with __dlpack__). `dtype`: what its unsigned integers are codes of, or "".
Tensor borrow(nb::handle object, const std::string& name, const std::string& dtype) {
  const auto shape = nb::cast<tensor::Shape>(nb::tuple(object.attr("shape")));
  const std::string dtype_text = nb::str(nb::handle(object.attr("dtype"))).c_str();
  const auto refuse = [&](const char* method) {
    throw nb::type_error(fmt::format("{}: array {} of dtype {} cannot be read: {}", name, tensor::to_string(shape),
                                     dtype_text, reason_of(object, method))
                             .c_str());
  };
  nb::object device;
  try {
    device = object.attr("__dlpack_device__")();
  } catch (const nb::python_error&) {
    refuse("__dlpack_device__");
  }
  require_cpu(nb::cast<nb::tuple>(device), shape, name);
  auto array = std::make_unique<Array>();
  if (!nb::try_cast(object, *array)) refuse("__dlpack__");
  require_row_major(*array, name);
  const DType given = dtype_of(*array, name, dtype_text);
  const auto* const bytes = static_cast<const std::byte*>(array->data());
  const std::shared_ptr<const Array> owner(array.release(), [](const Array* held) {
    const nb::gil_scoped_acquire locked;  // the last user may be any thread
    delete held;
  });
  return Tensor::borrow(dtype.empty() ? given : dtype_of_codes(dtype, given, name), shape, bytes, owner);
}

// The tensor's memory as an array with __dlpack__ and the buffer protocol, under its own dtype, or, `as_codes`, under
// the unsigned integer of its width. `self` keeps the memory.
nb::ndarray<nb::array_api> memory_of(nb::handle self, bool as_codes) {
  Tensor& own = nb::cast<Tensor&>(self);
  if (!own.is_contiguous()) own = own.contiguous();
  // Somebody else's bytes (an input's, a file's) are not to be written through a result.
  if (own.is_borrowed()) own = own.clone();
  constexpr std::array kCodes = {DType::kU8, DType::kU8, DType::kU16, DType::kU16, DType::kU32};
  const std::size_t width = tensor::size_of(own.dtype());
  const DType dtype = !as_codes ? own.dtype() : width == 8 ? DType::kU64 : kCodes.at(width);
  const std::vector<std::size_t> shape(own.shape().begin(), own.shape().end());
  return nb::ndarray<nb::array_api>(own.mutable_bytes().data(), shape.size(), shape.data(), self, nullptr,
                                    dlpack_dtype(dtype), nb::device::cpu::value);
}

}  // namespace

void bind_arrays(nb::module_& module) {
  nb::class_<Tensor>(module, "Tensor")
      .def_prop_ro("dtype", [](const Tensor& self) { return std::string(tensor::name(self.dtype())); })
      .def_prop_ro("shape", [](const Tensor& self) { return nb::tuple(nb::cast(self.shape())); })
      .def(
          "memory", [](nb::handle self, bool as_codes) { return memory_of(self, as_codes); }, nb::arg("as_codes"));
  module.def("borrow", &borrow, nb::arg("array"), nb::arg("name"), nb::arg("dtype"));
}

}  // namespace lastbit::python
