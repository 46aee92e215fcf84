#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "fuzz/expect_input_error.h"
#include "io/config_file.h"
#include "io/config_reader.h"
#include "io/json.h"

namespace {

// Reads every key as every type.
void read_all(const nlohmann::json& document) {
  if (!document.is_object()) return;
  const lastbit::io::ConfigReader reader(document, "fuzz");
  for (const std::string& key : reader.keys()) {
    using lastbit::fuzz::expect_input_error;
    expect_input_error([&] { (void)reader.require<std::int64_t>(key); });
    expect_input_error([&] { (void)reader.require<double>(key); });
    expect_input_error([&] { (void)reader.require<std::string>(key); });
    expect_input_error([&] { (void)reader.require<std::vector<std::int64_t>>(key); });
    expect_input_error([&] { (void)reader.require_objects(key); });
    expect_input_error([&] { read_all(reader.raw(key)); });
  }
}

}  // namespace

// The first byte chooses the language.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  lastbit::fuzz::expect_input_error([&] {
    read_all(data[0] % 2 == 0 ? lastbit::io::parse_json(text, "fuzz.json")
                              : lastbit::io::parse_toml(text, "fuzz.toml"));
  });
  return 0;
}
