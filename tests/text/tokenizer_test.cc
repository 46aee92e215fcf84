#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <random>

#include "core/error.h"
#include "core/parallel.h"
#include "text/small_tokenizer.h"
#include "text/stream_decoder.h"
#include "text/tokenizer_file.h"
#include "text/utf8.h"

namespace lastbit::text {
namespace {

using lastbit::testing::small_vocabulary;
using nlohmann::json;
using Ids = std::vector<TokenId>;

const Tokenizer& small_tokenizer() {
  static const Tokenizer tokenizer(small_vocabulary(), "small");
  return tokenizer;
}

// The ids by the definition: expressions one after another, then the lowest rank first.
Ids encode_plainly(const Tokenizer& tokenizer, const BpeModel& model, std::string_view text) {
  Ids ids;
  const PreTokenizer splits(tokenizer.description().pre_tokenizer, "plain");
  for (const TextSpan& piece : splits.split_plainly(text))
    model.encode_plainly(text.substr(piece.begin, piece.end - piece.begin), ids);
  return ids;
}

BpeModel model_of(const Tokenizer& tokenizer) {
  std::vector<std::string> bytes;
  for (TokenId id = 0; id < tokenizer.id_limit(); ++id) bytes.emplace_back(tokenizer.bytes_of(id));
  std::array<TokenId, 256> byte_tokens{};
  for (TokenId id = 2; id < 258; ++id) byte_tokens[static_cast<unsigned char>(bytes[id][0])] = id;
  std::vector<Merge> merges;
  for (const auto& [left, right] : tokenizer.description().merges)
    merges.push_back({*tokenizer.find(left), *tokenizer.find(right), *tokenizer.find(left + right)});
  return {byte_tokens, merges, bytes};
}

TEST(Tokenizer, FastEncodingIsThePlainOne) {
  const BpeModel model = model_of(small_tokenizer());
  std::mt19937 random(2);
  std::string letters;
  for (const std::string& text : lastbit::testing::training_texts()) letters += text;
  std::vector<std::string> symbols;
  for (std::size_t at = 0; at < letters.size();) {
    const std::size_t bytes = code_point_bytes(letters, at);
    symbols.push_back(letters.substr(at, bytes));
    at += bytes;
  }
  for (int i = 0; i < 1000; ++i) {
    std::string text;
    // Some longer than what the arrays of short pieces hold; some of Han and kana alone.
    const std::size_t length = i % 100 == 0 ? 300 : random() % 40;
    while (text.size() < length) {
      const std::string& symbol = symbols[random() % symbols.size()];
      if (i % 3 != 0 || (symbol.size() == 3 && symbol >= "\xe3\x80\x80")) text += symbol;
    }
    ASSERT_EQ(small_tokenizer().encode(text), encode_plainly(small_tokenizer(), model, text)) << text;
  }
}

// A vocabulary in which parts of code points join their neighbours: what the table for Han must not step over.
TEST(Tokenizer, TokensAcrossCodePointsAreKept) {
  TokenizerDescription description = small_vocabulary(258);
  const auto add = [&](std::string left, std::string right) {
    description.vocab.emplace_back(left + right, static_cast<TokenId>(description.vocab.size()));
    description.merges.emplace_back(std::move(left), std::move(right));
  };
  // 快 is E5 BF AB, 乐 is E4 B9 90: AB E4 joins first, then the rest of either.
  add("«", "ä");
  add("¹", "\u0132");  // B9 90
  add("å", "¿");
  add("å¿", "«");
  add("ä", "¹\u0132");
  add("å¿", "«ä");
  const Tokenizer tokenizer(std::move(description), "joins");
  const BpeModel model = model_of(tokenizer);
  for (const std::string text : {"快乐", "快", "乐", "乐快", "快快乐乐", "乐快乐", "们快乐们"})
    EXPECT_EQ(tokenizer.encode(text), encode_plainly(tokenizer, model, text)) << text;
  EXPECT_EQ(tokenizer.encode("快乐").size(), 2U);
}

TEST(Tokenizer, EveryScalarAndRandomBytesRoundTrip) {
  std::string all;
  for (char32_t value = 0; value < 0x110000; ++value) {
    if (value >= 0xd800 && value < 0xe000) continue;
    std::string symbol;
    append_utf8(symbol, value);
    all += symbol;
    if (all.size() < 4096 && value != 0x10ffff) continue;
    ASSERT_EQ(small_tokenizer().decode(small_tokenizer().encode(all)), all);
    all.clear();
  }
  std::mt19937 random(3);
  Encoder encoder(small_tokenizer());
  for (int i = 0; i < 10'000; ++i) {
    std::string bytes(random() % 64, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random() % (i % 2 == 0 ? 256 : 128));
    Ids ids;
    encoder.encode(bytes, ids);
    ASSERT_EQ(small_tokenizer().decode(ids), bytes);
  }
}

TEST(Tokenizer, StreamsWholeCodePoints) {
  const std::string text = "naïve 😀中ひ\u0301 x";
  const Ids ids = small_tokenizer().encode(text);
  StreamDecoder decoder(small_tokenizer());
  std::string joined;
  for (const TokenId id : ids) {
    const std::string part = decoder.push(id);
    EXPECT_EQ(valid_utf8_prefix(part), part.size());
    joined += part;
  }
  EXPECT_EQ(joined + decoder.finish(), text);
  // What can never become a code point does not wait.
  const Ids broken = small_tokenizer().encode(
      "\xf0\x9f"
      "a");
  joined.clear();
  for (const TokenId id : broken) joined += decoder.push(id);
  EXPECT_EQ(joined,
            "\xf0\x9f"
            "a");
  EXPECT_EQ(decoder.push(small_tokenizer().encode("\xf0").front()), "");
  EXPECT_EQ(decoder.finish(), "\xf0");
  EXPECT_EQ(decoder.finish(), "");
}

TEST(Tokenizer, BatchesDoNotDependOnThreads) {
  std::vector<std::string> texts;
  for (int i = 0; i < 300; ++i)
    texts.push_back(std::to_string(i) + " the quick 我们的模型 " + std::string(i % 40, 'x'));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  core::set_num_threads(1);
  const std::vector<Ids> one = small_tokenizer().encode_batch(views);
  core::set_num_threads(3);
  EXPECT_EQ(small_tokenizer().encode_batch(views), one);
  core::set_num_threads(0);
  for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(small_tokenizer().encode(texts[i]), one[i]);
}

TEST(Tokenizer, AddedTokensAreFoundFirst) {
  TokenizerDescription description = small_vocabulary();
  const auto add = [&](std::string content, bool single_word, bool lstrip, bool rstrip) {
    description.added.push_back({static_cast<TokenId>(1000 + description.added.size()), std::move(content), single_word,
                                 lstrip, rstrip, false, false});
    return description.added.back().id;
  };
  const TokenId tag = add("<tag>", false, false, false);
  const TokenId longer = add("<tag>>", false, false, false);
  const TokenId word = add("word", true, false, false);
  const TokenId strips = add("[S]", false, true, true);
  const Tokenizer tokenizer(std::move(description), "added");
  const auto joined = [&](std::vector<Ids> parts) {
    Ids ids;
    for (const Ids& part : parts) ids.insert(ids.end(), part.begin(), part.end());
    return ids;
  };
  const auto plain = [&](const std::string& text) { return tokenizer.encode(text); };
  EXPECT_EQ(tokenizer.encode("a<tag>b"), joined({plain("a"), {tag}, plain("b")}));
  EXPECT_EQ(tokenizer.encode("<tag>>>"), joined({{longer}, plain(">")}));
  EXPECT_EQ(tokenizer.encode("<s></s>"), (Ids{0, 1}));
  EXPECT_EQ(tokenizer.encode("a word!"), joined({plain("a "), {word}, plain("!")}));
  EXPECT_EQ(tokenizer.encode("words"), joined({plain("words")}));
  EXPECT_NE(tokenizer.encode("words").front(), word);
  EXPECT_EQ(tokenizer.encode("a \n[S]  b"), joined({plain("a"), {strips}, plain("b")}));
  EXPECT_EQ(tokenizer.decode(Ids{0, tag, 1}, true), "<tag>");
  EXPECT_EQ(tokenizer.decode(Ids{0, tag, 1}), "<s><tag></s>");
  EXPECT_EQ(tokenizer.token_count(), 404U);
  EXPECT_THROW((void)tokenizer.decode(Ids{999}), core::Error);
  EXPECT_THROW((void)tokenizer.decode(Ids{4'000'000'000U}), core::Error);
}

TEST(TokenizerFile, WritesWhatItReads) {
  const std::string file = tokenizer_json(small_vocabulary());
  const Tokenizer read = parse_tokenizer(file, "t.json");
  EXPECT_EQ(tokenizer_json(read.description()), file);
  EXPECT_EQ(read.encode("the quick 我们"), small_tokenizer().encode("the quick 我们"));
  // Merges as arrays, and a normaliser.
  json edited = json::parse(file);
  for (json& merge : edited["model"]["merges"]) {
    const std::string line = merge;
    merge = json::array({line.substr(0, line.find(' ')), line.substr(line.find(' ') + 1)});
  }
  EXPECT_EQ(parse_tokenizer(edited.dump(), "t.json").encode("the quick"), small_tokenizer().encode("the quick"));
  edited["normalizer"] = {{"type", "Sequence"}, {"normalizers", json::array({{{"type", "NFC"}}})}};
  EXPECT_EQ(parse_tokenizer(edited.dump(), "t.json").encode("e\u0301"), small_tokenizer().encode("é"));
  edited["model"]["ignore_merges"] = true;
  EXPECT_EQ(parse_tokenizer(edited.dump(), "t.json").encode("the"), small_tokenizer().encode("the"));
}

class HostileTokenizer : public ::testing::Test {
 protected:
  json file_ = json::parse(tokenizer_json(small_vocabulary(300)));

  static void expect_refused(const std::string& text, const std::string& part,
                             core::ErrorKind kind = core::ErrorKind::kInput) {
    try {
      (void)parse_tokenizer(text, "t.json");
      FAIL() << "accepted, expected: " << part;
    } catch (const core::Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      EXPECT_EQ(std::string(error.what()).find("t.json"), 0U) << error.what();
    }
  }
  template <typename Edit>
  void refuse(const Edit& edit, const std::string& part, core::ErrorKind kind = core::ErrorKind::kInput) const {
    json copy = file_;
    edit(copy);
    expect_refused(copy.dump(), part, kind);
  }
};

TEST_F(HostileTokenizer, MergesThatCannotBe) {
  refuse([](json& t) { t["model"].erase("merges"); }, "no model.merges");
  refuse([](json& t) { t["model"]["merges"] = 3; }, "no model.merges");
  refuse([](json& t) { t["model"]["merges"][1] = "a"; }, "model.merges[1]");
  refuse([](json& t) { t["model"]["merges"][1] = "a b c"; }, "model.merges[1]");
  refuse([](json& t) { t["model"]["merges"][1] = " b"; }, "model.merges[1]");
  refuse([](json& t) { t["model"]["merges"][1] = json::array({"a"}); }, "model.merges[1]");
  refuse([](json& t) { t["model"]["merges"][1] = json::array({"a", "b", "c"}); }, "model.merges[1]");
  refuse([](json& t) { t["model"]["merges"][1] = json::array({"a", 4}); }, "model.merges[1]");
  refuse([](json& t) { t["model"]["merges"][1] = json::array({"a", json::object()}); }, "model.merges[1]");
  refuse([](json& t) { t["model"]["merges"][1] = nullptr; }, "model.merges[1]");
  refuse([](json& t) { t["model"]["merges"][0] = "q z"; }, "merge 0 ('q' and 'z'): 'qz' is not in the vocabulary");
  // A cycle: each needs the other first. The empty part that it takes is what no token can be.
  refuse([](json& t) { t["model"]["merges"][0] = json::array({"", "the"}); }, "model.merges[0]");
  refuse([](json& t) { t["model"]["vocab"][""] = 299; }, "t.json");
}

TEST_F(HostileTokenizer, VocabulariesThatCannotBe) {
  refuse([](json& t) { t["model"].erase("vocab"); }, "no model.vocab");
  refuse([](json& t) { t["model"]["vocab"]["a"] = 4'000'000'000U; }, "id 4000000000");
  refuse([](json& t) { t["model"]["vocab"]["a"] = 1e300; }, "model.vocab['a']");
  refuse([](json& t) { t["model"]["vocab"]["a"] = -1; }, "model.vocab['a']");
  refuse([](json& t) { t["model"]["vocab"]["a"] = json::array(); }, "model.vocab['a']");
  refuse([](json& t) { t["model"]["vocab"]["a"] = t["model"]["vocab"]["b"]; }, "is there twice");
  refuse([](json& t) { t["model"]["vocab"].erase("a"); }, "for byte 0x61");
  refuse([](json& t) { t["added_tokens"][0]["id"] = 77; }, "added token '<s>'");
  refuse([](json& t) { t["added_tokens"][0]["id"] = 1ULL << 40U; }, "expected a whole number below");
  refuse([](json& t) { t["added_tokens"][0]["content"] = ""; }, "without content");
  refuse([](json& t) { t["added_tokens"].push_back(t["added_tokens"][0]); }, "there twice");
  refuse([](json& t) { t["added_tokens"] = 5; }, "added_tokens");
  std::string text = file_.dump();
  text.replace(text.find("\"vocab\":{"), 9, "\"vocab\":{\"a\":1,\"a\":2,");
  expect_refused(text, "'a' is there twice");
}

TEST_F(HostileTokenizer, FilesThatAreNone) {
  expect_refused("", "byte");
  expect_refused("[]", "expected an object");
  expect_refused("{}", "no 'model'");
  expect_refused(R"({"model": 5})", "model");
  expect_refused(file_.dump().substr(0, 2000), "byte");
  expect_refused("{\"a\": \"\xff\"}", "byte");
  expect_refused(R"({"model": {}, "model": {}})", "key 'model' is there twice");
  expect_refused(std::string(200'000, '['), "nested deeper than");
  std::string deep = "{\"model\":{\"vocab\":{\"a\":";
  for (int i = 0; i < 100'000; ++i) deep += "{\"a\":";
  expect_refused(deep, "model.vocab['a']");
  refuse([](json& t) { t["model"]["type"] = "Unigram"; }, "'Unigram'", core::ErrorKind::kUnsupported);
  refuse([](json& t) { t["model"]["byte_fallback"] = true; }, "byte_fallback", core::ErrorKind::kUnsupported);
  refuse([](json& t) { t["model"]["dropout"] = 0.1; }, "dropout", core::ErrorKind::kUnsupported);
  refuse([](json& t) { t["normalizer"] = {{"type", "Lowercase"}}; }, "'Lowercase'", core::ErrorKind::kUnsupported);
  refuse([](json& t) { t["decoder"] = {{"type", "Fuse"}}; }, "decoder", core::ErrorKind::kUnsupported);
  refuse([](json& t) { t["pre_tokenizer"] = nullptr; }, "without ByteLevel", core::ErrorKind::kUnsupported);
  refuse([](json& t) { t["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "("; }, "invalid");
}

TEST(BpeTrainer, TiesGoToTheSmallerPair) {
  WordCounts counts;
  counts.add("ab", 5);
  counts.add("cd", 5);
  counts.add("aaaa", 1);  // counts as three pairs
  counts.add("xyz", 3);   // xy and yz: the smaller left id first
  const TokenizerDescription made = train_bpe(counts, {270, 1, {}}, PreTokenizer::deepseek_v3());
  using Pair = std::pair<std::string, std::string>;
  EXPECT_EQ(made.merges,
            (std::vector<Pair>{{"a", "b"}, {"c", "d"}, {"a", "a"}, {"x", "y"}, {"xy", "z"}, {"aa", "aa"}}));
  EXPECT_EQ(made.vocab.size(), 262U);
  EXPECT_EQ(train_bpe(counts, {270, 4, {}}, PreTokenizer::deepseek_v3()).merges.size(), 2U);
  EXPECT_EQ(train_bpe(counts, {257, 1, {}}, PreTokenizer::deepseek_v3()).merges.size(), 1U);
  EXPECT_THROW((void)train_bpe(counts, {256, 1, {"<s>"}}, PreTokenizer::deepseek_v3()), core::Error);
  EXPECT_THROW((void)train_bpe(counts, {300, 1, {"<s>", "<s>"}}, PreTokenizer::deepseek_v3()), core::Error);
}

}  // namespace
}  // namespace lastbit::text
