#include "eval/text_score.h"

#include <zlib.h>

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "model/language_head.h"
#include "numerics/elementary.h"
#include "ops/cross_entropy.h"

namespace lastbit::eval {
namespace {

using tensor::Tensor;

const double kLn2 = numerics::log(2.0);

// Bytes of all tokens of rows [first, ...] but each row's first one.
std::int64_t bytes_of(const Tensor& ids, std::span<const std::int64_t> token_bytes) {
  const auto all = ids.values<std::int64_t>();
  const auto width = static_cast<std::size_t>(ids.dim(1));
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (i % width != 0) bytes += token_bytes[static_cast<std::size_t>(all[i])];
  return bytes;
}

}  // namespace

double TextScore::loss() const { return targets == 0 ? 0 : nll / static_cast<double>(targets); }
double TextScore::perplexity() const { return numerics::exp(loss()); }
double TextScore::bits_per_byte() const { return bytes == 0 ? 0 : nll / kLn2 / static_cast<double>(bytes); }

void TextScore::add(const TextScore& other) {
  nll += other.nll;
  targets += other.targets;
  bytes += other.bytes;
}

Tensor next_token_nll(const model::Transformer& model, const Tensor& ids) {
  const std::int64_t rows = ids.dim(0);
  const std::int64_t width = ids.dim(1);
  const Tensor logits = model.forward(ids, {}).at("logits");
  const Tensor targets = model::targets_ahead(ids, 1, width).reshape({rows * width});
  const Tensor nll = ops::cross_entropy(logits.reshape({rows * width, logits.dim(-1)}), targets).nll;
  return nll.reshape({rows, width}).slice(1, 0, width - 1).contiguous();
}

TextScore score_rows(const model::Transformer& model, const Tensor& ids, std::span<const std::int64_t> token_bytes,
                     std::int64_t batch) {
  TextScore score;
  for (std::int64_t row = 0; row < ids.dim(0); row += batch) {
    const Tensor part = ids.slice(0, row, std::min(row + batch, ids.dim(0))).contiguous();
    const Tensor nll = next_token_nll(model, part);
    const auto values = nll.values<double>();
    score.add({std::accumulate(values.begin(), values.end(), 0.0), nll.size(), bytes_of(part, token_bytes)});
  }
  return score;
}

TextScore score_rows(const NgramModel& model, const Tensor& ids, std::span<const std::int64_t> token_bytes) {
  TextScore score;
  const auto width = static_cast<std::size_t>(ids.dim(1));
  for (std::size_t row = 0; row < static_cast<std::size_t>(ids.dim(0)); ++row) {
    const auto tokens = ids.values<std::int64_t>().subspan(row * width, width);
    for (std::size_t i = 1; i < width; ++i) score.nll += model.nll(tokens, i);
  }
  score.targets = ids.dim(0) * (ids.dim(1) - 1);
  score.bytes = bytes_of(ids, token_bytes);
  return score;
}

double gzip_bits_per_byte(std::string_view text) {
  if (text.empty()) core::fail_input("gzip: an empty text, expected at least one byte");
  uLongf size = compressBound(static_cast<uLong>(text.size()));
  std::vector<Bytef> packed(size);
  const int code = compress2(packed.data(), &size, reinterpret_cast<const Bytef*>(text.data()),
                             static_cast<uLong>(text.size()), Z_BEST_COMPRESSION);
  core::check(code == Z_OK, "zlib packs a text into its bound");
  constexpr double kGzipFrame = 18;  // bytes; zlib's own frame has 6
  constexpr double kZlibFrame = 6;
  return 8 * (static_cast<double>(size) - kZlibFrame + kGzipFrame) / static_cast<double>(text.size());
}

}  // namespace lastbit::eval
