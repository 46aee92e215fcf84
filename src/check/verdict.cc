#include "check/verdict.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "numerics/format.h"
#include "tensor/cast.h"

namespace lastbit::check {
namespace {

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

constexpr std::int64_t kMostCells = 64;

// The bits of one output's elements.
class Elements {
 public:
  explicit Elements(DType dtype) : dtype_(dtype), width_(tensor::size_of(dtype)), format_(tensor::format_of(dtype)) {}

  [[nodiscard]] std::size_t width() const { return width_; }
  [[nodiscard]] bool is_float() const { return format_ || dtype_ == DType::kF64; }
  [[nodiscard]] std::uint64_t load(const std::byte* bytes, std::int64_t i) const {
    std::uint64_t bits = 0;
    std::memcpy(&bits, bytes + static_cast<std::size_t>(i) * width_, width_);
    return bits;
  }
  [[nodiscard]] double value(std::uint64_t bits) const {
    if (format_) return static_cast<double>(numerics::decode(static_cast<std::uint32_t>(bits), *format_));
    if (dtype_ == DType::kF64) return std::bit_cast<double>(bits);
    return static_cast<double>(integer(bits));
  }
  [[nodiscard]] std::int64_t integer(std::uint64_t bits) const {
    const auto unused = 64 - 8 * static_cast<int>(width_);
    const bool is_signed =
        dtype_ == DType::kI64 || dtype_ == DType::kI32 || dtype_ == DType::kI16 || dtype_ == DType::kI8;
    return is_signed ? static_cast<std::int64_t>(bits << unused) >> unused : static_cast<std::int64_t>(bits);
  }
  // Steps from one number to the other; -0 and +0 are the same.
  [[nodiscard]] std::uint64_t steps(std::uint64_t a, std::uint64_t b) const {
    if (!is_float()) {
      const std::int64_t x = integer(a);
      const std::int64_t y = integer(b);
      return x > y ? static_cast<std::uint64_t>(x) - static_cast<std::uint64_t>(y)
                   : static_cast<std::uint64_t>(y) - static_cast<std::uint64_t>(x);
    }
    const std::uint64_t sign = sign_bit();
    const std::uint64_t x = a & ~sign;
    const std::uint64_t y = b & ~sign;
    if (((a ^ b) & sign) != 0) return x + y;
    return std::max(x, y) - std::min(x, y);
  }
  [[nodiscard]] std::uint64_t sign_bit() const { return is_float() ? std::uint64_t{1} << (8 * width_ - 1) : 0; }
  [[nodiscard]] bool strict_nan() const { return width_ == 1; }
  [[nodiscard]] std::string bits_text(std::uint64_t bits) const { return fmt::format("0x{:0{}x}", bits, 2 * width_); }
  [[nodiscard]] std::string value_text(std::uint64_t bits) const {
    if (dtype_ == DType::kF64) return fmt::format("{}", value(bits));
    if (format_) return fmt::format("{}", static_cast<float>(value(bits)));
    return fmt::format("{}", integer(bits));
  }

 private:
  DType dtype_;
  std::size_t width_;
  std::optional<numerics::Format> format_;
};

Shape coordinates_of_element(std::int64_t index, const Shape& shape) {
  Shape coordinates(shape.size());
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    coordinates[axis] = index % shape[axis];
    index /= shape[axis];
  }
  return coordinates;
}

// The rule of one output: which bits are right in the place of which.
class Rule {
 public:
  Rule(const ContractOutput& output, const Expected& expected, const std::optional<tensor::Tolerance>& other,
       const Elements& elements)
      : elements_(elements), tolerance_(output.tolerance), max_ulp_(output.max_ulp), other_(other) {
    if (tolerance_ == ToleranceClass::kBand && !other) {
      core::check(expected.bound.size() == expected.value.size(), "a bound for every element");
      bound_ = expected.bound.values<float>();
    }
  }

  [[nodiscard]] double bound(std::int64_t i) const {
    return bound_.empty() ? 0 : static_cast<double>(bound_[static_cast<std::size_t>(i)]);
  }
  [[nodiscard]] bool banded() const { return !bound_.empty(); }
  // For bits that differ.
  [[nodiscard]] bool accepts(std::int64_t i, std::uint64_t reference, std::uint64_t candidate) const {
    const double want = elements_.value(reference);
    const double have = elements_.value(candidate);
    if (std::isnan(want) || std::isnan(have)) return std::isnan(want) && std::isnan(have) && !elements_.strict_nan();
    if (std::isinf(want) || std::isinf(have)) return false;
    if (other_) return accepts_other(reference, candidate, want, have);
    switch (tolerance_) {
      case ToleranceClass::kBitwise:
        return false;
      case ToleranceClass::kUlp:
        return elements_.steps(reference, candidate) <= max_ulp_;
      case ToleranceClass::kBand:
        break;
    }
    return std::abs(have - want) <= bound(i);
  }

 private:
  [[nodiscard]] bool accepts_other(std::uint64_t reference, std::uint64_t candidate, double want, double have) const {
    switch (other_->kind) {
      case tensor::ToleranceKind::kBitwise:
        return false;
      case tensor::ToleranceKind::kUlp:
        return static_cast<double>(elements_.steps(reference, candidate)) <= other_->bound;
      case tensor::ToleranceKind::kAbsolute:
        return std::abs(have - want) <= other_->bound;
      case tensor::ToleranceKind::kRelative:
        return std::abs(have - want) <= other_->bound * std::abs(want);
      case tensor::ToleranceKind::kNorm:
        break;
    }
    core::check(false, "a tolerance of single elements");
    return false;
  }

  const Elements& elements_;
  ToleranceClass tolerance_;
  std::uint64_t max_ulp_;
  std::optional<tensor::Tolerance> other_;
  std::span<const float> bound_;
};

class Judge {
 public:
  Judge(const ContractOutput& output, const Expected& expected, const Tensor& candidate,
        const std::optional<tensor::Tolerance>& other)
      : elements_(expected.value.dtype()),
        rule_(output, expected, other, elements_),
        reference_(expected.value.bytes().data()),
        candidate_(candidate.bytes().data()) {
    verdict_.output = output.array.name;
    verdict_.type = tensor::name(expected.value.dtype());
    verdict_.tolerance = other ? tensor::to_string(*other) : describe_tolerance(output);
    verdict_.shape = expected.value.shape();
    verdict_.elements = expected.value.size();
    cols_ = verdict_.shape.empty() ? 1 : std::max<std::int64_t>(verdict_.shape.back(), 1);
    ErrorMap& map = verdict_.map;
    const std::int64_t rows = verdict_.elements / cols_;
    map.cell_rows = std::max<std::int64_t>(1, (rows + kMostCells - 1) / kMostCells);
    map.cell_cols = std::max<std::int64_t>(1, (cols_ + kMostCells - 1) / kMostCells);
    map.rows = (rows + map.cell_rows - 1) / map.cell_rows;
    map.cols = (cols_ + map.cell_cols - 1) / map.cell_cols;
    map.mismatches.resize(static_cast<std::size_t>(map.rows * map.cols));
  }

  OutputVerdict run() {
    constexpr std::int64_t kChunk = 1024;
    for (std::int64_t begin = 0; begin < verdict_.elements; begin += kChunk) {
      const std::int64_t end = std::min(begin + kChunk, verdict_.elements);
      const std::size_t width = elements_.width();
      const std::size_t at = static_cast<std::size_t>(begin) * width;
      if (std::memcmp(reference_ + at, candidate_ + at, static_cast<std::size_t>(end - begin) * width) == 0) {
        equal_ += end - begin;
        continue;
      }
      for (std::int64_t i = begin; i < end; ++i) visit(i);
    }
    finish();
    return std::move(verdict_);
  }

 private:
  [[nodiscard]] tensor::ElementPair pair(std::int64_t i, std::uint64_t reference, std::uint64_t candidate) const {
    return {coordinates_of_element(i, verdict_.shape), elements_.bits_text(reference), elements_.bits_text(candidate),
            elements_.value_text(reference), elements_.value_text(candidate)};
  }

  void visit(std::int64_t i) {
    const std::uint64_t reference = elements_.load(reference_, i);
    const std::uint64_t candidate = elements_.load(candidate_, i);
    if (reference == candidate) {
      ++equal_;
      return;
    }
    ++verdict_.differing;
    const double want = elements_.value(reference);
    const double have = elements_.value(candidate);
    const bool finite = std::isfinite(want) && std::isfinite(have);
    const bool mismatch = !rule_.accepts(i, reference, candidate);
    if (finite)
      measure(i, reference, candidate, std::abs(have - want));
    else if (mismatch)
      ++verdict_.histogram.back();
    if (!mismatch) return;
    ++verdict_.mismatches;
    if (!verdict_.first) {
      verdict_.first = pair(i, reference, candidate);
      verdict_.first_element = i;
    }
    if (!finite) {
      ++verdict_.nonfinite_mismatches;
      if (!verdict_.first_nonfinite) verdict_.first_nonfinite = pair(i, reference, candidate);
    }
    ErrorMap& map = verdict_.map;
    ++map.mismatches[static_cast<std::size_t>(i / cols_ / map.cell_rows * map.cols + i % cols_ / map.cell_cols)];
  }

  void measure(std::int64_t i, std::uint64_t reference, std::uint64_t candidate, double distance) {
    const std::uint64_t steps = elements_.steps(reference, candidate);
    ++verdict_.histogram[static_cast<std::size_t>(std::bit_width(steps))];
    if (steps < exact_.size()) ++exact_[static_cast<std::size_t>(steps)];
    verdict_.max_abs = std::max(verdict_.max_abs, distance);
    if (rule_.banded())
      verdict_.worst_share = std::max(verdict_.worst_share, distance / std::max(rule_.bound(i), 1e-300));
    if (steps > verdict_.worst_ulp) {
      verdict_.worst_ulp = steps;
      verdict_.worst = pair(i, reference, candidate);
    }
  }

  void finish() {
    count_percentile();
    verdict_.p99_ulp = std::min(verdict_.p99_ulp, verdict_.worst_ulp);
  }

  void count_percentile() {
    verdict_.histogram[0] += equal_;
    exact_[0] += equal_;
    std::int64_t pairs = 0;
    for (std::size_t bin = 0; bin + 1 < verdict_.histogram.size(); ++bin) pairs += verdict_.histogram[bin];
    const auto rank = static_cast<std::int64_t>(std::ceil(0.99 * static_cast<double>(pairs)));
    std::int64_t seen = 0;
    for (std::size_t steps = 0; steps < exact_.size(); ++steps) {
      seen += exact_[steps];
      verdict_.p99_ulp = steps;
      if (seen >= rank) return;
    }
    for (std::size_t bin = 13; bin + 1 < verdict_.histogram.size(); ++bin) {
      seen += verdict_.histogram[bin];
      verdict_.p99_ulp = bin >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bin) - 1;
      if (seen >= rank) return;
    }
  }

  OutputVerdict verdict_;
  Elements elements_;
  Rule rule_;
  const std::byte* reference_;
  const std::byte* candidate_;
  std::int64_t cols_ = 1;
  std::int64_t equal_ = 0;
  std::array<std::int64_t, 4096> exact_{};
};

// The candidate as the reference's dtype, where it holds that dtype's codes under an integer's name.
std::optional<Tensor> as_dtype(const Tensor& candidate, DType dtype) {
  if (candidate.dtype() == dtype) return candidate.contiguous();
  const bool codes = candidate.dtype() == DType::kU8 || candidate.dtype() == DType::kU16 ||
                     candidate.dtype() == DType::kU32 || candidate.dtype() == DType::kI8 ||
                     candidate.dtype() == DType::kI16;
  if (codes && tensor::format_of(dtype) && tensor::size_of(candidate.dtype()) == tensor::size_of(dtype))
    return candidate.contiguous().view_as(dtype);
  return std::nullopt;
}

}  // namespace

OutputVerdict judge(const ContractOutput& output, const Expected& expected, const Tensor& candidate,
                    const std::optional<tensor::Tolerance>& tolerance) {
  const std::optional<Tensor> elements = as_dtype(candidate, expected.value.dtype());
  if (!elements || elements->shape() != expected.value.shape()) {
    OutputVerdict verdict;
    verdict.output = output.array.name;
    verdict.type = tensor::name(expected.value.dtype());
    verdict.tolerance = describe_tolerance(output);
    verdict.shape = expected.value.shape();
    verdict.difference =
        fmt::format("{} {}, expected {} {}", tensor::name(candidate.dtype()), tensor::to_string(candidate.shape()),
                    verdict.type, tensor::to_string(verdict.shape));
    return verdict;
  }
  return Judge(output, expected, *elements, tolerance).run();
}

double share_of_equal(const Tensor& reference, const Tensor& candidate) {
  const std::optional<Tensor> codes = as_dtype(candidate, reference.dtype());
  if (!codes || codes->shape() != reference.shape() || reference.size() == 0) return 0;
  const Elements elements(reference.dtype());
  std::int64_t equal = 0;
  for (std::int64_t i = 0; i < reference.size(); ++i) {
    const std::uint64_t a = elements.load(reference.bytes().data(), i);
    const std::uint64_t b = elements.load(codes->bytes().data(), i);
    const bool nans =
        a != b && !elements.strict_nan() && std::isnan(elements.value(a)) && std::isnan(elements.value(b));
    equal += a == b || nans ? 1 : 0;
  }
  return static_cast<double>(equal) / static_cast<double>(reference.size());
}

PowerCheck power_of(const ContractOutput& output, const Expected& expected,
                    const std::optional<tensor::Tolerance>& tolerance) {
  const Tensor& reference = expected.value;
  const Elements elements(reference.dtype());
  const Rule rule(output, expected, tolerance, elements);
  const auto rejects = [&](std::int64_t i, std::uint64_t want, std::uint64_t have) {
    return have != want && !rule.accepts(i, want, have);
  };
  PowerCheck power;
  power.possible = false;
  for (std::int64_t i = 0; i < reference.size(); ++i) {
    const std::uint64_t bits = elements.load(reference.bytes().data(), i);
    const double value = elements.value(bits);
    if (!std::isfinite(value)) continue;
    const bool zero = (bits & ~elements.sign_bit()) == 0;
    power.possible = power.possible || !zero;
    if (!power.zeros) power.zeros = rejects(i, bits, 0);
    // One exponent more: the bits of 2 x for normal numbers of every format.
    const std::optional<numerics::Format> format = tensor::format_of(reference.dtype());
    const std::uint64_t doubled = format ? bits + (std::uint64_t{1} << (numerics::describe(*format).fraction_bits +
                                                                        numerics::describe(*format).code_shift))
                                         : bits + 1;
    if (!power.wrong_scale && (!zero || !elements.is_float())) power.wrong_scale = rejects(i, bits, doubled);
    if (!power.one_element) {
      const std::uint64_t off = rule.banded() && format
                                    ? bits ^ (std::uint64_t{1} << (numerics::describe(*format).fraction_bits - 1))
                                    : bits ^ (output.tolerance == ToleranceClass::kUlp ? std::uint64_t{64} : 1);
      power.one_element = rejects(i, bits, off);
    }
    if (power.zeros && power.one_element && power.wrong_scale) break;
  }
  return power;
}

}  // namespace lastbit::check
