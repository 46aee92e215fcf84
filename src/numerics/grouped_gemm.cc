#include "numerics/grouped_gemm.h"

#include <algorithm>

#include "core/error.h"

namespace lastbit::numerics {
namespace {

// Rows [begin, begin + count) of A, all of one group.
struct Run {
  std::int64_t begin;
  std::int64_t count;
  std::int64_t group;
};

template <typename Element>
std::span<Element> slice(std::span<Element> values, std::int64_t begin, std::int64_t count) {
  return values.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
}

class Grouped {
 public:
  Grouped(const CodeMatrix& a, std::span<const float> scale_a, std::int64_t scale_k, const GroupedWeights& weights,
          const GemmOutput& output)
      : a_(a), scale_a_(scale_a), scale_k_(scale_k), weights_(weights), output_(output) {
    const ScaleShape shape = scale_shape({weights.format, weights.rows, weights.cols, {}}, weights.tile);
    scales_per_group_ = shape.rows * shape.columns;
    scale_columns_a_ = scale_shape(a, {1, scale_k}).columns;
    out_width_ = describe(output.format).storage_bytes;
    const std::int64_t width = describe(weights.format).storage_bytes;
    core::check(!a.transposed && a.cols == weights.cols, "grouped GEMM wants A [rows, K]");
    core::check(static_cast<std::int64_t>(weights.bytes.size()) == weights.groups * weights.rows * weights.cols * width,
                "grouped GEMM wants weights [groups, N, K]");
    core::check(scale_a.empty() || static_cast<std::int64_t>(scale_a.size()) == a.rows * scale_columns_a_,
                "grouped GEMM wants a scale a row and block of K of A");
    core::check(weights.scales.empty() ||
                    static_cast<std::int64_t>(weights.scales.size()) == weights.groups * scales_per_group_,
                "grouped GEMM wants a scale a tile of the weights");
    core::check(static_cast<std::int64_t>(output.bytes.size()) == a.rows * weights.rows * out_width_,
                "grouped GEMM wants D [rows, N]");
  }

  void add(const Run& run) {
    const std::int64_t width_a = describe(a_.format).storage_bytes;
    const std::int64_t per_group = weights_.rows * weights_.cols * describe(weights_.format).storage_bytes;
    GemmOperands one{
        {a_.format, run.count, a_.cols, slice(a_.bytes, run.begin * a_.cols * width_a, run.count * a_.cols * width_a)},
        {weights_.format, weights_.rows, weights_.cols, slice(weights_.bytes, run.group * per_group, per_group),
         weights_.transposed},
        {},
        {},
        {1, scale_k_},
        weights_.tile};
    if (!scale_a_.empty()) one.scale_a = slice(scale_a_, run.begin * scale_columns_a_, run.count * scale_columns_a_);
    if (!weights_.scales.empty())
      one.scale_b = slice(weights_.scales, run.group * scales_per_group_, scales_per_group_);
    operands_.push_back(one);
    outputs_.push_back({output_.format, output_rows(run.begin, run.count), output_.accumulate});
  }

  void add_padding(std::int64_t begin, std::int64_t count) {
    if (!output_.accumulate) padding_.push_back(output_rows(begin, count));
  }

  void run(const MmaRule& rule, Promotion promotion) const {
    gemm_batch(rule, operands_, promotion, outputs_);
    for (const std::span<std::byte> rows : padding_) std::ranges::fill(rows, std::byte{0});
  }

 private:
  [[nodiscard]] std::span<std::byte> output_rows(std::int64_t begin, std::int64_t count) const {
    const std::int64_t row_bytes = weights_.rows * out_width_;
    return slice(output_.bytes, begin * row_bytes, count * row_bytes);
  }

  const CodeMatrix& a_;
  std::span<const float> scale_a_;
  std::int64_t scale_k_;
  const GroupedWeights& weights_;
  const GemmOutput& output_;
  std::int64_t scales_per_group_ = 0;
  std::int64_t scale_columns_a_ = 0;
  std::int64_t out_width_ = 0;
  std::vector<GemmOperands> operands_;
  std::vector<GemmOutput> outputs_;
  std::vector<std::span<std::byte>> padding_;
};

}  // namespace

void grouped_gemm_contiguous(const MmaRule& rule, const CodeMatrix& a, std::span<const float> scale_a,
                             std::int64_t scale_k, const GroupedWeights& weights,
                             std::span<const std::int32_t> group_of_row, Promotion promotion,
                             const GemmOutput& output) {
  core::check(static_cast<std::int64_t>(group_of_row.size()) == a.rows, "a group for each row");
  Grouped grouped(a, scale_a, scale_k, weights, output);
  for (std::int64_t begin = 0; begin < a.rows;) {
    const std::int32_t group = group_of_row[static_cast<std::size_t>(begin)];
    if (group < -1 || group >= weights.groups)
      core::fail_input("group_of_row[{}]: found {}, expected -1 (padding) or 0 to {}", begin, group,
                       weights.groups - 1);
    std::int64_t end = begin + 1;
    while (end < a.rows && group_of_row[static_cast<std::size_t>(end)] == group) ++end;
    if (group >= 0)
      grouped.add({begin, end - begin, group});
    else
      grouped.add_padding(begin, end - begin);
    begin = end;
  }
  grouped.run(rule, promotion);
}

void grouped_gemm_masked(const MmaRule& rule, const CodeMatrix& a, std::span<const float> scale_a, std::int64_t scale_k,
                         const GroupedWeights& weights, std::span<const std::int64_t> rows_of_group,
                         Promotion promotion, const GemmOutput& output) {
  core::check(static_cast<std::int64_t>(rows_of_group.size()) == weights.groups && weights.groups > 0 &&
                  a.rows % weights.groups == 0,
              "a number of rows for each group");
  const std::int64_t most = a.rows / weights.groups;
  Grouped grouped(a, scale_a, scale_k, weights, output);
  for (std::int64_t group = 0; group < weights.groups; ++group) {
    const std::int64_t rows = rows_of_group[static_cast<std::size_t>(group)];
    if (rows < 0 || rows > most) core::fail_input("rows_of_group[{}]: found {}, expected 0 to {}", group, rows, most);
    grouped.add({group * most, rows, group});
    grouped.add_padding(group * most + rows, most - rows);
  }
  grouped.run(rule, promotion);
}

}  // namespace lastbit::numerics
