// Verification of drafts, packing, fill in the middle and sampling: every case of transforms.json.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "infer/sampling.h"
#include "infer/speculative.h"
#include "io/json.h"
#include "support/shared.h"
#include "text/fim.h"
#include "text/packing.h"

namespace lastbit {
namespace {

using nlohmann::json;
using Integers = std::vector<std::int64_t>;

json golden(const std::string& key) {
  return io::load_json(testing::shared_path("golden/model/transforms.json")).at(key);
}

void expect_near(const std::vector<double>& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_NEAR(found[i], expected[i], 1e-15) << i;  // shares below 1 after a handful of roundings
    EXPECT_EQ(found[i] == 0, expected[i] == 0) << i;
  }
}

std::vector<double> joined(const json& rows) {
  std::vector<double> all;
  for (const json& row : rows)
    for (const json& value : row) all.push_back(value);
  return all;
}

TEST(TransformsGolden, Speculative) {
  LASTBIT_NEEDS_SHARED();
  const json cases = golden("spec").at("cases");
  ASSERT_EQ(cases.size(), 12u);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(i);
    const json& c = cases[i];
    const std::vector<double> p = joined(c.at("p"));
    const Integers draft = c.at("draft");
    const infer::Verification sampled = infer::verify_sampled(
        p, joined(c.at("q")), draft, c.at("u_accept").get<std::vector<double>>(), c.at("u_resample"));
    EXPECT_EQ(sampled.accepted, c.at("accepted"));
    EXPECT_EQ(sampled.next_token, c.at("next_token"));
    expect_near(sampled.residual, c.at("residual"));
    const infer::Verification greedy = infer::verify_greedy<double>(p, draft);
    EXPECT_EQ(greedy.accepted, c.at("greedy_accepted"));
    EXPECT_EQ(greedy.next_token, c.at("greedy_next"));
  }
}

struct PackingGolden {
  json packing = golden("packing");
  std::vector<Integers> documents = packing.at("docs").get<std::vector<Integers>>();
  std::int64_t window = packing.at("seq_len");
  Integers lengths;

  PackingGolden() {
    for (const Integers& document : documents) lengths.push_back(std::ssize(document));
  }
};

TEST(TransformsGolden, ConcatChunk) {
  LASTBIT_NEEDS_SHARED();
  const PackingGolden c;
  const text::Packing packing = text::concat_chunk(c.lengths, c.window);
  const auto sequences = c.packing.at("concat_chunk").at("sequences").get<std::vector<Integers>>();
  ASSERT_EQ(packing.windows.size(), sequences.size());
  for (std::size_t w = 0; w < sequences.size(); ++w)
    EXPECT_EQ(text::lay_out(packing, static_cast<std::int64_t>(w), c.documents, 0).tokens, sequences[w]) << w;
  EXPECT_EQ(packing.dropped_tokens, c.packing.at("concat_chunk").at("dropped_tail"));
  const text::PackedWindow first = text::lay_out(packing, 0, c.documents, 0);
  EXPECT_EQ(first.segments, c.packing.at("segments_of_first_chunk").get<Integers>());
  EXPECT_EQ(first.positions, c.packing.at("positions_restart_first_chunk").get<Integers>());
}

TEST(TransformsGolden, BestFit) {
  LASTBIT_NEEDS_SHARED();
  const PackingGolden c;
  const text::Packing packing = text::best_fit(c.lengths, c.window);
  const json& expected = c.packing.at("best_fit");
  ASSERT_EQ(packing.pieces.size(), expected.at("pieces").size());
  for (std::size_t i = 0; i < packing.pieces.size(); ++i) {
    const json& piece = expected.at("pieces")[i];
    EXPECT_EQ(packing.pieces[i], (text::Piece{piece.at("doc"), piece.at("offset"), piece.at("length")})) << i;
  }
  EXPECT_EQ(packing.windows, expected.at("bins").get<std::vector<Integers>>());
  Integers free;
  for (std::int64_t w = 0; w < std::ssize(packing.windows); ++w)
    free.push_back(std::ranges::count(text::lay_out(packing, w, c.documents, 0).segments, -1));
  EXPECT_EQ(free, expected.at("free").get<Integers>());
}

TEST(TransformsGolden, FillInTheMiddle) {
  LASTBIT_NEEDS_SHARED();
  const json fim = golden("fim");
  const text::FimMarkers markers;  // the defaults are V3's
  EXPECT_EQ(fim.at("tokens").get<std::vector<std::string>>(),
            (std::vector<std::string>{markers.begin, markers.hole, markers.end, markers.end_of_text}));
  ASSERT_EQ(fim.at("cases").size(), 12u);
  for (const json& c : fim.at("cases")) {
    const auto text = c.at("text").get<std::string>();
    const text::FimCut cut{c.at("cut")[0], c.at("cut")[1]};
    EXPECT_EQ(text::fill_in_middle(text, cut, text::FimOrder::kPsm), c.at("psm"));
    EXPECT_EQ(text::fill_in_middle(text, cut, text::FimOrder::kSpm), c.at("spm"));
  }
}

TEST(TransformsGolden, Sampling) {
  LASTBIT_NEEDS_SHARED();
  const json sampling = golden("sampling");
  const auto logits = sampling.at("logits").get<std::vector<double>>();
  ASSERT_EQ(sampling.at("cases").size(), 4u);
  for (const json& c : sampling.at("cases"))
    expect_near(infer::sampling_probabilities<double>(logits, {c.at("temperature"), c.at("top_k"), c.at("top_p")}),
                c.at("probs"));
}

}  // namespace
}  // namespace lastbit
