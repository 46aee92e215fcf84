#include "check/contract.h"

#include <charconv>
#include <cmath>
#include <iterator>
#include <limits>

#include "check/contract_families.h"
#include "check/input_families.h"
#include "core/error.h"
#include "core/philox.h"
#include "core/suggest.h"
#include "numerics/parse.h"
#include "numerics/round.h"
#include "tensor/cast.h"

namespace lastbit::check {
namespace {

using tensor::DType;
using tensor::Tensor;

// Reads all of `text`; nothing where it is no such number.
template <typename T>
std::optional<T> parse_number(const std::string& text) {
  T value{};
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || stop != text.data() + text.size()) return std::nullopt;
  return value;
}

void require_setting(const Contract& contract, const OpSetting& setting, const std::string& text) {
  const auto refuse = [&](const std::string& expected) {
    core::fail_input("{}: setting {}={}, expected {}", contract.name, setting.key, text, expected);
  };
  switch (setting.kind) {
    case OpSettingKind::kWhole: {
      const std::optional<std::int64_t> value = parse_number<std::int64_t>(text);
      if (!value || static_cast<double>(*value) < setting.least || static_cast<double>(*value) > setting.most)
        refuse(fmt::format("a whole number from {:.0f} to {:.0f}", setting.least, setting.most));
      return;
    }
    case OpSettingKind::kNumber: {
      const std::optional<double> value = parse_number<double>(text);
      if (!value || !(*value >= setting.least && *value <= setting.most))
        refuse(fmt::format("a number from {} to {}", setting.least, setting.most));
      return;
    }
    case OpSettingKind::kFlag:
      if (text != "true" && text != "false") refuse("true or false");
      return;
    case OpSettingKind::kChoice:
      (void)numerics::require_name(fmt::format("{}: setting {}", contract.name, setting.key), text, setting.choices);
      return;
    case OpSettingKind::kText:
      return;
  }
}

struct FamilyMeaning {
  const char* name;
  const char* meaning;
};
// Families that are a contract's own.
constexpr FamilyMeaning kOwnFamilies[] = {
    {"prefixes", "row i holds the first 32 (i + 1) elements of K alone, so that a fault shows where it begins"},
    {"empty_experts", "most experts get no token"},
    {"one_expert", "all tokens go to the same experts"},
    {"ties", "logits of few values, so that affinities are equal"},
    {"unused_slots", "some of a token's places are empty (-1)"},
    {"one_key", "sequences of a single key"},
    {"long_tail", "sequences of very different lengths"},
    {"peaked", "one logit far above the others"},
    {"no_targets", "tokens without a target among the others"},
    {"first_step", "moments of zero"},
    {"cancelling_blocks", "partial sums of neighbouring blocks of K cancel: what is left are the roundings"},
    {"cancelling_slots", "a token's rows cancel but for small ones between them: the order of additions shows"},
    {"nan_payloads", "NaNs of both signs and of many payloads, and infinities, among normal numbers"},
    {"halfway", "midpoints between neighbouring codes of the target, and the numbers next to them"},
    {"overflow", "scales near 2^57: sums reach beyond FP32"},
    {"zero_queries", "queries of zeros: every key has the same weight"},
    {"large_values", "the same with values near 2^20, beyond FP16"},
    {"negative_bias", "biases below -1: no affinity outweighs them"},
    {"small_affinities", "logits near -6: a number added to the sum of affinities shows"},
    {"scales_apart", "scales that differ by up to 2^16 from block to block"},
};

}  // namespace

const std::string& ContractSettings::text(const std::string& key) const {
  const auto found = values_.find(key);
  core::check(found != values_.end(), "a setting of the contract");
  return found->second;
}

std::int64_t ContractSettings::whole(const std::string& key) const {
  return parse_number<std::int64_t>(text(key)).value_or(0);
}

double ContractSettings::number(const std::string& key) const { return parse_number<double>(text(key)).value_or(0); }

std::string ContractSettings::fault(const std::string& key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? "" : found->second;
}

ContractSettings ContractSettings::with(const OpSettings& changes) const {
  OpSettings values = values_;
  for (const auto& [key, value] : changes) values[key] = value;
  return ContractSettings(values);
}

const std::vector<Contract>& contract_registry() {
  static const std::vector<Contract> kRegistry = [] {
    std::vector<Contract> all;
    for (auto* family : {gemm_contracts, quantize_contracts, layer_contracts, attention_contracts, router_contracts,
                         expert_contracts, gradient_contracts, routing_gradient_contracts, training_contracts}) {
      std::vector<Contract> contracts = family();
      all.insert(all.end(), std::make_move_iterator(contracts.begin()), std::make_move_iterator(contracts.end()));
    }
    return all;
  }();
  return kRegistry;
}

const Contract& find_contract(const std::string& name) {
  std::vector<std::string> names;
  for (const Contract& contract : contract_registry()) {
    if (contract.name == name) return contract;
    names.push_back(contract.name);
  }
  core::fail_input("unknown contract '{}'{}; lastbit check kernel --list shows all {}", name,
                   core::suggestion(name, names), names.size());
}

ContractSettings contract_settings(const Contract& contract, const OpSettings& given) {
  OpSettings values;
  std::vector<std::string> keys;
  for (const OpSetting& setting : contract.settings) {
    values[setting.key] = setting.fallback;
    keys.push_back(setting.key);
  }
  for (const auto& [key, value] : given)
    if (!values.contains(key))
      core::fail_input("{}: unknown setting '{}'{}", contract.name, key, core::suggestion(key, keys));
  for (const OpSetting& setting : contract.settings) {
    const auto found = given.find(setting.key);
    if (found == given.end()) continue;
    require_setting(contract, setting, found->second);
    values[setting.key] = found->second;
  }
  return ContractSettings(values);
}

void require_sizes(const Contract& contract, const tensor::Shape& sizes) {
  constexpr std::int64_t kMostSize = std::int64_t{1} << 24;
  constexpr double kMostElements = 0x1p33;
  std::string axes;
  for (const std::string& axis : contract.axes) axes += (axes.empty() ? "" : "x") + axis;
  if (sizes.size() != contract.axes.size())
    core::fail_input("{}: shape of {} sizes, expected {}: {}", contract.name, sizes.size(), contract.axes.size(), axes);
  for (std::size_t i = 0; i < sizes.size(); ++i)
    if (sizes[i] < 1 || sizes[i] > kMostSize)
      core::fail_input("{}: {} = {}, expected 1 to {}", contract.name, contract.axes[i], sizes[i], kMostSize);
  for (std::size_t i = 0; i < sizes.size(); ++i)
    for (std::size_t j = i + 1; j < sizes.size(); ++j)
      if (static_cast<double>(sizes[i]) * static_cast<double>(sizes[j]) > kMostElements)
        core::fail_input("{}: {} x {} = {} x {}, expected at most 2^33 elements", contract.name, contract.axes[i],
                         contract.axes[j], sizes[i], sizes[j]);
}

void require_family(const Contract& contract, const std::string& family) {
  (void)numerics::require_name(contract.name + ": input family", family, contract.families);
}

std::string describe_tolerance(const ContractOutput& output) {
  switch (output.tolerance) {
    case ToleranceClass::kBitwise:
      return "bitwise";
    case ToleranceClass::kUlp:
      return fmt::format("{} ulp", output.max_ulp);
    case ToleranceClass::kBand:
      break;
  }
  return "band";
}

std::string describe_family(const std::string& family) {
  for (const FamilyMeaning& own : kOwnFamilies)
    if (family == own.name) return own.meaning;
  return std::string(meaning(find_input_family(family)));
}

Tensor draw_values(const std::string& family, DType dtype, tensor::Shape shape, std::uint64_t seed,
                   const std::string& purpose) {
  const numerics::Format format = *tensor::format_of(dtype);
  const std::int64_t count = tensor::element_count(shape);
  const std::int64_t cols = shape.empty() ? 1 : shape.back();
  Tensor result = Tensor::empty(dtype, std::move(shape));
  if (count == 0) return result;
  const std::vector<std::byte> codes =
      draw_codes(find_input_family(family), format, {count / cols, cols}, seed, purpose);
  std::copy(codes.begin(), codes.end(), result.mutable_bytes().begin());
  return result;
}

Tensor draw_activations(const std::string& family, DType dtype, tensor::Shape shape, std::uint64_t seed,
                        const std::string& purpose) {
  const bool outlier = family == "outlier";
  const bool sparse = family == "sparse";
  const bool rows = family == "zero_rows";
  if (!outlier && !sparse && !rows) return draw_values(family, dtype, std::move(shape), seed, purpose);
  std::vector<float> x = floats_of(draw_values("normal", dtype, shape, seed, purpose));
  const core::RandomStream stream(seed, purpose + " zeros");
  const auto cols = static_cast<std::size_t>(shape.back());
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (outlier && i % cols % 29 == 7) x[i] *= 64;
    if ((sparse && stream.word(i) % 10 != 0) || (rows && i / cols % 3 == 1)) x[i] = std::copysign(0.0F, x[i]);
  }
  return tensor::cast(Tensor::from<float>(std::move(shape), x), dtype);
}

DType dtype_named(const std::string& name) {
  for (const DType dtype :
       {DType::kE4M3, DType::kE5M2, DType::kE4M3Fnuz, DType::kE5M2Fnuz, DType::kE8M0, DType::kBF16, DType::kF16,
        DType::kF32, DType::kF64, DType::kU8, DType::kU16, DType::kU32, DType::kI32, DType::kI64})
    if (name == tensor::name(dtype)) return dtype;
  core::check(false, "a dtype of a contract");
  return DType::kF32;
}

const Tensor& input(const tensor::NamedTensors& inputs, const std::string& name) {
  const auto found = inputs.find(name);
  if (found == inputs.end()) core::fail_input("input '{}' is missing", name);
  return found->second;
}

std::vector<float> floats_of(const Tensor& tensor) {
  const Tensor values = tensor::to_f32(tensor);
  return {values.values<float>().begin(), values.values<float>().end()};
}

Tensor wide(const Tensor& tensor) { return tensor::cast(tensor, DType::kF64); }

namespace {

// In FP32, to odd: rounding that to fewer bits is as rounding once.
float to_odd(double value) {
  const auto narrow = static_cast<float>(value);
  if (static_cast<double>(narrow) == value || !std::isfinite(narrow)) return narrow;
  const float toward = std::abs(static_cast<double>(narrow)) > std::abs(value) ? 0.0F
                       : value < 0                                             ? -std::numeric_limits<float>::infinity()
                                                                               : std::numeric_limits<float>::infinity();
  return (std::bit_cast<std::uint32_t>(narrow) & 1U) == 0 ? std::nextafter(narrow, toward) : narrow;
}

}  // namespace

Tensor rounded(const std::vector<double>& values, DType dtype, tensor::Shape shape) {
  Tensor result = Tensor::empty(dtype, std::move(shape));
  core::check(static_cast<std::size_t>(result.size()) == values.size(), "as many values as elements");
  if (dtype == DType::kF64) {
    std::copy(values.begin(), values.end(), result.mutable_values<double>().begin());
    return result;
  }
  std::vector<float> narrow(values.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    narrow[i] = dtype == DType::kF32 ? static_cast<float>(values[i]) : to_odd(values[i]);
  const Tensor f32 = Tensor::from<float>(result.shape(), narrow);
  return dtype == DType::kF32 ? f32 : tensor::cast(f32, dtype);
}

double nearest(double value, DType dtype) {
  if (dtype == DType::kF32) return static_cast<double>(static_cast<float>(value));
  const numerics::Format format = *tensor::format_of(dtype);
  const std::uint32_t code = numerics::encode(to_odd(value), format, numerics::default_encode_options(format));
  return static_cast<double>(numerics::decode(code, format));
}

float rounding_bound(double exact, double error, DType dtype) {
  const double middle = nearest(exact, dtype);
  double bound = 0;
  for (const double other : {nearest(exact - error, dtype), nearest(exact + error, dtype)})
    if (other != middle) bound = std::max(bound, std::abs(other - middle));
  const auto narrow = static_cast<float>(bound);
  return static_cast<double>(narrow) < bound ? std::nextafter(narrow, std::numeric_limits<float>::infinity()) : narrow;
}

double unit_in_last_place(double value, DType dtype) {
  const numerics::FormatDescriptor& format = numerics::describe(*tensor::format_of(dtype));
  int exponent = format.min_exponent();
  if (value != 0 && std::isfinite(value)) exponent = std::max(exponent, std::ilogb(value));
  return std::ldexp(1.0, exponent - format.fraction_bits);
}

}  // namespace lastbit::check
