// Gradients as kernels compute them in FP32, right and wrong.
#include <algorithm>

#include "candidate.h"

namespace {

// Element names are those of the contracts.
std::vector<float> values_of(const lastbit_kernel_call* call, const char* name) {
  return candidate::bf16_input(call, name);
}

int norm_gradient(const lastbit_kernel_call* call, bool with_mean) {
  const std::vector<float> dy = values_of(call, "dy");
  const std::vector<float> x = values_of(call, "x");
  const std::vector<float> weight = values_of(call, "weight");
  const std::size_t d = weight.size();
  std::vector<float> dweight(d, 0);
  for (std::size_t row = 0; row < x.size(); row += d) {
    float squares = 0;
    for (std::size_t i = row; i < row + d; ++i) squares += x[i] * x[i];
    const float s = 1 / std::sqrt(squares / static_cast<float>(d) + std::stof(candidate::setting(call, "eps")));
    float mean = 0;
    for (std::size_t i = 0; i < d; ++i) mean += dy[row + i] * weight[i] * (x[row + i] * s);
    mean /= static_cast<float>(d);
    for (std::size_t i = 0; i < d; ++i) {
      const float n = x[row + i] * s;
      dweight[i] += dy[row + i] * n;
      candidate::output<std::uint16_t>(call, "dx")[row + i] =
          candidate::to_bf16(s * (dy[row + i] * weight[i] - (with_mean ? n * mean : 0)));
    }
  }
  for (std::size_t i = 0; i < d; ++i) candidate::output<float>(call, "dweight")[i] = dweight[i];
  return LASTBIT_KERNEL_OK;
}

int swiglu_gradient(const lastbit_kernel_call* call, bool whole) {
  const std::vector<float> dy = values_of(call, "dy");
  const std::vector<float> gate = values_of(call, "gate");
  const std::vector<float> up = values_of(call, "up");
  for (std::size_t i = 0; i < dy.size(); ++i) {
    const float s = 1 / (1 + std::exp(-gate[i]));
    const float a = gate[i] * s;
    const float slope = whole ? s + a * (1 - s) : s;
    candidate::output<std::uint16_t>(call, "dgate")[i] = candidate::to_bf16(dy[i] * up[i] * slope);
    candidate::output<std::uint16_t>(call, "dup")[i] = candidate::to_bf16(dy[i] * a);
  }
  return LASTBIT_KERNEL_OK;
}

float dot(const float* x, const float* y, std::int64_t count) {
  float sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += x[i] * y[i];
  return sum;
}

void add_scaled(float* target, const float* x, float factor, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) target[i] += factor * x[i];
}

// P and dS rounded to BF16 before they meet other operands, as on a tensor core.
int attention_gradient(const lastbit_kernel_call* call, bool with_dots) {
  const std::vector<float> q = values_of(call, "q");
  const std::vector<float> k = values_of(call, "k");
  const std::vector<float> v = values_of(call, "v");
  const std::vector<float> dout = values_of(call, "dout");
  const std::vector<float> out = values_of(call, "out");
  const std::int64_t queries = candidate::in(call, "q").shape[0];
  const std::int64_t heads = candidate::in(call, "q").shape[1];
  const std::int64_t keys = candidate::in(call, "k").shape[0];
  const float scale = std::stof(candidate::setting(call, "scale"));
  const auto round = [](float x) { return candidate::from_bf16(candidate::to_bf16(x)); };
  auto* const dq = candidate::output<float>(call, "dq");
  auto* const dk = candidate::output<float>(call, "dk");
  auto* const dv = candidate::output<float>(call, "dv");
  std::fill_n(dq, queries * heads * 192, 0.0F);
  std::fill_n(dk, keys * heads * 192, 0.0F);
  std::fill_n(dv, keys * heads * 128, 0.0F);
  for (std::int64_t i = 0; i < queries; ++i)
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t row = i * heads + h;
      const float dots = with_dots ? dot(&dout[row * 128], &out[row * 128], 128) : 0;
      for (std::int64_t j = 0; j < keys - queries + i + 1; ++j) {
        const std::int64_t other = j * heads + h;
        const float score = dot(&q[row * 192], &k[other * 192], 192) * scale;
        const float p = std::exp(score - candidate::input<float>(call, "lse")[row]);
        const float ds = p * (dot(&dout[row * 128], &v[other * 128], 128) - dots) * scale;
        add_scaled(dq + row * 192, &k[other * 192], round(ds), 192);
        add_scaled(dk + other * 192, &q[row * 192], round(ds), 192);
        add_scaled(dv + other * 128, &dout[row * 128], round(p), 128);
      }
    }
  return LASTBIT_KERNEL_OK;
}

int router_gradient(const lastbit_kernel_call* call, bool with_mean) {
  const auto& chosen = candidate::in(call, "topk_idx");
  const std::int64_t experts = candidate::in(call, "logits").shape[1];
  const bool normalise = candidate::setting(call, "norm_topk_prob") == "true";
  const float scale = std::stof(candidate::setting(call, "scale"));
  auto* const dlogits = candidate::output<float>(call, "dlogits");
  std::fill_n(dlogits, chosen.shape[0] * experts, 0.0F);
  for (std::int64_t token = 0; token < chosen.shape[0]; ++token) {
    const auto* const expert = candidate::input<std::int64_t>(call, "topk_idx") + token * chosen.shape[1];
    const auto* const slope = candidate::input<float>(call, "dweights") + token * chosen.shape[1];
    const auto s = [&](std::int64_t i) {
      return 1 / (1 + std::exp(-candidate::input<float>(call, "logits")[token * experts + expert[i]]));
    };
    float divisor = 0;
    float mean = 0;
    for (std::int64_t i = 0; i < chosen.shape[1]; ++i) divisor += s(i);
    if (!normalise) divisor = 1;
    for (std::int64_t i = 0; normalise && with_mean && i < chosen.shape[1]; ++i)
      mean += slope[i] * scale * s(i) / divisor;
    for (std::int64_t i = 0; i < chosen.shape[1]; ++i)
      dlogits[token * experts + expert[i]] = (slope[i] * scale - mean) / divisor * s(i) * (1 - s(i));
  }
  return LASTBIT_KERNEL_OK;
}

int unpermute_gradient(const lastbit_kernel_call* call, bool zeros_behind) {
  const std::vector<float> dy = values_of(call, "dy");
  const std::vector<float> rows = values_of(call, "rows");
  const auto& slots = candidate::in(call, "row_of_slot");
  const std::int64_t d = candidate::in(call, "dy").shape[1];
  auto* const drows = candidate::output<std::uint16_t>(call, "drows");
  const std::int64_t used =
      candidate::input<std::int64_t>(call, "offsets")[candidate::in(call, "offsets").shape[0] - 1];
  if (zeros_behind) std::fill(drows + used * d, drows + slots.shape[0] * slots.shape[1] * d, std::uint16_t{0});
  for (std::int64_t slot = 0; slot < slots.shape[0] * slots.shape[1]; ++slot) {
    const std::int64_t row = candidate::input<std::int64_t>(call, "row_of_slot")[slot];
    const float* const y = &dy[static_cast<std::size_t>(slot / slots.shape[1] * d)];
    candidate::output<float>(call, "dweights")[slot] =
        row < 0 ? 0 : dot(y, &rows[static_cast<std::size_t>(row * d)], d);
    for (std::int64_t i = 0; row >= 0 && i < d; ++i)
      drows[row * d + i] = candidate::to_bf16(candidate::input<float>(call, "weights")[slot] * y[i]);
  }
  return LASTBIT_KERNEL_OK;
}

int embedding_gradient(const lastbit_kernel_call* call, bool adds) {
  const std::vector<float> dy = values_of(call, "dy");
  const std::int64_t d = candidate::in(call, "dy").shape[1];
  auto* const dtable = candidate::output<float>(call, "dtable");
  std::fill_n(dtable, candidate::out(call, "dtable").shape[0] * d, 0.0F);
  for (std::int64_t token = 0; token < candidate::in(call, "dy").shape[0]; ++token)
    for (std::int64_t i = 0; i < d; ++i) {
      float& target = dtable[candidate::input<std::int64_t>(call, "ids")[token] * d + i];
      target = (adds ? target : 0) + dy[static_cast<std::size_t>(token * d + i)];
    }
  return LASTBIT_KERNEL_OK;
}

}  // namespace

CANDIDATE(rms_norm_backward_true) { return norm_gradient(call, true); }
CANDIDATE(rms_norm_backward_no_mean) { return norm_gradient(call, false); }
CANDIDATE(swiglu_backward_true) { return swiglu_gradient(call, true); }
CANDIDATE(swiglu_backward_sigmoid) { return swiglu_gradient(call, false); }
CANDIDATE(mla_prefill_backward_true) { return attention_gradient(call, true); }
CANDIDATE(mla_prefill_backward_no_dots) { return attention_gradient(call, false); }
CANDIDATE(router_backward_true) { return router_gradient(call, true); }
CANDIDATE(router_backward_no_mean) { return router_gradient(call, false); }
CANDIDATE(unpermute_backward_true) { return unpermute_gradient(call, true); }
CANDIDATE(unpermute_backward_padding_left) { return unpermute_gradient(call, false); }
CANDIDATE(embedding_backward_true) { return embedding_gradient(call, true); }
CANDIDATE(embedding_backward_last_token) { return embedding_gradient(call, false); }
