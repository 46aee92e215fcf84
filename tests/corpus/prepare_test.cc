#include "corpus/prepare.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "core/error.h"
#include "core/parallel.h"
#include "corpus/shards.h"
#include "corpus/tokenize_files.h"
#include "io/atomic_file.h"
#include "support/shared.h"
#include "text/bpe_trainer.h"
#include "text/tokenizer_file.h"

namespace lastbit::corpus {
namespace {

using nlohmann::json;

class PrepareData : public ::testing::Test {
 protected:
  void SetUp() override {
    const text::PreTokenizer splits = text::PreTokenizer::deepseek_v3();
    text::WordCounts counts;
    std::string lines;
    std::mt19937 random(4);
    for (int i = 0; i < 400; ++i) {
      std::string text;
      for (int word = 0; word < 30 + i % 50; ++word)
        text += "word" + std::to_string(random() % 997) + (word % 7 == 6 ? ".\n" : " ");
      text::count_words(text, splits, counts);
      lines += json{{"text", text}, {"language", i % 10 == 0 ? "de" : "en"}}.dump() + "\n";
      if (i % 20 == 1) lines += json{{"text", text}, {"language", "en"}}.dump() + "\n";                // again
      if (i % 40 == 2) lines += json{{"text", text + " and more"}, {"language", "en"}}.dump() + "\n";  // nearly
    }
    lines += "{\"text\":\"\",\"language\":\"en\"}\n";
    io::write_text_file(file("docs.jsonl"), lines);
    io::write_text_file(file("plain.txt"), "A text of its own.\r\n<|end|> is text here.");
    const text::BpeTraining training{
        400, 2, {"<｜end▁of▁sentence｜>", "<｜▁pad▁｜>", "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"}};
    io::write_text_file(file("t.json"), text::tokenizer_json(text::train_bpe(counts, training, splits)));
  }
  [[nodiscard]] std::string file(const std::string& name) const { return folder_.file(name); }

  // The config with changes, as a file beside the others.
  [[nodiscard]] std::string config(const std::string& output, const json& changes = json::object()) const {
    json config{{"output", output},
                {"input", {{"files", {"docs.jsonl", "plain.txt"}}}},
                {"filter", {{"languages", {"en", ""}}}},
                {"tokenizer", {{"file", "t.json"}}},
                {"pack", {{"window_tokens", 128}, {"shard_tokens", 4096}}},
                {"seed", 5}};
    config.merge_patch(changes);
    io::write_text_file(file(output + ".json"), config.dump());
    return file(output + ".json");
  }
  json prepare(const std::string& output, const json& changes = json::object()) const {
    return prepare_data(load_prepare_config(config(output, changes)));
  }
  // Every file of a folder, but the paths in the config.
  [[nodiscard]] std::map<std::string, std::string> files_in(const std::string& output) const {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(file(output)))
      files[entry.path().filename()] = testing::read_file(entry.path());
    return files;
  }
  void expect_refused(const std::string& output, const json& changes, const std::string& part) const {
    try {
      (void)prepare(output, changes);
      ADD_FAILURE() << "accepted " << changes;
    } catch (const core::Error& error) {
      EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }

  testing::TempDir folder_;
};

TEST_F(PrepareData, KeepsWhatItShould) {
  const json index = prepare("out", {{"fim", {{"rate", 0}}}, {"tokenizer", {{"line_break_share", 0}}}});
  const json& statistics = index["statistics"];
  EXPECT_EQ(statistics["documents"], 400 + 20 + 10 + 1 + 1);
  EXPECT_EQ(statistics["dropped"]["languages"], 40);
  EXPECT_EQ(statistics["dropped"]["exact_duplicate"], 20);
  EXPECT_EQ(statistics["dropped"]["near_duplicate"], 10);
  EXPECT_EQ(statistics["dropped"]["min_code_points"], 1);
  EXPECT_EQ(statistics["kept_documents"], 361);
  EXPECT_EQ(statistics["tokens"], statistics["kept_tokens"]);
  const std::string dropped = testing::read_file(file("out/dropped.jsonl"));
  EXPECT_EQ(std::count(dropped.begin(), dropped.end(), '\n'), 71);
  EXPECT_NE(dropped.find("docs.jsonl:1\""), std::string::npos);
  EXPECT_NE(dropped.find(R"("of":)"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(file("out/work")));

  // Every kept text is in the shards, once, with its end token.
  const text::Tokenizer tokenizer = load_tokenizer(file("t.json"));
  const ShardIndex shards = load_shard_index(file("out"));
  EXPECT_GT(shards.shards.size(), 3U);
  std::size_t ends = 0;
  std::string all;
  for (std::size_t s = 0; s < shards.shards.size(); ++s) {
    const Shard shard = load_shard(shards, s);
    const auto tokens = shard.tokens.values<text::TokenId>();
    const auto segments = shard.segments.values<std::int32_t>();
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      EXPECT_EQ(segments[i] < 0, tokens[i] == 1);
      ends += tokens[i] == 0 ? 1 : 0;
    }
    all += tokenizer.decode(tokens);
  }
  EXPECT_EQ(ends, 361U);
  EXPECT_NE(all.find("A text of its own.\n<|end|> is text here.<｜end▁of▁sentence｜>"), std::string::npos);
}

TEST_F(PrepareData, IsTheSameForThreadsMemoryAndInterruptions) {
  core::set_num_threads(1);
  (void)prepare("out");
  const auto expected = files_in("out");
  std::filesystem::remove_all(file("out"));
  core::set_num_threads(3);
  (void)prepare("out", {{"memory_mb", 64}});
  EXPECT_EQ(files_in("out"), expected);
  std::filesystem::remove_all(file("out"));

  // Stops after the first segments, then goes on.
  struct Interruption {};
  const PrepareConfig config = load_prepare_config(this->config("out"));
  EXPECT_THROW(prepare_data(config, [](const std::string&, std::uint64_t, std::uint64_t) { throw Interruption(); }),
               Interruption);
  EXPECT_TRUE(std::filesystem::exists(file("out/work/segment-000000.h5")));
  EXPECT_FALSE(std::filesystem::exists(file("out/index.json")));
  (void)prepare_data(config);
  EXPECT_EQ(files_in("out"), expected);
  // Finished: nothing to do.
  EXPECT_NO_THROW(prepare_data(config, [](const std::string&, std::uint64_t, std::uint64_t) { throw Interruption(); }));
  core::set_num_threads(0);
}

TEST_F(PrepareData, FillsInTheMiddle) {
  const json index = prepare("out", {{"fim", {{"rate", 1.0}}}, {"pack", {{"method", "concat"}}}});
  EXPECT_EQ(index["statistics"]["padding_share"], 0.0);
  const text::Tokenizer tokenizer = load_tokenizer(file("t.json"));
  const ShardIndex shards = load_shard_index(file("out"));
  int begins = 0;
  int holes = 0;
  for (std::size_t s = 0; s < shards.shards.size(); ++s) {
    const Shard shard = load_shard(shards, s);
    for (const text::TokenId token : shard.tokens.values<text::TokenId>()) {
      begins += token == tokenizer.find("<｜fim▁begin｜>") ? 1 : 0;
      holes += token == tokenizer.find("<｜fim▁hole｜>") ? 1 : 0;
    }
  }
  EXPECT_NEAR(begins, 355, 12);  // all but what concat drops
  EXPECT_NEAR(holes, begins, 12);
}

TEST_F(PrepareData, RefusesBadInput) {
  expect_refused("out", {{"seeed", 1}}, "seeed");
  expect_refused("out", {{"input", {{"files", {"none.jsonl"}}}}}, "none.jsonl");
  expect_refused("out", {{"fim", {{"rate", 1.5}}}}, "rate");
  expect_refused("out", {{"fim", {{"begin", "<x>"}}}}, "no token '<x>'");
  expect_refused("out", {{"filter", {{"scripts", {"latn"}}}}}, "latn");
  expect_refused("out", {{"filter", {{"min_code_points", 1'000'000}}}}, "none of 432 documents");
  io::write_text_file(file("bad.jsonl"), "{\"text\":\"a\"}\n{\"text\":}\n");
  expect_refused("bad", {{"input", {{"files", {"bad.jsonl"}}}}}, "bad.jsonl:2");
  EXPECT_FALSE(std::filesystem::exists(file("bad/index.json")));
  expect_refused("bad", json::object(), "input.files");  // the unfinished run of another config
  (void)prepare("made");
  expect_refused("made", {{"seed", 6}}, "'seed'");
}

TEST_F(PrepareData, DamagedShardsAreRefused) {
  (void)prepare("out");
  const std::string path = file("out/shard-00000.h5");
  const std::string bytes = testing::read_file(path);
  const auto expect_damage = [&](const std::string& damaged, const std::string& part) {
    std::ofstream(path, std::ios::binary) << damaged;
    try {
      (void)load_shard(load_shard_index(file("out")), 0);
      ADD_FAILURE() << "accepted: " << part;
    } catch (const core::Error& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("shard-00000.h5"), std::string::npos) << error.what();
    }
  };
  expect_damage(bytes.substr(0, bytes.size() / 2), "bytes, expected");
  std::string flipped = bytes;
  flipped[bytes.size() / 2] ^= 1;
  expect_damage(flipped, "checksum");
  std::filesystem::remove(path);
  EXPECT_THROW((void)load_shard(load_shard_index(file("out")), 0), core::Error);
  EXPECT_THROW((void)load_shard_index(file("none")), core::Error);
}

}  // namespace
}  // namespace lastbit::corpus
