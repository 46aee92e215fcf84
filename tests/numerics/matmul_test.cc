#include "numerics/matmul.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "numerics/vector_target.h"

namespace lastbit::numerics {
namespace {

template <typename T>
using BitsOf = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

// Equal bits, or NaN both.
template <typename T>
bool same(T x, T y) {
  return std::bit_cast<BitsOf<T>>(x) == std::bit_cast<BitsOf<T>>(y) || (x != x && y != y);
}

// Values of many sizes, so that no two orders of a sum agree by chance.
template <typename T>
std::vector<T> random_values(std::int64_t count, const char* purpose) {
  const core::RandomStream stream(11, purpose);
  std::vector<T> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = std::ldexp(static_cast<T>(stream.uniform(i)) - T(0.5), static_cast<int>(i * 7 % 11));
  return values;
}

struct Case {
  std::int64_t m;
  std::int64_t n;
  std::int64_t k;
  bool a_transposed = false;
  bool b_transposed = false;
  bool accumulate = false;
  std::int64_t extra = 0;  // elements between lines
};

std::string describe(const Case& c) {
  return std::to_string(c.m) + " x " + std::to_string(c.n) + " x " + std::to_string(c.k) +
         (c.a_transposed ? " a^T" : "") + (c.b_transposed ? " b^T" : "") + (c.accumulate ? " accumulated" : "") +
         " extra " + std::to_string(c.extra) + " on " + vector_target();
}

// A problem with its storage. Elements between the lines of d hold kGuard.
template <typename T>
class Storage {
 public:
  static constexpr T kGuard = T(123.5);

  explicit Storage(const Case& c)
      : case_(c),
        a_(random_values<T>(lines(c.m, c.k, c.a_transposed) * stride(c.m, c.k, c.a_transposed), "a")),
        b_(random_values<T>(lines(c.k, c.n, c.b_transposed) * stride(c.k, c.n, c.b_transposed), "b")),
        d_(static_cast<std::size_t>(c.m * (c.n + c.extra)), kGuard) {
    const std::vector<T> old = random_values<T>(c.m * c.n, "d");
    for (std::int64_t i = 0; i < c.m * c.n; ++i) d(i / c.n, i % c.n) = old[static_cast<std::size_t>(i)];
  }

  MatmulProblem<T> problem() {
    const Case& c = case_;
    return {{a_.data(), c.m, c.k, stride(c.m, c.k, c.a_transposed), c.a_transposed},
            {b_.data(), c.k, c.n, stride(c.k, c.n, c.b_transposed), c.b_transposed},
            d_.data(),
            c.n + c.extra,
            c.accumulate};
  }
  std::vector<T>& a() { return a_; }
  std::vector<T>& b() { return b_; }
  std::vector<T>& all_of_d() { return d_; }
  T& d(std::int64_t i, std::int64_t j) { return d_[static_cast<std::size_t>(i * (case_.n + case_.extra) + j)]; }

 private:
  [[nodiscard]] std::int64_t stride(std::int64_t rows, std::int64_t cols, bool transposed) const {
    return (transposed ? rows : cols) + case_.extra;
  }
  static std::int64_t lines(std::int64_t rows, std::int64_t cols, bool transposed) { return transposed ? cols : rows; }

  Case case_;
  std::vector<T> a_;
  std::vector<T> b_;
  std::vector<T> d_;
};

// Elements of d, guards included, in which matmul() and the plain twin differ.
template <typename T>
std::int64_t mismatches(const Case& c) {
  Storage<T> fast(c);
  Storage<T> plain(c);
  matmul(fast.problem());
  matmul_plain(plain.problem());
  std::int64_t count = 0;
  for (std::size_t i = 0; i < fast.all_of_d().size(); ++i)
    count += same(fast.all_of_d()[i], plain.all_of_d()[i]) ? 0 : 1;
  return count;
}

// Runs body on every instruction set of this machine.
template <typename Body>
void on_every_target(const Body& body) {
  for (const std::string& target : vector_targets()) {
    use_vector_target(target);
    body();
  }
  use_vector_target("");
}

// Without a fused multiply-add a product takes microseconds: fewer of them there.
bool is_slow() { return vector_target() != "AVX2" && vector_target().substr(0, 4) != "AVX3"; }

constexpr std::array<std::int64_t, 20> kSizes = {0,  1,  2,  3,  5,  7,  8,  9,   15,  16,
                                                 17, 31, 32, 33, 63, 65, 97, 255, 257, 513};

// Draws sizes from the list, `limit` products at most.
template <typename T>
void expect_sampled_cases_agree(int cases, const char* purpose) {
  const core::RandomStream stream(5, purpose);
  const std::int64_t limit = is_slow() ? 20000 : 1000000;
  for (int i = 0; i < cases; ++i) {
    const core::PhiloxBlock draw = stream.block(static_cast<std::uint32_t>(i));
    const Case c{kSizes[draw[0] % kSizes.size()],
                 kSizes[draw[1] % kSizes.size()],
                 kSizes[draw[2] % kSizes.size()],
                 (draw[3] & 1) != 0,
                 (draw[3] & 2) != 0,
                 (draw[3] & 4) != 0,
                 static_cast<std::int64_t>(draw[3] >> 3 & 3) * 3};
    if (c.m * c.n * c.k > limit) continue;
    EXPECT_EQ(mismatches<T>(c), 0) << describe(c);
  }
}

TEST(Matmul, SampledShapesHaveTheBitsOfThePlainTwin) {
  on_every_target([] { expect_sampled_cases_agree<float>(600, "float cases"); });
}

TEST(Matmul, SampledShapesInDouble) {
  on_every_target([] { expect_sampled_cases_agree<double>(600, "double cases"); });
}

TEST(Matmul, EverySmallShapeInEveryOrder) {
  on_every_target([] {
    const std::int64_t most = is_slow() ? 9 : 40;
    for (const bool a_transposed : {false, true})
      for (const bool b_transposed : {false, true})
        for (const bool accumulate : {false, true})
          for (std::int64_t size = 0; size < most; ++size) {
            for (const std::int64_t other : {1, 2, 3, 4, 6, 7, 13, 50}) {
              EXPECT_EQ(mismatches<float>({size, other, 6, a_transposed, b_transposed, accumulate}), 0);
              EXPECT_EQ(mismatches<float>({other, size, 6, a_transposed, b_transposed, accumulate}), 0);
            }
            EXPECT_EQ(mismatches<float>({13, 18, size, a_transposed, b_transposed, accumulate}), 0);
            EXPECT_EQ(mismatches<float>({2, 70, size, a_transposed, b_transposed, accumulate}), 0);
            EXPECT_EQ(mismatches<double>({2, 70, size, a_transposed, b_transposed, accumulate}), 0);
          }
  });
}

// Shapes of more than one tile, and of the layers this is for.
TEST(Matmul, LargeShapes) {
  on_every_target([] {
    if (is_slow()) return;
    for (const Case& c :
         {Case{48, 256, 512, false, true}, Case{96, 512, 256, false, false}, Case{250, 530, 96, true, false, true},
          Case{530, 250, 40, false, true, true}, Case{1, 1030, 600, false, true}, Case{1, 1030, 600, false, false}})
      EXPECT_EQ(mismatches<float>(c), 0) << describe(c);
    EXPECT_EQ(mismatches<double>({130, 530, 96, true, true, true}), 0);
  });
}

TEST(Matmul, TheRuleInItsOwnWords) {
  // 2^24 + 1 + 1: a chain in FP32 stays at 2^24; across the end of a block the second partial is 2 and counts.
  std::vector<float> a(kMatmulBlockK + 2, 0.0F);
  a[0] = 0x1p24F;
  a[1] = 1;
  a[2] = 1;
  const std::vector<float> ones(a.size(), 1.0F);
  const auto product = [&](float start, bool accumulate) {
    float d = start;
    const auto k = static_cast<std::int64_t>(a.size());
    matmul({{a.data(), 1, k, k}, {ones.data(), k, 1, 1}, &d, 1, accumulate});
    return d;
  };
  EXPECT_EQ(product(7, false), 0x1p24F);
  a[1] = a[2] = 0;
  a[kMatmulBlockK] = a[kMatmulBlockK + 1] = 1;
  EXPECT_EQ(product(7, false), 0x1p24F + 2);
  // The old value comes first: (1 + 2^24) + 2 rounds twice, 1 + (2^24 + 2) would give 2^24 + 4.
  EXPECT_EQ(product(1, true), 0x1p24F + 2);
  // Fused: the square of 1 + 2^-12 less its rounded self is the 2^-24 that rounding lost.
  a[0] = -(1 + 0x1p-11F);
  a[1] = 1 + 0x1p-12F;
  std::vector<float> b = ones;
  b[1] = a[1];
  float d = 0;
  matmul({{a.data(), 1, 2, 2}, {b.data(), 2, 1, 1}, &d, 1});
  EXPECT_EQ(d, 0x1p-24F);
}

TEST(Matmul, EmptySizes) {
  std::vector<float> d(6, 5.0F);
  matmul({{nullptr, 2, 0, 0}, {nullptr, 0, 3, 3}, d.data(), 3, true});
  EXPECT_EQ(d, std::vector<float>(6, 5.0F));
  matmul({{nullptr, 2, 0, 0}, {nullptr, 0, 3, 3}, d.data(), 3});
  for (const float value : d) EXPECT_TRUE(same(value, 0.0F));
  matmul(MatmulProblem<float>{{nullptr, 0, 4, 4}, {nullptr, 4, 0, 0}, nullptr, 0});
  matmul_batch(std::span<const MatmulProblem<float>>());
}

TEST(Matmul, SpecialValuesFollowTheirChains) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const std::array<float, 8> specials = {kInf, -kInf, kNan, 0.0F, -0.0F, 0x1p-149F, -0x1.8p-130F, 0x1.fffffep127F};
  on_every_target([&] {
    for (const bool b_transposed : {false, true}) {
      const Case c{21, 37, 19, false, b_transposed, true};
      Storage<float> fast(c);
      Storage<float> plain(c);
      for (Storage<float>* s : {&fast, &plain}) {
        for (std::size_t i = 0; i < s->a().size(); i += 23) s->a()[i] = specials[i % specials.size()];
        for (std::size_t i = 0; i < s->b().size(); i += 29) s->b()[i] = specials[i % specials.size()];
      }
      matmul(fast.problem());
      matmul_plain(plain.problem());
      std::int64_t nans = 0;
      std::int64_t infinities = 0;
      for (std::size_t i = 0; i < fast.all_of_d().size(); ++i) {
        const float value = plain.all_of_d()[i];
        EXPECT_TRUE(same(fast.all_of_d()[i], value)) << i << " on " << vector_target();
        nans += value != value ? 1 : 0;
        infinities += std::abs(value) == kInf ? 1 : 0;
      }
      EXPECT_GT(nans, 0);
      EXPECT_GT(infinities, 0);
      EXPECT_LT(nans + infinities, 21 * 37);
    }
    // Products of zeros start from +0.
    const std::vector<float> negative(5, -0.0F);
    const std::vector<float> ones(5, 1.0F);
    float d = 1;
    matmul({{negative.data(), 1, 5, 5}, {ones.data(), 5, 1, 1}, &d, 1});
    EXPECT_TRUE(same(d, 0.0F));
  });
}

// A row of a large product equals the same row alone.
TEST(Matmul, RowsDoNotDependOnTheirCompany) {
  on_every_target([] {
    if (is_slow()) return;
    Storage<float> together({70, 300, 300, false, true});
    matmul(together.problem());
    for (const std::int64_t row : {0, 33, 69}) {
      std::vector<float> alone(300);
      MatmulProblem<float> problem = together.problem();
      problem.a.data += row * problem.a.stride;
      problem.a.rows = 1;
      problem.d = alone.data();
      matmul(problem);
      for (std::int64_t j = 0; j < 300; ++j)
        EXPECT_TRUE(same(alone[static_cast<std::size_t>(j)], together.d(row, j))) << row << " " << j;
    }
  });
}

TEST(Matmul, BatchesAndThreadsChangeNothing) {
  const std::vector<Case> cases = {{48, 130, 300, false, true},    {0, 5, 3},
                                   {5, 70, 0, false, false, true}, {260, 140, 70, true},
                                   {1, 600, 257, false, true},     {3, 2, 1}};
  std::vector<std::vector<float>> expected;
  for (const Case& c : cases) {
    Storage<float> storage(c);
    matmul_plain(storage.problem());
    expected.push_back(storage.all_of_d());
  }
  const int before = core::num_threads();
  for (const int threads : {1, 2, 3, 8}) {
    core::set_num_threads(threads);
    std::vector<Storage<float>> storage;
    storage.reserve(cases.size());
    std::vector<MatmulProblem<float>> problems;
    for (const Case& c : cases) problems.push_back(storage.emplace_back(c).problem());
    matmul_batch(problems);
    for (std::size_t i = 0; i < cases.size(); ++i)
      for (std::size_t j = 0; j < expected[i].size(); ++j)
        EXPECT_TRUE(same(storage[i].all_of_d()[j], expected[i][j])) << describe(cases[i]) << ", " << threads;
  }
  core::set_num_threads(before);
}

TEST(Matmul, RefusesShapesThatDoNotMatch) {
  std::vector<float> x(64);
  EXPECT_THROW(matmul({{x.data(), 2, 3, 3}, {x.data(), 4, 2, 2}, x.data(), 2}), core::Error);
  EXPECT_THROW(matmul({{x.data(), 2, 3, 2}, {x.data(), 3, 2, 2}, x.data(), 2}), core::Error);
  EXPECT_THROW(matmul({{x.data(), 2, 3, 3}, {x.data(), 3, 2, 2, true}, x.data(), 2}), core::Error);
  EXPECT_THROW(matmul({{x.data(), 2, 3, 3}, {x.data(), 3, 4, 4}, x.data(), 2}), core::Error);
}

}  // namespace
}  // namespace lastbit::numerics
