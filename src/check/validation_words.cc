#include "check/validation_words.h"

#include <charconv>

#include "core/error.h"

namespace lastbit::check {
namespace {

std::vector<std::int64_t> parse_sizes(const std::string& text) {
  std::vector<std::int64_t> sizes;
  const char* at = text.data();
  const char* const end = at + text.size();
  for (;;) {
    std::int64_t size = 0;
    const auto [stop, error] = std::from_chars(at, end, size);
    if (error != std::errc{} || (stop != end && *stop != 'x'))
      core::fail_input("shapes: found '{}', expected sizes with x between them, as in 64x128x256, or v3", text);
    sizes.push_back(size);
    if (stop == end) return sizes;
    at = stop + 1;
  }
}

// The linear layers of DeepSeek-V3 (N, K), each for a few tokens and many; grouped: four experts of each.
std::vector<tensor::Shape> v3_shapes(const Contract& contract) {
  constexpr std::int64_t kLayers[][2] = {{2112, 7168},  {24576, 1536}, {32768, 512},
                                         {7168, 16384}, {4096, 7168},  {7168, 2048}};
  std::vector<tensor::Shape> shapes;
  const bool product = contract.axes.size() >= 3 && contract.axes[2] == "K";
  if (!product) core::fail_input("shapes v3: contract {} has no matrix product, expected sizes", contract.name);
  for (const std::int64_t m : {1, 64, 4096})
    for (const auto& [n, k] : kLayers) {
      shapes.push_back({m, n, k});
      if (contract.axes.size() == 4) shapes.back().push_back(4);
    }
  return shapes;
}

}  // namespace

ValidationRequest read_request(const ValidationWords& words) {
  ValidationRequest request;
  request.contract = &find_contract(words.contract);
  request.settings = contract_settings(*request.contract, words.settings);
  request.families = words.families;
  for (const std::string& shape : words.shapes) {
    const std::vector<tensor::Shape> more =
        shape == "v3" ? v3_shapes(*request.contract) : std::vector<tensor::Shape>{parse_sizes(shape)};
    request.shapes.insert(request.shapes.end(), more.begin(), more.end());
  }
  return request;
}

tensor::Tolerance read_tolerance(const std::string& text) {
  const tensor::Tolerance tolerance = tensor::parse_tolerance(text);
  if (tolerance.kind == tensor::ToleranceKind::kNorm)
    core::fail_input("tolerance {}: expected bitwise, ulp=N, abs=X or rel=X: element by element", text);
  return tolerance;
}

}  // namespace lastbit::check
