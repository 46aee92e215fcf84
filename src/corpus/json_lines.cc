#include "corpus/json_lines.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "io/json.h"
#include "text/utf8.h"

namespace lastbit::corpus {
namespace {

using nlohmann::json;

// Bytes that are not UTF-8 go through the JSON parser as code points kStandIn + byte of plane 16's private use area.
constexpr char32_t kStandIn = 0x10f000;

bool has_stand_ins(std::string_view line) {
  // U+10F000 to U+10FFFF as they are, and as the second half of their escapes' first half.
  if (line.find("\xf4\x8f") != std::string_view::npos) return true;
  for (std::size_t at = line.find("\\u"); at != std::string_view::npos; at = line.find("\\u", at + 1)) {
    std::string digits(line.substr(at + 2, 3));
    std::ranges::transform(digits, digits.begin(), [](char c) { return c >= 'A' && c <= 'F' ? char(c + 32) : c; });
    if (digits == "dbf") return true;
  }
  return false;
}

std::string with_stand_ins(std::string_view line, const std::string& name) {
  if (has_stand_ins(line))
    core::fail_input("{}: bytes that are not UTF-8 beside code points from U+10F000 on, which stand in for them", name);
  std::string result;
  while (true) {
    const std::size_t valid = text::valid_utf8_prefix(line);
    result += line.substr(0, valid);
    if (valid == line.size()) return result;
    const std::size_t invalid = text::invalid_utf8_bytes(line, valid);
    for (const char byte : line.substr(valid, invalid))
      text::append_utf8(result, kStandIn + static_cast<unsigned char>(byte));
    line.remove_prefix(valid + invalid);
  }
}

std::string without_stand_ins(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t bytes = 0;
    const char32_t value = text::code_point_at(text, at, bytes);
    if (value >= kStandIn && value < kStandIn + 256) {
      result += static_cast<char>(value - kStandIn);
    } else {
      result += text.substr(at, bytes);
    }
    at += bytes;
  }
  return result;
}

// Keeps the strings of some fields of one object.
class StringFields : public nlohmann::json_sax<json> {
 public:
  StringFields(const std::vector<std::string>& fields, const std::string& name)
      : fields_(fields), name_(name), values_(fields.size()) {}

  [[nodiscard]] bool is_object() const { return is_object_; }
  [[nodiscard]] bool has_first() const { return has_first_; }
  [[nodiscard]] std::vector<std::string>& values() { return values_; }

  bool null() override { return true; }
  bool boolean(bool /*value*/) override { return true; }
  bool number_integer(number_integer_t /*value*/) override { return true; }
  bool number_unsigned(number_unsigned_t /*value*/) override { return true; }
  bool number_float(number_float_t /*value*/, const string_t& /*text*/) override { return true; }
  bool binary(binary_t& /*value*/) override { return true; }
  bool string(string_t& value) override {
    if (depth_ != 1 || wanted_ == fields_.size()) return true;
    values_[wanted_] = std::move(value);
    has_first_ = has_first_ || wanted_ == 0;
    return true;
  }
  bool start_object(std::size_t /*size*/) override {
    is_object_ = is_object_ || depth_ == 0;
    ++depth_;
    return true;
  }
  bool start_array(std::size_t /*size*/) override {
    ++depth_;
    return true;
  }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool key(string_t& value) override {
    if (depth_ != 1) return true;
    if (std::ranges::find(keys_, value) != keys_.end())
      core::fail_input("{}: key '{}' is there twice", name_, value.substr(0, 60));
    wanted_ = static_cast<std::size_t>(std::ranges::find(fields_, value) - fields_.begin());
    keys_.push_back(std::move(value));
    return true;
  }
  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const nlohmann::detail::exception& error) override {
    const std::string reason = error.what();  // "[json.exception...] parse error at line 1, column 2: what"
    const std::size_t colon = reason.find(": ");
    core::fail_input("{}: byte {}: {}", name_, position,
                     reason.substr(colon == std::string::npos ? 0 : colon + 2, 200));
  }

 private:
  const std::vector<std::string>& fields_;
  const std::string& name_;
  std::vector<std::string> values_;
  std::vector<std::string> keys_;  // a line has few
  std::size_t wanted_ = 0;         // the field whose value comes, fields_.size() for another
  int depth_ = 0;
  bool is_object_ = false;
  bool has_first_ = false;
};

// Writing a value of JSON takes stack for each level.
void refuse_deep_nesting(std::string_view line, const std::string& name) {
  constexpr int kDeepest = 200;
  int depth = 0;
  bool quoted = false;
  for (std::size_t at = 0; at < line.size(); ++at) {
    const char c = line[at];
    if (quoted && c == '\\') {
      ++at;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && (c == '[' || c == '{')) {
      if (++depth > kDeepest) core::fail_input("{}: nested deeper than {}", name, kDeepest);
    } else if (!quoted && (c == ']' || c == '}')) {
      --depth;
    }
  }
}

std::string dump(const json& value, const std::string& name) {
  try {
    return value.dump();
  } catch (const json::exception&) {
    core::fail_input("{}: bytes that are not UTF-8 outside of the text", name);
  }
}

}  // namespace

json parse_json_object(std::string_view line, const std::string& name) {
  refuse_deep_nesting(line, name);
  json object = io::parse_json(line, name);
  if (!object.is_object()) core::fail_input("{}: {}, expected an object", name, object.type_name());
  return object;
}

JsonLine parse_json_line(std::string_view line, const std::string& field, const std::string& name) {
  const bool utf8 = text::valid_utf8_prefix(line) == line.size();
  JsonLine result;
  result.rest = utf8 ? parse_json_object(line, name) : parse_json_object(with_stand_ins(line, name), name);
  const auto found = result.rest.find(field);
  if (found == result.rest.end()) core::fail_input("{}: no '{}'", name, field);
  if (!found->is_string()) core::fail_input("{}: '{}' is {}, expected a string", name, field, found->type_name());
  result.text = std::move(found->get_ref<std::string&>());
  result.rest.erase(found);
  if (!utf8) {
    result.text = without_stand_ins(result.text);
    const std::string others = dump(result.rest, name);
    if (has_stand_ins(others)) core::fail_input("{}: bytes that are not UTF-8 outside of '{}'", name, field);
  }
  return result;
}

std::vector<std::string> parse_json_strings(std::string_view line, const std::vector<std::string>& fields,
                                            const std::string& name) {
  const bool utf8 = text::valid_utf8_prefix(line) == line.size();
  const std::string replaced = utf8 ? std::string() : with_stand_ins(line, name);
  if (!utf8) line = replaced;
  StringFields reader(fields, name);
  if (!json::sax_parse(line.begin(), line.end(), &reader) || !reader.is_object())
    core::fail_input("{}: found no object, expected one", name);
  if (!reader.has_first()) core::fail_input("{}: no '{}' that is a string", name, fields.front());
  std::vector<std::string> values = std::move(reader.values());
  if (!utf8)
    for (std::string& value : values) value = without_stand_ins(value);
  return values;
}

std::string json_string(std::string_view bytes) {
  std::string result = "\"";
  for (const char c : bytes) {
    if (c == '"' || c == '\\') {
      (result += '\\') += c;
    } else if (c == '\n') {
      result += "\\n";
    } else if (c == '\t') {
      result += "\\t";
    } else if (c == '\r') {
      result += "\\r";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      result += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      result += c;
    }
  }
  return result += '"';
}

std::string json_line(const json& rest, const std::string& field, std::string_view value) {
  std::string line = "{" + json_string(field) + ":";
  line += value;
  for (const auto& [key, other] : rest.items()) {
    line += ',';
    line += json_string(key);
    line += ':';
    line += other.dump();
  }
  return line += "}\n";
}

bool is_json_lines(const std::string& path) { return path.ends_with(".jsonl") || path.ends_with(".ndjson"); }

LineBlocks::LineBlocks(const std::string& path) : file_(io::FileBytes::open(path)) {}

std::vector<LineBlocks::Line> LineBlocks::next(std::size_t bytes) {
  const std::string_view text = file_->text();
  file_->forget();
  std::vector<Line> lines;
  const std::size_t stop = at_ + std::min(bytes, text.size() - at_);
  while (at_ < text.size() && (at_ < stop || lines.empty())) {
    std::size_t end = text.find('\n', at_);
    if (end == std::string_view::npos) end = text.size();
    ++number_;
    const std::string_view line = text.substr(at_, end - at_);
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) lines.push_back({line, number_});
    at_ = std::min(end + 1, text.size());
  }
  return lines;
}

}  // namespace lastbit::corpus
