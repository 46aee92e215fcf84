// Small vocabularies for tests.
#pragma once

#include <string>
#include <vector>

#include "text/bpe_trainer.h"

namespace lastbit::testing {

inline std::vector<std::string> training_texts() {
  return {"the quick brown fox jumps over the lazy dog, the end.\nthe theory of the thing\n",
          "int main() {\n    return 0;\n}\nfor (int i = 0; i < 100; ++i) total += i;\n",
          "我们的模型，在中国的北京。我们在北京学习中文，中文的学习。苹果 苹果 快乐 快乐\n",
          "Привет, мир! Привет! привет привет\n naïve café 😀😀 カタカナ ひらがな カタカナ\n"};
}

inline text::TokenizerDescription small_vocabulary(std::size_t size = 400) {
  text::WordCounts counts;
  const text::PreTokenizer splits = text::PreTokenizer::deepseek_v3();
  for (const std::string& text : training_texts()) text::count_words(text, splits, counts);
  return text::train_bpe(counts, {size, 1, {"<s>", "</s>"}}, splits);
}

}  // namespace lastbit::testing
