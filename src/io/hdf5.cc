#include "io/hdf5.h"

#include <hdf5.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string_view>

#include "core/error.h"
#include "core/suggest.h"
#include "io/atomic_file.h"
#include "io/file_bytes.h"

namespace lastbit::io {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Shape;
using tensor::Tensor;

constexpr const char* kDTypeAttribute = "dtype";
constexpr int kMaxGroupDepth = 32;

// One HDF5 identifier, closed when it goes.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  Handle& operator=(Handle&& other) noexcept {
    reset();
    id_ = std::exchange(other.id_, -1);
    close_ = other.close_;
    return *this;
  }
  ~Handle() { reset(); }
  herr_t reset() { return id_ < 0 ? 0 : close_(std::exchange(id_, -1)); }
  [[nodiscard]] hid_t get() const { return id_; }
  [[nodiscard]] bool valid() const { return id_ >= 0; }

 private:
  hid_t id_;
  Close close_;
};

// The library has no locks of its own here, and prints its error stack unless told not to.
class Session {
 public:
  Session() : lock_(mutex()) { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

 private:
  static std::mutex& mutex() {
    static std::mutex instance;
    return instance;
  }
  std::lock_guard<std::mutex> lock_;
};

// The most specific line of HDF5's error stack.
std::string last_error() {
  std::string reason;
  const auto keep_first = [](unsigned, const H5E_error2_t* entry, void* text) -> herr_t {
    auto& target = *static_cast<std::string*>(text);
    if (target.empty() && entry->desc != nullptr) target = entry->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, &reason);
  std::ranges::replace(reason, '\n', ' ');
  return reason.empty() ? "HDF5 does not say why" : reason;
}

Handle half_type() {
  Handle type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
  // sign bit 15, exponent 10..14 of bias 15, mantissa 0..9; fields first, then the size shrinks
  H5Tset_fields(type.get(), 15, 10, 5, 0, 10);
  H5Tset_size(type.get(), 2);
  H5Tset_ebias(type.get(), 15);
  return type;
}

// As h5py: an enumeration over one signed byte.
Handle bool_type() {
  Handle type(H5Tenum_create(H5T_STD_I8LE), H5Tclose);
  for (const std::int8_t value : {std::int8_t{0}, std::int8_t{1}})
    H5Tenum_insert(type.get(), value == 0 ? "FALSE" : "TRUE", &value);
  return type;
}

Handle copy_of(hid_t type) { return {H5Tcopy(type), H5Tclose}; }

Handle file_type(DType dtype) {
  switch (dtype) {
    case DType::kBool:
      return bool_type();
    case DType::kI8:
      return copy_of(H5T_STD_I8LE);
    case DType::kI16:
      return copy_of(H5T_STD_I16LE);
    case DType::kI32:
      return copy_of(H5T_STD_I32LE);
    case DType::kI64:
      return copy_of(H5T_STD_I64LE);
    case DType::kU16:
    case DType::kBF16:
      return copy_of(H5T_STD_U16LE);
    case DType::kU32:
      return copy_of(H5T_STD_U32LE);
    case DType::kU64:
      return copy_of(H5T_STD_U64LE);
    case DType::kF16:
      return half_type();
    case DType::kF32:
      return copy_of(H5T_IEEE_F32LE);
    case DType::kF64:
      return copy_of(H5T_IEEE_F64LE);
    case DType::kU8:
    case DType::kE4M3:
    case DType::kE5M2:
    case DType::kE4M3Fnuz:
    case DType::kE5M2Fnuz:
    case DType::kE8M0:
      return copy_of(H5T_STD_U8LE);
  }
  core::check(false, "unknown dtype");
  return copy_of(H5T_STD_U8LE);
}

bool is_code(DType dtype) { return dtype == DType::kBF16 || (tensor::size_of(dtype) == 1 && dtype >= DType::kE4M3); }

std::optional<DType> integer_dtype(std::size_t size, bool is_signed) {
  switch (size) {
    case 1:
      return is_signed ? DType::kI8 : DType::kU8;
    case 2:
      return is_signed ? DType::kI16 : DType::kU16;
    case 4:
      return is_signed ? DType::kI32 : DType::kU32;
    case 8:
      return is_signed ? DType::kI64 : DType::kU64;
    default:
      return std::nullopt;
  }
}

// The float of `type`, when it is an IEEE format of 16, 32 or 64 bits in either byte order.
std::optional<DType> float_dtype(hid_t type) {
  const Handle little(H5Tcopy(type), H5Tclose);
  H5Tset_order(little.get(), H5T_ORDER_LE);
  for (const DType dtype : {DType::kF16, DType::kF32, DType::kF64})
    if (H5Tequal(little.get(), file_type(dtype).get()) > 0) return dtype;
  return std::nullopt;
}

bool is_bool_type(hid_t type) {
  if (H5Tget_size(type) != 1 || H5Tget_nmembers(type) != 2) return false;
  std::int8_t value = -1;
  if (H5Tenum_valueof(type, "FALSE", &value) < 0 || value != 0) return false;
  return H5Tenum_valueof(type, "TRUE", &value) >= 0 && value == 1;
}

std::optional<DType> stored_dtype(hid_t type) {
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return integer_dtype(H5Tget_size(type), H5Tget_sign(type) == H5T_SGN_2);
    case H5T_FLOAT:
      return float_dtype(type);
    case H5T_ENUM:
      return is_bool_type(type) ? std::optional(DType::kBool) : std::nullopt;
    default:
      return std::nullopt;
  }
}

class Hdf5Reader {
 public:
  explicit Hdf5Reader(const std::string& path) : path_(path), file_(open(path)) { collect(file_.get(), "", 0); }

  [[nodiscard]] const std::set<std::string>& names() const { return names_; }

  [[nodiscard]] Tensor read(const std::string& key) const {
    const std::string where = path_ + ":" + key;
    const Handle dataset(H5Dopen2(file_.get(), key.c_str(), H5P_DEFAULT), H5Dclose);
    require(dataset, where);
    const Handle type(H5Dget_type(dataset.get()), H5Tclose);
    const Handle space(H5Dget_space(dataset.get()), H5Sclose);
    require(type, where);
    require(space, where);
    const std::optional<DType> stored = stored_dtype(type.get());
    if (!stored) core::fail_input("{}: HDF5 dataset of another type than bool, integers and floats", where);
    Tensor tensor = Tensor::empty(*stored, shape_of(dataset.get(), space.get(), *stored, where));
    const Handle memory = file_type(*stored);  // little-endian, as the machine
    if (tensor.size() > 0 &&
        H5Dread(dataset.get(), memory.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, tensor.mutable_bytes().data()) < 0)
      core::fail_input("{}: cannot read the dataset: {}", where, last_error());
    return tensor.view_as(named_dtype(dataset.get(), *stored, where));
  }

  [[nodiscard]] Attributes attributes(const std::string& object) const {
    const std::string where = path_ + ":" + object;
    const Handle holder(H5Oopen(file_.get(), object.empty() ? "/" : object.c_str(), H5P_DEFAULT), H5Oclose);
    if (!holder.valid()) core::fail_input("{}: no such group or dataset", where);
    std::vector<std::string> names;
    hsize_t index = 0;
    const auto keep_name = [](hid_t, const char* name, const H5A_info_t*, void* into) -> herr_t {
      static_cast<std::vector<std::string>*>(into)->emplace_back(name);
      return 0;
    };
    if (H5Aiterate2(holder.get(), H5_INDEX_NAME, H5_ITER_INC, &index, keep_name, &names) < 0)
      core::fail_input("{}: damaged HDF5 file: {}", where, last_error());
    Attributes result;
    for (const std::string& name : names)
      if (std::optional<Attribute> value = attribute(holder.get(), name, where))
        result.emplace(name, *std::move(value));
    return result;
  }

 private:
  static Handle open(const std::string& path) {
    (void)FileBytes::open(path);  // missing files, folders and permissions, with our messages
    Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
    if (!file.valid()) core::fail_input("{}: not a whole HDF5 file: {}", path, last_error());
    return file;
  }

  static void require(const Handle& handle, const std::string& where) {
    if (!handle.valid()) core::fail_input("{}: damaged HDF5 file: {}", where, last_error());
  }

  // Scalars of the types that Hdf5Writer writes; nothing for others.
  [[nodiscard]] static std::optional<Attribute> attribute(hid_t object, const std::string& name,
                                                          const std::string& where) {
    const Handle holder(H5Aopen(object, name.c_str(), H5P_DEFAULT), H5Aclose);
    require(holder, where);
    const Handle type(H5Aget_type(holder.get()), H5Tclose);
    const Handle space(H5Aget_space(holder.get()), H5Sclose);
    require(type, where);
    require(space, where);
    if (H5Sget_simple_extent_type(space.get()) != H5S_SCALAR) return std::nullopt;
    const auto read = [&](hid_t memory_type, void* into) {
      if (H5Aread(holder.get(), memory_type, into) < 0)
        core::fail_input("{}: cannot read attribute '{}': {}", where, name, last_error());
    };
    switch (H5Tget_class(type.get())) {
      case H5T_INTEGER: {
        std::int64_t value = 0;
        read(H5T_NATIVE_INT64, &value);
        return value;
      }
      case H5T_FLOAT: {
        double value = 0;
        read(H5T_NATIVE_DOUBLE, &value);
        return value;
      }
      case H5T_STRING: {
        if (H5Tis_variable_str(type.get()) > 0) return std::nullopt;
        std::string text(H5Tget_size(type.get()), '\0');
        read(type.get(), text.data());
        text.resize(std::min(text.find('\0'), text.size()));
        return text;
      }
      default:
        return std::nullopt;
    }
  }

  static herr_t keep_link(hid_t, const char* name, const H5L_info_t* info, void* names) {
    if (info->type == H5L_TYPE_HARD) static_cast<std::vector<std::string>*>(names)->emplace_back(name);
    return 0;
  }

  void collect(hid_t group, const std::string& prefix, int depth) {
    if (depth > kMaxGroupDepth)
      core::fail_input("{}: HDF5 groups more than {} deep at '{}'", path_, kMaxGroupDepth, prefix);
    std::vector<std::string> links;
    hsize_t index = 0;
    if (H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, &index, keep_link, &links) < 0)
      core::fail_input("{}: damaged HDF5 group '{}': {}", path_, prefix, last_error());
    for (const std::string& link : links) {
      std::string name = prefix;
      name += link;
      const Handle object(H5Oopen(group, link.c_str(), H5P_DEFAULT), H5Oclose);
      require(object, fmt::format("{}:{}", path_, name));
      const H5I_type_t kind = H5Iget_type(object.get());
      if (kind == H5I_GROUP) collect(object.get(), name + "/", depth + 1);
      if (kind == H5I_DATASET) names_.insert(std::move(name));
    }
  }

  // The shape, refused when it cannot be what the file holds: contiguous data takes its own size in the file.
  [[nodiscard]] Shape shape_of(hid_t dataset, hid_t space, DType dtype, const std::string& where) const {
    const int rank = H5Sget_simple_extent_ndims(space);
    if (rank < 0 || H5Sget_simple_extent_type(space) == H5S_NULL)
      core::fail_input("{}: HDF5 dataset without a shape", where);
    std::array<hsize_t, H5S_MAX_RANK> sizes{};
    H5Sget_simple_extent_dims(space, sizes.data(), nullptr);
    Shape shape;
    for (int axis = 0; axis < rank; ++axis) {
      const hsize_t size = sizes.at(static_cast<std::size_t>(axis));
      if (size > hsize_t{INT64_MAX}) core::fail_input("{}: HDF5 dataset with an axis of {}", where, size);
      shape.push_back(static_cast<std::int64_t>(size));
    }
    const auto bytes = static_cast<hsize_t>(tensor::element_count(shape, where)) * tensor::size_of(dtype);
    const Handle plan(H5Dget_create_plist(dataset), H5Pclose);
    require(plan, where);
    if (H5Pget_layout(plan.get()) != H5D_CHUNKED && bytes > std::filesystem::file_size(path_))
      core::fail_input("{}: HDF5 dataset of {} bytes in a smaller file", where, bytes);
    return shape;
  }

  [[nodiscard]] static DType named_dtype(hid_t dataset, DType stored, const std::string& where) {
    if (H5Aexists(dataset, kDTypeAttribute) <= 0) return stored;
    const Handle attribute(H5Aopen(dataset, kDTypeAttribute, H5P_DEFAULT), H5Aclose);
    require(attribute, where);
    const Handle type(H5Aget_type(attribute.get()), H5Tclose);
    constexpr std::size_t kLongestName = 16;
    if (!type.valid() || H5Tget_class(type.get()) != H5T_STRING || H5Tis_variable_str(type.get()) > 0 ||
        H5Tget_size(type.get()) > kLongestName || H5Aget_storage_size(attribute.get()) > kLongestName)
      core::fail_input("{}: attribute '{}', expected the name of a type", where, kDTypeAttribute);
    std::array<char, kLongestName + 1> text{};
    if (H5Aread(attribute.get(), type.get(), text.data()) < 0)
      core::fail_input("{}: cannot read attribute '{}': {}", where, kDTypeAttribute, last_error());
    const std::string_view name(text.data());
    for (const DType dtype :
         {DType::kBF16, DType::kE4M3, DType::kE5M2, DType::kE4M3Fnuz, DType::kE5M2Fnuz, DType::kE8M0})
      if (name == tensor::name(dtype) && stored == integer_dtype(tensor::size_of(dtype), false)) return dtype;
    core::fail_input("{}: attribute '{}' is '{}' on {} codes, expected bf16 on u16 or an FP8 format on u8", where,
                     kDTypeAttribute, name, tensor::name(stored));
  }

  std::string path_;
  Handle file_;
  std::set<std::string> names_;
};

// A file that exists in memory alone: the library crashes at the program's end after a disk was full.
// (H5Fget_file_image of 1.10 leaves a wrong checksum in the superblock of this format while the file is open; when it
// has been closed its bytes are right.)
class MemoryFile {
 public:
  // Makes `access` open files here. One file; it is closed before this object goes.
  [[nodiscard]] bool use(hid_t access) {
    H5FD_file_image_callbacks_t callbacks{};
    callbacks.image_malloc = [](std::size_t size, H5FD_file_image_op_t, void* self) { return grow(self, size); };
    callbacks.image_realloc = [](void*, std::size_t size, H5FD_file_image_op_t, void* self) {
      return grow(self, size);
    };
    callbacks.image_memcpy = [](void* to, const void* from, std::size_t size, H5FD_file_image_op_t, void*) {
      return std::memcpy(to, from, size);
    };
    callbacks.image_free = [](void*, H5FD_file_image_op_t, void*) { return herr_t{0}; };  // the bytes stay with us
    callbacks.udata_copy = [](void* self) { return self; };
    callbacks.udata_free = [](void*) { return herr_t{0}; };
    callbacks.udata = this;
    constexpr std::size_t kStep = std::size_t{1} << 24U;  // by which the file grows
    return H5Pset_fapl_core(access, kStep, false) >= 0 && H5Pset_file_image_callbacks(access, &callbacks) >= 0;
  }

  // Of the closed file: without the room that is left, by the end that its superblock (version 2) names.
  [[nodiscard]] std::vector<std::byte> take() {
    constexpr std::size_t kEndOfFile = 28;
    core::check(bytes_.size() > kEndOfFile + sizeof(std::uint64_t), "a closed HDF5 file has a superblock");
    std::uint64_t end = 0;
    std::memcpy(&end, bytes_.data() + kEndOfFile, sizeof end);
    core::check(end <= bytes_.size(), "an HDF5 file ends where its superblock says");
    bytes_.resize(end);
    return std::move(bytes_);
  }

 private:
  static void* grow(void* self, std::size_t size) {
    std::vector<std::byte>& bytes = static_cast<MemoryFile*>(self)->bytes_;
    bytes.resize(size);
    return bytes.data();
  }

  std::vector<std::byte> bytes_;
};

class Hdf5Writer {
 public:
  Hdf5Writer(std::string path, MemoryFile& memory)
      : path_(std::move(path)),
        groups_(H5Pcreate(H5P_GROUP_CREATE), H5Pclose),
        datasets_(H5Pcreate(H5P_DATASET_CREATE), H5Pclose),
        links_(H5Pcreate(H5P_LINK_CREATE), H5Pclose),
        file_(-1, H5Fclose) {
    const Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
    const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    const bool planned =
        H5Pset_obj_track_times(creation.get(), false) >= 0 && H5Pset_obj_track_times(groups_.get(), false) >= 0 &&
        H5Pset_obj_track_times(datasets_.get(), false) >= 0 && H5Pset_char_encoding(links_.get(), H5T_CSET_UTF8) >= 0 &&
        // the oldest format whose structures carry checksums
        H5Pset_libver_bounds(access.get(), H5F_LIBVER_V18, H5F_LIBVER_V18) >= 0 && memory.use(access.get());
    require(planned, "the file");
    file_ = Handle(H5Fcreate(path_.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), H5Fclose);
    require(file_.valid(), "the file");
  }

  // Everything, and closes the file.
  void write_all(const NamedTensors& tensors, const ObjectAttributes& attributes) {
    for (const auto& [key, tensor] : tensors) write(key, tensor);
    for (const auto& [object, values] : attributes) write_attributes(object, values);
    require(file_.reset() >= 0, "the file");
  }

 private:
  void write(const std::string& key, const Tensor& tensor) const {
    require_name(key);
    for (std::size_t slash = key.find('/'); slash != std::string::npos; slash = key.find('/', slash + 1))
      make_group(key.substr(0, slash), key);
    const std::vector<hsize_t> sizes(tensor.shape().begin(), tensor.shape().end());
    const Handle space(
        sizes.empty() ? H5Screate(H5S_SCALAR) : H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr),
        H5Sclose);
    require(space.valid(), key);
    const Handle type = file_type(tensor.dtype());
    const Handle dataset(
        H5Dcreate2(file_.get(), key.c_str(), type.get(), space.get(), links_.get(), datasets_.get(), H5P_DEFAULT),
        H5Dclose);
    require(dataset.valid(), key);
    const Tensor dense = tensor.contiguous();
    if (dense.size() > 0)
      require(H5Dwrite(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, dense.bytes().data()) >= 0, key);
    if (is_code(tensor.dtype())) write_text(dataset.get(), kDTypeAttribute, std::string(tensor::name(tensor.dtype())));
  }

  void write_attributes(const std::string& object, const Attributes& attributes) const {
    const Handle holder(H5Oopen(file_.get(), object.empty() ? "/" : object.c_str(), H5P_DEFAULT), H5Oclose);
    core::check(holder.valid(), "attributes of an object that is not written");
    for (const auto& [name, value] : attributes) {
      if (const auto* text = std::get_if<std::string>(&value)) {
        write_text(holder.get(), name, *text);
      } else if (const auto* integer = std::get_if<std::int64_t>(&value)) {
        write_attribute(holder.get(), name, H5T_STD_I64LE, integer);
      } else {
        write_attribute(holder.get(), name, H5T_IEEE_F64LE, &std::get<double>(value));
      }
    }
  }

  void require(bool condition, const std::string& what) const {
    if (!condition) core::fail_io("{}: cannot write {}: {}", path_, what, last_error());
  }

  void require_name(const std::string& key) const {
    std::size_t begin = 0;
    for (;;) {
      const std::size_t end = std::min(key.find('/', begin), key.size());
      const std::string_view part = std::string_view(key).substr(begin, end - begin);
      if (part.empty() || part == "." || key.find('\0') != std::string::npos)
        core::fail_input("{}: '{}' cannot be the name of an HDF5 dataset", path_, key);
      if (end == key.size()) return;
      begin = end + 1;
    }
  }

  void make_group(const std::string& group, const std::string& key) const {
    if (H5Lexists(file_.get(), group.c_str(), H5P_DEFAULT) > 0) return;
    const Handle made(H5Gcreate2(file_.get(), group.c_str(), links_.get(), groups_.get(), H5P_DEFAULT), H5Gclose);
    require(made.valid(), key);
  }

  void write_text(hid_t object, const std::string& name, const std::string& text) const {
    const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.get(), std::max<std::size_t>(text.size(), 1));
    H5Tset_strpad(type.get(), H5T_STR_NULLPAD);
    H5Tset_cset(type.get(), H5T_CSET_UTF8);
    write_attribute(object, name, type.get(), text.c_str());
  }

  // `value` lies in memory as `type` says.
  void write_attribute(hid_t object, const std::string& name, hid_t type, const void* value) const {
    const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
    const Handle attribute(H5Acreate2(object, name.c_str(), type, space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    require(attribute.valid() && H5Awrite(attribute.get(), type, value) >= 0, "attribute " + name);
  }

  std::string path_;
  Handle groups_;
  Handle datasets_;
  Handle links_;
  Handle file_;
};

}  // namespace

NamedTensors load_hdf5(const std::string& path) {
  const Session session;
  const Hdf5Reader reader(path);
  NamedTensors tensors;
  for (const std::string& key : reader.names()) tensors.emplace(key, reader.read(key));
  return tensors;
}

Tensor load_hdf5_array(const std::string& path, const std::string& key) {
  const Session session;
  const Hdf5Reader reader(path);
  if (!reader.names().contains(key)) {
    const std::vector<std::string> names(reader.names().begin(), reader.names().end());
    core::fail_input("{}: no array '{}' among its {}{}", path, key, names.size(), core::suggestion(key, names));
  }
  return reader.read(key);
}

std::vector<std::string> hdf5_names(const std::string& path) {
  const Session session;
  const Hdf5Reader reader(path);
  return {reader.names().begin(), reader.names().end()};
}

Attributes load_hdf5_attributes(const std::string& path, const std::string& object) {
  const Session session;
  return Hdf5Reader(path).attributes(object);
}

std::vector<std::byte> hdf5_image(const std::string& name, const NamedTensors& tensors,
                                  const ObjectAttributes& attributes) {
  const Session session;
  MemoryFile memory;
  Hdf5Writer writer(name, memory);
  writer.write_all(tensors, attributes);
  return memory.take();
}

void save_hdf5(const std::string& path, const NamedTensors& tensors, const ObjectAttributes& attributes) {
  AtomicFile target(path);
  target.write(hdf5_image(path, tensors, attributes));
  target.commit();
}

}  // namespace lastbit::io
