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
      : loads_(model.loads()),
        experts_(model.config().n_routed_experts),
        losses_(1 + depths),
        words_(model.runtime().allocate("report", Element::kF64,
                                        2 + static_cast<std::int64_t>(batches) * (1 + depths) + loads_.count)) {
    model.runtime().run([&] {
      for (const Array& words : {words_, loads_})
        if (words.count > 0) kernels::fill_zero(words.as<float>(), 2 * static_cast<std::size_t>(words.count));
    });
  }

  [[nodiscard]] Array squares() const { return words_.part(0, 1); }
  [[nodiscard]] Array non_finite() const { return whole(words_.part(1, 1)); }
  [[nodiscard]] Array losses(std::size_t batch) const {
    return words_.part(2 + static_cast<std::int64_t>(batch) * losses_, losses_);
  }

  // Waits for the device. Fills in what `result` has no number for yet.
  void read(Runtime& runtime, train::StepPasses& result) const {
    const Array loads = words_.part(words_.count - loads_.count, loads_.count);
    if (loads.count > 0)
      runtime.run(
          [&] { kernels::copy_words(loads_.i64(), loads.as<std::int64_t>(), static_cast<std::size_t>(loads.count)); });
    std::vector<double> words(static_cast<std::size_t>(words_.count));
    runtime.download(words_, std::as_writable_bytes(std::span(words)));
    if (const auto count = std::bit_cast<std::int64_t>(words[1]); count > 0)
      core::fail_input("{} router logits are not finite: with these weights the activations overflow", count);
    std::size_t word = 2;
    for (train::MicroBatchLoss& loss : result.losses) {
      loss.main.nll = words[word++];
      for (model::HeadLoss& depth : loss.mtp) depth.nll = words[word++];
    }
    while (word < words.size()) {
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

  Array loads_;  // the model's
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
      kernels::embedding_values(embedding().value.f32(), pass_.place.ids.i64(), narrow(rows), narrow(d),
                                streams_.back().values());
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

// A micro-batch on the device.
struct SentRows {
  Place main;
  std::vector<Place> modules;  // of MTP, by depth
};
SentRows send_rows(DeviceModel& model, const train::TokenRows& batch, bool mtp) {
  Runtime& runtime = model.runtime();
  const Tensor& ids = batch.ids;
  SentRows sent;
  sent.main = place_tokens(model.config(), model::plain_layout(ids.dim(0), ids.dim(1)), ids, runtime);
  place_targets(sent.main, model::targets_ahead(ids, 1, ids.dim(1), padding_of(batch)), runtime);
  if (mtp) sent.modules = place_modules(model.config(), ids, padding_of(batch), runtime);
  return sent;
}

train::MicroBatchLoss run_micro_batch(DeviceModel& model, const SentRows& rows,
                                      const std::optional<model::MtpOptions>& mtp, const Report& report,
                                      const Array& nll) {
  Runtime& runtime = model.runtime();
  const Runtime::Scope scope(runtime);
  Pass pass{model.config(), runtime, model.parameters(), model.use().element, rows.main};
  pass.keep = true;
  pass.non_finite = report.non_finite();
  pass.loads = model.loads();
  MainPass main(pass);
  main.forward();
  train::MicroBatchLoss loss;
  loss.main.targets = rows.main.target_count;
  main.head().loss(1, nll.part(0, 1));
  Array dstream;
  if (mtp) {
    MtpLayers modules(pass, *mtp, rows.modules);
    modules.forward(main.stream(), main.head().normed(), nll.part(1, nll.count - 1));
    for (const Place& place : rows.modules) loss.mtp.push_back({0, place.target_count});
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
    kernels::adamw(
        {weights, parameter.gradient.part(begin, count).f32(), first, second, weights, first, second, narrow(count)},
        factors, kernels::Version::kTuned);
  }
}

void update_biases(DeviceModel& model, const train::StepUpdate& update) {
  const std::vector<std::int64_t> layers = mixture_layers(model.config(), model.use().mtp);
  const std::int64_t experts = model.config().n_routed_experts;
  for (std::int64_t i = 0; i < std::ssize(layers); ++i) {
    const std::string prefix = model::layer_prefix(layers[static_cast<std::size_t>(i)]);
    const Parameter& bias = model.parameters().of(prefix + "mlp.gate.e_score_correction_bias");
    const Array loads = model.loads().part(i * experts, experts);
    model.runtime().run([&] {
      kernels::update_bias(loads.i64(), narrow(experts), static_cast<float>(update.bias_rate), update.bias_tolerance,
                           bias.value.f32());
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
  std::vector<SentRows> sent;
  for (const train::TokenRows& batch : batches) sent.push_back(send_rows(model, batch, mtp.has_value()));
  const Report report(model, batches.size(), mtp ? model.config().num_nextn_predict_layers : 0);
  model.parameters().clear_gradients();
  train::StepPasses result;
  for (std::size_t i = 0; i < batches.size(); ++i)
    result.losses.push_back(run_micro_batch(model, sent[i], mtp, report, report.losses(i)));
  add_squares(model, report.squares());
  report.read(model.runtime(), result);
  for (const train::MicroBatchLoss& loss : result.losses)
    if (!std::isfinite(loss.main.nll))
      core::fail_input("the loss is {}: with these weights the activations overflow", loss.main.nll);
  if (!std::isfinite(result.gradient_norm))
    core::fail_input("the gradients' norm is {}, expected a finite number", result.gradient_norm);
  return result;
}

void update_weights(DeviceModel& model, const train::StepUpdate& update) {
  Runtime& runtime = model.runtime();
  for (const Parameter& parameter : model.parameters().all()) {
    const auto decays = update.decays.find(parameter.tensors.front());
    if (decays == update.decays.end()) continue;
    runtime.run([&] {
      step_parameter(parameter, factors_of(update.rule, decays->second ? update.rule.weight_decay : 0, update.step));
    });
  }
  if (update.bias_rate != 0) update_biases(model, update);
  model.parameters().refresh_codes();
}

}  // namespace lastbit::device
