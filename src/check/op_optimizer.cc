// What a training step does to weights: AdamW, clipping, and the schedules behind it.
#include <cmath>
#include <cstdint>
#include <span>

#include "check/op_arguments.h"
#include "check/op_families.h"
#include "tensor/cast.h"
#include "train/adamw.h"
#include "train/gradient_clip.h"
#include "train/learning_rate.h"

namespace lastbit::check {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Tensor;

// A moment as it is given, or zeros before the first step.
Tensor moment_of(const OpArguments& in, const std::string& name, DType dtype) {
  const Tensor* given = in.find(name);
  if (given == nullptr) return Tensor::zeros(dtype, in.tensor("w").shape());
  if (given->dtype() != dtype)
    core::fail_input("{}: {} is {}, expected {} for moments={}", in.op(), name, tensor::name(given->dtype()),
                     tensor::name(dtype), in.text("moments"));
  // BF16 has no NaN or Inf that FP32 does not show.
  const Tensor values = tensor::to_f32(*given);
  for (const float value : values.values<float>())
    if (!std::isfinite(value) || (name == "v" && value < 0))
      core::fail_input("{}: {} has the value {}, expected finite numbers{}", in.op(), name, value,
                       name == "v" ? " of 0 or more" : "");
  return given->clone();
}

NamedTensors run_adamw(const OpArguments& in) {
  const bool narrow = in.text("moments") == "bf16";
  const DType dtype = narrow ? DType::kBF16 : DType::kF32;
  in.require_with("m", "v");
  in.require_with("v", "m");
  Tensor w = in.tensor("w").clone();
  Tensor m = moment_of(in, "m", dtype);
  Tensor v = moment_of(in, "v", dtype);
  train::AdamWRule rule{in.number("beta1"), in.number("beta2"), in.number("eps"), in.number("weight_decay"),
                        train::find_moment_use(in.text("moment_use"))};
  const train::AdamWStep step{in.whole("step"), in.number("learning_rate"), in.number("gradient_scale")};
  const auto weights = w.mutable_values<float>();
  const auto gradients = in.tensor("grad").values<float>();
  if (narrow)
    train::adamw_step(weights, gradients, m.mutable_values<std::uint16_t>(), v.mutable_values<std::uint16_t>(), rule,
                      step);
  else
    train::adamw_step(weights, gradients, m.mutable_values<float>(), v.mutable_values<float>(), rule, step);
  return {{"w", w}, {"m", m}, {"v", v}};
}

template <typename T>
double clip(Tensor& gradients, double max_norm) {
  const std::vector<std::span<T>> arrays{gradients.mutable_values<T>()};
  return train::clip_gradients<T>(arrays, max_norm);
}

NamedTensors run_clip(const OpArguments& in) {
  Tensor clipped = in.tensor("grad").clone();
  const double max_norm = in.number("max_norm");
  const double norm = in.dtype() == DType::kF64 ? clip<double>(clipped, max_norm) : clip<float>(clipped, max_norm);
  return {
      {"out", clipped}, {"norm", scalar_result(norm)}, {"factor", scalar_result(train::clip_factor(norm, max_norm))}};
}

const std::vector<std::string> kV3Keys{"floor", "last", "constant_tokens", "cosine_tokens", "floor_tokens"};
const std::vector<std::string> kDecayKeys{"factor", "first_decay", "second_decay"};

train::LearningRateSchedule schedule_of(const OpArguments& in) {
  const std::string& kind = in.text("schedule");
  const std::string why = "schedule is " + kind;
  // A setting that is not given keeps the schedule's own value.
  const auto number = [&](const char* key, double& value) {
    if (in.given(key)) value = in.number(key);
  };
  const auto whole = [&](const char* key, std::int64_t& value) {
    if (in.given(key)) value = in.whole(key);
  };
  if (kind != "step_decay") in.refuse_settings(kDecayKeys, why);
  if (kind == "v3" || kind == "constant") in.refuse_settings({"total_steps"}, why);
  if (kind == "v3") {
    train::V3Schedule schedule;
    whole("warm_up_steps", schedule.warm_up_steps);
    number("peak", schedule.peak);
    number("floor", schedule.floor);
    number("last", schedule.last);
    number("constant_tokens", schedule.constant_tokens);
    number("cosine_tokens", schedule.cosine_tokens);
    number("floor_tokens", schedule.floor_tokens);
    return schedule;
  }
  in.refuse_settings({"last", "constant_tokens", "cosine_tokens", "floor_tokens"}, why);
  if (kind != "cosine") in.refuse_settings({"floor"}, why);
  if (kind == "step_decay") {
    train::StepDecaySchedule schedule;
    whole("warm_up_steps", schedule.warm_up_steps);
    whole("total_steps", schedule.total_steps);
    number("peak", schedule.peak);
    number("factor", schedule.factor);
    number("first_decay", schedule.first_decay);
    number("second_decay", schedule.second_decay);
    return schedule;
  }
  if (kind == "cosine") {
    train::CosineSchedule schedule;
    whole("warm_up_steps", schedule.warm_up_steps);
    whole("total_steps", schedule.total_steps);
    number("peak", schedule.peak);
    number("floor", schedule.floor);
    return schedule;
  }
  train::ConstantSchedule schedule;
  whole("warm_up_steps", schedule.warm_up_steps);
  number("peak", schedule.peak);
  return schedule;
}

NamedTensors run_learning_rate(const OpArguments& in) {
  const train::LearningRateSchedule schedule = schedule_of(in);
  const auto steps = in.tensor("step").values<std::int64_t>();
  const auto tokens = in.tensor("tokens").values<double>();
  std::vector<double> rates;
  for (std::size_t i = 0; i < steps.size(); ++i) rates.push_back(train::learning_rate(schedule, steps[i], tokens[i]));
  return {{"lr", vector_result(rates)}};
}

NamedTensors run_batch_size(const OpArguments& in) {
  const train::BatchRamp ramp{in.whole("first"), in.whole("last"), in.number("ramp_tokens"), in.whole("multiple")};
  std::vector<std::int64_t> sizes;
  for (const double tokens : in.tensor("tokens").values<double>()) sizes.push_back(train::batch_size(ramp, tokens));
  return {{"batch", vector_result(sizes)}};
}

constexpr double kManyUpdates = 1e15;  // tokens of a run

OpSetting own(const std::string& key, double least, double most, const std::string& meaning) {
  return number_setting(key, "", least, most, meaning);
}

OpEntry adamw_entry() {
  const OpElements kSingle = OpElements::kSingle;
  return {"adamw",
          "One step of AdamW on FP32 weights, moments in FP32 or BF16",
          {{"w", kSingle, "[...]", "weights"},
           {"grad", kSingle, "[...]", "their gradient"},
           {"m", OpElements::kOther, "[...]", "first moment, of the dtype that moments says (default: zeros)", false},
           {"v", OpElements::kOther, "[...]", "second moment, likewise", false}},
          {whole_setting("step", "1", 1, kManyTokens, "number of this step, from 1"),
           number_setting("learning_rate", "2.2e-4", 0, kLargeFactor, "of this step"),
           number_setting("beta1", "0.9", 0, 1, "decay of m"), number_setting("beta2", "0.95", 0, 1, "decay of v"),
           number_setting("eps", "1e-8", 0, kLargeFactor, "added to the root"),
           number_setting("weight_decay", "0.1", 0, kLargeFactor, "decoupled, first"),
           number_setting("gradient_scale", "1", 0, kLargeFactor, "the gradient times this, as clipping wants it"),
           choice_setting("moments", {"f32", "bf16"}, "what m and v are stored in"),
           choice_setting("moment_use", {"update_from_rounded", "update_from_unrounded"},
                          "bf16: whether the stored moments move the weights, or those before their rounding")},
          {{"w", "[...]", "after the step"}, {"m", "[...]", "after the step"}, {"v", "[...]", "after the step"}},
          run_adamw};
}

OpEntry learning_rate_entry() {
  return {
      "learning_rate",
      "Learning rates over a run",
      {{"step", OpElements::kIndex, "[n]", "from 0"}, {"tokens", OpElements::kDouble, "[n]", "seen before the step"}},
      {choice_setting("schedule", {"v3", "step_decay", "cosine", "constant"},
                      "DeepSeek-V3; DeepSeekMoE; one cosine; constant. Settings below default to the schedule's"),
       whole_setting("warm_up_steps", "", 0, kManyTokens, "linear from 0"),
       own("peak", 0, kLargeFactor, "after the warm-up"),
       own("floor", 0, kLargeFactor, "v3, cosine: end of the cosine"),
       own("last", 0, kLargeFactor, "v3: behind floor_tokens"), own("constant_tokens", 0, kManyUpdates, "v3"),
       own("cosine_tokens", 0, kManyUpdates, "v3"), own("floor_tokens", 0, kManyUpdates, "v3"),
       whole_setting("total_steps", "", 1, kManyTokens, "step_decay, cosine"),
       own("factor", 0, kLargeFactor, "step_decay"), own("first_decay", 0, 1, "step_decay: share of the steps"),
       own("second_decay", 0, 1, "step_decay: share of the steps")},
      {{"lr", "[n]", "in f64"}},
      run_learning_rate};
}

}  // namespace

std::vector<OpEntry> optimizer_ops() {
  return {{"clip_gradients",
           "Clipping by the norm, as torch.nn.utils.clip_grad_norm_",
           {{"grad", OpElements::kFloat, "[...]", "all gradients in one array"}},
           {number_setting("max_norm", "1", kSmallFactor, kLargeFactor, "largest norm")},
           {{"out", "[...]", "clipped"}, {"norm", "[1]", "before, in f64"}, {"factor", "[1]", "in f64"}},
           run_clip},
          adamw_entry(),
          learning_rate_entry(),
          {"batch_size",
           "DeepSeek-V3's ramp of the batch",
           {{"tokens", OpElements::kDouble, "[n]", "seen before the step"}},
           {whole_setting("first", "3072", 1, kManyTokens, "sequences at the start"),
            whole_setting("last", "15360", 1, kManyTokens, "from ramp_tokens on"),
            number_setting("ramp_tokens", "469e9", 0, kManyUpdates, "length of the ramp"),
            whole_setting("multiple", "1", 1, kManyTokens, "steps of the ramp, in sequences")},
           {{"batch", "[n]", "sequences"}},
           run_batch_size}};
}

}  // namespace lastbit::check
