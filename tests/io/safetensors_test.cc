#include "io/safetensors.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <vector>

#include "core/error.h"
#include "io/samples.h"
#include "support/shared.h"

namespace lastbit::io {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Shape;
using tensor::Tensor;

std::string safetensors(const std::string& header, const std::string& data) {
  std::string file;
  for (std::size_t i = 0; i < 8; ++i) file += static_cast<char>(header.size() >> (8 * i) & 0xFF);
  return file + header + data;
}

std::string error_of(const std::vector<std::byte>& bytes) {
  try {
    (void)SafetensorsFile::parse(bytes, "f.safetensors");
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("f.safetensors"), std::string::npos) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "accepted";
  return "";
}

// Expects that `header` before `data` is refused with a message that contains `part`.
void expect_refused(const std::string& header, const std::string& data, const std::string& part) {
  const std::string message = error_of(bytes_of(safetensors(header, data)));
  EXPECT_NE(message.find(part), std::string::npos) << header << "\n" << message;
}

TEST(Safetensors, EveryDTypeComesBack) {
  const testing::TempDir dir;
  const Metadata metadata{{"format", "pt"}, {"note", "zwei Wörter"}};
  save_safetensors(dir.file("a.safetensors"), samples(), metadata);
  const SafetensorsFile file = SafetensorsFile::open(dir.file("a.safetensors"));
  expect_same(samples(), file.tensors());
  EXPECT_EQ(file.metadata(), metadata);
  EXPECT_EQ(file.names().size(), samples().size());
  EXPECT_TRUE(std::ranges::is_sorted(file.names()));
  EXPECT_TRUE(file.contains("scalar"));
  EXPECT_FALSE(file.contains("__metadata__"));
}

TEST(Safetensors, TensorsOutliveTheFile) {
  const testing::TempDir dir;
  save_safetensors(dir.file("a.safetensors"), samples());
  const Tensor tensor = SafetensorsFile::open(dir.file("a.safetensors")).tensor("hidden.layer0");
  expect_same(samples().at("hidden.layer0"), tensor, "hidden.layer0");
}

TEST(Safetensors, SameTensorsSameBytes) {
  const testing::TempDir dir;
  save_safetensors(dir.file("a.safetensors"), samples());
  save_safetensors(dir.file("b.safetensors"), samples());
  EXPECT_EQ(read_bytes(dir.file("a.safetensors")), read_bytes(dir.file("b.safetensors")));
}

RC_GTEST_PROP(Safetensors, AnyNamesComeBack, (const std::vector<std::uint16_t>& numbers)) {
  const testing::TempDir dir;
  NamedTensors tensors;
  for (const std::uint16_t number : numbers)
    tensors.emplace("t\"\\\t" + std::to_string(number),
                    sample(kAllDTypes.at(number % kAllDTypes.size()), {number % 5}));
  save_safetensors(dir.file("a.safetensors"), tensors);
  const NamedTensors found = SafetensorsFile::open(dir.file("a.safetensors")).tensors();
  RC_ASSERT(found.size() == tensors.size());
  for (const auto& [name, tensor] : tensors) RC_ASSERT(std::ranges::equal(tensor.bytes(), found.at(name).bytes()));
}

TEST(Safetensors, UnalignedTensorsAreCopied) {
  // The header has an odd length, so the float after it is not aligned.
  const std::string header = R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} )";
  const std::vector<std::byte> bytes =
      bytes_of(safetensors(header + (header.size() % 2 == 0 ? " " : ""), std::string("\0\0\x80\x3f", 4)));
  EXPECT_EQ(SafetensorsFile::parse(bytes, "f").tensor("x").values<float>()[0], 1.0f);
}

TEST(Safetensors, MissingTensorsGetASuggestion) {
  const testing::TempDir dir;
  save_safetensors(dir.file("a.safetensors"), samples());
  try {
    (void)SafetensorsFile::open(dir.file("a.safetensors")).tensor("hidden.layer1");
    FAIL() << "accepted";
  } catch (const core::Error& error) {
    EXPECT_NE(std::string(error.what()).find("no tensor 'hidden.layer1' among its 21 (did you mean 'hidden.layer0'?)"),
              std::string::npos)
        << error.what();
  }
}

TEST(Safetensors, RefusesMalformedHeaders) {
  expect_refused("", "", "safetensors header");
  expect_refused("[]", "", "expected an object");
  expect_refused("{", "", ":1:2:");
  expect_refused(R"({"x":1})", "", "tensor 'x': found number 1, expected an object");
  expect_refused(R"({"x":{"shape":[1],"data_offsets":[0,4]}})", "aaaa", "without 'dtype'");
  expect_refused(R"({"x":{"dtype":"F32","data_offsets":[0,4]}})", "aaaa", "without 'shape'");
  expect_refused(R"({"x":{"dtype":"F32","shape":[1]}})", "aaaa", "without 'data_offsets'");
  expect_refused(R"({"x":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", "aaaa", "unknown dtype");
  expect_refused(R"({"x":{"dtype":4,"shape":[1],"data_offsets":[0,4]}})", "aaaa", "dtype is number 4");
  expect_refused(R"({"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", "aaaa", "integers from 0");
  expect_refused(R"({"x":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", "aaaa", "integers from 0");
  expect_refused(R"({"x":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})", "aaaa", "expected an array");
  expect_refused(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}})", "aaaa", "unknown key 'more'");
  expect_refused(R"({"x":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]}})", "aaaa",
                 "integers from 0");
  expect_refused(R"({"x":{"dtype":"F32","shape":[9223372036854775807,8],"data_offsets":[0,4]}})", "aaaa", "too large");
  expect_refused(R"({"__metadata__":{"a":1}})", "", "expected a string");
  expect_refused(R"({"__metadata__":[]})", "", "expected an object of strings");
}

TEST(Safetensors, RefusesNamesThatAreThereTwice) {
  expect_refused(
      R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
      "ab", "'x' is there twice");
  expect_refused(R"({"x":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", "a",
                 "'dtype' is there twice");
}

TEST(Safetensors, RefusesOffsetsThatLie) {
  expect_refused(R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,1]}})", "a", "give 1 bytes, expected 2");
  expect_refused(R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}})", "a", "expected [begin, end]");
  expect_refused(R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", "a", "expected [begin, end]");
  expect_refused(R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", "a", "the file is truncated");
  expect_refused(R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", "ab", "begins at byte 1, after byte 0");
  expect_refused(
      R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
      "abc", "tensor 'y' begins at byte 1");
  expect_refused(R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "ab", "bytes left over");
  EXPECT_NE(error_of(bytes_of("\xff\xff\xff\xff\xff\xff\xff\x7f{}")).find("header would have"), std::string::npos);
}

TEST(Safetensors, TruncatedAtEveryLengthIsRefused) {
  const testing::TempDir dir;
  save_safetensors(dir.file("a.safetensors"), {{"a", sample(DType::kF32, {2, 3})}, {"b", sample(DType::kE4M3, {5})}});
  const std::vector<std::byte> bytes = read_bytes(dir.file("a.safetensors"));
  for (std::size_t length = 0; length < bytes.size(); ++length)
    EXPECT_NE(error_of({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length)}), "") << length;
}

TEST(Safetensors, AnyChangedByteIsReadOrRefused) {
  const testing::TempDir dir;
  save_safetensors(dir.file("a.safetensors"), {{"a", sample(DType::kF32, {2, 3})}, {"b", sample(DType::kE4M3, {5})}});
  const std::vector<std::byte> bytes = read_bytes(dir.file("a.safetensors"));
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (const char value : std::string("\0\1\7\x7f\x80\xff\"{}[]:, 0189-.eaFU", 25)) {
      std::vector<std::byte> changed = bytes;
      changed[at] = static_cast<std::byte>(value);
      try {
        std::size_t total = 0;
        for (const auto& [name, tensor] : SafetensorsFile::parse(changed, "f").tensors()) total += tensor.nbytes();
        EXPECT_EQ(total, 29u);
      } catch (const core::Error& error) {
        EXPECT_EQ(error.kind(), core::ErrorKind::kInput) << error.what();
      }
    }
  }
}

TEST(Safetensors, RefusesToWriteNamesThatCannotBe) {
  const testing::TempDir dir;
  EXPECT_THROW(save_safetensors(dir.file("a.safetensors"), {{"__metadata__", sample(DType::kU8, {1})}}), core::Error);
  EXPECT_THROW(save_safetensors(dir.file("a.safetensors"), {{"\xff\xfe", sample(DType::kU8, {1})}}), core::Error);
  EXPECT_THROW((void)SafetensorsFile::open(dir.file("a.safetensors")), core::Error);  // nothing was left behind
}

}  // namespace
}  // namespace lastbit::io
