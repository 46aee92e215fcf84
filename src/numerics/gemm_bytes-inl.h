// E and N of the vectorised GEMM: see gemm_vector.cc. Included once for each instruction set.
#if defined(LASTBIT_GEMM_BYTES_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef LASTBIT_GEMM_BYTES_INL
#undef LASTBIT_GEMM_BYTES_INL
#else
#define LASTBIT_GEMM_BYTES_INL
#endif

#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <bit>
#include <type_traits>

#include "numerics/gemm_columns-inl.h"
#include "numerics/gemm_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lastbit::numerics::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Rows that share a load of B, as many as there are registers for.
#if HWY_TARGET <= HWY_AVX3
constexpr int kRows = 4;
#else
constexpr int kRows = 3;
#endif

// Chunks of fewer rows are not worth tables.
constexpr std::int64_t kTableRows = 12;

// Whether a kernel that works ahead looks all rows of a chunk up before it multiplies. With AVX-512 the tables and a
// group of B are together larger than AMD's first cache. Lanes of floats, of which a row has half as many vectors, gain
// more by looking up while they multiply.
template <typename L>
constexpr bool kLooksUpFirst = HWY_TARGET <= HWY_AVX3&& std::is_same_v<L, DoubleLanes>;

// What a group of K says of neighbouring rows.
struct RowBytes {
  template <typename L>
  HWY_INLINE RowBytes(const PackedRows<L>& rows, std::int64_t i, std::int64_t group)
      : signs(rows.signs_of(i, group)),
        pairs(rows.pairs_of(i, group)),
        largest(rows.largest_of(i, group)),
        sign_stride(rows.signs_of(1, 0) - rows.signs_of(0, 0)),
        pair_stride(rows.pairs_of(1, 0) - rows.pairs_of(0, 0)),
        largest_stride(rows.largest_of(1, 0) - rows.largest_of(0, 0)) {}

  const std::uint8_t* signs;  // places in tables, [rows, step_k / 4] and
  const std::uint8_t* pairs;  // [rows, step_k / 2]
  const std::uint8_t* largest;
  std::int64_t sign_stride;
  std::int64_t pair_stride;
  std::int64_t largest_stride;
};

// E (+ L::kCodeOfZero) and N of rows of A and one group of a panel, without c's part: bytes in lane order. With tables:
// for each two elements of K the ORs of their planes, for each four the counts of negative products by the row's four
// signs.
template <typename L>
class GroupBytes {
 public:
  GroupBytes(int step_k, std::int64_t rows)
      : step_k_(step_k),
        pairs_(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(step_k / 2 * kPairLines * kHalfCols))),
        counts_(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(step_k / 4 * kSignLines * kHalfCols))),
        of_rows_(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(slots(rows) * kRows * 2 * kPanelCols))) {}

  // The group that find() is for is the one that is open; how many rows will be asked for.
  void select(const PackedPanels<L>& columns, std::int64_t rows) {
    exponents_ = columns.exponents();
    signs_ = columns.signs();
    of_columns_ = columns.largest();
    tabled_ = rows >= kTableRows;
    if (!tabled_) return;
    make_pairs();
    make_counts();
  }

  // Whether rows are looked up in tables; else find() goes through the elements.
  [[nodiscard]] bool tabled() const { return tabled_; }

  // Of `count` rows, up to kRows, from row i on, to slot 0. kStep: step_k, or 0 for any.
  template <int kStep>
  HWY_INLINE void find(const PackedRows<L>& rows, std::int64_t i, int count, std::int64_t group) {
    const RowBytes of_rows(rows, i, group);
    for (int r = 0; r < count; ++r)
      if (HWY_LIKELY(tabled_)) {
        look_up_negative<kStep>(0, r, of_rows);
        look_up_largest<kStep>(0, r, of_rows);
      } else {
        count_negative(rows.signs_of(i + r, group), negative_of(0, r));
        compare_exponents(rows.exponents_of(i + r, group), largest_of(0, r));
      }
    if (HWY_LIKELY(tabled_)) compare_where_far(0, rows, i, count, group);
  }

  // N of the r-th row to a slot.
  template <int kStep>
  HWY_INLINE void look_up_negative(int slot, int r, const RowBytes& rows) {
    const std::uint8_t* HWY_RESTRICT places = rows.signs + r * rows.sign_stride;
    const int quads = (kStep == 0 ? step_k_ : kStep) / 4;
    auto low = hn::Zero(kBytes);
    auto high = low;
#pragma GCC unroll 3
    for (int first = 0; first < quads; first += kQuadsAtOnce) {
      const std::uint8_t* HWY_RESTRICT counts = counts_.get() + first * kSignLines * kHalfCols;
      const int end = std::min(kQuadsAtOnce, quads - first);
      auto both = hn::Load(kBytes, counts + std::size_t{places[first]} * kPlaceUnit);
#pragma GCC unroll 3
      for (int quad = 1; quad < end; ++quad)
        both = hn::Add(both, hn::Load(kBytes, counts + quad * kSignLines * kHalfCols +
                                                  std::size_t{places[first + quad]} * kPlaceUnit));
      low = hn::Add(low, hn::And(both, hn::Set(kBytes, 0x0f)));
      high = hn::Add(high, hn::And(shifted_right_4(both), hn::Set(kBytes, 0x0f)));
    }
    hn::Store(low, kBytes, negative_of(slot, r));
    hn::Store(high, kBytes, negative_of(slot, r) + kHalfCols);
  }

  // E likewise, but where exponents lie far apart: to be followed by compare_where_far().
  template <int kStep>
  HWY_INLINE void look_up_largest(int slot, int r, const RowBytes& rows) {
    // Four bits a column: bits s to 3, s the distance of E from A + B; none if it is more than 3.
    const std::uint8_t* HWY_RESTRICT places = rows.pairs + r * rows.pair_stride;
    const std::uint8_t* HWY_RESTRICT planes = pairs_.get();
    const int pairs = (kStep == 0 ? step_k_ : kStep) / 2;
    auto bits = hn::Zero(kBytes);
#pragma GCC unroll 8
    for (int pair = 0; pair < pairs; pair += 2, planes += 2 * kPairLines * kHalfCols) {
      const auto first = hn::Load(kBytes, planes + std::size_t{places[pair]} * kPlaceUnit);
      const auto second =
          hn::Load(kBytes, planes + kPairLines * kHalfCols + std::size_t{places[pair + 1]} * kPlaceUnit);
      bits = hn::Or3(bits, first, second);
    }
    const auto below_low = distance(hn::And(bits, hn::Set(kBytes, 0x0f)));
    const auto below_high = distance(hn::And(shifted_right_4(bits), hn::Set(kBytes, 0x0f)));
    const auto of_row = hn::Set(kBytes, rows.largest[r * rows.largest_stride]);
    std::uint8_t* HWY_RESTRICT largest = largest_of(slot, r);
    hn::Store(hn::Sub(hn::Sub(of_row, hn::Load(kBytes, of_columns_)), below_low), kBytes, largest);
    hn::Store(hn::Sub(hn::Sub(of_row, hn::Load(kBytes, of_columns_ + kHalfCols)), below_high), kBytes,
              largest + kHalfCols);
    hn::Store(hn::Or(below_low, below_high), kBytes, far_.data() + r * kHalfCols);
  }

  // The rows that the tables left, after all `count` rows have been looked up.
  HWY_INLINE void compare_where_far(int slot, const PackedRows<L>& rows, std::int64_t i, int count,
                                    std::int64_t group) {
    for (int r = 0; r < count; ++r) {
      const auto far = hn::Load(kBytes, far_.data() + r * kHalfCols);
      if (HWY_UNLIKELY(!hn::AllFalse(kBytes, hn::MaskFromVec(far))))
        compare_exponents(rows.exponents_of(i + r, group), largest_of(slot, r));
    }
  }

  // Of the r-th row that was asked for, [kPanelCols] each.
  [[nodiscard]] std::uint8_t* largest_of(int slot, int r) {
    return of_rows_.get() + (slot * kRows + r) * 2 * kPanelCols;
  }
  [[nodiscard]] std::uint8_t* negative_of(int slot, int r) { return largest_of(slot, r) + kPanelCols; }

 private:
  using V = hn::Vec<decltype(kBytes)>;

  static constexpr int kQuadsAtOnce = 3;  // whose counts fit four bits

  // For chunks of so many rows: two, that one may be filled while the other is read, or all that a chunk needs.
  static constexpr std::int64_t slots(std::int64_t rows) { return kLooksUpFirst<L> ? rows / kRows : 2; }

  // Bits s to 3 as s, none as 0xff.
  static HWY_INLINE V distance(V bits) {
#if HWY_TARGET == HWY_SCALAR
    const std::uint8_t byte = hn::GetLane(bits);
    return hn::Set(kBytes, static_cast<std::uint8_t>(byte == 0 ? 0xff : std::countr_zero(byte)));
#else
    HWY_ALIGN static constexpr std::array<std::uint8_t, 16> kTable = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                                                      3,    0xff, 0xff, 0xff, 2,    0xff, 1,    0};
    return hn::TableLookupBytes(hn::LoadDup128(kBytes, kTable.data()), bits);
#endif
  }

  // The lower four bits of each byte of what it returns are the upper ones.
  static HWY_INLINE V shifted_right_4(V bytes) {
#if HWY_TARGET == HWY_SCALAR
    return hn::ShiftRight<4>(bytes);
#else
    const hn::Repartition<std::uint16_t, decltype(kBytes)> words;
    return hn::BitCast(kBytes, hn::ShiftRight<4>(hn::BitCast(words, bytes)));
#endif
  }

  // N without tables.
  HWY_INLINE void count_negative(const std::uint8_t* HWY_RESTRICT places, std::uint8_t* HWY_RESTRICT negative) const {
    for (std::int64_t j = 0; j < kPanelCols; j += kHalfCols) {
      auto sum = hn::Zero(kBytes);
      for (int quad = 0; quad < step_k_ / 4; ++quad)
        sum = hn::Add(sum, negative_of_four(hn::Load(kBytes, signs_ + quad * kPanelCols + j),
                                            places[quad] / static_cast<std::uint8_t>(kLineUnits)));
      hn::Store(sum, kBytes, negative + j);
    }
  }

  // E however far exponents lie apart.
  HWY_NOINLINE void compare_exponents(const std::uint8_t* HWY_RESTRICT a, std::uint8_t* HWY_RESTRICT largest) const {
    auto low = hn::Set(kBytes, L::kLeastE + L::kCodeOfZero);
    auto high = low;
    for (int k = 0; k < step_k_; ++k) {
      const auto of_a = hn::Set(kBytes, a[k]);
      low = hn::Max(low, hn::SaturatedSub(of_a, hn::Load(kBytes, exponents_ + k * kPanelCols)));
      high = hn::Max(high, hn::SaturatedSub(of_a, hn::Load(kBytes, exponents_ + k * kPanelCols + kHalfCols)));
    }
    hn::Store(low, kBytes, largest);
    hn::Store(high, kBytes, largest + kHalfCols);
  }

  // How many of four products are negative, by the columns' and the row's signs.
  static HWY_INLINE V negative_of_four(V signs, std::size_t of_row) {
#if HWY_TARGET == HWY_SCALAR
    return hn::Set(kBytes,
                   static_cast<std::uint8_t>(std::popcount(hn::GetLane(signs) ^ static_cast<unsigned>(of_row))));
#else
    HWY_ALIGN static constexpr std::array<std::uint8_t, 16 * kSignLines> kTable = [] {
      std::array<std::uint8_t, 16 * kSignLines> table{};
      for (std::size_t row = 0; row < kSignLines; ++row)
        for (std::size_t column = 0; column < 16; ++column)
          table[row * 16 + column] = static_cast<std::uint8_t>(std::popcount(row ^ column));
      return table;
    }();
    return hn::TableLookupBytes(hn::LoadDup128(kBytes, kTable.data() + of_row * 16), signs);
#endif
  }

  HWY_NOINLINE void make_counts() {
    std::uint8_t* line = counts_.get();
    for (int quad = 0; quad < step_k_ / 4; ++quad) {
      const auto low = hn::Load(kBytes, signs_ + quad * kPanelCols);
      const auto high = hn::Load(kBytes, signs_ + quad * kPanelCols + kHalfCols);
#pragma GCC unroll 4
      for (std::size_t of_row = 0; of_row < kSignLines; ++of_row, line += kHalfCols) {
        const auto upper = negative_of_four(high, of_row);
        const auto doubled = hn::Add(upper, upper);
        const auto times_8 = hn::Add(hn::Add(doubled, doubled), hn::Add(doubled, doubled));
        hn::Store(hn::Add(negative_of_four(low, of_row), hn::Add(times_8, times_8)), kBytes, line);
      }
    }
  }

  HWY_NOINLINE void make_pairs() {
    std::uint8_t* line = pairs_.get();
    for (int k = 0; k < step_k_; k += 2) {
      const std::array<V, kPlanes> first = planes_of(exponents_ + k * kPanelCols);
      const std::array<V, kPlanes> second = planes_of(exponents_ + (k + 1) * kPanelCols);
#pragma GCC unroll 8
      for (std::size_t i = 0; i < kPlanes; ++i)
#pragma GCC unroll 8
        for (std::size_t j = 0; j < kPlanes; ++j, line += kHalfCols)
          hn::Store(hn::Or(first[i], second[j]), kBytes, line);
    }
  }

  // An element's bits for rows' distances 0 to 3 from their largest; the last is empty.
  HWY_INLINE std::array<V, kPlanes> planes_of(const std::uint8_t* exponents) const {
    const auto plane =
        hn::Or(bits_from(exponents, of_columns_, 0), bits_from(exponents + kHalfCols, of_columns_ + kHalfCols, 4));
    const auto kept = hn::Set(kBytes, 0xee);
    std::array<V, kPlanes> planes;
    planes[0] = plane;
    for (std::size_t i = 1; i + 1 < kPlanes; ++i) planes[i] = hn::And(hn::Add(planes[i - 1], planes[i - 1]), kept);
    planes[kPlanes - 1] = hn::Zero(kBytes);
    return planes;
  }

  // Bits s to 3 for exponents s below the largest, shifted; none for zeros.
  static HWY_INLINE V bits_from(const std::uint8_t* exponents, const std::uint8_t* largest, int shift) {
    const auto exponent = hn::Load(kBytes, exponents);
    const auto below = hn::Min(hn::Sub(exponent, hn::Load(kBytes, largest)), hn::Set(kBytes, kPlanes - 1));
    // A column that is zero throughout is 0 below its largest.
    const auto zero = hn::Eq(exponent, hn::Set(kBytes, kZeroByteOfB));
#if HWY_TARGET == HWY_SCALAR
    const auto bits = hn::Set(kBytes, static_cast<std::uint8_t>((0x0f << hn::GetLane(below) & 0x0f) << shift));
#else
    HWY_ALIGN static constexpr std::array<std::uint8_t, 32> kTable = {
        0x0f, 0x0e, 0x0c, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0xf0, 0xe0, 0xc0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    const auto bits = hn::TableLookupBytes(hn::LoadDup128(kBytes, kTable.data() + 4 * shift), below);
#endif
    return hn::IfThenZeroElse(zero, bits);
  }

  int step_k_;
  bool tabled_ = false;
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> pairs_;   // [step_k / 2, kPairLines, kHalfCols]
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> counts_;  // [step_k / 4, kSignLines, kHalfCols]
  // E and N.
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> of_rows_;          // [slots, kRows, 2, kPanelCols]
  HWY_ALIGN std::array<std::uint8_t, kRows * kHalfCols> far_;  // not 0 (top bit) where a row's tables have no bit
  // Of the panel's group.
  const std::uint8_t* exponents_ = nullptr;
  const std::uint8_t* signs_ = nullptr;
  const std::uint8_t* of_columns_ = nullptr;
};

}  // namespace lastbit::numerics::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
