#include "eval/text_score.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/init.h"
#include "support/shared.h"

namespace lastbit::eval {
namespace {

using tensor::Tensor;

TEST(TextScore, CountsTargetsAndTheirBytes) {
  const testing::TempDir folder;
  model::init_checkpoint("micro", 1, folder.path());
  const model::Transformer model = model::Transformer::load(folder.path(), ops::numerics_by_name("fp32"));
  const std::vector<std::int64_t> ids{9, 10, 11, 12, 10, 10, 10, 1};
  const Tensor rows = Tensor::from<std::int64_t>({2, 4}, ids);
  std::vector<std::int64_t> bytes(8192, 2);
  bytes[1] = 0;
  const TextScore score = score_rows(model, rows, bytes, 1);
  EXPECT_EQ(score.targets, 6);
  EXPECT_EQ(score.bytes, 10);
  // The loss that the model itself reports, of both rows at once.
  model::ForwardOptions options;
  options.taps = {"loss"};
  const auto loss = static_cast<double>(model.forward(rows, options).at("loss").values<float>()[0]);
  EXPECT_NEAR(score.loss(), loss, 1e-6 * loss);
  EXPECT_NEAR(score.bits_per_byte(), loss * 6 / std::log(2.0) / 10, 1e-5);
  EXPECT_NEAR(score.perplexity(), std::exp(loss), 1e-2);
}

TEST(TextScore, GzipIsZlibWithAnotherFrame) {
  EXPECT_GT(gzip_bits_per_byte("a"), 8);
  EXPECT_LT(gzip_bits_per_byte(std::string(10000, 'x')), 0.1);
}

}  // namespace
}  // namespace lastbit::eval
