// Replays tensor-core results published as captured on GPUs through the models of those tensor cores.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "numerics/units.h"

namespace lastbit::check {

// One set: `records` dots of k operands, D = A . B + C.
struct RecordSet {
  std::string gpu;
  numerics::Format type;    // of A
  numerics::Format b_type;  // of B
  numerics::Format d_type;  // of C and D: FP32 or FP16
  std::string unit;
  std::int64_t k;
  bool c_is_zero;  // the published D does not contain C: it is replayed as 0
  std::int64_t records;
  std::vector<std::byte> a;      // [records, k] codes
  std::vector<std::byte> b;      // [records, k]
  std::vector<std::uint32_t> c;  // [records] codes
  std::vector<std::uint32_t> d;  // [records] codes
};

struct RecordFile {
  std::string source;
  std::vector<std::string> remarks;
  std::vector<RecordSet> sets;
};

// Reads a table like those of data/measurements, whose "layout" explains the records. Errors: a missing or
// malformed file, an unknown unit or type and a record of the wrong length are bad input that names file and record.
[[nodiscard]] RecordFile load_gpu_records(const std::string& path);

struct Replay {
  numerics::UnitRow row;  // of the unit's table
  std::int64_t records;
  std::int64_t matched;  // bit for bit
  struct Mismatch {
    std::int64_t record;
    std::uint32_t published;
    std::uint32_t computed;
  };
  std::optional<Mismatch> first_mismatch;
};
[[nodiscard]] Replay replay(const RecordSet& set);

}  // namespace lastbit::check
