#include "text/fim.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "core/error.h"

namespace lastbit::text {
namespace {

const FimMarkers kMarkers{"<", "|", ">", "."};

TEST(Fim, OrdersAndCodePoints) {
  EXPECT_EQ(fill_in_middle("abcdef", {2, 4}, FimOrder::kPsm, kMarkers), "<ab|ef>cd.");
  EXPECT_EQ(fill_in_middle("abcdef", {2, 4}, FimOrder::kSpm, kMarkers), "<|ef>abcd.");
  EXPECT_EQ(fill_in_middle("aé€😀z", {1, 4}, FimOrder::kPsm, kMarkers), "<a|z>é€😀.");
  EXPECT_EQ(fill_in_middle("", {0, 0}, FimOrder::kPsm, kMarkers), "<|>.");
}

TEST(Fim, RefusesBadCutsAndBadText) {
  for (const FimCut cut : {FimCut{-1, 2}, FimCut{2, 1}, FimCut{0, 4}, FimCut{4, 4}})
    EXPECT_THROW((void)fill_in_middle("abc", cut, FimOrder::kPsm), core::Error);
  // A lone continuation, a lead without its followers, overlong forms, a surrogate, beyond U+10FFFF, no UTF-8 at all.
  for (const char* text : {"a\x80", "a\xc3", "a\xe2\x82", "\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf",
                           "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff", "\xc3\x28", "\xf0\x9f\x98\x28"})
    EXPECT_THROW((void)fill_in_middle(text, {0, 0}, FimOrder::kPsm), core::Error) << text;
  for (const char* text : {"\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xef\xbf\xbf",
                           "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"})
    EXPECT_EQ(fill_in_middle(text, {0, 1}, FimOrder::kPsm, kMarkers), std::string("<|>") + text + ".");
}

TEST(Fim, DrawsDocumentsAtTheRateAndEveryCut) {
  const core::RandomStream stream(5, "fim");
  constexpr std::int64_t kDocuments = 20000;
  int turned = 0;
  std::vector<std::vector<int>> cuts(4, std::vector<int>(4));
  for (std::int64_t d = 0; d < kDocuments; ++d)
    if (const auto cut = draw_fim_cut(stream, d, 3, 0.1)) {
      ++turned;
      ASSERT_LE(cut->begin, cut->end);
      ++cuts.at(static_cast<std::size_t>(cut->begin)).at(static_cast<std::size_t>(cut->end));
    }
  EXPECT_NEAR(turned, 2000, 212);  // five standard deviations: sqrt(20000 * 0.1 * 0.9) = 42
  for (std::size_t a = 0; a < 4; ++a)
    for (std::size_t b = a; b < 4; ++b) {
      const double expected = (a == b ? 1.0 : 2.0) / 16 * turned;  // two ordered draws of four places
      EXPECT_NEAR(cuts[a][b], expected, 5 * std::sqrt(expected)) << a << b;
    }
}

TEST(Fim, DrawsAreAFunctionOfTheDocument) {
  const core::RandomStream stream(5, "fim");
  EXPECT_EQ(draw_fim_cut(stream, 77, 1000, 1), draw_fim_cut(stream, 77, 1000, 1));
  EXPECT_NE(draw_fim_cut(stream, 77, 1000, 1), draw_fim_cut(stream, 78, 1000, 1));
  EXPECT_NE(draw_fim_cut(stream, 77, 1000, 1), draw_fim_cut(core::RandomStream(6, "fim"), 77, 1000, 1));
  EXPECT_TRUE(draw_fim_cut(stream, (std::int64_t{1} << 32) - 1, (std::int64_t{1} << 32) - 1, 1).has_value());
}

TEST(Fim, DocumentsKeepTheirText) {
  const core::RandomStream stream(5, "fim");
  const std::string text = "naïve café";
  const FimRule always{1.0, FimOrder::kPsm, kMarkers};
  const FimRule never{0.0, FimOrder::kPsm, kMarkers};
  for (std::int64_t d = 0; d < 50; ++d) {
    EXPECT_EQ(fim_document(text, stream, d, never), text + ".");
    const std::string turned = fim_document(text, stream, d, always);
    const auto hole = turned.find('|');
    const auto end = turned.find('>');
    EXPECT_EQ(turned.front(), '<');
    EXPECT_EQ(turned.substr(1, hole - 1) + turned.substr(end + 1, turned.size() - end - 2) +
                  turned.substr(hole + 1, end - hole - 1),
              text);
  }
}

TEST(Fim, RefusesWhatHasNoMeaning) {
  const core::RandomStream stream(5, "fim");
  EXPECT_THROW((void)draw_fim_cut(stream, 0, 10, -0.1), core::Error);
  EXPECT_THROW((void)draw_fim_cut(stream, 0, 10, 1.1), core::Error);
  EXPECT_THROW((void)draw_fim_cut(stream, -1, 10, 0.1), core::Error);
  EXPECT_THROW((void)draw_fim_cut(stream, std::int64_t{1} << 32, 10, 0.1), core::Error);
  EXPECT_THROW((void)draw_fim_cut(stream, 0, -1, 0.1), core::Error);
  EXPECT_THROW((void)fim_document("\xff", stream, 0, {}), core::Error);
}

}  // namespace
}  // namespace lastbit::text
