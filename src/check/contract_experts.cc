// Tokens on their way to experts and back: on one device, and between ranks, where the order of additions decides bits.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "check/contract_families.h"
#include "check/op_arguments.h"
#include "core/error.h"
#include "core/philox.h"
#include "numerics/bf16.h"
#include "ops/permutation.h"

namespace lastbit::check {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Shape;
using tensor::Tensor;

constexpr const char* kMoved = "elements are moved, not computed";

// Experts of [tokens, top_k], ascending, without repetition; -1 for an unused place, last.
Tensor draw_routing(const DrawRequest& request, std::int64_t tokens, std::int64_t experts, std::int64_t top_k) {
  if (top_k > experts) core::fail_input("top_k = {} of {} experts, expected no more than there are", top_k, experts);
  const core::RandomStream stream(request.seed, "topk_idx");
  std::int64_t most = experts;
  if (request.family == "empty_experts") most = std::max(top_k, experts / 4);
  std::vector<std::int64_t> result;
  for (std::int64_t token = 0; token < tokens; ++token) {
    std::vector<std::int64_t> all(static_cast<std::size_t>(most));
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
    const auto at = static_cast<std::uint64_t>(token) * 4096;
    if (request.family != "one_expert")
      for (std::size_t i = 0; i < static_cast<std::size_t>(top_k); ++i)
        std::swap(all[i], all[i + stream.word(at + i) % (all.size() - i)]);
    all.resize(static_cast<std::size_t>(top_k));
    std::ranges::sort(all);
    if (request.family == "unused_slots") {
      const auto used = static_cast<std::size_t>(stream.word(at + 4000) % (top_k + 1));
      std::fill(all.begin() + static_cast<std::ptrdiff_t>(used), all.end(), -1);
    }
    result.insert(result.end(), all.begin(), all.end());
  }
  return Tensor::from<std::int64_t>({tokens, top_k}, result);
}

std::string value_family(const std::string& family) {
  const bool own =
      family == "empty_experts" || family == "one_expert" || family == "unused_slots" || family == "cancelling_slots";
  return own ? "normal" : family;
}

// Of every four places of a token the first and third hold a large row and its negative, of one weight.
bool is_large_slot(std::int64_t place) { return place % 2 == 0; }

// `row_of_slot` [tokens, top_k] says where a place's row lies.
void cancel_slots(const DrawRequest& request, Tensor& rows, std::span<const std::int64_t> row_of_slot,
                  std::int64_t top_k) {
  if (request.family != "cancelling_slots") return;
  constexpr float kLarge = 0x1p20F;
  const auto d = static_cast<std::size_t>(rows.shape().back());
  rows = rows.clone();
  auto codes = rows.mutable_values<std::uint16_t>();
  for (std::size_t slot = 0; slot < row_of_slot.size(); ++slot) {
    const std::int64_t place = static_cast<std::int64_t>(slot) % top_k;
    if (!is_large_slot(place) || place / 4 * 4 + 2 >= top_k || row_of_slot[slot] < 0) continue;
    const auto to = static_cast<std::size_t>(row_of_slot[slot]) * d;
    for (std::size_t j = 0; j < d; ++j) {
      if (place % 4 == 0)
        codes[to + j] = numerics::bf16_code(kLarge * numerics::bf16_value(codes[to + j]));
      else
        codes[to + j] = codes[static_cast<std::size_t>(row_of_slot[slot - 2]) * d + j] ^ 0x8000U;
    }
  }
}

Tensor draw_weights(const DrawRequest& request, Shape shape) {
  const core::RandomStream stream(request.seed, "weights");
  std::vector<float> weights(static_cast<std::size_t>(tensor::element_count(shape)));
  const std::int64_t top_k = shape.back();
  for (std::size_t i = 0; i < weights.size(); ++i) {
    weights[i] = 0.05F + stream.uniform(i);
    const std::int64_t place = static_cast<std::int64_t>(i) % top_k;
    if (request.family == "cancelling_slots" && place % 4 == 2) weights[i] = weights[i - 2];
  }
  return Tensor::from<float>(std::move(shape), weights);
}

void copy_row(Tensor& to, std::int64_t to_row, const Tensor& from, std::int64_t from_row, std::int64_t d) {
  const auto bytes = static_cast<std::size_t>(d) * tensor::size_of(from.dtype());
  std::memcpy(to.mutable_bytes().data() + static_cast<std::size_t>(to_row) * bytes,
              from.bytes().data() + static_cast<std::size_t>(from_row) * bytes, bytes);
}

// ---- permute and unpermute

NamedTensors draw_permute(const DrawRequest& request) {
  return {{"x", draw_activations(value_family(request.family), DType::kBF16, {request.size(0), request.size(1)},
                                 request.seed, "x")},
          {"topk_idx", draw_routing(request, request.size(0), request.size(2), request.size(3))},
          {"experts", Tensor::from<std::int64_t>({1}, std::vector<std::int64_t>{request.size(2)})}};
}

ExpectedOutputs expect_permute(const NamedTensors& inputs, const ContractSettings&) {
  const Tensor& x = input(inputs, "x");
  const Tensor& routing = input(inputs, "topk_idx");
  const ops::ExpertPermutation permutation =
      ops::expert_permutation(routing, input(inputs, "experts").values<std::int64_t>()[0]);
  const std::int64_t d = x.dim(1);
  Tensor rows = Tensor::zeros(DType::kBF16, {routing.size(), d});
  for (std::int64_t row = 0; row < permutation.rows(); ++row)
    copy_row(rows, row, x, permutation.slot_of_row[static_cast<std::size_t>(row)] / permutation.top_k, d);
  return {{"rows", {rows}},
          {"offsets", {Tensor::from<std::int64_t>({std::ssize(permutation.offsets)}, permutation.offsets)}},
          {"row_of_slot", {Tensor::from<std::int64_t>(routing.shape(), permutation.row_of_slot)}}};
}

NamedTensors draw_unpermute(const DrawRequest& request) {
  const std::int64_t tokens = request.size(0);
  const std::int64_t top_k = request.size(3);
  const ops::ExpertPermutation permutation =
      ops::expert_permutation(draw_routing(request, tokens, request.size(2), top_k), request.size(2));
  Tensor rows = draw_activations(value_family(request.family), DType::kBF16, {tokens * top_k, request.size(1)},
                                 request.seed, "rows");
  cancel_slots(request, rows, permutation.row_of_slot, top_k);
  return {{"rows", rows},
          {"row_of_slot", Tensor::from<std::int64_t>({tokens, top_k}, permutation.row_of_slot)},
          {"weights", draw_weights(request, {tokens, top_k})}};
}

// One FP32 register that weighted rows are added to.
struct Adder {
  bool fma = false;
  bool narrow = false;  // the sum rounded to BF16 after every addition

  [[nodiscard]] float add(float sum, float weight, float value) const {
    const float next = fma ? std::fma(weight, value, sum) : sum + weight * value;
    return narrow ? numerics::round_bf16(next) : next;
  }
};

Adder adder_of(const ContractSettings& settings) { return {settings.flag("fma"), settings.fault("sum") == "bf16"}; }

ExpectedOutputs expect_unpermute(const NamedTensors& inputs, const ContractSettings& settings) {
  const Tensor& rows = input(inputs, "rows");
  const Tensor& slots = input(inputs, "row_of_slot");
  const auto codes = rows.values<std::uint16_t>();
  const auto weights = input(inputs, "weights").values<float>();
  const std::int64_t tokens = slots.dim(0);
  const std::int64_t top_k = slots.dim(1);
  const std::int64_t d = rows.dim(1);
  const Adder adder = adder_of(settings);
  Tensor y = Tensor::empty(DType::kBF16, {tokens, d});
  auto results = y.mutable_values<std::uint16_t>();
  for (std::int64_t token = 0; token < tokens; ++token)
    for (std::int64_t j = 0; j < d; ++j) {
      float sum = 0;
      for (std::int64_t i = 0; i < top_k; ++i) {
        const std::int64_t place = settings.fault("order") == "descending" ? top_k - 1 - i : i;
        const auto slot = static_cast<std::size_t>(token * top_k + place);
        const std::int64_t row = slots.values<std::int64_t>()[slot];
        if (row < 0) continue;
        if (row >= rows.dim(0)) core::fail_input("unpermute: row_of_slot has {} of {} rows", row, rows.dim(0));
        const float weight = settings.fault("weights") == "none" ? 1.0F : weights[slot];
        sum = adder.add(sum, weight, numerics::bf16_value(codes[static_cast<std::size_t>(row * d + j)]));
      }
      results[static_cast<std::size_t>(token * d + j)] = numerics::bf16_code(sum);
    }
  return {{"y", {y}}};
}

std::vector<Alternative> unpermute_alternatives(const ContractSettings& settings) {
  const bool fma = settings.flag("fma");
  return {{fma ? "a product and a sum rounded each" : "fused multiply-adds", {{"fma", fma ? "false" : "true"}}},
          {"experts added in descending order", {{"order", "descending"}}},
          {"sums kept in BF16", {{"sum", "bf16"}}},
          {"weights ignored", {{"weights", "none"}}}};
}

// ---- between ranks

std::int64_t rank_of(std::int64_t expert, std::int64_t experts, std::int64_t ranks) { return expert * ranks / experts; }

void require_ranks(std::int64_t experts, std::int64_t ranks) {
  if (experts % ranks != 0)
    core::fail_input("{} experts on {} ranks, expected as many experts on each", experts, ranks);
}

NamedTensors draw_dispatch(const DrawRequest& request) {
  const std::int64_t tokens = request.size(0);
  const std::int64_t d = request.size(1);
  const std::int64_t ranks = request.size(4);
  require_ranks(request.size(2), ranks);
  return {{"x", draw_activations(value_family(request.family), DType::kBF16, {ranks, tokens, d}, request.seed, "x")},
          {"topk_idx", draw_routing(request, ranks * tokens, request.size(2), request.size(3))
                           .reshape({ranks, tokens, request.size(3)})},
          {"experts", Tensor::from<std::int64_t>({1}, std::vector<std::int64_t>{request.size(2)})}};
}

ExpectedOutputs expect_dispatch(const NamedTensors& inputs, const ContractSettings&) {
  const Tensor& x = input(inputs, "x");
  const Tensor& routing = input(inputs, "topk_idx");
  const std::int64_t experts = input(inputs, "experts").values<std::int64_t>()[0];
  const std::int64_t rows = x.dim(0) * x.dim(1);
  const std::int64_t top_k = routing.dim(2);
  Tensor received = Tensor::zeros(DType::kBF16, {experts, rows, x.dim(2)});
  std::vector<std::int64_t> counts(static_cast<std::size_t>(experts));
  std::vector<std::int64_t> sources(static_cast<std::size_t>(experts * rows), -1);
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t i = 0; i < top_k; ++i) {
      const std::int64_t expert = routing.values<std::int64_t>()[static_cast<std::size_t>(row * top_k + i)];
      if (expert < 0) continue;
      if (expert >= experts) core::fail_input("dispatch: topk_idx has {} of {} experts", expert, experts);
      const std::int64_t place = expert * rows + counts[static_cast<std::size_t>(expert)]++;
      copy_row(received, place, x, row, x.dim(2));
      sources[static_cast<std::size_t>(place)] = row;
    }
  return {{"recv", {received}},
          {"recv_count", {Tensor::from<std::int64_t>({experts}, counts)}},
          {"recv_source", {Tensor::from<std::int64_t>({experts, rows}, sources)}}};
}

NamedTensors draw_combine(const DrawRequest& request) {
  const std::int64_t tokens = request.size(0);
  const std::int64_t top_k = request.size(3);
  require_ranks(request.size(2), request.size(4));
  Tensor rows = draw_activations(value_family(request.family), DType::kBF16, {tokens, top_k, request.size(1)},
                                 request.seed, "rows");
  std::vector<std::int64_t> own(static_cast<std::size_t>(tokens * top_k));
  std::iota(own.begin(), own.end(), 0);
  cancel_slots(request, rows, own, top_k);
  return {{"rows", rows},
          {"topk_idx", draw_routing(request, tokens, request.size(2), top_k)},
          {"weights", draw_weights(request, {tokens, top_k})},
          {"experts", Tensor::from<std::int64_t>({1}, std::vector<std::int64_t>{request.size(2)})},
          {"ranks", Tensor::from<std::int64_t>({1}, std::vector<std::int64_t>{request.size(4)})}};
}

// The sum of one element: `values` and `weights` of the used places, `ranks_of` their ranks, ascending.
float combine_element(const std::vector<float>& values, const std::vector<float>& weights,
                      const std::vector<std::int64_t>& ranks_of, const ContractSettings& settings) {
  const Adder adder = adder_of(settings);
  if (settings.fault("ranks") == "one") {
    float sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) sum = adder.add(sum, weights[i], values[i]);
    return sum;
  }
  std::vector<float> partial;
  for (std::size_t i = 0; i < values.size();) {
    float sum = 0;
    const std::int64_t rank = ranks_of[i];
    for (; i < values.size() && ranks_of[i] == rank; ++i) sum = adder.add(sum, weights[i], values[i]);
    partial.push_back(settings.text("wire") == "bf16" ? numerics::round_bf16(sum) : sum);
  }
  if (settings.fault("ranks") == "descending") std::ranges::reverse(partial);
  if (settings.fault("ranks") == "tree")
    while (partial.size() > 1) {
      std::vector<float> next;
      for (std::size_t i = 0; i + 1 < partial.size(); i += 2) next.push_back(partial[i] + partial[i + 1]);
      if (partial.size() % 2 != 0) next.push_back(partial.back());
      partial = next;
    }
  float sum = 0;
  for (const float value : partial) sum = adder.narrow ? numerics::round_bf16(sum + value) : sum + value;
  return sum;
}

ExpectedOutputs expect_combine(const NamedTensors& inputs, const ContractSettings& settings) {
  const Tensor& rows = input(inputs, "rows");
  const auto codes = rows.values<std::uint16_t>();
  const auto routing = input(inputs, "topk_idx").values<std::int64_t>();
  const auto all_weights = input(inputs, "weights").values<float>();
  const std::int64_t experts = input(inputs, "experts").values<std::int64_t>()[0];
  const std::int64_t ranks = input(inputs, "ranks").values<std::int64_t>()[0];
  const std::int64_t top_k = rows.dim(1);
  const std::int64_t d = rows.dim(2);
  Tensor y = Tensor::empty(DType::kBF16, {rows.dim(0), d});
  auto results = y.mutable_values<std::uint16_t>();
  for (std::int64_t token = 0; token < rows.dim(0); ++token) {
    std::vector<std::int64_t> used;
    std::vector<std::int64_t> ranks_of;
    std::vector<float> weights;
    for (std::int64_t slot = token * top_k; slot < (token + 1) * top_k; ++slot) {
      const std::int64_t expert = routing[static_cast<std::size_t>(slot)];
      if (expert < 0) continue;
      used.push_back(slot);
      ranks_of.push_back(rank_of(expert, experts, ranks));
      weights.push_back(all_weights[static_cast<std::size_t>(slot)]);
    }
    std::vector<float> values(used.size());
    for (std::int64_t j = 0; j < d; ++j) {
      for (std::size_t i = 0; i < used.size(); ++i)
        values[i] = numerics::bf16_value(codes[static_cast<std::size_t>(used[i] * d + j)]);
      results[static_cast<std::size_t>(token * d + j)] =
          numerics::bf16_code(combine_element(values, weights, ranks_of, settings));
    }
  }
  return {{"y", {y}}};
}

std::vector<Alternative> combine_alternatives(const ContractSettings& settings) {
  const bool bf16 = settings.text("wire") == "bf16";
  const bool fma = settings.flag("fma");
  return {{"ranks added in descending order", {{"ranks", "descending"}}},
          {"ranks added as a tree of neighbours", {{"ranks", "tree"}}},
          {"all experts added one after the other, without partial sums of ranks", {{"ranks", "one"}}},
          {bf16 ? "FP32 between ranks" : "BF16 between ranks", {{"wire", bf16 ? "f32" : "bf16"}}},
          {fma ? "a product and a sum rounded each" : "fused multiply-adds", {{"fma", fma ? "false" : "true"}}},
          {"sums kept in BF16", {{"sum", "bf16"}}}};
}

// ---- the entries

const std::vector<std::string>& expert_families() {
  static const std::vector<std::string> kAll{"normal",     "outlier",      "cancelling",
                                             "zero_rows",  "subnormal",    "empty_experts",
                                             "one_expert", "unused_slots", "cancelling_slots"};
  return kAll;
}

ContractArray experts_input() { return {"experts", "i64", "[1]", "how many there are"}; }

OpSetting fma_setting() {
  return flag_setting("fma", false, "weight * value + sum fused, rather than both operations rounded");
}

Contract permute_contract() {
  Contract contract{"permute", "Tokens' rows in the order of their experts, in token order within one, +0 behind"};
  contract.axes = {"tokens", "d", "experts", "top_k"};
  contract.inputs = {{"x", "bf16", "[tokens, d]", "values"},
                     {"topk_idx", "i64", "[tokens, top_k]", "ascending experts, -1: unused"},
                     experts_input()};
  contract.outputs = {{{"rows", "bf16", "[tokens * top_k, d]", "gathered"}, ToleranceClass::kBitwise, 0, kMoved},
                      {{"offsets", "i64", "[experts + 1]", "expert e has the rows offsets[e] ... offsets[e + 1] - 1"},
                       ToleranceClass::kBitwise,
                       0,
                       kMoved},
                      {{"row_of_slot", "i64", "[tokens, top_k]", "-1: unused"}, ToleranceClass::kBitwise, 0, kMoved}};
  contract.shapes = {{1, 1, 1, 1}, {17, 40, 8, 2}, {64, 33, 32, 8}};
  contract.families = expert_families();
  contract.draw = draw_permute;
  contract.expect = expect_permute;
  return contract;
}

Contract unpermute_contract() {
  Contract contract{"unpermute", "y = sum of weight * row over a token's experts, ascending, in FP32 from +0, to BF16"};
  contract.axes = {"tokens", "d", "experts", "top_k"};
  contract.inputs = {{"rows", "bf16", "[tokens * top_k, d]", "of the experts"},
                     {"row_of_slot", "i64", "[tokens, top_k]", "-1: unused"},
                     {"weights", "f32", "[tokens, top_k]", "of the experts"}};
  contract.outputs = {{{"y", "bf16", "[tokens, d]", "sums"},
                       ToleranceClass::kBitwise,
                       0,
                       "the order of additions and the roundings are given, so the bits are determined"}};
  contract.settings = {fma_setting()};
  contract.shapes = {{1, 1, 1, 1}, {17, 40, 8, 2}, {64, 33, 32, 8}};
  contract.families = expert_families();
  contract.draw = draw_unpermute;
  contract.expect = expect_unpermute;
  contract.alternatives = unpermute_alternatives;
  return contract;
}

Contract dispatch_contract() {
  Contract contract{"dispatch_ranks", "What every expert receives from all ranks: rows by (rank, token), +0 behind"};
  contract.axes = {"tokens", "d", "experts", "top_k", "ranks"};
  contract.inputs = {{"x", "bf16", "[ranks, tokens, d]", "of every rank"},
                     {"topk_idx", "i64", "[ranks, tokens, top_k]", "ascending experts, -1: unused"},
                     experts_input()};
  contract.outputs = {{{"recv", "bf16", "[experts, ranks * tokens, d]", "rows"}, ToleranceClass::kBitwise, 0, kMoved},
                      {{"recv_count", "i64", "[experts]", "rows of each expert"}, ToleranceClass::kBitwise, 0, kMoved},
                      {{"recv_source", "i64", "[experts, ranks * tokens]", "rank * tokens + token, -1 behind"},
                       ToleranceClass::kBitwise,
                       0,
                       kMoved}};
  contract.shapes = {{1, 1, 1, 1, 1}, {9, 24, 16, 3, 4}, {16, 33, 32, 8, 8}};
  contract.families = expert_families();
  contract.draw = draw_dispatch;
  contract.expect = expect_dispatch;
  return contract;
}

Contract combine_contract() {
  Contract contract{"combine_ranks",
                    "A token's weighted rows added by each rank (experts ascending), then over ranks ascending"};
  contract.axes = {"tokens", "d", "experts", "top_k", "ranks"};
  contract.inputs = {
      {"rows", "bf16", "[tokens, top_k, d]", "of the experts, by place"},
      {"topk_idx", "i64", "[tokens, top_k]", "ascending experts, -1: unused; rank = expert * ranks / experts"},
      {"weights", "f32", "[tokens, top_k]", "of the experts"},
      experts_input(),
      {"ranks", "i64", "[1]", "how many there are"}};
  contract.outputs = {
      {{"y", "bf16", "[tokens, d]", "sums"},
       ToleranceClass::kBitwise,
       0,
       "partial sums from +0 in FP32, rounded for the wire as asked, added from +0 in FP32 by ascending "
       "rank (a rank without a row sends nothing), then BF16: every rounding is given"}};
  contract.settings = {fma_setting(), choice_setting("wire", {"bf16", "f32"}, "format of partial sums between ranks")};
  contract.shapes = {{1, 1, 1, 1, 1}, {17, 40, 16, 4, 4}, {48, 33, 64, 8, 8}};
  contract.families = expert_families();
  contract.draw = draw_combine;
  contract.expect = expect_combine;
  contract.alternatives = combine_alternatives;
  return contract;
}

}  // namespace

std::vector<Contract> expert_contracts() {
  return {permute_contract(), unpermute_contract(), dispatch_contract(), combine_contract()};
}

}  // namespace lastbit::check
