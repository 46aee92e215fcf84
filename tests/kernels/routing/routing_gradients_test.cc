// Gradients of the router, permutation and its way back, against src/ops.
#include "kernels/routing/routing_gradients.h"

#include "ops/permutation.h"
#include "ops/router.h"
#include "tests/kernels/typed_values.h"

namespace lastbit::kernels {
namespace {

using tensor::Tensor;

std::vector<std::int64_t> wholes_of(const Tensor& tensor) {
  const auto values = tensor.values<std::int64_t>();
  return {values.begin(), values.end()};
}

simt::DeviceArray<std::int64_t> upload_wholes(const std::string& name, const std::vector<std::int64_t>& values) {
  return simt::DeviceArray<std::int64_t>(name, std::span<const std::int64_t>(values));
}

struct RouterCase {
  int tokens;
  int experts;
  int top_k;
  bool normalise;
};

// With w = s / (sum of s), or s: exp() of 2 ulp makes s off by 2^-22 relatively, w by twice that and 2 top_k roundings,
// so sum dw w by 2^-20, and the three factors behind it by 2^-22 each: dlogit by (|dw| + sum |dw| w) / (sum of s) scale
// s 2^-19.
void compare_router(const RouterCase& c, Version version) {
  const auto slots = static_cast<std::size_t>(c.tokens * c.top_k);
  const std::vector<float> logits = draw_typed<float>(static_cast<std::size_t>(c.tokens * c.experts), "logits", 4);
  const std::vector<float> dweights = draw_typed<float>(slots, "dweights");
  ops::RouterRule rule;
  rule.top_k = c.top_k;
  rule.normalise = c.normalise;
  rule.scale = 2.5;
  const Tensor logit_tensor = matrix_of(logits, c.tokens, c.experts);
  const ops::Routing routing = ops::route(logit_tensor, nullptr, rule);
  const Tensor expected = ops::route_backward(matrix_of(dweights, c.tokens, c.top_k), logit_tensor, routing, rule);
  const std::vector<std::int64_t> chosen = wholes_of(routing.experts);
  const std::vector<float> result = simt::in_every_order("route_backward", [&] {
    const auto device_logits = upload<float>("logits", logits);
    const auto device_dweights = upload<float>("dweights", dweights);
    const auto idx = upload_wholes("topk_idx", chosen);
    const simt::DeviceArray<float> dlogits("dlogits", logits.size());
    route_backward(device_logits.data(), idx.data(), device_dweights.data(), c.tokens,
                   {c.experts, 1, 1, c.top_k, false, c.normalise, 2.5F}, dlogits.data(), version);
    return dlogits.download();
  });
  std::vector<double> bounds(logits.size());
  const auto k = static_cast<std::size_t>(c.top_k);
  for (std::size_t first = 0; first < slots; first += k) {
    const std::size_t row = first / k * static_cast<std::size_t>(c.experts);
    const auto score = [&](std::size_t slot) {
      return 1 / (1 + std::exp(-static_cast<double>(logits[row + static_cast<std::size_t>(chosen[slot])])));
    };
    double divisor = 0;
    double mean = 0;
    for (std::size_t slot = first; slot < first + k; ++slot) divisor += score(slot);
    if (!c.normalise) divisor = 1;
    for (std::size_t slot = first; c.normalise && slot < first + k; ++slot)
      mean += std::abs(static_cast<double>(dweights[slot])) * score(slot) / divisor;
    for (std::size_t slot = first; slot < first + k; ++slot)
      bounds[row + static_cast<std::size_t>(chosen[slot])] =
          (std::abs(static_cast<double>(dweights[slot])) + mean) / divisor * rule.scale * score(slot) * 0x1p-19;
  }
  expect_near<float>("dlogits", result, 0, expected.values<float>(), bounds);
}

TEST(RoutingGradients, Router) {
  for (const Version version : {Version::kObvious, Version::kTuned})
    for (const RouterCase& c : {RouterCase{1, 8, 2, true}, {7, 64, 6, true}, {9, 33, 4, false}}) {
      SCOPED_TRACE(::testing::Message() << c.experts << " experts, " << name_of(version));
      compare_router(c, version);
    }
}

// Some slots are unused, one expert has no tokens.
TEST(RoutingGradients, PermutationAndBack) {
  constexpr int kTokens = 21;
  constexpr int kExperts = 6;
  constexpr int kTopK = 3;
  constexpr int kWidth = 140;
  std::vector<std::int64_t> chosen;
  for (std::int64_t t = 0; t < kTokens; ++t)
    for (std::int64_t i = 0; i < kTopK; ++i) chosen.push_back(t % 5 == 2 && i > 0 ? -1 : t % 3 + i);
  const ops::ExpertPermutation permutation =
      ops::expert_permutation(Tensor::from<std::int64_t>({kTokens, kTopK}, chosen), kExperts);
  const PermutationShape shape{kTokens, kWidth, kExperts, kTopK};
  const auto slots = static_cast<std::size_t>(kTokens * kTopK);
  const auto used = static_cast<std::size_t>(permutation.rows());
  for_types_and_versions([&]<typename T>(Version version) {
    const std::vector<float> rows = draw_typed<T>(slots * kWidth, "rows");
    const std::vector<float> dy = draw_typed<T>(std::size_t{kTokens} * kWidth, "dy");
    const std::vector<float> weights = draw_typed<float>(slots, "weights", 1);
    const Tensor used_rows = matrix_of({rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(used * kWidth)},
                                       permutation.rows(), kWidth);
    const Tensor dx = ops::dispatch_backward(used_rows, permutation);
    const ops::CombineGradients expected = ops::combine_backward(matrix_of(dy, kTokens, kWidth), used_rows,
                                                                 matrix_of(weights, kTokens, kTopK), permutation);
    const std::vector<float> result = simt::in_every_order("unpermute_backward", [&] {
      const auto device_rows = upload<T>("rows", rows);
      const auto device_dy = upload<T>("dy", dy);
      const auto device_weights = upload<float>("weights", weights);
      const auto offsets = upload_wholes("offsets", permutation.offsets);
      const auto row_of_slot = upload_wholes("row_of_slot", permutation.row_of_slot);
      const simt::DeviceArray<T> device_dx("dx", dy.size());
      const simt::DeviceArray<T> drows("drows", rows.size());
      const simt::DeviceArray<float> dweights("dweights", slots);
      permute_backward<T>(device_rows.data(), row_of_slot.data(), shape, device_dx.data(), version);
      unpermute_backward<T>({device_dy.data(), device_rows.data(), offsets.data(), row_of_slot.data(),
                             device_weights.data(), drows.data(), dweights.data(), shape},
                            version);
      std::vector<float> all;
      add_download(all, device_dx);
      add_download(all, drows);
      add_download(all, dweights);
      return all;
    });
    expect_bits<T>("dx", result, 0, dx.values<float>());
    expect_bits<T>("drows", result, dy.size(), expected.doutputs.template values<float>());
    const std::vector<float> zeros((slots - used) * kWidth);
    expect_bits<T>("drows behind", result, dy.size() + used * kWidth, zeros);
    const auto dweights = expected.dweights.template values<float>();
    const std::size_t at = dy.size() + rows.size();
    if (version == Version::kObvious) return expect_bits<float>("dweights", result, at, dweights);
    // A sum of kWidth products in two orders: each off by kWidth 2^-24 of the sum of magnitudes.
    std::vector<double> bounds(slots);
    for (std::size_t slot = 0; slot < slots; ++slot)
      for (std::size_t i = 0; permutation.row_of_slot[slot] >= 0 && i < kWidth; ++i)
        bounds[slot] +=
            2 * kWidth * 0x1p-24 *
            std::abs(static_cast<double>(dy[slot / kTopK * kWidth + i] *
                                         rows[static_cast<std::size_t>(permutation.row_of_slot[slot]) * kWidth + i]));
    expect_near<float>("dweights", result, at, dweights, bounds);
  });
}

}  // namespace
}  // namespace lastbit::kernels
