#include "io/npz.h"

#include <gtest/gtest.h>
#include <zip.h>

#include <functional>
#include <vector>

#include "core/error.h"
#include "io/npy.h"
#include "io/samples.h"
#include "support/shared.h"

namespace lastbit::io {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Tensor;

// An archive made by libzip alone: any member names and contents, deflated or stored.
void write_zip(const std::string& path, const std::vector<std::pair<std::string, std::string>>& members,
               zip_int32_t compression) {
  int code = 0;
  zip_t* archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code);
  ASSERT_NE(archive, nullptr);
  for (const auto& [name, contents] : members) {
    zip_source_t* source = zip_source_buffer(archive, contents.data(), contents.size(), 0);
    const zip_int64_t index = zip_file_add(archive, name.c_str(), source, 0);
    ASSERT_GE(index, 0);
    ASSERT_EQ(zip_set_file_compression(archive, static_cast<zip_uint64_t>(index), compression, 9), 0);
  }
  ASSERT_EQ(zip_close(archive), 0);
}

std::string npy_text(const Tensor& tensor) {
  return npy_preamble(tensor) + std::string(reinterpret_cast<const char*>(tensor.bytes().data()), tensor.nbytes());
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "accepted";
  return "";
}

TEST(Npz, EveryDTypeComesBack) {
  const testing::TempDir dir;
  const NamedTensors tensors = samples();
  save_npz(dir.file("a.npz"), tensors);
  NamedTensors codes;
  for (const auto& [name, tensor] : tensors) codes.emplace(name, as_codes(tensor));
  expect_same(codes, load_npz(dir.file("a.npz")));
  for (const auto& [name, tensor] : codes) {
    expect_same(tensor, load_npz_array(dir.file("a.npz"), name), name);
    expect_same(tensor, load_npz_array(dir.file("a.npz"), name + ".npy"), name);
  }
}

TEST(Npz, SameTensorsSameBytes) {
  const testing::TempDir dir;
  save_npz(dir.file("a.npz"), samples());
  save_npz(dir.file("b.npz"), samples());
  EXPECT_EQ(read_bytes(dir.file("a.npz")), read_bytes(dir.file("b.npz")));
}

TEST(Npz, NoArraysIsAnArchiveToo) {
  const testing::TempDir dir;
  save_npz(dir.file("a.npz"), {});
  EXPECT_TRUE(load_npz(dir.file("a.npz")).empty());
}

TEST(Npz, DeflatedAndStoredMembersAreRead) {
  const testing::TempDir dir;
  const Tensor zeros = Tensor::zeros(DType::kF64, {1000});  // deflates to almost nothing
  for (const zip_int32_t compression : {ZIP_CM_STORE, ZIP_CM_DEFLATE}) {
    write_zip(dir.file("a.npz"), {{"x.npy", npy_text(zeros)}, {"y", npy_text(sample(DType::kI8, {3}))}}, compression);
    const NamedTensors all = load_npz(dir.file("a.npz"));
    expect_same(zeros, all.at("x"), "x");
    expect_same(sample(DType::kI8, {3}), all.at("y"), "y");
    expect_same(all.at("y"), load_npz_array(dir.file("a.npz"), "y"), "y");
  }
}

TEST(Npz, MissingKeysGetASuggestion) {
  const testing::TempDir dir;
  save_npz(dir.file("a.npz"), {{"logits", sample(DType::kF32, {1})}});
  const std::string message = error_of([&] { (void)load_npz_array(dir.file("a.npz"), "logit"); });
  EXPECT_NE(message.find("a.npz: no array 'logit' among its 1 (did you mean 'logits'?)"), std::string::npos) << message;
}

TEST(Npz, RefusesKeysThatMeetAndMembersThatAreNoArrays) {
  const testing::TempDir dir;
  const std::string contents = npy_text(sample(DType::kI8, {3}));
  write_zip(dir.file("a.npz"), {{"x.npy", contents}, {"x", contents}}, ZIP_CM_STORE);
  EXPECT_NE(error_of([&] { (void)load_npz(dir.file("a.npz")); }).find("'x' is there twice"), std::string::npos);
  write_zip(dir.file("b.npz"), {{"x.npy", contents}, {"readme.txt", "hello"}}, ZIP_CM_STORE);
  EXPECT_NE(error_of([&] { (void)load_npz(dir.file("b.npz")); }).find("b.npz:readme.txt: not an npy file"),
            std::string::npos);
  EXPECT_EQ(load_npz_array(dir.file("b.npz"), "x").size(), 3);
}

TEST(Npz, TruncatedAtEveryLengthIsRefused) {
  const testing::TempDir dir;
  const NamedTensors tensors{{"a", sample(DType::kF32, {2, 3})}, {"b", sample(DType::kU8, {5})}};
  save_npz(dir.file("a.npz"), tensors);
  write_zip(dir.file("b.npz"), {{"x.npy", npy_text(Tensor::zeros(DType::kF64, {100}))}}, ZIP_CM_DEFLATE);
  for (const char* name : {"a.npz", "b.npz"}) {
    const std::vector<std::byte> bytes = read_bytes(dir.file(name));
    for (std::size_t length = 0; length < bytes.size(); ++length)
      EXPECT_NE(error_of([&] { (void)parse_npz(std::span(bytes).first(length), "t.npz"); }), "") << length;
  }
}

TEST(Npz, ClaimsOfSizesThatCannotBeAreRefused) {
  const testing::TempDir dir;
  save_npz(dir.file("a.npz"), {{"a", sample(DType::kU8, {5})}});
  std::vector<std::byte> bytes = read_bytes(dir.file("a.npz"));
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::size_t entry = text.find("PK\1\2");
  ASSERT_NE(entry, std::string::npos);
  // sizes in the central directory: compressed at 20, uncompressed at 24, little-endian
  bytes.at(entry + 27) = std::byte{0x70};
  EXPECT_NE(error_of([&] { (void)parse_npz(bytes, "t.npz"); }).find("claims 18790"), std::string::npos);
  bytes.at(entry + 23) = std::byte{0x70};
  EXPECT_NE(error_of([&] { (void)parse_npz(bytes, "t.npz"); }).find("in an archive of"), std::string::npos);
}

TEST(Npz, AnyChangedByteIsRefusedOrHarmless) {
  const testing::TempDir dir;
  const NamedTensors tensors{{"a", sample(DType::kF32, {2, 3})}};
  save_npz(dir.file("a.npz"), tensors);
  const std::vector<std::byte> bytes = read_bytes(dir.file("a.npz"));
  std::size_t refused = 0;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (const int change : {0x01, 0x80, 0xff}) {
      std::vector<std::byte> changed = bytes;
      changed[at] ^= static_cast<std::byte>(change);
      try {
        // Names and dates may change unnoticed; elements are protected by their checksum.
        for (const auto& [name, tensor] : parse_npz(changed, "t.npz")) expect_same(tensors.at("a"), tensor, name);
      } catch (const core::Error& error) {
        EXPECT_EQ(error.kind(), core::ErrorKind::kInput) << error.what();
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 3 * tensors.at("a").nbytes());
}

}  // namespace
}  // namespace lastbit::io
