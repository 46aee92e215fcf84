// The hot loop of the vectorised GEMM: one group of K, a chunk of rows, one panel of columns. What it computes and why
// it is exact is told in gemm_vector.cc. Included once for each instruction set.
//
// A strip is kRows rows and one part of the panel: its sums fill the registers. They start from M + c + N and end by
// taking M away: half as many instructions as the products have, but in one chain with them. Where there are units for
// them that products leave idle, a strip's start is made while the strip before it is multiplied, a piece of it after
// each four elements of K, and so are E and N of the rows that come next. So it is with AVX2, and with AVX-512 on AMD's
// processors; on Intel's the two units that multiply do everything else, too, and there would be nothing to gain.
#if defined(LASTBIT_GEMM_KERNEL_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef LASTBIT_GEMM_KERNEL_INL
#undef LASTBIT_GEMM_KERNEL_INL
#else
#define LASTBIT_GEMM_KERNEL_INL
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <type_traits>
#include <utility>

#include "numerics/gemm_bytes-inl.h"
#include "numerics/gemm_products-inl.h"
#include "numerics/gemm_start-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lastbit::numerics::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Whether other instructions have units of their own beside those that multiply.
inline bool adds_apart() {
#if HWY_TARGET <= HWY_AVX3 && defined(__GNUC__)
  static const bool amd = __builtin_cpu_is("amd") != 0;
  return amd;
#else
  return true;
#endif
}

// How many strips lie beside each other in a panel.
template <typename T>
constexpr int kParts = static_cast<int>(kPanelCols) / (kVectors * static_cast<int>(hn::MaxLanes(hn::ScalableTag<T>())));

// M, and M + c + N, of a strip.
template <typename T>
struct StripStart {
  static constexpr std::size_t kCount = kRows * kVectors * hn::MaxLanes(hn::ScalableTag<T>());
  HWY_ALIGN std::array<T, kKeepsMagic ? kCount : 1> magic;
  HWY_ALIGN std::array<T, kCount> sum;
};

// Results of a panel, partial or final, [rows of a chunk, columns]: floats have all their bits.
struct Results {
  float* first;
  std::int64_t stride;
};

// Results to be fetched while a group is multiplied, rows ahead of their use: a burst of fetches would have to wait.
struct ToFetch {
  Results results;
  std::int64_t cols;  // 0: none

  // Rows [i, end).
  HWY_INLINE void fetch(std::int64_t i, std::int64_t end) const {
    for (; i < end; ++i)
      for (std::int64_t j = 0; j < cols; j += 16) hwy::Prefetch(results.first + i * results.stride + j);
  }
};

// to = step(a, b, from) for one group of K, rows of a chunk and the panel whose group is open; kFromZero: from is 0.
// Both have kPanelCols columns. To be used in round-toward-zero mode.
template <typename L, bool kFromZero>
class GroupRun {
  using T = typename L::Value;
  using V = hn::Vec<hn::ScalableTag<T>>;

 public:
  GroupRun(const Grid<L>& grid, GroupBytes<L>& bytes, const PackedRows<L>& rows, const PackedPanels<L>& columns,
           std::int64_t group, const Results& from, const Results& to, const ToFetch& ahead)
      : grid_(grid),
        bytes_(bytes),
        rows_(rows),
        group_(group),
        b_(columns.values()),
        from_(from),
        to_(to),
        ahead_(ahead) {}

  // The first `count` rows.
  HWY_INLINE void run(std::int64_t count) {
    count_ = count;
    ahead_.fetch(0, std::min<std::int64_t>(kRows, count));
    std::int64_t i = 0;
#if HWY_TARGET <= HWY_AVX2
    if (adds_apart() && bytes_.tabled() && grid_.step_k == kUsualStep) {
      chain(count / kRows);
      i = count / kRows * kRows;
    }
#endif
    if (grid_.step_k == kUsualStep)
      for (; i + kRows <= count; i += kRows) add_rows<kRows, kUsualStep>(i);
    for (; i + kRows <= count; i += kRows) add_rows<kRows, 0>(i);
    for (; i < count; ++i) add_rows<1, 0>(i);
  }

 private:
  static constexpr auto kLanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  static constexpr int kPairs = std::max(1, kVectors / 2);  // of vectors, in a row of a strip
  // The step of FP8, in float lanes, or BF16 and FP16, in double ones, which is known to the compiler.
  static constexpr int kUsualStep = std::is_same_v<L, FloatLanes> ? 32 : 16;

  [[nodiscard]] static HWY_INLINE float* strip_of(const Results& results, std::int64_t i, int part) {
    return results.first + i * results.stride + part * kVectors * kLanes;
  }
  [[nodiscard]] const T* columns_of(int part) const { return b_ + part * kVectors * kLanes; }

  // Of the r-th row of those whose bytes are in a slot; c: the strip's first row.
  template <int kPair>
  HWY_INLINE void start(int slot, int r, int part, const float* c, StripStart<T>& to) {
    constexpr std::int64_t kPlace = kPair * 2 * kLanes;
    const std::int64_t row = r * kVectors * kLanes;
    start_pair<kPair, kFromZero>(grid_, bytes_.largest_of(slot, r), bytes_.negative_of(slot, r), part,
                                 c + r * from_.stride + kPlace, to.magic.data() + (kKeepsMagic ? row + kPlace : 0),
                                 to.sum.data() + row + kPlace);
  }

  template <int kCount>
  HWY_INLINE void start_rows(int slot, std::int64_t i, int part, StripStart<T>& to) {
    const float* c = strip_of(from_, i, part);
#pragma GCC unroll 8
    for (int r = 0; r < kCount; ++r) {
      start<0>(slot, r, part, c, to);
      if constexpr (kPairs > 1) start<1>(slot, r, part, c, to);
    }
  }

  template <int kCount>
  static HWY_INLINE void load(const StripStart<T>& from, V (&acc)[kCount][kVectors]) {
#pragma GCC unroll 8
    for (int r = 0; r < kCount; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v)
        acc[r][v] = hn::Load(hn::ScalableTag<T>(), from.sum.data() + (r * kVectors + v) * kLanes);
  }

  template <int kCount>
  HWY_INLINE void finish(const StripStart<T>& from, const V (&acc)[kCount][kVectors], std::int64_t i, int part) const {
    constexpr hn::ScalableTag<T> d;
    constexpr hn::RebindToUnsigned<decltype(d)> u;
    const auto result_mask = hn::Set(u, grid_.result_mask);
    const auto exponent_mask = hn::Set(u, grid_.exponent_mask);
    const auto half = hn::Set(u, grid_.half);
    float* to = strip_of(to_, i, part);
#pragma GCC unroll 8
    for (int r = 0; r < kCount; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        V magic;
        if constexpr (kKeepsMagic)
          magic = hn::Load(d, from.magic.data() + (r * kVectors + v) * kLanes);
        else
          magic = hn::BitCast(d, hn::OrAnd(half, hn::BitCast(u, acc[r][v]), exponent_mask));
        const auto sum = hn::Sub(acc[r][v], magic);
        store_result(sum, result_mask, to + r * to_.stride + v * kLanes);
      }
  }

  // kCount rows from row i on, one strip after the other.
  template <int kCount, int kStep>
  HWY_INLINE void add_rows(std::int64_t i) {
    ahead_.fetch(i + kCount, std::min(i + 2 * kCount, count_));
    bytes_.template find<kStep>(rows_, i, kCount, group_);
    for (int part = 0; part < kParts<T>; ++part) {
      start_rows<kCount>(0, i, part, starts_[0]);
      V acc[kCount][kVectors];
      load<kCount>(starts_[0], acc);
      const T* a = rows_.values_of(i, group_);
      const T* b = columns_of(part);
      for (int k = 0; k < (kStep == 0 ? grid_.step_k : kStep); k += 4, b += 4 * kPanelCols)
        add_quad<kCount, false>(a + k, rows_.stride, b, acc);
      finish<kCount>(starts_[0], acc, i, part);
    }
  }

#if HWY_TARGET <= HWY_AVX2
  static constexpr int kBlocks = kUsualStep / 4;
  static constexpr int kStartJobs = kRows * kPairs;  // of a strip
  static constexpr int kLookJobs = 2 * kRows;        // of a set of kRows rows; done in the first kLookParts of the
  // strips before them, as the last of those makes their first start. Where there is one strip a set, the set after the
  // next one is looked up.
  static constexpr int kLookParts = std::max(1, kParts<T> - 1);
  static constexpr int kSetsAhead = kParts<T> == 1 ? 2 : 1;

  HWY_INLINE void chain(std::int64_t sets) {
    last_set_ = sets - 1;
    for (std::int64_t set = 0; set < (kLooksUpFirst<L> ? sets : kSetsAhead); ++set) {
      look_up_jobs<0, kLookJobs>(slot_of(set), RowBytes(rows_, row_of(set), group_));
      bytes_.compare_where_far(slot_of(set), rows_, row_of(set), kRows, group_);
    }
    start_rows<kRows>(0, 0, 0, starts_[0]);
    for (std::int64_t set = 0; set < sets; ++set) {
      ahead_.fetch((set + 1) * kRows, std::min((set + 2) * kRows, count_));
      multiply_set<0>(set, RowBytes(rows_, row_of(set + kSetsAhead), group_));
    }
  }

  // Where the bytes of a set are; beyond the last set there need be none.
  [[nodiscard]] int slot_of(std::int64_t set) const {
    return static_cast<int>(kLooksUpFirst<L> ? std::min(set, last_set_) : set % 2);
  }

  // The first row of a set. Beyond the last set work is done for that one again, in vain.
  [[nodiscard]] std::int64_t row_of(std::int64_t set) const { return std::min(set, last_set_) * kRows; }

  template <int kFirst, int kEnd>
  HWY_INLINE void look_up_jobs(int slot, const RowBytes& rows) {
    if constexpr (kFirst < kEnd) {
      if constexpr (kFirst % 2 == 0)
        bytes_.template look_up_negative<kUsualStep>(slot, kFirst / 2, rows);
      else
        bytes_.template look_up_largest<kUsualStep>(slot, kFirst / 2, rows);
      look_up_jobs<kFirst + 1, kEnd>(slot, rows);
    }
  }

  template <int kFirst, int kEnd, int kPart>
  HWY_INLINE void start_jobs(int slot, const float* c, StripStart<T>& to) {
    if constexpr (kFirst < kEnd) {
      start<kFirst % kPairs>(slot, kFirst / kPairs, kPart, c, to);
      start_jobs<kFirst + 1, kEnd, kPart>(slot, c, to);
    }
  }

  // What is worked on while a strip is multiplied.
  struct Meanwhile {
    int slot;        // the strip that comes next: of its rows' bytes,
    const float* c;  // what it starts from,
    StripStart<T>& start;
    int ahead_slot;  // and the rows that are looked up
    RowBytes ahead;
  };

  // Part kPart of a set from block kBlock on: its rows and columns, and what is done meanwhile.
  template <int kPart, int kBlock>
  HWY_INLINE void multiply_blocks(const T* a, std::int64_t stride, const T* b, const Meanwhile& other,
                                  V (&acc)[kRows][kVectors]) {
    if constexpr (kBlock < kBlocks) {
      add_quad<kRows, true>(a + kBlock * 4, stride, b + kBlock * 4 * kPanelCols, acc);
      start_jobs<kStartJobs * kBlock / kBlocks, kStartJobs*(kBlock + 1) / kBlocks, (kPart + 1) % kParts<T>>(
          other.slot, other.c, other.start);
      if constexpr (!kLooksUpFirst<L> && kPart < kLookParts) {
        constexpr int kPlace = kPart * kBlocks + kBlock;
        constexpr int kPlaces = kLookParts * kBlocks;
        look_up_jobs<kLookJobs * kPlace / kPlaces, kLookJobs*(kPlace + 1) / kPlaces>(other.ahead_slot, other.ahead);
      }
      multiply_blocks<kPart, kBlock + 1>(a, stride, b, other, acc);
    }
  }

  // The strips of a set from part kPart on.
  template <int kPart>
  HWY_INLINE void multiply_set(std::int64_t set, const RowBytes& ahead) {
    if constexpr (kPart < kParts<T>) {
      const std::int64_t strip = set * kParts<T> + kPart;
      const std::int64_t i = set * kRows;
      const std::int64_t next_set = kPart + 1 < kParts<T> ? set : set + 1;
      const int ahead_slot = slot_of(set + kSetsAhead);
      const StripStart<T>& current = starts_[strip % 2];
      const Meanwhile other{slot_of(next_set), strip_of(from_, row_of(next_set), (kPart + 1) % kParts<T>),
                            starts_[(strip + 1) % 2], ahead_slot, ahead};
      V acc[kRows][kVectors];
      load<kRows>(current, acc);
      multiply_blocks<kPart, 0>(rows_.values_of(i, group_), rows_.stride, columns_of(kPart), other, acc);
      finish<kRows>(current, acc, i, kPart);
      if constexpr (!kLooksUpFirst<L> && kPart == kLookParts - 1)
        bytes_.compare_where_far(ahead_slot, rows_, row_of(set + kSetsAhead), kRows, group_);
      multiply_set<kPart + 1>(set, ahead);
    }
  }

  std::int64_t last_set_ = 0;
#endif

  const Grid<L>& grid_;
  GroupBytes<L>& bytes_;
  const PackedRows<L>& rows_;
  std::int64_t group_;
  const T* b_;
  Results from_;
  Results to_;
  ToFetch ahead_;
  std::int64_t count_ = 0;
  StripStart<T> starts_[2];
};

template <bool kFromZero, typename L>
HWY_NOINLINE void add_group(const Grid<L>& grid, GroupBytes<L>& bytes, const PackedRows<L>& rows, std::int64_t count,
                            const PackedPanels<L>& columns, std::int64_t group, const Results& from, const Results& to,
                            const ToFetch& ahead) {
  GroupRun<L, kFromZero>(grid, bytes, rows, columns, group, from, to, ahead).run(count);
}

}  // namespace lastbit::numerics::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
