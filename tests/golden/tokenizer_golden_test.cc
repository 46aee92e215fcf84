// DeepSeek-V3's tokenizer and small trained vocabularies, against Hugging Face tokenizers (../shared/golden/tokenizer).
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>

#include "corpus/tokenize_files.h"
#include "io/json.h"
#include "support/shared.h"
#include "text/bpe_trainer.h"
#include "text/byte_alphabet.h"
#include "text/stream_decoder.h"
#include "text/tokenizer_file.h"
#include "text/utf8.h"

namespace lastbit {
namespace {

using nlohmann::json;
using text::TokenId;
using text::Tokenizer;
using Ids = std::vector<TokenId>;

std::string v3_path() { return testing::source_path("build/tokenizers/deepseek-v3/tokenizer.json"); }

// Its licence lets anyone fetch it, and its size keeps it out of the repository.
#define LASTBIT_NEEDS_V3_TOKENIZER() \
  if (!std::filesystem::exists(v3_path())) GTEST_SKIP() << "needs " << v3_path() << ", which ./dev test fetches"

const Tokenizer& v3() {
  static const Tokenizer tokenizer = corpus::load_tokenizer(v3_path());
  return tokenizer;
}

json encodings() { return io::load_json(testing::shared_path("golden/tokenizer/deepseek_v3_encodings.json")); }

TEST(TokenizerGolden, DeepseekIdsAndPieces) {
  LASTBIT_NEEDS_SHARED();
  LASTBIT_NEEDS_V3_TOKENIZER();
  const text::PreTokenizer splits = text::PreTokenizer::deepseek_v3();
  std::size_t cases = 0;
  const json golden = encodings();
  for (const json& entry : golden["cases"]) {
    const std::string text = entry["text"];
    const Ids expected = entry["ids"];
    EXPECT_EQ(v3().encode(text), expected) << text;
    EXPECT_EQ(v3().decode(expected), entry["decoded"].get<std::string>()) << text;
    ++cases;
    if (entry["pieces"].is_null()) continue;
    std::vector<std::string> pieces;
    for (const text::TextSpan& span : splits.split_plainly(text))
      pieces.push_back(text::to_byte_alphabet(text.substr(span.begin, span.end - span.begin)));
    EXPECT_EQ(pieces, entry["pieces"].get<std::vector<std::string>>()) << text;
  }
  EXPECT_GT(cases, 300U);
}

TEST(TokenizerGolden, DeepseekInvalidAndPartialText) {
  LASTBIT_NEEDS_SHARED();
  LASTBIT_NEEDS_V3_TOKENIZER();
  const json golden = encodings();
  for (const json& entry : golden["invalid_utf8"]) {
    const std::string hex = entry["bytes_hex"];
    std::string bytes;
    for (std::size_t i = 0; i < hex.size(); i += 2)
      bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    EXPECT_EQ(v3().decode(v3().encode(bytes)), bytes) << hex;
    const std::string replaced = text::replace_invalid_utf8(bytes);
    EXPECT_EQ(replaced, entry["text_after_replace"].get<std::string>()) << hex;
    EXPECT_EQ(v3().encode(replaced), entry["ids"].get<Ids>()) << hex;
  }
  for (const json& entry : golden["partial_decode"]) {
    const Ids ids = entry["ids"];
    const std::string decoded = entry["decoded"];
    EXPECT_EQ(text::replace_invalid_utf8(v3().decode(ids)), decoded) << entry;
    text::StreamDecoder stream(v3());
    std::string streamed;
    for (const TokenId id : ids) streamed += stream.push(id);
    EXPECT_EQ(text::replace_invalid_utf8(streamed + stream.finish()), decoded) << entry;
  }
}

TEST(TokenizerGolden, DeepseekRoundTrips) {
  LASTBIT_NEEDS_V3_TOKENIZER();
  text::Encoder encoder(v3());
  const auto there_and_back = [&](const std::string& bytes) {
    Ids ids;
    encoder.encode(bytes, ids);
    return v3().decode(ids);
  };
  std::string scalars;
  for (char32_t value = 0; value < 0x110000; ++value) {
    if (value >= 0xd800 && value < 0xe000) continue;
    text::append_utf8(scalars, value);
    if (scalars.size() < 4096 && value != 0x10ffff) continue;
    ASSERT_EQ(there_and_back(scalars), scalars);
    scalars.clear();
  }
  std::mt19937 random(9);
  for (int i = 0; i < 10'000; ++i) {
    std::string bytes(random() % 64, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random() % 256);
    ASSERT_EQ(there_and_back(bytes), bytes);
  }
}

TEST(TokenizerGolden, TrainedMerges) {
  LASTBIT_NEEDS_SHARED();
  const text::PreTokenizer splits = text::PreTokenizer::deepseek_v3();
  const json golden = io::load_json(testing::shared_path("golden/tokenizer/bpe_train.json"));
  for (const json& entry : golden["cases"]) {
    text::WordCounts counts;
    for (const json& document : entry["docs"]) text::count_words(document.get<std::string>(), splits, counts);
    const std::vector<std::string> vocab = entry["vocab"];
    const text::BpeTraining training{entry["vocab_size"], entry["min_frequency"], {vocab.begin(), vocab.begin() + 3}};
    text::TokenizerDescription made = text::train_bpe(counts, training, splits);
    ASSERT_EQ(made.vocab.size(), vocab.size());
    for (std::size_t id = 0; id < vocab.size(); ++id) EXPECT_EQ(made.vocab[id].first, vocab[id]);
    std::vector<std::vector<std::string>> merges;
    for (const auto& [left, right] : made.merges) merges.push_back({left, right});
    EXPECT_EQ(merges, entry["merges"].get<std::vector<std::vector<std::string>>>());
    const Tokenizer tokenizer(std::move(made), "trained");
    for (const json& encoding : entry["encodings"])
      EXPECT_EQ(tokenizer.encode(encoding["text"].get<std::string>()), encoding["ids"].get<Ids>());
  }
}

}  // namespace
}  // namespace lastbit
