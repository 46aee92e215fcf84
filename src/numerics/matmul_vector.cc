// The vectorised path of matmul(): strips of a few rows times panels of a few vectors.
//
// One dimension of the tile lies along the lanes, its operand packed in panels, [K block][two vectors]: 16 KiB in AVX2,
// which stay in the first-level cache while the strips of the other operand pass by. That one is read where it lies
// when its lines are contiguous along K, so that each line of a cache serves 16 steps, and few panels use it; else it
// is packed as well. Which of the operands is which is chosen in matmul.cc, so that weights that few rows use are not
// packed at all. Up to three rows have loops of their own, which read the other operand once and as it lies.
#include <hwy/base.h>

#include "numerics/matmul_tiles.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "numerics/matmul_vector.cc"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

#include "numerics/matmul_kernels-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lastbit::numerics::HWY_NAMESPACE {

#if LASTBIT_MATMUL_VECTORS
constexpr std::int64_t round_up_to(std::int64_t value, std::int64_t step) { return parts(value, step) * step; }

// Memory that a thread keeps from tile to tile: fresh pages would cost as much as a small product.
template <typename T>
class Workspace {
 public:
  T* at_least(std::int64_t count) {
    if (count > count_) {
      memory_ = hwy::AllocateAligned<T>(static_cast<std::size_t>(count));
      count_ = count;
    }
    return memory_.get();
  }

 private:
  hwy::AlignedFreeUniquePtr<T[]> memory_;
  std::int64_t count_ = 0;
};

// A tile as the loops see it.
template <typename T>
struct TileOperands {
  explicit TileOperands(const MatmulTile<T>& tile) {
    const OperandLines<T> a = lines_of_a(tile.problem->a);
    const OperandLines<T> b = lines_of_b(tile.problem->b);
    const OperandLines<T> a_tile{a.at(tile.row, 0), a.line_step, a.k_step};
    const OperandLines<T> b_tile{b.at(tile.col, 0), b.line_step, b.k_step};
    strips = tile.turned ? b_tile : a_tile;
    lanes = tile.turned ? a_tile : b_tile;
    rows = tile.turned ? tile.cols : tile.rows;
    cols = tile.turned ? tile.rows : tile.cols;
  }

  OperandLines<T> strips;
  OperandLines<T> lanes;
  std::int64_t rows;  // of strips
  std::int64_t cols;  // along the lanes
};

template <typename T>
class TileRun {
  static constexpr std::int64_t kLanes = kVectorLanes<T>;
  static constexpr std::int64_t kPanelWidth = kPanelVectors * kLanes;
  static constexpr std::int64_t kPanelsSize = kGroup * kMatmulBlockK * kPanelWidth;
  static constexpr std::int64_t kLinesWidth = kFewRowsVectors * kLanes;
  // Strips are packed when more panels than this read the copy: those that do not lie along K, and those that do.
  static constexpr std::int64_t kPanelsWorthStrips = 2;
  static constexpr std::int64_t kPanelsWorthRows = 4;
  // Between packed lines along K: no multiple of a large power of two, which would put all of a strip in one set of
  // a cache.
  static constexpr std::int64_t kPackedStep = kMatmulBlockK + 64 / static_cast<std::int64_t>(sizeof(T));

  // Lines [first, first + lines) along the lanes, and where to read them.
  struct Panel {
    std::int64_t first;
    std::int64_t lines;
    int vectors;
    const T* data;  // [k][kPanelWidth]
  };

 public:
  TileRun(const MatmulTile<T>& tile, const MatmulTile<T>* next) : tile_(tile), next_(next), turned_(tile.turned) {
    const MatmulProblem<T>& problem = *tile.problem;
    const TileOperands<T> operands(tile);
    rows_ = operands.rows;
    cols_ = operands.cols;
    strips_ = operands.strips;
    lanes_ = operands.lanes;
    d_ = problem.d + tile.row * problem.d_stride + tile.col;
    along_k_ = strips_.k_step == 1;
    packs_strips_ = rows_ > kFewRows && cols_ > (along_k_ ? kPanelsWorthRows : kPanelsWorthStrips) * kPanelWidth;

    const std::int64_t strips_size = packs_strips_ ? round_up_to(rows_, kStrip) * kPackedStep : 0;
    c_stride_ = turned_ ? round_up_to(cols_, kPanelWidth) : problem.d_stride;
    const std::int64_t c_size = turned_ ? rows_ * c_stride_ : 0;
    const std::int64_t edge_size =
        std::max(kStrip * kPanelWidth, rows_ <= kFewRows ? round_up_to(rows_ * cols_, kLanes) : 0);
    static thread_local Workspace<T> workspace;
    panels_ = workspace.at_least(kPanelsSize + edge_size + round_up_to(strips_size, kLanes) + c_size);
    edge_ = panels_ + kPanelsSize;
    packed_strips_ = edge_ + edge_size;
    c_ = turned_ ? packed_strips_ + round_up_to(strips_size, kLanes) : d_;
  }

  void run() {
    const MatmulProblem<T>& problem = *tile_.problem;
    if (turned_ && problem.accumulate) transpose(d_, problem.d_stride, cols_, rows_, c_, c_stride_);
    first_ = rows_ <= kFewRows ? run_few_rows() : 0;
    if (first_ < cols_)
      for_each_block([this](std::int64_t k, std::int64_t length, bool add) { add_block(k, length, add); });
    if (turned_) transpose(c_, c_stride_, rows_, cols_, d_, problem.d_stride);
  }

 private:
  // body(k, length, whether the partial is added to something)
  template <typename Body>
  void for_each_block(const Body& body) {
    const std::int64_t depth = tile_.problem->a.cols;
    for (std::int64_t k = 0; k < depth; k += kMatmulBlockK)
      body(k, std::min(kMatmulBlockK, depth - k), k > 0 || tile_.problem->accumulate);
  }

  // What of a few rows fills whole vectors; the number of columns done.
  std::int64_t run_few_rows() {
    switch (rows_) {
      case 1:
        return stream_rows<1>();
      case 2:
        return stream_rows<2>();
      default:
        return stream_rows<kFewRows>();
    }
  }

  template <int kRows>
  std::int64_t stream_rows() {
    FewRowsCall<T> call{nullptr, strips_.line_step, strips_.k_step, nullptr, 0, 0, nullptr, c_stride_, false};
    const auto place = [&](std::int64_t first, std::int64_t k, std::int64_t length, bool add) {
      call.rows = strips_.at(0, k);
      call.lines = lanes_.at(first, k);
      call.length = length;
      call.c = c_ + first;
      call.add = add;
    };
    if (lanes_.line_step == 1) {
      call.step = lanes_.k_step;
      const std::int64_t done = cols_ - cols_ % kLanes;
      for_each_block([&](std::int64_t k, std::int64_t length, bool add) {
        place(0, k, length, add);
        multiply_stream<kRows>(call, done, edge_);
      });
      return done;
    }
    // All of K for some lines before the next ones, as they lie in memory.
    call.step = lanes_.line_step;
    const std::int64_t done = cols_ - cols_ % kLinesWidth;
    for (std::int64_t first = 0; first < done; first += kLinesWidth)
      for_each_block([&](std::int64_t k, std::int64_t length, bool add) {
        place(first, k, length, add);
        multiply_lines<kRows>(call);
      });
    return done;
  }

  void add_block(std::int64_t k, std::int64_t length, bool add) {
    if (packs_strips_) pack_strips(k, length);
    for (std::int64_t first = first_; first < cols_;) {
      const std::int64_t width = std::min(cols_ - first, kGroup * kPanelWidth);
      pack_panels(first, width, k, length);
      fetch_ahead(first, width, k, length);
      for (std::int64_t panel = 0; panel < width; panel += kPanelWidth) {
        const std::int64_t lines = std::min(width - panel, kPanelWidth);
        add_panel({first + panel, lines, lines > kLanes ? kPanelVectors : 1, panels_ + panel * length}, k, length, add);
      }
      first += width;
    }
  }

  // What the next group of panels is packed from, be it the next tile's, is asked for while this one, of `width` lines
  // from `first` on, is multiplied: memory is slow.
  void fetch_ahead(std::int64_t first, std::int64_t width, std::int64_t k, std::int64_t length) {
    if (first + width < cols_)
      fetch(lanes_, lanes_.at(first + width, k), cols_ - first - width, width, length);
    else if (k + length < tile_.problem->a.cols)
      fetch(lanes_, lanes_.at(first_, k + length), cols_ - first_, width, length);
    else if (next_ != nullptr)
      fetch_of(TileOperands<T>(*next_), width, length);
    else
      ahead_ = {};
  }

  void fetch_of(const TileOperands<T>& tile, std::int64_t width, std::int64_t length) {
    fetch(tile.lanes, tile.lanes.data, tile.cols, width, length);
  }

  // Of `lines` lines from `from` on the first group: contiguous along the lanes, some values of k a call; along K, some
  // lines a call, so that those that multiply `width` lines fetch them all.
  void fetch(const OperandLines<T>& lanes, const T* from, std::int64_t lines, std::int64_t width, std::int64_t length) {
    const std::int64_t calls = parts(width, kPanelWidth) * parts(rows_, kStrip);
    const std::int64_t pieces = parts(length, kCacheLine<T>);
    const std::int64_t count = std::min(lines, kGroup * kPanelWidth);
    if (lanes.line_step == 1) {
      ahead_ = {from, parts(count, kCacheLine<T>), kCacheLine<T>, lanes.k_step};
      ahead_step_ = pieces * lanes.k_step;
      ahead_end_ = from + length * lanes.k_step;
    } else {
      ahead_ = {from, parts(count, calls), lanes.line_step, kCacheLine<T>};
      ahead_step_ = ahead_.count * lanes.line_step;
      ahead_end_ = from + count * lanes.line_step;
    }
  }

  void add_panel(const Panel& panel, std::int64_t k, std::int64_t length, bool add) {
    for (std::int64_t row = 0; row < rows_; row += kStrip) {
      add_strip(panel, row, std::min<std::int64_t>(kStrip, rows_ - row), k, length, add);
      if (ahead_.count == 0) continue;
      ahead_.from += ahead_step_;
      if (ahead_.from >= ahead_end_) ahead_ = {};
    }
  }

  // [strip][k][kStrip], the broadcasts of one step of k side by side; lines along K as they are, kPackedStep apart.
  void pack_strips(std::int64_t k, std::int64_t length) {
    if (along_k_) {
      for (std::int64_t row = 0; row < rows_; ++row)
        std::copy_n(strips_.at(row, k), length, packed_strips_ + row * kPackedStep);
      return;
    }
    for (std::int64_t row = 0; row < rows_; row += kStrip) {
      const std::int64_t rows = std::min<std::int64_t>(kStrip, rows_ - row);
      const T* from = strips_.at(row, k);
      T* to = packed_strips_ + row * length;
      if (rows == kStrip)
        copy_panels<kStrip>(from, strips_.k_step, length, 1, to);
      else
        for (std::int64_t i = 0; i < length; ++i) std::copy_n(from + i * strips_.k_step, rows, to + i * kStrip);
    }
  }

  // [panel][k][kPanelWidth]: lines [first, first + count), what is missing in the last panel filled with zeros.
  void pack_panels(std::int64_t first, std::int64_t count, std::int64_t k, std::int64_t length) {
    const std::int64_t whole = count - count % kPanelWidth;
    const T* from = lanes_.at(first, k);
    if (lanes_.line_step == 1) {
      copy_panels<kPanelWidth>(from, lanes_.k_step, length, whole / kPanelWidth, panels_);
    } else {
      for (std::int64_t i = 0; i < whole; i += kPanelWidth)
        transpose(from + i * lanes_.line_step, lanes_.line_step, kPanelWidth, length, panels_ + i * length,
                  kPanelWidth);
    }
    const std::int64_t rest = count - whole;
    if (rest == 0) return;
    T* to = panels_ + whole * length;
    from = lanes_.at(first + whole, k);
    if (lanes_.line_step == 1)
      for (std::int64_t i = 0; i < length; ++i) std::copy_n(from + i * lanes_.k_step, rest, to + i * kPanelWidth);
    else
      transpose(from, lanes_.line_step, rest, length, to, kPanelWidth);
    for (std::int64_t i = 0; i < length; ++i) std::fill_n(to + i * kPanelWidth + rest, kPanelWidth - rest, T{0});
  }

  void add_strip(const Panel& panel, std::int64_t row, std::int64_t rows, std::int64_t k, std::int64_t length,
                 bool add) {
    T* c = c_ + row * c_stride_ + panel.first;
    const std::int64_t width = panel.vectors * kLanes;
    // Rows of d end within a vector; those of a turned tile are padded.
    const bool at_edge = panel.lines < width && !turned_;
    const T* strip = packs_strips_ ? packed_strips_ + row * (along_k_ ? kPackedStep : length) : strips_.at(row, k);
    const std::int64_t strip_step = along_k_ ? strips_.line_step : strips_.k_step;
    const std::int64_t packed_step = along_k_ ? kPackedStep : kStrip;
    const KernelCall<T> call{strip,
                             packs_strips_ ? packed_step : strip_step,
                             panel.data,
                             length,
                             at_edge ? edge_ : c,
                             at_edge ? width : c_stride_,
                             add && !at_edge,
                             ahead_};
    if (along_k_)
      multiply<true>(panel.vectors, rows, call);
    else
      multiply<false>(panel.vectors, rows, call);
    if (!at_edge) return;
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t j = 0; j < panel.lines; ++j) {
        const T partial = edge_[r * width + j];
        T& output = c[r * c_stride_ + j];
        output = add ? output + partial : partial;
      }
  }

  template <bool kAlongK>
  static void multiply(int vectors, std::int64_t rows, const KernelCall<T>& call) {
    if (vectors == 1)
      multiply_rows<kStrip, 1, kAlongK>(rows, call);
    else
      multiply_rows<kStrip, kPanelVectors, kAlongK>(rows, call);
  }

  const MatmulTile<T>& tile_;
  const MatmulTile<T>* next_;
  bool turned_;
  std::int64_t rows_;
  std::int64_t cols_;
  OperandLines<T> strips_;
  OperandLines<T> lanes_;
  bool along_k_;  // how the strips lie
  bool packs_strips_;
  Ahead<T> ahead_{};
  std::int64_t ahead_step_ = 0;  // from strip to strip
  const T* ahead_end_ = nullptr;
  std::int64_t first_ = 0;  // column that is not done
  T* d_;
  T* c_;  // [rows_, cols_]: in d, or its transpose in the workspace
  std::int64_t c_stride_;
  T* panels_;         // [kGroup, length, kPanelWidth]
  T* edge_;           // [kStrip, width], or partials of few rows
  T* packed_strips_;  // [strips, length, kStrip]
};

void run_tile_f32(const MatmulTile<float>& tile, const MatmulTile<float>* next) { TileRun<float>(tile, next).run(); }
void run_tile_f64(const MatmulTile<double>& tile, const MatmulTile<double>* next) { TileRun<double>(tile, next).run(); }
#else
void run_tile_f32(const MatmulTile<float>& tile, const MatmulTile<float>*) { matmul_tile_plain(tile); }
void run_tile_f64(const MatmulTile<double>& tile, const MatmulTile<double>*) { matmul_tile_plain(tile); }
#endif

}  // namespace lastbit::numerics::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lastbit::numerics {

HWY_EXPORT(run_tile_f32);
HWY_EXPORT(run_tile_f64);

void matmul_tile_vector(const MatmulTile<float>& tile, const MatmulTile<float>* next) {
  HWY_DYNAMIC_DISPATCH(run_tile_f32)(tile, next);
}
void matmul_tile_vector(const MatmulTile<double>& tile, const MatmulTile<double>* next) {
  HWY_DYNAMIC_DISPATCH(run_tile_f64)(tile, next);
}

}  // namespace lastbit::numerics
#endif  // HWY_ONCE
