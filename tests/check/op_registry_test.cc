// Whatever a file holds, an operator of the registry gives a result or says in one line what is wrong with it.
#include "check/op_registry.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "core/error.h"
#include "op_cases.h"
#include "tensor/cast.h"

namespace lastbit::check {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Shape;
using tensor::Tensor;

enum class Outcome { kResult, kRefused };

// Runs and sorts the outcome; anything but a result or a line about bad input is a failure.
Outcome outcome_of(const OpCase& c, const std::string& change) {
  try {
    static_cast<void>(run_op(find_op(c.op), c.inputs, c.settings));
    return Outcome::kResult;
  } catch (const core::Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput) << c.op << ", " << change << ": " << text;
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 0) << text;
    EXPECT_TRUE(!text.empty() && text.size() < 600) << text;
  } catch (const std::exception& error) {
    ADD_FAILURE() << c.op << ", " << change << ": " << error.what();
  }
  return Outcome::kRefused;
}

void expect_refused(const OpCase& c, const std::string& change) {
  EXPECT_EQ(outcome_of(c, change), Outcome::kRefused) << c.op << ", " << change;
}

const OpInput& input_of(const OpCase& c, const std::string& name) {
  const std::vector<OpInput>& inputs = find_op(c.op).inputs;
  const auto found = std::ranges::find(inputs, name, &OpInput::name);
  EXPECT_NE(found, inputs.end()) << name;
  return *found;
}

OpCase with_input(OpCase c, const std::string& name, Tensor tensor) {
  c.inputs.insert_or_assign(name, std::move(tensor));
  return c;
}

OpCase with_setting(OpCase c, const std::string& key, const std::string& value) {
  c.settings.insert_or_assign(key, value);
  return c;
}

// A tensor of another shape, its bytes those of `tensor` over and over.
Tensor reshaped(const Tensor& tensor, const Shape& shape) {
  Tensor result = Tensor::empty(tensor.dtype(), shape);
  const std::size_t width = tensor::size_of(tensor.dtype());
  for (std::size_t i = 0; i < static_cast<std::size_t>(result.size()); ++i)
    std::memcpy(result.mutable_bytes().data() + i * width,
                tensor.bytes().data() + i % static_cast<std::size_t>(tensor.size()) * width, width);
  return result;
}

template <typename T>
Tensor with_element(const Tensor& tensor, std::size_t i, T value) {
  Tensor result = tensor.clone();
  result.mutable_values<T>()[i] = value;
  return result;
}

template <typename T>
Tensor filled(const Tensor& tensor, T value) {
  Tensor result = tensor.clone();
  std::ranges::fill(result.mutable_values<T>(), value);
  return result;
}

class EveryOp : public ::testing::Test {
 protected:
  std::vector<OpCase> cases = op_cases();
};

TEST_F(EveryOp, HasACaseThatSucceedsWithResultsOfItsList) {
  std::set<std::string> met;
  for (const OpCase& c : cases) {
    const OpEntry& op = find_op(c.op);
    NamedTensors results;
    ASSERT_NO_THROW(results = run_op(op, c.inputs, c.settings)) << c.op;
    for (const auto& [name, result] : results)
      EXPECT_TRUE(std::ranges::any_of(op.outputs, [&](const OpOutput& output) { return output.name == name; }))
          << c.op << " gives " << name;
    for (const auto& [name, result] : results) met.insert(c.op + "." + name);
  }
  for (const OpEntry& op : op_registry())
    for (const OpOutput& output : op.outputs)
      EXPECT_TRUE(met.contains(op.name + "." + output.name)) << "no case gives " << op.name << "." << output.name;
}

// Gradients are checked against FP64 ones, so every operator on floats has to run in FP64, too.
TEST_F(EveryOp, RunsInFp64) {
  for (const OpCase& c : cases) {
    if (c.settings.contains("numerics") || c.settings.contains("round_weights")) continue;  // FP32 by definition
    OpCase changed = c;
    bool floats = false;
    for (auto& [name, tensor] : changed.inputs) {
      const OpElements elements = input_of(c, name).elements;
      if (elements != OpElements::kFloat && elements != OpElements::kLogits) continue;
      tensor = tensor::cast(tensor, DType::kF64);
      floats = true;
    }
    if (!floats) continue;
    const NamedTensors single = run_op(find_op(c.op), c.inputs, c.settings);
    const NamedTensors results = run_op(find_op(c.op), changed.inputs, changed.settings);
    for (const auto& [name, result] : results) {
      ASSERT_NE(result.dtype(), DType::kF32) << c.op << "." << name;
      if (result.dtype() != DType::kF64) continue;
      const Tensor expected = tensor::cast(single.at(name), DType::kF64);
      for (std::size_t i = 0; i < static_cast<std::size_t>(result.size()); ++i)  // 2^-24 a rounding, a dozen of them
        ASSERT_NEAR(result.values<double>()[i], expected.values<double>()[i],
                    2e-6 * std::max(1.0, std::abs(expected.values<double>()[i])))
            << c.op << "." << name << " at " << i;
    }
  }
}

TEST_F(EveryOp, DescribesItselfWithoutDoubles) {
  std::set<std::string> names;
  for (const OpEntry& op : op_registry()) {
    EXPECT_TRUE(names.insert(op.name).second) << op.name;
    std::set<std::string> keys{"cast"};
    for (const OpSetting& setting : op.settings) EXPECT_TRUE(keys.insert(setting.key).second) << op.name;
    for (const OpInput& input : op.inputs) EXPECT_TRUE(input.shape.starts_with('[') && input.shape.ends_with(']'));
  }
}

TEST_F(EveryOp, InputsAreMissingOrUnknown) {
  for (const OpCase& c : cases) {
    for (const auto& [name, tensor] : c.inputs) {
      OpCase without = c;
      without.inputs.erase(name);
      if (input_of(c, name).required)
        expect_refused(without, "without " + name);
      else
        outcome_of(without, "without " + name);
    }
    expect_refused(with_input(c, "nonsense", Tensor::zeros(DType::kF32, {1})), "an unknown input");
    expect_refused(with_setting(c, "nonsense", "1"), "an unknown setting");
  }
}

bool is_wrong(OpElements elements, DType dtype) {
  switch (elements) {
    case OpElements::kFloat:
    case OpElements::kLogits:
      return dtype != DType::kF32 && dtype != DType::kF64;
    case OpElements::kSingle:
      return dtype != DType::kF32;
    case OpElements::kDouble:
      return dtype != DType::kF64;
    case OpElements::kIndex:
      return dtype != DType::kI64;
    case OpElements::kOther:
      break;
  }
  return false;
}

TEST_F(EveryOp, DtypesAreWrong) {
  for (const OpCase& c : cases)
    for (const auto& [name, tensor] : c.inputs)
      for (int d = 0; d <= static_cast<int>(DType::kE8M0); ++d) {
        const auto dtype = static_cast<DType>(d);
        const std::string change = fmt::format("{} in {}", name, tensor::name(dtype));
        const OpCase changed = with_input(c, name, Tensor::zeros(dtype, tensor.shape()));
        if (is_wrong(input_of(c, name).elements, dtype))
          expect_refused(changed, change);
        else
          outcome_of(changed, change);
        outcome_of(with_setting(changed, "cast", "f32"), change + ", cast to f32");
        outcome_of(with_setting(changed, "cast", "f64"), change + ", cast to f64");
      }
}

// "[..., d+1]" -> "...", "d".
std::vector<std::string> axis_names(const std::string& shape) {
  std::vector<std::string> names(1);
  for (std::size_t i = 1; i + 1 < shape.size(); ++i) {
    if (shape[i] == ',') {
      names.emplace_back();
      ++i;  // the space behind it
    } else {
      names.back() += shape[i];
    }
  }
  for (std::string& name : names) name = name.substr(0, name.find('+'));
  return names;
}

// Whether another input of the case has a size of this name.
bool is_shared(const OpCase& c, const std::string& name, const std::string& axis) {
  return std::ranges::any_of(c.inputs, [&](const auto& other) {
    const std::vector<std::string> names = axis_names(input_of(c, other.first).shape);
    return other.first != name && std::ranges::find(names, axis) != names.end();
  });
}

TEST_F(EveryOp, RanksAreWrong) {
  for (const OpCase& c : cases)
    for (const auto& [name, tensor] : c.inputs) {
      const std::string& shape = input_of(c, name).shape;
      const bool fixed = shape.find("...") == std::string::npos || is_shared(c, name, "...");
      Shape longer = tensor.shape();
      longer.insert(longer.begin(), 1);
      const std::vector<Shape> others{longer, {tensor.size()}, {}};
      for (const Shape& other : others) {
        const std::string change = name + " as " + tensor::to_string(other);
        const OpCase changed = with_input(c, name, reshaped(tensor, other));
        if (fixed && other.size() != tensor.shape().size())
          expect_refused(changed, change);
        else
          outcome_of(changed, change);
      }
    }
}

TEST_F(EveryOp, SizesAreWrong) {
  for (const OpCase& c : cases)
    for (const auto& [name, tensor] : c.inputs) {
      const std::vector<std::string> names = axis_names(input_of(c, name).shape);
      const std::size_t named = std::min(names.size(), tensor.shape().size());  // counted from the end
      for (std::size_t axis = 0; axis < tensor.shape().size(); ++axis)
        for (const std::int64_t size : {std::int64_t{0}, tensor.shape()[axis] - 1, tensor.shape()[axis] + 1}) {
          Shape shape = tensor.shape();
          shape[axis] = size;
          const std::string change = name + " as " + tensor::to_string(shape);
          const OpCase changed = with_input(c, name, reshaped(tensor, shape));
          const std::size_t from_end = shape.size() - 1 - axis;
          const std::string axis_name = from_end < named ? names[names.size() - 1 - from_end] : "...";
          if (size == 0 || is_shared(c, name, axis_name))
            expect_refused(changed, change);
          else
            outcome_of(changed, change);
        }
    }
}

template <typename T>
void floats_are_wrong(const OpCase& c, const std::string& name, const Tensor& tensor) {
  using Limits = std::numeric_limits<T>;
  const bool logits = input_of(c, name).elements == OpElements::kLogits;
  const bool other = input_of(c, name).elements == OpElements::kOther;
  const auto last = static_cast<std::size_t>(tensor.size()) - 1;
  for (const T value : {Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity()})
    for (const std::size_t i : {std::size_t{0}, last}) {
      const OpCase changed = with_input(c, name, with_element(tensor, i, value));
      const std::string change = fmt::format("{}[{}] = {}", name, i, value);
      const bool barred = logits && value < 0;
      // Behind the end of an output GRPO reads nothing, but a file with a NaN is refused all the same.
      if (barred || (other && value > 0))
        outcome_of(changed, change);
      else
        expect_refused(changed, change);
    }
  for (const T value : {Limits::max(), Limits::lowest(), Limits::denorm_min(), T{0}, T{-0.5}, T{1e30F}}) {
    outcome_of(with_input(c, name, filled(tensor, value)), fmt::format("{} of {}", name, value));
    outcome_of(with_input(c, name, with_element(tensor, last, value)), fmt::format("{}[last] = {}", name, value));
  }
  if (logits) expect_refused(with_input(c, name, filled(tensor, -Limits::infinity())), name + " of -inf");
}

TEST_F(EveryOp, FloatsAreNotNumbersOrExtreme) {
  for (const OpCase& c : cases)
    for (const auto& [name, tensor] : c.inputs) {
      if (tensor.dtype() == DType::kF32) floats_are_wrong<float>(c, name, tensor);
      if (tensor.dtype() == DType::kF64) floats_are_wrong<double>(c, name, tensor);
    }
}

// All float inputs at once: products and sums overflow.
TEST_F(EveryOp, FloatsAreExtremeTogether) {
  for (const OpCase& c : cases)
    for (const float value : {std::numeric_limits<float>::max(), 1e20F, 1e-20F, -1e20F}) {
      OpCase changed = c;
      for (auto& [name, tensor] : changed.inputs) {
        if (tensor.dtype() != DType::kF32) continue;
        tensor = tensor.clone();
        for (float& element : tensor.mutable_values<float>()) element *= value;
      }
      outcome_of(changed, fmt::format("all floats times {}", value));
    }
}

TEST_F(EveryOp, IndicesAreOutOfRange) {
  using Limits = std::numeric_limits<std::int64_t>;
  for (const OpCase& c : cases)
    for (const auto& [name, tensor] : c.inputs) {
      if (tensor.dtype() != DType::kI64) continue;
      const auto last = static_cast<std::size_t>(tensor.size()) - 1;
      for (const std::int64_t value : {Limits::min(), std::int64_t{-2}, std::int64_t{-1}, std::int64_t{0},
                                       std::int64_t{1}, std::int64_t{1} << 31, Limits::max()})
        for (const OpCase& changed :
             {with_input(c, name, with_element(tensor, 0, value)),
              with_input(c, name, with_element(tensor, last, value)), with_input(c, name, filled(tensor, value))}) {
          const std::string change = fmt::format("{} has {}", name, value);
          if (value < -1)
            expect_refused(changed, change);
          else
            outcome_of(changed, change);
        }
    }
}

void numbers_are_wrong(const OpCase& c, const OpSetting& setting) {
  const double beyond = setting.most + std::max(1.0, setting.most);
  const double below = setting.least - std::max(1.0, -2 * setting.least);
  for (const std::string& text : {std::string("x"), std::string(), std::string("nan"), std::string("inf"),
                                  std::string("1e"), fmt::format("{}", beyond), fmt::format("{}", below)})
    expect_refused(with_setting(c, setting.key, text), setting.key + "=" + text);
  const bool whole = setting.kind == OpSettingKind::kWhole;
  if (whole) expect_refused(with_setting(c, setting.key, "1.5"), setting.key + "=1.5");
  for (const double value : {setting.least, setting.most, 2.0, 3.0}) {
    const std::string text = whole ? fmt::format("{}", static_cast<std::int64_t>(value)) : fmt::format("{}", value);
    outcome_of(with_setting(c, setting.key, text), setting.key + "=" + text);
  }
}

TEST_F(EveryOp, SettingsAreWrongOrExtreme) {
  for (const OpCase& c : cases)
    for (const OpSetting& setting : find_op(c.op).settings) {
      const auto with = [&](const std::string& value) { return with_setting(c, setting.key, value); };
      switch (setting.kind) {
        case OpSettingKind::kWhole:
        case OpSettingKind::kNumber:
          numbers_are_wrong(c, setting);
          break;
        case OpSettingKind::kFlag:
          expect_refused(with("yes"), setting.key + "=yes");
          for (const char* value : {"true", "false"}) outcome_of(with(value), setting.key + "=" + value);
          break;
        case OpSettingKind::kChoice:
          expect_refused(with("nonsense"), setting.key + "=nonsense");
          for (const std::string& value : setting.choices) outcome_of(with(value), setting.key + "=" + value);
          break;
        case OpSettingKind::kText:
          expect_refused(with("nonsense"), setting.key + "=nonsense");
          for (const char* value : {"0x0", "1x", "99999999999999999999x1", "-1x4", "row", "tensor", "mx", "bf16"})
            outcome_of(with(value), setting.key + "=" + value);
          break;
      }
    }
}

std::string message_of(const std::string& op, const NamedTensors& inputs, const OpSettings& settings) {
  try {
    static_cast<void>(run_op(find_op(op), inputs, settings));
  } catch (const core::Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(OpMessages, NameWhatWasFoundAndExpected) {
  const Tensor x = Tensor::zeros(DType::kF32, {2, 3});
  const Tensor weight = Tensor::zeros(DType::kF32, {4, 5});
  EXPECT_EQ(message_of("linear", {{"x", x}, {"weight", weight}}, {}),
            "linear: weight is f32 [4, 5], expected [out, in] with in 3");
  EXPECT_EQ(message_of("linear", {{"x", x}, {"weight", Tensor::zeros(DType::kF64, {4, 3})}}, {}),
            "linear: x is f32 and weight is f64, expected one dtype");
  EXPECT_EQ(message_of("linear", {{"x", Tensor::zeros(DType::kBF16, {2, 3})}}, {}),
            "linear: x is bf16, expected f32 or f64 (--set cast=f32 or f64 widens it, exactly)");
  EXPECT_EQ(message_of("linear", {{"x", x}}, {}),
            "linear: input 'weight' is missing, expected f32 or f64 [out, in]: as torch.nn.Linear has it");
  EXPECT_EQ(message_of("swiglu", {{"gate", x}, {"up", Tensor::zeros(DType::kF32, {3, 2})}}, {}),
            "swiglu: up is f32 [3, 2], expected [...] with ... [2, 3]");
  EXPECT_EQ(message_of("rms_norm", {}, {{"esp", "1"}}),
            "rms_norm: unknown setting 'esp' (did you mean 'eps'?), expected one of eps, cast");
  EXPECT_EQ(message_of("rms_norm", {}, {{"eps", "-1"}}), "rms_norm: eps is '-1', expected a number from 0 to 1000000");
  const std::vector<float> bad{1, 2, std::numeric_limits<float>::quiet_NaN(), 4};
  EXPECT_EQ(message_of("router_z_loss", {{"logits", Tensor::from<float>({2, 2}, bad)}}, {}),
            "router_z_loss: logits is nan at [1, 0], expected a finite number");
  const std::vector<std::int64_t> ids{0, 7};
  EXPECT_EQ(message_of("embedding", {{"ids", Tensor::from<std::int64_t>({2}, ids)}, {"table", weight}}, {}),
            "embedding: ids is 7 at [1], expected 0 to 3");
  const std::vector<float> large{3e38F, 3e38F};
  const Tensor huge = Tensor::from<float>({1, 2}, large);
  EXPECT_EQ(message_of("rms_norm", {{"x", huge}, {"weight", Tensor::zeros(DType::kF32, {2})}}, {}), "no error");
  EXPECT_THROW(static_cast<void>(find_op("rmsnorm")), core::Error);
}

TEST(OpCast, WidensExactly) {
  const std::vector<std::uint16_t> codes{0x3f80, 0xc000, 0x0001};  // 1, -2, 2^-133 in BF16
  const Tensor narrow = Tensor::from<std::uint16_t>({3}, codes).view_as(DType::kBF16);
  const std::vector<std::int32_t> ids{2, 0};
  const NamedTensors sums = run_op(find_op("add"), {{"a", narrow}, {"b", narrow}}, {{"cast", "f64"}});
  const auto y = sums.at("y").values<double>();
  EXPECT_EQ(std::vector<double>(y.begin(), y.end()), (std::vector<double>{2, -4, 0x1p-132}));
  const NamedTensors rows =
      run_op(find_op("embedding"), {{"ids", Tensor::from<std::int32_t>({2}, ids)}, {"table", narrow.reshape({3, 1})}},
             {{"cast", "f32"}});
  const auto taken = rows.at("y").values<float>();
  EXPECT_EQ(std::vector<float>(taken.begin(), taken.end()), (std::vector<float>{0x1p-133F, 1}));
}

}  // namespace
}  // namespace lastbit::check
