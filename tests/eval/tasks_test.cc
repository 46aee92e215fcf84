#include "eval/tasks.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "corpus/tokenize_files.h"
#include "io/atomic_file.h"
#include "model/init.h"
#include "support/shared.h"

namespace lastbit::eval {
namespace {

class Tasks : public ::testing::Test {
 protected:
  Tasks() { model::init_checkpoint("micro", 1, folder_.path()); }

  [[nodiscard]] TaskReport run(const std::string& lines, ChoiceStyle style = ChoiceStyle::kCloze) const {
    io::write_text_file(folder_.file("tasks.jsonl"), lines);
    return run_tasks(model(), tokenizer_, folder_.file("tasks.jsonl"), {style, 4});
  }
  [[nodiscard]] model::Transformer model() const {
    return model::Transformer::load(folder_.path(), ops::numerics_by_name("fp32"));
  }

  testing::TempDir folder_;
  text::Tokenizer tokenizer_ = corpus::load_tokenizer(testing::source_path("data/tokenizer/lastbit-8k.json"));
};

// An untrained model finds all texts about as likely a token, so a byte of a long token is likelier.
TEST_F(Tasks, JudgesOptionsByLossAByte) {
  const std::string line = R"({"question":"A","options":["qzjx","the function"],"answer":1})";
  const TaskReport cloze = run(line + "\n" + R"({"question":"A","options":["qzjx","the function"],"answer":0})");
  EXPECT_EQ(cloze.choices, 2);
  EXPECT_EQ(cloze.right, 1);
  EXPECT_EQ(cloze.lines[0].at("chosen"), 1);
  EXPECT_EQ(run(line, ChoiceStyle::kLetter).choices, 1);
}

TEST_F(Tasks, WritesAnswersAndJudgesThem) {
  const TaskReport report = run(R"({"question":"The capital","answers":["Paris"]})");
  EXPECT_EQ(report.answers, 1);
  EXPECT_EQ(report.exact, 0);
  EXPECT_TRUE(report.summary().contains("answers"));
}

TEST_F(Tasks, RefusesOtherForms) {
  EXPECT_THROW((void)run(""), core::Error);
  EXPECT_THROW((void)run(R"({"question":"x","options":["y"],"answer":0})"), core::Error);
  EXPECT_THROW((void)run(R"({"question":"x","options":["y","z"],"answer":2})"), core::Error);
  EXPECT_THROW((void)run(R"({"question":"x","answer":"y"})"), core::Error);
}

TEST_F(Tasks, NeedlesLieWhereTheyShould) {
  std::string hay;
  for (int i = 0; i < 200; ++i) hay += "Grass grows here. ";
  const std::vector<Needle> needles = find_needles(model(), tokenizer_, hay, {64, 128}, {0, 0.5, 1}, 1, 7);
  ASSERT_EQ(needles.size(), 6U);
  EXPECT_EQ(needles[4].depth, 0.5);
  EXPECT_EQ(needles[4].length, 128);
  EXPECT_GT(needles[4].nll, 1);
  EXPECT_THROW((void)find_needles(model(), tokenizer_, "short", {64}, {0.5}, 1, 7), core::Error);
}

}  // namespace
}  // namespace lastbit::eval
