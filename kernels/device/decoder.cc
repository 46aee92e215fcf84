#include "kernels/device/decoder.h"

#include <memory>

#include "core/error.h"
#include "kernels/device/support.h"

namespace lastbit::device {
namespace {

using tensor::Tensor;

// A prompt takes the most room where nothing was cached before; one token, where everything was.
std::size_t decoder_bytes(const model::ModelConfig& config, const ModelUse& use, std::int64_t capacity) {
  DeviceModel model(config, use, Memory::kCounted, 0);
  model.make_cache(capacity);
  static_cast<void>(model.decode(Tensor::zeros(tensor::DType::kI64, {1, capacity})));
  return model.runtime().peak_bytes();
}

}  // namespace

infer::Decode make_decoder(const model::ModelConfig& config, const model::Weights& weights,
                           const ops::Numerics& numerics, Memory memory, std::int64_t capacity) {
  const ModelUse use = model_use(numerics, false, false, false);
  const auto model = std::make_shared<DeviceModel>(config, use, memory, decoder_bytes(config, use, capacity));
  model->upload(weights);
  model->make_cache(capacity);
  return [model](const Tensor& ids) {
    const std::vector<float> logits = model->decode(ids);
    return Tensor::from<float>({1, 1, std::ssize(logits)}, logits);
  };
}

}  // namespace lastbit::device
