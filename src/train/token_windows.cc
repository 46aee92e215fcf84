#include "train/token_windows.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/philox.h"
#include "corpus/document_source.h"
#include "corpus/document_tokens.h"
#include "corpus/shards.h"
#include "corpus/tokenize_files.h"
#include "text/tokenizer.h"

namespace lastbit::train {
namespace {

using tensor::DType;
using tensor::Tensor;
using text::TokenId;

// 0 ... count - 1, sorted by 64 random bits each, ties by number.
std::vector<std::uint32_t> drawn_order(std::size_t count, std::uint64_t seed, std::string_view purpose,
                                       std::uint32_t layer, std::uint32_t step) {
  const core::RandomStream stream(seed, purpose, layer, step);
  std::vector<std::pair<std::uint64_t, std::uint32_t>> keys(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    const core::PhiloxBlock words = stream.block(i);
    keys[i] = {std::uint64_t{words[0]} << 32U | words[1], i};
  }
  std::ranges::sort(keys);
  std::vector<std::uint32_t> order(count);
  std::ranges::transform(keys, order.begin(), [](const auto& key) { return key.second; });
  return order;
}

std::vector<std::int64_t> bytes_of_tokens(const text::Tokenizer& tokenizer, std::int64_t vocabulary) {
  std::vector<std::int64_t> bytes(static_cast<std::size_t>(vocabulary), 0);
  for (TokenId id = 0; id < std::min(bytes.size(), tokenizer.id_limit()); ++id)
    if (!tokenizer.is_special(id)) bytes[id] = std::ssize(tokenizer.bytes_of(id));
  return bytes;
}

// All documents of the files, each with its end token.
std::vector<std::vector<TokenId>> tokenised(const DataConfig& config, const text::Tokenizer& tokenizer) {
  corpus::PrepareConfig prepare;
  prepare.inputs = config.text;
  prepare.text_field = config.text_field;
  prepare.fim.rate = 0;
  prepare.line_break_share = 0;
  const corpus::DocumentTokens document_tokens(tokenizer, prepare);
  constexpr std::size_t kBlockBytes = std::size_t{1} << 26U;
  constexpr std::size_t kMostBytes = std::size_t{1} << 30U;
  corpus::DocumentSource source(prepare.inputs, kBlockBytes, kMostBytes);
  text::Encoder encoder(tokenizer);
  std::vector<std::vector<TokenId>> documents;
  for (auto places = source.next(); !places.empty(); places = source.next())
    for (const corpus::DocumentPlace& place : places) {
      documents.emplace_back();
      document_tokens.append(corpus::read_document(place, prepare).text, std::ssize(documents) - 1, encoder,
                             documents.back());
    }
  return documents;
}

// Joined in the order of `chosen` and cut; the incomplete tail is left out.
Tensor cut_rows(const std::vector<std::vector<TokenId>>& documents, const std::vector<std::uint32_t>& chosen,
                std::int64_t width) {
  std::vector<std::int64_t> joined;
  for (const std::uint32_t document : chosen)
    joined.insert(joined.end(), documents[document].begin(), documents[document].end());
  const std::int64_t rows = std::ssize(joined) / width;
  joined.resize(static_cast<std::size_t>(rows * width));
  return Tensor::from<std::int64_t>({rows, width}, joined);
}

// Rows of a shard's windows.
TokenRows rows_of(const corpus::Shard& shard, std::int64_t first_window, std::int64_t end_window, std::int64_t width) {
  const Tensor tokens = shard.tokens.slice(0, first_window, end_window).contiguous();
  const Tensor segments = shard.segments.slice(0, first_window, end_window).contiguous();
  const std::int64_t rows = tokens.size() / width;
  TokenRows result{Tensor::empty(DType::kI64, {rows, width}), Tensor::empty(DType::kBool, {rows, width})};
  std::ranges::copy(tokens.values<TokenId>(), result.ids.mutable_values<std::int64_t>().begin());
  std::ranges::transform(segments.values<std::int32_t>(), result.padding.mutable_values<bool>().begin(),
                         [](std::int32_t segment) { return segment < 0; });
  const auto padding = std::as_const(result.padding).values<bool>();
  if (std::ranges::none_of(padding, [](bool is) { return is; })) result.padding = {};
  return result;
}

// Rows at these places.
TokenRows picked(const TokenRows& from, const std::vector<std::int64_t>& places) {
  const std::int64_t width = from.ids.dim(1);
  const auto rows = std::ssize(places);
  TokenRows result{Tensor::empty(DType::kI64, {rows, width}), {}};
  if (from.padding.size() > 0) result.padding = Tensor::empty(DType::kBool, {rows, width});
  const auto row_size = static_cast<std::size_t>(width);
  for (std::size_t row = 0; row < places.size(); ++row) {
    const auto at = static_cast<std::size_t>(places[row]) * row_size;
    std::ranges::copy(from.ids.values<std::int64_t>().subspan(at, row_size),
                      result.ids.mutable_values<std::int64_t>().begin() + static_cast<std::ptrdiff_t>(row * row_size));
    if (from.padding.size() > 0)
      std::ranges::copy(from.padding.values<bool>().subspan(at, row_size),
                        result.padding.mutable_values<bool>().begin() + static_cast<std::ptrdiff_t>(row * row_size));
  }
  return result;
}

bool row_is_full(const TokenRows& rows, std::int64_t row) {
  if (rows.padding.size() == 0) return true;
  const auto width = static_cast<std::size_t>(rows.padding.dim(1));
  const auto flags = rows.padding.values<bool>().subspan(static_cast<std::size_t>(row) * width, width);
  return std::ranges::none_of(flags, [](bool is) { return is; });
}

// Appends the rows of `part`.
void append_rows(TokenRows& all, const TokenRows& part) {
  const std::int64_t width = part.ids.dim(1);
  TokenRows joined{Tensor::empty(DType::kI64, {all.rows() + part.rows(), width}), {}};
  const auto target = joined.ids.mutable_values<std::int64_t>();
  auto end = target.begin();
  if (all.rows() > 0) end = std::ranges::copy(std::as_const(all.ids).values<std::int64_t>(), end).out;
  std::ranges::copy(part.ids.values<std::int64_t>(), end);
  if (all.padding.size() > 0 || part.padding.size() > 0) {
    joined.padding = Tensor::zeros(DType::kBool, joined.ids.shape());
    const auto flags = joined.padding.mutable_values<bool>();
    if (all.padding.size() > 0) std::ranges::copy(std::as_const(all.padding).values<bool>(), flags.begin());
    if (part.padding.size() > 0)
      std::ranges::copy(part.padding.values<bool>(), flags.begin() + static_cast<std::ptrdiff_t>(all.rows() * width));
  }
  all = std::move(joined);
}

}  // namespace

TokenWindows::TokenWindows(const DataConfig& config, std::int64_t vocabulary, std::uint64_t seed)
    : vocabulary_(vocabulary), seed_(seed), sequence_tokens_(config.sequence_tokens), folder_(config.shards) {
  const text::Tokenizer tokenizer = corpus::load_tokenizer(config.tokenizer);
  token_bytes_ = bytes_of_tokens(tokenizer, vocabulary);
  if (folder_.empty())
    load_text(config);
  else
    load_shards(config);
  rows_ = std::accumulate(shard_rows_.begin(), shard_rows_.end(), std::int64_t{0});
  const std::string what = folder_.empty() ? config.text.front() : folder_;
  if (rows_ == 0) core::fail_input("{}: less than one sequence of {} tokens to train on", what, sequence_tokens_);
  const bool wanted = folder_.empty() ? config.validation_share > 0 : config.validation_windows > 0;
  if (wanted && validation_.rows() == 0)
    core::fail_input("{}: not one full sequence of {} tokens in what validation holds out", what, sequence_tokens_);
}

void TokenWindows::check_ids(const Tensor& ids, const std::string& what) const {
  for (const std::int64_t id : ids.values<std::int64_t>())
    if (id >= vocabulary_)
      core::fail_input("{}: token {}, expected one below the model's vocab_size, {}", what, id, vocabulary_);
}

void TokenWindows::load_text(const DataConfig& config) {
  const text::Tokenizer tokenizer = corpus::load_tokenizer(config.tokenizer);
  const std::vector<std::vector<TokenId>> documents = tokenised(config, tokenizer);
  const core::RandomStream held_out(seed_, "validation documents");
  std::vector<std::uint32_t> train;
  std::vector<std::uint32_t> validation;
  for (const std::uint32_t document : drawn_order(documents.size(), seed_, "text documents", 0, 0))
    (static_cast<double>(held_out.uniform(document)) < config.validation_share ? validation : train)
        .push_back(document);
  current_.ids = cut_rows(documents, train, sequence_tokens_);
  validation_.ids = cut_rows(documents, validation, sequence_tokens_);
  check_ids(current_.ids, config.text.front());
  check_ids(validation_.ids, config.text.front());
  shard_rows_ = {current_.rows()};
  loaded_ = 0;
}

void TokenWindows::load_shards(const DataConfig& config) {
  const corpus::ShardIndex index = corpus::load_shard_index(folder_);
  if (index.window_tokens % sequence_tokens_ != 0)
    core::fail_input("{}: windows of {} tokens, expected a multiple of data.sequence_tokens, {}", folder_,
                     index.window_tokens, sequence_tokens_);
  const std::int64_t rows_a_window = index.window_tokens / sequence_tokens_;
  std::int64_t held_out = config.validation_windows;
  shard_rows_.resize(index.shards.size());
  for (std::size_t shard = index.shards.size(); shard-- > 0;) {
    const std::int64_t windows = index.shards[shard].windows;
    const std::int64_t of_shard = std::min(held_out, windows);
    held_out -= of_shard;
    shard_rows_[shard] = (windows - of_shard) * rows_a_window;
    if (of_shard == 0) continue;
    const TokenRows rows = rows_of(corpus::load_shard(index, shard), windows - of_shard, windows, sequence_tokens_);
    std::vector<std::int64_t> full;
    for (std::int64_t row = 0; row < rows.rows(); ++row)
      if (row_is_full(rows, row)) full.push_back(row);
    if (!full.empty()) append_rows(validation_, picked(rows, full));
  }
  validation_.padding = {};
  if (validation_.rows() > 0) check_ids(validation_.ids, folder_);
}

// Makes the shard at `place` of the epoch the current one.
void TokenWindows::enter(std::int64_t epoch, std::size_t place) {
  const auto step = static_cast<std::uint32_t>(epoch);
  if (epoch != epoch_) shard_order_ = drawn_order(shard_rows_.size(), seed_, "shard order", 0, step);
  epoch_ = epoch;
  place_ = place;
  first_ = 0;
  for (std::size_t i = 0; i < place; ++i) first_ += shard_rows_[shard_order_[i]];
  const std::uint32_t shard = shard_order_[place];
  row_order_ = drawn_order(static_cast<std::size_t>(shard_rows_[shard]), seed_, "row order", shard, step);
  if (loaded_ == shard) return;
  const corpus::ShardIndex index = corpus::load_shard_index(folder_);
  const std::int64_t windows = shard_rows_[shard] * sequence_tokens_ / index.window_tokens;
  current_ = rows_of(corpus::load_shard(index, shard), 0, windows, sequence_tokens_);
  check_ids(current_.ids, folder_ + "/" + index.shards[shard].file);
  loaded_ = shard;
}

TokenRows TokenWindows::read(std::int64_t position, std::int64_t count) {
  TokenRows result;
  while (result.rows() < count) {
    const std::int64_t at = position + result.rows();
    const std::int64_t epoch = at / rows_;
    std::int64_t row = at % rows_;
    const bool inside = epoch == epoch_ && row >= first_ && row < first_ + std::ssize(row_order_);
    if (!inside) {
      enter(epoch, 0);
      while (row >= first_ + std::ssize(row_order_)) enter(epoch, place_ + 1);
    }
    row -= first_;
    const std::int64_t end = std::min(row + count - result.rows(), std::ssize(row_order_));
    append_rows(result, picked(current_, {row_order_.begin() + row, row_order_.begin() + end}));
  }
  return result;
}

}  // namespace lastbit::train
