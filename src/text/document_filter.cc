#include "text/document_filter.h"

#include <algorithm>
#include <array>
#include <unordered_set>

#include "text/unicode_categories.h"
#include "text/utf8.h"

namespace lastbit::text {
namespace {

struct ScriptRange {
  char32_t first;
  char32_t last;
  std::string_view script;
};

// The main blocks of each script (Unicode's Blocks.txt): enough to tell which one a document is in.
constexpr std::array<ScriptRange, 24> kScripts{
    {{0x41, 0x5a, "latin"},      {0x61, 0x7a, "latin"},        {0xc0, 0x24f, "latin"},     {0x370, 0x3ff, "greek"},
     {0x400, 0x52f, "cyrillic"}, {0x531, 0x58f, "armenian"},   {0x590, 0x5ff, "hebrew"},   {0x600, 0x6ff, "arabic"},
     {0x750, 0x77f, "arabic"},   {0x900, 0x97f, "devanagari"}, {0x980, 0x9ff, "bengali"},  {0xb80, 0xbff, "tamil"},
     {0xe00, 0xe7f, "thai"},     {0x10a0, 0x10ff, "georgian"}, {0x1100, 0x11ff, "hangul"}, {0x1e00, 0x1eff, "latin"},
     {0x1f00, 0x1fff, "greek"},  {0x3040, 0x309f, "kana"},     {0x30a0, 0x30ff, "kana"},   {0x3400, 0x4dbf, "han"},
     {0x4e00, 0x9fff, "han"},    {0xac00, 0xd7af, "hangul"},   {0xf900, 0xfaff, "han"},    {0x20000, 0x3134f, "han"}}};

std::string_view script_of(char32_t value) {
  const auto* after = std::upper_bound(kScripts.begin(), kScripts.end(), value,
                                       [](char32_t v, const ScriptRange& range) { return v < range.first; });
  if (after == kScripts.begin() || value > (after - 1)->last) return {};
  return (after - 1)->script;
}

struct Composition {
  std::int64_t code_points = 0;
  std::int64_t visible = 0;  // not white space
  std::int64_t word = 0;     // letters, marks, numbers
  std::int64_t letters = 0;
  std::int64_t in_scripts = 0;  // letters of the filter's scripts
};

Composition compose(std::string_view text, const std::vector<std::string>& scripts) {
  Composition found;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t bytes = 0;
    const char32_t value = code_point_at(text, at, bytes);
    at += bytes;
    ++found.code_points;
    const char category = general_category(value)[0];
    const bool space = category == 'Z' || (value >= 0x9 && value <= 0xd);
    found.visible += space ? 0 : 1;
    found.word += category == 'L' || category == 'M' || category == 'N' ? 1 : 0;
    if (category != 'L') continue;
    ++found.letters;
    found.in_scripts += std::ranges::find(scripts, script_of(value)) != scripts.end() ? 1 : 0;
  }
  return found;
}

double repeated_line_share(std::string_view text) {
  std::unordered_set<std::string_view> seen;
  std::size_t repeated = 0;
  std::size_t all = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    all += line.size();
    if (!seen.insert(line).second) repeated += line.size();
  }
  return all == 0 ? 0 : static_cast<double>(repeated) / static_cast<double>(all);
}

double part_of(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

// The host of "https://www.example.org:80/x".
std::string_view host_of(std::string_view url) {
  const std::size_t scheme = url.find("://");
  if (scheme != std::string_view::npos) url.remove_prefix(scheme + 3);
  url = url.substr(0, url.find_first_of("/?#"));
  const std::size_t user = url.rfind('@');
  if (user != std::string_view::npos) url.remove_prefix(user + 1);
  return url.substr(0, url.find(':'));
}

bool is_blocked(std::string_view url, const std::vector<std::string>& domains) {
  const std::string_view host = host_of(url);
  return std::ranges::any_of(domains, [&](const std::string& domain) {
    return host.ends_with(domain) && (host.size() == domain.size() || host[host.size() - domain.size() - 1] == '.');
  });
}

std::int64_t count_code_points(std::string_view text) {
  return std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80; });
}

}  // namespace

const std::vector<std::string>& script_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const ScriptRange& range : kScripts) all.emplace_back(range.script);
    std::ranges::sort(all);
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
  }();
  return names;
}

std::string_view rejected_by(const DocumentFilter& filter, std::string_view text, std::string_view language,
                             std::string_view url) {
  const std::int64_t code_points = count_code_points(text);
  if (code_points < filter.min_code_points) return "min_code_points";
  if (filter.max_code_points > 0 && code_points > filter.max_code_points) return "max_code_points";
  if (!filter.languages.empty() && std::ranges::find(filter.languages, language) == filter.languages.end())
    return "languages";
  if (!filter.blocked_domains.empty() && is_blocked(url, filter.blocked_domains)) return "blocked_domains";
  if (filter.max_repeated_line_share < 1 && repeated_line_share(text) > filter.max_repeated_line_share)
    return "max_repeated_line_share";
  if (filter.min_letter_share <= 0 && filter.scripts.empty()) return {};
  const Composition found = compose(text, filter.scripts);
  if (part_of(found.word, found.visible) < filter.min_letter_share) return "min_letter_share";
  if (!filter.scripts.empty() && part_of(found.in_scripts, found.letters) < filter.min_script_share) return "scripts";
  return {};
}

}  // namespace lastbit::text
