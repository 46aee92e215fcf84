#include "ops/embedding.h"

#include <gtest/gtest.h>

#include <vector>

#include "core/error.h"
#include "operator_checks.h"
#include "random_tensor.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

Tensor ids_of(const tensor::Shape& shape, const std::vector<std::int64_t>& ids) {
  return Tensor::from<std::int64_t>(shape, ids);
}

TEST(Embedding, PicksRows) {
  const Tensor table = random_tensor("table", {6, 3});
  const std::vector<std::int64_t> ids = {5, 0, 5, 2};
  const Tensor rows = embedding(ids_of({2, 2}, ids), table);
  ASSERT_EQ(rows.shape(), (tensor::Shape{2, 2, 3}));
  for (std::int64_t i = 0; i < 12; ++i)
    EXPECT_EQ(at(rows, i), at(table, ids[static_cast<std::size_t>(i / 3)] * 3 + i % 3));
}

TEST(Embedding, GradientIsThatOfDifferences) {
  for (const std::vector<std::int64_t>& ids : {std::vector<std::int64_t>{4, 1, 4, 4, 0}, {2}, {}}) {
    const auto tokens = static_cast<std::int64_t>(ids.size());
    const Tensor table = random_f64("table", {5, 3});
    const Tensor dy = random_f64("dy", {tokens, 3});
    Tensor dtable = Tensor::zeros(tensor::DType::kF64, {5, 3});
    embedding_backward(dy, ids_of({tokens}, ids), dtable);
    expect_gradient(
        dtable, table, [&](const Tensor& moved) { return inner(embedding(ids_of({tokens}, ids), moved), dy); },
        "table");
  }
}

TEST(Embedding, BackwardAddsTokensInOrderToWhatIsThere) {
  constexpr std::int64_t kDim = 150;  // more than two ranges of columns
  std::vector<std::int64_t> ids;
  for (std::int64_t t = 0; t < 40; ++t) ids.push_back(t * t % 7);
  const Tensor dy = random_tensor("dy", {2, 20, kDim});
  Tensor dtable = random_tensor("before", {7, kDim});
  const Tensor before = dtable.clone();
  embedding_backward(dy, ids_of({2, 20}, ids), dtable);
  for (std::int64_t row = 0; row < 7; ++row) {
    for (std::int64_t i = 0; i < kDim; ++i) {
      float expected = at(before, row * kDim + i);
      for (std::int64_t t = 0; t < 40; ++t)
        if (ids[static_cast<std::size_t>(t)] == row) expected += at(dy, t * kDim + i);
      EXPECT_EQ(at(dtable, row * kDim + i), expected);
    }
  }
}

TEST(Embedding, ThreadsChangeNoBit) {
  std::vector<std::int64_t> ids;
  for (std::int64_t t = 0; t < 400; ++t) ids.push_back(t * t % 11);
  expect_threads_change_no_bit([&] {
    Tensor dtable = Tensor::zeros(tensor::DType::kF32, {11, 200});
    embedding_backward(random_tensor("dy", {400, 200}), ids_of({400}, ids), dtable);
    return std::vector<Tensor>{embedding(ids_of({400}, ids), random_tensor("table", {11, 200})), dtable};
  });
}

TEST(Embedding, RefusesIdsOutsideAndShapesThatDoNotMeet) {
  const Tensor table = random_tensor("table", {6, 3});
  EXPECT_THROW(static_cast<void>(embedding(ids_of({1}, {6}), table)), core::Error);
  EXPECT_THROW(static_cast<void>(embedding(ids_of({1}, {-1}), table)), core::Error);
  Tensor dtable = table.clone();
  EXPECT_THROW(embedding_backward(random_tensor("dy", {1, 3}), ids_of({1}, {6}), dtable), core::Error);
  EXPECT_THROW(embedding_backward(random_tensor("dy", {2, 3}), ids_of({1}, {0}), dtable), core::Error);
  EXPECT_THROW(embedding_backward(random_f64("dy", {1, 3}), ids_of({1}, {0}), dtable), core::Error);
  EXPECT_TRUE(same_bits(dtable, table)) << "nothing is half written";
}

}  // namespace
}  // namespace lastbit::ops
