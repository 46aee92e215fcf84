#include "check/input_families.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>

#include "core/error.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "numerics/normal.h"
#include "numerics/parse.h"

namespace lastbit::check {
namespace {

struct FamilyText {
  InputFamily family;
  std::string_view name;
  std::string_view meaning;
};

constexpr std::array kTexts = {
    FamilyText{InputFamily::kAllCodes, "all_codes", "every finite code alike"},
    FamilyText{InputFamily::kNormal, "normal", "N(0, 1)"},
    FamilyText{InputFamily::kOutlier, "outlier", "one large element in 29 among small ones"},
    FamilyText{InputFamily::kCancelling, "cancelling", "magnitudes near 1, signs that alternate"},
    FamilyText{InputFamily::kSparse, "sparse", "nine of ten are zeros of either sign"},
    FamilyText{InputFamily::kZeroRows, "zero_rows", "every third row is zeros of either sign"},
    FamilyText{InputFamily::kSubnormal, "subnormal", "the format's smallest numbers"},
    FamilyText{InputFamily::kConstant, "constant", "one magnitude, random signs"},
    FamilyText{InputFamily::kSpecials, "specials", "one in 997 an Inf or a NaN, where the format has one"},
    FamilyText{InputFamily::kSaturating, "saturating", "every other element within a factor of two of the largest"},
    FamilyText{InputFamily::kZeroBlocks, "zero_blocks", "every third run of 128 elements is zeros of either sign"},
};

constexpr std::array kFamilies = {InputFamily::kAllCodes,   InputFamily::kNormal,    InputFamily::kOutlier,
                                  InputFamily::kCancelling, InputFamily::kSparse,    InputFamily::kZeroRows,
                                  InputFamily::kSubnormal,  InputFamily::kConstant,  InputFamily::kSpecials,
                                  InputFamily::kSaturating, InputFamily::kZeroBlocks};

const FamilyText& text_of(InputFamily family) { return kTexts.at(static_cast<std::size_t>(family)); }

// One code of any family but kNormal, without the format's shift, from two random words.
std::uint32_t draw(InputFamily family, const numerics::FormatDescriptor& d, std::int64_t row, std::int64_t col,
                   std::uint32_t first, std::uint32_t second) {
  const std::uint32_t sign = (first & 1) != 0 ? d.sign_code() : 0;
  const std::uint32_t any = second % (d.max_finite_code() + 1);
  const auto one = static_cast<std::uint32_t>(d.bias) << d.fraction_bits;
  const std::uint32_t fraction = second & ((1u << d.fraction_bits) - 1);
  constexpr std::uint32_t kLarge = 4;  // exponents above 1
  constexpr std::uint32_t kSmall = 2;  // exponent field
  switch (family) {
    case InputFamily::kAllCodes:
      return sign | any;
    case InputFamily::kNormal:
      break;
    case InputFamily::kOutlier:
      return sign |
             (col % 29 == 7 ? one + fraction + (kLarge << d.fraction_bits) : fraction + (kSmall << d.fraction_bits));
    case InputFamily::kCancelling:
      return (col % 2 != 0 ? d.sign_code() : 0) | (one + (first >> 4 & 3));
    case InputFamily::kSparse:
      return first % 10 != 0 ? sign : sign | any;
    case InputFamily::kZeroRows:
      return row % 3 == 1 ? sign : sign | any;
    case InputFamily::kSubnormal:
      return sign | (second % (2u << d.fraction_bits));
    case InputFamily::kConstant:
      return sign | one;
    case InputFamily::kSpecials:
      return sign | (first % 997 == 0 ? d.max_finite_code() + 1 : one + fraction);
    case InputFamily::kSaturating:
      return sign | (col % 2 == 0 ? d.max_finite_code() - any % (1u << d.fraction_bits) : one + fraction);
    case InputFamily::kZeroBlocks:
      return (col / 128 + row) % 3 == 1 ? sign : sign | any;
  }
  core::check(false, "a family that draws codes");
  return 0;
}

}  // namespace

std::span<const InputFamily> input_families() { return kFamilies; }

std::string_view to_string(InputFamily family) { return text_of(family).name; }

std::string_view meaning(InputFamily family) { return text_of(family).meaning; }

InputFamily find_input_family(std::string_view name) {
  std::vector<std::string> names;
  for (const FamilyText& text : kTexts) names.emplace_back(text.name);
  return kFamilies.at(numerics::require_name("input family", name, names));
}

std::vector<std::byte> draw_codes(InputFamily family, numerics::Format format, MatrixShape shape, std::uint64_t seed,
                                  std::string_view purpose) {
  const numerics::FormatDescriptor& d = numerics::describe(format);
  const core::RandomStream stream(seed, purpose, static_cast<std::uint32_t>(family));
  const auto count = static_cast<std::size_t>(shape.rows * shape.cols);
  const auto width = static_cast<std::size_t>(d.storage_bytes);
  std::vector<float> normal(family == InputFamily::kNormal ? count : 0);
  numerics::fill_normal(stream, 1.0, normal);
  std::vector<std::byte> bytes(count * width);
  const numerics::EncodeOptions options = numerics::default_encode_options(format);
  constexpr std::int64_t kGrain = 1 << 15;
  core::parallel_for(shape.rows * shape.cols, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      std::uint32_t code = 0;
      if (family == InputFamily::kNormal) {
        code = numerics::encode(normal[i], format, options);
      } else {
        const auto row = static_cast<std::int64_t>(i) / shape.cols;
        const auto col = static_cast<std::int64_t>(i) % shape.cols;
        code = draw(family, d, row, col, stream.word(2 * i), stream.word(2 * i + 1)) << d.code_shift;
      }
      std::memcpy(bytes.data() + i * width, &code, width);
    }
  });
  return bytes;
}

std::vector<float> draw_scales(std::int64_t count, std::uint64_t seed, std::string_view purpose) {
  const core::RandomStream stream(seed, purpose);
  std::vector<float> scales(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < scales.size(); ++i)
    scales[i] = std::ldexp(1.0F + stream.uniform(2 * i), static_cast<int>(stream.word(2 * i + 1) % 16) - 8);
  return scales;
}

}  // namespace lastbit::check
