// The clean-up, the filters, near duplicates and line-break tokens.
#include <gtest/gtest.h>

#include <random>

#include "core/error.h"
#include "text/clean.h"
#include "text/document_filter.h"
#include "text/line_break_split.h"
#include "text/min_hash.h"
#include "text/small_tokenizer.h"

namespace lastbit::text {
namespace {

TEST(CleanUp, DoesWhatItIsTold) {
  CleanUp rules;
  EXPECT_EQ(clean_up("a\r\nb\rc\x01\x7f\u0085\ufeff\tz e\u0301\xff", rules), "a\nb\nc\tz é\ufffd");
  rules.line_ends = rules.control_characters = false;
  rules.normal_form.reset();
  EXPECT_EQ(clean_up("a\r\nb\x01 e\u0301", rules), "a\r\nb\x01 e\u0301");
  rules.collapse_white_space = true;
  EXPECT_EQ(clean_up(" \n\n a \t b\n \n\n\nc  \n", rules), "a b\n\nc");
  rules = {};
  rules.strip_html = true;
  EXPECT_EQ(clean_up("<p class='x'>1 &lt; 2 &amp;&#x4e2d;&#65;<!-- <b> --></p><script>if (a<b)</script>"
                     "<STYLE>p{}</style>a < b <3 &nosuch; &#xd800;<broken",
                     rules),
            "1 < 2 &中Aa < b <3 &nosuch; &#xd800;<broken");
  rules.normal_form = NormalForm::kNfkc;
  EXPECT_EQ(clean_up("ﬁ①", rules), "fi1");
}

TEST(DocumentFilter, NamesTheRule) {
  DocumentFilter filter;
  EXPECT_EQ(rejected_by(filter, "", "", ""), "min_code_points");
  EXPECT_EQ(rejected_by(filter, "中", "", ""), "");
  filter.max_code_points = 5;
  EXPECT_EQ(rejected_by(filter, "中文中文中文", "", ""), "max_code_points");
  EXPECT_EQ(rejected_by(filter, "中文中文中", "", ""), "");
  filter = {};
  filter.min_letter_share = 0.5;
  EXPECT_EQ(rejected_by(filter, "ab !!", "", ""), "");
  EXPECT_EQ(rejected_by(filter, "ab !!!", "", ""), "min_letter_share");
  filter = {};
  filter.max_repeated_line_share = 0.4;
  EXPECT_EQ(rejected_by(filter, "same\nsame\nother\n", "", ""), "");
  EXPECT_EQ(rejected_by(filter, "same\nsame\nsame\n", "", ""), "max_repeated_line_share");
  filter = {};
  filter.scripts = {"han", "latin"};
  EXPECT_EQ(rejected_by(filter, "中文 abc", "", ""), "");
  EXPECT_EQ(rejected_by(filter, "Привет abc", "", ""), "scripts");
  filter = {};
  filter.languages = {"en", "zh"};
  EXPECT_EQ(rejected_by(filter, "x", "de", ""), "languages");
  EXPECT_EQ(rejected_by(filter, "x", "zh", ""), "");
  filter = {};
  filter.blocked_domains = {"example.org"};
  EXPECT_EQ(rejected_by(filter, "x", "", "https://user@www.example.org:80/a"), "blocked_domains");
  EXPECT_EQ(rejected_by(filter, "x", "", "example.org"), "blocked_domains");
  EXPECT_EQ(rejected_by(filter, "x", "", "https://notexample.org/?example.org"), "");
}

std::string random_words(std::mt19937& random, int words) {
  std::string text;
  for (int i = 0; i < words; ++i) text += "w" + std::to_string(random() % 5000) + (i % 9 == 8 ? ".\n" : " ");
  return text;
}

// Replaces `edits` words, spread evenly: with shingles of 5 words, each edit changes 5 shingles.
std::string edited(const std::string& text, int edits, int words) {
  std::string result;
  int word = 0;
  for (const char c : text) {
    const bool edit = edits > 0 && word % (words / edits) == words / edits / 2;
    if (c == 'w' && edit) result += "edit";
    result += c;
    if (c == ' ' || c == '\n') ++word;
  }
  return result;
}

// Precision and recall of pairs planted on both sides of the default threshold.
TEST(NearDuplicates, FindsPlantedDuplicatesAndNoOthers) {
  std::mt19937 random(11);
  constexpr int kWords = 600;
  NearDuplicates kept(0.8);
  EXPECT_EQ(kept.rows(), 6U);
  std::vector<std::string> originals;
  for (int i = 0; i < 300; ++i) {
    originals.push_back(random_words(random, kWords));
    ASSERT_EQ(kept.find_or_keep(min_hashes(originals.back(), 5), i), NearDuplicates::kNone);
  }
  int found = 0;
  int wrong = 0;
  for (int i = 0; i < 300; ++i) {
    // 6 edits: 30 of 596 shingles differ, Jaccard 0.90. 30 edits: 150 differ, Jaccard 0.60.
    const std::int64_t near =
        kept.find_or_keep(min_hashes(edited(originals[static_cast<std::size_t>(i)], 6, kWords), 5), 1000 + i);
    found += near == i ? 1 : 0;
    wrong += near != i && near != NearDuplicates::kNone ? 1 : 0;
    const std::int64_t far =
        kept.find_or_keep(min_hashes(edited(originals[static_cast<std::size_t>(i)], 30, kWords), 5), 2000 + i);
    wrong += far == NearDuplicates::kNone ? 0 : 1;
  }
  RecordProperty("recall", std::to_string(found / 300.0));
  RecordProperty("precision", std::to_string(found / static_cast<double>(found + wrong)));
  EXPECT_GT(found / 300.0, 0.95);
  EXPECT_GT(found / static_cast<double>(found + wrong), 0.95);
}

TEST(NearDuplicates, AgreeWithJaccardsSimilarity) {
  std::mt19937 random(12);
  const std::string text = random_words(random, 1000);
  const MinHashes a = min_hashes(text, 5);
  const MinHashes b = min_hashes(edited(text, 40, 1000), 5);
  int equal = 0;
  for (std::size_t i = 0; i < kMinHashes; ++i) equal += a[i] == b[i] ? 1 : 0;
  EXPECT_NEAR(equal / 128.0, 796.0 / 1196.0, 0.13);  // three standard deviations
  EXPECT_EQ(min_hashes("one two", 5), min_hashes("one, two!", 5));
  EXPECT_NE(min_hashes("one two", 5), min_hashes("two one", 5));
  EXPECT_NE(min_hashes("中文", 5), min_hashes("文中", 5));
  EXPECT_THROW(NearDuplicates(0.0), core::Error);
}

TEST(LineBreakSplit, SplitsAShareAndKeepsTheText) {
  TokenizerDescription description = lastbit::testing::small_vocabulary(258);
  for (const std::string left : {".", ";"}) {
    description.vocab.emplace_back(left + "Ċ", static_cast<TokenId>(description.vocab.size()));
    description.merges.emplace_back(left, "Ċ");
  }
  const Tokenizer tokenizer(std::move(description), "breaks");
  std::string text;
  for (int i = 0; i < 4000; ++i) text += i % 2 == 0 ? "a.\n" : "b;\n";
  const std::vector<TokenId> ids = tokenizer.encode(text);
  const LineBreakSplitter splitter(tokenizer, 0.25);
  EXPECT_GE(splitter.splittable(), 2U);
  std::vector<TokenId> split;
  splitter.apply(ids, 7, 3, split);
  EXPECT_EQ(tokenizer.decode(split), text);
  EXPECT_NEAR(static_cast<double>(split.size() - ids.size()), 1000, 110);  // four standard deviations
  std::vector<TokenId> again;
  splitter.apply(ids, 7, 3, again);
  EXPECT_EQ(again, split);
  again.clear();
  splitter.apply(ids, 7, 4, again);
  EXPECT_NE(again, split);
  again.clear();
  LineBreakSplitter(tokenizer, 0).apply(ids, 7, 3, again);
  EXPECT_EQ(again, ids);
  EXPECT_THROW(LineBreakSplitter(tokenizer, 1.5), core::Error);
}

}  // namespace
}  // namespace lastbit::text
