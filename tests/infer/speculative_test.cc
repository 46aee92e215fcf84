#include "infer/speculative.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "core/error.h"

namespace lastbit::infer {
namespace {

using Row = std::vector<double>;

// Every outcome of two drafts over a vocabulary of four, with chances that are whole numbers: probabilities are
// sixteenths, drafts have powers of two, and what is left after a rejection adds to a quarter, so that all thresholds
// fall between the midpoints of u = (k + 1/2) / kGrid.
constexpr std::size_t kVocabulary = 4;
constexpr int kGrid = 16;
const Row kDraft{8.0 / 16, 4.0 / 16, 2.0 / 16, 2.0 / 16};
const std::array<Row, 4> kTargets{Row{4.0 / 16, 6.0 / 16, 4.0 / 16, 2.0 / 16}, Row{8.0 / 16, 2.0 / 16, 0, 6.0 / 16},
                                  Row{4.0 / 16, 8.0 / 16, 2.0 / 16, 2.0 / 16}, kDraft};

// The target's row behind a first token, and behind two.
const Row& behind(std::size_t token) { return kTargets[(token + 1) % 4]; }
const Row& behind(std::size_t first, std::size_t second) { return kTargets[(first + 2 * second) % 4]; }

Row joined(const std::vector<Row>& rows) {
  Row all;
  for (const Row& row : rows) all.insert(all.end(), row.begin(), row.end());
  return all;
}

struct Counts {
  std::array<double, kVocabulary> first{};
  std::array<std::array<double, kVocabulary>, kVocabulary> second{};
  std::map<std::pair<std::size_t, std::size_t>, std::array<double, kVocabulary>> third;
};

Counts enumerate() {
  Counts counts;
  const auto u = [](int k) { return (k + 0.5) / kGrid; };
  const Row q = joined({kDraft, kDraft});
  for (std::size_t a = 0; a < kVocabulary; ++a)
    for (std::size_t b = 0; b < kVocabulary; ++b) {
      const double chance = kDraft[a] * kDraft[b] * 256;  // a whole number
      const Row p = joined({kTargets[0], behind(a), behind(a, b)});
      const std::array<std::int64_t, 2> drafts{static_cast<std::int64_t>(a), static_cast<std::int64_t>(b)};
      for (int i = 0; i < kGrid * kGrid * kGrid; ++i) {
        const Row u_accept{u(i % kGrid), u(i / kGrid % kGrid)};
        const Verification v = verify_sampled(p, q, drafts, u_accept, u(i / kGrid / kGrid));
        const auto next = static_cast<std::size_t>(v.next_token);
        counts.first[v.accepted >= 1 ? a : next] += chance;
        if (v.accepted >= 1) counts.second[a][v.accepted >= 2 ? b : next] += chance;
        if (v.accepted == 2) counts.third[{a, b}][next] += chance;
      }
    }
  return counts;
}

template <typename Found>
void expect_proportional(const Found& found, const Row& expected) {
  double total = 0;
  for (const double count : found) total += count;
  for (std::size_t v = 0; v < kVocabulary; ++v) EXPECT_EQ(found[v], expected[v] * total) << v;
}

TEST(Speculative, TheTargetsDistributionIsKeptExactly) {
  const Counts counts = enumerate();
  expect_proportional(counts.first, kTargets[0]);
  for (std::size_t a = 0; a < kVocabulary; ++a) {
    SCOPED_TRACE(a);
    expect_proportional(counts.second[a], behind(a));
  }
  EXPECT_GE(counts.third.size(), 12u);  // a token that the target bars is never accepted
  for (const auto& [drafts, found] : counts.third) expect_proportional(found, behind(drafts.first, drafts.second));
}

Row any_distribution(std::size_t size, int least) {
  const auto weights = *rc::gen::container<std::vector<int>>(size, rc::gen::inRange(least, 1000));
  double total = 0;
  for (const int w : weights) total += w;
  RC_PRE(total > 0);
  Row row;
  for (const int w : weights) row.push_back(w / total);
  return row;
}

// q min(1, p/q) + (chance of a rejection) * residual = p, for any p and q.
RC_GTEST_PROP(SpeculativeProperty, AcceptedAndResampledTogetherAreTheTarget, ()) {
  const auto size = *rc::gen::inRange<std::size_t>(1, 9);
  const Row p = any_distribution(size, 0);
  const Row q = any_distribution(size, 1);
  Row out(size);
  Row residual;
  double rejected = 0;
  for (std::size_t d = 0; d < size; ++d) {
    const double threshold = std::min(1.0, p[d] / q[d]);
    const std::vector<std::int64_t> draft{static_cast<std::int64_t>(d)};
    const auto at = [&](double u) { return verify_sampled(joined({p, p}), q, draft, Row{u}, 0.5); };
    if (threshold > 0) RC_ASSERT(at(std::nextafter(threshold, 0.0)).accepted == 1);
    out[d] += q[d] * threshold;
    if (threshold == 1) continue;
    const Verification fallen = at(threshold);
    RC_ASSERT(fallen.accepted == 0);
    residual = fallen.residual;
    rejected += q[d] * (1 - threshold);
  }
  for (std::size_t v = 0; v < size; ++v) {
    if (!residual.empty()) out[v] += rejected * residual[v];
    RC_ASSERT(std::abs(out[v] - p[v]) < 1e-13);
  }
}

TEST(Speculative, WithoutDraftsItIsOneDraw) {
  const Verification v = verify_sampled(Row{0.25, 0.5, 0.25}, {}, {}, {}, 0.6);
  EXPECT_EQ(v.accepted, 0);
  EXPECT_EQ(v.next_token, 1);
  EXPECT_EQ(v.residual, (Row{0.25, 0.5, 0.25}));
}

TEST(Speculative, ARejectionThatOnlyRoundingAllowsDrawsFromTheTarget) {
  const Row p{0.5 - 4e-7, 0.5 - 4e-7};
  const Row q{0.5, 0.5};
  const Verification v =
      verify_sampled(joined({p, p}), q, std::vector<std::int64_t>{1}, Row{std::nextafter(1.0, 0)}, 0.1);
  EXPECT_EQ(v.accepted, 0);
  EXPECT_EQ(v.next_token, 0);
  EXPECT_NEAR(v.residual[1], 0.5, 1e-15);
}

TEST(Speculative, GreedyIsPlainGreedyDecoding) {
  const std::vector<float> target{0, 2, 1, /**/ 5, 5, 1, /**/ 0, 0, 3};  // picks 1, 0 (a tie), 2
  const auto verified = [&](std::vector<std::int64_t> drafts) { return verify_greedy<float>(target, drafts); };
  EXPECT_EQ(verified({1, 0}).accepted, 2);
  EXPECT_EQ(verified({1, 0}).next_token, 2);
  EXPECT_EQ(verified({1, 1}).accepted, 1);
  EXPECT_EQ(verified({1, 1}).next_token, 0);
  EXPECT_EQ(verified({0, 0}).accepted, 0);
  EXPECT_EQ(verified({0, 0}).next_token, 1);
  EXPECT_TRUE(verified({0, 0}).residual.empty());
}

TEST(Speculative, RefusesWhatDoesNotFit) {
  const Row p{0.5, 0.5, 0.25, 0.75};
  const Row q{0.5, 0.5};
  const Row barred{1, 0};
  const std::vector<std::int64_t> draft{1};
  const Row u{0.5};
  EXPECT_NO_THROW((void)verify_sampled(p, q, draft, u, 0.5));
  EXPECT_THROW((void)verify_sampled(Row{0.5, 0.5, 1}, q, draft, u, 0.5), core::Error);
  EXPECT_THROW((void)verify_sampled({}, q, draft, u, 0.5), core::Error);
  EXPECT_THROW((void)verify_sampled(p, p, draft, u, 0.5), core::Error);
  EXPECT_THROW((void)verify_sampled(p, q, draft, {}, 0.5), core::Error);
  EXPECT_THROW((void)verify_sampled(p, q, draft, u, 1), core::Error);
  EXPECT_THROW((void)verify_sampled(p, q, draft, Row{-0.5}, 0.5), core::Error);
  EXPECT_THROW((void)verify_sampled(p, q, draft, Row{std::nan("")}, 0.5), core::Error);
  EXPECT_THROW((void)verify_sampled(p, barred, draft, u, 0.5), core::Error);
  EXPECT_THROW((void)verify_sampled(p, q, std::vector<std::int64_t>{2}, u, 0.5), core::Error);
  EXPECT_THROW((void)verify_sampled(p, q, std::vector<std::int64_t>{-1}, u, 0.5), core::Error);
  EXPECT_THROW((void)verify_sampled(Row{0.5, 0.5, 0.5, 0.75}, q, draft, u, 0.5), core::Error);
  EXPECT_THROW((void)verify_sampled(p, Row{0.9, 0.5}, draft, u, 0.5), core::Error);
  EXPECT_THROW((void)verify_greedy<double>(Row{1, 2, 3}, draft), core::Error);
  EXPECT_THROW((void)verify_greedy<double>(Row{1, std::nan(""), 3, 4}, draft), core::Error);
  EXPECT_THROW((void)verify_greedy<double>(p, std::vector<std::int64_t>{2}), core::Error);
}

}  // namespace
}  // namespace lastbit::infer
