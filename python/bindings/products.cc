// gemm, mma, quantize, dequantize and casts over tensors.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <optional>
#include <string>
#include <tuple>

#include "core/error.h"
#include "io/unit_file.h"
#include "numerics/parse.h"
#include "python/bindings/bind.h"
#include "tensor/cast.h"
#include "tensor/code_gemm.h"
#include "tensor/code_quantize.h"
#include "tensor/codes.h"

namespace lastbit::python {
namespace {

namespace nb = nanobind;
using tensor::DType;
using tensor::Tensor;
using MaybeTensor = std::optional<Tensor>;

// The operand type that an array's own dtype says: that of 8- and 16-bit floats, none ("") of integers, which may hold
// codes of anything.
std::string type_of(const Tensor& array, const std::string& given) {
  const bool says = tensor::format_of(array.dtype()) && array.dtype() != DType::kF32;
  return given.empty() && says ? std::string(tensor::name(array.dtype())) : given;
}

Tensor gemm(const Tensor& a, const Tensor& b, const MaybeTensor& scale_a, const MaybeTensor& scale_b,
            const MaybeTensor& c, const MaybeTensor& group_of_row, const MaybeTensor& rows_of_group,
            const std::string& numerics, const std::string& unit, const std::string& promotion,
            std::int64_t promote_every, const std::string& role, const std::string& tile_a, const std::string& tile_b,
            const std::string& a_type, const std::string& b_type, const std::string& d_type) {
  return without_gil([&] {
    const numerics::MmaRule rule = io::find_gemm_rule(numerics, unit, type_of(a, a_type), type_of(b, b_type));
    tensor::GemmRequest request{{"a", a},
                                {"b", b},
                                {"scale_a", scale_a},
                                {"scale_b", scale_b},
                                {"c", c},
                                {"group_of_row", group_of_row},
                                {"rows_of_group", rows_of_group}};
    request.role = role;
    request.tile_a = tile_a;
    request.tile_b = tile_b;
    request.promotion = promotion;
    request.promote_every = promote_every;
    request.d_type = d_type;
    return tensor::multiply_codes(rule, request);
  });
}

// Codes of D under the dtype that they are codes of, where there is one.
Tensor under_own_dtype(const Tensor& codes, const std::string& format) {
  for (const DType dtype : {DType::kE4M3, DType::kE5M2, DType::kE4M3Fnuz, DType::kE5M2Fnuz, DType::kE8M0, DType::kBF16,
                            DType::kF16, DType::kF32})
    if (format == tensor::name(dtype)) return codes.view_as(dtype);
  return codes;
}

Tensor mma(const Tensor& a, const Tensor& b, const MaybeTensor& c, const std::string& unit, const std::string& a_type,
           const std::string& b_type, const std::string& d_type) {
  return without_gil([&] {
    const std::string type_a = type_of(a, a_type);
    const std::string type_b = type_of(b, b_type);
    if (type_a.empty() || type_b.empty())
      core::fail_input("mma: {} holds integers, expected {}_type to say what they are codes of",
                       type_a.empty() ? "a" : "b", type_a.empty() ? "a" : "b");
    const numerics::MmaRule rule = io::find_rule(unit, type_a, type_b, d_type);
    return under_own_dtype(tensor::multiply_records(rule, {"a", a}, {"b", b}, {"c", c}), d_type);
  });
}

std::tuple<Tensor, Tensor, MaybeTensor> quantize(const Tensor& x, const std::string& format, const std::string& tile,
                                                 const std::string& scale, const std::string& method,
                                                 const std::string& zero_block, float epsilon, bool transpose) {
  return without_gil([&] {
    const tensor::QuantizeRequest request{format, tile, scale, method, zero_block, epsilon, transpose};
    const tensor::QuantizedTensor quantized = tensor::quantize(x, request, "x");
    const Tensor scales =
        quantized.tensor_scale ? quantized.scales.view_as(DType::kE4M3) : quantized.scales;  // NVFP4's are codes
    return std::tuple(under_own_dtype(quantized.codes, format), scales, quantized.tensor_scale);
  });
}

Tensor dequantize(const Tensor& codes, const Tensor& scales, const MaybeTensor& tensor_scale, const std::string& format,
                  const std::string& tile) {
  return without_gil([&] {
    const std::string type = type_of(codes, format);
    return tensor::dequantize({codes, scales, tensor_scale}, type.empty() ? "e4m3" : type, tile,
                              {"codes", "scales", "tensor_scale"});
  });
}

Tensor encode(const Tensor& x, const std::string& format, const std::string& convention, const std::string& overflow,
              const std::string& rounding, std::uint64_t seed) {
  return without_gil([&] {
    const numerics::Format to = numerics::require_format(format);
    const numerics::EncodeOptions options = numerics::require_encode_options(to, convention, overflow, rounding);
    return under_own_dtype(tensor::encode_codes(x, to, options, seed, "x"), format);
  });
}

Tensor decode(const Tensor& codes, const std::string& format) {
  return without_gil([&] {
    const std::string type = type_of(codes, format);
    if (type.empty()) core::fail_input("decode: codes are integers, expected a format that says of what");
    return tensor::decode_codes(codes, numerics::require_format(type), "codes");
  });
}

}  // namespace

void bind_products(nb::module_& module) {
  module.def("gemm", &gemm, nb::arg("a"), nb::arg("b"), nb::arg("scale_a").none(), nb::arg("scale_b").none(),
             nb::arg("c").none(), nb::arg("group_of_row").none(), nb::arg("rows_of_group").none(), nb::arg("numerics"),
             nb::arg("unit"), nb::arg("promotion"), nb::arg("promote_every"), nb::arg("role"), nb::arg("tile_a"),
             nb::arg("tile_b"), nb::arg("a_type"), nb::arg("b_type"), nb::arg("d_type"));
  module.def("mma", &mma, nb::arg("a"), nb::arg("b"), nb::arg("c").none(), nb::arg("unit"), nb::arg("a_type"),
             nb::arg("b_type"), nb::arg("d_type"));
  module.def("quantize", &quantize, nb::arg("x"), nb::arg("format"), nb::arg("tile"), nb::arg("scale"),
             nb::arg("method"), nb::arg("zero_block"), nb::arg("epsilon"), nb::arg("transpose"));
  module.def("dequantize", &dequantize, nb::arg("codes"), nb::arg("scales"), nb::arg("tensor_scale").none(),
             nb::arg("format"), nb::arg("tile"));
  module.def("encode", &encode, nb::arg("x"), nb::arg("format"), nb::arg("convention"), nb::arg("overflow"),
             nb::arg("rounding"), nb::arg("seed"));
  module.def("decode", &decode, nb::arg("codes"), nb::arg("format"));
}

}  // namespace lastbit::python
