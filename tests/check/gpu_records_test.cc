#include "check/gpu_records.h"

#include <gtest/gtest.h>

#include <fstream>

#include "core/error.h"
#include "support/shared.h"

namespace lastbit::check {
namespace {

std::string table() { return testing::source_path("data/measurements/gpu_records.json"); }

TEST(GpuRecords, AllOfOursMatch) {
  const RecordFile file = load_gpu_records(table());
  EXPECT_EQ(file.sets.size(), 19u);
  for (const RecordSet& set : file.sets) {
    EXPECT_GE(set.records, 64);
    const Replay replayed = replay(set);
    EXPECT_EQ(replayed.matched, set.records) << set.gpu << " " << set.unit;
  }
}

TEST(GpuRecords, AWrongBitShows) {
  RecordFile file = load_gpu_records(table());
  for (RecordSet& set : file.sets) {
    set.d[5] ^= 1;
    const Replay replayed = replay(set);
    EXPECT_EQ(replayed.matched, set.records - 1);
    ASSERT_TRUE(replayed.first_mismatch.has_value());
    EXPECT_EQ(replayed.first_mismatch->record, 5);
  }
}

TEST(GpuRecords, AnotherUnitShows) {
  // The same operands through another number of fraction bits: the comparison can fail.
  RecordFile file = load_gpu_records(table());
  for (RecordSet& set : file.sets) {
    if (set.gpu != "H100" || set.type != numerics::Format::kBF16) continue;
    set.unit = "ampere_mma";
    EXPECT_LT(replay(set).matched, set.records);
  }
}

void expect_refused(const std::string& sets, const std::string& part) {
  const testing::TempDir folder;
  const std::string path = folder.file("records.json");
  std::ofstream(path) << R"({"title": "t", "source": "s", "remarks": [], "sets": )" << sets << "}";
  try {
    static_cast<void>(load_gpu_records(path));
    FAIL() << sets;
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
    EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(GpuRecords, RefusesMalformedTables) {
  const std::string head =
      R"([{"gpu": "X", "type": "f16", "unit": "volta_mma", "k": 2, "c": "as recorded", "records": )";
  expect_refused(head + R"(["3c003c00 3c003c00 00000000"]}])", "A B C D");
  expect_refused(head + R"(["3c00 3c003c00 00000000 00000000"]}])", "2 codes");
  expect_refused(head + R"(["3c003c0g 3c003c00 00000000 00000000"]}])", "3c0g");
  expect_refused(head + R"([1]}])", "records");
  expect_refused(R"([{"gpu": "X", "type": "f16", "unit": "vola_mma", "k": 2, "c": "zero", "records": []}])",
                 "volta_mma");
  EXPECT_THROW(static_cast<void>(load_gpu_records("/nowhere/records.json")), core::Error);
}

}  // namespace
}  // namespace lastbit::check
