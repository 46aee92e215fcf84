// What a product on a tensor core loses against the same product in FP32, written down product by product.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace lastbit::ops {

// Over the elements of an operand: nonzero values that became zero, and values beyond the largest code.
struct OperandLoss {
  std::int64_t elements = 0;
  std::int64_t flushed = 0;
  std::int64_t saturated = 0;
};

// One product, or all groups of one.
struct ProductLoss {
  std::string site;     // "model.layers.3.mlp.down_proj"
  std::string product;  // fprop, dgrad, wgrad
  double difference_squares = 0;
  double shadow_squares = 0;
  double candidate_squares = 0;
  double inner_product = 0;
  OperandLoss left;
  OperandLoss right;

  void add(std::span<const float> candidate, std::span<const float> shadow);
  [[nodiscard]] double relative_error()
      const;                            // norm of the difference over the norm of FP32's result; 0 if both are 0
  [[nodiscard]] double cosine() const;  // 1 if both are 0
};

// A log; products that run beside each other may write to it at the same time.
class Shadow {
 public:
  void record(ProductLoss loss);
  [[nodiscard]] const std::vector<ProductLoss>& losses() const { return losses_; }

 private:
  std::mutex mutex_;
  std::vector<ProductLoss> losses_;
};

}  // namespace lastbit::ops
