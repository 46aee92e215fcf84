// Tokens drawn by the kernels are the reference's, but for draws that turn on the last bits of FP32 sums.
#include "infer/sampling.h"

#include <gtest/gtest.h>

#include "kernels/sampling/sampling.h"
#include "kernels/simt/device_array.h"
#include "kernels/simt/every_order.h"

namespace lastbit::kernels {
namespace {

constexpr int kRows = 6;
constexpr int kVocabulary = 130;

std::vector<float> draw_logits(bool ties) {
  const core::RandomStream stream(3, "logits");
  std::vector<float> logits;
  for (std::uint64_t i = 0; i < std::uint64_t{kRows} * kVocabulary; ++i) {
    const float x = 6 * stream.uniform(i) - 3;
    logits.push_back(ties ? std::round(x) : x);
  }
  return logits;
}

std::int64_t reference(std::span<const float> row, const infer::SamplingRule& rule, double u) {
  return infer::draw(infer::sampling_probabilities(row, rule), u);
}

// Whether the reference's token stays the same when u and top_p move by more than FP32 sums are off.
bool decided(std::span<const float> row, const infer::SamplingRule& rule, double u) {
  constexpr double kNear = 1e-5;
  const std::int64_t token = reference(row, rule, u);
  for (const double moved : {u - kNear, u + kNear})
    if (moved >= 0 && moved < 1 && reference(row, rule, moved) != token) return false;
  for (const double factor : {1 - kNear, 1 + kNear}) {
    infer::SamplingRule other = rule;
    if (rule.top_p < 1) other.top_p = rule.top_p * factor;
    if (reference(row, other, u) != token) return false;
  }
  return true;
}

void compare(const infer::SamplingRule& rule, bool ties, Version version) {
  const std::vector<float> logits = draw_logits(ties);
  const core::RandomStream stream(5, "u");
  std::vector<float> u;
  for (std::uint64_t i = 0; i < kRows; ++i) u.push_back(stream.uniform(i));
  const auto tokens = simt::in_every_order("sample_tokens", [&] {
    const simt::DeviceArray<float> device_logits("logits", std::span<const float>(logits));
    const simt::DeviceArray<float> device_u("u", std::span<const float>(u));
    const simt::DeviceArray<std::int32_t> result("tokens", kRows);
    sample_tokens(device_logits.data(), device_u.data(), kRows, kVocabulary,
                  {static_cast<float>(rule.temperature), static_cast<int>(rule.top_k), static_cast<float>(rule.top_p)},
                  result.data(), version);
    return result.download();
  });
  int compared = 0;
  for (std::size_t r = 0; r < kRows; ++r) {
    const auto row = std::span<const float>(logits).subspan(r * kVocabulary, kVocabulary);
    if (!decided(row, rule, static_cast<double>(u[r]))) continue;
    ++compared;
    EXPECT_EQ(tokens[r], reference(row, rule, static_cast<double>(u[r]))) << "row " << r;
  }
  EXPECT_GT(compared, kRows * 3 / 4);
}

TEST(Sampling, TokensAreTheReferences) {
  for (const bool ties : {false, true})
    for (const infer::SamplingRule& rule :
         {infer::SamplingRule{1, 0, 1}, {0.7, 20, 1}, {1.3, 0, 0.9}, {1, 50, 0.5}, {1, 1, 0.9}, {0.05, 0, 0.3}})
      for (const Version version : {Version::kObvious, Version::kTuned}) {
        SCOPED_TRACE(::testing::Message()
                     << "ties " << ties << ", temperature " << rule.temperature << ", top_k " << rule.top_k
                     << ", top_p " << rule.top_p << (version == Version::kTuned ? ", tuned" : ", v0"));
        compare(rule, ties, version);
      }
}

}  // namespace
}  // namespace lastbit::kernels
