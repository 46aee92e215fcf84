#include "kernels/device/mtp_layer.h"

#include <utility>

#include "core/error.h"
#include "kernels/device/narrow.h"
#include "kernels/plain/layers.h"
#include "model/language_head.h"
#include "model/weight_specs.h"

namespace lastbit::device {
namespace {

using tensor::Tensor;

Pass pass_of_module(const Pass& shared, const Place& place) {
  Pass pass = shared;
  pass.place = place;
  return pass;
}

// The first tokens of each row, or a row with zeros behind.
void copy_rows_of(const Pass& pass, const Array& from, std::int64_t from_tokens, const Array& to,
                  std::int64_t to_tokens) {
  const kernels::TokenCopy shape{narrow(pass.place.batch), narrow(std::min(from_tokens, to_tokens)),
                                 narrow(from_tokens), narrow(to_tokens), narrow(pass.config.hidden_size)};
  pass.runtime.run([&] { kernels::copy_tokens(from.values(), to.values(), shape); });
}

}  // namespace

std::vector<Place> place_modules(const model::ModelConfig& config, const Tensor& ids, const Tensor* padding,
                                 Runtime& runtime) {
  const std::int64_t depths = config.num_nextn_predict_layers;
  const std::int64_t tokens = ids.dim(1);
  if (tokens < depths + 2)
    core::fail_input("MTP of depth {}: found sequences of {} tokens, expected at least {}", depths, tokens, depths + 2);
  std::vector<Place> places;
  for (std::int64_t depth = 1; depth <= depths; ++depth) {
    model::TokenLayout layout = model::plain_layout(ids.dim(0), tokens - depth);
    for (std::int64_t& position : layout.positions.mutable_values<std::int64_t>()) position += depth;
    places.push_back(place_tokens(config, layout, ids.slice(1, depth, tokens).contiguous(), runtime));
    place_targets(places.back(), model::targets_ahead(ids, depth + 1, tokens - depth, padding), runtime);
  }
  return places;
}

MtpLayers::Module::Module(const Pass& shared, std::int64_t module_depth, const Place& place)
    : depth(module_depth),
      pass(pass_of_module(shared, place)),
      prefix(model::layer_prefix(shared.config.num_hidden_layers + module_depth - 1)),
      block(shared.config.num_hidden_layers + module_depth - 1, pass),
      head(pass, prefix + "shared_head.norm.weight") {}

MtpLayers::MtpLayers(const Pass& pass, const model::MtpOptions& options, const std::vector<Place>& places)
    : pass_(pass), options_(options) {
  for (const Place& place : places) modules_.push_back(std::make_unique<Module>(pass, std::ssize(modules_) + 1, place));
}

// Where the embedding or the hidden state begins in rows of both, 2 d apart.
Array MtpLayers::half(const Array& joined, bool embedding) const {
  const std::int64_t d = pass_.config.hidden_size;
  const std::int64_t begin = embedding == options_.hidden_first ? d : 0;
  return joined.part(begin, joined.count - begin);
}

void MtpLayers::run(Module& module, const Array& previous) {
  const Pass& pass = module.pass;
  const std::int64_t rows = pass.place.rows();
  const std::int64_t d = pass.config.hidden_size;
  const double eps = pass.config.rms_norm_eps;
  module.previous = pass.room("previous stream", rows, d);
  module.embedded = pass.room("embedded", rows, d);
  module.joined = pass.room("joined", rows, 2 * d);
  module.stream = pass.room("stream", rows, d);
  copy_rows_of(pass, previous, pass.place.tokens + 1, module.previous, pass.place.tokens);
  pass.runtime.run([&] {
    kernels::embedding_values(pass.parameters.of("model.embed_tokens.weight").value.f32(), pass.place.ids.i64(),
                              narrow(rows), narrow(d), module.embedded.values());
  });
  norm(pass, module.embedded, rows, d, module.prefix + "enorm.weight", eps, half(module.joined, true), 2 * d);
  norm(pass, module.previous, rows, d, module.prefix + "hnorm.weight", eps, half(module.joined, false), 2 * d);
  const Array input = pass.room("block input", rows, d);
  linear(pass, module.joined, rows, module.prefix + "eh_proj.weight", input);
  module.block.forward(input, module.stream);
}

void MtpLayers::forward(const Array& hidden, const Array& normed, const Array& nll) {
  const bool paper = options_.variant == model::MtpVariant::kPaper;
  Array previous = paper ? hidden : normed;
  for (const auto& module : modules_) {
    run(*module, previous);
    module->head.normalise(module->stream);
    const auto count = static_cast<double>(module->pass.place.target_count);
    const double over = options_.over_all_tokens ? count / static_cast<double>(pass_.place.target_count) : 1;
    const double share = options_.weight / static_cast<double>(modules_.size()) * over;
    module->head.loss(static_cast<float>(share), nll.part(module->depth - 1, 1));
    previous = paper ? module->stream : module->head.normed();
  }
}

// dnext: the gradient that the next module's input brings, [B, S - depth, d], or null.
void MtpLayers::back(Module& module, const Array* dnext, const Array& dprevious) {
  const Pass& pass = module.pass;
  const Runtime::Scope scope(pass.runtime);
  const bool paper = options_.variant == model::MtpVariant::kPaper;
  const std::int64_t rows = pass.place.rows();
  const std::int64_t d = pass.config.hidden_size;
  const double eps = pass.config.rms_norm_eps;
  const Array& dnormed = module.head.normed_gradient();
  if (!paper && dnext != nullptr) add(pass, dnormed, *dnext, dnormed);
  const Array dstream = pass.room("dstream", rows, d);
  module.head.backward_norm(dnormed, dstream);
  if (paper && dnext != nullptr) add(pass, dstream, *dnext, dstream);
  const Array dinput = pass.room("dblock input", rows, d);
  module.block.backward(dstream, dinput);
  const Array djoined = pass.room("djoined", rows, 2 * d);
  linear_gradient(pass, dinput, module.joined, rows, module.prefix + "eh_proj.weight", djoined);
  // The two halves beside each other, as norm_gradient() reads them.
  const Array de = pass.room("de", rows, d);
  const Array dh = pass.room("dh", rows, d);
  const Array dembedded = pass.room("dembedded", rows, d);
  const Array dstate = pass.room("dprevious", rows, d);
  pass.runtime.run([&] {
    kernels::copy_columns(half(djoined, true).values(), 2 * d, de.values(), d, rows, d);
    kernels::copy_columns(half(djoined, false).values(), 2 * d, dh.values(), d, rows, d);
  });
  norm_gradient(pass, de, module.embedded, rows, d, module.prefix + "enorm.weight", eps, dembedded);
  norm_gradient(pass, dh, module.previous, rows, d, module.prefix + "hnorm.weight", eps, dstate);
  embedding_gradient(pass, dembedded);
  copy_rows_of(pass, dstate, pass.place.tokens, dprevious, pass.place.tokens + 1);
}

void MtpLayers::backward(const Array& dinput) {
  const Runtime::Scope scope(pass_.runtime);
  const std::int64_t d = pass_.config.hidden_size;
  Array dnext;
  for (std::size_t i = modules_.size(); i-- > 0;) {
    Module& module = *modules_[i];
    const Array dprevious =
        i == 0 ? dinput : pass_.room("dnext", pass_.place.batch * (module.pass.place.tokens + 1), d);
    back(module, i + 1 == modules_.size() ? nullptr : &dnext, dprevious);
    dnext = dprevious;
  }
}

}  // namespace lastbit::device
