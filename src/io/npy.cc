#include "io/npy.h"

#include <fmt/ranges.h>

#include <charconv>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/file_bytes.h"

namespace lastbit::io {
namespace {

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr std::size_t kMaxDictBytes = std::size_t{1} << 20;  // far more than any shape needs
constexpr std::size_t kMaxRank = 64;                         // as NumPy 2

struct Header {
  DType dtype = DType::kF32;
  bool fortran_order = false;
  Shape shape;
};

// The header is a Python dict literal: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  Header parse() {
    expect('{');
    while (!accept('}')) {
      const std::string_view key = quoted("a key");
      expect(':');
      read_value(key);
      if (accept(',')) continue;
      expect('}');
      break;
    }
    skip_space();
    if (at_ != text_.size()) fail("the end of the header");
    if (!descr_) core::fail_input("{}: npy header without 'descr'", name_);
    if (!fortran_order_) core::fail_input("{}: npy header without 'fortran_order'", name_);
    if (!shape_) core::fail_input("{}: npy header without 'shape'", name_);
    return {dtype_of(*descr_), *fortran_order_, *shape_};
  }

 private:
  void read_value(std::string_view key) {
    if (key == "descr" && !descr_) {
      skip_space();
      if (at_ < text_.size() && text_[at_] == '[')
        core::fail_input("{}: npy file of records (structured dtype), expected an array of numbers", name_);
      descr_ = quoted("the dtype");
    } else if (key == "fortran_order" && !fortran_order_) {
      fortran_order_ = boolean();
    } else if (key == "shape" && !shape_) {
      shape_ = tuple();
    } else {
      core::fail_input("{}: npy header has key '{}', expected 'descr', 'fortran_order' and 'shape' once each", name_,
                       key);
    }
  }

  [[noreturn]] void fail(std::string_view expected) {
    std::string found = "its end";
    if (at_ < text_.size()) {
      const char symbol = text_[at_];
      const bool printable = symbol >= ' ' && symbol <= '~';
      found = printable ? fmt::format("'{}'", symbol) : fmt::format("byte {:#04x}", static_cast<unsigned char>(symbol));
    }
    core::fail_input("{}: npy header: found {} at byte {}, expected {}", name_, found, at_, expected);
  }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }

  bool accept(char symbol) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != symbol) return false;
    ++at_;
    return true;
  }

  void expect(char symbol) {
    if (!accept(symbol)) fail(fmt::format("'{}'", symbol));
  }

  std::string_view quoted(std::string_view what) {
    skip_space();
    if (at_ == text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) fail(what);
    const std::size_t end = text_.find(text_[at_], at_ + 1);
    if (end == std::string_view::npos) fail("a closing quote");
    const std::string_view value = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return value;
  }

  bool boolean() {
    skip_space();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (!text_.substr(at_).starts_with(word)) continue;
      at_ += word.size();
      return value;
    }
    fail("True or False");
  }

  Shape tuple() {
    Shape shape;
    expect('(');
    while (!accept(')')) {
      shape.push_back(integer());
      if (shape.size() > kMaxRank) core::fail_input("{}: npy shape has more than {} axes", name_, kMaxRank);
      if (accept(',')) continue;
      if (shape.size() == 1) fail("',' (a shape of one axis is written '(3,)')");
      expect(')');
      break;
    }
    return shape;
  }

  std::int64_t integer() {
    skip_space();
    std::int64_t value = 0;
    const char* begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (error != std::errc() || value < 0) fail("a size (an integer from 0)");
    at_ += static_cast<std::size_t>(end - begin);
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // Python 2 wrote long integers as 3L
    return value;
  }

  [[nodiscard]] DType dtype_of(std::string_view descr) const {
    struct Named {
      std::string_view code;
      DType dtype;
    };
    // V1, V2 and f1 are how ml_dtypes' FP8 and BF16 arrays are saved: the codes.
    static constexpr Named kTypes[] = {
        {"b1", DType::kBool}, {"i1", DType::kI8},  {"u1", DType::kU8},  {"i2", DType::kI16}, {"u2", DType::kU16},
        {"i4", DType::kI32},  {"u4", DType::kU32}, {"i8", DType::kI64}, {"u8", DType::kU64}, {"f2", DType::kF16},
        {"f4", DType::kF32},  {"f8", DType::kF64}, {"V1", DType::kU8},  {"V2", DType::kU16}, {"f1", DType::kU8}};
    const char order = descr.empty() ? '?' : descr.front();
    const std::string_view code = descr.substr(descr.empty() ? 0 : 1);
    for (const Named& type : kTypes) {
      if (code != type.code) continue;
      if (order == '<' || order == '|' || order == '=') return type.dtype;
      if (order == '>' && tensor::size_of(type.dtype) == 1) return type.dtype;
      if (order == '>')
        core::fail_input("{}: npy dtype '{}' is big-endian, expected little-endian ('<{}')", name_, descr, code);
    }
    core::fail_input("{}: npy dtype '{}', expected a bool, an integer or a float of 16, 32 or 64 bits", name_, descr);
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0;
  std::optional<std::string_view> descr_;
  std::optional<bool> fortran_order_;
  std::optional<Shape> shape_;
};

// Bytes of magic, version and header length, and the header's length.
std::pair<std::size_t, std::size_t> measure_preamble(std::span<const std::byte> bytes, const std::string& name) {
  const auto byte = [&](std::size_t i) { return std::to_integer<std::size_t>(bytes[i]); };
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.substr(0, kMagic.size()) != kMagic.substr(0, text.size()))
    core::fail_input("{}: not an npy file: it does not begin with \\x93NUMPY", name);
  if (bytes.size() < kMagic.size() + 2)
    core::fail_input("{}: npy file truncated: found {} bytes, expected at least 10", name, bytes.size());
  const std::size_t major = byte(6);
  if (major < 1 || major > 3 || byte(7) != 0)
    core::fail_input("{}: npy version {}.{}, expected 1.0, 2.0 or 3.0", name, major, byte(7));
  const std::size_t prefix = major == 1 ? 10 : 12;
  if (bytes.size() < prefix)
    core::fail_input("{}: npy file truncated: found {} bytes, expected at least {}", name, bytes.size(), prefix);
  std::size_t length = byte(8) | byte(9) << 8;
  if (major > 1) length |= byte(10) << 16 | byte(11) << 24;
  if (length > kMaxDictBytes)
    core::fail_input("{}: npy header of {} bytes, expected at most {}", name, length, kMaxDictBytes);
  if (bytes.size() - prefix < length)
    core::fail_input("{}: npy file truncated: found {} bytes of header, expected {}", name, bytes.size() - prefix,
                     length);
  return {prefix, length};
}

Tensor from_fortran_order(const Header& header, std::span<const std::byte> elements) {
  const Shape reversed(header.shape.rbegin(), header.shape.rend());
  Tensor view = Tensor::borrow(header.dtype, reversed, elements.data(), nullptr);
  const std::int64_t rank = view.rank();
  for (std::int64_t axis = 0; axis < rank / 2; ++axis) view = view.transpose(axis, rank - 1 - axis);
  return view.clone();
}

std::string_view descr_of(DType dtype) {
  switch (dtype) {
    case DType::kBool:
      return "|b1";
    case DType::kI8:
      return "|i1";
    case DType::kI16:
      return "<i2";
    case DType::kI32:
      return "<i4";
    case DType::kI64:
      return "<i8";
    case DType::kU16:
    case DType::kBF16:
      return "<u2";
    case DType::kU32:
      return "<u4";
    case DType::kU64:
      return "<u8";
    case DType::kF16:
      return "<f2";
    case DType::kF32:
      return "<f4";
    case DType::kF64:
      return "<f8";
    case DType::kU8:
    case DType::kE4M3:
    case DType::kE5M2:
    case DType::kE4M3Fnuz:
    case DType::kE5M2Fnuz:
    case DType::kE8M0:
      return "|u1";
  }
  core::check(false, "unknown dtype");
  return "";
}

}  // namespace

Tensor parse_npy(std::span<const std::byte> bytes, const std::string& name) {
  const auto [prefix, length] = measure_preamble(bytes, name);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + prefix, length);
  const Header header = HeaderParser(text, name).parse();
  const std::span<const std::byte> elements = bytes.subspan(prefix + length);
  const auto count = static_cast<std::size_t>(tensor::element_count(header.shape, name));
  const std::size_t expected = count * tensor::size_of(header.dtype);  // count <= 2^60: fits
  if (elements.size() != expected)
    core::fail_input("{}: npy file {}: found {} bytes of elements, expected {} ({} {})", name,
                     elements.size() < expected ? "truncated" : "has bytes left over", elements.size(), expected,
                     tensor::to_string(header.shape), tensor::name(header.dtype));
  if (header.dtype == DType::kBool) {
    for (const std::byte element : elements)
      if (std::to_integer<int>(element) > 1)
        core::fail_input("{}: npy bool with value {}, expected 0 or 1", name, std::to_integer<int>(element));
  }
  if (header.fortran_order && header.shape.size() > 1) return from_fortran_order(header, elements);
  return Tensor::borrow(header.dtype, header.shape, elements.data(), nullptr).clone();
}

Tensor load_npy(const std::string& path) { return parse_npy(FileBytes::open(path)->bytes(), path); }

std::string npy_preamble(const Tensor& tensor) {
  const Shape& shape = tensor.shape();
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}",
                                   descr_of(tensor.dtype()), fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
  // The elements begin at a multiple of 64 bytes, after spaces and one newline, as NumPy writes them.
  const bool wide = header.size() + 64 > 0xFFFF;
  const std::size_t prefix = wide ? 12 : 10;
  const std::size_t total = (prefix + header.size() + 1 + 63) / 64 * 64;
  header.resize(total - prefix - 1, ' ');
  header += '\n';
  std::string preamble(kMagic);
  preamble += static_cast<char>(wide ? 2 : 1);
  preamble += '\0';
  for (std::size_t i = 0; i < prefix - 8; ++i) preamble += static_cast<char>(header.size() >> (8 * i) & 0xFF);
  return preamble + header;
}

void save_npy(const std::string& path, const Tensor& tensor) {
  AtomicFile file(path);
  file.write(npy_preamble(tensor));
  file.write(tensor.contiguous().bytes());
  file.commit();
}

}  // namespace lastbit::io
