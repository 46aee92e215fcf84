#include "train/token_windows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/error.h"
#include "corpus/prepare.h"
#include "io/atomic_file.h"
#include "train/small_run.h"

namespace lastbit::train {
namespace {

std::vector<std::int64_t> row(const TokenRows& rows, std::int64_t index) {
  const auto width = static_cast<std::size_t>(rows.ids.dim(1));
  const auto values = rows.ids.values<std::int64_t>().subspan(static_cast<std::size_t>(index) * width, width);
  return {values.begin(), values.end()};
}

TEST(TokenWindows, EveryEpochHasAllRowsInAnOrderOfItsOwn) {
  const testing::TempDir folder;
  const DataConfig config = small_config(folder).data;
  TokenWindows windows(config, 1024, 3);
  const std::int64_t rows = windows.rows();
  ASSERT_GT(rows, 20);
  ASSERT_GT(windows.validation().rows(), 0);
  std::vector<std::multiset<std::vector<std::int64_t>>> epochs(2);
  const TokenRows all = windows.read(0, 2 * rows);
  for (std::int64_t i = 0; i < 2 * rows; ++i) epochs[static_cast<std::size_t>(i / rows)].insert(row(all, i));
  EXPECT_EQ(epochs[0], epochs[1]);
  int moved = 0;
  for (std::int64_t i = 0; i < rows; ++i) moved += static_cast<int>(row(all, i) != row(all, rows + i));
  EXPECT_GT(moved, rows / 2);
  // Any place by itself, also from the second epoch back to the first.
  TokenWindows others(config, 1024, 3);
  for (const std::int64_t at : {rows + 5, std::int64_t{2}, rows - 1})
    EXPECT_EQ(row(others.read(at, 1), 0), row(all, at));
  for (std::int64_t i = 0; i < windows.validation().rows(); ++i)
    EXPECT_FALSE(epochs[0].contains(row(windows.validation(), i)));
}

TEST(TokenWindows, BytesOfSpecialTokensDoNotCount) {
  const testing::TempDir folder;
  const TokenWindows windows(small_config(folder).data, 1024, 3);
  EXPECT_EQ(windows.token_bytes()[1], 0);    // end of text
  EXPECT_EQ(windows.token_bytes()[100], 1);  // a byte
}

TEST(TokenWindows, RefusesWhatDoesNotFit) {
  const testing::TempDir folder;
  DataConfig config = small_config(folder).data;
  EXPECT_THROW(TokenWindows(config, 300, 3), core::Error);  // vocabulary
  config.sequence_tokens = 1 << 20;
  EXPECT_THROW(TokenWindows(config, 1024, 3), core::Error);  // less than a row
}

TEST(TokenWindows, ReadsShardsAndMarksTheirPadding) {
  const testing::TempDir folder;
  DataConfig config = small_config(folder).data;
  io::write_text_file(
      folder.file("prepare.toml"),
      "output = \"shards\"\n[input]\nfiles = [\"text.jsonl\"]\n[duplicates]\nnear = false\n[tokenizer]\n"
      "file = \"" +
          config.tokenizer + "\"\n[pack]\nwindow_tokens = 64\nshard_tokens = 1000\n");
  (void)corpus::prepare_data(corpus::load_prepare_config(folder.file("prepare.toml")), {});
  config.text.clear();
  config.shards = folder.file("shards");
  config.validation_windows = 3;
  TokenWindows windows(config, 1024, 3);
  ASSERT_GT(windows.rows(), 20);
  EXPECT_GT(windows.validation().rows(), 0);
  EXPECT_LE(windows.validation().rows(), 6);
  const TokenRows all = windows.read(0, windows.rows());
  ASSERT_EQ(all.padding.shape(), all.ids.shape());
  EXPECT_TRUE(std::ranges::any_of(all.padding.values<bool>(), [](bool is) { return is; }));
  config.sequence_tokens = 48;
  EXPECT_THROW(TokenWindows(config, 1024, 3), core::Error);
}

}  // namespace
}  // namespace lastbit::train
