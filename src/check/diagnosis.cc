#include "check/diagnosis.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <string_view>

#include "check/contract_families.h"
#include "core/error.h"
#include "io/unit_file.h"
#include "numerics/units.h"
#include "tensor/cast.h"

namespace lastbit::check {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Shape;
using tensor::Tensor;

// One output of a failed case as a matrix of bytes.
struct Matrix {
  const Tensor& tensor;
  std::int64_t rows;
  std::int64_t cols;

  explicit Matrix(const Tensor& of)
      : tensor(of),
        rows(of.shape().empty() || of.shape().back() == 0 ? of.size() : of.size() / of.shape().back()),
        cols(of.shape().empty() ? 1 : of.shape().back()) {}
  [[nodiscard]] std::size_t width() const { return tensor::size_of(tensor.dtype()); }
  [[nodiscard]] std::string_view row(std::int64_t i) const {
    const std::size_t bytes = static_cast<std::size_t>(cols) * width();
    return {reinterpret_cast<const char*>(tensor.bytes().data()) + static_cast<std::size_t>(i) * bytes, bytes};
  }
  [[nodiscard]] std::uint64_t at(std::int64_t i) const {
    std::uint64_t bits = 0;
    std::memcpy(&bits, tensor.bytes().data() + static_cast<std::size_t>(i) * width(), width());
    return bits;
  }
};

bool is_zero_bytes(std::string_view bytes) {
  return std::ranges::all_of(bytes, [](char c) { return c == 0; });
}

class MismatchReader {
 public:
  MismatchReader(const OutputVerdict& verdict, const Tensor& reference, const Tensor& candidate)
      : verdict_(verdict), reference_(reference), candidate_(candidate) {
    for (std::int64_t i = 0; i < reference.size(); ++i)
      if (reference_.at(i) != candidate_.at(i)) places_.push_back(i);
  }

  std::vector<std::string> read() {
    if (constant() || single_bit() || transposed() || moved_rows() || other_order() || factor()) return causes_;
    region();
    not_numbers();
    return causes_;
  }

 private:
  void say(const std::string& text) { causes_.push_back(fmt::format("{}: {}", verdict_.output, text)); }

  bool constant() {
    const std::uint64_t first = candidate_.at(0);
    if (candidate_.tensor.size() < 2) return false;
    for (std::int64_t i = 1; i < candidate_.tensor.size(); ++i)
      if (candidate_.at(i) != first) return false;
    say(first == 0 ? "every element is zero" : fmt::format("every element has the bits 0x{:x}", first));
    return true;
  }

  bool single_bit() {
    const std::uint64_t bits = reference_.at(places_[0]) ^ candidate_.at(places_[0]);
    if (std::popcount(bits) != 1) return false;
    const auto same = [&](std::int64_t i) { return (reference_.at(i) ^ candidate_.at(i)) == bits; };
    if (!std::ranges::all_of(places_, same)) return false;
    const int bit = std::countr_zero(bits);
    if (places_.size() == 1)
      say(fmt::format("one bit of one element differs: bit {} at {}", bit, tensor::to_string(coordinates(places_[0]))));
    else
      say(fmt::format("bit {} and no other differs in {} elements", bit, places_.size()));
    return true;
  }

  bool transposed() {
    if (reference_.rows != reference_.cols || reference_.rows < 2) return false;
    for (std::int64_t i = 0; i < reference_.rows; ++i)
      for (std::int64_t j = 0; j < reference_.cols; ++j)
        if (candidate_.at(i * reference_.cols + j) != reference_.at(j * reference_.cols + i)) return false;
    say("the transposed result");
    return true;
  }

  // Rows that hold another row of the reference.
  bool moved_rows() {
    if (reference_.rows < 2) return false;
    std::map<std::string_view, std::int64_t> rows;
    for (std::int64_t i = 0; i < reference_.rows; ++i) rows.emplace(reference_.row(i), i);
    if (std::ssize(rows) < 2) return false;
    std::vector<std::pair<std::int64_t, std::int64_t>> moved;
    std::int64_t differing = 0;
    for (std::int64_t i = 0; i < reference_.rows; ++i) {
      if (reference_.row(i) == candidate_.row(i)) continue;
      ++differing;
      const auto found = rows.find(candidate_.row(i));
      if (found != rows.end() && !is_zero_bytes(candidate_.row(i))) moved.emplace_back(i, found->second);
    }
    if (moved.empty() || 2 * std::ssize(moved) < differing) return false;
    const auto [to, from] = moved.front();
    const bool swapped = std::ranges::find(moved, std::pair(from, to)) != moved.end();
    say(fmt::format("rows in other places: row {} holds the reference's row {}{}; {} of {} differing rows are such", to,
                    from, swapped ? " and the reverse (swapped)" : "", moved.size(), differing));
    return true;
  }

  // Integers: each row has the reference's values in another order.
  bool other_order() {
    if (tensor::format_of(reference_.tensor.dtype()) || reference_.cols < 2) return false;
    for (std::int64_t row = 0; row < reference_.rows; ++row) {
      std::vector<std::uint64_t> a;
      std::vector<std::uint64_t> b;
      for (std::int64_t i = row * reference_.cols; i < (row + 1) * reference_.cols; ++i) {
        a.push_back(reference_.at(i));
        b.push_back(candidate_.at(i));
      }
      std::ranges::sort(a);
      std::ranges::sort(b);
      if (a != b) return false;
    }
    say("the reference's values, in another order within rows");
    return true;
  }

  [[nodiscard]] double value(const Matrix& matrix, std::int64_t i) const {
    const auto format = tensor::format_of(matrix.tensor.dtype());
    return format ? static_cast<double>(numerics::decode(static_cast<std::uint32_t>(matrix.at(i)), *format)) : 0.0;
  }

  // All mismatching numbers are the reference's times one factor.
  bool factor() {
    if (!tensor::format_of(reference_.tensor.dtype())) return false;
    std::vector<double> ratios;
    for (const std::int64_t i : places_) {
      const double want = value(reference_, i);
      const double have = value(candidate_, i);
      if (std::isfinite(want) && std::isfinite(have) && want != 0 && have != 0) ratios.push_back(have / want);
    }
    if (ratios.size() < 4) return false;
    std::ranges::sort(ratios);
    const double middle = ratios[ratios.size() / 2];
    if (std::abs(middle - 1) < 0.02) return false;
    const auto near = std::ranges::count_if(
        ratios, [&](double ratio) { return std::abs(ratio - middle) <= 0.01 * std::abs(middle); });
    if (static_cast<double>(near) < 0.95 * static_cast<double>(ratios.size())) return false;
    say(middle == -1 ? fmt::format("the sign is reversed in {} elements", near)
                     : fmt::format("a wrong scale: {:.6g} times the reference in {} of {} elements that differ", middle,
                                   near, ratios.size()));
    return true;
  }

  // Rows and columns that mismatches keep to.
  void region() {
    std::int64_t first_row = reference_.rows;
    std::int64_t last_row = -1;
    std::int64_t first_col = reference_.cols;
    std::int64_t last_col = -1;
    bool zero = true;
    for (const std::int64_t i : places_) {
      first_row = std::min(first_row, i / reference_.cols);
      last_row = std::max(last_row, i / reference_.cols);
      first_col = std::min(first_col, i % reference_.cols);
      last_col = std::max(last_col, i % reference_.cols);
      zero = zero && candidate_.at(i) == 0;
    }
    std::string where;
    if (first_row > 0 || last_row + 1 < reference_.rows)
      where += fmt::format(" rows {} to {} of {}", first_row, last_row, reference_.rows);
    if (first_col > 0 || last_col + 1 < reference_.cols)
      where += fmt::format("{} columns {} to {} of {}", where.empty() ? "" : ",", first_col, last_col, reference_.cols);
    const bool tail =
        (first_row > 0 && last_row + 1 == reference_.rows) || (first_col > 0 && last_col + 1 == reference_.cols);
    if (!where.empty())
      say(fmt::format("all mismatches lie in{}{}{}", where, tail ? ": the tail" : "",
                      zero ? ", where the candidate is zero" : ""));
    else if (zero)
      say(fmt::format("the candidate is zero in all {} elements that differ", places_.size()));
  }

  void not_numbers() {
    std::int64_t nans = 0;
    std::int64_t hidden = 0;
    for (const std::int64_t i : places_) {
      const bool want = std::isfinite(value(reference_, i));
      const bool have = std::isfinite(value(candidate_, i));
      nans += want && !have ? 1 : 0;
      hidden += !want && have ? 1 : 0;
    }
    if (nans > 0) say(fmt::format("{} NaN or Inf where the reference is finite", nans));
    if (hidden > 0) say(fmt::format("{} finite numbers where the reference is NaN or Inf", hidden));
  }

  [[nodiscard]] Shape coordinates(std::int64_t i) const {
    Shape result(verdict_.shape.size());
    for (std::size_t axis = result.size(); axis-- > 0;) {
      result[axis] = i % verdict_.shape[axis];
      i /= verdict_.shape[axis];
    }
    return result;
  }

  const OutputVerdict& verdict_;
  Matrix reference_;
  Matrix candidate_;
  std::vector<std::int64_t> places_;
  std::vector<std::string> causes_;
};

const ContractOutput& output_named(const Contract& contract, const std::string& name) {
  for (const ContractOutput& output : contract.outputs)
    if (output.array.name == name) return output;
  core::check(false, "an output of the contract");
  return contract.outputs.front();
}

// The share of elements of all outputs that `expected` accepts.
double share_explained(const Contract& contract, const ExpectedOutputs& expected, const NamedTensors& candidate) {
  std::int64_t accepted = 0;
  std::int64_t elements = 0;
  for (const auto& [name, value] : expected) {
    const auto found = candidate.find(name);
    if (found == candidate.end()) return 0;
    const OutputVerdict verdict = judge(output_named(contract, name), value, found->second);
    if (!verdict.difference.empty()) return 0;
    elements += verdict.elements;
    accepted += verdict.elements - verdict.mismatches;
  }
  return elements == 0 ? 0 : static_cast<double>(accepted) / static_cast<double>(elements);
}

Contract::Part part_of(const Contract& contract, const FailedCase& failed) {
  if (contract.narrow == nullptr) return {failed.inputs, failed.candidate};
  std::int64_t element = 0;
  for (const OutputVerdict& verdict : failed.verdicts) element = std::max(element, verdict.first_element);
  return contract.narrow(failed.inputs, failed.candidate, element);
}

std::string percent(double share) {
  return share == 1 ? "100 %" : fmt::format("{:.2f} %", std::min(100 * share, 99.99));
}

// The mean share over the parts, or nothing where the reference refuses the settings; early where it cannot exceed
// `give_up_below`.
std::optional<double> mean_share(const Contract& contract, const ContractSettings& settings,
                                 const std::vector<Contract::Part>& parts, double give_up_below) {
  const auto count = static_cast<double>(parts.size());
  double mean = 1;
  try {
    for (const Contract::Part& part : parts) {
      mean -= (1 - share_explained(contract, contract.expect(part.inputs, settings), part.outputs)) / count;
      if (mean <= give_up_below) return mean;
    }
  } catch (const core::Error& error) {
    if (error.kind() != core::ErrorKind::kInput) throw;
    return std::nullopt;
  }
  return std::abs(mean - 1) < 1e-12 ? 1 : mean;
}

// The row of the first mismatch as prefixes of 1, 2, ... steps, under the columns of B that it needs.
NamedTensors prefix_inputs(const FailedCase& failed, std::int64_t row, std::int64_t step) {
  const Tensor& a = input(failed.inputs, "a");
  const std::int64_t k = a.dim(1);
  const std::int64_t steps = (k + step - 1) / step;
  const std::size_t width = tensor::size_of(a.dtype());
  Tensor prefixes = Tensor::zeros(a.dtype(), {steps, k});
  for (std::int64_t i = 0; i < steps; ++i)
    std::memcpy(prefixes.mutable_bytes().data() + static_cast<std::size_t>(i * k) * width,
                a.bytes().data() + static_cast<std::size_t>(row * k) * width,
                static_cast<std::size_t>(std::min(k, (i + 1) * step)) * width);
  NamedTensors inputs{{"a", prefixes}, {"b", input(failed.inputs, "b")}};
  if (!failed.inputs.contains("scale_a")) return inputs;
  const Tensor scale = failed.inputs.at("scale_a").slice(0, row, row + 1).contiguous();
  Tensor scales = Tensor::empty(DType::kF32, {steps, scale.dim(1)});
  for (std::int64_t i = 0; i < steps; ++i)
    std::ranges::copy(scale.values<float>(), scales.mutable_values<float>().begin() + i * scale.dim(1));
  inputs.emplace("scale_a", scales);
  inputs.emplace("scale_b", failed.inputs.at("scale_b"));
  return inputs;
}

}  // namespace

std::vector<std::string> describe_mismatches(const Contract& contract, const FailedCase& failed) {
  (void)contract;
  std::vector<std::string> causes;
  for (const OutputVerdict& verdict : failed.verdicts) {
    const auto candidate = failed.candidate.find(verdict.output);
    if (verdict.match() || !verdict.difference.empty() || candidate == failed.candidate.end()) continue;
    const Tensor& reference = failed.expected.at(verdict.output).value;
    if (candidate->second.nbytes() != reference.nbytes()) continue;
    const std::vector<std::string> of_output =
        MismatchReader(verdict, reference, candidate->second.contiguous()).read();
    causes.insert(causes.end(), of_output.begin(), of_output.end());
  }
  return causes;
}

std::vector<std::string> explain_by_alternatives(const Contract& contract, const ContractSettings& settings,
                                                 const std::vector<FailedCase>& failed, bool* explained) {
  if (contract.alternatives == nullptr || failed.empty()) return {};
  std::vector<Contract::Part> parts;
  parts.reserve(failed.size());
  for (const FailedCase& one : failed) parts.push_back(part_of(contract, one));
  const double own = mean_share(contract, settings, parts, -1).value_or(0);
  std::vector<const Alternative*> best;  // several that give all outputs cannot be told apart by these cases
  double best_share = own;
  const std::vector<Alternative> alternatives = contract.alternatives(settings);
  for (const Alternative& alternative : alternatives) {
    const double enough = best_share == 1 ? 1 - 1e-9 : best_share;
    const std::optional<double> share = mean_share(contract, settings.with(alternative.changes), parts, enough);
    if (!share || *share <= enough) continue;
    if (best_share < 1) best.clear();
    best.push_back(&alternative);
    best_share = *share;
  }
  if (best.empty() || (best_share < 1 && best_share - own < 0.02)) return {};
  if (explained != nullptr) *explained = best_share == 1;
  constexpr std::size_t kMostTold = 3;
  std::string meaning = best[0]->meaning;
  for (std::size_t i = 1; i < std::min(best.size(), kMostTold); ++i) meaning += ", or " + best[i]->meaning;
  return {fmt::format("matches {} in {} of outputs{} (the contract in {})", meaning, percent(best_share),
                      failed.size() == 1 ? "" : fmt::format(" of {} failed cases", failed.size()), percent(own))};
}

std::vector<std::string> find_first_step(const Contract& contract, const ContractSettings& settings,
                                         const FailedCase& failed, const Implementation& implementation) {
  if (!contract.outputs.empty() && contract.narrow == nullptr) return {};
  if (!failed.inputs.contains("a") || failed.inputs.contains("group_of_row") || failed.verdicts.size() != 1 ||
      failed.verdicts[0].first_element < 0)
    return {};
  const std::int64_t n = input(failed.inputs, "b").dim(0);
  const std::int64_t row = failed.verdicts[0].first_element / n;
  const std::int64_t col = failed.verdicts[0].first_element % n;
  const numerics::Format a = *numerics::find_format(settings.text("a_type"));
  const numerics::Format b = *numerics::find_format(settings.text("b_type"));
  const std::int64_t step =
      numerics::rule_of(io::find_unit(settings.text("unit")), a, b, numerics::Format::kF32).step_k;
  const NamedTensors inputs = prefix_inputs(failed, row, step);
  const ExpectedOutputs expected = contract.expect(inputs, settings);
  const Tensor& reference = expected.at("d").value;
  const KernelRun run =
      implementation.run({contract, settings, inputs, {{"d", reference.dtype(), reference.shape()}}, "first_step"});
  if (run.status != RunStatus::kRan || run.results.empty() || !run.results[0].contains("d")) return {};
  const Tensor& candidate = run.results[0].at("d");
  if (candidate.shape() != reference.shape() || candidate.dtype() != reference.dtype()) return {};
  const Matrix want(reference);
  const Matrix have(candidate);
  for (std::int64_t i = 0; i < want.rows; ++i) {
    const std::int64_t at = i * n + col;
    if (want.at(at) == have.at(at)) continue;
    return {fmt::format(
        "d[{}, {}]: results part at step {} of {}, elements {} to {} of K: reference 0x{:0{}x}, candidate 0x{:0{}x}",
        row, col, i, want.rows, i * step, std::min((i + 1) * step, input(inputs, "a").dim(1)) - 1, want.at(at),
        2 * want.width(), have.at(at), 2 * want.width())};
  }
  return {};
}

}  // namespace lastbit::check
