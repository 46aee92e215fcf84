#include "io/npz.h"

#include <zip.h>

#include <cstring>
#include <map>
#include <memory>
#include <string_view>

#include "core/error.h"
#include "core/suggest.h"
#include "io/atomic_file.h"
#include "io/file_bytes.h"
#include "io/npy.h"

namespace lastbit::io {
namespace {

using tensor::NamedTensors;
using tensor::Tensor;

constexpr std::uint64_t kMaxDeflateRatio = 1032;  // a deflate block of 258-byte copies at two bits each
constexpr zip_uint16_t kFixedDate = 0x21;         // 1980-01-01, the first day that zip can write

// The end of a central directory without entries: signature and 18 zero bytes.
constexpr std::string_view kEmptyArchive("PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22);

struct CloseArchive {
  void operator()(zip_t* archive) const { zip_discard(archive); }
};
struct CloseMember {
  void operator()(zip_file_t* member) const { zip_fclose(member); }
};
using Archive = std::unique_ptr<zip_t, CloseArchive>;
using Member = std::unique_ptr<zip_file_t, CloseMember>;

// Holds a libzip error code with its text.
class ZipError {
 public:
  ZipError() { zip_error_init(&error_); }
  ~ZipError() { zip_error_fini(&error_); }
  ZipError(const ZipError&) = delete;
  ZipError& operator=(const ZipError&) = delete;
  zip_error_t* get() { return &error_; }
  const char* text() { return zip_error_strerror(&error_); }

 private:
  zip_error_t error_{};
};

std::string key_of(const std::string& member) {
  return member.ends_with(".npy") ? member.substr(0, member.size() - 4) : member;
}

class NpzReader {
 public:
  NpzReader(std::span<const std::byte> bytes, std::string name) : name_(std::move(name)), archive_bytes_(bytes.size()) {
    if (bytes.size() < kEmptyArchive.size())  // libzip takes an empty file for an archive without members
      core::fail_input("{}: npz file truncated: found {} bytes, expected at least {}", name_, bytes.size(),
                       kEmptyArchive.size());
    ZipError error;
    zip_source_t* source = zip_source_buffer_create(bytes.data(), bytes.size(), 0, error.get());
    if (source == nullptr) core::fail_io("{}: {}", name_, error.text());
    archive_.reset(zip_open_from_source(source, ZIP_RDONLY, error.get()));
    if (archive_ == nullptr) {
      zip_source_free(source);
      core::fail_input("{}: not a whole npz (zip) archive of {} bytes: {}", name_, bytes.size(), error.text());
    }
    const zip_int64_t count = zip_get_num_entries(archive_.get(), 0);
    for (zip_int64_t i = 0; i < count; ++i) add_member(static_cast<zip_uint64_t>(i));
  }

  [[nodiscard]] const std::map<std::string, zip_uint64_t>& members() const { return members_; }

  [[nodiscard]] Tensor read(const std::string& key, zip_uint64_t index) const {
    return parse_npy(read_member(key, index), name_ + ":" + key);
  }

 private:
  void add_member(zip_uint64_t index) {
    const char* member = zip_get_name(archive_.get(), index, ZIP_FL_ENC_RAW);
    if (member == nullptr) core::fail_input("{}: npz member {} has no name", name_, index);
    const std::string key = key_of(member);
    if (!members_.emplace(key, index).second) core::fail_input("{}: npz key '{}' is there twice", name_, key);
  }

  [[nodiscard]] std::vector<std::byte> read_member(const std::string& key, zip_uint64_t index) const {
    zip_stat_t stat;
    zip_stat_init(&stat);
    constexpr zip_uint64_t kNeeded = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE;
    if (zip_stat_index(archive_.get(), index, 0, &stat) != 0 || (stat.valid & kNeeded) != kNeeded)
      fail_member(key, zip_strerror(archive_.get()));
    if (stat.comp_size > archive_bytes_ || stat.size / kMaxDeflateRatio > stat.comp_size)
      core::fail_input("{}: npz key '{}' claims {} bytes from {} compressed ones in an archive of {}", name_, key,
                       stat.size, stat.comp_size, archive_bytes_);
    const Member member(zip_fopen_index(archive_.get(), index, 0));
    if (member == nullptr) fail_member(key, zip_strerror(archive_.get()));
    std::vector<std::byte> bytes(stat.size);
    const zip_int64_t count = zip_fread(member.get(), bytes.data(), bytes.size());
    if (count < 0) fail_member(key, zip_file_strerror(member.get()));
    if (static_cast<std::size_t>(count) != bytes.size())
      core::fail_input("{}: npz key '{}' truncated: found {} bytes, expected {}", name_, key, count, bytes.size());
    std::byte beyond{};  // reading to the end makes libzip check the CRC
    const zip_int64_t more = zip_fread(member.get(), &beyond, 1);
    if (more < 0) fail_member(key, zip_file_strerror(member.get()));
    if (more > 0) core::fail_input("{}: npz key '{}' is longer than its {} bytes", name_, key, bytes.size());
    return bytes;
  }

  [[noreturn]] void fail_member(const std::string& key, const char* reason) const {
    core::fail_input("{}: npz key '{}' is damaged: {}", name_, key, reason);
  }

  std::string name_;
  std::size_t archive_bytes_;
  Archive archive_;
  std::map<std::string, zip_uint64_t> members_;
};

std::vector<std::string> names_of(const NpzReader& reader) {
  std::vector<std::string> names;
  for (const auto& [key, index] : reader.members()) names.push_back(key);
  return names;
}

// The member's bytes must live until the archive is written.
void add_to_archive(zip_t* archive, const std::string& path, const std::string& key, const std::string& bytes) {
  zip_source_t* source = zip_source_buffer(archive, bytes.data(), bytes.size(), 0);
  if (source == nullptr) core::fail_io("{}: cannot write: {}", path, zip_strerror(archive));
  const zip_int64_t index = zip_file_add(archive, (key + ".npy").c_str(), source, ZIP_FL_ENC_UTF_8);
  if (index < 0) {
    const std::string reason = zip_strerror(archive);
    zip_source_free(source);
    core::fail_input("{}: cannot write npz key '{}': {}", path, key, reason);
  }
  const auto entry = static_cast<zip_uint64_t>(index);
  if (zip_set_file_compression(archive, entry, ZIP_CM_STORE, 0) != 0 ||
      zip_file_set_dostime(archive, entry, 0, kFixedDate, 0) != 0)
    core::fail_io("{}: cannot write npz key '{}': {}", path, key, zip_strerror(archive));
}

}  // namespace

NamedTensors parse_npz(std::span<const std::byte> bytes, const std::string& name) {
  const NpzReader reader(bytes, name);
  NamedTensors tensors;
  for (const auto& [key, index] : reader.members()) tensors.emplace(key, reader.read(key, index));
  return tensors;
}

NamedTensors load_npz(const std::string& path) { return parse_npz(FileBytes::open(path)->bytes(), path); }

Tensor load_npz_array(const std::string& path, const std::string& key) {
  const auto file = FileBytes::open(path);
  const NpzReader reader(file->bytes(), path);
  const auto found = reader.members().find(key_of(key));
  if (found == reader.members().end())
    core::fail_input("{}: no array '{}' among its {}{}", path, key, reader.members().size(),
                     core::suggestion(key_of(key), names_of(reader)));
  return reader.read(found->first, found->second);
}

std::vector<std::string> npz_names(const std::string& path) {
  const auto file = FileBytes::open(path);
  return names_of(NpzReader(file->bytes(), path));
}

void save_npz(const std::string& path, const NamedTensors& tensors) {
  AtomicFile file(path);
  if (tensors.empty()) {  // libzip removes an archive without members instead of writing it
    file.write(kEmptyArchive);
    file.commit();
    return;
  }
  ZipError error;
  int code = 0;
  Archive archive(zip_open(file.temporary_path().c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code));
  if (archive == nullptr) {
    zip_error_init_with_code(error.get(), code);
    core::fail_io("{}: cannot write: {}", path, error.text());
  }
  std::vector<std::string> members;  // alive until zip_close
  members.reserve(tensors.size());
  for (const auto& [key, tensor] : tensors) {
    const Tensor dense = tensor.contiguous();
    std::string bytes = npy_preamble(dense);
    bytes.append(reinterpret_cast<const char*>(dense.bytes().data()), dense.nbytes());
    members.push_back(std::move(bytes));
    add_to_archive(archive.get(), path, key, members.back());
  }
  if (zip_close(archive.get()) != 0) core::fail_io("{}: cannot write: {}", path, zip_strerror(archive.get()));
  (void)archive.release();  // zip_close has freed it
  file.commit();
}

}  // namespace lastbit::io
