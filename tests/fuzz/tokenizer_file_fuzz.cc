#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/error.h"
#include "fuzz/expect_input_error.h"
#include "text/tokenizer_file.h"

// A tokenizer.json. What is read is used, written and read again: the same ids.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  lastbit::fuzz::expect_input_error([&] {
    try {
      const lastbit::text::Tokenizer tokenizer = lastbit::text::parse_tokenizer(file, "fuzz.json");
      const std::string text = "ab 12, \xe4\xb8\xad\xff\n<s> ";
      const auto ids = tokenizer.encode(text);
      (void)tokenizer.decode(ids);
      const std::string written = lastbit::text::tokenizer_json(tokenizer.description());
      if (lastbit::text::parse_tokenizer(written, "again.json").encode(text) != ids) std::abort();
    } catch (const lastbit::core::Error& error) {
      // What the file asks for may be sound and not built.
      if (error.kind() != lastbit::core::ErrorKind::kUnsupported) throw;
    }
  });
  return 0;
}
