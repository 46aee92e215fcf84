#include "text/pre_tokenizer.h"

#include <gtest/gtest.h>

#include <random>

#include "core/error.h"
#include "text/utf8.h"

namespace lastbit::text {
namespace {

using nlohmann::json;

std::vector<TextSpan> split_all(const PreTokenizer& pre_tokenizer, std::string_view text) {
  std::vector<TextSpan> pieces;
  for (std::size_t at = 0; at < text.size();) at = pre_tokenizer.split(text, at, pieces);
  return pieces;
}

std::vector<std::string> strings(std::string_view text, const std::vector<TextSpan>& spans) {
  std::vector<std::string> pieces;
  for (const TextSpan& span : spans) pieces.emplace_back(text.substr(span.begin, span.end - span.begin));
  return pieces;
}

using Strings = std::vector<std::string>;

Strings pieces_of(const json& description, std::string_view text) {
  return strings(text, split_all(PreTokenizer(description, "test"), text));
}

json split_by(const std::string& regex, const std::string& behavior, bool invert = false) {
  return {{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", behavior}, {"invert", invert}};
}

TEST(PreTokenizer, SplitsOneAfterAnother) {
  const PreTokenizer deepseek = PreTokenizer::deepseek_v3();
  ASSERT_TRUE(deepseek.is_deepseek());
  // One alternation of the three would give " " to the letters behind it, and see a digit behind a space.
  const std::string text = "  12345中文abc 中 \n x";
  EXPECT_EQ(strings(text, split_all(deepseek, text)),
            (Strings{"  ", "123", "45", "中文", "abc", " ", "中", " \n", " x"}));
}

TEST(PreTokenizer, FastSplitIsThePlainOne) {
  const PreTokenizer deepseek = PreTokenizer::deepseek_v3();
  // Every scalar between neighbours of all kinds.
  std::string all;
  for (char32_t value = 0; value < 0x110000; ++value) {
    if (value >= 0xd800 && value < 0xe000) continue;
    if (value >= 0x32400 && value < 0xe0000 && value % 64 != 0) continue;  // nothing is assigned there
    if (value >= 0xe0200 && value % 64 != 0) continue;
    append_utf8(all, value);
    if (value % 3 == 0) all += "a ";
    if (value % 5 == 0) all += "\n.";
  }
  EXPECT_EQ(split_all(deepseek, all), deepseek.split_plainly(all));

  std::mt19937 random(1);
  const std::vector<std::string> kinds{"a",      "Z",      " ",      " ", "\n",     "\r",   "\t", "1",      "٣",
                                       ".",      "$",      "_",      "“", "中",     "の",   "゛", "゠",     "\u3099",
                                       "\u0301", "\u00a0", "\u3000", "é", "\u200b", "\x01", "😀",  "\u0378", "Ⅳ"};
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (auto length = random() % 12; length > 0; --length) text += kinds[random() % kinds.size()];
    ASSERT_EQ(split_all(deepseek, text), deepseek.split_plainly(text)) << text;
  }
}

TEST(PreTokenizer, BehavioursAreThoseOfHuggingFace) {
  // Hugging Face's own example for its behaviours.
  const std::string text = "the-final--countdown";
  EXPECT_EQ(pieces_of(split_by("-", "Removed"), text), (Strings{"the", "final", "countdown"}));
  EXPECT_EQ(pieces_of(split_by("-", "Isolated"), text), (Strings{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(pieces_of(split_by("-", "MergedWithPrevious"), text), (Strings{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(pieces_of(split_by("-", "MergedWithNext"), text), (Strings{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(pieces_of(split_by("-", "Contiguous"), text), (Strings{"the", "-", "final", "--", "countdown"}));
  EXPECT_EQ(pieces_of(split_by("[a-z]+", "Removed", true), text), (Strings{"the", "final", "countdown"}));
  const json literal{{"type", "Split"}, {"pattern", {{"String", "--"}}}, {"behavior", "Removed"}};
  EXPECT_EQ(pieces_of(literal, text), (Strings{"the-final", "countdown"}));
  EXPECT_EQ(pieces_of({{"type", "Digits"}, {"individual_digits", true}}, "a12b"), (Strings{"a", "1", "2", "b"}));
  EXPECT_EQ(pieces_of({{"type", "Digits"}}, "a12b"), (Strings{"a", "12", "b"}));
  EXPECT_EQ(pieces_of({{"type", "ByteLevel"}, {"add_prefix_space", false}}, "it's  me 12"),
            (Strings{"it", "'s", " ", " me", " 12"}));
  EXPECT_EQ(pieces_of(nullptr, "a b"), (Strings{"a b"}));
}

TEST(PreTokenizer, ExpressionsAreReadAsOnigurumaReadsThem) {
  EXPECT_EQ(pieces_of(split_by("\\s", "Removed"),
                      "a\u180e"
                      "b\u0085c"),
            (Strings{"a\u180e"
                     "b",
                     "c"}));
  EXPECT_EQ(pieces_of(split_by("^b", "Isolated"), "a\nb"), (Strings{"a\n", "b"}));  // at every line
  EXPECT_EQ(pieces_of(split_by("\\s+$", "Isolated"), "a \nb  "), (Strings{"a", " ", "\nb", "  "}));
  EXPECT_EQ(pieces_of(split_by("\\p{L}+", "Isolated"), "1\U000105c02"), (Strings{"1", "\U000105c0", "2"}));
  EXPECT_EQ(pieces_of(split_by("[^\\p{L}]", "Removed"), "\U000105c01"), (Strings{"\U000105c0"}));
  EXPECT_EQ(pieces_of(split_by("\\p{Han}+", "Isolated"), "中ー"), (Strings{"中", "ー"}));  // the script alone
  EXPECT_EQ(pieces_of(split_by("(?=b)", "Isolated"), "abab"), (Strings{"a", "ba", "b"}));  // empty matches cut
}

void expect_refused(const json& description, core::ErrorKind kind, const std::string& part) {
  try {
    const PreTokenizer made(description, "T.json");
    FAIL() << "accepted " << description;
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), kind);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find("T.json"), 0U);
  }
}

TEST(PreTokenizer, RefusesWhatItCannotDo) {
  using core::ErrorKind;
  expect_refused(split_by("(a", "Isolated"), ErrorKind::kInput, "invalid");
  expect_refused(split_by("[a-z&&[^x]]", "Isolated"), ErrorKind::kInput, "&&");
  expect_refused(split_by("a{70000}", "Isolated"), ErrorKind::kInput, "invalid");
  expect_refused(split_by(std::string(100'000, 'a'), "Isolated"), ErrorKind::kInput, "100000 bytes");
  expect_refused(split_by("a", "Kept"), ErrorKind::kInput, "behavior 'Kept'");
  expect_refused({{"type", "Split"}, {"behavior", "Isolated"}}, ErrorKind::kInput, "no 'pattern'");
  expect_refused({{"type", "Metaspace"}}, ErrorKind::kUnsupported, "'Metaspace'");
  expect_refused({{"type", "ByteLevel"}}, ErrorKind::kUnsupported, "add_prefix_space");
  json nested = split_by("a", "Isolated");
  for (int i = 0; i < 100; ++i) nested = {{"type", "Sequence"}, {"pretokenizers", json::array({nested})}};
  expect_refused(nested, ErrorKind::kInput, "nested deeper");
  // An expression that takes forever stops at its limit.
  const std::string slow = std::string(4000, 'a') + "cb";
  EXPECT_THROW((void)pieces_of(split_by("(?:a|aa)+b", "Isolated"), slow), core::Error);
}

}  // namespace
}  // namespace lastbit::text
