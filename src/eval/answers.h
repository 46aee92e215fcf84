// Answers held against references: exact match, F1, pass@k.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lastbit::eval {

// As SQuAD's evaluation does (Rajpurkar et al., arXiv 1606.05250): ASCII letters in lower case, ASCII punctuation and
// the words a, an, the removed, runs of white space made one space.
[[nodiscard]] std::string normalised_answer(std::string_view answer);

// Whether the normalised answer is one of the normalised references.
[[nodiscard]] bool exact_match(std::string_view answer, const std::vector<std::string>& references);

// The best F1 over the references of the words that answer and reference share, each as often as in both. Both without
// words: 1.
[[nodiscard]] double f1_score(std::string_view answer, const std::vector<std::string>& references);

// The chance that one of k samples passes, of n of which c passed: 1 - C(n - c, k) / C(n, k), unbiased (Chen et al.,
// arXiv 2107.03374, equation 1), as a product. Errors (bad input): not 0 <= c <= n or not 1 <= k <= n.
[[nodiscard]] double pass_at_k(std::int64_t n, std::int64_t c, std::int64_t k);

}  // namespace lastbit::eval
