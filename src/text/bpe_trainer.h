// Training of byte-level BPE vocabularies.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"
#include "text/word_counts.h"

namespace lastbit::text {

struct BpeTraining {
  std::size_t vocab_size = 0;       // special tokens and the 256 bytes included
  std::uint64_t min_frequency = 2;  // pairs that occur less often are not merged
  std::vector<std::string> special_tokens;
};

// Merges the most frequent pair of neighbours again and again; ties go to the smaller left id, then the smaller right
// id. Ids: special tokens, the 256 bytes in order of their code points, merges. The same merges as Hugging Face
// tokenizers' BpeTrainer with its initial_alphabet of bytes, down to how overlapping pairs ("aaa") count and to tokens
// that two merges make. progress(merges): called now and then.
// Errors (bad input): a vocabulary smaller than its special tokens and bytes or above kMostTokens, a special token that
// is empty or there twice.
[[nodiscard]] TokenizerDescription train_bpe(const WordCounts& words, const BpeTraining& training,
                                             const PreTokenizer& pre_tokenizer,
                                             const std::function<void(std::size_t merges)>& progress = {});

// Counts the pieces of one text; not UTF-8 counts as U+FFFD.
void count_words(std::string_view text, const PreTokenizer& pre_tokenizer, WordCounts& counts);

}  // namespace lastbit::text
