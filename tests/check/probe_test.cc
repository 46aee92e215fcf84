#include "check/probe.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/unit_file.h"
#include "support/shared.h"
#include "tensor/codes.h"

namespace lastbit::check {
namespace {

using numerics::Accumulation;
using numerics::Format;
using numerics::Rounding;
using numerics::Unit;
using numerics::UnitRow;

// What a GPU with this row would answer.
tensor::Tensor answers(const Unit& unit, const ProbeQuestion& question, const tensor::NamedTensors& inputs) {
  const std::int64_t n = inputs.at("a").dim(0);
  std::vector<std::uint32_t> d(static_cast<std::size_t>(n));
  numerics::mma(
      numerics::rule_of(unit, question.a, question.b, question.d), tensor::code_matrix(inputs.at("a"), question.a, "a"),
      tensor::code_matrix(inputs.at("b"), question.b, "b"), tensor::code_vector(inputs.at("c"), question.d, n, "c"), d);
  return tensor::tensor_of_codes(d, question.d, {n});
}

ProbeAnswer probe_row(const Unit& unit, const UnitRow& row, Format a, Format b) {
  const ProbeQuestion question{a, b, row.d, 64};
  const tensor::NamedTensors inputs = probe_inputs(question, 1);
  return infer_rule(question, inputs, answers(unit, question, inputs));
}

void expect_recovered(const Unit& unit) {
  for (const UnitRow& row : unit.rows)
    for (const Format b : {row.operands.front(), row.operands.back()}) {
      const Format a = row.mixed ? row.operands.front() : b;
      SCOPED_TRACE(
          fmt::format("{}: {} x {} -> {}", unit.name, numerics::name(a), numerics::name(b), numerics::name(row.d)));
      const ProbeAnswer answer = probe_row(unit, row, a, b);
      EXPECT_TRUE(answer.found);
      EXPECT_EQ(answer.matched, answer.records);
      EXPECT_EQ(answer.row.accumulation, row.accumulation);
      EXPECT_EQ(answer.row.fraction_bits, row.fraction_bits);
      EXPECT_EQ(answer.row.step_k, row.step_k);
      EXPECT_EQ(answer.row.output_grid, row.output_grid);
      EXPECT_EQ(answer.row.output_rounding, row.output_rounding);
      EXPECT_EQ(answer.row.zero_exponent, row.zero_exponent);
      EXPECT_EQ(answer.row.least_alignment, row.least_alignment);
    }
}

TEST(Probe, RecoversEveryUnitOfTheTable) {
  for (const Unit& unit : numerics::units()) expect_recovered(unit);
}

// Where it can be told: an f16 c lies above all that it changes. (What clamped_e changes lies below the grids of the
// table's units; a unit of our own below has another clamp.)
TEST(Probe, RecoversTheOpenReadings) {
  Unit unit = io::find_unit("hopper_wgmma+zero_in_e");
  std::erase_if(unit.rows, [](const UnitRow& row) { return row.d == Format::kF16; });
  expect_recovered(unit);
}

UnitRow made_up(std::vector<Format> operands, Accumulation accumulation, int bits, int step, Format d, Format grid,
                Rounding rounding) {
  return {std::move(operands), false, accumulation, bits, step, d, grid, rounding, numerics::Evidence::kUnverified};
}

TEST(Probe, RecoversUnitsThatNobodyBuilds) {
  const Unit odd{
      "odd",
      "",
      {made_up({Format::kE5M2}, Accumulation::kTruncated, 17, 24, Format::kF32, Format::kTF32, Rounding::kNearestEven),
       made_up({Format::kBF16}, Accumulation::kTruncated, 12, 5, Format::kF32, Format::kE8M13,
               Rounding::kNearestEven)}};
  const Unit split{
      "split",
      "",
      {made_up({Format::kE4M3}, Accumulation::kCdna3Split, 19, 12, Format::kF32, Format::kF32, Rounding::kTowardZero)}};
  Unit clamped{
      "clamped",
      "",
      {made_up({Format::kF16}, Accumulation::kTruncated, 30, 64, Format::kF16, Format::kF16, Rounding::kTowardZero),
       made_up({Format::kBF16}, Accumulation::kTruncated, 21, 12, Format::kF32, Format::kF32, Rounding::kTowardZero)}};
  clamped.rows[1].least_alignment = -90;
  clamped.rows[1].zero_exponent = -101;
  for (const Unit& unit : {odd, split, clamped}) expect_recovered(unit);
}

TEST(Probe, SaysWhatItSawWhereNoRuleFits) {
  const Unit& unit = numerics::find_unit("hopper_wgmma");
  const ProbeQuestion question{Format::kE4M3, Format::kE4M3, Format::kF32, 32};
  const tensor::NamedTensors inputs = probe_inputs(question, 1);
  tensor::Tensor d = answers(unit, question, inputs).clone();
  for (std::size_t i = 0; i < d.mutable_values<std::uint32_t>().size(); i += 3)
    d.mutable_values<std::uint32_t>()[i] ^= 1;
  const ProbeAnswer answer = infer_rule(question, inputs, d);
  EXPECT_FALSE(answer.found);
  EXPECT_LT(answer.matched, answer.records);
  EXPECT_GT(answer.matched, answer.records / 2);
  EXPECT_EQ(answer.row.fraction_bits, 13);
}

TEST(Probe, WhatItWritesIsAUnitFile) {
  for (const Unit& unit : numerics::units()) {
    const testing::TempDir dir;
    const std::string path = dir.file("unit.toml");
    io::write_text_file(path, io::unit_toml(unit));
    const Unit read = io::find_unit(path);
    EXPECT_EQ(read.name, unit.name);
    ASSERT_EQ(read.rows.size(), unit.rows.size());
    EXPECT_EQ(io::unit_toml(read), io::unit_toml(unit).insert(io::unit_toml(unit).find("\n\n[[unit.row]]") + 1,
                                                              "provenance = \"defined in " + path + "\"\n"));
  }
}

}  // namespace
}  // namespace lastbit::check
