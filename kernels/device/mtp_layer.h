// The MTP modules of one pass on the device (model/mtp.h).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/device/block_layer.h"
#include "kernels/device/head_layer.h"
#include "kernels/device/pass.h"
#include "model/mtp.h"
#include "tensor/tensor.h"

namespace lastbit::device {

// Where the modules' tokens stand, with their targets, sent: those of the main model's ids [B, S] from each depth on.
// padding [B, S] bool or null. Errors (bad input): rows of too few tokens.
[[nodiscard]] std::vector<Place> place_modules(const model::ModelConfig& config, const tensor::Tensor& ids,
                                               const tensor::Tensor* padding, Runtime& runtime);

class MtpLayers {
 public:
  // `pass`: the main model's; `places`: the modules', by depth, of place_modules().
  MtpLayers(const Pass& pass, const model::MtpOptions& options, const std::vector<Place>& places);

  // hidden, normed [B S, d]: the main model's last residual stream, before and after the final norm. The nll of depth
  // k goes to nll[k - 1], FP64.
  void forward(const Array& hidden, const Array& normed, const Array& nll);
  // The gradient of what forward() read, hidden or normed as the variant says, [B S, d].
  void backward(const Array& dinput);

 private:
  struct Module {
    Module(const Pass& shared, std::int64_t depth, const Place& place);

    std::int64_t depth;
    Pass pass;
    std::string prefix;
    BlockLayer block;
    HeadLayer head;
    Array embedded;
    Array previous;
    Array joined;
    Array stream;
  };

  void run(Module& module, const Array& previous);
  void back(Module& module, const Array* dnext, const Array& dprevious);
  [[nodiscard]] Array half(const Array& joined, bool embedding) const;

  const Pass& pass_;
  model::MtpOptions options_;
  std::vector<std::unique_ptr<Module>> modules_;
};

}  // namespace lastbit::device
