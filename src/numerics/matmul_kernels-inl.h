// The inner loops of the vectorised matrix product, and the transpositions it packs with. Included once for each
// instruction set.
#if defined(LASTBIT_MATMUL_KERNELS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef LASTBIT_MATMUL_KERNELS_INL
#undef LASTBIT_MATMUL_KERNELS_INL
#else
#define LASTBIT_MATMUL_KERNELS_INL
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cstdint>

// Chains need a fused multiply-add, and arrays of vectors a size known here.
#undef LASTBIT_MATMUL_VECTORS
#if HWY_NATIVE_FMA && !HWY_HAVE_SCALABLE
#define LASTBIT_MATMUL_VECTORS 1
#else
#define LASTBIT_MATMUL_VECTORS 0
#endif

#if LASTBIT_MATMUL_VECTORS
HWY_BEFORE_NAMESPACE();
namespace lastbit::numerics::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Rows of a strip: with two vectors a row, what the registers hold beside two vectors of lanes and a broadcast. 12
// chains (24 with 32 registers) cover the latency of two FMAs a cycle, 4 or 5 cycles.
#if HWY_TARGET <= HWY_AVX3
constexpr int kStrip = 12;
#else
constexpr int kStrip = 6;
#endif
constexpr int kPanelVectors = 2;
// Panels packed at a time: pieces of lines that are long enough for memory, copies that fit the second-level cache.
constexpr int kGroup = 4;
// Few rows do not repay any packing, and have loops of their own.
constexpr int kFewRows = 3;
constexpr int kFewRowsVectors = 2;

template <typename T>
constexpr std::int64_t kVectorLanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));

// Elements of a line of a cache.
template <typename T>
constexpr auto kCacheLine = static_cast<std::int64_t>(64 / sizeof(T));

// Elements of a block of 128 bits.
template <typename T>
constexpr std::int64_t kBlock = 16 / sizeof(T);

// The blocks at from, from + step, ..., one after the other.
template <class D>
HWY_INLINE hn::Vec<D> load_blocks(D d, const hn::TFromD<D>* from, std::int64_t step) {
  if constexpr (hn::MaxLanes(D()) * sizeof(hn::TFromD<D>) <= 16) {
    return hn::LoadU(d, from);
  } else {
    const hn::Half<D> half;
    constexpr auto kBlocks = static_cast<std::int64_t>(hn::MaxLanes(half) * sizeof(hn::TFromD<D>) / 16);
    return hn::Combine(d, load_blocks(half, from + kBlocks * step, step), load_blocks(half, from, step));
  }
}

// Element k of as many lines as there are lanes, for the first kBlock values of k, lines `stride` apart: out[k].
// Blocks of the lines i, i + kBlock, ... share a vector, so that no shuffle crosses blocks.
template <typename T>
HWY_INLINE void load_transposed(const T* from, std::int64_t stride, hn::Vec<hn::ScalableTag<T>>* HWY_RESTRICT out) {
  const hn::ScalableTag<T> d;
  const auto v0 = load_blocks(d, from, kBlock<T> * stride);
  const auto v1 = load_blocks(d, from + stride, kBlock<T> * stride);
  if constexpr (sizeof(T) == sizeof(double)) {
    out[0] = hn::InterleaveLower(d, v0, v1);
    out[1] = hn::InterleaveUpper(d, v0, v1);
  } else {
    const hn::RepartitionToWide<decltype(d)> pairs;
    const auto v2 = load_blocks(d, from + 2 * stride, kBlock<T> * stride);
    const auto v3 = load_blocks(d, from + 3 * stride, kBlock<T> * stride);
    const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, v0, v1));
    const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, v2, v3));
    const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, v0, v1));
    const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, v2, v3));
    out[0] = hn::BitCast(d, hn::InterleaveLower(pairs, low01, low23));
    out[1] = hn::BitCast(d, hn::InterleaveUpper(pairs, low01, low23));
    out[2] = hn::BitCast(d, hn::InterleaveLower(pairs, high01, high23));
    out[3] = hn::BitCast(d, hn::InterleaveUpper(pairs, high01, high23));
  }
}

// to[j * to_stride + i] = from[i * from_stride + j].
template <typename T>
HWY_NOINLINE void transpose(const T* from, std::int64_t from_stride, std::int64_t rows, std::int64_t cols, T* to,
                            std::int64_t to_stride) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t kLanes = kVectorLanes<T>;
  const std::int64_t whole_cols = cols - cols % kBlock<T>;
  std::int64_t i = 0;
  for (; i + kLanes <= rows; i += kLanes) {
    const T* lines = from + i * from_stride;
    for (std::int64_t j = 0; j < whole_cols; j += kBlock<T>) {
      hn::Vec<decltype(d)> out[kBlock<T>];
      load_transposed(lines + j, from_stride, out);
#pragma GCC unroll 4
      for (std::int64_t n = 0; n < kBlock<T>; ++n) hn::StoreU(out[n], d, to + (j + n) * to_stride + i);
    }
    for (std::int64_t j = whole_cols; j < cols; ++j)
      for (std::int64_t n = 0; n < kLanes; ++n) to[j * to_stride + i + n] = lines[n * from_stride + j];
  }
  for (; i < rows; ++i)
    for (std::int64_t j = 0; j < cols; ++j) to[j * to_stride + i] = from[i * from_stride + j];
}

// Copies kWidth elements. In vectors as wide as go into what is left: a call of memcpy would take longer than the copy.
template <std::int64_t kWidth, typename T>
HWY_INLINE void copy_piece(const T* from, T* to) {
  constexpr std::int64_t kLanes =
      std::min(kVectorLanes<T>, static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(kWidth))));
  const hn::CappedTag<T, static_cast<std::size_t>(kLanes)> d;
  hn::StoreU(hn::LoadU(d, from), d, to);
  if constexpr (kWidth > kLanes) copy_piece<kWidth - kLanes>(from + kLanes, to + kLanes);
}

// `length` lines of memory, `from_stride` apart, of `panels` times kWidth elements: to[panel][line][kWidth].
template <std::int64_t kWidth, typename T>
HWY_NOINLINE void copy_panels(const T* from, std::int64_t from_stride, std::int64_t length, std::int64_t panels,
                              T* to) {
  for (std::int64_t i = 0; i < length; ++i)
    for (std::int64_t panel = 0; panel < panels; ++panel)
      copy_piece<kWidth>(from + i * from_stride + panel * kWidth, to + (panel * length + i) * kWidth);
}

// What is to be fetched meanwhile: for each kCacheLine steps of k `count` lines of the cache, `apart` from each other,
// and those of the next steps `step` behind them.
template <typename T>
struct Ahead {
  const T* from;
  std::int64_t count;
  std::int64_t apart;
  std::int64_t step;
};

// What a kernel reads and writes: the strip's element (row, k) and the panel's vectors of element k.
template <typename T>
struct KernelCall {
  const T* strip;
  std::int64_t strip_step;  // between rows when k is contiguous, between values of k when rows are
  const T* panel;
  std::int64_t length;  // of the block of K
  T* c;
  std::int64_t c_stride;
  bool add;  // to what is in c
  Ahead<T> ahead;
};

// One partial of kRows x kVectors vectors of outputs. All chains are in registers; a step of k costs kVectors loads,
// kRows broadcasts (loads as well) and kRows kVectors FMAs: with 6 x 2 the FMAs are the limit at two loads a cycle.
template <int kRows, int kVectors, bool kAlongK, typename T>
HWY_NOINLINE void multiply_strip(const KernelCall<T>& call) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t kLanes = kVectorLanes<T>;
  hn::Vec<decltype(d)> acc[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    // Fetched while this block of K is added: what the next call, most likely of the next strip, needs of c.
    for (std::int64_t j = 0; j < kVectors * kLanes; j += kCacheLine<T>)
      hwy::Prefetch(call.c + (kRows + r) * call.c_stride + j);
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) acc[r][v] = hn::Zero(d);
  }
  const T* HWY_RESTRICT strip = call.strip;
  const T* HWY_RESTRICT panel = call.panel;
  const std::int64_t strip_step = call.strip_step;
  const T* ahead = call.ahead.from;
  for (std::int64_t begin = 0; begin < call.length; begin += kCacheLine<T>) {
    if constexpr (kAlongK) {  // of the next strip
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) hwy::Prefetch(strip + (kRows + r) * strip_step);
    }
    for (std::int64_t i = 0; i < call.ahead.count; ++i) hwy::Prefetch(ahead + i * call.ahead.apart);
    ahead += call.ahead.step;
    const std::int64_t end = std::min(begin + kCacheLine<T>, call.length);
    for (std::int64_t k = begin; k < end; ++k) {
      hn::Vec<decltype(d)> lanes[kVectors];
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) lanes[v] = hn::LoadU(d, panel + v * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const auto broadcast = hn::Set(d, kAlongK ? strip[r * strip_step] : strip[r]);
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) acc[r][v] = hn::MulAdd(broadcast, lanes[v], acc[r][v]);
      }
      panel += kPanelVectors * kLanes;
      strip += kAlongK ? 1 : strip_step;
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    T* c = call.c + r * call.c_stride;
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      const auto partial = acc[r][v];
      hn::StoreU(call.add ? hn::Add(hn::LoadU(d, c + v * kLanes), partial) : partial, d, c + v * kLanes);
    }
  }
}

// Rows of outputs that are too few to pack anything for, and the operand that streams by.
template <typename T>
struct FewRowsCall {
  const T* rows;  // element (r, k) at rows[r * row_step + k * row_k_step]
  std::int64_t row_step;
  std::int64_t row_k_step;
  const T* lines;     // of the operand along the lanes
  std::int64_t step;  // between its lines, or between values of k
  std::int64_t length;
  T* c;
  std::int64_t c_stride;
  bool add;
};

// Lines contiguous along K, as many as the lanes of kFewRowsVectors vectors: transposed in registers.
template <int kRows, typename T>
HWY_NOINLINE void multiply_lines(const FewRowsCall<T>& call) {
  const hn::ScalableTag<T> d;
  constexpr int kVectors = kFewRowsVectors;
  constexpr std::int64_t kLanes = kVectorLanes<T>;
  constexpr std::int64_t kAhead = 8 * kCacheLine<T>;  // lines are too many for the hardware to fetch ahead
  hn::Vec<decltype(d)> acc[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) acc[r][v] = hn::Zero(d);
  const T* HWY_RESTRICT lines = call.lines;
  const T* HWY_RESTRICT rows = call.rows;
  const std::int64_t whole = call.length - call.length % kBlock<T>;
  for (std::int64_t k = 0; k < whole; k += kBlock<T>) {
    if (k % kCacheLine<T> == 0)
      for (std::int64_t i = 0; i < kVectors * kLanes; ++i) hwy::Prefetch(lines + i * call.step + k + kAhead);
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      hn::Vec<decltype(d)> lanes[kBlock<T>];
      load_transposed(lines + v * kLanes * call.step + k, call.step, lanes);
#pragma GCC unroll 16
      for (int n = 0; n < kBlock<T>; ++n)
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r)
          acc[r][v] = hn::MulAdd(hn::Set(d, rows[r * call.row_step + (k + n) * call.row_k_step]), lanes[n], acc[r][v]);
    }
  }
  for (std::int64_t k = whole; k < call.length; ++k) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      HWY_ALIGN T gathered[kLanes];
      for (std::int64_t i = 0; i < kLanes; ++i) gathered[i] = lines[(v * kLanes + i) * call.step + k];
      const auto lanes = hn::Load(d, gathered);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r)
        acc[r][v] = hn::MulAdd(hn::Set(d, rows[r * call.row_step + k * call.row_k_step]), lanes, acc[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    T* c = call.c + r * call.c_stride;
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      const auto partial = acc[r][v];
      hn::StoreU(call.add ? hn::Add(hn::LoadU(d, c + v * kLanes), partial) : partial, d, c + v * kLanes);
    }
  }
}

// Lines of memory along the lanes, `cols` elements, whole vectors. kSteps values of k are added to a vector of chains
// at a time, so that memory is read along kSteps long lines.
template <int kRows, int kSteps, typename T>
HWY_INLINE void add_steps(const FewRowsCall<T>& call, std::int64_t k, std::int64_t cols, T* HWY_RESTRICT partials) {
  const hn::ScalableTag<T> d;
  hn::Vec<decltype(d)> factors[kRows][kSteps];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int n = 0; n < kSteps; ++n)
      factors[r][n] = hn::Set(d, call.rows[r * call.row_step + (k + n) * call.row_k_step]);
  const T* HWY_RESTRICT lines = call.lines + k * call.step;
  for (std::int64_t j = 0; j < cols; j += kVectorLanes<T>) {
    hn::Vec<decltype(d)> acc[kRows];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) acc[r] = hn::Load(d, partials + r * cols + j);
#pragma GCC unroll 16
    for (int n = 0; n < kSteps; ++n) {
      const auto lanes = hn::LoadU(d, lines + n * call.step + j);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) acc[r] = hn::MulAdd(factors[r][n], lanes, acc[r]);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) hn::Store(acc[r], d, partials + r * cols + j);
  }
}

// partials: memory for [kRows, cols].
template <int kRows, typename T>
HWY_NOINLINE void multiply_stream(const FewRowsCall<T>& call, std::int64_t cols, T* HWY_RESTRICT partials) {
  const hn::ScalableTag<T> d;
  constexpr int kSteps = 4;
  std::fill_n(partials, kRows * cols, T{0});
  std::int64_t k = 0;
  for (; k + kSteps <= call.length; k += kSteps) add_steps<kRows, kSteps>(call, k, cols, partials);
  for (; k < call.length; ++k) add_steps<kRows, 1>(call, k, cols, partials);
  for (int r = 0; r < kRows; ++r) {
    T* c = call.c + r * call.c_stride;
    for (std::int64_t j = 0; j < cols; j += kVectorLanes<T>) {
      const auto partial = hn::Load(d, partials + r * cols + j);
      hn::StoreU(call.add ? hn::Add(hn::LoadU(d, c + j), partial) : partial, d, c + j);
    }
  }
}

// The kernel for so many rows, at most kRows.
template <int kRows, int kVectors, bool kAlongK, typename T>
HWY_INLINE void multiply_rows(std::int64_t rows, const KernelCall<T>& call) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return multiply_rows<kRows - 1, kVectors, kAlongK>(rows, call);
  }
  multiply_strip<kRows, kVectors, kAlongK>(call);
}

}  // namespace lastbit::numerics::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // LASTBIT_MATMUL_VECTORS

#endif  // per-target include guard
