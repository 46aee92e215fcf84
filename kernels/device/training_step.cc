#include "kernels/device/training_step.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <memory>

#include "core/error.h"
#include "kernels/device/block_layer.h"
#include "kernels/device/mtp_layer.h"
#include "kernels/device/narrow.h"
#include "kernels/device/support.h"
#include "kernels/plain/layers.h"
#include "kernels/plain/mixture.h"
#include "kernels/plain/sums.h"
#include "kernels/training/gradient_clip.h"
#include "kernels/training/training.h"
#include "model/language_head.h"
#include "model/token_ids.h"
#include "model/weight_specs.h"
#include "numerics/elementary.h"

namespace lastbit::device {
namespace {

using tensor::Tensor;

// What comes back to the host, in words of 8 bytes: the gradients' sum of squares, the count of logits that are not
// finite, the losses of each micro-batch (the main one, then each depth's), and the loads.
class Report {
 public:
  Report(DeviceModel& model, std::size_t batches, std::int64_t depths)
      : layers_(std::ssize(mixture_layers(model.config(), model.use().mtp))),
        experts_(model.config().n_routed_experts),
        losses_(1 + depths),
        words_(model.runtime().allocate("report", Element::kF64,
                                        2 + static_cast<std::int64_t>(batches) * (1 + depths) + layers_ * experts_)) {
    model.runtime().run(
        [&] { kernels::fill_zero(static_cast<float*>(words_.data), 2 * static_cast<std::size_t>(words_.count)); });
  }

  [[nodiscard]] Array squares() const { return words_.part(0, 1); }
  [[nodiscard]] Array non_finite() const { return whole(words_.part(1, 1)); }
  [[nodiscard]] Array losses(std::size_t batch) const {
    return words_.part(2 + static_cast<std::int64_t>(batch) * losses_, losses_);
  }
  [[nodiscard]] Array loads() const {
    return whole(words_.part(words_.count - layers_ * experts_, layers_ * experts_));
  }

  // Waits for the device. Fills in what `result` has no number for yet.
  void read(Runtime& runtime, train::StepPasses& result) const {
    std::vector<double> words(static_cast<std::size_t>(words_.count));
    runtime.download(words_, std::as_writable_bytes(std::span(words)));
    if (const auto count = std::bit_cast<std::int64_t>(words[1]); count > 0)
      core::fail_input("{} router logits are not finite: with these weights the activations overflow", count);
    std::size_t word = 2;
    for (train::MicroBatchLoss& loss : result.losses) {
      loss.main.nll = words[word++];
      for (model::HeadLoss& depth : loss.mtp) depth.nll = words[word++];
    }
    for (std::int64_t layer = 0; layer < layers_; ++layer) {
      std::vector<std::int64_t>& load = result.loads.emplace_back();
      for (std::int64_t e = 0; e < experts_; ++e) load.push_back(std::bit_cast<std::int64_t>(words[word++]));
    }
    result.gradient_norm = std::sqrt(words[0]);
  }

 private:
  static Array whole(Array words) {
    words.element = Element::kI64;
    return words;
  }

  std::int64_t layers_;
  std::int64_t experts_;
  std::int64_t losses_;  // of a micro-batch
  Array words_;
};

// The forward pass of the main model, kept for the way back.
class MainPass {
 public:
  explicit MainPass(const Pass& pass) : pass_(pass), head_(pass, "model.norm.weight") {}

  void forward() {
    const std::int64_t rows = pass_.place.rows();
    const std::int64_t d = pass_.config.hidden_size;
    streams_.push_back(pass_.room("hidden", rows, d));
    pass_.runtime.run([&] {
      kernels::embedding_values(embedding().value.f32(), pass_.place.ids.i64(), narrow(rows),
                                narrow(d), streams_.back().values());
    });
    for (std::int64_t layer = 0; layer < pass_.config.num_hidden_layers; ++layer) {
      const Array y = pass_.room("hidden", rows, d);
      blocks_.push_back(std::make_unique<BlockLayer>(layer, pass_));
      blocks_.back()->forward(streams_.back(), y);
      streams_.push_back(y);
    }
    head_.normalise(streams_.back());
  }

  // dstream: what else the gradient of the last stream has, or an array without elements.
  void backward(const Array& dstream) {
    const Runtime::Scope scope(pass_.runtime);
    const std::int64_t rows = pass_.place.rows();
    const std::int64_t d = pass_.config.hidden_size;
    Array dy = pass_.room("dhidden", rows, d);
    Array dx = pass_.room("dhidden", rows, d);
    head_.backward_norm(head_.normed_gradient(), dy);
    if (dstream.count > 0) add(pass_, dy, dstream, dy);
    for (auto block = blocks_.rbegin(); block != blocks_.rend(); ++block) {
      (*block)->backward(dy, dx);
      std::swap(dy, dx);
    }
    embedding_gradient(pass_, dy);
  }

  [[nodiscard]] HeadLayer& head() { return head_; }
  [[nodiscard]] const Array& stream() const { return streams_.back(); }

 private:
  [[nodiscard]] const Parameter& embedding() const { return pass_.parameters.of("model.embed_tokens.weight"); }

  const Pass& pass_;
  HeadLayer head_;
  std::vector<Array> streams_;  // before the first block, then behind each
  std::vector<std::unique_ptr<BlockLayer>> blocks_;
};

const Tensor* padding_of(const train::TokenRows& batch) { return batch.padding.size() > 0 ? &batch.padding : nullptr; }

train::MicroBatchLoss run_micro_batch(DeviceModel& model, const train::TokenRows& batch,
                                      const std::optional<model::MtpOptions>& mtp, const Report& report,
                                      const Array& nll) {
  Runtime& runtime = model.runtime();
  const Runtime::Scope scope(runtime);
  Pass pass{model.config(), runtime, model.parameters(), model.use().element,
            place_tokens(model.config(), model::plain_layout(batch.ids.dim(0), batch.ids.dim(1)), batch.ids, runtime)};
  pass.keep = true;
  pass.non_finite = report.non_finite();
  pass.loads = report.loads();
  MainPass main(pass);
  main.forward();
  const Tensor targets = model::targets_ahead(batch.ids, 1, batch.ids.dim(1), padding_of(batch));
  train::MicroBatchLoss loss;
  loss.main.targets = model::count_targets(targets);
  main.head().loss(targets, 1, nll.part(0, 1));
  Array dstream;
  if (mtp) {
    MtpLayers modules(pass, *mtp, batch.ids, padding_of(batch));
    modules.forward(main.stream(), main.head().normed(), nll.part(1, nll.count - 1));
    for (const std::int64_t count : modules.targets()) loss.mtp.push_back({0, count});
    const Array dinput = pass.room("dinput of MTP", pass.place.rows(), model.config().hidden_size);
    modules.backward(dinput);
    if (mtp->variant == model::MtpVariant::kPaper)
      dstream = dinput;
    else
      add(pass, main.head().normed_gradient(), dinput, main.head().normed_gradient());
  }
  main.backward(dstream);
  return loss;
}

std::size_t parts_of(std::size_t count) { return (count + kernels::kNormRange - 1) / kernels::kNormRange; }

void add_squares(DeviceModel& model, const Array& total) {
  Runtime& runtime = model.runtime();
  const Runtime::Scope scope(runtime);
  std::size_t parts = 0;
  for (const Parameter& parameter : model.parameters().all())
    parts += parts_of(static_cast<std::size_t>(parameter.gradient.count));
  const Array sums = runtime.allocate("sums of squares", Element::kF64, static_cast<std::int64_t>(parts));
  std::size_t filled = 0;
  for (const Parameter& parameter : model.parameters().all()) {
    const auto count = static_cast<std::size_t>(parameter.gradient.count);
    if (count == 0) continue;
    runtime.run(
        [&] { kernels::sum_squares(parameter.gradient.f32(), count, sums.f64() + filled, kernels::Version::kTuned); });
    filled += parts_of(count);
  }
  runtime.run([&] { kernels::sum_parts(sums.f64(), parts, total.f64()); });
}

// As train/adamw.cc makes them: in double, rounded once.
kernels::AdamwFactors factors_of(const train::AdamWRule& rule, double weight_decay, const train::AdamWStep& step) {
  const auto t = static_cast<double>(step.number);
  return {static_cast<float>(1 - step.learning_rate * weight_decay),
          static_cast<float>(rule.beta1),
          static_cast<float>(1 - rule.beta1),
          static_cast<float>(rule.beta2),
          static_cast<float>(1 - rule.beta2),
          static_cast<float>(step.learning_rate / (1 - numerics::pow(rule.beta1, t))),
          static_cast<float>(std::sqrt(1 - numerics::pow(rule.beta2, t))),
          static_cast<float>(rule.epsilon),
          rule.moment_use == train::MomentUse::kRounded,
          static_cast<float>(step.gradient_scale)};
}

// In pieces whose elements an int counts.
void step_parameter(const Parameter& parameter, const kernels::AdamwFactors& factors) {
  constexpr std::int64_t kPiece = 1 << 30;
  for (std::int64_t begin = 0; begin < parameter.value.count; begin += kPiece) {
    const std::int64_t count = std::min(kPiece, parameter.value.count - begin);
    auto* const weights = parameter.value.part(begin, count).f32();
    auto* const first = static_cast<std::uint16_t*>(parameter.first.part(begin, count).data);
    auto* const second = static_cast<std::uint16_t*>(parameter.second.part(begin, count).data);
    kernels::adamw({weights, parameter.gradient.part(begin, count).f32(), first, second, weights, first, second,
                    narrow(count)},
                   factors, kernels::Version::kTuned);
  }
}

void update_biases(DeviceModel& model, const train::StepUpdate& update, const train::StepPasses& passes) {
  Runtime& runtime = model.runtime();
  const std::vector<std::int64_t> layers = mixture_layers(model.config(), model.use().mtp);
  const std::int64_t experts = model.config().n_routed_experts;
  const Runtime::Scope scope(runtime);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Parameter& bias = model.parameters().of(model::layer_prefix(layers[i]) + "mlp.gate.e_score_correction_bias");
    const Array loads = runtime.allocate("loads", Element::kI64, experts);
    runtime.upload(loads, std::as_bytes(std::span(passes.loads[i])));
    runtime.run([&] {
      kernels::update_bias(loads.i64(), narrow(experts), static_cast<float>(update.bias_rate),
                           update.bias_tolerance, bias.value.f32());
    });
  }
}

}  // namespace

train::StepPasses run_passes(DeviceModel& model, std::span<const train::TokenRows> batches,
                             const std::optional<model::MtpOptions>& mtp) {
  core::check(model.use().gradients && (!mtp || model.use().mtp), "a model that was made with these gradients");
  for (const train::TokenRows& batch : batches) {
    model::check_token_ids(batch.ids, model.config().vocab_size);
    require_length(batch.ids.dim(1), true);
    if (batch.ids.dim(1) < 2)
      core::fail_input("loss: found sequences of 1 token, expected at least 2: there is no next token to predict");
  }
  const Runtime::Scope scope(model.runtime());
  const Report report(model, batches.size(), mtp ? model.config().num_nextn_predict_layers : 0);
  model.parameters().clear_gradients();
  train::StepPasses result;
  for (std::size_t i = 0; i < batches.size(); ++i)
    result.losses.push_back(run_micro_batch(model, batches[i], mtp, report, report.losses(i)));
  add_squares(model, report.squares());
  report.read(model.runtime(), result);
  for (const train::MicroBatchLoss& loss : result.losses)
    if (!std::isfinite(loss.main.nll))
      core::fail_input("the loss is {}: with these weights the activations overflow", loss.main.nll);
  if (!std::isfinite(result.gradient_norm))
    core::fail_input("the gradients' norm is {}, expected a finite number", result.gradient_norm);
  return result;
}

void update_weights(DeviceModel& model, const train::StepUpdate& update, const train::StepPasses& passes) {
  Runtime& runtime = model.runtime();
  for (const Parameter& parameter : model.parameters().all()) {
    const auto decays = update.decays.find(parameter.tensors.front());
    if (decays == update.decays.end()) continue;
    runtime.run([&] {
      step_parameter(parameter, factors_of(update.rule, decays->second ? update.rule.weight_decay : 0, update.step));
    });
  }
  if (update.bias_rate != 0) update_biases(model, update, passes);
  model.parameters().refresh_codes();
}

}  // namespace lastbit::device
