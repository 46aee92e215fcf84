#include "tensor/code_quantize.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "numerics/parse.h"
#include "numerics/quantize.h"
#include "numerics/quantize_nvfp4.h"
#include "tensor/codes.h"

namespace lastbit::tensor {
namespace {

constexpr const char* kNvfp4 = "nvfp4";

Tensor byte_codes(Shape shape, std::span<const std::byte> codes) {
  Tensor result = Tensor::empty(DType::kU8, std::move(shape));
  std::ranges::copy(codes, result.mutable_bytes().begin());
  return result;
}

void require_matrix(const Tensor& matrix, const std::string& what) {
  if (matrix.rank() != 2) core::fail_input("{}: shape {}, expected a matrix", what, to_string(matrix.shape()));
}

QuantizedTensor quantize_to_nvfp4(const numerics::FloatMatrix& matrix, bool transpose, const std::string& what) {
  if (transpose) core::fail_input("{}: nvfp4 of the transposed matrix is not available, expected another format", what);
  const numerics::QuantizedNvfp4 quantized = numerics::quantize_nvfp4(matrix, what);
  const std::int64_t blocks = (matrix.cols + numerics::kNvfp4Block - 1) / numerics::kNvfp4Block;
  return {byte_codes({matrix.rows, matrix.cols}, quantized.codes),
          Tensor::from<std::uint8_t>({matrix.rows, blocks}, quantized.block_scales),
          Tensor::from<float>({1}, std::span(&quantized.tensor_scale, 1))};
}

Tensor dequantize_from_nvfp4(const QuantizedTensor& quantized, const Tensor& in, const QuantizedNames& names) {
  const numerics::CodeMatrix codes = code_matrix(in, numerics::Format::kE2M1, names.codes);
  const std::int64_t blocks = (codes.cols + numerics::kNvfp4Block - 1) / numerics::kNvfp4Block;
  const Tensor scales = quantized.scales.contiguous();
  const numerics::CodeMatrix block_scales = code_matrix(scales, numerics::Format::kE4M3, names.scales);
  if (block_scales.rows != codes.rows || block_scales.cols != blocks)
    core::fail_input("{}: shape {}, expected [{}, {}]", names.scales, to_string(scales.shape()), codes.rows, blocks);
  const Tensor whole = quantized.tensor_scale->contiguous();
  if (whole.dtype() != DType::kF32 || whole.size() != 1)
    core::fail_input("{}: {} {}, expected f32 [1]", names.tensor_scale, name(whole.dtype()), to_string(whole.shape()));
  numerics::require_usable_scales(whole.values<float>(), 1, names.tensor_scale);
  const Tensor scale_codes = scales.view_as(DType::kU8);
  const numerics::QuantizedNvfp4 parts{
      codes.rows,
      codes.cols,
      {codes.bytes.begin(), codes.bytes.end()},
      {scale_codes.values<std::uint8_t>().begin(), scale_codes.values<std::uint8_t>().end()},
      whole.values<float>()[0]};
  return Tensor::from<float>({codes.rows, codes.cols}, numerics::dequantize_nvfp4(parts));
}

}  // namespace

QuantizedTensor quantize(const Tensor& x, const QuantizeRequest& request, const std::string& what) {
  const Tensor in = x.contiguous();
  require_matrix(in, what);
  if (in.dtype() != DType::kF32)
    core::fail_input("{}: dtype {}, expected float32; its shape is {}", what, name(in.dtype()), to_string(in.shape()));
  const numerics::FloatMatrix matrix{in.values<float>(), in.dim(0), in.dim(1)};
  if (request.format == kNvfp4) return quantize_to_nvfp4(matrix, request.transpose, what);
  numerics::QuantizeRule rule;
  rule.format = numerics::require_format(request.format);
  rule.tile = request.transpose ? numerics::find_scale_tile(request.tile, matrix.cols, matrix.rows)
                                : numerics::find_scale_tile(request.tile, matrix.rows, matrix.cols);
  rule.scale = request.tile == "mx" ? numerics::ScaleKind::kUe8m0 : numerics::find_scale_kind(request.scale);
  rule.method = numerics::find_quantize_method(request.method);
  rule.zero_block = numerics::find_zero_block(request.zero_block);
  if (!(request.epsilon > 0)) core::fail_input("{}: epsilon {}, expected a positive number", what, request.epsilon);
  rule.amax_epsilon = request.epsilon;
  const numerics::Quantized quantized =
      request.transpose ? numerics::quantize_transposed(matrix, rule, what) : numerics::quantize(matrix, rule, what);
  const numerics::ScaleShape shape = numerics::scale_shape(quantized.matrix(), quantized.tile);
  return {byte_codes({quantized.rows, quantized.cols}, quantized.codes),
          Tensor::from<float>({shape.rows, shape.columns}, quantized.scales)};
}

Tensor dequantize(const QuantizedTensor& quantized, const std::string& format_name, const std::string& tile_name,
                  const QuantizedNames& names) {
  const Tensor in = quantized.codes.contiguous();
  require_matrix(in, names.codes);
  if ((format_name == kNvfp4) != quantized.tensor_scale.has_value())
    core::fail_input(
        "{}: {}, expected {}", names.codes,
        format_name == kNvfp4 ? "nvfp4 without a scale of the tensor" : "a scale of the tensor beside " + format_name,
        format_name == kNvfp4 ? "one" : "it with nvfp4 alone");
  if (format_name == kNvfp4) return dequantize_from_nvfp4(quantized, in, names);
  const numerics::Format format = numerics::require_format(format_name);
  const numerics::CodeMatrix codes = code_matrix(in, format, names.codes);
  if (numerics::describe(format).storage_bytes != 1)
    core::fail_input("{}: codes of {}, expected a format of one byte", names.codes, format_name);
  const numerics::ScaleTile tile = numerics::find_scale_tile(tile_name, codes.rows, codes.cols);
  const numerics::ScaleShape shape = numerics::scale_shape(codes, tile);
  const Tensor given = quantized.scales.contiguous();
  const std::span<const float> scales = scale_matrix(given, shape.rows, shape.columns, names.scales);
  numerics::require_usable_scales(scales, shape.columns, names.scales);
  const numerics::Quantized parts{
      format, codes.rows, codes.cols, tile, {codes.bytes.begin(), codes.bytes.end()}, {scales.begin(), scales.end()}};
  return Tensor::from<float>({codes.rows, codes.cols}, numerics::dequantize(parts));
}

}  // namespace lastbit::tensor
