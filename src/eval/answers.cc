#include "eval/answers.h"

#include <algorithm>
#include <map>

#include "core/error.h"

namespace lastbit::eval {
namespace {

bool is_ascii_punctuation(char c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

std::vector<std::string> words_of(std::string_view answer) {
  std::vector<std::string> words;
  std::string word;
  const auto finish = [&] {
    if (!word.empty() && word != "a" && word != "an" && word != "the") words.push_back(word);
    word.clear();
  };
  for (const char c : answer) {
    if (is_ascii_punctuation(c)) continue;
    if (c == ' ' || (c >= '\t' && c <= '\r'))
      finish();
    else
      word += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  finish();
  return words;
}

double f1_of(const std::vector<std::string>& answer, const std::vector<std::string>& reference) {
  if (answer.empty() || reference.empty()) return answer.empty() && reference.empty() ? 1 : 0;
  std::map<std::string, std::int64_t> left;
  for (const std::string& word : reference) ++left[word];
  std::int64_t shared = 0;
  for (const std::string& word : answer)
    if (const auto found = left.find(word); found != left.end() && found->second > 0) {
      --found->second;
      ++shared;
    }
  return 2 * static_cast<double>(shared) / static_cast<double>(answer.size() + reference.size());
}

}  // namespace

std::string normalised_answer(std::string_view answer) {
  std::string text;
  for (const std::string& word : words_of(answer)) text += (text.empty() ? "" : " ") + word;
  return text;
}

bool exact_match(std::string_view answer, const std::vector<std::string>& references) {
  const std::string own = normalised_answer(answer);
  return std::ranges::any_of(references, [&](const std::string& one) { return normalised_answer(one) == own; });
}

double f1_score(std::string_view answer, const std::vector<std::string>& references) {
  const std::vector<std::string> own = words_of(answer);
  double best = 0;
  for (const std::string& reference : references) best = std::max(best, f1_of(own, words_of(reference)));
  return best;
}

double pass_at_k(std::int64_t n, std::int64_t c, std::int64_t k) {
  if (c < 0 || c > n) core::fail_input("pass@k: {} of {} samples passed, expected 0 to {}", c, n, n);
  if (k < 1 || k > n) core::fail_input("pass@k: k is {}, expected 1 to the {} samples", k, n);
  if (n - c < k) return 1;
  double none = 1;
  for (std::int64_t i = n - c + 1; i <= n; ++i) none *= 1 - static_cast<double>(k) / static_cast<double>(i);
  return 1 - none;
}

}  // namespace lastbit::eval
