#include "check/probe.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "check/contract_families.h"
#include "check/verdict.h"
#include "core/error.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "numerics/operands.h"
#include "tensor/cast.h"
#include "tensor/codes.h"

namespace lastbit::check {
namespace {

using numerics::Accumulation;
using numerics::Format;
using numerics::MmaRule;
using numerics::Rounding;
using numerics::UnitRow;
using tensor::DType;
using tensor::NamedTensors;
using tensor::Tensor;

constexpr int kMostFraction = 35;  // of a unit file
constexpr int kMostStepK = 64;
constexpr int kMostAlignment = 400;  // beyond it no exponent of any format reaches

DType dtype_of(Format format) {
  switch (format) {
    case Format::kE4M3:
      return DType::kE4M3;
    case Format::kE5M2:
      return DType::kE5M2;
    case Format::kE4M3Fnuz:
      return DType::kE4M3Fnuz;
    case Format::kE5M2Fnuz:
      return DType::kE5M2Fnuz;
    case Format::kF16:
      return DType::kF16;
    case Format::kBF16:
      return DType::kBF16;
    case Format::kF32:
      return DType::kF32;
    default:
      return tensor::code_dtype(format);
  }
}

// One answer: row a_row of A with row b_row of B after c.
struct Record {
  std::int64_t a_row;
  std::int64_t b_row;
  std::uint32_t c;
  std::uint32_t d;
};

// All answers, operands taken apart once.
class Evidence {
 public:
  Evidence(const ProbeQuestion& question, const Tensor& a, const Tensor& b, std::optional<Format> output)
      : question_(question), output_(output) {
    const numerics::CodeMatrix codes_a = tensor::code_matrix(a, question.a, "a");
    const numerics::CodeMatrix codes_b = tensor::code_matrix(b, question.b, "b");
    a_.assign(codes_a, 0, codes_a.rows, 0, question.k, question.k + kMostStepK);
    b_.assign(codes_b, 0, codes_b.rows, 0, question.k, question.k + kMostStepK);
  }

  void add(const Record& record) { records_.push_back(record); }
  [[nodiscard]] const std::vector<Record>& records() const { return records_; }
  // Different answers first: those that rules seldom agree on.
  void shuffle() {
    const core::RandomStream stream(1, "probe order");
    for (std::size_t i = records_.size(); i > 1; --i) std::swap(records_[i - 1], records_[stream.word(i) % i]);
  }

  [[nodiscard]] bool agrees(const MmaRule& rule, const Record& record) const {
    std::uint32_t accumulator = record.c;
    for (std::int64_t k = 0; k < question_.k; k += rule.step_k)
      accumulator = numerics::mma_step(rule, a_.at(record.a_row, k), b_.at(record.b_row, k), accumulator);
    if (output_ && *output_ != question_.d)
      accumulator = numerics::encode(numerics::decode(accumulator, question_.d), *output_,
                                     numerics::default_encode_options(*output_));
    if (accumulator == record.d) return true;
    const Format format = output_.value_or(question_.d);
    return std::isnan(numerics::decode(accumulator, format)) && std::isnan(numerics::decode(record.d, format));
  }
  [[nodiscard]] std::int64_t agreements(const MmaRule& rule) const {
    return std::ranges::count_if(records_, [&](const Record& record) { return agrees(rule, record); });
  }
  // Up to the first that differs.
  [[nodiscard]] std::size_t agrees_until(const MmaRule& rule) const {
    std::size_t i = 0;
    while (i < records_.size() && agrees(rule, records_[i])) ++i;
    return i;
  }

 private:
  const ProbeQuestion& question_;
  std::optional<Format> output_;
  numerics::OperandPanel a_;
  numerics::OperandPanel b_;
  std::vector<Record> records_;
};

MmaRule rule_of_row(const ProbeQuestion& question, const UnitRow& row) {
  MmaRule rule;
  rule.a = question.a;
  rule.b = question.b;
  rule.d = question.d;
  rule.accumulation = row.accumulation;
  rule.fraction_bits = row.fraction_bits;
  rule.step_k = row.step_k;
  rule.output_grid = row.output_grid;
  rule.output_rounding = row.output_rounding;
  rule.zero_exponent = row.zero_exponent;
  rule.least_alignment = row.least_alignment;
  if (question.d == Format::kF16) rule.nan_code = 0x7fffu;
  return rule;
}

// Every rule that a unit file can say, but for the variants; simple ones first.
std::vector<UnitRow> all_rules(const ProbeQuestion& question) {
  std::vector<UnitRow> rules;
  const std::vector<Format> grids = question.d == Format::kF32
                                        ? std::vector<Format>{Format::kF32, Format::kE8M13, Format::kTF32}
                                        : std::vector<Format>{Format::kF16};
  const int most_step = static_cast<int>(std::min<std::int64_t>(kMostStepK, question.k));
  for (const Accumulation accumulation : {Accumulation::kTruncated, Accumulation::kFp16Halves, Accumulation::kCdna3,
                                          Accumulation::kCdna3Split, Accumulation::kExact})
    for (int step = 1; step <= most_step; ++step)
      for (const Format grid : grids)
        for (const Rounding rounding : {Rounding::kTowardZero, Rounding::kNearestEven})
          for (int bits = 0; bits <= (accumulation == Accumulation::kExact ? 0 : kMostFraction); ++bits) {
            UnitRow row{};
            row.operands = {question.a};
            row.accumulation = accumulation;
            row.fraction_bits = bits;
            row.step_k = step;
            row.d = question.d;
            row.output_grid = grid;
            row.output_rounding = rounding;
            row.evidence = numerics::Evidence::kUnverified;
            rules.push_back(row);
          }
  return rules;
}

// How many records each rule gives before its first wrong one.
std::vector<std::size_t> lengths_of(const ProbeQuestion& question, const Evidence& evidence,
                                    const std::vector<UnitRow>& rules) {
  std::vector<std::size_t> lengths(rules.size());
  core::parallel_for(std::ssize(rules), 256, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
      lengths[i] = evidence.agrees_until(rule_of_row(question, rules[i]));
  });
  return lengths;
}

// The variants of numerics/mma.h on top of rules that give nearly everything: one exponent, then both.
std::vector<UnitRow> with_readings(const std::vector<UnitRow>& rules, bool both) {
  std::vector<UnitRow> all;
  for (const UnitRow& rule : rules) {
    if (rule.accumulation != Accumulation::kTruncated) continue;
    for (int zero = -kMostAlignment; zero <= kMostAlignment; ++zero) {
      UnitRow row = rule;
      row.zero_exponent = zero;
      if (!both) {
        all.push_back(row);
        row.zero_exponent.reset();
        row.least_alignment = zero;
        all.push_back(row);
        continue;
      }
      for (int least = -200; least <= 0; ++least) {
        row.least_alignment = least;
        all.push_back(row);
      }
    }
  }
  return all;
}

std::string describe_rule(const UnitRow& row) {
  std::string text = fmt::format("{}, K {} a step, {} to {} {}", numerics::to_string(row.accumulation), row.step_k,
                                 numerics::name(row.d), numerics::name(row.output_grid),
                                 row.output_rounding == Rounding::kTowardZero ? "toward zero" : "to nearest");
  if (row.accumulation != Accumulation::kExact) text += fmt::format(", F {}", row.fraction_bits);
  if (row.zero_exponent) text += fmt::format(", zeros in E at {}", *row.zero_exponent);
  if (row.least_alignment) text += fmt::format(", E at least {}", *row.least_alignment);
  return text;
}

class RuleSearch {
 public:
  RuleSearch(const ProbeQuestion& question, const Evidence& evidence) : question_(question), evidence_(evidence) {}

  ProbeAnswer run() {
    answer_.records = std::ssize(evidence_.records());
    const std::vector<UnitRow> rules = all_rules(question_);
    std::vector<UnitRow> closest = keep_whole(rules);
    // Rules that fail nowhere but where zeros or tiny numbers decide: the few that give the most.
    if (!answer_.found) closest = keep_whole(with_readings(closest, false));
    if (!answer_.found) closest = keep_whole(with_readings(plain(closest), true));
    answer_.matched = answer_.found ? answer_.records : evidence_.agreements(rule_of_row(question_, answer_.row));
    return std::move(answer_);
  }

 private:
  // Those that give everything go to the answer; returns the few that give the most.
  std::vector<UnitRow> keep_whole(const std::vector<UnitRow>& rules) {
    if (rules.empty()) return {};
    const std::vector<std::size_t> lengths = lengths_of(question_, evidence_, rules);
    std::vector<UnitRow> whole;
    for (std::size_t i = 0; i < rules.size(); ++i)
      if (lengths[i] == evidence_.records().size()) whole.push_back(rules[i]);
    if (!whole.empty()) {
      answer_.found = true;
      answer_.row = whole.front();
      tell_ties(whole);
      return {};
    }
    // By agreements rather than by the first difference, among those that went furthest.
    std::vector<std::size_t> order(rules.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    constexpr std::size_t kCounted = 200;
    constexpr std::size_t kKept = 4;
    std::ranges::stable_sort(order, [&](std::size_t x, std::size_t y) { return lengths[x] > lengths[y]; });
    order.resize(std::min(order.size(), kCounted));
    std::vector<std::int64_t> counts(order.size());
    core::parallel_for(std::ssize(order), 4, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
        counts[i] = evidence_.agreements(rule_of_row(question_, rules[order[i]]));
    });
    std::vector<std::size_t> best(order.size());
    for (std::size_t i = 0; i < best.size(); ++i) best[i] = i;
    std::ranges::stable_sort(best, [&](std::size_t x, std::size_t y) { return counts[x] > counts[y]; });
    std::vector<UnitRow> closest;
    for (std::size_t i = 0; i < std::min(kKept, best.size()); ++i) closest.push_back(rules[order[best[i]]]);
    answer_.row = closest.front();
    return closest;
  }

  static std::vector<UnitRow> plain(const std::vector<UnitRow>& rules) {
    std::vector<UnitRow> all;
    for (UnitRow row : rules) {
      row.zero_exponent.reset();
      row.least_alignment.reset();
      if (all.empty()) all.push_back(row);
    }
    return all;
  }

  void tell_ties(const std::vector<UnitRow>& whole) {
    constexpr std::size_t kMostTold = 6;
    if (whole.size() == 1) return;
    answer_.observations.push_back(
        fmt::format("{} rules give all answers and cannot be told apart here:", whole.size()));
    for (std::size_t i = 0; i < std::min(whole.size(), kMostTold); ++i)
      answer_.observations.push_back("  " + describe_rule(whole[i]));
  }

  const ProbeQuestion& question_;
  const Evidence& evidence_;
  ProbeAnswer answer_;
};

// ---- what shows without any rule

struct Ladder {
  std::set<int> there;  // j for which 2^(E - j) was still in the sum
  std::set<int> gone;   // at one place of the dot at least: where a step ends between the terms, all is there

  [[nodiscard]] int survived() const {
    int j = 0;
    while (there.contains(j + 1) && !gone.contains(j + 1)) ++j;
    return j;
  }
};

// What is left of 2^(E - j) beside terms 2^E that cancel: `with_c` says whether one of them was c.
void observe_ladders(const ProbeQuestion& question, const Tensor& a, const Tensor& b,
                     const std::vector<std::uint32_t>& c, const std::vector<std::uint32_t>& d,
                     std::vector<std::string>& observations) {
  const numerics::CodeMatrix codes_a = tensor::code_matrix(a, question.a, "a");
  const numerics::CodeMatrix codes_b = tensor::code_matrix(b, question.b, "b");
  Ladder products;
  Ladder with_c;
  for (std::int64_t i = 0; i < codes_a.rows; ++i) {
    std::vector<double> terms;
    for (std::int64_t k = 0; k < question.k && terms.size() < 4; ++k) {
      const double value = static_cast<double>(numerics::decode(codes_a.code(i, k), question.a)) *
                           static_cast<double>(numerics::decode(codes_b.code(i, k), question.b));
      if (value != 0) terms.push_back(value);
    }
    const double start = static_cast<double>(numerics::decode(c[static_cast<std::size_t>(i)], question.d));
    const bool by_products = start == 0 && terms.size() == 3 && terms[0] == -terms[1];
    const bool by_c = start != 0 && terms.size() == 2 && terms[0] == -start;
    if (!by_products && !by_c) continue;
    const int j = std::ilogb(by_c ? start : terms[0]) - std::ilogb(terms.back());
    const bool there =
        static_cast<double>(numerics::decode(d[static_cast<std::size_t>(i)], question.d)) == terms.back();
    Ladder& ladder = by_c ? with_c : products;
    (there ? ladder.there : ladder.gone).insert(j);
  }
  const auto tell = [&](const char* what, const Ladder& ladder) {
    observations.push_back(ladder.survived() == 0 ? fmt::format("nothing is left of a product beside {}", what)
                                                  : fmt::format("beside {} a product 2^-{} of it is still there", what,
                                                                ladder.survived()));
  };
  tell("two larger products that cancel", products);
  tell("a larger product that cancels c", with_c);
}

std::vector<std::uint32_t> codes_of(const Tensor& tensor, Format format, std::int64_t count, const std::string& what) {
  return tensor::code_vector(tensor.contiguous(), format, count, what);
}

KernelRun run_or_fail(const Implementation& kernel, const KernelCall& call) {
  KernelRun run = kernel.run(call);
  if (run.status != RunStatus::kRan && run.status != RunStatus::kUnsupported)
    core::fail_input("{}: the kernel failed on the probe's inputs: {}", kernel.name, run.message);
  if (!run.violations.empty()) core::fail_input("{}: {}", kernel.name, run.violations.front());
  return run;
}

ContractSettings question_settings(const ProbeQuestion& question) {
  return ContractSettings({{"a_type", std::string(numerics::name(question.a))},
                           {"b_type", std::string(numerics::name(question.b))},
                           {"d_type", std::string(numerics::name(question.d))},
                           {"unit", "unknown"}});
}

}  // namespace

ProbeAnswer infer_rule(const ProbeQuestion& question, const NamedTensors& inputs, const Tensor& d) {
  const Tensor& a = input(inputs, "a");
  const Tensor& b = input(inputs, "b");
  const std::int64_t n = a.dim(0);
  const std::vector<std::uint32_t> c = codes_of(input(inputs, "c"), question.d, n, "c");
  const std::vector<std::uint32_t> results = codes_of(d, question.d, n, "d");
  Evidence evidence(question, a, b, std::nullopt);
  for (std::int64_t i = 0; i < n; ++i)
    evidence.add({i, i, c[static_cast<std::size_t>(i)], results[static_cast<std::size_t>(i)]});
  evidence.shuffle();
  ProbeAnswer answer = RuleSearch(question, evidence).run();
  observe_ladders(question, a, b, c, results, answer.observations);
  if (answer.found && answer.row.step_k == question.k)
    answer.observations.push_back(fmt::format("a step has {} elements or more: no dot here was longer", question.k));
  return answer;
}

std::optional<ProbeAnswer> probe_mma(const ProbeQuestion& question, const Implementation& kernel, std::uint64_t seed) {
  const NamedTensors codes = probe_inputs(question, seed);
  const NamedTensors inputs{{"a", codes.at("a").view_as(dtype_of(question.a))},
                            {"b", codes.at("b").view_as(dtype_of(question.b))},
                            {"c", codes.at("c").view_as(dtype_of(question.d))}};
  const ContractSettings settings = question_settings(question);
  const KernelRun run = run_or_fail(
      kernel, {find_contract("mma"), settings, inputs, {{"d", dtype_of(question.d), {codes.at("a").dim(0)}}}, "probe"});
  if (run.status == RunStatus::kUnsupported) return std::nullopt;
  return infer_rule(question, codes, run.results[0].at("d"));
}

std::optional<GemmProbeAnswer> probe_gemm(const ProbeQuestion& question, Format output, const Implementation& kernel,
                                          std::uint64_t seed) {
  constexpr std::int64_t kRows = 160;  // of A and of B: all their pairs are records
  const bool fp8 = numerics::describe(question.a).storage_bytes == 1;
  const Contract& contract = find_contract(fp8 ? "fp8_gemm" : "bf16_gemm");
  ContractSettings settings = contract_settings(contract, {{"a_type", std::string(numerics::name(question.a))},
                                                           {"b_type", std::string(numerics::name(question.b))},
                                                           {"d_type", std::string(numerics::name(output))}});
  const NamedTensors codes = probe_inputs(question, seed);
  const std::int64_t stride = codes.at("a").dim(0) / kRows;
  const auto pick = [&](const std::string& name, std::int64_t first, Format format) {
    const Tensor& all = codes.at(name);
    Tensor rows = Tensor::empty(all.dtype(), {kRows, question.k});
    const std::size_t bytes = all.nbytes() / static_cast<std::size_t>(all.dim(0));
    for (std::int64_t i = 0; i < kRows; ++i)
      std::ranges::copy(
          all.bytes().subspan(static_cast<std::size_t>(first + i * stride) * bytes, bytes),
          rows.mutable_bytes().begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(i) * bytes));
    return rows.view_as(dtype_of(format));
  };
  NamedTensors inputs{{"a", pick("a", 0, question.a)}, {"b", pick("b", 0, question.b)}};
  const std::int64_t columns = (question.k + numerics::kScaleBlock - 1) / numerics::kScaleBlock;
  const auto ones = [](std::int64_t rows, std::int64_t cols) {
    return Tensor::from<float>({rows, cols}, std::vector<float>(static_cast<std::size_t>(rows * cols), 1.0F));
  };
  if (fp8) {
    inputs.emplace("scale_a", ones(kRows, columns));
    inputs.emplace("scale_b", ones((kRows + numerics::kScaleBlock - 1) / numerics::kScaleBlock, columns));
  }
  const KernelRun run =
      run_or_fail(kernel, {contract, settings, inputs, {{"d", dtype_of(output), {kRows, kRows}}}, "probe"});
  if (run.status == RunStatus::kUnsupported) return std::nullopt;
  const Tensor& results = run.results[0].at("d");
  const Tensor a = inputs.at("a").view_as(tensor::code_dtype(question.a));
  const Tensor b = inputs.at("b").view_as(tensor::code_dtype(question.b));
  Evidence evidence(question, a, b, output);
  const std::vector<std::uint32_t> d = codes_of(results.reshape({kRows * kRows}), output, kRows * kRows, "d");
  const core::RandomStream stream(seed, "probe pairs");
  for (std::int64_t i = 0; i < kRows; ++i)
    for (std::int64_t j = 0; j < kRows; ++j)
      if (i == j || stream.word(static_cast<std::uint64_t>(i * kRows + j)) % 8 == 0)
        evidence.add({i, j, 0, d[static_cast<std::size_t>(i * kRows + j)]});
  evidence.shuffle();
  GemmProbeAnswer answer{RuleSearch(question, evidence).run(), {}};
  if (!answer.rule.found) return answer;

  // A long K whose partial sums cancel: the roundings of promotion are what is left of it.
  const tensor::Shape sizes{24, 40, 2048};
  const NamedTensors many = contract.draw({"cancelling_blocks", sizes, seed, settings});
  const KernelRun promoted = run_or_fail(
      kernel, {contract, settings, many, {{"d", dtype_of(output), {sizes[0], sizes[1]}}}, "probe_promotion"});
  if (promoted.status != RunStatus::kRan) return answer;
  const MmaRule rule = rule_of_row(question, answer.rule.row);
  numerics::GemmOperands operands{{question.a, sizes[0], sizes[2], many.at("a").bytes()},
                                  {question.b, sizes[1], sizes[2], many.at("b").bytes()},
                                  {},
                                  {}};
  if (fp8) {
    operands.scale_a = many.at("scale_a").values<float>();
    operands.scale_b = many.at("scale_b").values<float>();
  }
  for (const auto order : {numerics::PromotionOrder::kNone, numerics::PromotionOrder::kDeepgemm,
                           numerics::PromotionOrder::kCublas, numerics::PromotionOrder::kMuladd})
    for (const std::int64_t every : {32, 64, 128, 256, 512, 1024}) {
      const bool none = order == numerics::PromotionOrder::kNone;
      if ((none && (fp8 || every != 128)) || every % rule.step_k != 0 || (fp8 && every > numerics::kScaleBlock))
        continue;
      Tensor y = Tensor::empty(DType::kF32, {sizes[0], sizes[1]});
      numerics::gemm(rule, operands, {order, every}, y.mutable_values<float>());
      const Tensor cast = output == Format::kF32 ? y : tensor::cast(y, dtype_of(output));
      if (share_of_equal(cast, promoted.results[0].at("d")) == 1) answer.promotions.push_back({order, every});
    }
  return answer;
}

numerics::Unit unit_of_rows(const std::string& name, const std::vector<UnitRow>& rows, bool mixed) {
  numerics::Unit unit;
  unit.name = name;
  unit.hardware = "found by lastbit probe";
  for (const UnitRow& row : rows) {
    const auto same = std::ranges::find_if(unit.rows, [&](const UnitRow& other) {
      return numerics::describe(other.operands[0]).storage_bytes == numerics::describe(row.operands[0]).storage_bytes &&
             other.accumulation == row.accumulation && other.fraction_bits == row.fraction_bits &&
             other.step_k == row.step_k && other.d == row.d && other.output_grid == row.output_grid &&
             other.output_rounding == row.output_rounding && other.zero_exponent == row.zero_exponent &&
             other.least_alignment == row.least_alignment;
    });
    if (same != unit.rows.end()) {
      for (const Format format : row.operands)
        if (std::ranges::find(same->operands, format) == same->operands.end()) same->operands.push_back(format);
    } else {
      unit.rows.push_back(row);
    }
  }
  for (UnitRow& row : unit.rows)
    row.mixed = mixed && row.operands.size() > 1 && numerics::describe(row.operands[0]).storage_bytes == 1;
  return unit;
}

}  // namespace lastbit::check
