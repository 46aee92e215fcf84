#include "core/error.h"
#include "core/parallel.h"
#include "text/encoder_pool.h"
#include "text/tokenizer.h"
#include "text/utf8.h"
#include "text/word_cache.h"

namespace lastbit::text {
namespace {

constexpr std::size_t kLongestEncodedText = std::size_t{1} << 31U;

void check_length(std::string_view text) {
  if (text.size() > kLongestEncodedText)
    core::fail_input("tokenizer: a text of {} bytes, expected at most {}", text.size(), kLongestEncodedText);
}

}  // namespace

struct Encoder::State {
  WordCache cache;
  std::vector<TextSpan> pieces;
  std::vector<TextPart> raw_parts;
  std::vector<TextPart> normalized_parts;
};

Encoder::Encoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer), state_(std::make_unique<State>()) {}
Encoder::~Encoder() = default;

void Encoder::encode(std::string_view text, std::vector<TokenId>& ids) {
  check_length(text);
  state_->raw_parts.clear();
  tokenizer_.raw_added_->split(text, state_->raw_parts);
  for (const TextPart& part : state_->raw_parts) {
    if (part.token != kNoToken) {
      ids.push_back(part.token);
    } else {
      encode_part(text.substr(part.span.begin, part.span.end - part.span.begin), true, ids);
    }
  }
}

void Encoder::encode_ordinary(std::string_view text, std::vector<TokenId>& ids) {
  check_length(text);
  encode_part(text, false, ids);
}

void Encoder::encode_part(std::string_view text, bool find_added, std::vector<TokenId>& ids) {
  while (!text.empty()) {
    const std::size_t valid = valid_utf8_prefix(text);
    if (valid > 0) encode_utf8(text.substr(0, valid), find_added, ids);
    text.remove_prefix(valid);
    if (text.empty()) return;
    const std::size_t invalid = invalid_utf8_bytes(text, 0);
    tokenizer_.model_->encode_bytes(text.substr(0, invalid), ids);
    text.remove_prefix(invalid);
  }
}

void Encoder::encode_utf8(std::string_view text, bool find_added, std::vector<TokenId>& ids) {
  std::string normalized;
  for (const NormalForm form : tokenizer_.normal_forms_) {
    if (form == NormalForm::kNfc && surely_nfc(text)) continue;
    normalized = normalize(text, form);
    text = normalized;
  }
  if (!find_added) return encode_pieces(text, ids);
  state_->normalized_parts.clear();
  tokenizer_.normalized_added_->split(text, state_->normalized_parts);
  for (const TextPart& part : state_->normalized_parts) {
    if (part.token != kNoToken) {
      ids.push_back(part.token);
    } else {
      encode_pieces(text.substr(part.span.begin, part.span.end - part.span.begin), ids);
    }
  }
}

void Encoder::encode_pieces(std::string_view text, std::vector<TokenId>& ids) {
  for (std::size_t at = 0; at < text.size();) {
    state_->pieces.clear();
    at = tokenizer_.pre_tokenizer_.split(text, at, state_->pieces);
    constexpr std::size_t kAhead = 12;
    const std::vector<TextSpan>& pieces = state_->pieces;
    const auto piece = [&](std::size_t i) {
      return std::string_view(text.data() + pieces[i].begin, pieces[i].end - pieces[i].begin);
    };
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      if (i + kAhead < pieces.size()) state_->cache.prefetch(piece(i + kAhead));
      encode_piece(piece(i), ids);
    }
  }
}

void Encoder::encode_piece(std::string_view piece, std::vector<TokenId>& ids) {
  WordCache::Entry* entry = nullptr;
  if (piece.size() <= WordCache::kLongest) {
    bool hit = false;
    entry = &state_->cache.find(piece, hit);
    if (hit) {
      ids.insert(ids.end(), entry->ids, entry->ids + entry->count);
      return;
    }
  }
  const std::size_t before = ids.size();
  const TokenId whole = tokenizer_.description_.ignore_merges ? tokenizer_.whole_pieces_.find(piece) : kNoToken;
  if (whole != kNoToken) {
    ids.push_back(whole);
  } else {
    tokenizer_.model_->encode(piece, ids);
  }
  const std::size_t count = ids.size() - before;
  if (entry != nullptr && count <= WordCache::kMostIds) WordCache::store(*entry, piece, ids.data() + before, count);
}

std::vector<TokenId> Tokenizer::encode(std::string_view text) const {
  std::vector<TokenId> ids;
  Encoder(*this).encode(text, ids);
  return ids;
}

std::vector<std::vector<TokenId>> Tokenizer::encode_batch(std::span<const std::string_view> texts) const {
  std::vector<std::vector<TokenId>> results(texts.size());
  EncoderPool pool(*this);
  constexpr std::int64_t kGrain = 8;  // texts
  core::parallel_for(std::ssize(texts), kGrain, [&](std::int64_t begin, std::int64_t end) {
    std::unique_ptr<Encoder> encoder = pool.take();
    std::vector<TokenId> ids;
    for (std::int64_t i = begin; i < end; ++i) {
      ids.clear();
      encoder->encode(texts[static_cast<std::size_t>(i)], ids);
      results[static_cast<std::size_t>(i)] = ids;
    }
    pool.give_back(std::move(encoder));
  });
  return results;
}

}  // namespace lastbit::text
