#include "sim/report/gantt_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "core/error.h"
#include "io/html_page.h"

namespace lastbit::sim::report {
namespace {

using schedule::Chunk;
using schedule::Op;
using schedule::Verb;

constexpr std::size_t kMostVerbsDrawn = 200'000;
// Pixels.
constexpr double kLeft = 64;        // of the plot: rank names stand before it
constexpr double kRight = 150;      // after it: bubble and peak
constexpr double kTop = 64;         // title and legend
constexpr double kRow = 26;         // a rank's bar
constexpr double kPitch = 32;       // from bar to bar
constexpr double kAxis = 34;        // ticks and their numbers
constexpr double kStream = 22;      // a stream's bar in the chunk's picture
constexpr double kCharacter = 6.6;  // the width of one, at 11 px

struct Paint {
  const char* first;  // of slot 0
  const char* other;
};
constexpr Paint kForwardPaint{"#6fa8e8", "#2f6fb8"};
constexpr Paint kBackwardPaint{"#7cc58a", "#3c8a4e"};
constexpr Paint kInputPaint{"#8fd6cf", "#3d9a92"};
constexpr Paint kWeightPaint{"#f2b866", "#cc8420"};

const char* colour(const Paint& paint, const Chunk& chunk) { return chunk.slot == 0 ? paint.first : paint.other; }

// 1, 2 or 5 times a power of ten: at most `ticks` over `total`.
double tick_step(double total, double ticks) {
  const double rough = total / ticks;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= rough) return factor * power;
  return 10 * power;
}

class Drawing {
 public:
  Drawing(double total_s, double plot_width, double height)
      : total_s_(total_s), plot_(plot_width), width_(kLeft + plot_width + kRight) {
    fmt::format_to(out(),
                   R"(<svg xmlns="http://www.w3.org/2000/svg" width="{0:.0f}" height="{1:.0f}" viewBox="0 0 {0:.0f} )"
                   R"({1:.0f}" font-family="sans-serif" font-size="11">)"
                   "\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
                   width_, height);
  }

  [[nodiscard]] double x(double time_s) const { return kLeft + (total_s_ > 0 ? time_s / total_s_ * plot_ : 0); }
  [[nodiscard]] double plot() const { return plot_; }
  // The same width of plot for another span of time.
  void rescale(double total_s) { total_s_ = total_s; }

  void bar(double start_s, double end_s, double top, double height, const char* fill) {
    fmt::format_to(out(),
                   R"(<rect x="{:.2f}" y="{:.1f}" width="{:.2f}" height="{:.1f}" fill="{}" stroke="#ffffff" )"
                   "stroke-width=\"0.6\"/>",
                   x(start_s), top, std::max(0.3, x(end_s) - x(start_s)), height, fill);
  }

  void text(double left, double base, std::string_view words, std::string_view style = "") {
    fmt::format_to(out(), R"(<text x="{:.1f}" y="{:.1f}"{}{}>{}</text>)", left, base, style.empty() ? "" : " ", style,
                   io::xml_escaped(words));
  }

  // In the middle of a bar, if it fits; `light` on a dark one.
  void caption(double start_s, double end_s, double base, const std::string& words, bool light = false) {
    if (x(end_s) - x(start_s) < kCharacter * static_cast<double>(words.size()) + 2) return;
    text((x(start_s) + x(end_s)) / 2, base, words,
         light ? R"(text-anchor="middle" fill="#ffffff")" : R"(text-anchor="middle")");
  }

  void begin_group(std::string_view tooltip) {
    fmt::format_to(out(), "<g><title>{}</title>", io::xml_escaped(tooltip));
  }
  void end_group() { text_ += "</g>\n"; }

  void axis(double top, double base) {
    constexpr double kBetweenTicks = 110;
    const double step = tick_step(total_s_, plot_ / kBetweenTicks);
    for (int i = 0; i * step <= total_s_ * (1 + 1e-9); ++i) {
      fmt::format_to(out(), R"(<path d="M{0:.1f} {1:.1f}V{2:.1f}" stroke="#d8d8d8" stroke-width="0.7"/>)", x(i * step),
                     top, base + 4);
      text(x(i * step), base + 17, fmt::format("{:.6g}", i * step), R"(text-anchor="middle" fill="#555555")");
    }
    text_ += '\n';
  }

  std::string finish() && {
    text_ += "</svg>\n";
    return std::move(text_);
  }

 private:
  std::back_insert_iterator<std::string> out() { return std::back_inserter(text_); }

  std::string text_;
  double total_s_;
  double plot_;
  double width_;
};

void draw_verb(Drawing& drawing, const schedule::TimedOp& timed, schedule::LabelStyle style, double top) {
  const Op& op = timed.op;
  const double start = timed.start.s;
  const double end = timed.end.s;
  drawing.begin_group(fmt::format("{}: {:.6g} to {:.6g}", label(op, style), start, end));
  if (op.verb == Verb::kFused) {
    drawing.bar(start, end, top, kRow / 2, colour(kForwardPaint, op.chunk));
    drawing.bar(start, end, top + kRow / 2, kRow / 2, colour(kBackwardPaint, op.second));
    drawing.caption(start, end, top + kRow / 2 - 3, std::to_string(op.chunk.micro_batch), op.chunk.slot != 0);
    drawing.caption(start, end, top + kRow - 3, std::to_string(op.second.micro_batch), op.second.slot != 0);
  } else {
    const Paint& paint = op.verb == Verb::kForward         ? kForwardPaint
                         : op.verb == Verb::kBackward      ? kBackwardPaint
                         : op.verb == Verb::kBackwardInput ? kInputPaint
                                                           : kWeightPaint;
    drawing.bar(start, end, top, kRow, colour(paint, op.chunk));
    drawing.caption(start, end, top + kRow / 2 + 4, std::to_string(op.chunk.micro_batch), op.chunk.slot != 0);
  }
  drawing.end_group();
}

void draw_legend(Drawing& drawing, bool second_slot, bool fused) {
  const std::pair<const char*, Paint> entries[] = {{"F forward", kForwardPaint},
                                                   {"B full backward", kBackwardPaint},
                                                   {"input gradient", kInputPaint},
                                                   {"W weight gradient", kWeightPaint}};
  double left = kLeft;
  drawing.rescale(drawing.plot());  // times are pixels here
  for (const auto& [name, paint] : entries) {
    drawing.bar(left - kLeft, left - kLeft + 14, 34, 12, paint.first);
    if (second_slot) drawing.bar(left - kLeft + 14, left - kLeft + 28, 34, 12, paint.other);
    drawing.text(left + (second_slot ? 34 : 20), 44, name);
    left += 150;
  }
  const std::string darker = second_slot ? "darker: a rank's other slots" : "";
  drawing.text(left, 44, fused ? "halves: overlapped F&B; " + darker : darker);
}

void draw_chunk(Drawing& drawing, const ChunkPicture& chunk, double top) {
  drawing.text(kLeft, top, chunk.title, R"(font-weight="bold")");
  drawing.rescale(chunk.run.total.s);
  const double first = top + 10;
  drawing.axis(first, first + 2 * kStream + 8);
  drawing.text(kLeft - 8, first + 15, "compute", R"(text-anchor="end")");
  drawing.text(kLeft - 8, first + kStream + 21, "network", R"(text-anchor="end")");
  for (const schedule::OperatorSpan& span : chunk.run.spans) {
    const bool weight = span.name.ends_with("weight");
    const char* fill = !span.of_backward ? kForwardPaint.first : weight ? kWeightPaint.first : kBackwardPaint.first;
    const double row = first + (span.communication ? kStream + 6 : 0);
    drawing.begin_group(fmt::format("{}: {:.6g} to {:.6g}", span.name, span.start.s, span.end.s));
    drawing.bar(span.start.s, span.end.s, row, kStream, fill);
    const std::string name = span.name.substr(0, span.name.find('_'));
    drawing.caption(span.start.s, span.end.s, row + 15, name == "attention" ? "attn" : name);
    drawing.end_group();
  }
}

}  // namespace

std::string gantt_svg(const schedule::Schedule& schedule, const schedule::Execution& execution,
                      const std::optional<ChunkPicture>& chunk) {
  std::size_t verbs = 0;
  std::size_t most = 0;
  for (const auto& timeline : execution.timeline) {
    verbs += timeline.size();
    most = std::max(most, timeline.size());
  }
  if (verbs > kMostVerbsDrawn) core::fail_input("a chart of {} verbs: expected at most {}", verbs, kMostVerbsDrawn);
  constexpr double kNarrowest = 900;
  constexpr double kWidest = 6000;
  const double plot = std::clamp(18.0 * static_cast<double>(most), kNarrowest, kWidest);
  const double base = kTop + kPitch * static_cast<double>(execution.timeline.size());
  const double chunk_height = chunk ? 2 * kStream + 90 : 0;
  Drawing drawing(execution.total.s, plot, base + kAxis + chunk_height);
  drawing.text(kLeft, 22,
               fmt::format("{}: {} ranks, {} micro-batches, total {:.6g}", schedule.kind, schedule.ranks,
                           schedule.micro_batches, execution.total.s),
               R"(font-size="15" font-weight="bold")");
  draw_legend(drawing, schedule.slots > 1, has_fused(schedule));
  drawing.rescale(execution.total.s);
  if (execution.total.s > 0) drawing.axis(kTop - 6, base);
  drawing.text(kLeft + plot + 10, kTop - 10, "bubble");
  drawing.text(kLeft + plot + 72, kTop - 10, "in flight");
  for (std::size_t rank = 0; rank < execution.timeline.size(); ++rank) {
    const double top = kTop + kPitch * static_cast<double>(rank);
    drawing.text(kLeft - 8, top + 17, fmt::format("rank {}", rank), R"(text-anchor="end")");
    for (const schedule::TimedOp& timed : execution.timeline[rank]) draw_verb(drawing, timed, schedule.labels, top);
    const double share = execution.total.s > 0 ? 100 * execution.bubble[rank].s / execution.total.s : 0;
    drawing.text(kLeft + plot + 10, top + 17, fmt::format("{:.2f} %", share));
    drawing.text(kLeft + plot + 72, top + 17, std::to_string(execution.peak_in_flight[rank]));
  }
  if (chunk && chunk->run.total.s > 0) draw_chunk(drawing, *chunk, base + kAxis + 20);
  return std::move(drawing).finish();
}

}  // namespace lastbit::sim::report
