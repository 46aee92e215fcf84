#include "text/utf8.h"

#include <gtest/gtest.h>

#include "text/normal_form.h"
#include "text/unicode_categories.h"

namespace lastbit::text {
namespace {

TEST(Utf8, CodePointsGoThereAndBack) {
  for (char32_t value = 0; value < 0x110000; value += value < 0x3000 || value > 0x10fff0 ? 1 : 13) {
    if (value >= 0xd800 && value < 0xe000) continue;
    std::string symbol;
    append_utf8(symbol, value);
    ASSERT_EQ(code_point_bytes(symbol, 0), symbol.size());
    std::size_t bytes = 0;
    ASSERT_TRUE(code_point_at(symbol, 0, bytes) == value);
    ASSERT_EQ(bytes, symbol.size());
    ASSERT_EQ(valid_utf8_prefix(symbol), symbol.size());
    for (std::size_t cut = 1; cut < symbol.size(); ++cut)
      ASSERT_EQ(unfinished_utf8_bytes(symbol.substr(0, cut)), cut) << static_cast<unsigned>(value);
    ASSERT_EQ(unfinished_utf8_bytes(symbol), 0U);
  }
}

TEST(Utf8, InvalidBytesAreReplacedByMaximalSubparts) {
  const std::string sign = "\xef\xbf\xbd";
  EXPECT_EQ(replace_invalid_utf8("a\xff\xfe"
                                 "b"),
            "a" + sign + sign + "b");
  EXPECT_EQ(replace_invalid_utf8("\xe4\xbd"), sign);                    // cut short
  EXPECT_EQ(replace_invalid_utf8("\xed\xa0\x80"), sign + sign + sign);  // a surrogate
  EXPECT_EQ(replace_invalid_utf8("\xc0\xaf"), sign + sign);             // overlong
  EXPECT_EQ(replace_invalid_utf8("\xf0\x9f\x99x"), sign + "x");
  EXPECT_EQ(replace_invalid_utf8("\xf4\x90\x80\x80"), sign + sign + sign + sign);
  EXPECT_EQ(valid_utf8_prefix("0123456789\xe4"), 10U);
  EXPECT_EQ(unfinished_utf8_bytes("\x80\x80"), 0U);
}

TEST(Utf8, CategoriesAreThoseOfUnicode16) {
  EXPECT_EQ(general_category('a'), "Ll");
  EXPECT_EQ(general_category(0x4e2d), "Lo");
  EXPECT_EQ(general_category(0x31350), "Lo");  // 15.0
  EXPECT_EQ(general_category(0x2ebf0), "Lo");  // 15.1
  EXPECT_EQ(general_category(0x10d40), "Nd");  // 16.0
  EXPECT_EQ(general_category(0x2427), "So");
  EXPECT_EQ(general_category(0x0378), "Cn");
}

TEST(NormalForm, QuickCheckIsRight) {
  // Whatever is surely NFC is left as it is, alone and behind letters that compose.
  int quick = 0;
  for (char32_t value = 0; value < 0x20000; ++value) {
    if (value >= 0xd800 && value < 0xe000) continue;
    for (const std::string before : {"", "a", "\u1100", "か"}) {
      std::string text = before;
      append_utf8(text, value);
      if (!surely_nfc(text)) continue;
      ++quick;
      ASSERT_EQ(normalize(text, NormalForm::kNfc), text) << std::hex << static_cast<unsigned>(value);
    }
  }
  EXPECT_GT(quick, 200'000);
  EXPECT_EQ(normalize("e\u0301", NormalForm::kNfc), "é");
  EXPECT_EQ(normalize("ﬁ", NormalForm::kNfkc), "fi");
  EXPECT_EQ(normalize("é", NormalForm::kNfd), "e\u0301");
  EXPECT_FALSE(surely_nfc("e\u0301"));
}

}  // namespace
}  // namespace lastbit::text
