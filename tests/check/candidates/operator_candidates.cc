// Quantisers, casts, layers, attention, routing and training as kernels do them in FP32, right and wrong.
#include <algorithm>
#include <numeric>

#include "candidate.h"

namespace {

using candidate::bf16_input;
using candidate::from_bf16;
using candidate::input;
using candidate::output;
using candidate::setting;
using candidate::to_bf16;

constexpr std::int64_t kBlock = 128;

// ---- quantise

struct QuantizeFaults {
  bool reciprocal = false;
  bool truncate = false;
  bool other_amax = false;  // of the block before
};

int quantize(const lastbit_kernel_call* call, const std::vector<float>& x, std::int64_t rows, std::int64_t cols,
             std::int64_t tile_rows, const QuantizeFaults& faults) {
  if (setting(call, "format") != "e4m3" || setting(call, "scale") != "fp32") return LASTBIT_KERNEL_UNSUPPORTED;
  const bool reciprocal = (setting(call, "method") == "reciprocal") != faults.reciprocal;
  const bool epsilon = setting(call, "zero_block") == "epsilon";
  const std::int64_t blocks = (cols + kBlock - 1) / kBlock;
  for (std::int64_t r = 0; r < rows; r += tile_rows)
    for (std::int64_t c = 0; c < cols; c += kBlock) {
      const std::int64_t row_end = std::min(rows, r + tile_rows);
      const std::int64_t col_end = std::min(cols, c + kBlock);
      float amax = 0;
      for (std::int64_t i = r; i < row_end; ++i)
        for (std::int64_t j = c; j < col_end; ++j)
          amax = std::max(amax, std::abs(x[static_cast<std::size_t>(i * cols + j)]));
      if (epsilon) amax = std::max(amax, std::stof(setting(call, "amax_epsilon")));
      float scale = amax / 448;
      const bool one = scale == 0;
      if (one) scale = 1;
      output<float>(call, "scales")[r / tile_rows * blocks + c / kBlock] = scale;
      const float inverse = one ? 1 : std::min(448 / amax, 0x1.fffffep127F);
      for (std::int64_t i = r; i < row_end; ++i)
        for (std::int64_t j = c; j < col_end; ++j) {
          const float value = x[static_cast<std::size_t>(i * cols + j)];
          float q = reciprocal ? value * inverse : value / scale;
          std::uint8_t code = candidate::to_e4m3(q);
          if (faults.truncate && (code & 0x7f) != 0) {
            // One code less where rounding went up.
            const int exponent = std::max(std::ilogb(std::abs(q)), -6);
            const double down = std::trunc(std::ldexp(std::abs(static_cast<double>(q)), 3 - exponent));
            code = static_cast<std::uint8_t>((code & 0x80) |
                                             std::min(0x7e, static_cast<int>(down) + ((exponent + 6) << 3)));
          }
          output<std::uint8_t>(call, "codes")[i * cols + j] = code;
        }
    }
  return LASTBIT_KERNEL_OK;
}

int quantize_input(const lastbit_kernel_call* call, const QuantizeFaults& faults) {
  const lastbit_array& x = candidate::in(call, "x");
  std::vector<float> values;
  if (std::string(x.dtype) == "bf16")
    values = bf16_input(call, "x");
  else
    values.assign(input<float>(call, "x"), input<float>(call, "x") + candidate::count(x));
  std::int64_t rows = x.shape[0];
  std::int64_t cols = x.shape[1];
  if (setting(call, "transpose") == "true") {
    std::vector<float> turned(values.size());
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < cols; ++j)
        turned[static_cast<std::size_t>(j * rows + i)] = values[static_cast<std::size_t>(i * cols + j)];
    values = turned;
    std::swap(rows, cols);
  }
  return quantize(call, values, rows, cols, setting(call, "tile") == "128x128" ? kBlock : 1, faults);
}

}  // namespace

CANDIDATE(quantize_true) { return quantize_input(call, {}); }
CANDIDATE(quantize_reciprocal) {
  QuantizeFaults faults;
  faults.reciprocal = true;
  return quantize_input(call, faults);
}
CANDIDATE(quantize_truncating) {
  QuantizeFaults faults;
  faults.truncate = true;
  return quantize_input(call, faults);
}
CANDIDATE(swiglu_quantize_true) {
  const std::vector<float> gate = bf16_input(call, "gate");
  const std::vector<float> up = bf16_input(call, "up");
  std::vector<float> product(gate.size());
  for (std::size_t i = 0; i < gate.size(); ++i) {
    product[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
    if (setting(call, "between") == "bf16") product[i] = from_bf16(to_bf16(product[i]));
  }
  const lastbit_array& array = candidate::in(call, "gate");
  return quantize(call, product, array.shape[0], array.shape[1], 1, {});
}
CANDIDATE(swiglu_quantize_swapped) {  // gate * silu(up)
  const std::vector<float> gate = bf16_input(call, "up");
  const std::vector<float> up = bf16_input(call, "gate");
  std::vector<float> product(gate.size());
  for (std::size_t i = 0; i < gate.size(); ++i)
    product[i] = from_bf16(to_bf16(gate[i] / (1 + std::exp(-gate[i])) * up[i]));
  const lastbit_array& array = candidate::in(call, "gate");
  return quantize(call, product, array.shape[0], array.shape[1], 1, {});
}

// ---- cast

CANDIDATE(cast_true) {
  if (setting(call, "to") != "e4m3" || setting(call, "x_type") != "f32") return LASTBIT_KERNEL_UNSUPPORTED;
  const std::int64_t n = candidate::count(candidate::in(call, "x"));
  for (std::int64_t i = 0; i < n; ++i)
    output<std::uint8_t>(call, "codes")[i] = candidate::to_e4m3(input<float>(call, "x")[i]);
  return LASTBIT_KERNEL_OK;
}
CANDIDATE(cast_ml_dtypes) {
  const std::int64_t n = candidate::count(candidate::in(call, "x"));
  for (std::int64_t i = 0; i < n; ++i) {
    const float x = input<float>(call, "x")[i];
    std::uint8_t code = candidate::to_e4m3(x, false);
    if (std::isnan(x)) code = std::signbit(x) ? 0xff : 0x7f;
    output<std::uint8_t>(call, "codes")[i] = code;
  }
  return LASTBIT_KERNEL_OK;
}

// ---- layers

namespace {
int rms_norm(const lastbit_kernel_call* call, float eps, float added) {
  const std::vector<float> x = bf16_input(call, "x");
  const std::vector<float> weight = bf16_input(call, "weight");
  const std::size_t d = weight.size();
  for (std::size_t row = 0; row < x.size(); row += d) {
    float squares = 0;  // one after the other: the worst order there is
    for (std::size_t i = 0; i < d; ++i) squares += x[row + i] * x[row + i];
    const float factor = 1 / std::sqrt(squares / static_cast<float>(d) + eps);
    for (std::size_t i = 0; i < d; ++i)
      output<std::uint16_t>(call, "y")[row + i] = to_bf16(x[row + i] * factor * (weight[i] + added));
  }
  return LASTBIT_KERNEL_OK;
}

int rope(const lastbit_kernel_call* call, float sign, bool fused) {
  const lastbit_array& array = candidate::in(call, "x");
  const std::vector<float> x = bf16_input(call, "x");
  const std::int64_t heads = array.shape[1];
  const std::int64_t half = array.shape[2] / 2;
  const bool halves = setting(call, "layout") == "half_split";
  const bool move = setting(call, "layout") == "interleaved_to_halves";
  for (std::int64_t row = 0; row < array.shape[0] * heads; ++row)
    for (std::int64_t j = 0; j < half; ++j) {
      const std::int64_t base = row * 2 * half;
      const float a = x[static_cast<std::size_t>(base + (halves ? j : 2 * j))];
      const float b = x[static_cast<std::size_t>(base + (halves ? j + half : 2 * j + 1))];
      const float c = input<float>(call, "cos")[row / heads * half + j];
      const float s = sign * input<float>(call, "sin")[row / heads * half + j];
      const float first = fused ? std::fma(a, c, -(b * s)) : a * c - b * s;
      const float second = fused ? std::fma(b, c, a * s) : b * c + a * s;
      output<std::uint16_t>(call, "y")[base + (halves || move ? j : 2 * j)] = to_bf16(first);
      output<std::uint16_t>(call, "y")[base + (halves || move ? j + half : 2 * j + 1)] = to_bf16(second);
    }
  return LASTBIT_KERNEL_OK;
}
}  // namespace

CANDIDATE(rms_norm_true) { return rms_norm(call, std::stof(setting(call, "eps")), 0); }
CANDIDATE(rms_norm_no_eps) { return rms_norm(call, 0, 0); }
CANDIDATE(rms_norm_plus_one) { return rms_norm(call, std::stof(setting(call, "eps")), 1); }
CANDIDATE(rope_true) { return rope(call, 1, false); }
CANDIDATE(rope_fused) { return rope(call, 1, true); }
CANDIDATE(rope_backwards) { return rope(call, -1, false); }

// ---- attention

namespace {
struct Query {
  const float* q;
  std::int64_t dim;
  std::int64_t v_dim;
  std::int64_t keys;
};

// Online softmax over blocks of 64 keys, weights rounded to BF16, as FlashAttention does.
template <typename Key, typename Value>
float attend(const Query& query, float scale, const Key& key, const Value& value, std::vector<float>& out) {
  float largest = -INFINITY;
  float sum = 0;
  out.assign(static_cast<std::size_t>(query.v_dim), 0);
  for (std::int64_t begin = 0; begin < query.keys; begin += 64) {
    const std::int64_t end = std::min(query.keys, begin + 64);
    std::vector<float> scores;
    for (std::int64_t j = begin; j < end; ++j) {
      float score = 0;
      for (std::int64_t i = 0; i < query.dim; ++i) score += query.q[i] * key(j, i);
      scores.push_back(score * scale);
    }
    const float next = std::max(largest, *std::max_element(scores.begin(), scores.end()));
    const float factor = std::exp(largest - next);
    sum *= factor;
    for (float& o : out) o *= factor;
    for (std::int64_t j = begin; j < end; ++j) {
      const float p = std::exp(scores[static_cast<std::size_t>(j - begin)] - next);
      sum += p;
      const float rounded = from_bf16(to_bf16(p));
      for (std::int64_t i = 0; i < query.v_dim; ++i) out[static_cast<std::size_t>(i)] += rounded * value(j, i);
    }
    largest = next;
  }
  for (float& o : out) o /= sum;
  return largest + std::log(sum);
}

int decode(const lastbit_kernel_call* call, float scale, std::int64_t round_to) {
  const std::vector<float> q = bf16_input(call, "q");
  const auto* cache = input<std::uint16_t>(call, "cache");
  const std::int64_t heads = candidate::in(call, "q").shape[1];
  const std::int64_t pages = candidate::in(call, "block_table").shape[1];
  for (std::int64_t b = 0; b < candidate::in(call, "q").shape[0]; ++b)
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t keys = (input<std::int32_t>(call, "seq_lens")[b] + round_to - 1) / round_to * round_to;
      const auto key = [&](std::int64_t j, std::int64_t i) {
        return from_bf16(cache[(input<std::int32_t>(call, "block_table")[b * pages + j / 64] * 64 + j % 64) * 576 + i]);
      };
      std::vector<float> out;
      output<float>(call, "lse")[b * heads + h] =
          attend({&q[static_cast<std::size_t>((b * heads + h) * 576)], 576, 512, keys}, scale, key, key, out);
      for (std::int64_t i = 0; i < 512; ++i)
        output<std::uint16_t>(call, "out")[(b * heads + h) * 512 + i] = to_bf16(out[static_cast<std::size_t>(i)]);
    }
  return LASTBIT_KERNEL_OK;
}

int prefill(const lastbit_kernel_call* call, bool causal) {
  const std::vector<float> q = bf16_input(call, "q");
  const std::vector<float> k = bf16_input(call, "k");
  const std::vector<float> v = bf16_input(call, "v");
  const std::int64_t queries = candidate::in(call, "q").shape[0];
  const std::int64_t heads = candidate::in(call, "q").shape[1];
  const std::int64_t keys = candidate::in(call, "k").shape[0];
  for (std::int64_t s = 0; s < queries; ++s)
    for (std::int64_t h = 0; h < heads; ++h) {
      const auto key = [&](std::int64_t j, std::int64_t i) {
        return k[static_cast<std::size_t>((j * heads + h) * 192 + i)];
      };
      const auto value = [&](std::int64_t j, std::int64_t i) {
        return v[static_cast<std::size_t>((j * heads + h) * 128 + i)];
      };
      std::vector<float> out;
      const std::int64_t met = causal ? keys - queries + s + 1 : keys;
      output<float>(call, "lse")[s * heads + h] =
          attend({&q[static_cast<std::size_t>((s * heads + h) * 192)], 192, 128, met},
                 std::stof(setting(call, "scale")), key, value, out);
      for (std::int64_t i = 0; i < 128; ++i)
        output<std::uint16_t>(call, "out")[(s * heads + h) * 128 + i] = to_bf16(out[static_cast<std::size_t>(i)]);
    }
  return LASTBIT_KERNEL_OK;
}
}  // namespace

CANDIDATE(mla_decode_true) { return decode(call, std::stof(setting(call, "scale")), 1); }
CANDIDATE(mla_decode_whole_pages) { return decode(call, std::stof(setting(call, "scale")), 64); }
CANDIDATE(mla_decode_latent_scale) { return decode(call, 1.0F / 24, 1); }
CANDIDATE(mla_prefill_true) { return prefill(call, true); }
CANDIDATE(mla_prefill_no_mask) { return prefill(call, false); }

// ---- router

namespace {
int route(const lastbit_kernel_call* call, bool higher_wins, bool with_bias, bool sort) {
  const std::int64_t tokens = candidate::in(call, "logits").shape[0];
  const std::int64_t experts = candidate::in(call, "logits").shape[1];
  const std::int64_t groups = std::stoll(setting(call, "n_group"));
  const std::int64_t kept = std::stoll(setting(call, "topk_group"));
  const std::int64_t top_k = std::stoll(setting(call, "top_k"));
  const std::int64_t size = experts / groups;
  for (std::int64_t t = 0; t < tokens; ++t) {
    std::vector<float> affinity(static_cast<std::size_t>(experts));
    std::vector<float> biased(static_cast<std::size_t>(experts));
    for (std::size_t e = 0; e < affinity.size(); ++e) {
      affinity[e] = 1 / (1 + std::exp(-input<float>(call, "logits")[static_cast<std::size_t>(t * experts) + e]));
      biased[e] = affinity[e] + (with_bias ? input<float>(call, "bias")[e] : 0);
    }
    const auto best = [&](const std::vector<float>& values, std::int64_t wanted) {
      std::vector<std::int64_t> order(values.size());
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
        const float x = values[static_cast<std::size_t>(a)];
        const float y = values[static_cast<std::size_t>(b)];
        return x != y ? x > y : (higher_wins ? a > b : a < b);
      });
      order.resize(static_cast<std::size_t>(wanted));
      return order;
    };
    std::vector<float> ranks;
    for (std::int64_t g = 0; g < groups; ++g) {
      std::vector<float> members(biased.begin() + g * size, biased.begin() + (g + 1) * size);
      std::sort(members.begin(), members.end(), std::greater<>());
      ranks.push_back(members[0] + members[1]);
    }
    std::vector<float> masked(biased.size(), -INFINITY);
    for (const std::int64_t g : best(ranks, kept))
      std::copy(biased.begin() + g * size, biased.begin() + (g + 1) * size, masked.begin() + g * size);
    std::vector<std::int64_t> chosen = best(masked, top_k);
    if (sort) std::sort(chosen.begin(), chosen.end());
    float sum = 0;
    for (const std::int64_t e : chosen) sum += affinity[static_cast<std::size_t>(e)];
    for (std::int64_t i = 0; i < top_k; ++i) {
      const std::int64_t e = chosen[static_cast<std::size_t>(i)];
      output<std::int64_t>(call, "topk_idx")[t * top_k + i] = e;
      output<float>(call, "topk_weight")[t * top_k + i] =
          affinity[static_cast<std::size_t>(e)] / sum * std::stof(setting(call, "scale"));
    }
  }
  return LASTBIT_KERNEL_OK;
}
}  // namespace

CANDIDATE(router_true) { return route(call, false, true, true); }
CANDIDATE(router_ties_high) { return route(call, true, true, true); }
CANDIDATE(router_no_bias) { return route(call, false, false, true); }
CANDIDATE(router_unsorted) { return route(call, false, true, false); }

// ---- experts

namespace {
int permute(const lastbit_kernel_call* call, bool clear) {
  const std::int64_t slots = candidate::count(candidate::in(call, "topk_idx"));
  const std::int64_t top_k = candidate::in(call, "topk_idx").shape[1];
  const std::int64_t d = candidate::in(call, "x").shape[1];
  const std::int64_t experts = input<std::int64_t>(call, "experts")[0];
  const auto* chosen = input<std::int64_t>(call, "topk_idx");
  std::int64_t row = 0;
  for (std::int64_t i = 0; i < slots; ++i) output<std::int64_t>(call, "row_of_slot")[i] = -1;
  for (std::int64_t e = 0; e < experts; ++e) {
    output<std::int64_t>(call, "offsets")[e] = row;
    for (std::int64_t slot = 0; slot < slots; ++slot) {
      if (chosen[slot] != e) continue;
      std::memcpy(output<std::uint16_t>(call, "rows") + row * d, input<std::uint16_t>(call, "x") + slot / top_k * d,
                  static_cast<std::size_t>(2 * d));
      output<std::int64_t>(call, "row_of_slot")[slot] = row++;
    }
  }
  output<std::int64_t>(call, "offsets")[experts] = row;
  if (clear)
    std::memset(output<std::uint16_t>(call, "rows") + row * d, 0, static_cast<std::size_t>(2 * d * (slots - row)));
  return LASTBIT_KERNEL_OK;
}

// Partial sums of `ranks` ranks over places in order, or the reverse.
int combine(const lastbit_kernel_call* call, bool by_rank, bool descending) {
  const lastbit_array& rows = candidate::in(call, "rows");
  const bool ranked = candidate::in(call, "topk_idx").data != nullptr;
  const std::int64_t tokens = candidate::out(call, "y").shape[0];
  const std::int64_t d = candidate::out(call, "y").shape[1];
  const std::int64_t top_k = candidate::in(call, "weights").shape[1];
  const std::int64_t experts = ranked ? input<std::int64_t>(call, "experts")[0] : 1;
  const std::int64_t ranks = ranked ? input<std::int64_t>(call, "ranks")[0] : 1;
  const auto* values = static_cast<const std::uint16_t*>(rows.data);
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t j = 0; j < d; ++j) {
      float total = 0;
      for (std::int64_t r = 0; r < ranks; ++r) {
        const std::int64_t rank = descending ? ranks - 1 - r : r;
        float sum = by_rank ? 0 : total;
        bool any = false;
        for (std::int64_t i = 0; i < top_k; ++i) {
          const std::int64_t place = descending && !ranked ? top_k - 1 - i : i;
          const std::int64_t slot = t * top_k + place;
          std::int64_t row = slot;
          if (ranked) {
            const std::int64_t expert = input<std::int64_t>(call, "topk_idx")[slot];
            if (expert < 0 || expert * ranks / experts != rank) continue;
          } else {
            row = input<std::int64_t>(call, "row_of_slot")[slot];
            if (row < 0) continue;
          }
          volatile float product = input<float>(call, "weights")[slot] * from_bf16(values[row * d + j]);
          sum += product;
          any = true;
        }
        if (!by_rank) {
          total = sum;
        } else if (any) {
          total += ranked && setting(call, "wire") == "bf16" ? from_bf16(to_bf16(sum)) : sum;
        }
      }
      output<std::uint16_t>(call, "y")[t * d + j] = to_bf16(total);
    }
  return LASTBIT_KERNEL_OK;
}
}  // namespace

CANDIDATE(permute_true) { return permute(call, true); }
CANDIDATE(permute_padding_left) { return permute(call, false); }
CANDIDATE(unpermute_true) { return combine(call, true, false); }
CANDIDATE(unpermute_descending) { return combine(call, true, true); }
CANDIDATE(combine_true) { return combine(call, true, false); }
CANDIDATE(combine_descending) { return combine(call, true, true); }
CANDIDATE(combine_without_ranks) { return combine(call, false, false); }

CANDIDATE(dispatch_true) {
  const lastbit_array& x = candidate::in(call, "x");
  const std::int64_t rows = x.shape[0] * x.shape[1];
  const std::int64_t d = x.shape[2];
  const std::int64_t top_k = candidate::in(call, "topk_idx").shape[2];
  const std::int64_t experts = input<std::int64_t>(call, "experts")[0];
  std::memset(candidate::out(call, "recv").data, 0, candidate::out(call, "recv").nbytes);
  std::memset(candidate::out(call, "recv_source").data, 0xff, candidate::out(call, "recv_source").nbytes);
  for (std::int64_t e = 0; e < experts; ++e) {
    std::int64_t n = 0;
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t i = 0; i < top_k; ++i)
        if (input<std::int64_t>(call, "topk_idx")[row * top_k + i] == e) {
          std::memcpy(output<std::uint16_t>(call, "recv") + (e * rows + n) * d,
                      input<std::uint16_t>(call, "x") + row * d, static_cast<std::size_t>(2 * d));
          output<std::int64_t>(call, "recv_source")[e * rows + n++] = row;
        }
    output<std::int64_t>(call, "recv_count")[e] = n;
  }
  return LASTBIT_KERNEL_OK;
}

// ---- training

namespace {
int cross_entropy(const lastbit_kernel_call* call, bool mean_over_all) {
  if (setting(call, "logits_type") != "f32" || setting(call, "gradient_type") != "f32")
    return LASTBIT_KERNEL_UNSUPPORTED;
  const std::int64_t tokens = candidate::in(call, "logits").shape[0];
  const std::int64_t vocabulary = candidate::in(call, "logits").shape[1];
  const auto* targets = input<std::int64_t>(call, "targets");
  std::int64_t used = 0;
  for (std::int64_t t = 0; t < tokens; ++t) used += targets[t] >= 0 || mean_over_all ? 1 : 0;
  for (std::int64_t t = 0; t < tokens; ++t) {
    const float* x = input<float>(call, "logits") + t * vocabulary;
    const float largest = *std::max_element(x, x + vocabulary);
    float lanes[32] = {};
    for (std::int64_t i = 0; i < vocabulary; ++i) lanes[i % 32] += std::exp(x[i] - largest);
    const float sum = std::accumulate(lanes, lanes + 32, 0.0F);
    const float lse = largest + std::log(sum);
    output<float>(call, "lse")[t] = lse;
    output<float>(call, "nll")[t] = targets[t] < 0 ? 0 : lse - x[targets[t]];
    for (std::int64_t i = 0; i < vocabulary; ++i)
      output<float>(call, "dlogits")[t * vocabulary + i] =
          targets[t] < 0 ? 0 : (std::exp(x[i] - lse) - (i == targets[t] ? 1.0F : 0.0F)) / static_cast<float>(used);
  }
  return LASTBIT_KERNEL_OK;
}

int adamw(const lastbit_kernel_call* call, bool decay) {
  const std::int64_t n = candidate::count(candidate::in(call, "w"));
  const float rate = std::stof(setting(call, "learning_rate"));
  const float beta1 = std::stof(setting(call, "beta1"));
  const float beta2 = std::stof(setting(call, "beta2"));
  const float step = std::stof(setting(call, "step"));
  const float correction1 = 1 - std::pow(beta1, step);
  const float correction2 = 1 - std::pow(beta2, step);
  for (std::int64_t i = 0; i < n; ++i) {
    const float g = input<float>(call, "grad")[i];
    const float m = beta1 * from_bf16(input<std::uint16_t>(call, "m")[i]) + (1 - beta1) * g;
    const float v = beta2 * from_bf16(input<std::uint16_t>(call, "v")[i]) + (1 - beta2) * g * g;
    const std::uint16_t m_code = to_bf16(m);
    const std::uint16_t v_code = to_bf16(v);
    output<std::uint16_t>(call, "m")[i] = m_code;
    output<std::uint16_t>(call, "v")[i] = v_code;
    float w = input<float>(call, "w")[i];
    if (decay) w -= rate * std::stof(setting(call, "weight_decay")) * w;
    w -= rate * (from_bf16(m_code) / correction1) /
         (std::sqrt(from_bf16(v_code) / correction2) + std::stof(setting(call, "eps")));
    output<float>(call, "w")[i] = w;
  }
  return LASTBIT_KERNEL_OK;
}
}  // namespace

CANDIDATE(cross_entropy_true) { return cross_entropy(call, false); }
CANDIDATE(cross_entropy_mean_over_all) { return cross_entropy(call, true); }
CANDIDATE(adamw_true) { return adamw(call, true); }
CANDIDATE(adamw_no_decay) { return adamw(call, false); }
