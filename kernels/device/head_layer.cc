#include "kernels/device/head_layer.h"

#include <utility>

#include "kernels/device/narrow.h"
#include "kernels/plain/sums.h"
#include "kernels/training/training.h"
#include "model/language_head.h"

namespace lastbit::device {

HeadLayer::HeadLayer(const Pass& pass, std::string gain)
    : pass_(pass), gain_(std::move(gain)), weight_(model::output_weight(pass.config) + ".weight") {}

void HeadLayer::normalise(const Array& hidden) {
  const std::int64_t d = pass_.config.hidden_size;
  hidden_ = hidden;
  normed_ = pass_.room(gain_, pass_.place.rows(), d);
  norm(pass_, hidden, pass_.place.rows(), d, gain_, pass_.config.rms_norm_eps, normed_, d);
}

void HeadLayer::logits(std::int64_t first, std::int64_t rows, const Array& logits) const {
  const std::int64_t d = pass_.config.hidden_size;
  linear(pass_, normed_.part(first * d, rows * d), rows, weight_, logits);
}

void HeadLayer::loss(float share, const Array& nll) {
  const std::int64_t rows = pass_.place.rows();
  const std::int64_t vocabulary = pass_.config.vocab_size;
  Runtime& runtime = pass_.runtime;
  if (pass_.keep) dnormed_ = pass_.room("dnormed", rows, pass_.config.hidden_size);
  const Runtime::Scope scope(runtime);
  const Array scores = runtime.allocate("logits", Element::kF32, rows * vocabulary);
  const Array gradient = pass_.room("dlogits", rows, vocabulary);
  const Array token_nll = runtime.allocate("nll", Element::kF32, rows);
  const Array log_sum_exp = runtime.allocate("log_sum_exp", Element::kF32, rows);
  logits(0, rows, scores);
  runtime.run([&] {
    kernels::cross_entropy({scores.data, pass_.place.targets.i64(), token_nll.f32(), log_sum_exp.f32(), gradient.data,
                            false, pass_.element == Element::kBF16, narrow(rows), narrow(vocabulary), share},
                           kernels::Version::kTuned);
    kernels::sum_in_double(token_nll.f32(), static_cast<std::size_t>(rows), nll.f64());
  });
  if (pass_.keep) linear_gradient(pass_, gradient, normed_, rows, weight_, dnormed_);
}

void HeadLayer::backward_norm(const Array& dnormed, const Array& dhidden) const {
  norm_gradient(pass_, dnormed, hidden_, pass_.place.rows(), pass_.config.hidden_size, gain_, pass_.config.rms_norm_eps,
                dhidden);
}

}  // namespace lastbit::device
