// The cut of a text into pieces before byte-level BPE, as "pre_tokenizer" of tokenizer.json describes it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "text/split_regex.h"

namespace lastbit::text {

// What becomes of a match: names as in tokenizer.json.
enum class SplitBehavior : std::uint8_t {
  kRemoved,             // it is left out
  kIsolated,            // a piece of its own
  kMergedWithPrevious,  // the end of the piece before it
  kMergedWithNext,      // the beginning of the piece behind it
  kContiguous,          // matches that touch are one piece
};

// Splits that are applied one after another, each to every piece of the one before it: what an expression sees ends
// where its piece ends.
class PreTokenizer {
 public:
  // `description`: the value of "pre_tokenizer": Sequence, Split (Regex or String), Digits, ByteLevel, or null, which
  // splits nothing. `name` precedes messages. Errors: bad input, in one line; other kinds are unsupported.
  PreTokenizer(const nlohmann::json& description, const std::string& name);

  // DeepSeek-V3's own.
  [[nodiscard]] static PreTokenizer deepseek_v3();

  // Whether it splits as DeepSeek-V3's.
  [[nodiscard]] bool is_deepseek() const { return deepseek_; }
  // Whether it maps bytes to the byte alphabet, as byte-level BPE needs; at the end of everything.
  [[nodiscard]] bool byte_level() const { return byte_level_; }
  // The value of "pre_tokenizer".
  [[nodiscard]] const nlohmann::json& description() const { return description_; }

  // The next pieces of `text` from byte `at` on; returns where to go on, text.size() when done. `at` is 0 or what the
  // call before returned. Pieces are non-empty and in order. `text`: valid UTF-8.
  std::size_t split(std::string_view text, std::size_t at, std::vector<TextSpan>& pieces) const;
  // All pieces, by the expressions themselves: the plain way.
  [[nodiscard]] std::vector<TextSpan> split_plainly(std::string_view text) const;

 private:
  struct Step {
    std::vector<SplitRegex> regex;  // one, or none when `pattern` is a literal
    std::string pattern;
    SplitBehavior behavior = SplitBehavior::kIsolated;
    bool invert = false;
  };
  void add(const nlohmann::json& part, const std::string& name, int depth);
  void add_regex(const std::string& pattern, SplitBehavior behavior, bool invert, const std::string& name);
  void add_split(const nlohmann::json& part, const std::string& name);
  void add_byte_level(const nlohmann::json& part, const std::string& name);
  [[nodiscard]] bool has_deepseek_steps() const;
  static void apply(const Step& step, std::string_view text, TextSpan within, std::vector<TextSpan>& pieces);

  nlohmann::json description_;
  std::vector<Step> steps_;
  bool byte_level_ = false;
  bool deepseek_ = false;  // the steps are those of split_deepseek
};

}  // namespace lastbit::text
