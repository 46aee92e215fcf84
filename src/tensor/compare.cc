#include "tensor/compare.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/error.h"
#include "core/suggest.h"
#include "numerics/format.h"
#include "tensor/cast.h"

namespace lastbit::tensor {
namespace {

using numerics::Format;
using numerics::Specials;

constexpr std::array<DType, 18> kDTypes{DType::kBool,     DType::kI8,       DType::kU8,  DType::kI16,  DType::kU16,
                                        DType::kI32,      DType::kU32,      DType::kI64, DType::kU64,  DType::kF16,
                                        DType::kBF16,     DType::kF32,      DType::kF64, DType::kE4M3, DType::kE5M2,
                                        DType::kE4M3Fnuz, DType::kE5M2Fnuz, DType::kE8M0};

// What the bits of an element mean.
class ElementType {
 public:
  explicit ElementType(DType dtype)
      : name_(tensor::name(dtype)), width_(size_of(dtype)), dtype_(dtype), format_(format_of(dtype)) {}
  explicit ElementType(Format format)
      : name_(numerics::name(format)),
        width_(static_cast<std::size_t>(numerics::describe(format).storage_bytes)),
        dtype_(DType::kF32),
        format_(format) {}

  [[nodiscard]] static ElementType named(const std::string& name) {
    std::vector<std::string> names;
    for (const DType dtype : kDTypes) {
      if (name == tensor::name(dtype)) return ElementType(dtype);
      names.emplace_back(tensor::name(dtype));
    }
    if (const std::optional<Format> format = numerics::find_format(name)) return ElementType(*format);
    for (const std::string& format : numerics::format_names()) names.push_back(format);
    core::fail_input("unknown element type '{}'{}", name, core::suggestion(name, names));
  }

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::size_t width() const { return width_; }

  // The bits that codes of the type may have.
  [[nodiscard]] std::uint64_t code_mask() const {
    if (!format_) return ~std::uint64_t{0};
    const numerics::FormatDescriptor& format = numerics::describe(*format_);
    const std::uint64_t sign = format.specials == Specials::kScale ? 0 : format.sign_code();
    return (sign | (format.sign_code() - 1)) << format.code_shift;
  }

  [[nodiscard]] double value(std::uint64_t bits) const {
    if (format_) return static_cast<double>(numerics::decode(static_cast<std::uint32_t>(bits), *format_));
    if (dtype_ == DType::kF64) return std::bit_cast<double>(bits);
    return is_signed() ? static_cast<double>(integer(bits)) : static_cast<double>(bits);
  }

  // |a - b| for numbers: exact for integers.
  [[nodiscard]] double distance(std::uint64_t a, std::uint64_t b) const {
    return is_float() ? std::abs(value(a) - value(b)) : static_cast<double>(ulp_distance(a, b));
  }

  // Codes from a to b, both of them numbers.
  [[nodiscard]] std::uint64_t ulp_distance(std::uint64_t a, std::uint64_t b) const {
    if (is_signed()) return integer(a) > integer(b) ? a - b : b - a;  // sign-extended: exact modulo 2^64
    const std::uint64_t sign = sign_bit();
    const std::uint64_t magnitude_a = magnitude(a);
    const std::uint64_t magnitude_b = magnitude(b);
    if (((a ^ b) & sign) != 0) return magnitude_a + magnitude_b;
    return std::max(magnitude_a, magnitude_b) - std::min(magnitude_a, magnitude_b);
  }

  [[nodiscard]] std::string value_text(std::uint64_t bits) const {
    if (dtype_ == DType::kF64) return fmt::format("{}", value(bits));
    if (is_float()) return fmt::format("{}", static_cast<float>(value(bits)));  // exact: at most 32 bits
    return is_signed() ? fmt::format("{}", integer(bits)) : fmt::format("{}", bits);
  }

  // Element i of row-major `bytes`; signed integers are sign-extended to 64 bits.
  [[nodiscard]] std::uint64_t load(std::span<const std::byte> bytes, std::int64_t i) const {
    std::uint64_t bits = 0;
    static_assert(std::endian::native == std::endian::little);
    std::memcpy(&bits, bytes.data() + static_cast<std::size_t>(i) * width_, width_);
    if (!is_signed()) return bits;
    const auto unused = 64 - 8 * static_cast<int>(width_);
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(bits << unused) >> unused);
  }

  [[nodiscard]] std::string bits_text(std::uint64_t bits) const {
    if (width_ < sizeof(bits)) bits &= (std::uint64_t{1} << (8 * width_)) - 1;
    return fmt::format("0x{:0{}x}", bits, 2 * width_);
  }

 private:
  [[nodiscard]] bool is_float() const { return format_ || dtype_ == DType::kF64; }
  [[nodiscard]] bool is_signed() const {
    return !is_float() &&
           (dtype_ == DType::kI8 || dtype_ == DType::kI16 || dtype_ == DType::kI32 || dtype_ == DType::kI64);
  }
  [[nodiscard]] static std::int64_t integer(std::uint64_t bits) { return static_cast<std::int64_t>(bits); }

  [[nodiscard]] std::uint64_t sign_bit() const {
    if (dtype_ == DType::kF64) return std::uint64_t{1} << 63;
    if (!format_) return 0;
    const numerics::FormatDescriptor& format = numerics::describe(*format_);
    return format.specials == Specials::kScale ? 0 : std::uint64_t{format.sign_code()} << format.code_shift;
  }
  [[nodiscard]] std::uint64_t magnitude(std::uint64_t bits) const {
    const int shift = format_ ? numerics::describe(*format_).code_shift : 0;
    return (bits & ~sign_bit()) >> shift;
  }

  std::string name_;
  std::size_t width_;
  DType dtype_;
  std::optional<Format> format_;
};

void require_codes(const Tensor& tensor, const ElementType& type, const char* whose) {
  if (size_of(tensor.dtype()) != type.width())
    core::fail_input("{} holds {} elements of {} bytes, expected codes of {} bytes for {}", whose, name(tensor.dtype()),
                     size_of(tensor.dtype()), type.width(), type.name());
  const std::uint64_t mask = type.code_mask();
  if (mask == ~std::uint64_t{0}) return;
  for (std::int64_t i = 0; i < tensor.size(); ++i) {
    const std::uint64_t bits = type.load(tensor.bytes(), i);
    if ((bits & ~mask) != 0)
      core::fail_input("{} has element {} with bits {}, which is no code of {}", whose, i, type.bits_text(bits),
                       type.name());
  }
}

Shape coordinates_of(std::int64_t index, const Shape& shape) {
  Shape coordinates(shape.size());
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    coordinates[axis] = index % shape[axis];
    index /= shape[axis];
  }
  return coordinates;
}

std::uint64_t nearest_rank(std::vector<std::uint64_t>& values, double fraction) {
  if (values.empty()) return 0;
  const auto rank = static_cast<std::size_t>(std::ceil(fraction * static_cast<double>(values.size())));
  const auto position = values.begin() + static_cast<std::ptrdiff_t>(std::max<std::size_t>(rank, 1) - 1);
  std::nth_element(values.begin(), position, values.end());
  return *position;
}

// Walks over both arrays once, in row-major order.
class Comparer {
 public:
  Comparer(const Tensor& reference, const Tensor& candidate, const Tolerance& tolerance, const ElementType& type,
           bool by_value)
      : reference_(reference.bytes()),
        candidate_(candidate.bytes()),
        tolerance_(tolerance),
        type_(type),
        count_ulps_(!by_value) {
    result_.by_value = by_value;
    result_.type = type.name();
    result_.shape = reference.shape();
    result_.elements = reference.size();
    if (count_ulps_) ulps_.reserve(static_cast<std::size_t>(reference.size()));
  }

  Comparison run() {
    for (std::int64_t i = 0; i < result_.elements; ++i) visit(i);
    result_.p99_ulp = nearest_rank(ulps_, 0.99);
    result_.norm = relative_norm();
    result_.match = result_.mismatches == 0;
    if (tolerance_.kind == ToleranceKind::kNorm && !(result_.norm <= tolerance_.bound)) result_.match = false;
    return std::move(result_);
  }

 private:
  void visit(std::int64_t i) {
    const std::uint64_t reference = type_.load(reference_, i);
    const std::uint64_t candidate = type_.load(candidate_, i);
    const bool differs = reference != candidate;
    result_.differing += differs ? 1 : 0;
    const double value = type_.value(reference);
    const bool finite = std::isfinite(value) && std::isfinite(type_.value(candidate));
    const bool mismatch =
        differs && (finite ? measure(i, reference, candidate, value) : !nonfinite_match(value, type_.value(candidate)));
    if (finite && !differs && count_ulps_) ulps_.push_back(0);
    if (finite) reference_squares_ += square(value);
    if (mismatch) {
      ++result_.mismatches;
      if (!result_.first) result_.first = pair(i, reference, candidate);
    }
    if (mismatch && !finite) {
      ++result_.nonfinite_mismatches;
      if (!result_.first_nonfinite) result_.first_nonfinite = pair(i, reference, candidate);
    }
    const bool norm_difference = tolerance_.kind == ToleranceKind::kNorm && differs && finite;
    if (norm_difference && !result_.first) result_.first = pair(i, reference, candidate);
  }

  // Of bits that differ, at least one NaN or infinity among them.
  [[nodiscard]] bool nonfinite_match(double reference, double candidate) const {
    const bool by_nanness = tolerance_.kind != ToleranceKind::kBitwise || tolerance_.any_nan;
    return by_nanness && std::isnan(reference) && std::isnan(candidate);
  }

  // Errors of a pair of numbers whose bits differ; true when they are beyond the tolerance.
  bool measure(std::int64_t i, std::uint64_t reference, std::uint64_t candidate, double value) {
    const std::uint64_t ulp = count_ulps_ ? type_.ulp_distance(reference, candidate) : 0;
    const double distance = type_.distance(reference, candidate);
    const double relative =
        distance == 0 ? 0 : (value == 0 ? std::numeric_limits<double>::infinity() : distance / std::abs(value));
    if (count_ulps_) ulps_.push_back(ulp);
    if (ulp > result_.worst_ulp) {
      result_.worst_ulp = ulp;
      result_.worst = pair(i, reference, candidate);
    }
    result_.max_abs = std::max(result_.max_abs, distance);
    result_.max_rel = std::max(result_.max_rel, relative);
    difference_squares_ += square(distance);
    switch (tolerance_.kind) {
      case ToleranceKind::kBitwise:
        return true;
      case ToleranceKind::kUlp:
        return static_cast<double>(ulp) > tolerance_.bound;
      case ToleranceKind::kAbsolute:
        return distance > tolerance_.bound;
      case ToleranceKind::kRelative:
        return distance > tolerance_.bound * std::abs(value);
      case ToleranceKind::kNorm:
        return false;
    }
    core::check(false, "unknown tolerance");
    return true;
  }

  // In long double, where squares of doubles neither overflow nor vanish.
  [[nodiscard]] static long double square(double value) {
    return static_cast<long double>(value) * static_cast<long double>(value);
  }

  [[nodiscard]] double relative_norm() const {
    if (difference_squares_ == 0) return 0;
    if (reference_squares_ == 0) return std::numeric_limits<double>::infinity();
    return static_cast<double>(std::sqrt(difference_squares_ / reference_squares_));
  }

  [[nodiscard]] ElementPair pair(std::int64_t i, std::uint64_t reference, std::uint64_t candidate) const {
    return {coordinates_of(i, result_.shape), type_.bits_text(reference), type_.bits_text(candidate),
            type_.value_text(reference), type_.value_text(candidate)};
  }

  std::span<const std::byte> reference_;
  std::span<const std::byte> candidate_;
  const Tolerance& tolerance_;
  const ElementType& type_;
  bool count_ulps_;
  Comparison result_;
  std::vector<std::uint64_t> ulps_;  // of all pairs of numbers
  long double reference_squares_ = 0;
  long double difference_squares_ = 0;
};

bool is_float(DType dtype) { return dtype == DType::kF64 || format_of(dtype).has_value(); }

// Exact for every float dtype.
Tensor values_in_f64(const Tensor& tensor) {
  const Tensor dense = tensor.contiguous();
  const ElementType type(dense.dtype());
  Tensor result = Tensor::empty(DType::kF64, dense.shape());
  const std::span<double> values = result.mutable_values<double>();
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = type.value(type.load(dense.bytes(), static_cast<std::int64_t>(i)));
  return result;
}

Comparison refuse(const Tensor& reference, std::string difference) {
  Comparison refused;
  refused.type = name(reference.dtype());
  refused.shape = reference.shape();
  refused.elements = reference.size();
  refused.difference = std::move(difference);
  return refused;
}

Comparison compare_by_value(const Tensor& reference, const Tensor& candidate, const Tolerance& tolerance) {
  return Comparer(values_in_f64(reference), values_in_f64(candidate), tolerance, ElementType(DType::kF64), true).run();
}

}  // namespace

Comparison compare(const Tensor& reference, const Tensor& candidate, const Tolerance& tolerance,
                   const std::string& as) {
  const ElementType type = as.empty() ? ElementType(reference.dtype()) : ElementType::named(as);
  if (reference.shape() != candidate.shape())
    return refuse(reference, fmt::format("shape {} in the candidate, {} in the reference", to_string(candidate.shape()),
                                         to_string(reference.shape())));
  if (as.empty() && reference.dtype() != candidate.dtype()) {
    const bool value_tolerance = tolerance.kind != ToleranceKind::kBitwise && tolerance.kind != ToleranceKind::kUlp;
    if (value_tolerance && is_float(reference.dtype()) && is_float(candidate.dtype()))
      return compare_by_value(reference, candidate, tolerance);
    const bool same_width = size_of(candidate.dtype()) == size_of(reference.dtype());
    return refuse(reference, fmt::format("dtype {} in the candidate, {} in the reference{}", name(candidate.dtype()),
                                         name(reference.dtype()), same_width ? "; --as compares codes" : ""));
  }
  const Tensor dense_reference = reference.contiguous();
  const Tensor dense_candidate = candidate.contiguous();
  require_codes(dense_reference, type, "the reference");
  require_codes(dense_candidate, type, "the candidate");
  return Comparer(dense_reference, dense_candidate, tolerance, type, false).run();
}

}  // namespace lastbit::tensor
