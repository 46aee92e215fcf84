// Tasks in JSON lines: questions with options, and questions with answers to be written.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/transformer.h"
#include "text/tokenizer.h"

namespace lastbit::eval {

// How options are scored.
enum class ChoiceStyle : std::uint8_t {
  kCloze,   // each option's text after the question; the loss a byte of the option decides
  kLetter,  // the options are listed as A., B., ...; the likeliest letter after "Answer:" decides
};

struct TaskReport {
  std::int64_t tasks = 0;
  std::int64_t choices = 0;           // with "options"
  std::int64_t right = 0;             // of those
  std::int64_t answers = 0;           // with "answers"
  std::int64_t exact = 0;             // of those
  double f1 = 0;                      // mean over those
  std::vector<nlohmann::json> lines;  // one a task: what was chosen or written, and how it was judged

  [[nodiscard]] nlohmann::json summary() const;
};

struct TaskOptions {
  ChoiceStyle style = ChoiceStyle::kCloze;
  std::int64_t max_tokens = 32;  // of a written answer, which ends with a line
};

// A line is {"question": text, "options": [texts], "answer": index from 0}, or {"question": text, "answers": [texts]},
// whose answer is written greedily. Errors (bad input): a file without tasks; a line of another form, with its number;
// a question longer than the model's positions.
[[nodiscard]] TaskReport run_tasks(const model::Transformer& model, const text::Tokenizer& tokenizer,
                                   const std::string& path, const TaskOptions& options);

// A needle in a haystack: a line "The key of NAME is NUMBER." at `depth` (0 to 1) of `length` tokens of `hay`, then
// "The key of NAME is" at the end. Whether the NUMBER's tokens are each the likeliest.
struct Needle {
  double depth = 0;
  std::int64_t length = 0;
  bool found = false;
  double nll = 0;  // of the number, nats a token
};
// `trials` needles a place, drawn from the seed. Errors (bad input): hay shorter than the longest length; a length
// beyond the model's positions or too short for a needle.
[[nodiscard]] std::vector<Needle> find_needles(const model::Transformer& model, const text::Tokenizer& tokenizer,
                                               const std::string& hay, const std::vector<std::int64_t>& lengths,
                                               const std::vector<double>& depths, std::int64_t trials,
                                               std::uint64_t seed);

}  // namespace lastbit::eval
