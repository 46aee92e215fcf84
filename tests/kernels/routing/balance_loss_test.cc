// DeepSeek-V3's balance loss and its gradient, against ops/balance.h.
#include "kernels/routing/balance_loss.h"

#include "ops/balance.h"
#include "tests/kernels/typed_values.h"

namespace lastbit::kernels {
namespace {

constexpr int kLossTokens = 24;
constexpr int kLossExperts = 37;
constexpr int kLossTopK = 4;
constexpr double kAlpha = 0.01;

// f, p, the loss and dlogits, one after the other.
std::vector<double> run_loss(const std::vector<float>& logits, const std::vector<std::int64_t>& choice, int length,
                             Version version) {
  return simt::in_every_order("balance_loss", [&] {
    const auto device_logits = upload<float>("logits", logits);
    const simt::DeviceArray<std::int64_t> device_choice("choice", std::span<const std::int64_t>(choice));
    const auto loads = static_cast<std::size_t>(kLossTokens / length * kLossExperts);
    const simt::DeviceArray<float> shares("shares", logits.size());
    const simt::DeviceArray<double> f("f", loads);
    const simt::DeviceArray<double> p("p", loads);
    const simt::DeviceArray<double> loss("loss", 1);
    const simt::DeviceArray<float> dlogits("dlogits", logits.size());
    balance_loss({device_logits.data(), device_choice.data(), shares.data(), f.data(), p.data(), loss.data(),
                  dlogits.data(), kLossTokens, kLossExperts, kLossTopK, length, kAlpha},
                 version);
    std::vector<double> all;
    for (const auto* array : {&f, &p, &loss})
      for (const double value : array->download()) all.push_back(value);
    for (const float value : dlogits.download()) all.push_back(static_cast<double>(value));
    return all;
  });
}

// exp() of 2 ulp makes s off by 2^-22, a sum in another order by kLossExperts 2^-24, so a share by 2^-20 relatively,
// and what is linear in shares likewise; dlogit by (|slope| + sum |slope| share) share 2^-19.
TEST(BalanceLoss, IsTheReferences) {
  const std::vector<float> logits = draw_typed<float>(std::size_t{kLossTokens} * kLossExperts, "logits", 3);
  const tensor::Tensor logit_tensor = matrix_of(logits, kLossTokens, kLossExperts);
  tensor::Tensor choice = ops::unbiased_choice(logit_tensor, ops::Affinity::kSigmoid, kLossTopK).clone();
  choice.mutable_values<std::int64_t>()[3] = -1;  // a slot that nobody uses
  const auto chosen = choice.values<std::int64_t>();
  for (const int length : {kLossTokens, 8})
    for (const Version version : {Version::kObvious, Version::kTuned}) {
      SCOPED_TRACE(::testing::Message() << length << " tokens a sequence, " << name_of(version));
      const ops::BalanceLoss expected =
          ops::expert_balance_loss({logit_tensor, choice, ops::Affinity::kSigmoid, kAlpha, length});
      const std::vector<double> result = run_loss(logits, {chosen.begin(), chosen.end()}, length, version);
      const auto f = expected.f.values<double>();
      const auto p = expected.p.values<double>();
      const auto dlogits = expected.dlogits.values<float>();
      for (std::size_t i = 0; i < f.size(); ++i) {
        ASSERT_EQ(result[i], f[i]) << "f " << i;
        ASSERT_NEAR(result[f.size() + i], p[i], p[i] * 0x1p-20) << "p " << i;
      }
      ASSERT_NEAR(result[2 * f.size()], expected.loss, expected.loss * 0x1p-20);
      constexpr std::size_t kExperts = kLossExperts;
      const double share_unit = kAlpha / (static_cast<double>(kLossTokens) / length) / length;
      for (std::size_t row = 0; row < logits.size(); row += kExperts) {
        const double* const loads = f.data() + row / kExperts / static_cast<std::size_t>(length) * kExperts;
        double sum = 0;
        double mean = 0;
        const auto score = [&](std::size_t e) { return 1 / (1 + std::exp(-static_cast<double>(logits[row + e]))); };
        for (std::size_t e = 0; e < kExperts; ++e) sum += score(e);
        for (std::size_t e = 0; e < kExperts; ++e) mean += loads[e] * share_unit * score(e) / sum;
        for (std::size_t e = 0; e < kExperts; ++e)
          ASSERT_NEAR(result[2 * f.size() + 1 + row + e], static_cast<double>(dlogits[row + e]),
                      (loads[e] * share_unit + mean) * score(e) / sum * 0x1p-19)
              << "dlogits " << row + e;
      }
    }
}

}  // namespace
}  // namespace lastbit::kernels
