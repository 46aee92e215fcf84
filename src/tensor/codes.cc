#include "tensor/codes.h"

#include <functional>
#include <limits>

#include "core/error.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "tensor/cast.h"

namespace lastbit::tensor {
namespace {

bool holds_codes(DType dtype, numerics::Format format) {
  return dtype == code_dtype(format) || format_of(dtype) == format ||
         (format == numerics::Format::kTF32 && dtype == DType::kF32);
}

void require_codes(const Tensor& tensor, numerics::Format format, const std::string& what) {
  if (!holds_codes(tensor.dtype(), format))
    core::fail_input("{}: dtype {}, expected {} codes of {}; its shape is {}", what, name(tensor.dtype()),
                     name(code_dtype(format)), numerics::name(format), to_string(tensor.shape()));
}

// The same bytes as unsigned integers.
Tensor as_codes(const Tensor& tensor, numerics::Format format) { return tensor.view_as(code_dtype(format)); }

template <typename Code>
void widen(const Tensor& codes, std::vector<std::uint32_t>& target) {
  for (const Code code : codes.values<Code>()) target.push_back(code);
}

// Calls body(begin, end) over all elements, in tasks large against the cost of starting one.
void for_elements(std::int64_t count, const std::function<void(std::size_t, std::size_t)>& body) {
  constexpr std::int64_t kElementsPerTask = 1 << 14;
  core::parallel_for(count, kElementsPerTask, [&body](std::int64_t begin, std::int64_t end) {
    body(static_cast<std::size_t>(begin), static_cast<std::size_t>(end));
  });
}

template <typename Code>
void encode_elements(std::span<const float> values, std::span<Code> codes, numerics::Format format,
                     const numerics::EncodeOptions& options, std::uint64_t seed) {
  const core::RandomStream stream(seed, "cast");
  const bool stochastic = options.rounding == numerics::Rounding::kStochastic;
  for_elements(static_cast<std::int64_t>(values.size()), [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      codes[i] = static_cast<Code>(numerics::encode(values[i], format, options, stochastic ? stream.word(i) : 0));
  });
}

// Formats of 4 and 12 bits lie in wider integers, whose high bits must be 0.
template <typename Code>
void require_in_format(std::span<const Code> codes, numerics::Format format, const std::string& what) {
  const numerics::FormatDescriptor& descriptor = numerics::describe(format);
  const std::uint64_t end = std::uint64_t{descriptor.sign_code()} << (1 + descriptor.code_shift);
  if (end > std::numeric_limits<Code>::max()) return;
  for (std::size_t i = 0; i < codes.size(); ++i)
    if (codes[i] >= end)
      core::fail_input("{}: element {} is {:#x}, expected codes of {} below {:#x}", what, i, codes[i],
                       numerics::name(format), end);
}

template <typename Code>
void decode_elements(std::span<const Code> codes, std::span<float> values, numerics::Format format,
                     const std::string& what) {
  require_in_format(codes, format, what);
  for_elements(static_cast<std::int64_t>(codes.size()), [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) values[i] = numerics::decode(codes[i], format);
  });
}

template <typename Code>
void narrow(std::span<const std::uint32_t> codes, Tensor& target) {
  const std::span<Code> values = target.mutable_values<Code>();
  for (std::size_t i = 0; i < codes.size(); ++i) values[i] = static_cast<Code>(codes[i]);
}

}  // namespace

DType code_dtype(numerics::Format format) {
  const int bytes = numerics::describe(format).storage_bytes;
  return bytes == 1 ? DType::kU8 : (bytes == 2 ? DType::kU16 : DType::kU32);
}

numerics::CodeMatrix code_matrix(const Tensor& tensor, numerics::Format format, const std::string& what) {
  require_codes(tensor, format, what);
  if (tensor.rank() != 2) core::fail_input("{}: shape {}, expected two axes", what, to_string(tensor.shape()));
  if (code_dtype(format) == DType::kU8)
    require_in_format(as_codes(tensor, format).values<std::uint8_t>(), format, what);
  else if (code_dtype(format) == DType::kU16)
    require_in_format(as_codes(tensor, format).values<std::uint16_t>(), format, what);
  return {format, tensor.dim(0), tensor.dim(1), tensor.bytes()};
}

std::vector<std::uint32_t> code_vector(const Tensor& tensor, numerics::Format format, std::int64_t count,
                                       const std::string& what) {
  require_codes(tensor, format, what);
  if (tensor.rank() != 1 || tensor.dim(0) != count)
    core::fail_input("{}: shape {}, expected [{}]", what, to_string(tensor.shape()), count);
  const Tensor codes = as_codes(tensor, format);
  std::vector<std::uint32_t> result;
  result.reserve(static_cast<std::size_t>(count));
  if (codes.dtype() == DType::kU8)
    widen<std::uint8_t>(codes, result);
  else if (codes.dtype() == DType::kU16)
    widen<std::uint16_t>(codes, result);
  else
    widen<std::uint32_t>(codes, result);
  return result;
}

Tensor tensor_of_codes(std::span<const std::uint32_t> codes, numerics::Format format, Shape shape) {
  Tensor result = Tensor::empty(code_dtype(format), std::move(shape));
  core::check(codes.size() == static_cast<std::size_t>(result.size()), "as many codes as the shape has elements");
  if (result.dtype() == DType::kU8)
    narrow<std::uint8_t>(codes, result);
  else if (result.dtype() == DType::kU16)
    narrow<std::uint16_t>(codes, result);
  else
    narrow<std::uint32_t>(codes, result);
  return result;
}

Tensor encode_codes(const Tensor& tensor, numerics::Format format, const numerics::EncodeOptions& options,
                    std::uint64_t seed, const std::string& what) {
  if (tensor.dtype() != DType::kF32 && tensor.dtype() != DType::kU32)
    core::fail_input("{}: dtype {}, expected f32 values or their bits in u32; its shape is {}", what,
                     name(tensor.dtype()), to_string(tensor.shape()));
  const std::span<const float> values = tensor.view_as(DType::kF32).values<float>();
  Tensor result = Tensor::empty(code_dtype(format), tensor.shape());
  if (result.dtype() == DType::kU8)
    encode_elements(values, result.mutable_values<std::uint8_t>(), format, options, seed);
  else if (result.dtype() == DType::kU16)
    encode_elements(values, result.mutable_values<std::uint16_t>(), format, options, seed);
  else
    encode_elements(values, result.mutable_values<std::uint32_t>(), format, options, seed);
  return result;
}

Tensor decode_codes(const Tensor& tensor, numerics::Format format, const std::string& what) {
  require_codes(tensor, format, what);
  const Tensor codes = as_codes(tensor, format);
  Tensor result = Tensor::empty(DType::kF32, tensor.shape());
  const std::span<float> values = result.mutable_values<float>();
  if (codes.dtype() == DType::kU8)
    decode_elements(codes.values<std::uint8_t>(), values, format, what);
  else if (codes.dtype() == DType::kU16)
    decode_elements(codes.values<std::uint16_t>(), values, format, what);
  else
    decode_elements(codes.values<std::uint32_t>(), values, format, what);
  return result;
}

std::span<const float> scale_matrix(const Tensor& tensor, std::int64_t rows, std::int64_t cols,
                                    const std::string& what) {
  if (tensor.dtype() != DType::kF32 && tensor.dtype() != DType::kU32)
    core::fail_input("{}: dtype {}, expected f32 scales or their bits in u32; its shape is {}", what,
                     name(tensor.dtype()), to_string(tensor.shape()));
  if (tensor.shape() != Shape{rows, cols})
    core::fail_input("{}: shape {}, expected [{}, {}]", what, to_string(tensor.shape()), rows, cols);
  return tensor.view_as(DType::kF32).values<float>();
}

}  // namespace lastbit::tensor
