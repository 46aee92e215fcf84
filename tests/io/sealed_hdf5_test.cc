#include "io/sealed_hdf5.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "core/error.h"
#include "support/shared.h"

namespace lastbit::io {
namespace {

using tensor::Tensor;

class SealedHdf5 : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::vector<float> weights{1, -2, 3.5};
    const std::vector<std::int64_t> counts{7, 8};
    tensors_["weights/a"] = Tensor::from<float>({3}, weights);
    tensors_["counts"] = Tensor::from<std::int64_t>({2}, counts);
    tensors_["none"] = Tensor::zeros(tensor::DType::kF32, {0});
    save_sealed_hdf5(path_, tensors_, {{"", {{"step", std::int64_t{12}}}}});
    bytes_ = testing::read_file(path_);
  }

  // The message with which the file is refused when its bytes are these; empty when it is taken.
  [[nodiscard]] std::string refusal(const std::string& bytes) const {
    const std::string path = folder_.file("damaged.h5");
    std::ofstream(path, std::ios::binary) << bytes;
    try {
      (void)load_sealed_hdf5(path);
    } catch (const core::Error& error) {
      EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
      return error.what();
    }
    return "";
  }

  testing::TempDir folder_;
  std::string path_ = folder_.file("state.h5");
  tensor::NamedTensors tensors_;
  std::string bytes_;
};

TEST_F(SealedHdf5, GivesBackWhatWasSavedAndIsAnHdf5File) {
  const SealedFile file = load_sealed_hdf5(path_);
  ASSERT_EQ(file.tensors.size(), 3U);
  EXPECT_EQ(file.tensors.at("weights/a").values<float>()[2], 3.5F);
  EXPECT_EQ(file.tensors.at("counts").values<std::int64_t>()[0], 7);
  EXPECT_EQ(std::get<std::int64_t>(file.attributes.at("step")), 12);
  EXPECT_EQ(load_hdf5_array(path_, "counts").values<std::int64_t>()[1], 8);
  save_sealed_hdf5(folder_.file("again.h5"), tensors_, {{"", {{"step", std::int64_t{12}}}}});
  EXPECT_EQ(testing::read_file(folder_.file("again.h5")), bytes_);
}

TEST_F(SealedHdf5, RefusesAnyFlippedByte) {
  for (std::size_t i = 0; i < bytes_.size(); ++i) {
    std::string damaged = bytes_;
    damaged[i] = static_cast<char>(damaged[i] ^ (i % 2 == 0 ? 1 : 0x80));
    ASSERT_NE(refusal(damaged), "") << "byte " << i << " of " << bytes_.size();
  }
}

TEST_F(SealedHdf5, RefusesTruncationAndSaysWhichDatasetIsDamaged) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{100}, std::size_t{512}, bytes_.size() - 1})
    ASSERT_NE(refusal(bytes_.substr(0, size)), "") << size;
  ASSERT_NE(refusal(bytes_ + "x"), "");
  const std::string value("\x00\x00\x60\x40", 4);  // 3.5F
  const std::size_t at = bytes_.find(value);
  ASSERT_NE(at, std::string::npos);
  std::string damaged = bytes_;
  damaged[at + 2] = '\x61';
  const std::string message = refusal(damaged);
  EXPECT_NE(message.find("damaged.h5:weights/a: damaged: checksum"), std::string::npos) << message;
}

}  // namespace
}  // namespace lastbit::io
