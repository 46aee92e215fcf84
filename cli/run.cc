// lastbit run: token ids through a checkpoint, forward and backward, results by name.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/device.h"
#include "core/error.h"
#include "core/log.h"
#include "io/arrays.h"
#include "model/config_file.h"
#include "model/memory_plan.h"
#include "model/numerics_file.h"
#include "model/transformer.h"
#include "ops/numerics.h"
#include "tensor/tensor.h"

namespace lastbit::cli {
namespace {

struct RunOptions {
  std::string directory;
  std::string tokens;
  std::vector<std::int64_t> token_ids;
  std::vector<std::string> taps;
  std::string numerics = "fp32";
  std::string out;
  bool loss = false;
  std::string grads;
  std::vector<std::string> mtp{"paper", "hf"};
  std::string mtp_loss = "targets";
  std::string mtp_order = "embedding-first";
  std::string balance_loss = "release";
  bool balance_in_loss = false;
  std::uint64_t seed = 0;
  std::uint32_t step = 0;
  std::vector<std::int64_t> documents;
  std::string attention = "naive";
  std::vector<std::string> recompute;
  std::string shadow;
  bool stream = false;
  bool dry_run = false;
  std::string device = "cpu";
};

// The ids of --tokens or --token-ids, [B, S].
tensor::Tensor input_ids(const RunOptions& options) {
  if (options.tokens.empty() == options.token_ids.empty())
    core::fail_input("run: expected either --tokens or --token-ids, found {}",
                     options.tokens.empty() ? "neither" : "both");
  if (!options.tokens.empty()) return io::load_array(options.tokens);
  return tensor::Tensor::from<std::int64_t>({1, static_cast<std::int64_t>(options.token_ids.size())},
                                            options.token_ids);
}

void require_container(const char* flag, const std::string& file) {
  if (!file.empty() && !io::is_container(file))
    core::fail_input("{} {}: expected a name that ends in .safetensors, .npz or .h5", flag, file);
}

bool is_gradient(const std::string& tap) { return tap.starts_with("grad."); }

void check(const RunOptions& options) {
  require_container("--out", options.out);
  require_container("--grads", options.grads);
  if (!options.taps.empty() && options.out.empty()) core::fail_input("run: --tap wants --out FILE to write to");
  const bool backward = !options.grads.empty() || std::any_of(options.taps.begin(), options.taps.end(), is_gradient);
  if (options.stream && backward) core::fail_input("run: --stream reads each layer once, forward: no gradients");
  if (options.attention == "absorbed" && backward)
    core::fail_input("run: --attention absorbed has no backward pass, expected naive with gradients");
  if (!options.recompute.empty() && !backward)
    core::fail_input("run: --recompute is of the backward pass, expected --grads or a tap of a gradient beside it");
  if (options.out.empty() && !options.loss && !backward && options.shadow.empty() && !options.dry_run)
    core::fail_input("run: nothing to do, expected --out, --loss, --grads, --shadow or --dry-run");
}

model::Recompute recompute_of(const std::vector<std::string>& names) {
  const auto has = [&](const char* name) { return std::find(names.begin(), names.end(), name) != names.end(); };
  return {has("norms"), has("up_projections"), has("swiglu")};
}

void print_arrays(const tensor::NamedTensors& arrays) {
  for (const auto& [name, array] : arrays)
    std::cout << fmt::format("{:<28} {:<5} {}\n", name, tensor::name(array.dtype()), tensor::to_string(array.shape()));
}

void print_loss(const std::string& what, double loss) { std::cout << fmt::format("{:<28} {:.9g}\n", what, loss); }

void print_shadow(const ops::Shadow& shadow) {
  if (shadow.losses().empty()) {
    std::cout << "no product ran on a tensor core: these numerics have none\n";
    return;
  }
  const auto share = [](std::int64_t part, std::int64_t all) {
    return all == 0 ? 0 : static_cast<double>(part) / static_cast<double>(all);
  };
  std::cout << fmt::format("{:<48} {:<6} {:>9} {:>11} {:>9} {:>9} {:>9} {:>9}\n", "product against FP32", "role",
                           "rel. err", "1 - cosine", "flushed a", "satur. a", "flushed b", "satur. b");
  for (const ops::ProductLoss& loss : shadow.losses())
    std::cout << fmt::format(
        "{:<48} {:<6} {:>9.2e} {:>11.2e} {:>9.2e} {:>9.2e} {:>9.2e} {:>9.2e}\n", loss.site, loss.product,
        loss.relative_error(), 1 - loss.cosine(), share(loss.left.flushed, loss.left.elements),
        share(loss.left.saturated, loss.left.elements), share(loss.right.flushed, loss.right.elements),
        share(loss.right.saturated, loss.right.elements));
}

void print_plan(const RunOptions& options, const ops::Numerics& numerics, const tensor::Tensor& ids, bool backward) {
  const model::ModelConfig config = model::load_model_config(options.directory);
  if (ids.rank() != 2) core::fail_input("token ids: found {}, expected [B, S]", tensor::to_string(ids.shape()));
  const bool mtp = config.num_nextn_predict_layers > 0;
  std::cout << model::memory_plan_text(model::memory_plan(
      config, numerics, {ids.dim(0), ids.dim(1), backward, options.stream, mtp, recompute_of(options.recompute)}));
}

double value_of(const tensor::Tensor& scalar) {
  return scalar.dtype() == tensor::DType::kF64 ? scalar.values<double>()[0]
                                               : static_cast<double>(scalar.values<float>()[0]);
}

model::MtpOptions mtp_options(const RunOptions& options, const std::string& variant) {
  model::MtpOptions mtp{model::find_mtp_variant(variant)};
  mtp.hidden_first = options.mtp_order == "hidden-first";
  mtp.over_all_tokens = options.mtp_loss == "all";
  return mtp;
}

void log_routing(const std::vector<model::LayerRouting>& layers) {
  for (const model::LayerRouting& layer : layers) {
    if (layer.metrics.dropped > 0)
      core::log_info("layer {}: {} (token, expert) pairs dropped, {} tokens without an expert", layer.layer,
                     layer.metrics.dropped, layer.metrics.tokens_without_expert);
    if (layer.metrics.skipped > 0)
      core::log_info("layer {}: {} second experts left out at random", layer.layer, layer.metrics.skipped);
    if (layer.auxiliary_loss > 0) core::log_info("layer {}: auxiliary loss {:.9g}", layer.layer, layer.auxiliary_loss);
  }
}

// One backward pass: its gradients under "PREFIX.name" in `all`.
model::LossResult add_gradients(const model::Transformer& transformer, const tensor::Tensor& ids,
                                const model::LossOptions& loss, const std::string& prefix, tensor::NamedTensors& all) {
  model::Gradients gradients = transformer.zero_gradients();
  model::LossResult result = transformer.loss_and_gradients(ids, loss, gradients);
  for (const auto& [name, gradient] : gradients.tensors())
    if (loss.mtp || !transformer.is_mtp_weight(name))
      all.insert_or_assign(fmt::format("{}.{}", prefix, name), gradient);
  return result;
}

// Gradients of the main loss, then of each MTP variant's total and of that with Medusa heads; taps of the first into
// `results`.
void run_backward(const RunOptions& options, const model::Transformer& transformer, const tensor::Tensor& ids,
                  ops::Shadow* shadow, tensor::NamedTensors& results) {
  model::LossOptions loss;
  std::copy_if(options.taps.begin(), options.taps.end(), std::back_inserter(loss.taps), is_gradient);
  loss.documents = options.documents;
  loss.recompute = recompute_of(options.recompute);
  loss.shadow = shadow;
  loss.balance_loss = options.balance_loss == "on" ||
                      (options.balance_loss == "release" && transformer.config().model_type == "deepseek");
  loss.balance_in_loss = options.balance_in_loss;
  loss.randomness = model::Randomness{options.seed, options.step};
  tensor::NamedTensors gradients;
  model::LossResult main = add_gradients(transformer, ids, loss, "grad", gradients);
  log_routing(main.routing);
  print_loss("loss, with gradients", main.loss);
  results.merge(main.taps);
  if (options.grads.empty()) return;
  loss.taps.clear();
  loss.shadow = nullptr;
  for (const std::string& variant : options.mtp) {
    if (variant == "none" || !transformer.weights().has_mtp()) continue;
    loss.mtp = mtp_options(options, variant);
    const double total = add_gradients(transformer, ids, loss, "grad_mtp." + variant, gradients).loss;
    print_loss("loss, with MTP as " + variant, total);
  }
  if (transformer.config().medusa_heads > 0) {
    loss.mtp.reset();
    loss.medusa = model::MedusaOptions{};
    print_loss("loss, with Medusa heads", add_gradients(transformer, ids, loss, "grad_medusa", gradients).loss);
  }
  io::save_arrays(options.grads, gradients);
  core::log_info("wrote {}: {} arrays", options.grads, gradients.size());
}

// What there is on the CPU alone.
void check_for_device(const RunOptions& options) {
  const auto require = [&](bool fine, const char* flag) {
    if (!fine) core::fail_input("run: {} is of the CPU's reference alone, expected --device cpu with it", flag);
  };
  require(options.documents.empty(), "--documents");
  require(options.attention == "naive", "--attention absorbed");
  require(options.recompute.empty(), "--recompute");
  require(options.shadow.empty(), "--shadow");
  require(!options.stream, "--stream");
  require(options.balance_loss != "on" && !options.balance_in_loss, "--balance-loss");
  require(std::none_of(options.taps.begin(), options.taps.end(), is_gradient), "--tap grad.");
}

std::vector<std::string> forward_taps(const RunOptions& options) {
  std::vector<std::string> taps;
  std::copy_if(options.taps.begin(), options.taps.end(), std::back_inserter(taps),
               [](const std::string& tap) { return !is_gradient(tap); });
  if (options.taps.empty() && !options.out.empty()) taps = {"logits"};
  if (options.loss) taps.emplace_back("loss");
  return taps;
}

void save_results(const RunOptions& options, const tensor::NamedTensors& results) {
  if (options.out.empty()) return;
  io::save_arrays(options.out, results);
  print_arrays(results);
  core::log_info("wrote {}", options.out);
}

device::RunRequest device_request(const RunOptions& options, const ops::Numerics& numerics, const tensor::Tensor& ids,
                                  bool has_mtp) {
  device::RunRequest request{numerics, ids, forward_taps(options), !options.grads.empty(), {}};
  for (const std::string& variant : options.mtp)
    if (request.gradients && has_mtp && variant != "none") request.mtp.push_back(mtp_options(options, variant));
  return request;
}

void run_for_device(const RunOptions& options, const ops::Numerics& numerics, const tensor::Tensor& ids) {
  const model::Transformer transformer = model::Transformer::load(options.directory, numerics);
  const device::RunResult result = run_on_device(
      options.device, transformer, device_request(options, numerics, ids, transformer.weights().has_mtp()));
  if (options.loss) print_loss("loss", value_of(result.taps.at("loss")));
  for (const auto& [variant, loss] : result.losses)
    print_loss(variant.empty() ? "loss, with gradients" : "loss, with MTP as " + variant, loss);
  if (!options.grads.empty()) {
    io::save_arrays(options.grads, result.gradients);
    core::log_info("wrote {}: {} arrays", options.grads, result.gradients.size());
  }
  save_results(options, result.taps);
}

// Of a device: what the very passes allocate.
void print_device_plan(const RunOptions& options, const ops::Numerics& numerics, const tensor::Tensor& ids) {
  const model::ModelConfig config = model::load_model_config(options.directory);
  const bool mtp = config.num_nextn_predict_layers > 0;
  std::cout << model::memory_plan_text(device_plan(config, device_request(options, numerics, ids, mtp)));
}

int run_model(RunOptions options) {
  check(options);
  const ops::Numerics numerics = model::find_numerics(options.numerics);
  const tensor::Tensor ids = input_ids(options);
  const bool backward = !options.grads.empty() || std::any_of(options.taps.begin(), options.taps.end(), is_gradient);
  if (options.device != "cpu") check_for_device(options);
  if (options.dry_run) {
    if (options.device != "cpu")
      print_device_plan(options, numerics, ids);
    else
      print_plan(options, numerics, ids, backward);
    return core::kExitOk;
  }
  options.device = usable_device(options.device);
  if (options.device != "cpu") {
    run_for_device(options, numerics, ids);
    return core::kExitOk;
  }
  const model::Transformer transformer = model::Transformer::load(options.directory, numerics, options.stream);
  ops::Shadow shadow;
  ops::Shadow* log = options.shadow.empty() ? nullptr : &shadow;
  tensor::NamedTensors results;

  model::ForwardOptions forward;
  forward.taps = forward_taps(options);
  forward.documents = options.documents;
  forward.mla_form = options.attention == "absorbed" ? model::MlaForm::kAbsorbed : model::MlaForm::kNaive;
  forward.mtp = mtp_options(options, "paper");
  forward.shadow = backward ? nullptr : log;
  if (!forward.taps.empty() || (log != nullptr && !backward)) results = transformer.forward(ids, forward);
  if (options.loss) print_loss("loss", value_of(results.at("loss")));
  if (backward) run_backward(options, transformer, ids, log, results);
  save_results(options, results);
  if (log != nullptr) print_shadow(shadow);
  return core::kExitOk;
}

void add_outputs(CLI::App& command, RunOptions& options) {
  command
      .add_option("--tap", options.taps,
                  "What to write, comma-separated: logits (default), loss, hidden.layer0, attn_out.layer0, "
                  "router.topk_idx.layer1, decode.logits, grad.hidden.layer0, ... (a wrong name is answered with the "
                  "nearest)")
      ->delimiter(',');
  command.add_option("--out", options.out, "FILE.safetensors, .npz or .h5; one array a tap, under its name");
  command.add_flag("--loss", options.loss, "Print the mean cross-entropy of the next token");
  command.add_option("--grads", options.grads,
                     "FILE.safetensors, .npz or .h5 for the gradients of every weight: grad.NAME, and "
                     "grad_mtp.VARIANT.NAME where the checkpoint has MTP modules, grad_medusa.NAME where it has Medusa "
                     "heads");
  command.add_option("--mtp", options.mtp, "MTP variants to take gradients of: paper, hf, none")
      ->delimiter(',')
      ->check(CLI::IsMember({"paper", "hf", "none"}))
      ->capture_default_str();
  command
      .add_option("--mtp-loss", options.mtp_loss,
                  "A depth's loss is a mean over its own targets, or its sum over the main loss's number: targets, all")
      ->check(CLI::IsMember({"targets", "all"}))
      ->capture_default_str();
  command
      .add_option("--mtp-order", options.mtp_order,
                  "What eh_proj reads first: embedding-first, as released, or hidden-first, as the report prints it")
      ->check(CLI::IsMember({"embedding-first", "hidden-first"}))
      ->capture_default_str();
  command.add_option("--shadow", options.shadow, "Print what each product on a tensor core loses against: fp32")
      ->check(CLI::IsMember({"fp32"}));
  command.add_flag("--dry-run", options.dry_run, "Print the memory plan and stop");
  add_device(command, options.device);
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("run", "Run token ids through a checkpoint and write what was asked for");
  const auto options = std::make_shared<RunOptions>();
  command->add_option("directory", options->directory, "Hugging Face directory: config.json and safetensors")
      ->required();
  command->add_option("--tokens", options->tokens, "Token ids, int64 [B, S]: FILE.npy or FILE.npz:KEY");
  command->add_option("--token-ids", options->token_ids, "One sequence of token ids instead of a file: 1,2,3")
      ->delimiter(',');
  add_outputs(*command, *options);
  command
      ->add_option("--numerics", options->numerics,
                   "Arithmetic of the operators: a policy of `lastbit presets`, or FILE.toml")
      ->capture_default_str();
  command
      ->add_option("--documents", options->documents,
                   "Lengths of the documents that every row is packed from; none sees another")
      ->delimiter(',');
  command->add_option("--attention", options->attention, "Form of latent attention: naive or absorbed")
      ->check(CLI::IsMember({"naive", "absorbed"}))
      ->capture_default_str();
  command
      ->add_option("--recompute", options->recompute,
                   "What the backward pass makes again: norms, up_projections, swiglu")
      ->delimiter(',')
      ->check(CLI::IsMember({"norms", "up_projections", "swiglu"}));
  command
      ->add_option("--balance-loss", options->balance_loss,
                   "Whether the config's auxiliary loss joins the gradients: on, off, or release (as the model's own "
                   "release does: DeepSeekMoE yes, V2 and V3 no)")
      ->check(CLI::IsMember({"on", "off", "release"}))
      ->capture_default_str();
  command->add_flag("--balance-in-loss", options->balance_in_loss,
                    "The loss with gradients counts the auxiliary losses that join them");
  command->add_option("--seed", options->seed, "Of routers that draw while training")
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str();
  command->add_option("--step", options->step, "The training step they draw for")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{std::numeric_limits<std::uint32_t>::max()}))
      ->capture_default_str();
  command->add_flag("--stream", options->stream, "Keep one layer's weights in memory at a time");
  command->callback([&action, options] { action = [options] { return run_model(*options); }; });
}

}  // namespace lastbit::cli
