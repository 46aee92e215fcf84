#include "text/bpe_trainer.h"

#include <algorithm>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "core/error.h"
#include "text/byte_alphabet.h"
#include "text/json_fields.h"
#include "text/pair_counts.h"
#include "text/utf8.h"

namespace lastbit::text {
namespace {

// Lists of words in one pool: a queue of a few million pairs has a list each, most of them short.
class WordLists {
 public:
  static constexpr std::uint32_t kEnd = 0xffffffffU;

  // Puts `word` at the head of the list unless it is there already.
  void push(std::uint32_t& head, std::uint32_t word) {
    if (head != kEnd && nodes_[head].word == word) return;
    std::uint32_t node = free_;
    if (node == kEnd) {
      node = static_cast<std::uint32_t>(nodes_.size());
      core::check(node != kEnd, "too many occurrences of pairs for 32-bit lists");
      nodes_.emplace_back();
    } else {
      free_ = nodes_[node].next;
    }
    nodes_[node] = {word, head};
    head = node;
  }
  // Visits and frees a list.
  template <typename Visit>
  void drain(std::uint32_t head, const Visit& visit) {
    while (head != kEnd) {
      const Node node = nodes_[head];
      nodes_[head].next = free_;
      free_ = head;
      visit(node.word);
      head = node.next;
    }
  }

 private:
  struct Node {
    std::uint32_t word;
    std::uint32_t next;
  };
  std::vector<Node> nodes_;
  std::uint32_t free_ = kEnd;
};

struct QueuedPair {
  std::int64_t count;
  std::uint64_t pair;   // left id, right id
  std::uint32_t words;  // where it was found when it was queued
  bool operator<(const QueuedPair& other) const {
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

class BpeTrainerRun {
 public:
  BpeTrainerRun(const WordCounts& words, const BpeTraining& training) : training_(training) {
    start_vocabulary();
    load_words(words);
    for (std::uint32_t word = 0; word < counts_.size(); ++word)
      for (std::size_t i = begins_[word]; i + 1 < ends_[word]; ++i)
        change(pair_of(symbols_[i], symbols_[i + 1]), counts_[word], word);
    queue_changes();
  }

  void run(const std::function<void(std::size_t)>& progress) {
    constexpr std::size_t kProgressEvery = 256;
    while (vocab_.size() < training_.vocab_size && !queue_.empty()) {
      QueuedPair top = queue_.top();
      queue_.pop();
      const std::int64_t now = pair_counts_.count(top.pair);
      if (top.count != now) {
        top.count = now;
        if (worth(now)) {
          queue_.push(top);
        } else {
          lists_.drain(top.words, [](std::uint32_t) {});
        }
        continue;
      }
      merge(top);
      if (progress && merges_.size() % kProgressEvery == 0) progress(merges_.size());
    }
  }

  [[nodiscard]] TokenizerDescription description(const PreTokenizer& pre_tokenizer) const {
    TokenizerDescription result;
    for (std::size_t id = 0; id < vocab_.size(); ++id) result.vocab.emplace_back(vocab_[id], static_cast<TokenId>(id));
    result.merges = merges_;
    for (std::size_t id = 0; id < training_.special_tokens.size(); ++id)
      result.added.push_back(
          {static_cast<TokenId>(id), training_.special_tokens[id], false, false, false, false, true});
    result.pre_tokenizer = pre_tokenizer.description();
    result.decoder = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
    return result;
  }

 private:
  static std::uint64_t pair_of(TokenId left, TokenId right) { return std::uint64_t{left} << 32U | right; }
  [[nodiscard]] bool worth(std::int64_t count) const {
    return count >= static_cast<std::int64_t>(std::max<std::uint64_t>(training_.min_frequency, 1));
  }

  void start_vocabulary() {
    const std::size_t least = training_.special_tokens.size() + 256;
    if (training_.vocab_size < least || training_.vocab_size > kMostTokens)
      core::fail_input("tokenizer: a vocabulary of {}, expected {} (special tokens and bytes) to {}",
                       training_.vocab_size, least, kMostTokens);
    for (const std::string& token : training_.special_tokens)
      if (token.empty() || !add_token(token))
        core::fail_input("tokenizer: special token '{}', expected one that is not empty and not there twice",
                         shortened(token));
    for (const unsigned char byte : bytes_by_code_point()) {
      const std::string content = to_byte_alphabet(std::string(1, static_cast<char>(byte)));
      (void)add_token(content);  // a special token may be the same
      byte_ids_[byte] = ids_.at(content);
    }
  }
  bool add_token(const std::string& content) {
    if (!ids_.emplace(content, static_cast<TokenId>(vocab_.size())).second) return false;
    vocab_.push_back(content);
    return true;
  }

  void load_words(const WordCounts& words) {
    for (std::size_t i = 0; i < words.size(); ++i) {
      const std::string_view word = words.word(i);
      if (word.size() < 2) continue;
      begins_.push_back(symbols_.size());
      for (const char byte : word) symbols_.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
      ends_.push_back(symbols_.size());
      counts_.push_back(static_cast<std::int64_t>(words.count(i)));
    }
  }

  // A pair occurs `delta` more often (or less); where it occurs more often, in `word`, it will be queued.
  void change(std::uint64_t pair, std::int64_t delta, std::uint32_t word) {
    PairCounts::Entry& entry = pair_counts_.at(pair);
    entry.count += delta;
    if (delta <= 0) return;
    if (entry.step_place == PairCounts::kNowhere) {
      entry.step_place = static_cast<std::uint32_t>(risen_.size());
      risen_.push_back({0, pair, WordLists::kEnd});
    }
    lists_.push(risen_[entry.step_place].words, word);
  }
  void queue_changes() {
    for (QueuedPair& pair : risen_) {
      PairCounts::Entry& entry = pair_counts_.at(pair.pair);
      entry.step_place = PairCounts::kNowhere;
      pair.count = entry.count;
      if (worth(pair.count)) {
        queue_.push(pair);
      } else {
        lists_.drain(pair.words, [](std::uint32_t) {});
      }
    }
    risen_.clear();
  }

  void merge(const QueuedPair& top) {
    const auto left = static_cast<TokenId>(top.pair >> 32U);
    const auto right = static_cast<TokenId>(top.pair);
    const std::string content = vocab_[left] + vocab_[right];
    (void)add_token(content);  // two merges may make one token
    merges_.emplace_back(vocab_[left], vocab_[right]);
    const TokenId result = ids_.at(content);
    lists_.drain(top.words, [&](std::uint32_t word) { merge_in(word, left, right, result); });
    queue_changes();
  }

  // Counts change as in Hugging Face's Word::merge: at each merge the pairs with its neighbours, the left one as it is
  // by now, the right one as it was.
  void merge_in(std::uint32_t word, TokenId left, TokenId right, TokenId result) {
    TokenId* symbols = symbols_.data() + begins_[word];
    const std::size_t size = ends_[word] - begins_[word];
    const std::int64_t count = counts_[word];
    std::size_t out = 0;
    for (std::size_t i = 0; i < size; ++i) {
      if (symbols[i] != left || i + 1 >= size || symbols[i + 1] != right) {
        symbols[out++] = symbols[i];
        continue;
      }
      if (out > 0) {
        change(pair_of(symbols[out - 1], left), -count, word);
        change(pair_of(symbols[out - 1], result), count, word);
      }
      if (i + 2 < size) {
        change(pair_of(right, symbols[i + 2]), -count, word);
        change(pair_of(result, symbols[i + 2]), count, word);
      }
      symbols[out++] = result;
      ++i;
    }
    ends_[word] = begins_[word] + out;
  }

  const BpeTraining& training_;
  std::vector<std::string> vocab_;
  std::unordered_map<std::string, TokenId> ids_;
  std::array<TokenId, 256> byte_ids_{};
  std::vector<std::pair<std::string, std::string>> merges_;
  std::vector<TokenId> symbols_;  // of all words, one after another; word w has [begins_[w], ends_[w])
  std::vector<std::size_t> begins_;
  std::vector<std::size_t> ends_;
  std::vector<std::int64_t> counts_;
  PairCounts pair_counts_;
  WordLists lists_;
  std::vector<QueuedPair> risen_;  // pairs that occur more often since the last merge
  std::priority_queue<QueuedPair> queue_;
};

}  // namespace

TokenizerDescription train_bpe(const WordCounts& words, const BpeTraining& training, const PreTokenizer& pre_tokenizer,
                               const std::function<void(std::size_t merges)>& progress) {
  BpeTrainerRun run(words, training);
  run.run(progress);
  return run.description(pre_tokenizer);
}

void count_words(std::string_view text, const PreTokenizer& pre_tokenizer, WordCounts& counts) {
  std::string replaced;
  if (valid_utf8_prefix(text) != text.size()) {
    replaced = replace_invalid_utf8(text);
    text = replaced;
  }
  std::vector<TextSpan> pieces;
  for (std::size_t at = 0; at < text.size();) {
    pieces.clear();
    at = pre_tokenizer.split(text, at, pieces);
    for (const TextSpan& piece : pieces) counts.add(text.substr(piece.begin, piece.end - piece.begin));
  }
}

}  // namespace lastbit::text
