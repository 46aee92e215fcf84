#include "check/gpu_records.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.h"
#include "io/config_file.h"
#include "io/config_reader.h"
#include "numerics/parse.h"

namespace lastbit::check {
namespace {

// `count` codes of `bytes` bytes from hexadecimal digits, most significant first, appended as little-endian bytes.
bool append_codes(std::string_view digits, std::int64_t count, int bytes, std::vector<std::byte>& target) {
  const std::size_t width = 2 * static_cast<std::size_t>(bytes);
  if (digits.size() != width * static_cast<std::size_t>(count)) return false;
  for (std::size_t at = 0; at < digits.size(); at += width) {
    std::uint32_t code = 0;
    const char* end = digits.data() + at + width;
    const auto [stop, error] = std::from_chars(digits.data() + at, end, code, 16);
    if (error != std::errc() || stop != end) return false;
    for (int i = 0; i < bytes; ++i) target.push_back(static_cast<std::byte>(code >> (8 * i) & 0xff));
  }
  return true;
}

bool append_word(std::string_view digits, std::size_t count, std::vector<std::uint32_t>& target) {
  std::uint32_t word = 0;
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, word, 16);
  if (digits.size() != count || error != std::errc() || stop != end) return false;
  target.push_back(word);
  return true;
}

void append_record(const std::string& text, RecordSet& set) {
  const int bytes = numerics::describe(set.type).storage_bytes;
  const auto digits = 2 * static_cast<std::size_t>(numerics::describe(set.d_type).storage_bytes);
  std::istringstream words(text);
  std::string a, b, c, d, rest;
  const bool complete = static_cast<bool>(words >> a >> b >> c >> d) && !(words >> rest);
  if (!complete || !append_codes(a, set.k, bytes, set.a) || !append_codes(b, set.k, bytes, set.b) ||
      !append_word(c, digits, set.c) || !append_word(d, digits, set.d))
    core::fail_input(
        "a record is not 'A B C D' with {} codes of {} hexadecimal digits in A and B, and {} digits in C "
        "and D: '{}'",
        set.k, 2 * bytes, digits, text);
  ++set.records;
}

RecordSet read_set(const io::ConfigReader& reader) {
  RecordSet set{};
  set.gpu = reader.require<std::string>("gpu");
  set.type = numerics::require_format(reader.require<std::string>("type"));
  const auto type_or = [&](const char* key, numerics::Format otherwise) {
    const std::string text = reader.get_or(key, std::string());
    return text.empty() ? otherwise : numerics::require_format(text);
  };
  set.b_type = type_or("b_type", set.type);
  set.d_type = type_or("d_type", numerics::Format::kF32);
  if (numerics::describe(set.b_type).storage_bytes != numerics::describe(set.type).storage_bytes)
    core::fail_input("type {} and b_type {} differ in width", numerics::name(set.type), numerics::name(set.b_type));
  set.unit = numerics::find_unit(reader.require<std::string>("unit")).name;
  set.k = reader.require_in("k", std::int64_t{1}, std::int64_t{1024});
  set.c_is_zero = reader.require_one_of("c", {"as recorded", "zero"}) == "zero";
  for (const std::string& text : reader.require<std::vector<std::string>>("records")) append_record(text, set);
  reader.finish();
  return set;
}

}  // namespace

RecordFile load_gpu_records(const std::string& path) {
  const io::ConfigReader reader(io::load_config_file(path), path);
  RecordFile file;
  file.source = reader.require<std::string>("source");
  file.remarks = reader.require<std::vector<std::string>>("remarks");
  for (const char* prose : {"title", "selection", "layout", "licence"}) reader.ignore(prose);
  for (const io::ConfigReader& set : reader.require_objects("sets")) {
    try {
      file.sets.push_back(read_set(set));
    } catch (const core::Error& error) {
      const std::string message = error.what();
      if (message.starts_with(path)) throw;
      core::fail_input("{}: sets[{}]: {}", path, file.sets.size(), message);
    }
  }
  reader.finish();
  return file;
}

Replay replay(const RecordSet& set) {
  const numerics::Unit& unit = numerics::find_unit(set.unit);
  const numerics::MmaRule rule = numerics::rule_of(unit, set.type, set.b_type, set.d_type);
  const numerics::CodeMatrix a{set.type, set.records, set.k, set.a};
  const numerics::CodeMatrix b{set.b_type, set.records, set.k, set.b};
  std::vector<std::uint32_t> computed(set.d.size());
  const std::vector<std::uint32_t> no_c;
  numerics::mma(rule, a, b, set.c_is_zero ? no_c : set.c, computed);

  Replay result{numerics::find_row(unit, set.type, set.b_type, set.d_type), set.records, 0, std::nullopt};
  for (std::size_t i = 0; i < computed.size(); ++i) {
    if (computed[i] == set.d[i])
      ++result.matched;
    else if (!result.first_mismatch)
      result.first_mismatch = {static_cast<std::int64_t>(i), set.d[i], computed[i]};
  }
  return result;
}

}  // namespace lastbit::check
