#include "tensor/cast.h"

#include <algorithm>
#include <bit>
#include <span>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"

namespace lastbit::tensor {
namespace {

constexpr std::int64_t kGrain = 1 << 16;  // elements a task: large against the cost of starting one

// The FP32 values of all 256 or 65,536 codes, built once a format.
std::vector<float> make_decode_table(numerics::Format format) {
  const std::size_t codes = std::size_t{1} << (8 * numerics::describe(format).storage_bytes);
  std::vector<float> table(codes);
  for (std::size_t code = 0; code < codes; ++code)
    table[code] = numerics::decode(static_cast<std::uint32_t>(code), format);
  return table;
}

const std::vector<float>& decode_table(numerics::Format format) {
  using numerics::Format;
  static const std::vector<float> e4m3 = make_decode_table(Format::kE4M3);
  static const std::vector<float> e5m2 = make_decode_table(Format::kE5M2);
  static const std::vector<float> e4m3fnuz = make_decode_table(Format::kE4M3Fnuz);
  static const std::vector<float> e5m2fnuz = make_decode_table(Format::kE5M2Fnuz);
  static const std::vector<float> e8m0 = make_decode_table(Format::kE8M0);
  static const std::vector<float> f16 = make_decode_table(Format::kF16);
  switch (format) {
    case Format::kE4M3:
      return e4m3;
    case Format::kE5M2:
      return e5m2;
    case Format::kE4M3Fnuz:
      return e4m3fnuz;
    case Format::kE5M2Fnuz:
      return e5m2fnuz;
    case Format::kE8M0:
      return e8m0;
    default:
      core::check(format == Format::kF16, "a format with a table");
      return f16;
  }
}

template <typename Code, typename Convert>
void convert_all(std::span<const Code> source, std::span<float> target, const Convert& convert) {
  core::parallel_for(static_cast<std::int64_t>(source.size()), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
      target[i] = convert(source[i]);
  });
}

template <typename Code>
void encode_all(std::span<const float> source, std::span<Code> target, numerics::Format format,
                const numerics::EncodeOptions& options) {
  core::parallel_for(static_cast<std::int64_t>(source.size()), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
      target[i] = static_cast<Code>(numerics::encode(source[i], format, options));
  });
}

Tensor to_f64(const Tensor& tensor) {
  const Tensor source = to_f32(tensor);
  Tensor result = Tensor::empty(DType::kF64, tensor.shape());
  std::copy(source.values<float>().begin(), source.values<float>().end(), result.mutable_values<double>().begin());
  return result;
}

}  // namespace

std::optional<numerics::Format> format_of(DType dtype) {
  using numerics::Format;
  switch (dtype) {
    case DType::kF16:
      return Format::kF16;
    case DType::kBF16:
      return Format::kBF16;
    case DType::kF32:
      return Format::kF32;
    case DType::kE4M3:
      return Format::kE4M3;
    case DType::kE5M2:
      return Format::kE5M2;
    case DType::kE4M3Fnuz:
      return Format::kE4M3Fnuz;
    case DType::kE5M2Fnuz:
      return Format::kE5M2Fnuz;
    case DType::kE8M0:
      return Format::kE8M0;
    default:
      return std::nullopt;
  }
}

Tensor to_f32(const Tensor& tensor) {
  if (tensor.dtype() == DType::kF32) return tensor.contiguous();
  const Tensor source = tensor.contiguous();
  Tensor result = Tensor::empty(DType::kF32, tensor.shape());
  const std::span<float> target = result.mutable_values<float>();
  if (source.dtype() == DType::kF64) {
    convert_all(source.values<double>(), target, [](double value) { return static_cast<float>(value); });
    return result;
  }
  const std::optional<numerics::Format> format = format_of(source.dtype());
  core::check(format.has_value(), "to_f32() wants a float tensor");
  if (source.dtype() == DType::kBF16) {
    convert_all(source.values<std::uint16_t>(), target,
                [](std::uint16_t code) { return std::bit_cast<float>(static_cast<std::uint32_t>(code) << 16); });
    return result;
  }
  const std::vector<float>& table = decode_table(*format);
  const auto look_up = [&table](auto code) { return table[code]; };
  if (size_of(source.dtype()) == 1)
    convert_all(source.values<std::uint8_t>(), target, look_up);
  else
    convert_all(source.values<std::uint16_t>(), target, look_up);
  return result;
}

Tensor cast(const Tensor& tensor, DType dtype) {
  const std::optional<numerics::Format> format = format_of(dtype);
  return cast(tensor, dtype, format ? numerics::default_encode_options(*format) : numerics::EncodeOptions{});
}

Tensor cast(const Tensor& tensor, DType dtype, const numerics::EncodeOptions& options) {
  if (dtype == tensor.dtype()) return tensor.contiguous();
  if (dtype == DType::kF32) return to_f32(tensor);
  if (dtype == DType::kF64) return to_f64(tensor);
  const std::optional<numerics::Format> format = format_of(dtype);
  core::check(format.has_value(), "cast() wants a float dtype");
  const Tensor source = to_f32(tensor);
  Tensor result = Tensor::empty(dtype, tensor.shape());
  if (size_of(dtype) == 1)
    encode_all(source.values<float>(), result.mutable_values<std::uint8_t>(), *format, options);
  else
    encode_all(source.values<float>(), result.mutable_values<std::uint16_t>(), *format, options);
  return result;
}

}  // namespace lastbit::tensor
