// A program outside the tree that uses the installed library.
#include <cstdio>
#include <vector>

#include "core/version.h"
#include "tensor/tensor.h"

int main() {
  const std::vector<float> values{1, 2, 3, 4};
  const auto tensor = lastbit::tensor::Tensor::from<float>({2, 2}, values);
  std::printf("lastbit %s: a tensor of %lld elements\n", lastbit::core::version(),
              static_cast<long long>(tensor.size()));
  return tensor.size() == 4 ? 0 : 1;
}
