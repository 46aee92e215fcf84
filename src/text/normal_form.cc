#include "text/normal_form.h"

#include <utf8proc.h>

#include <array>
#include <cstdlib>
#include <memory>

#include "core/error.h"
#include "text/utf8.h"

namespace lastbit::text {
namespace {

constexpr std::size_t kLongestText = std::size_t{1} << 30U;

utf8proc_option_t options_of(NormalForm form) {
  switch (form) {
    case NormalForm::kNfc:
      return static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    case NormalForm::kNfd:
      return static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
    case NormalForm::kNfkc:
      return static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
    case NormalForm::kNfkd:
      break;
  }
  return static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
}

using PlaneBits = std::array<bool, 0x10000>;

// By code point of the first plane: what may change under NFC, or change what is before it.
const PlaneBits& plane_of_changes() {
  static const std::unique_ptr<const PlaneBits> table = [] {
    auto filled = std::make_unique<PlaneBits>();
    for (utf8proc_int32_t value = 0; value < 0x10000; ++value) {
      const utf8proc_property_t* property = utf8proc_get_property(value);
      const bool mark = property->category == UTF8PROC_CATEGORY_MN || property->category == UTF8PROC_CATEGORY_MC ||
                        property->category == UTF8PROC_CATEGORY_ME;
      const bool jamo = value >= 0x1160 && value <= 0x11ff;
      // A canonical decomposition without a tag; those of letters that compose again are sorted out below.
      bool changes = mark || jamo || property->combining_class != 0;
      const bool surrogate = value >= 0xd800 && value <= 0xdfff;
      if (!changes && !surrogate && property->decomp_seqindex != UINT16_MAX && property->decomp_type == 0) {
        std::string symbol;
        append_utf8(symbol, static_cast<char32_t>(value));
        changes = normalize(symbol, NormalForm::kNfc) != symbol;
      }
      (*filled)[static_cast<std::size_t>(value)] = changes;
    }
    return filled;
  }();
  return *table;
}

}  // namespace

std::optional<NormalForm> find_normal_form(std::string_view name) {
  if (name == "NFC") return NormalForm::kNfc;
  if (name == "NFD") return NormalForm::kNfd;
  if (name == "NFKC") return NormalForm::kNfkc;
  if (name == "NFKD") return NormalForm::kNfkd;
  return std::nullopt;
}

std::string normalize(std::string_view text, NormalForm form) {
  if (text.empty()) return {};
  if (text.size() > kLongestText)
    core::fail_input("normal form: a text of {} bytes, expected at most {}", text.size(), kLongestText);
  utf8proc_uint8_t* result = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &result, options_of(form));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(result, &std::free);
  if (size < 0) core::fail_input("normal form: {}", utf8proc_errmsg(size));
  return {reinterpret_cast<const char*>(result), static_cast<std::size_t>(size)};
}

bool surely_nfc(std::string_view text) {
  const PlaneBits& changes = plane_of_changes();
  for (std::size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    std::size_t bytes = 0;
    const char32_t value = code_point_at(text, at, bytes);
    // Above the first plane only pictures are common: U+1F000 to U+1FAFF have no marks and no compositions.
    if (value >= 0x10000 ? value < 0x1f000 || value > 0x1faff : changes[value]) return false;
    at += bytes;
  }
  return true;
}

}  // namespace lastbit::text
