#include "train/metrics_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/file_bytes.h"
#include "io/json.h"

namespace lastbit::train {
namespace {

using nlohmann::json;

// The lines that end in a line break.
std::vector<std::string_view> whole_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    if (end == std::string_view::npos) break;
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

// "model.layers.3.mlp.experts.17.gate_proj" -> "mlp.experts.gate_proj"
std::string kind_of(const std::string& site) {
  std::string kind;
  for (std::size_t begin = 0; begin < site.size();) {
    const std::size_t end = std::min(site.find('.', begin), site.size());
    const std::string_view part = std::string_view(site).substr(begin, end - begin);
    const bool number = part.find_first_not_of("0123456789") == std::string_view::npos;
    if (!number && part != "model" && part != "layers") kind += (kind.empty() ? "" : ".") + std::string(part);
    begin = end + 1;
  }
  return kind;
}

double share_of(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

MetricsLog::MetricsLog(std::string path, std::int64_t step) : path_(std::move(path)) {
  std::string kept;
  if (step > 0 && std::filesystem::exists(path_)) {
    const auto file = io::FileBytes::open(path_);
    for (const std::string_view line : whole_lines(file->text())) {
      const json object = json::parse(line, nullptr, false);
      if (object.is_object() && object.value("step", std::int64_t{0}) <= step) kept += std::string(line) + "\n";
    }
  }
  io::write_text_file(path_, kept);
}

void MetricsLog::append(const json& line) {
  const std::string text = line.dump() + "\n";
  const int descriptor = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  const ssize_t written = descriptor < 0 ? -1 : ::write(descriptor, text.data(), text.size());
  const int error = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (written < 0) core::fail_io("{}: cannot write: {}", path_, std::strerror(error));
  if (written != std::ssize(text)) core::fail_io("{}: cannot write a whole line: the disk is full", path_);
}

std::vector<json> read_metrics(const std::string& path) {
  const auto file = io::FileBytes::open(path);
  std::vector<json> lines;
  for (const std::string_view line : whole_lines(file->text()))
    lines.push_back(io::parse_json(line, fmt::format("{}:{}", path, lines.size() + 1)));
  return lines;
}

json to_json(const StepReport& report) {
  json layers = json::array();
  double worst = 0;
  for (const LayerLoad& layer : report.layers) {
    worst = std::max(worst, layer.max_violation);
    layers.push_back({{"layer", layer.layer},
                      {"load", layer.load},
                      {"max_violation", layer.max_violation},
                      {"deviation", layer.deviation},
                      {"entropy", layer.entropy},
                      {"dropped", layer.dropped},
                      {"auxiliary_loss", layer.auxiliary_loss},
                      {"share_on_nodes", layer.share_on_nodes.empty() ? json(nullptr) : json(layer.share_on_nodes)}});
  }
  return {{"step", report.step},
          {"tokens", report.tokens},
          {"sequences", report.sequences},
          {"loss", report.loss},
          {"main_loss", report.main_loss},
          {"mtp_loss", report.mtp_loss},
          {"balance_loss", report.balance_loss},
          {"learning_rate", report.learning_rate},
          {"gradient_norm", report.gradient_norm},
          {"clip_factor", report.clip_factor},
          {"bias_rate", report.bias_rate},
          {"mtp_weight", report.mtp_weight},
          {"max_violation", worst},
          {"layers", layers},
          {"passes_s", report.passes_s},
          {"optimiser_s", report.optimiser_s},
          {"step_s", report.step_s}};
}

json summarise_shadow(const ops::Shadow& shadow) {
  struct Sum {
    double difference_squares = 0;
    double shadow_squares = 0;
    ops::OperandLoss operands;
  };
  std::map<std::pair<std::string, std::string>, Sum> sums;
  for (const ops::ProductLoss& loss : shadow.losses()) {
    Sum& sum = sums[{kind_of(loss.site), loss.product}];
    sum.difference_squares += loss.difference_squares;
    sum.shadow_squares += loss.shadow_squares;
    for (const ops::OperandLoss* operand : {&loss.left, &loss.right}) {
      sum.operands.elements += operand->elements;
      sum.operands.flushed += operand->flushed;
      sum.operands.saturated += operand->saturated;
    }
  }
  json result = json::object();
  for (const auto& [key, sum] : sums)
    result[key.first][key.second] = {
        {"relative_error", sum.shadow_squares > 0 ? std::sqrt(sum.difference_squares / sum.shadow_squares) : 0},
        {"flushed_share", share_of(sum.operands.flushed, sum.operands.elements)},
        {"saturated_share", share_of(sum.operands.saturated, sum.operands.elements)}};
  return result;
}

}  // namespace lastbit::train
