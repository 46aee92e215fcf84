#include "train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "core/parallel.h"
#include "io/config_file.h"
#include "model/config_file.h"
#include "model/init.h"
#include "model/numerics_file.h"
#include "model/parameter_groups.h"
#include "numerics/elementary.h"
#include "ops/bias_update.h"
#include "train/divergence.h"
#include "train/gradient_clip.h"

namespace lastbit::train {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Tensor;
using Clock = std::chrono::steady_clock;

constexpr const char* kBiasName = "mlp.gate.e_score_correction_bias";
const double kLn2 = numerics::log(2.0);

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

nlohmann::json model_object_of(const TrainConfig& config) {
  nlohmann::json object = io::load_config_file(model::model_config_path(config.model));
  object.merge_patch(config.model_config);  // null takes a key away
  return object;
}

NamedTensors drawn_weights(const model::ModelConfig& config, std::uint64_t seed) {
  NamedTensors tensors;
  std::vector<model::WeightSpec> specs = model::main_weights(config);
  std::ranges::copy(model::mtp_weights(config), std::back_inserter(specs));
  for (const model::WeightSpec& spec : specs)
    if (spec.copy_of.empty()) tensors[spec.name] = model::initial_weight(spec, config, seed);
  return tensors;
}

model::Transformer make_model(const TrainConfig& config, const nlohmann::json& object) {
  model::ModelConfig description = model::parse_model_config(object, config.model);
  ops::Numerics numerics = model::find_numerics(config.numerics);
  if (ops::value_dtype(numerics) != DType::kF32)
    core::fail_unsupported("numerics '{}': training has FP32 masters, expected another policy", config.numerics);
  model::Weights weights =
      config.init_from.empty()
          ? model::Weights::from(drawn_weights(description, config.seed), description.num_nextn_predict_layers > 0)
          : model::Weights::load(config.init_from, description, {DType::kF32, true, false});
  return {std::move(description), std::move(weights), std::move(numerics)};
}

std::vector<model::WeightSpec> specs_of(const model::Transformer& model) {
  std::vector<model::WeightSpec> specs = model::main_weights(model.config());
  if (model.weights().has_mtp()) std::ranges::copy(model::mtp_weights(model.config()), std::back_inserter(specs));
  return specs;
}

double mean_of(const model::HeadLoss& loss) { return loss.nll / static_cast<double>(loss.targets); }

// The figures of a layer whose load is complete.
void summarise(LayerLoad& layer) {
  const auto experts = static_cast<double>(layer.load.size());
  const auto total = static_cast<double>(std::accumulate(layer.load.begin(), layer.load.end(), std::int64_t{0}));
  if (total == 0) return;
  const double mean = total / experts;
  layer.max_violation = static_cast<double>(*std::ranges::max_element(layer.load)) / mean - 1;
  double squares = 0;
  for (const std::int64_t load : layer.load) {
    squares += (static_cast<double>(load) - mean) * (static_cast<double>(load) - mean);
    if (load > 0) layer.entropy -= static_cast<double>(load) / total * numerics::log(static_cast<double>(load) / total);
  }
  layer.deviation = std::sqrt(squares / experts);
}

// Adds the choices of one micro-batch, taps router.topk_idx.layerN [tokens, k].
void append_choices(const NamedTensors& taps, const std::vector<std::int64_t>& layers,
                    std::vector<std::uint16_t>& choices) {
  const auto name = [](std::int64_t layer) { return fmt::format("router.topk_idx.layer{}", layer); };
  const std::int64_t tokens = taps.at(name(layers.front())).dim(0);
  const auto top_k = static_cast<std::size_t>(taps.at(name(layers.front())).dim(1));
  for (std::int64_t token = 0; token < tokens; ++token)
    for (const std::int64_t layer : layers) {
      const auto experts = taps.at(name(layer)).values<std::int64_t>();
      for (std::size_t slot = 0; slot < top_k; ++slot) {
        const std::int64_t expert = experts[static_cast<std::size_t>(token) * top_k + slot];
        choices.push_back(expert < 0 ? std::uint16_t{0xFFFF} : static_cast<std::uint16_t>(expert));
      }
    }
}

// What a device has not, and what would be left out in silence.
void require_device_options(const TrainConfig& config, const model::ModelConfig& model) {
  const auto require = [](bool fine, const char* key, const char* found, const char* expected) {
    if (!fine) core::fail_input("{}: found {}, expected {} on a device; --device cpu has it", key, found, expected);
  };
  const model::BalanceOptions& balance = model.balance;
  const bool auxiliary = model.aux_loss_alpha > 0 || balance.device_alpha > 0 || balance.communication_alpha > 0 ||
                         balance.gshard_alpha > 0 || balance.switch_alpha > 0 || balance.z_coefficient > 0;
  require(!config.balance.auxiliary_losses || !auxiliary, "balance.auxiliary_losses", "true with losses in the model",
          "false");
  require(config.optimiser.bf16_moments, "optimiser.moments", "fp32", "bf16");
  require(config.ema_decay == 0, "ema_decay", "an average of the weights", "0");
  require(config.record.shadow_every == 0, "record.shadow_every", "more than 0", "0");
  require(config.record.routing_trace_every == 0, "record.routing_trace_every", "more than 0", "0");
  require(config.recompute == model::Recompute{}, "recompute", "parts of the backward pass", "none");
}

void check_tensors(const NamedTensors& found, const NamedTensors& expected, const std::string& what,
                   const std::string& path) {
  for (const auto& [name, tensor] : expected) {
    const auto other = found.find(name);
    if (other == found.end()) core::fail_input("{}: no {} of '{}'", path, what, name);
    if (other->second.shape() != tensor.shape() || other->second.dtype() != tensor.dtype())
      core::fail_input("{}: {} of '{}' are {} {}, expected {} {}", path, what, name,
                       tensor::name(other->second.dtype()), tensor::to_string(other->second.shape()),
                       tensor::name(tensor.dtype()), tensor::to_string(tensor.shape()));
  }
  if (found.size() != expected.size())
    core::fail_input("{}: {} {}, expected {}", path, found.size(), what, expected.size());
}

void copy_into(NamedTensors& to, const NamedTensors& from) {
  for (auto& [name, tensor] : to) std::ranges::copy(from.at(name).bytes(), tensor.mutable_bytes().begin());
}

}  // namespace

Trainer::Trainer(const TrainConfig& config, const MakeStepDevice& make_device)
    : config_(config),
      model_object_(model_object_of(config)),
      model_(make_model(config, model_object_)),
      specs_(specs_of(model_)),
      windows_(config.data, model_.config().vocab_size, config.seed) {
  for (const model::ParameterGroup& group : model::parameter_groups(specs_, {config.optimiser.decay_embeddings}))
    for (const std::string& weight : group.weights) decays_[weight] = group.weight_decay;
  const DType moment = config.optimiser.bf16_moments ? DType::kBF16 : DType::kF32;
  for (const model::WeightSpec& spec : specs_) {
    if (!spec.copy_of.empty()) continue;
    state_.weights[spec.name] = model_.weights().of(spec.name);
    if (config.ema_decay > 0) state_.ema[spec.name] = state_.weights[spec.name].clone();
    if (!decays_.contains(spec.name)) continue;
    state_.first_moments[spec.name] = Tensor::zeros(moment, spec.shape);
    state_.second_moments[spec.name] = Tensor::zeros(moment, spec.shape);
  }
  if (!make_device) {
    gradients_ = model_.zero_gradients();
    return;
  }
  require_device_options(config, model_.config());
  const std::int64_t sequences = std::max(config.batch.ramp.first, config.batch.ramp.last);
  device_ = make_device({model_.config(), model_.numerics(), model_.weights().has_mtp(), config.batch.micro_sequences,
                         config.data.sequence_tokens, sequences / config.batch.micro_sequences});
  device_->put(state_);
}

void Trainer::restore(const TrainState& state, const std::string& path) {
  check_tensors(state.weights, state_.weights, "weights", path);
  check_tensors(state.first_moments, state_.first_moments, "first moments", path);
  check_tensors(state.second_moments, state_.second_moments, "second moments", path);
  check_tensors(state.ema, state_.ema, "averages", path);
  copy_into(state_.weights, state.weights);
  copy_into(state_.first_moments, state.first_moments);
  copy_into(state_.second_moments, state.second_moments);
  copy_into(state_.ema, state.ema);
  scales_.restore(state.histories);
  state_.histories = state.histories;
  state_.step = state.step;
  state_.tokens = state.tokens;
  state_.position = state.position;
  device_is_ahead_ = false;
  if (device_) device_->put(state_);
}

void Trainer::collect() {
  if (device_is_ahead_) device_->fetch(state_);
  device_is_ahead_ = false;
}

std::vector<std::int64_t> Trainer::moe_layers() const {
  std::vector<std::int64_t> layers;
  for (std::int64_t layer = 0; layer < model_.config().num_hidden_layers; ++layer)
    if (model_.config().is_moe_layer(layer)) layers.push_back(layer);
  return layers;
}

model::LossOptions Trainer::loss_options() {
  const double share = static_cast<double>(state_.tokens) / static_cast<double>(config_.total_tokens);
  model::LossOptions options;
  if (model_.weights().has_mtp()) {
    model::MtpOptions mtp;
    mtp.variant = config_.mtp.variant;
    mtp.weight = share < config_.mtp.late_from ? config_.mtp.weight : config_.mtp.late_weight;
    options.mtp = mtp;
  }
  options.balance_loss = options.balance_in_loss = config_.balance.auxiliary_losses;
  options.recompute = config_.recompute;
  options.scales = &scales_;
  return options;
}

void Trainer::add_routing(const model::LossResult& result, StepReport& report) const {
  report.layers.resize(result.routing.size());
  for (std::size_t i = 0; i < result.routing.size(); ++i) {
    const model::LayerRouting& of_pass = result.routing[i];
    LayerLoad& layer = report.layers[i];
    layer.layer = of_pass.layer;
    layer.load.resize(of_pass.metrics.load.size());
    layer.share_on_nodes.resize(of_pass.metrics.share_on_nodes.size());
    std::ranges::transform(layer.load, of_pass.metrics.load, layer.load.begin(), std::plus<>());
    std::ranges::transform(layer.share_on_nodes, of_pass.metrics.share_on_nodes, layer.share_on_nodes.begin(),
                           std::plus<>());
    layer.dropped += of_pass.metrics.dropped;
    layer.auxiliary_loss += of_pass.auxiliary_loss;
  }
}

void Trainer::fail_diverged(std::int64_t micro, const Tensor& ids, model::LossOptions options,
                            const std::string& reason) {
  options.shadow = nullptr;
  options.taps.clear();
  throw DivergenceError(fmt::format("step {}, micro-batch {}: {}", state_.step + 1, micro,
                                    find_divergence(model_, ids, options, *gradients_, reason)));
}

// The reference looks for the place, from the same weights.
void Trainer::fail_diverged_on_device(const std::vector<TokenRows>& batches, const std::string& reason) {
  collect();
  const model::Gradients none({}, DType::kF32);
  for (std::size_t micro = 0; micro < batches.size(); ++micro) {
    model::LossOptions options = loss_options();
    options.padding = batches[micro].padding;
    const std::string place = find_divergence(model_, batches[micro].ids, options, none, "");
    if (!place.empty())
      throw DivergenceError(fmt::format("step {}, micro-batch {}: {}", state_.step + 1, micro, place));
  }
  throw DivergenceError(
      fmt::format("step {}: {}; the reference's micro-batches of that step are finite", state_.step + 1, reason));
}

void Trainer::run_micro_batch(std::int64_t micro, std::int64_t first_row, const StepExtras& extras,
                              StepReport& report) {
  const TokenRows rows = windows_.read(first_row, config_.batch.micro_sequences);
  const std::vector<std::int64_t> layers = moe_layers();
  model::LossOptions options = loss_options();
  options.padding = rows.padding;
  // A micro-batch draws its own numbers.
  options.randomness = model::Randomness{config_.seed + (static_cast<std::uint64_t>(micro) << 40U),
                                         static_cast<std::uint32_t>(state_.step)};
  if (micro == 0) options.shadow = extras.shadow;
  if (extras.choices != nullptr)
    for (const std::int64_t layer : layers) options.taps.push_back(fmt::format("router.topk_idx.layer{}", layer));
  report.mtp_weight = options.mtp ? options.mtp->weight : 0;
  model::LossResult result;
  try {
    result = model_.loss_and_gradients(rows.ids, options, *gradients_);
  } catch (const core::Error& error) {
    if (error.kind() != core::ErrorKind::kInput) throw;
    fail_diverged(micro, rows.ids, options, error.what());  // ids are checked: what is left are numbers that overflow
  }
  if (!std::isfinite(result.loss)) fail_diverged(micro, rows.ids, options, fmt::format("the loss is {}", result.loss));
  if (has_non_finite(*gradients_)) fail_diverged(micro, rows.ids, options, "a gradient is not finite");
  report.loss += result.loss;
  add_losses({result.main, result.mtp}, report);
  add_routing(result, report);
  if (extras.choices != nullptr && !layers.empty()) append_choices(result.taps, layers, *extras.choices);
}

void Trainer::add_losses(const MicroBatchLoss& losses, StepReport& report) const {
  report.main_loss += mean_of(losses.main);
  report.mtp_loss.resize(losses.mtp.size());
  for (std::size_t depth = 0; depth < losses.mtp.size(); ++depth) report.mtp_loss[depth] += mean_of(losses.mtp[depth]);
}

double Trainer::gradient_sum_norm() const {
  std::vector<std::span<const float>> all;
  for (const auto& [name, gradient] : gradients_->tensors()) all.push_back(gradient.values<float>());
  return gradient_norm<float>(all);
}

StepPasses Trainer::run_on_device(std::int64_t micro_batches, StepReport& report) {
  std::vector<TokenRows> batches;
  for (std::int64_t micro = 0; micro < micro_batches; ++micro)
    batches.push_back(
        windows_.read(state_.position + micro * config_.batch.micro_sequences, config_.batch.micro_sequences));
  const std::optional<model::MtpOptions> mtp = loss_options().mtp;
  report.mtp_weight = mtp ? mtp->weight : 0;
  StepPasses passes;
  try {
    passes = device_->run_passes(batches, mtp);
  } catch (const core::Error& error) {
    if (error.kind() != core::ErrorKind::kInput) throw;
    fail_diverged_on_device(batches, error.what());
  }
  for (const MicroBatchLoss& losses : passes.losses) {
    add_losses(losses, report);
    report.loss += mean_of(losses.main) + (mtp ? model::mtp_loss(losses.mtp, losses.main, *mtp) : 0);
  }
  std::vector<std::int64_t> layers = moe_layers();
  for (std::int64_t depth = 0; std::ssize(layers) < std::ssize(passes.loads); ++depth)
    layers.push_back(model_.config().num_hidden_layers + depth);
  for (std::size_t i = 0; i < passes.loads.size(); ++i) {
    LayerLoad& layer = report.layers.emplace_back();
    layer.layer = layers[i];
    layer.load = passes.loads[i];
  }
  return passes;
}

// The optimiser's figures of the report, from the norm of the gradients' sum over micro-batches.
void Trainer::set_update(StepReport& report, double norm, std::int64_t micro_batches) const {
  report.gradient_norm = norm * (1 / static_cast<double>(micro_batches));
  report.clip_factor = clip_factor(report.gradient_norm, config_.optimiser.clip_norm);
  report.learning_rate = learning_rate(config_.learning_rate, state_.step, static_cast<double>(state_.tokens));
}

void Trainer::optimise_on_device(const StepReport& report, std::int64_t micro_batches) {
  StepUpdate update;
  update.rule = config_.optimiser.adamw;
  update.step = {state_.step + 1, report.learning_rate, report.clip_factor * (1 / static_cast<double>(micro_batches))};
  update.decays = decays_;
  update.bias_rate = report.bias_rate;
  update.bias_tolerance = config_.balance.bias_tolerance;
  device_is_ahead_ = true;
  device_->update(update);
}

void Trainer::optimise(const StepReport& report, std::int64_t micro_batches) {
  const double share = 1 / static_cast<double>(micro_batches);
  const AdamWStep step{state_.step + 1, report.learning_rate, report.clip_factor * share};
  AdamWRule plain = config_.optimiser.adamw;
  plain.weight_decay = 0;
  for (const auto& [name, decays] : decays_) {
    const AdamWRule& rule = decays ? config_.optimiser.adamw : plain;
    const auto weights = state_.weights.at(name).mutable_values<float>();
    const auto gradients = std::as_const(gradients_->of(name)).values<float>();
    Tensor& first = state_.first_moments.at(name);
    Tensor& second = state_.second_moments.at(name);
    if (config_.optimiser.bf16_moments)
      adamw_step(weights, gradients, first.view_as(DType::kU16).mutable_values<std::uint16_t>(),
                 second.view_as(DType::kU16).mutable_values<std::uint16_t>(), rule, step);
    else
      adamw_step(weights, gradients, first.mutable_values<float>(), second.mutable_values<float>(), rule, step);
  }
}

void Trainer::update_biases(const StepReport& report) {
  if (report.bias_rate == 0) return;
  for (const LayerLoad& layer : report.layers) {
    const auto bias = state_.weights.find(model::layer_prefix(layer.layer) + kBiasName);
    if (bias == state_.weights.end()) continue;
    ops::update_bias(bias->second, layer.load, report.bias_rate, config_.balance.bias_tolerance);
  }
}

// e = RN(e + RN((1 - decay) RN(w - e)))
void Trainer::update_ema() {
  const auto rate = static_cast<float>(1 - config_.ema_decay);
  for (auto& [name, average] : state_.ema) {
    const auto weights = std::as_const(state_.weights.at(name)).values<float>();
    const auto averages = average.mutable_values<float>();
    core::parallel_for(average.size(), 1 << 16, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
        averages[i] += rate * (weights[i] - averages[i]);
    });
  }
}

StepReport Trainer::step(const StepExtras& extras) {
  core::check(!finished(), "a step of a run that is not finished");
  const Clock::time_point start = Clock::now();
  StepReport report;
  report.sequences = batch_size(config_.batch.ramp, static_cast<double>(state_.tokens));
  const std::int64_t micro_batches = report.sequences / config_.batch.micro_sequences;
  if (gradients_) gradients_->clear();
  const Clock::time_point before_passes = Clock::now();
  StepPasses of_device;
  if (device_) of_device = run_on_device(micro_batches, report);
  for (std::int64_t micro = 0; micro < micro_batches && !device_; ++micro)
    run_micro_batch(micro, state_.position + micro * config_.batch.micro_sequences, extras, report);
  const Clock::time_point after_passes = Clock::now();
  const auto count = static_cast<double>(micro_batches);
  report.loss /= count;
  report.main_loss /= count;
  for (double& loss : report.mtp_loss) loss /= count;
  for (LayerLoad& layer : report.layers) {
    layer.auxiliary_loss /= count;
    for (double& share : layer.share_on_nodes) share /= count;
    report.balance_loss += layer.auxiliary_loss;
    summarise(layer);
  }
  const double share = static_cast<double>(state_.tokens) / static_cast<double>(config_.total_tokens);
  report.bias_rate = share < config_.balance.bias_until ? config_.balance.bias_rate : 0;
  set_update(report, device_ ? of_device.gradient_norm : gradient_sum_norm(), micro_batches);
  if (device_) {
    optimise_on_device(report, micro_batches);
  } else {
    optimise(report, micro_batches);
    update_biases(report);
    update_ema();
  }
  scales_.end_step();
  state_.histories = scales_.histories();
  report.step = ++state_.step;
  report.tokens = state_.tokens += report.sequences * config_.data.sequence_tokens;
  state_.position += report.sequences;
  report.passes_s = std::chrono::duration<double>(after_passes - before_passes).count();
  report.optimiser_s = seconds_since(after_passes);
  report.step_s = seconds_since(start);
  return report;
}

double Trainer::loss_of(const Tensor& ids) const {
  if (device_) return device_->loss(ids);
  model::ForwardOptions options;
  options.taps = {"loss"};
  ops::DelayedScales scales = scales_;  // what is held out leaves no trace
  options.scales = &scales;
  return static_cast<double>(model_.forward(ids, options).at("loss").values<float>()[0]);
}

std::optional<Trainer::Evaluation> Trainer::evaluate() const {
  const Tensor& ids = windows_.validation().ids;
  if (windows_.validation().rows() == 0) return std::nullopt;
  const std::int64_t width = ids.dim(1);
  Evaluation result;
  double nll = 0;
  for (std::int64_t row = 0; row < ids.dim(0); row += config_.batch.micro_sequences) {
    const Tensor part = ids.slice(0, row, std::min(row + config_.batch.micro_sequences, ids.dim(0))).contiguous();
    const auto targets = part.dim(0) * (width - 1);
    nll += loss_of(part) * static_cast<double>(targets);
    result.targets += targets;
  }
  std::int64_t bytes = 0;
  const auto all = ids.values<std::int64_t>();
  for (std::size_t i = 0; i < all.size(); ++i)
    if (i % static_cast<std::size_t>(width) != 0) bytes += windows_.token_bytes()[static_cast<std::size_t>(all[i])];
  result.loss = nll / static_cast<double>(result.targets);
  result.bits_per_byte = nll / kLn2 / static_cast<double>(std::max<std::int64_t>(bytes, 1));
  return result;
}

NamedTensors Trainer::export_weights(bool ema) const {
  NamedTensors tensors;
  const NamedTensors& from = ema ? state_.ema : state_.weights;
  for (const model::WeightSpec& spec : specs_)
    tensors[spec.name] = from.at(spec.copy_of.empty() ? spec.name : spec.copy_of);
  return tensors;
}

}  // namespace lastbit::train
