#include "text/pre_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/error.h"
#include "text/deepseek_split.h"
#include "text/json_fields.h"

namespace lastbit::text {
namespace {

using nlohmann::json;

constexpr int kDeepestSequence = 16;
constexpr std::size_t kMostSteps = 64;
constexpr std::size_t kPiecesAtATime = 4096;  // stays in the first-level cache

constexpr std::array<std::pair<std::string_view, SplitBehavior>, 5> kBehaviors{{
    {"Removed", SplitBehavior::kRemoved},
    {"Isolated", SplitBehavior::kIsolated},
    {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
    {"MergedWithNext", SplitBehavior::kMergedWithNext},
    {"Contiguous", SplitBehavior::kContiguous},
}};

SplitBehavior behavior_of(const std::string& text, const std::string& name) {
  for (const auto& [key, behavior] : kBehaviors)
    if (key == text) return behavior;
  core::fail_input("{}: behavior '{}', expected Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous",
                   name, shortened(text));
}

// GPT-2's own split, which ByteLevel applies unless told not to.
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

struct Part {
  TextSpan span;
  bool match = false;
};

// Matches and what lies between them, in order.
std::vector<Part> parts_of(const std::vector<TextSpan>& matches, std::size_t size, bool invert) {
  std::vector<Part> parts;
  std::size_t at = 0;
  for (const TextSpan& match : matches) {
    if (match.begin > at) parts.push_back({{at, match.begin}, invert});
    parts.push_back({match, !invert});
    at = match.end;
  }
  if (at < size) parts.push_back({{at, size}, invert});
  return parts;
}

// Which parts become pieces, and which join (Hugging Face tokenizers, NormalizedString::split).
std::vector<TextSpan> behave(const std::vector<Part>& parts, SplitBehavior behavior) {
  std::vector<TextSpan> pieces;
  bool previous_match = false;
  bool open = false;  // MergedWithNext: the last piece waits for what follows it
  for (const Part& part : parts) {
    const bool first = pieces.empty();
    bool join = false;
    switch (behavior) {
      case SplitBehavior::kRemoved:
        if (part.match) continue;
        break;
      case SplitBehavior::kIsolated:
        break;
      case SplitBehavior::kContiguous:
        join = !first && part.match == previous_match;
        break;
      case SplitBehavior::kMergedWithPrevious:
        join = !first && part.match && !previous_match;
        break;
      case SplitBehavior::kMergedWithNext:
        join = !first && open && !part.match;
        open = part.match;
        break;
    }
    previous_match = part.match;
    if (join) {
      pieces.back().end = part.span.end;
    } else {
      pieces.push_back(part.span);
    }
  }
  std::erase_if(pieces, [](const TextSpan& piece) { return piece.begin == piece.end; });
  return pieces;
}

std::vector<TextSpan> find_literal(std::string_view text, std::string_view literal) {
  std::vector<TextSpan> matches;
  for (std::size_t at = text.find(literal); at != std::string_view::npos; at = text.find(literal, at + literal.size()))
    matches.push_back({at, at + literal.size()});
  return matches;
}

json split_description(const std::string& pattern) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
}

json deepseek_description() {
  json parts = json::array();
  for (const std::string& pattern : deepseek_patterns()) parts.push_back(split_description(pattern));
  parts.push_back({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}});
  return {{"type", "Sequence"}, {"pretokenizers", parts}};
}

}  // namespace

PreTokenizer::PreTokenizer(const json& description, const std::string& name) : description_(description) {
  if (!description.is_null()) add(description, name, 0);
  deepseek_ = has_deepseek_steps();
}

bool PreTokenizer::has_deepseek_steps() const {
  const std::vector<std::string>& patterns = deepseek_patterns();
  return std::ranges::equal(steps_, patterns, [](const Step& step, const std::string& pattern) {
    return !step.regex.empty() && step.pattern == pattern && step.behavior == SplitBehavior::kIsolated && !step.invert;
  });
}

PreTokenizer PreTokenizer::deepseek_v3() { return {deepseek_description(), "DeepSeek-V3's pre-tokenizer"}; }

void PreTokenizer::add(const json& part, const std::string& name, int depth) {
  const std::string type = require_string(part, "type", name);
  if (type == "Sequence") {
    if (depth >= kDeepestSequence) core::fail_input("{}: Sequences nested deeper than {}", name, kDeepestSequence);
    std::size_t index = 0;
    for (const json& inner : require_array(part, "pretokenizers", name))
      add(inner, fmt::format("{}[{}]", name, index++), depth + 1);
    return;
  }
  if (steps_.size() >= kMostSteps) core::fail_input("{}: more than {} splits", name, kMostSteps);
  if (byte_level_) core::fail_unsupported("{}: a step behind ByteLevel, expected ByteLevel at the end", name);
  if (type == "Split") {
    add_split(part, name);
  } else if (type == "Digits") {
    const bool single = bool_or(part, "individual_digits", false, name);
    const SplitBehavior behavior = single ? SplitBehavior::kIsolated : SplitBehavior::kContiguous;
    add_regex(R"(\p{N})", behavior, false, name);
  } else if (type == "ByteLevel") {
    add_byte_level(part, name);
  } else {
    core::fail_unsupported("{}: type '{}', supported are Sequence, Split, Digits and ByteLevel", name, shortened(type));
  }
}

void PreTokenizer::add_regex(const std::string& pattern, SplitBehavior behavior, bool invert, const std::string& name) {
  steps_.push_back({{SplitRegex(pattern, name)}, pattern, behavior, invert});
}

void PreTokenizer::add_split(const json& part, const std::string& name) {
  const SplitBehavior behavior = behavior_of(require_string(part, "behavior", name), name);
  const bool invert = bool_or(part, "invert", false, name);
  const json& pattern = require_field(part, "pattern", name);
  if (pattern.is_object() && pattern.size() == 1 && pattern.contains("Regex")) {
    add_regex(require_string(pattern, "Regex", name), behavior, invert, name);
  } else if (pattern.is_object() && pattern.size() == 1 && pattern.contains("String")) {
    steps_.push_back({{}, require_string(pattern, "String", name), behavior, invert});
    if (steps_.back().pattern.empty()) core::fail_input("{}: an empty String to split at", name);
  } else {
    core::fail_input("{}: pattern, expected an object with one key, Regex or String", name);
  }
}

void PreTokenizer::add_byte_level(const json& part, const std::string& name) {
  byte_level_ = true;
  if (bool_or(part, "add_prefix_space", true, name))
    core::fail_unsupported("{}: add_prefix_space true, supported is false", name);
  if (bool_or(part, "use_regex", true, name))
    add_regex(std::string(kGpt2Pattern), SplitBehavior::kIsolated, false, name);
}

void PreTokenizer::apply(const Step& step, std::string_view text, TextSpan within, std::vector<TextSpan>& pieces) {
  const std::string_view inside = text.substr(within.begin, within.end - within.begin);
  std::vector<TextSpan> matches;
  if (step.regex.empty()) {
    matches = find_literal(inside, step.pattern);
  } else {
    step.regex.front().find_all(inside, matches);
  }
  for (const TextSpan& piece : behave(parts_of(matches, inside.size(), step.invert), step.behavior))
    pieces.push_back({within.begin + piece.begin, within.begin + piece.end});
}

std::vector<TextSpan> PreTokenizer::split_plainly(std::string_view text) const {
  std::vector<TextSpan> pieces;
  if (text.empty()) return pieces;
  pieces.push_back({0, text.size()});
  std::vector<TextSpan> next;
  for (const Step& step : steps_) {
    next.clear();
    for (const TextSpan& piece : pieces) apply(step, text, piece, next);
    pieces.swap(next);
  }
  return pieces;
}

std::size_t PreTokenizer::split(std::string_view text, std::size_t at, std::vector<TextSpan>& pieces) const {
  if (deepseek_) return split_deepseek(text, at, kPiecesAtATime, pieces);
  const std::vector<TextSpan> all = split_plainly(text);
  pieces.insert(pieces.end(), all.begin(), all.end());
  return text.size();
}

}  // namespace lastbit::text
