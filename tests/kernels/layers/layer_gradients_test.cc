// Gradients of norm, rotary embedding, SwiGLU and embedding, sums and casts, against src/ops: the same bits where both
// add in the same order, else within a derived bound.
#include "kernels/layers/layer_gradients.h"

#include <algorithm>

#include "kernels/layers/elementwise.h"
#include "kernels/layers/embedding.h"
#include "ops/embedding.h"
#include "ops/rms_norm.h"
#include "ops/rope.h"
#include "ops/swiglu.h"
#include "tests/kernels/typed_values.h"

namespace lastbit::kernels {
namespace {

using tensor::Tensor;

constexpr float kNormEps = 1e-6F;

struct NormCase {
  int tokens;
  int d;
  std::vector<float> dy;
  std::vector<float> x;
  std::vector<float> weight;
  std::vector<float> dweight;  // before

  [[nodiscard]] std::size_t elements() const { return x.size(); }
};

template <typename T>
NormCase make_norm_case(int tokens, int d) {
  const auto columns = static_cast<std::size_t>(d);
  const std::size_t count = static_cast<std::size_t>(tokens) * columns;
  return {tokens,
          d,
          draw_typed<T>(count, "dy"),
          draw_typed<T>(count, "x"),
          draw_typed<T>(columns, "weight"),
          draw_typed<float>(columns, "dweight")};
}

// dx, then dweight.
template <typename T>
std::vector<float> run_norm(const NormCase& c, Version version) {
  return simt::in_every_order("rms_norm_backward", [&] {
    const auto dy = upload<T>("dy", c.dy);
    const auto x = upload<T>("x", c.x);
    const auto weight = upload<T>("weight", c.weight);
    const auto dweight = upload<float>("dweight", c.dweight);
    const simt::DeviceArray<T> dx("dx", c.elements());
    const simt::DeviceArray<float> factors("factors", static_cast<std::size_t>(c.tokens));
    const simt::DeviceArray<float> partials("partials",
                                            static_cast<std::size_t>((c.tokens + kNormRows - 1) / kNormRows * c.d));
    rms_norm_backward<T>({dy.data(), x.data(), weight.data(), dx.data(), dweight.data(), factors.data(),
                          partials.data(), c.tokens, c.d, kNormEps},
                         version);
    std::vector<float> all;
    add_download(all, dx);
    add_download(all, dweight);
    return all;
  });
}

// Sums of d squares or products in another order: off by d 2^-24 of the sum of magnitudes, so s by half of that,
// relatively, and every operation by 2^-24. With M = mean |g n|: dx by s (|g| + 2 |n| M) (3 d / 2 + 8) 2^-24, dweight
// by (d / 2 + 4) 2^-24 of the sum of |dy n|.
void expect_norm_near(const NormCase& c, const std::vector<float>& result, std::span<const float> dx,
                      std::span<const float> dweight, bool bf16) {
  std::vector<double> dx_bounds;
  std::vector<double> gain_bounds(c.weight.size());
  const auto d = c.weight.size();
  const auto units = static_cast<double>(d) * 0x1p-24;
  for (std::size_t row = 0; row < c.elements(); row += d) {
    double squares = 0;
    for (std::size_t i = row; i < row + d; ++i) squares += static_cast<double>(c.x[i]) * static_cast<double>(c.x[i]);
    const double s = 1 / std::sqrt(squares / static_cast<double>(d) + static_cast<double>(kNormEps));
    const auto n = [&](std::size_t i) { return std::abs(s * static_cast<double>(c.x[row + i])); };
    const auto g = [&](std::size_t i) { return std::abs(static_cast<double>(c.dy[row + i] * c.weight[i])); };
    double mean = 0;
    for (std::size_t i = 0; i < d; ++i) mean += n(i) * g(i) / static_cast<double>(d);
    for (std::size_t i = 0; i < d; ++i) {
      dx_bounds.push_back(s * (g(i) + 2 * n(i) * mean) * (1.5 * units + 8 * 0x1p-24));
      gain_bounds[i] += std::abs(static_cast<double>(c.dy[row + i])) * n(i) * (units / 2 + 4 * 0x1p-24);
    }
  }
  if (bf16)
    expect_near<std::uint16_t>("dx", result, 0, dx, dx_bounds);
  else
    expect_near<float>("dx", result, 0, dx, dx_bounds);
  expect_near<float>("dweight", result, c.elements(), dweight, gain_bounds);
}

TEST(LayerGradients, RmsNorm) {
  for_types_and_versions([]<typename T>(Version version) {
    for (const auto& [tokens, d] : {std::pair{1, 1}, {3, 7}, {70, 130}}) {
      if (version == Version::kTuned && d == 1) continue;  // dx is what cancellation leaves
      const NormCase c = make_norm_case<T>(tokens, d);
      Tensor dweight = Tensor::from<float>({d}, c.dweight);
      const Tensor dx =
          ops::rms_norm_backward(matrix_of(c.dy, tokens, d), matrix_of(c.x, tokens, d),
                                 Tensor::from<float>({d}, c.weight), static_cast<double>(kNormEps), dweight);
      const std::vector<float> result = run_norm<T>(c, version);
      if (version == Version::kTuned) {
        expect_norm_near(c, result, dx.values<float>(), dweight.values<float>(), kIsBf16<T>);
      } else {
        expect_bits<T>("dx", result, 0, dx.values<float>());
        expect_bits<float>("dweight", result, c.elements(), dweight.values<float>());
      }
    }
  });
}

// The part with position of heads of 11 elements: what lies beside it keeps its bytes.
TEST(LayerGradients, Rope) {
  constexpr int kTokens = 5;
  constexpr int kHeads = 3;
  constexpr int kWidth = 11;
  constexpr int kFirst = 3;
  ops::RopeParameters parameters;
  parameters.dim = 8;
  const ops::RopeTables tables = ops::rope_tables(parameters, kTokens);
  const auto numbers = [](const Tensor& table) {
    return std::vector<float>(table.values<float>().begin(), table.values<float>().end());
  };
  for_types_and_versions([&]<typename T>(Version version) {
    for (const auto& [layout, of_ops] : {std::pair{RopeLayout::kHalfSplit, ops::RopeLayout::kHalfSplit},
                                         {RopeLayout::kInterleaved, ops::RopeLayout::kInterleaved},
                                         {RopeLayout::kInterleavedToHalves, ops::RopeLayout::kInterleavedToHalves}}) {
      const std::vector<float> dy = draw_typed<T>(std::size_t{kTokens} * kHeads * kWidth, "dy");
      Tensor expected = Tensor::from<float>({1, kTokens, kHeads, kWidth}, dy);
      ops::apply_rope_backward(expected, tables, of_ops, kFirst);
      const std::vector<float> result = simt::in_every_order("rope_backward", [&, turn = layout] {
        const auto device_dy = upload<T>("dy", dy);
        const auto dx = upload<T>("dx", dy);
        const auto cosines = upload<float>("cos", numbers(tables.cos));
        const auto sines = upload<float>("sin", numbers(tables.sin));
        rope_backward<T>(device_dy.data() + kFirst, cosines.data(), sines.data(), {kTokens, kHeads, 8, kWidth}, turn,
                         dx.data() + kFirst, version);
        std::vector<float> all;
        add_download(all, dx);
        return all;
      });
      expect_bits<T>("dx", result, 0, expected.values<float>());
    }
  });
}

// exp() of 2 ulp, of 1 in 1 + exp at most; s, a and s + a (1 - s) are off by few units of s and |a|, which bound them.
TEST(LayerGradients, Swiglu) {
  for_types_and_versions([]<typename T>(Version version) {
    for (const int count : {1, 8, 1031}) {
      const auto elements = static_cast<std::size_t>(count);
      const std::vector<float> dy = draw_typed<T>(elements, "dy");
      const std::vector<float> gate = draw_typed<T>(elements, "gate", 12);
      const std::vector<float> up = draw_typed<T>(elements, "up");
      const ops::SwigluGradients expected =
          ops::swiglu_backward(matrix_of(dy, 1, count), matrix_of(gate, 1, count), matrix_of(up, 1, count));
      const std::vector<float> result = simt::in_every_order("swiglu_backward", [&] {
        const auto device_dy = upload<T>("dy", dy);
        const auto device_gate = upload<T>("gate", gate);
        const auto device_up = upload<T>("up", up);
        const simt::DeviceArray<T> dgate("dgate", elements);
        const simt::DeviceArray<T> dup("dup", elements);
        swiglu_backward<T>(device_dy.data(), device_gate.data(), device_up.data(), count, dgate.data(), dup.data(),
                           version);
        std::vector<float> all;
        add_download(all, dgate);
        add_download(all, dup);
        return all;
      });
      std::vector<double> dgate_bounds;
      std::vector<double> dup_bounds;
      for (std::size_t i = 0; i < elements; ++i) {
        const double share = 1 / (1 + std::exp(-static_cast<double>(gate[i])));
        const double active = std::abs(static_cast<double>(gate[i])) * share;
        const double y = std::abs(static_cast<double>(dy[i]));
        dgate_bounds.push_back(y * std::abs(static_cast<double>(up[i])) * (share + 2 * active) * 0x1p-20);
        dup_bounds.push_back(y * active * 0x1p-20);
      }
      expect_near<T>("dgate", result, 0, expected.dgate.template values<float>(), dgate_bounds);
      expect_near<T>("dup", result, elements, expected.dup.template values<float>(), dup_bounds);
    }
  });
}

TEST(LayerGradients, Embedding) {
  constexpr int kTokens = 300;
  constexpr int kVocabulary = 90;  // some ids three times and more, some never
  constexpr int kWidth = 37;
  const core::RandomStream stream(17, "ids");
  std::vector<std::int64_t> ids;
  for (std::uint64_t i = 0; i < kTokens; ++i)
    ids.push_back(i % 7 == 0 ? 5 : static_cast<std::int64_t>(stream.word(i) % kVocabulary));
  const Tensor id_tensor = Tensor::from<std::int64_t>({kTokens}, ids);
  for_types_and_versions([&]<typename T>(Version version) {
    const std::vector<float> table = draw_typed<T>(std::size_t{kVocabulary} * kWidth, "table");
    const std::vector<float> dy = draw_typed<T>(std::size_t{kTokens} * kWidth, "dy");
    const std::vector<float> before = draw_typed<float>(table.size(), "dtable");
    const Tensor y = ops::embedding(id_tensor, matrix_of(table, kVocabulary, kWidth));
    Tensor dtable = matrix_of(before, kVocabulary, kWidth);
    ops::embedding_backward(matrix_of(dy, kTokens, kWidth), id_tensor, dtable);
    const std::vector<float> result = simt::in_every_order("embedding", [&] {
      const simt::DeviceArray<std::int64_t> device_ids("ids", std::span<const std::int64_t>(ids));
      const auto device_table = upload<T>("table", table);
      const auto device_dy = upload<T>("dy", dy);
      const auto device_dtable = upload<float>("dtable", before);
      const simt::DeviceArray<T> device_y("y", dy.size());
      embedding<T>(device_ids.data(), device_table.data(), kTokens, kWidth, device_y.data(), version);
      embedding_backward<T>(device_dy.data(), device_ids.data(), kTokens, kWidth, device_dtable.data(), version);
      std::vector<float> all;
      add_download(all, device_y);
      add_download(all, device_dtable);
      return all;
    });
    expect_bits<T>("y", result, 0, y.values<float>());
    expect_bits<float>("dtable", result, dy.size(), dtable.values<float>());
  });
}

TEST(LayerGradients, SumsAndCasts) {
  for_types_and_versions([]<typename T>(Version version) {
    for (const std::size_t count : {std::size_t{1}, std::size_t{8}, std::size_t{1035}}) {
      std::vector<float> a = draw_typed<T>(count, "a");
      const std::vector<float> b = draw_typed<T>(count, "b");
      std::vector<float> wide = draw_typed<float>(count, "wide");
      wide[0] = 3.4e38F;  // beyond BF16's largest number
      if (count > 1) a[1] = wide[1] = -0.0F;
      const std::vector<float> result = simt::in_every_order("add", [&] {
        const auto device_a = upload<T>("a", a);
        const auto device_b = upload<T>("b", b);
        const auto device_wide = upload<float>("wide", wide);
        const simt::DeviceArray<std::uint16_t> codes("codes", count);
        const simt::DeviceArray<float> back("back", count);
        add<T>(device_a.data(), device_b.data(), count, device_a.data(), version);  // in place
        to_bf16(device_wide.data(), count, codes.data(), version);
        to_fp32(codes.data(), count, back.data(), version);
        std::vector<float> all;
        add_download(all, device_a);
        add_download(all, codes);
        add_download(all, back);
        return all;
      });
      std::vector<float> sums;
      for (std::size_t i = 0; i < count; ++i) sums.push_back(a[i] + b[i]);
      expect_bits<T>("a + b", result, 0, sums);
      expect_bits<std::uint16_t>("codes", result, count, wide);
      expect_bits<std::uint16_t>("back", result, 2 * count, wide);
    }
  });
}

}  // namespace
}  // namespace lastbit::kernels
