#include "io/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <vector>

#include "core/error.h"
#include "io/file_bytes.h"

namespace lastbit::io {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxQuoted = 60;  // characters of a value that a message repeats

std::string shorten(std::string text) {
  if (text.size() > kMaxQuoted) text = text.substr(0, kMaxQuoted) + "...";
  return text;
}

[[noreturn]] void fail_at_byte(std::string_view text, const std::string& name, const json::parse_error& error) {
  const std::size_t byte = std::min(error.byte == 0 ? 0 : error.byte - 1, text.size());
  const std::string_view before = text.substr(0, byte);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const std::size_t line_start = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
  // nlohmann says "[json.exception...] parse error at line 1, column 2: what": keep the what.
  std::string reason = error.what();
  const std::size_t colon = reason.find(": ");
  if (colon != std::string::npos) reason = reason.substr(colon + 2);
  constexpr std::size_t kMaxReason = 200;
  if (reason.size() > kMaxReason) reason = reason.substr(0, kMaxReason) + "...";
  core::fail_input("{}:{}:{}: {}", name, line, byte - line_start + 1, reason);
}

// Looks for a key that is there twice in one object, which a DOM would silently drop. A pass of its own, because the
// library's parser with a callback takes time quadratic in the length of an array of objects.
class DuplicateKeys : public nlohmann::json_sax<json> {
 public:
  [[nodiscard]] const std::optional<std::string>& found() const { return found_; }

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  bool start_object(std::size_t) override {
    open_objects_.emplace_back();
    return true;
  }
  bool end_object() override {
    open_objects_.pop_back();
    return true;
  }
  bool key(string_t& name) override {
    if (!open_objects_.back().insert(name).second) found_ = name;
    return !found_.has_value();
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

 private:
  std::vector<std::set<std::string>> open_objects_;
  std::optional<std::string> found_;
};

}  // namespace

json parse_json(std::string_view text, const std::string& name) {
  DuplicateKeys duplicates;
  (void)json::sax_parse(text.begin(), text.end(), &duplicates);  // what else is wrong, the parser below says better
  if (duplicates.found())
    core::fail_input("{}: key '{}' is there twice in one object", name, shorten(*duplicates.found()));
  try {
    return json::parse(text.begin(), text.end());
  } catch (const json::parse_error& error) {
    fail_at_byte(text, name, error);
  } catch (const json::exception& error) {
    core::fail_input("{}: {}", name, error.what());
  }
}

json load_json(const std::string& path) { return parse_json(FileBytes::open(path)->text(), path); }

std::string describe_json(const json& value) {
  if (value.is_object()) return fmt::format("an object of {} keys", value.size());
  if (value.is_array()) return fmt::format("an array of {}", value.size());
  if (value.is_null()) return "null";
  const std::string text = shorten(value.dump(-1, ' ', true, json::error_handler_t::replace));
  return fmt::format("{} {}", value.type_name(), text);
}

}  // namespace lastbit::io
