#include "tensor/compare.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/error.h"
#include "tensor/cast.h"

namespace lastbit::tensor {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr double kInfinite = std::numeric_limits<double>::infinity();

template <typename T>
Tensor vector_of(const std::vector<T>& values) {
  return Tensor::from<T>({static_cast<std::int64_t>(values.size())}, values);
}

Comparison compare_floats(const std::vector<float>& reference, const std::vector<float>& candidate,
                          const std::string& tolerance) {
  return compare(vector_of(reference), vector_of(candidate), parse_tolerance(tolerance));
}

float step(float value, int ulps) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) + static_cast<std::uint32_t>(ulps));
}

TEST(Compare, EqualBitsMatchUnderEveryTolerance) {
  const std::vector<float> values{1, -0.0f, kNan, kInf, -kInf, 1e-40f};
  for (const char* tolerance : {"bitwise", "bitwise,nan=any", "ulp=0", "abs=0", "rel=0", "norm=0"}) {
    const Comparison result = compare_floats(values, values, tolerance);
    EXPECT_TRUE(result.match) << tolerance;
    EXPECT_EQ(result.elements, 6);
    EXPECT_EQ(result.differing, 0);
    EXPECT_EQ(result.norm, 0);
    EXPECT_FALSE(result.first || result.worst || result.first_nonfinite);
  }
}

TEST(Compare, ZerosAreRejected) {
  for (const char* tolerance : {"bitwise", "ulp=100", "abs=1e-3", "rel=1e-3", "norm=1e-3"})
    EXPECT_FALSE(compare_floats({1, 2, -3}, {0, 0, 0}, tolerance).match) << tolerance;
}

TEST(Compare, UlpBoundIsInclusive) {
  EXPECT_TRUE(compare_floats({1, 2}, {step(1, 2), 2}, "ulp=2").match);
  const Comparison result = compare_floats({1, 2}, {step(1, 3), 2}, "ulp=2");
  EXPECT_FALSE(result.match);
  EXPECT_EQ(result.mismatches, 1);
  EXPECT_EQ(result.worst_ulp, 3u);
}

TEST(Compare, UlpCountsAcrossZero) {
  const float smallest = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(compare_floats({-smallest}, {smallest}, "ulp=0").worst_ulp, 2u);
  const Comparison zeros = compare_floats({-0.0f}, {0.0f}, "ulp=0");
  EXPECT_TRUE(zeros.match);
  EXPECT_EQ(zeros.differing, 1);
  EXPECT_FALSE(compare_floats({-0.0f}, {0.0f}, "bitwise").match);
  // from the lowest to the largest float, without overflow
  const float largest = std::numeric_limits<float>::max();
  EXPECT_EQ(compare_floats({-largest}, {largest}, "ulp=0").worst_ulp, 2u * 0x7f7fffffu);
}

TEST(Compare, AbsoluteRelativeAndNormErrors) {
  const Comparison result = compare_floats({3, 4}, {3.5f, 4}, "abs=0.5");
  EXPECT_TRUE(result.match);
  EXPECT_EQ(result.max_abs, 0.5);
  EXPECT_DOUBLE_EQ(result.max_rel, 0.5 / 3);
  EXPECT_DOUBLE_EQ(result.norm, 0.5 / 5);
  EXPECT_FALSE(compare_floats({3, 4}, {3.5f, 4}, "abs=0.49").match);
  EXPECT_TRUE(compare_floats({4, 8}, {5, 8}, "rel=0.25").match);
  EXPECT_FALSE(compare_floats({4, 8}, {5, 8}, "rel=0.24").match);
  EXPECT_TRUE(compare_floats({3, 4}, {3.5f, 4}, "norm=0.1").match);
  EXPECT_FALSE(compare_floats({3, 4}, {3.5f, 4}, "norm=0.09").match);
}

TEST(Compare, ReferenceOfZeroHasNoRelativeError) {
  const Comparison result = compare_floats({0}, {1e-30f}, "rel=1e6");
  EXPECT_FALSE(result.match);
  EXPECT_EQ(result.max_rel, kInfinite);
  EXPECT_EQ(result.norm, kInfinite);
  EXPECT_FALSE(compare_floats({0}, {1e-30f}, "norm=1e6").match);
}

TEST(Compare, NormOfLargeValuesDoesNotOverflow) {
  const Comparison result =
      compare(vector_of<double>({3e300, 4e300}), vector_of<double>({3e300, 4.5e300}), parse_tolerance("norm=0.1"));
  EXPECT_NEAR(result.norm, 0.1, 1e-12);
  const Comparison small =
      compare(vector_of<double>({3e-300, 4e-300}), vector_of<double>({3e-300, 4.5e-300}), parse_tolerance("norm=0.2"));
  EXPECT_NEAR(small.norm, 0.1, 1e-12);
}

TEST(Compare, NanPayloadsMatterToBitwiseAlone) {
  const float other = std::bit_cast<float>(0xffc00001u);
  const Comparison bitwise = compare_floats({1, kNan}, {1, other}, "bitwise");
  EXPECT_FALSE(bitwise.match);
  EXPECT_EQ(bitwise.nonfinite_mismatches, 1);
  EXPECT_EQ(bitwise.first->reference_bits, "0x7fc00000");
  EXPECT_EQ(bitwise.first->candidate_bits, "0xffc00001");
  for (const char* tolerance : {"bitwise,nan=any", "ulp=0", "abs=0", "rel=0", "norm=0"}) {
    const Comparison result = compare_floats({1, kNan}, {1, other}, tolerance);
    EXPECT_TRUE(result.match) << tolerance;
    EXPECT_EQ(result.differing, 1);
  }
}

TEST(Compare, NonFiniteMismatchesFailUnderAnyBound) {
  const std::vector<std::pair<float, float>> pairs{{kNan, 1},
                                                   {1, kNan},
                                                   {kInf, 1},
                                                   {1, kInf},
                                                   {kInf, -kInf},
                                                   {kNan, kInf},
                                                   {std::numeric_limits<float>::max(), kInf}};
  for (const auto& [reference, candidate] : pairs) {
    for (const char* tolerance : {"bitwise,nan=any", "ulp=1000000", "abs=1e300", "rel=1e300", "norm=1e300"}) {
      const Comparison result = compare_floats({5, reference, 7}, {5, candidate, 7}, tolerance);
      EXPECT_FALSE(result.match) << tolerance << " " << reference << " " << candidate;
      EXPECT_EQ(result.nonfinite_mismatches, 1);
      EXPECT_EQ(result.first_nonfinite->coordinates, (Shape{1}));
      EXPECT_EQ(result.worst_ulp, 0u);
    }
  }
}

TEST(Compare, FirstMismatchHasCoordinates) {
  const Tensor reference = Tensor::zeros(DType::kF32, {2, 3, 4});
  Tensor candidate = reference.clone();
  candidate.mutable_values<float>()[17] = 1.5f;
  candidate.mutable_values<float>()[20] = 2.5f;
  const Comparison result = compare(reference, candidate, Tolerance{});
  EXPECT_EQ(result.mismatches, 2);
  EXPECT_EQ(result.first->coordinates, (Shape{1, 1, 1}));
  EXPECT_EQ(result.first->candidate_value, "1.5");
  EXPECT_EQ(result.first->candidate_bits, "0x3fc00000");
  EXPECT_EQ(result.worst->coordinates, (Shape{1, 2, 0}));
}

TEST(Compare, PercentileIsTheNearestRank) {
  std::vector<float> reference(200, 1.0f);
  std::vector<float> candidate = reference;
  candidate[0] = step(1, 9);
  candidate[1] = step(1, 7);
  EXPECT_EQ(compare_floats(reference, candidate, "ulp=9").p99_ulp, 0u);  // 2 of 200 beyond
  candidate[2] = step(1, 5);
  const Comparison result = compare_floats(reference, candidate, "ulp=9");
  EXPECT_EQ(result.p99_ulp, 5u);
  EXPECT_EQ(result.worst_ulp, 9u);
}

TEST(Compare, EveryFloatDTypeHasItsOwnUlp) {
  for (const DType dtype : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16, DType::kE4M3, DType::kE5M2,
                            DType::kE4M3Fnuz, DType::kE5M2Fnuz, DType::kE8M0}) {
    const Tensor reference = cast(vector_of<float>({1, 2}), dtype);
    Tensor candidate = reference.clone();
    auto bytes = candidate.mutable_bytes();
    bytes[0] = static_cast<std::byte>(std::to_integer<unsigned>(bytes[0]) + 1);  // the next code
    const Comparison result = compare(reference, candidate, parse_tolerance("ulp=1"));
    EXPECT_TRUE(result.match) << name(dtype);
    EXPECT_EQ(result.worst_ulp, 1u) << name(dtype);
    EXPECT_EQ(result.type, name(dtype));
    EXPECT_FALSE(compare(reference, candidate, Tolerance{}).match) << name(dtype);
  }
}

TEST(Compare, IntegersDifferByTheirDistance) {
  const auto low = std::numeric_limits<std::int64_t>::min();
  const auto high = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(compare(vector_of<std::int64_t>({low}), vector_of<std::int64_t>({high}), Tolerance{}).worst_ulp,
            std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(compare(vector_of<std::int8_t>({-1}), vector_of<std::int8_t>({1}), Tolerance{}).worst_ulp, 2u);
  EXPECT_EQ(compare(vector_of<std::uint16_t>({65535}), vector_of<std::uint16_t>({0}), Tolerance{}).worst_ulp, 65535u);
  const Comparison result = compare(vector_of<std::int8_t>({-7}), vector_of<std::int8_t>({-5}), Tolerance{});
  EXPECT_EQ(result.first->reference_value, "-7");
  EXPECT_EQ(result.first->reference_bits, "0xf9");
  EXPECT_EQ(result.max_abs, 2);
}

TEST(Compare, AsTakesIntegersForCodes) {
  const Tensor reference = vector_of<std::uint32_t>({0x3f800000u, 0x7fc00000u});
  const Tensor candidate = vector_of<std::uint32_t>({0x3f800001u, 0x7fc00001u});
  EXPECT_EQ(compare(reference, candidate, Tolerance{}).mismatches, 2);
  EXPECT_TRUE(compare(reference, candidate, parse_tolerance("ulp=1"), "f32").match);
  EXPECT_TRUE(compare(reference, candidate.view_as(DType::kF32), parse_tolerance("ulp=1"), "f32").match);
  EXPECT_THROW((void)compare(reference, candidate, Tolerance{}, "f16"), core::Error);  // another width
  EXPECT_THROW((void)compare(reference, candidate, Tolerance{}, "f23"), core::Error);
}

TEST(Compare, AsKnowsFormatsWithoutADType) {
  // TF32 has 13 unused low bits: neighbours are 0x2000 apart.
  const Tensor one = vector_of<std::uint32_t>({0x3f800000u});
  EXPECT_EQ(compare(one, vector_of<std::uint32_t>({0x3f804000u}), Tolerance{}, "tf32").worst_ulp, 2u);
  EXPECT_THROW((void)compare(one, vector_of<std::uint32_t>({0x3f800001u}), Tolerance{}, "tf32"), core::Error);
  const Tensor half = vector_of<std::uint8_t>({0x1});  // E2M1: 0.5
  EXPECT_EQ(compare(half, vector_of<std::uint8_t>({0x9}), Tolerance{}, "e2m1").worst_ulp, 2u);
  EXPECT_THROW((void)compare(half, vector_of<std::uint8_t>({0x10}), Tolerance{}, "e2m1"), core::Error);
}

TEST(Compare, OtherShapesAndDTypesAreMismatches) {
  const Tensor reference = vector_of<float>({1, 2});
  const Comparison shape = compare(reference, vector_of<float>({1, 2, 3}), parse_tolerance("abs=1"));
  EXPECT_FALSE(shape.match);
  EXPECT_EQ(shape.difference, "shape [3] in the candidate, [2] in the reference");
  const Comparison dtype = compare(reference, vector_of<double>({1, 2}), Tolerance{});
  EXPECT_FALSE(dtype.match);
  EXPECT_EQ(dtype.difference, "dtype f64 in the candidate, f32 in the reference");
  EXPECT_FALSE(compare(reference, vector_of<std::int32_t>({1, 2}), parse_tolerance("abs=1")).match);
}

TEST(Compare, FloatDTypesMeetByValueUnderValueTolerances) {
  const Tensor reference = vector_of<double>({1, 2});
  const Tensor candidate = vector_of<float>({1, 2.5f});
  EXPECT_TRUE(compare(reference, candidate, parse_tolerance("abs=0.5")).match);
  const Comparison result = compare(reference, candidate, parse_tolerance("rel=0.1"));
  EXPECT_FALSE(result.match);
  EXPECT_TRUE(result.by_value);
  EXPECT_EQ(result.first->coordinates, (Shape{1}));
  EXPECT_FALSE(compare(reference, candidate, parse_tolerance("ulp=100")).match);
}

TEST(Compare, ViewsAreComparedAsTheyStand) {
  const Tensor matrix = Tensor::from<float>({2, 2}, std::vector<float>{1, 2, 3, 4});
  const Tensor flipped = Tensor::from<float>({2, 2}, std::vector<float>{1, 3, 2, 4});
  EXPECT_TRUE(compare(matrix.transpose(0, 1), flipped, Tolerance{}).match);
  EXPECT_FALSE(compare(matrix, flipped, Tolerance{}).match);
}

TEST(Compare, EmptyAndScalarArrays) {
  EXPECT_TRUE(compare(Tensor::zeros(DType::kF32, {0, 3}), Tensor::zeros(DType::kF32, {0, 3}), Tolerance{}).match);
  const Tensor scalar = Tensor::from<float>({}, std::vector<float>{2});
  const Comparison result = compare(scalar, Tensor::zeros(DType::kF32, {}), Tolerance{});
  EXPECT_FALSE(result.match);
  EXPECT_EQ(result.first->coordinates, Shape{});
}

}  // namespace
}  // namespace lastbit::tensor
