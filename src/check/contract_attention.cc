// Multi-head latent attention: prefill, and decoding from a paged cache of latents.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "check/contract_families.h"
#include "check/op_arguments.h"
#include "core/error.h"
#include "core/philox.h"
#include "numerics/bf16.h"
#include "ops/attention_core.h"
#include "tensor/cast.h"

namespace lastbit::check {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Shape;
using tensor::Tensor;

// DeepSeek-V3's sizes (arXiv 2412.19437, section 4.2): 128 without and 64 with position; 512 latent.
constexpr std::int64_t kQueryDim = 192;
constexpr std::int64_t kValueDim = 128;
constexpr std::int64_t kLatentDim = 512;
constexpr std::int64_t kCacheDim = 576;
constexpr std::int64_t kPage = 64;  // keys, as in FlashMLA

// The reference of one sequence in FP64, and how far a BF16 kernel may be from it.
struct Attention {
  std::vector<double> out;
  std::vector<float> out_bound;
  std::vector<double> log_sum_exp;
  std::vector<float> log_bound;
};

double largest_norm(const Tensor& rows, std::int64_t width) {
  const auto values = rows.values<double>();
  double largest = 0;
  for (std::size_t at = 0; at < values.size(); at += static_cast<std::size_t>(width)) {
    double squares = 0;
    for (std::size_t i = at; i < at + static_cast<std::size_t>(width); ++i) squares += values[i] * values[i];
    largest = std::max(largest, squares);
  }
  return std::sqrt(largest);
}

// q [1, Sq, heads, qk], k [1, Sk, kv, qk], v [1, Sk, kv, v_dim], all F64.
// A score is a sum of qk exact products in FP32: off by qk 2^-24 sum |q k| <= qk 2^-24 |q| |k|, twice in a softmax
// weight (against the largest score) and twice again through their sum. Weights are rounded to BF16 (2^-9, doubled for
// a rescaling between blocks), exp() is off by 2^-20, sums of Sk terms by Sk 2^-24 above and below. Where all queries
// are zeros every weight is exp(0) = 1, without an error.
Attention attend(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const ops::AttentionMask& mask) {
  const ops::AttentionResult result = ops::attention_core(q, k, v, scale, mask);
  Tensor magnitudes = v.clone();
  for (double& value : magnitudes.mutable_values<double>()) value = std::abs(value);
  const ops::AttentionResult absolute = ops::attention_core(q, k, magnitudes, scale, mask);
  const auto qk = static_cast<double>(q.shape().back());
  const auto keys = static_cast<double>(k.dim(1));
  const double score = qk * kUnitF32 * scale * largest_norm(q, q.shape().back()) * largest_norm(k, k.shape().back());
  const double relative = (score == 0 ? 0x1p-22 : 0x1p-8 + 4 * score + 0x1p-19) + 2 * keys * kUnitF32;
  Attention all;
  const auto out = result.out.values<double>();
  const auto sizes = absolute.out.values<double>();
  all.out.assign(out.begin(), out.end());
  for (std::size_t i = 0; i < out.size(); ++i)
    all.out_bound.push_back(rounding_bound(out[i], relative * sizes[i], DType::kBF16));
  const auto logs = result.log_sum_exp.values<double>();
  all.log_sum_exp.assign(logs.begin(), logs.end());
  for (const double value : logs)
    all.log_bound.push_back(static_cast<float>(2 * score + 0x1p-19 + keys * kUnitF32 + 4 * kUnitF32 * std::abs(value)));
  return all;
}

double scale_of(const ContractSettings& settings) {
  if (settings.fault("scale") == "of_latent") return 1 / std::sqrt(static_cast<double>(kCacheDim));
  if (settings.fault("scale") == "one") return 1;
  return settings.number("scale");
}

// Families that are attention's own: queries of zeros, under which a kernel's result is the mean of the values, known
// to FP32's precision.
bool without_queries(const std::string& family) { return family == "zero_queries" || family == "large_values"; }

Tensor draw_queries(const DrawRequest& request, const std::string& family, Shape shape) {
  if (without_queries(family)) return Tensor::zeros(DType::kBF16, std::move(shape));
  return draw_activations(family, DType::kBF16, std::move(shape), request.seed, "q");
}

Tensor draw_keys(const DrawRequest& request, const std::string& family, Shape shape, const std::string& name) {
  if (!without_queries(family)) return draw_activations(family, DType::kBF16, std::move(shape), request.seed, name);
  std::vector<float> values = floats_of(draw_activations("normal", DType::kBF16, shape, request.seed, name));
  if (family == "large_values")
    for (float& value : values) value *= 0x1p20F;
  return tensor::cast(Tensor::from<float>(std::move(shape), values), DType::kBF16);
}

// ---- prefill

NamedTensors draw_prefill(const DrawRequest& request) {
  const std::int64_t queries = request.size(0);
  const std::int64_t keys = request.size(1);
  const std::int64_t heads = request.size(2);
  if (queries > keys)
    core::fail_input("mla_prefill: {} queries and {} keys, expected no more queries than keys", queries, keys);
  const std::string& family = request.family;
  return {{"q", draw_queries(request, family, {queries, heads, kQueryDim})},
          {"k", draw_keys(request, without_queries(family) ? "normal" : family, {keys, heads, kQueryDim}, "k")},
          {"v", draw_keys(request, family, {keys, heads, kValueDim}, "v")}};
}

Tensor as_batch(const Tensor& tensor) {
  Shape shape = tensor.shape();
  shape.insert(shape.begin(), 1);
  return wide(tensor).reshape(shape);
}

ExpectedOutputs expect_prefill(const NamedTensors& inputs, const ContractSettings& settings) {
  const Tensor& q = input(inputs, "q");
  const Tensor& k = input(inputs, "k");
  ops::AttentionMask mask;
  mask.causal = settings.flag("causal");
  mask.past = mask.causal ? k.dim(0) - q.dim(0) : 0;
  if (settings.fault("mask") == "top_left") mask.past = 0;
  const Attention all = attend(as_batch(q), as_batch(k), as_batch(input(inputs, "v")), scale_of(settings), mask);
  const Shape out{q.dim(0), q.dim(1), kValueDim};
  const Shape logs{q.dim(0), q.dim(1)};
  return {{"out", {rounded(all.out, DType::kBF16, out), Tensor::from<float>(out, all.out_bound)}},
          {"lse", {rounded(all.log_sum_exp, DType::kF32, logs), Tensor::from<float>(logs, all.log_bound)}}};
}

std::vector<Alternative> prefill_alternatives(const ContractSettings& settings) {
  const bool causal = settings.flag("causal");
  return {{"the scores not scaled", {{"scale", "one"}}},
          {causal ? "no causal mask" : "a causal mask", {{"causal", causal ? "false" : "true"}}},
          {"the causal mask aligned to the first key rather than to the last", {{"mask", "top_left"}}},
          {"scores times 1/sqrt(576)", {{"scale", "of_latent"}}}};
}

// ---- decoding

NamedTensors draw_decode(const DrawRequest& request) {
  const std::int64_t batch = request.size(0);
  const std::int64_t heads = request.size(1);
  const std::int64_t most = request.size(2);
  const std::int64_t pages = (most + kPage - 1) / kPage;
  const core::RandomStream stream(request.seed, "seq_lens");
  std::vector<std::int32_t> lengths;
  for (std::int64_t i = 0; i < batch; ++i) {
    const std::int64_t drawn = 1 + stream.word(static_cast<std::uint64_t>(i)) % most;
    std::int64_t length = i == 0 ? most : drawn;
    if (request.family == "one_key") length = 1;
    if (request.family == "long_tail" && i > 0) length = std::max<std::int64_t>(1, drawn / 16);
    lengths.push_back(static_cast<std::int32_t>(length));
  }
  // Pages of all sequences in an order of their own, some of them nobody's.
  const std::int64_t total = batch * pages + 2;
  std::vector<std::int32_t> order(static_cast<std::size_t>(total));
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int32_t>(i);
  const core::RandomStream shuffle(request.seed, "block_table");
  for (std::size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[shuffle.word(i) % (i + 1)]);
  const bool own = request.family == "one_key" || request.family == "long_tail";
  const std::string family = own ? "normal" : request.family;
  Tensor cache = draw_keys(request, family, {total, kPage, kCacheDim}, "cache").clone();
  // Whoever reads a key behind a sequence's end meets numbers that show.
  const std::uint16_t garbage = numerics::bf16_code(family == "large_values" ? 0x1p34F : 1e4F);
  auto codes = cache.mutable_values<std::uint16_t>();
  std::vector<bool> used(static_cast<std::size_t>(total * kPage), false);
  for (std::int64_t b = 0; b < batch; ++b)
    for (std::int64_t key = 0; key < lengths[static_cast<std::size_t>(b)]; ++key)
      used[static_cast<std::size_t>(order[static_cast<std::size_t>(b * pages + key / kPage)] * kPage + key % kPage)] =
          true;
  for (std::size_t row = 0; row < used.size(); ++row)
    if (!used[row]) std::fill_n(codes.begin() + static_cast<std::ptrdiff_t>(row * kCacheDim), kCacheDim, garbage);
  order.resize(static_cast<std::size_t>(batch * pages));
  return {{"q", draw_queries(request, family, {batch, heads, kCacheDim})},
          {"cache", cache},
          {"block_table", Tensor::from<std::int32_t>({batch, pages}, order)},
          {"seq_lens", Tensor::from<std::int32_t>({batch}, lengths)}};
}

// The keys of one sequence, gathered: [1, length, 1, 576].
Tensor gather_keys(const NamedTensors& inputs, std::int64_t sequence, std::int64_t length) {
  const Tensor& cache = input(inputs, "cache");
  const Tensor& table = input(inputs, "block_table");
  Tensor keys = Tensor::empty(DType::kBF16, {1, length, 1, kCacheDim});
  constexpr std::size_t kBytes = 2 * kCacheDim;
  for (std::int64_t key = 0; key < length; ++key) {
    const std::int64_t page =
        table.values<std::int32_t>()[static_cast<std::size_t>(sequence * table.dim(1) + key / kPage)];
    if (page < 0 || page >= cache.dim(0))
      core::fail_input("mla_decode: block_table has page {} of {}", page, cache.dim(0));
    std::memcpy(keys.mutable_bytes().data() + static_cast<std::size_t>(key) * kBytes,
                cache.bytes().data() + static_cast<std::size_t>(page * kPage + key % kPage) * kBytes, kBytes);
  }
  return keys;
}

ExpectedOutputs expect_decode(const NamedTensors& inputs, const ContractSettings& settings) {
  const Tensor& q = input(inputs, "q");
  const std::int64_t batch = q.dim(0);
  const std::int64_t heads = q.dim(1);
  const auto lengths = input(inputs, "seq_lens").values<std::int32_t>();
  const std::int64_t most = input(inputs, "block_table").dim(1) * kPage;
  Attention all;
  for (std::int64_t b = 0; b < batch; ++b) {
    std::int64_t length = lengths[static_cast<std::size_t>(b)];
    if (length < 1 || length > most) core::fail_input("mla_decode: seq_lens has {}, expected 1 to {}", length, most);
    if (settings.fault("length") == "page") length = (length + kPage - 1) / kPage * kPage;
    if (settings.fault("length") == "one_less") length = std::max<std::int64_t>(1, length - 1);
    const Tensor keys = wide(gather_keys(inputs, b, length));
    const Tensor values = keys.slice(3, 0, kLatentDim).contiguous();
    const Tensor query = wide(q.slice(0, b, b + 1).contiguous()).reshape({1, 1, heads, kCacheDim});
    ops::AttentionMask mask;
    mask.causal = false;
    const Attention one = attend(query, keys, values, scale_of(settings), mask);
    const auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
    append(all.out, one.out);
    append(all.out_bound, one.out_bound);
    append(all.log_sum_exp, one.log_sum_exp);
    append(all.log_bound, one.log_bound);
  }
  const Shape out{batch, heads, kLatentDim};
  const Shape logs{batch, heads};
  return {{"out", {rounded(all.out, DType::kBF16, out), Tensor::from<float>(out, all.out_bound)}},
          {"lse", {rounded(all.log_sum_exp, DType::kF32, logs), Tensor::from<float>(logs, all.log_bound)}}};
}

std::vector<Alternative> decode_alternatives(const ContractSettings&) {
  return {{"scores times 1/sqrt(576) rather than 1/sqrt(192)", {{"scale", "of_latent"}}},
          {"the scores not scaled", {{"scale", "one"}}},
          {"keys up to the end of the last page, behind the end of a sequence", {{"length", "page"}}},
          {"the last key of a sequence left out", {{"length", "one_less"}}}};
}

// ---- the entries

constexpr const char* kOutBand =
    "softmax weights rounded to BF16 (2^-8 of sum p |v|), scores summed in FP32 (dim 2^-24 |q| |k| each, four times), "
    "exp() within 2^-20, sums over keys within 2 keys 2^-24 (under queries of zeros those alone); right is the "
    "rounding to "
    "BF16 of any number that near to the exact one";
constexpr const char* kLogBand = "scores as for out, exp() and log() within 2^-19, the sum over keys within keys 2^-24";

std::vector<ContractOutput> attention_outputs(const std::string& out, const std::string& lse) {
  return {{{"out", "bf16", out, "weighted values"}, ToleranceClass::kBand, 0, kOutBand},
          {{"lse", "f32", lse, "log of the sum of exponentials of the scaled scores, natural"},
           ToleranceClass::kBand,
           0,
           kLogBand}};
}

OpSetting scale_setting() {
  return number_setting("scale", "0.07216878364870322", kSmallFactor, 1e3, "of the scores: 1/sqrt(192)");
}

}  // namespace

std::vector<Contract> attention_contracts() {
  Contract prefill{"mla_prefill", "Causal attention with keys of 192 and values of 128 elements"};
  prefill.axes = {"Sq", "Sk", "heads"};
  prefill.inputs = {{"q", "bf16", "[Sq, heads, 192]", "queries"},
                    {"k", "bf16", "[Sk, heads, 192]", "keys"},
                    {"v", "bf16", "[Sk, heads, 128]", "values"}};
  prefill.outputs = attention_outputs("[Sq, heads, 128]", "[Sq, heads]");
  prefill.settings = {scale_setting(), flag_setting("causal", true, "query i meets keys up to Sk - Sq + i")};
  prefill.shapes = {{1, 1, 1}, {7, 7, 2}, {33, 65, 2}, {1, 300, 3}};
  prefill.families = {"normal",    "outlier",  "cancelling",   "sparse",
                      "zero_rows", "constant", "zero_queries", "large_values"};
  prefill.draw = draw_prefill;
  prefill.expect = expect_prefill;
  prefill.alternatives = prefill_alternatives;

  Contract decode{"mla_decode", "One query a sequence against latents in pages of 64; values are their first 512"};
  decode.axes = {"batch", "heads", "keys"};
  decode.inputs = {{"q", "bf16", "[batch, heads, 576]", "queries with the up-projection absorbed"},
                   {"cache", "bf16", "[pages, 64, 576]", "latents and rotary keys; garbage behind each sequence's end"},
                   {"block_table", "i32", "[batch, ceil(keys/64)]", "a sequence's pages in order"},
                   {"seq_lens", "i32", "[batch]", "keys of each sequence"}};
  decode.outputs = attention_outputs("[batch, heads, 512]", "[batch, heads]");
  decode.settings = {scale_setting()};
  decode.shapes = {{1, 1, 1}, {3, 16, 100}, {2, 5, 257}};
  decode.families = {"normal",   "outlier", "cancelling", "sparse",       "zero_rows",
                     "constant", "one_key", "long_tail",  "zero_queries", "large_values"};
  decode.draw = draw_decode;
  decode.expect = expect_decode;
  decode.alternatives = decode_alternatives;
  return {prefill, decode};
}

}  // namespace lastbit::check
