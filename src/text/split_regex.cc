#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/split_regex.h"

#include <fmt/format.h>
#include <pcre2.h>

#include <algorithm>
#include <array>

#include "core/error.h"
#include "text/unicode_categories.h"
#include "text/utf8.h"

namespace lastbit::text {
namespace {

constexpr std::size_t kLongestPattern = std::size_t{1} << 16U;
// Of one match; PCRE2's default of 10 million steps, and memory that a backtracking match may take.
constexpr std::uint32_t kMatchLimit = 10'000'000;
constexpr std::uint32_t kHeapLimitKib = 64 * 1024;
constexpr std::size_t kJitStackBytes = 1024 * 1024;

// Unicode's White_Space as the inside of a class: PCRE2's own \s has U+180E as well.
constexpr std::string_view kWhiteSpace = R"(\x{9}-\x{d}\x{85}\p{Z})";

bool is_general_category(std::string_view name) {
  constexpr std::array<std::string_view, 37> kNames{
      "C",  "Cc", "Cf", "Cn", "Co", "Cs", "L",  "Ll", "Lm", "Lo", "Lt", "Lu", "M",  "Mc", "Me", "Mn", "N",  "Nd", "Nl",
      "No", "P",  "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S",  "Sc", "Sk", "Sm", "So", "Z",  "Zl", "Zp", "Zs"};
  return std::ranges::find(kNames, name) != kNames.end();
}

// Ranges of category `name` that PCRE2 may not know yet, as the inside of a class.
std::string later_ranges(std::string_view name) {
  std::string ranges;
  for (const CategoryRange& range : categories_since_unicode_14())
    if (range.category.starts_with(name))
      ranges += fmt::format("\\x{{{:x}}}-\\x{{{:x}}}", static_cast<std::uint32_t>(range.first),
                            static_cast<std::uint32_t>(range.last));
  return ranges;
}

// \p{name} or, negated, \P{name}.
std::string property(std::string_view name, bool negated, bool in_class) {
  const std::string letter = negated ? "P" : "p";
  if (!is_general_category(name)) {
    const bool script = name.size() > 2 && name != "Any" && name.find_first_of("=:") == std::string_view::npos &&
                        name.front() >= 'A' && name.front() <= 'Z' && !name.starts_with("X");
    return fmt::format("\\{}{{{}{}}}", letter, script ? "sc:" : "", name);
  }
  const std::string ranges = name == "Cn" || name == "C" ? "" : later_ranges(name);
  if (ranges.empty() || (in_class && negated)) return fmt::format("\\{}{{{}}}", letter, name);
  if (in_class) return fmt::format("\\p{{{}}}{}", name, ranges);
  return fmt::format("[{}\\p{{{}}}{}]", negated ? "^" : "", name, ranges);
}

// Reads one expression from left to right, an escape or a symbol at a time.
class Rewriting {
 public:
  Rewriting(std::string_view pattern, const std::string& name) : pattern_(pattern), name_(name) {}

  std::string run() {
    while (at_ < pattern_.size()) {
      if (pattern_[at_] == '\\' && at_ + 1 < pattern_.size()) {
        escape();
      } else {
        symbol();
      }
    }
    return std::move(result_);
  }

 private:
  void symbol() {
    const char now = pattern_[at_];
    if (depth_ > 0 && pattern_.substr(at_).starts_with("[:")) return posix_class();
    if (depth_ > 0 && pattern_.substr(at_).starts_with("&&"))
      core::fail_input("{}: '&&' at byte {}, expected a class without intersection", name_, at_);
    result_ += now;
    ++at_;
    if (now == '[') {
      if (depth_ > 0) core::fail_input("{}: '[' inside a class at byte {}, expected \\[", name_, at_ - 1);
      ++depth_;
      if (at_ < pattern_.size() && pattern_[at_] == '^') result_ += pattern_[at_++];
      if (at_ < pattern_.size() && pattern_[at_] == ']') result_ += pattern_[at_++];
    } else if (now == ']' && depth_ > 0) {
      --depth_;
    }
  }

  void posix_class() {  // [:alpha:] goes through as it is
    const std::size_t end = pattern_.find(":]", at_);
    const std::size_t length = end == std::string_view::npos ? 1 : end + 2 - at_;
    result_ += pattern_.substr(at_, length);
    at_ += length;
  }

  void escape() {
    const char kind = pattern_[at_ + 1];
    at_ += 2;
    if (kind == 's') {
      result_ += depth_ > 0 ? std::string(kWhiteSpace) : fmt::format("[{}]", kWhiteSpace);
    } else if (kind == 'S' && depth_ == 0) {
      result_ += fmt::format("[^{}]", kWhiteSpace);
    } else if (kind == 'p' || kind == 'P') {
      named_property(kind == 'P');
    } else {
      (result_ += '\\') += kind;
    }
  }

  void named_property(bool negated) {
    std::string_view name = pattern_.substr(at_, 1);
    std::size_t length = name.size();
    if (name == "{") {
      const std::size_t end = pattern_.find('}', at_);
      if (end == std::string_view::npos) core::fail_input("{}: '{{' at byte {} is not closed", name_, at_);
      name = pattern_.substr(at_ + 1, end - at_ - 1);
      length = end + 1 - at_;
    }
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    at_ += length;
    result_ += property(name, negated, depth_ > 0);
  }

  std::string_view pattern_;
  const std::string& name_;
  std::size_t at_ = 0;
  int depth_ = 0;  // 1 inside [ ]
  std::string result_;
};

std::string pcre2_message(int error) {
  std::array<unsigned char, 256> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

// What one thread needs to match.
struct MatchMemory {
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 * 1024, kJitStackBytes, nullptr);

  MatchMemory() {
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_heap_limit(context, kHeapLimitKib);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~MatchMemory() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
  MatchMemory(const MatchMemory&) = delete;
  MatchMemory& operator=(const MatchMemory&) = delete;
};

}  // namespace

struct SplitRegex::Code {
  explicit Code(pcre2_code* compiled) : code(compiled) {}
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  pcre2_code* code;
};

std::string pcre2_pattern(std::string_view pattern, const std::string& name) { return Rewriting(pattern, name).run(); }

SplitRegex::SplitRegex(const std::string& pattern, const std::string& name) : name_(name) {
  if (pattern.size() > kLongestPattern)
    core::fail_input("{}: a regular expression of {} bytes, expected at most {}", name, pattern.size(),
                     kLongestPattern);
  if (valid_utf8_prefix(pattern) != pattern.size()) core::fail_input("{}: the regular expression is not UTF-8", name);
  const std::string rewritten = pcre2_pattern(pattern, name);
  int error = 0;
  std::size_t place = 0;
  constexpr std::uint32_t kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(rewritten.data()), rewritten.size(), kOptions, &error,
                                   &place, nullptr);
  if (code == nullptr)
    core::fail_input("{}: the regular expression '{}' is invalid: {}", name, pattern.substr(0, 60),
                     pcre2_message(error));
  code_ = std::make_shared<Code>(code);
  (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // where there is no JIT, the interpreter gives the same matches
}

void SplitRegex::find_all(std::string_view text, std::vector<TextSpan>& matches) const {
  thread_local const MatchMemory memory;
  matches.clear();
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const std::size_t* found = pcre2_get_ovector_pointer(memory.data);
  std::size_t at = 0;
  while (at <= text.size()) {
    const int count =
        pcre2_match(code_->code, subject, text.size(), at, PCRE2_NO_UTF_CHECK, memory.data, memory.context);
    if (count == PCRE2_ERROR_NOMATCH) return;
    if (count < 0)
      core::fail_input("{}: the regular expression fails on a text of {} bytes: {}", name_, text.size(),
                       pcre2_message(count));
    const TextSpan match{found[0], found[1]};
    if (match.begin > match.end || match.begin < at)
      core::fail_input("{}: the regular expression matches backwards (\\K), which a split cannot use", name_);
    if (match.begin < match.end) {
      matches.push_back(match);
      at = match.end;
      continue;
    }
    const bool follows = !matches.empty() && matches.back().end == match.end;
    if (!follows) matches.push_back(match);
    at = match.end + std::max<std::size_t>(1, code_point_bytes(text, match.end));
  }
}

}  // namespace lastbit::text
