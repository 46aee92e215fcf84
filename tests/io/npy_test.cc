#include "io/npy.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <filesystem>
#include <vector>

#include "core/error.h"
#include "io/samples.h"
#include "support/shared.h"

namespace lastbit::io {
namespace {

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

// A file as NumPy lays it out; the header is not padded, which readers must accept.
std::string npy(const std::string& header, const std::string& elements, int major = 1) {
  std::string file("\x93NUMPY", 6);
  file += static_cast<char>(major);
  file += '\0';
  for (std::size_t i = 0; i < (major == 1 ? 2u : 4u); ++i) file += static_cast<char>(header.size() >> (8 * i) & 0xFF);
  return file + header + elements;
}

std::string dict(const std::string& descr, const std::string& order, const std::string& shape) {
  return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
}

Tensor parse(const std::string& file) { return parse_npy(bytes_of(file), "f.npy"); }

std::string error_of(const std::string& file) {
  try {
    (void)parse(file);
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "accepted";
  return "";
}

TEST(Npy, EveryDTypeComesBack) {
  const testing::TempDir dir;
  for (const DType dtype : kAllDTypes) {
    for (const Shape& shape : {Shape{}, Shape{1}, Shape{5}, Shape{0}, Shape{2, 3}, Shape{2, 0, 3}, Shape{1, 2, 3, 4}}) {
      const Tensor tensor = sample(dtype, shape);
      save_npy(dir.file("a.npy"), tensor);
      expect_same(as_codes(tensor), load_npy(dir.file("a.npy")), std::string(tensor::name(dtype)));
    }
  }
}

RC_GTEST_PROP(Npy, AnyShapeComesBack, ()) {
  const auto sizes =
      *rc::gen::resize(6, rc::gen::container<std::vector<std::uint8_t>>(rc::gen::inRange<std::uint8_t>(0, 6)));
  const Tensor tensor = sample(DType::kF32, Shape(sizes.begin(), sizes.end()));
  std::string file = npy_preamble(tensor);
  RC_ASSERT(file.size() % 64 == 0u);
  file.append(reinterpret_cast<const char*>(tensor.bytes().data()), tensor.nbytes());
  const Tensor found = parse(file);
  RC_ASSERT(found.shape() == tensor.shape());
  RC_ASSERT(std::ranges::equal(found.bytes(), tensor.bytes()));
}

TEST(Npy, PreambleIsAsNumpyWritesIt) {
  const std::string preamble = npy_preamble(Tensor::zeros(DType::kF32, {3}));
  EXPECT_EQ(preamble.substr(0, 10), std::string("\x93NUMPY\x01\x00\x76\x00", 10));
  EXPECT_EQ(preamble.substr(10),
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }" + std::string(60, ' ') + "\n");
}

TEST(Npy, AllVersionsAndHeaderForms) {
  const std::string elements("\x01\x00\x02\x00", 4);
  for (const int version : {1, 2, 3}) {
    const Tensor tensor = parse(npy(dict("<u2", "False", "(2,)"), elements, version));
    EXPECT_EQ(tensor.dtype(), DType::kU16);
    EXPECT_EQ(tensor.values<std::uint16_t>()[1], 2);
  }
  // other orders and quotes, no trailing comma, Python 2's long integers
  EXPECT_EQ(parse(npy("{\"shape\":(1,2L),\"descr\":\"<u2\",\"fortran_order\":False}", elements)).shape(),
            (Shape{1, 2}));
  EXPECT_EQ(parse(npy(dict("|u1", "False", "()"), "x")).rank(), 0);
}

TEST(Npy, FortranOrderIsTransposed) {
  // element (i, j) of [2, 3] is stored at i + 2 j
  const Tensor matrix = parse(npy(dict("|u1", "True", "(2, 3)"), "adbecf"));
  const std::span<const std::uint8_t> values = matrix.values<std::uint8_t>();
  EXPECT_EQ(std::string(values.begin(), values.end()), "abcdef");
  EXPECT_TRUE(matrix.is_contiguous());
  const Tensor cube = parse(npy(dict("|u1", "True", "(2, 2, 2)"), "01234567"));
  EXPECT_EQ(cube.values<std::uint8_t>()[1], '4');  // (0, 0, 1) is at 0 + 2*0 + 4*1
  EXPECT_EQ(cube.values<std::uint8_t>()[4], '1');
  EXPECT_EQ(parse(npy(dict("|u1", "True", "(3,)"), "abc")).values<std::uint8_t>()[2], 'c');
}

TEST(Npy, CodesOfMlDtypesAreUnsignedIntegers) {
  EXPECT_EQ(parse(npy(dict("<V1", "False", "(1,)"), "\x7f")).dtype(), DType::kU8);
  EXPECT_EQ(parse(npy(dict("|V1", "False", "(1,)"), "\x7f")).dtype(), DType::kU8);
  EXPECT_EQ(parse(npy(dict("<V2", "False", "(1,)"), "\x7f\x01")).dtype(), DType::kU16);
  EXPECT_EQ(parse(npy(dict("<f1", "False", "(1,)"), "\x7f")).dtype(), DType::kU8);
}

TEST(Npy, RefusesOtherDTypes) {
  for (const char* descr : {">f4", ">i2", "<c8", "|O", "<U3", "|S2", "<M8[ns]", "<f16", "f4", "", "<", "<V4", "?f4"})
    EXPECT_NE(error_of(npy(dict(descr, "False", "(1,)"), "aaaa")).find("f.npy: npy dtype"), std::string::npos) << descr;
  EXPECT_NE(error_of(npy(dict(">f4", "False", "(1,)"), "aaaa")).find("big-endian"), std::string::npos);
  EXPECT_NE(error_of(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "aaaa")).find("records"),
            std::string::npos);
}

TEST(Npy, RefusesMalformedHeaders) {
  const std::vector<std::string> headers{"",
                                         "{",
                                         "{}",
                                         "[]",
                                         "{'descr': '<f4'}",
                                         "{'descr': '<f4', 'fortran_order': False}",
                                         "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
                                         "{'descr': '<f4', 'fortran_order': False, 'shape': (1)}",
                                         "{'descr': '<f4', 'fortran_order': False, 'shape': [1]}",
                                         "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
                                         "{'descr': '<f4', 'fortran_order': False, 'shape': (1.0,)}",
                                         "{'descr': '<f4', 'fortran_order': False, 'shape': (1,,)}",
                                         "{'descr': '<f4', 'fortran_order': False, 'shape': (,)}",
                                         "{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}",
                                         "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
                                         "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}",
                                         "{'descr': '<f4, 'fortran_order': False, 'shape': (1,)}",
                                         dict("<f4", "False", "(1,)") + "x",
                                         "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
                                         dict("<f4", "False", "(4611686018427387904, 4611686018427387904)"),
                                         dict("<f4", "False", "(0, 4611686018427387904, 4611686018427387904)")};
  for (const std::string& header : headers) EXPECT_NE(error_of(npy(header, "aaaa")), "") << header;
}

TEST(Npy, MessagesHoldOnlyPrintableText) {
  for (int value = 0x80; value < 0x100; ++value) {
    const std::string message = error_of(npy("{" + std::string(1, static_cast<char>(value)) + "}", ""));
    EXPECT_NE(message.find(fmt::format("found byte {:#04x} at byte 1", value)), std::string::npos) << message;
  }
}

TEST(Npy, RefusesLyingSizes) {
  EXPECT_NE(error_of(npy(dict("<f4", "False", "(2,)"), "aaaa"))
                .find("truncated: found 4 bytes of elements, expected 8 ([2] f32)"),
            std::string::npos);
  EXPECT_NE(error_of(npy(dict("<f4", "False", "(1,)"), "aaaaa")).find("left over: found 5"), std::string::npos);
  EXPECT_NE(error_of(npy(dict("|b1", "False", "(1,)"), "\x02")).find("bool with value 2"), std::string::npos);
  EXPECT_NE(error_of(npy(dict("<f4", "False", "(1,)"), "aaaa", 4)).find("version 4.0"), std::string::npos);
  EXPECT_NE(error_of(std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff", 12)).find("header of 4294967295 bytes"),
            std::string::npos);
}

TEST(Npy, TruncatedAtEveryLengthIsRefused) {
  const Tensor tensor = sample(DType::kF32, {2, 3});
  std::string file = npy_preamble(tensor);
  file.append(reinterpret_cast<const char*>(tensor.bytes().data()), tensor.nbytes());
  for (std::size_t length = 0; length < file.size(); ++length)
    EXPECT_NE(error_of(file.substr(0, length)), "") << length;
  EXPECT_NE(error_of(file + "x"), "");
}

TEST(Npy, AnyChangedByteIsReadOrRefused) {
  const Tensor tensor = sample(DType::kF32, {2, 3});
  std::string file = npy_preamble(tensor);
  const std::size_t elements = file.size();
  file.append(reinterpret_cast<const char*>(tensor.bytes().data()), tensor.nbytes());
  for (std::size_t at = 0; at < elements; ++at) {
    for (int value = 0; value < 256; ++value) {
      std::string changed = file;
      changed[at] = static_cast<char>(value);
      try {
        EXPECT_EQ(parse(changed).nbytes(), tensor.nbytes());
      } catch (const core::Error& error) {
        EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
      }
    }
  }
}

TEST(Npy, MissingFilesAndFolders) {
  const testing::TempDir dir;
  EXPECT_THROW((void)load_npy(dir.file("none.npy")), core::Error);
  EXPECT_THROW((void)load_npy(dir.path()), core::Error);
  EXPECT_THROW(save_npy(dir.file("no/such/folder.npy"), sample(DType::kF32, {1})), core::Error);
}

TEST(Npy, ViewsAreWrittenRowMajor) {
  const testing::TempDir dir;
  const Tensor matrix = sample(DType::kI16, {3, 4});
  save_npy(dir.file("t.npy"), matrix.transpose(0, 1));
  expect_same(matrix.transpose(0, 1).clone(), load_npy(dir.file("t.npy")), "transposed");
}

}  // namespace
}  // namespace lastbit::io
