#include "eval/expert_probe.h"

#include <gtest/gtest.h>

#include <numeric>

#include "core/error.h"
#include "model/init.h"
#include "support/shared.h"

namespace lastbit::eval {
namespace {

using tensor::Tensor;

class ExpertProbe : public ::testing::Test {
 protected:
  ExpertProbe() { model::init_checkpoint("micro", 1, folder_.path()); }

  testing::TempDir folder_;
  Tensor ids_ = [] {
    std::vector<std::int64_t> ids(128);
    for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int64_t>(i * i % 997);
    return Tensor::from<std::int64_t>({2, 64}, ids);
  }();
  std::vector<std::int64_t> bytes_ = std::vector<std::int64_t>(8192, 1);
};

TEST_F(ExpertProbe, DisabledExpertsTakeNoTokensAndComeBack) {
  model::Transformer model = model::Transformer::load(folder_.path(), ops::numerics_by_name("fp32"));
  const TextScore whole = score_rows(model, ids_, bytes_, 1);
  const auto loads = expert_loads(model, ids_, 1);
  ASSERT_EQ(loads.size(), 2U);  // layers 1 and 2
  for (const auto& [layer, load] : loads)
    EXPECT_EQ(std::accumulate(load.begin(), load.end(), std::int64_t{0}), 128 * 4);
  EXPECT_EQ(score_without_top_experts(model, ids_, bytes_, 0, 1).nll, whole.nll);
  EXPECT_NE(score_without_top_experts(model, ids_, bytes_, 4, 1).nll, whole.nll);
  EXPECT_NE(score_without_shared_experts(model, ids_, bytes_, 1).nll, whole.nll);
  EXPECT_EQ(score_rows(model, ids_, bytes_, 1).nll, whole.nll);
  EXPECT_THROW((void)score_without_top_experts(model, ids_, bytes_, 13, 1), core::Error);
}

TEST_F(ExpertProbe, DomainSharesSumToTheExpertsOfAToken) {
  const model::Transformer model = model::Transformer::load(folder_.path(), ops::numerics_by_name("fp32"));
  const DomainLoads loads = domain_loads(model, {{"a", ids_.slice(0, 0, 1).contiguous()}, {"b", ids_}}, 2);
  EXPECT_EQ(loads.domains, (std::vector<std::string>{"a", "b"}));
  for (const auto& layer : loads.shares)
    for (const auto& domain : layer) EXPECT_NEAR(std::accumulate(domain.begin(), domain.end(), 0.0), 4, 1e-12);
  const std::string page = domain_load_page(loads, "Domains <x>");
  EXPECT_NE(page.find("Domains &lt;x&gt;"), std::string::npos);
  EXPECT_NE(page.find("Layer 2"), std::string::npos);
}

}  // namespace
}  // namespace lastbit::eval
