#include "io/safetensors.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "core/suggest.h"
#include "io/atomic_file.h"
#include "io/file_bytes.h"
#include "io/json.h"

namespace lastbit::io {
namespace {

using nlohmann::json;
using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kMaxJsonBytes = 100'000'000;  // the limit of the reference implementation

struct NamedDType {
  std::string_view name;
  DType dtype;
};
constexpr std::array<NamedDType, 18> kDTypes{{{"BOOL", DType::kBool},
                                              {"I8", DType::kI8},
                                              {"U8", DType::kU8},
                                              {"I16", DType::kI16},
                                              {"U16", DType::kU16},
                                              {"I32", DType::kI32},
                                              {"U32", DType::kU32},
                                              {"I64", DType::kI64},
                                              {"U64", DType::kU64},
                                              {"F16", DType::kF16},
                                              {"BF16", DType::kBF16},
                                              {"F32", DType::kF32},
                                              {"F64", DType::kF64},
                                              {"F8_E4M3", DType::kE4M3},
                                              {"F8_E5M2", DType::kE5M2},
                                              {"F8_E4M3FNUZ", DType::kE4M3Fnuz},
                                              {"F8_E5M2FNUZ", DType::kE5M2Fnuz},
                                              {"F8_E8M0", DType::kE8M0}}};

std::string_view safetensors_name(DType dtype) {
  const auto* const found = std::ranges::find(kDTypes, dtype, &NamedDType::dtype);
  core::check(found != kDTypes.end(), "every dtype has a safetensors name");
  return found->name;
}

// A field of a tensor's entry in the header, with messages that name the file and the tensor.
class EntryReader {
 public:
  EntryReader(const std::string& path, const std::string& name, const json& entry)
      : where_(path + ": tensor '" + name + "'"), entry_(entry) {
    if (!entry.is_object()) core::fail_input("{}: found {}, expected an object", where_, describe_json(entry));
    for (const auto& [key, value] : entry.items())
      if (key != "dtype" && key != "shape" && key != "data_offsets")
        core::fail_input("{}: unknown key '{}', expected dtype, shape and data_offsets", where_, key);
  }

  [[nodiscard]] const std::string& where() const { return where_; }

  [[nodiscard]] DType dtype() const {
    const json& value = field("dtype");
    if (!value.is_string()) core::fail_input("{}: dtype is {}, expected a string", where_, describe_json(value));
    const auto* const found = std::ranges::find(kDTypes, value.get_ref<const std::string&>(), &NamedDType::name);
    if (found == kDTypes.end()) core::fail_input("{}: unknown dtype {}", where_, describe_json(value));
    return found->dtype;
  }

  [[nodiscard]] std::vector<std::int64_t> sizes(const char* key) const {
    const json& value = field(key);
    if (!value.is_array()) core::fail_input("{}: {} is {}, expected an array", where_, key, describe_json(value));
    std::vector<std::int64_t> sizes;
    for (const json& element : value) {
      if (!element.is_number_unsigned() || element.get<std::uint64_t>() > std::uint64_t{INT64_MAX})
        core::fail_input("{}: {} has {}, expected integers from 0", where_, key, describe_json(element));
      sizes.push_back(element.get<std::int64_t>());
    }
    return sizes;
  }

 private:
  [[nodiscard]] const json& field(const char* key) const {
    const auto found = entry_.find(key);
    if (found == entry_.end()) core::fail_input("{}: without '{}'", where_, key);
    return *found;
  }

  std::string where_;
  const json& entry_;
};

Metadata read_metadata(const std::string& path, const json& object) {
  if (!object.is_object())
    core::fail_input("{}: __metadata__ is {}, expected an object of strings", path, describe_json(object));
  Metadata metadata;
  for (const auto& [key, value] : object.items()) {
    if (!value.is_string())
      core::fail_input("{}: __metadata__ '{}' is {}, expected a string", path, key, describe_json(value));
    metadata.emplace(key, value.get<std::string>());
  }
  return metadata;
}

// Reads the 8-byte length and returns the header's text.
std::string_view header_text(std::span<const std::byte> bytes, const std::string& path) {
  if (bytes.size() < kLengthBytes)
    core::fail_input("{}: safetensors file truncated: found {} bytes, expected at least {}", path, bytes.size(),
                     kLengthBytes);
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) length |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  if (length > kMaxJsonBytes)
    core::fail_input("{}: not a safetensors file: its header would have {} bytes, expected at most {}", path, length,
                     kMaxJsonBytes);
  if (bytes.size() - kLengthBytes < length)
    core::fail_input("{}: safetensors file truncated: found {} bytes of header, expected {}", path,
                     bytes.size() - kLengthBytes, length);
  return {reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, length};
}

// Largest elements first, so that every tensor is aligned when the first one is.
std::vector<const tensor::NamedTensors::value_type*> layout_order(const tensor::NamedTensors& tensors) {
  std::vector<const tensor::NamedTensors::value_type*> order;
  for (const auto& entry : tensors) order.push_back(&entry);
  std::ranges::stable_sort(order, [](const auto* a, const auto* b) {
    return tensor::size_of(a->second.dtype()) > tensor::size_of(b->second.dtype());
  });
  return order;
}

}  // namespace

SafetensorsFile SafetensorsFile::open(const std::string& path) {
  const auto file = FileBytes::open(path);
  return parse(file->bytes(), path, file);
}

SafetensorsFile SafetensorsFile::parse(std::span<const std::byte> bytes, const std::string& name,
                                       std::shared_ptr<const void> keep_alive) {
  SafetensorsFile file;
  file.path_ = name;
  file.keep_alive_ = std::move(keep_alive);
  const std::string_view header = header_text(bytes, name);
  file.data_ = bytes.subspan(kLengthBytes + header.size());
  file.read_header(header);
  file.check_coverage();
  return file;
}

void SafetensorsFile::read_header(std::string_view header) {
  const json root = parse_json(header, path_ + " (safetensors header)");
  if (!root.is_object())
    core::fail_input("{}: safetensors header is {}, expected an object", path_, describe_json(root));
  for (const auto& [name, value] : root.items()) {
    if (name == "__metadata__") {
      metadata_ = read_metadata(path_, value);
      continue;
    }
    const EntryReader reader(path_, name, value);
    Entry entry{reader.dtype(), reader.sizes("shape"), 0, 0};
    const std::vector<std::int64_t> offsets = reader.sizes("data_offsets");
    if (offsets.size() != 2 || offsets[0] > offsets[1])
      core::fail_input("{}: data_offsets are {}, expected [begin, end]", reader.where(), tensor::to_string(offsets));
    entry.begin = static_cast<std::size_t>(offsets[0]);
    entry.end = static_cast<std::size_t>(offsets[1]);
    const auto count = static_cast<std::size_t>(tensor::element_count(entry.shape, reader.where()));
    const std::size_t expected = count * tensor::size_of(entry.dtype);  // count <= 2^60: fits
    if (entry.end - entry.begin != expected)
      core::fail_input("{}: data_offsets give {} bytes, expected {} ({} {})", reader.where(), entry.end - entry.begin,
                       expected, tensor::to_string(entry.shape), tensor::name(entry.dtype));
    if (entry.end > data_.size())
      core::fail_input("{}: ends at byte {} of {} that are there: the file is truncated", reader.where(), entry.end,
                       data_.size());
    names_.push_back(name);  // json objects iterate in name order
    entries_.emplace(name, std::move(entry));
  }
}

void SafetensorsFile::check_coverage() const {
  std::vector<std::pair<const Entry*, const std::string*>> order;
  for (const auto& [name, entry] : entries_) order.emplace_back(&entry, &name);
  std::ranges::sort(order, [](const auto& a, const auto& b) {
    return std::pair(a.first->begin, a.first->end) < std::pair(b.first->begin, b.first->end);
  });
  std::size_t covered = 0;
  for (const auto& [entry, name] : order) {
    if (entry->begin != covered)
      core::fail_input("{}: tensor '{}' begins at byte {}, {} byte {} where the one before it ends", path_, *name,
                       entry->begin, entry->begin < covered ? "before" : "after", covered);
    covered = entry->end;
  }
  if (covered != data_.size())
    core::fail_input("{}: safetensors file has bytes left over: found {}, expected {}", path_, data_.size(), covered);
}

Tensor SafetensorsFile::tensor(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end())
    core::fail_input("{}: no tensor '{}' among its {}{}", path_, name, names_.size(), core::suggestion(name, names_));
  const Entry& entry = found->second;
  const std::byte* first = data_.data() + entry.begin;
  const bool aligned = reinterpret_cast<std::uintptr_t>(first) % tensor::size_of(entry.dtype) == 0;
  const Tensor view = Tensor::borrow(entry.dtype, entry.shape, first, keep_alive_);
  return aligned ? view : view.clone();
}

tensor::NamedTensors SafetensorsFile::tensors() const {
  tensor::NamedTensors all;
  for (const std::string& name : names_) all.emplace(name, tensor(name));
  return all;
}

void save_safetensors(const std::string& path, const tensor::NamedTensors& tensors, const Metadata& metadata) {
  const auto order = layout_order(tensors);
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::size_t offset = 0;
  for (const auto* entry : order) {
    const auto& [name, tensor] = *entry;
    if (name == "__metadata__") core::fail_input("{}: a tensor cannot be named '__metadata__'", path);
    header[name] = {{"dtype", safetensors_name(tensor.dtype())},
                    {"shape", tensor.shape()},
                    {"data_offsets", {offset, offset + tensor.nbytes()}}};
    offset += tensor.nbytes();
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const json::exception&) {
    core::fail_input("{}: a tensor's name or the metadata is not valid UTF-8", path);
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string length;
  for (std::size_t i = 0; i < kLengthBytes; ++i) length += static_cast<char>(text.size() >> (8 * i) & 0xFF);

  AtomicFile file(path);
  file.write(length);
  file.write(text);
  for (const auto* entry : order) file.write(entry->second.contiguous().bytes());
  file.commit();
}

}  // namespace lastbit::io
