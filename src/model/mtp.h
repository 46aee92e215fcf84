// Multi-token prediction (DeepSeek-V3 report, arXiv 2412.19437, section 2.2): modules that predict the tokens beyond
// the next one, each from the stream of the one before.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/block.h"
#include "model/language_head.h"
#include "model/pass_context.h"

namespace lastbit::model {

// What a module reads of the one before (the main model for the first): the residual stream before any output norm, as
// equation 21 has it, or the output after its norm, as transformers implements it.
enum class MtpVariant : std::uint8_t { kPaper, kHf };

// paper or hf. Errors: another name is bad input.
[[nodiscard]] MtpVariant find_mtp_variant(std::string_view name);
[[nodiscard]] std::string_view to_string(MtpVariant variant);

struct MtpOptions {
  MtpVariant variant = MtpVariant::kPaper;
  double weight = 0.3;        // lambda: the total loss is main + lambda / D * sum of the depths' losses
  bool hidden_first = false;  // eh_proj reads [hidden; embedding], as equation 21 is printed, not as released
  // A depth's loss is its sum over the main loss's number of targets, as equation 24 is printed (1 / T), not over its
  // own, of which each depth has one a row fewer.
  bool over_all_tokens = false;
};

// weight / D * sum of the depths' losses.
[[nodiscard]] double mtp_loss(const std::vector<HeadLoss>& depths, const HeadLoss& main, const MtpOptions& options);

// All modules in one pass: forward once, then, if the context keeps, backward once.
class MtpPass {
 public:
  // The modules of the checkpoint; `ids` [B, S] of the main model's pass. Errors (bad input): rows of too few tokens.
  MtpPass(const PassContext& context, const MtpOptions& options, tensor::Tensor ids);

  // hidden, normed [B, S, d]: the main model's last residual stream, and the same after the final norm. `scale`: keep
  // gradients of weight / D times each depth's mean loss.
  void forward(const tensor::Tensor& hidden, const tensor::Tensor& normed, bool with_gradient);
  // [B, S - k, vocabulary] of depth k = 1 ... D.
  [[nodiscard]] tensor::Tensor logits(std::int64_t depth) const;
  [[nodiscard]] const std::vector<HeadLoss>& losses() const { return losses_; }

  // Gradients of what forward() read: exactly one of the two has elements, as the variant says.
  struct InputGradients {
    tensor::Tensor hidden;
    tensor::Tensor normed;
  };
  [[nodiscard]] InputGradients backward();

 private:
  struct Module {
    Module(const PassContext& shared, std::int64_t depth, std::int64_t batch, std::int64_t tokens);

    std::int64_t depth;
    TokenLayout layout;
    PassContext context;
    Norm embedding_norm;
    Norm hidden_norm;
    Projection eh_proj;
    BlockPass block;
    LanguageHead head;
    tensor::Tensor ids;  // t[i + depth], [B, S - depth]
    tensor::Tensor embedded;
    tensor::Tensor previous;
    ops::LinearInput joined;
  };

  tensor::Tensor run(Module& module, const tensor::Tensor& previous);
  tensor::Tensor back(Module& module, const tensor::Tensor& dprevious);

  const PassContext& context_;
  MtpOptions options_;
  tensor::Tensor ids_;
  std::vector<std::unique_ptr<Module>> modules_;
  std::vector<HeadLoss> losses_;
};

}  // namespace lastbit::model
