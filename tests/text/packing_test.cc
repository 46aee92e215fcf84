#include "text/packing.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <vector>

#include "core/error.h"

namespace lastbit::text {
namespace {

using Lengths = std::vector<std::int64_t>;

struct Case {
  Lengths lengths;
  std::int64_t window = 1;
};

Case any_case() {
  return {*rc::gen::container<Lengths>(rc::gen::inRange<std::int64_t>(1, 60)), *rc::gen::inRange<std::int64_t>(1, 40)};
}

// Document d's token at offset o is unique: 1000 d + o.
std::vector<Lengths> documents_of(const Lengths& lengths) {
  std::vector<Lengths> documents;
  for (const std::int64_t length : lengths) {
    documents.emplace_back(static_cast<std::size_t>(length));
    std::iota(documents.back().begin(), documents.back().end(), 1000 * (std::ssize(documents) - 1));
  }
  return documents;
}

// How often each token is in a window; also checks the windows themselves.
std::map<std::int64_t, int> tokens_in_windows(const Packing& packing, const Lengths& lengths) {
  const std::vector<Lengths> documents = documents_of(lengths);
  std::map<std::int64_t, int> seen;
  for (std::int64_t w = 0; w < std::ssize(packing.windows); ++w) {
    const PackedWindow window = lay_out(packing, w, documents, -7);
    RC_ASSERT(std::ssize(window.tokens) == packing.window_tokens);
    std::int64_t segment = -1;
    bool padding = false;
    for (std::size_t i = 0; i < window.tokens.size(); ++i) {
      if (window.segments[i] == -1) {
        padding = true;
        RC_ASSERT(window.tokens[i] == -7 && window.positions[i] == 0);
        continue;
      }
      RC_ASSERT(!padding);  // padding is behind all pieces
      ++seen[window.tokens[i]];
      if (window.segments[i] != segment) {
        RC_ASSERT(window.segments[i] == ++segment);
        RC_ASSERT(window.positions[i] == 0);
      } else {
        RC_ASSERT(window.positions[i] == window.positions[i - 1] + 1);
        RC_ASSERT(window.tokens[i] == window.tokens[i - 1] + 1);  // in the document's order
      }
    }
  }
  return seen;
}

RC_GTEST_PROP(Packing, BestFitHoldsEveryTokenOnce, ()) {
  const auto [lengths, window] = any_case();
  const Packing packing = best_fit(lengths, window);
  const std::map<std::int64_t, int> seen = tokens_in_windows(packing, lengths);
  std::size_t total = 0;
  for (const std::int64_t length : lengths) total += static_cast<std::size_t>(length);
  RC_ASSERT(seen.size() == total);
  for (const auto& [token, count] : seen) RC_ASSERT(count == 1);
  RC_ASSERT(packing.dropped_tokens == 0);
  // Documents that fit are whole, and no two windows could be one.
  for (const Piece& piece : packing.pieces) {
    const std::int64_t length = lengths[static_cast<std::size_t>(piece.document)];
    RC_ASSERT(length > window || piece == (Piece{piece.document, 0, length}));
  }
  Lengths used;
  for (const auto& pieces : packing.windows) {
    used.push_back(0);
    for (const std::int64_t p : pieces) used.back() += packing.pieces[static_cast<std::size_t>(p)].length;
  }
  std::ranges::sort(used);
  if (used.size() > 1) RC_ASSERT(used[0] + used[1] > window);
}

RC_GTEST_PROP(Packing, ConcatChunkFillsEveryWindowAndDropsTheTail, ()) {
  const auto [lengths, window] = any_case();
  const Packing packing = concat_chunk(lengths, window);
  const std::map<std::int64_t, int> seen = tokens_in_windows(packing, lengths);
  const std::int64_t total = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  RC_ASSERT(packing.dropped_tokens == total % window);
  RC_ASSERT(std::ssize(packing.windows) == total / window);
  RC_ASSERT(std::ssize(seen) == total - total % window);
  for (const auto& [token, count] : seen) RC_ASSERT(count == 1);
  const PackingReport counts = report(packing);
  RC_ASSERT(counts.padding_tokens == 0);
  RC_ASSERT(counts.tokens == total - total % window);
}

// The rule as one would do it by hand: for every piece, look at every window.
RC_GTEST_PROP(Packing, BestFitIsThePlainSearch, ()) {
  const auto [lengths, window] = any_case();
  const Packing packing = best_fit(lengths, window);
  std::vector<std::size_t> order(packing.pieces.size());
  std::iota(order.begin(), order.end(), 0UL);
  std::ranges::stable_sort(
      order, [&](std::size_t a, std::size_t b) { return packing.pieces[a].length > packing.pieces[b].length; });
  std::vector<std::vector<std::int64_t>> windows;
  Lengths room;
  for (const std::size_t p : order) {
    std::size_t best = windows.size();
    for (std::size_t w = 0; w < windows.size(); ++w)
      if (room[w] >= packing.pieces[p].length && (best == windows.size() || room[w] < room[best])) best = w;
    if (best == windows.size()) {
      windows.emplace_back();
      room.push_back(window);
    }
    windows[best].push_back(static_cast<std::int64_t>(p));
    room[best] -= packing.pieces[p].length;
  }
  RC_ASSERT(packing.windows == windows);
}

TEST(Packing, ReportCountsCutsAndPadding) {
  const PackingReport counts = report(best_fit(Lengths{25, 4, 10, 7}, 10));  // 10 10 5+4 10 7
  EXPECT_EQ(counts.documents, 4);
  EXPECT_EQ(counts.cut_documents, 1);
  EXPECT_EQ(counts.tokens, 46);
  EXPECT_EQ(counts.padding_tokens, 4);
  EXPECT_EQ(counts.cut_share, 0.25);
  EXPECT_EQ(counts.padding_share, 4.0 / 50);
  const PackingReport chunks = report(concat_chunk(Lengths{25, 4, 10, 7}, 10));
  EXPECT_EQ(chunks.cut_documents, 3);  // all but the second: [0, 25), [25, 29), [29, 39), [39, 46)
  EXPECT_EQ(chunks.dropped_tokens, 6);
}

TEST(Packing, NothingGivesNothing) {
  EXPECT_TRUE(best_fit({}, 10).windows.empty());
  EXPECT_TRUE(concat_chunk({}, 10).windows.empty());
  EXPECT_EQ(report(best_fit({}, 10)).padding_share, 0);
}

TEST(Packing, RefusesWhatHasNoMeaning) {
  for (const Lengths& lengths : {Lengths{3, 0}, Lengths{-1}}) {
    EXPECT_THROW((void)best_fit(lengths, 4), core::Error);
    EXPECT_THROW((void)concat_chunk(lengths, 4), core::Error);
  }
  EXPECT_THROW((void)best_fit(Lengths{1}, 0), core::Error);
  EXPECT_THROW((void)concat_chunk(Lengths{1}, -4), core::Error);
  const Packing packing = best_fit(Lengths{3, 2}, 4);
  EXPECT_THROW((void)lay_out(packing, 2, documents_of({3, 2}), 0), core::Error);
  EXPECT_THROW((void)lay_out(packing, -1, documents_of({3, 2}), 0), core::Error);
  EXPECT_THROW((void)lay_out(packing, 0, documents_of({2, 2}), 0), core::Error);
  EXPECT_THROW((void)lay_out(packing, 1, documents_of({3}), 0), core::Error);
}

}  // namespace
}  // namespace lastbit::text
