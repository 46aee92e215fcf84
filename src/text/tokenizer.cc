#include "text/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "text/byte_alphabet.h"
#include "text/json_fields.h"

namespace lastbit::text {
namespace {

using nlohmann::json;

enum TokenKind : std::uint8_t { kAbsent, kOrdinary, kSpecial };

constexpr int kDeepestNormalizer = 16;

void read_normal_forms(const json& description, const std::string& name, int depth, std::vector<NormalForm>& forms) {
  const std::string type = require_string(description, "type", name);
  if (type == "Sequence") {
    if (depth >= kDeepestNormalizer) core::fail_input("{}: Sequences nested deeper than {}", name, kDeepestNormalizer);
    for (const json& inner : require_array(description, "normalizers", name))
      read_normal_forms(inner, name, depth + 1, forms);
    return;
  }
  const std::optional<NormalForm> form = find_normal_form(type);
  if (!form)
    core::fail_unsupported("{}: type '{}', supported are Sequence, NFC, NFD, NFKC and NFKD", name, shortened(type));
  if (forms.size() >= 16) core::fail_input("{}: more than 16 normal forms", name);
  forms.push_back(*form);
}

}  // namespace

Tokenizer::Tokenizer(TokenizerDescription description, const std::string& name)
    : description_(std::move(description)), pre_tokenizer_(description_.pre_tokenizer, name + ": pre_tokenizer") {
  if (!pre_tokenizer_.byte_level())
    core::fail_unsupported("{}: pre_tokenizer without ByteLevel, supported is byte-level BPE", name);
  if (!description_.normalizer.is_null())
    read_normal_forms(description_.normalizer, name + ": normalizer", 0, normal_forms_);
  add_tokens(name);
  model_.emplace(make_model(name));
  add_added_tokens(name);
  raw_added_.emplace(make_finder(false));
  normalized_added_.emplace(make_finder(true));
}

void Tokenizer::add_tokens(const std::string& name) {
  std::size_t limit = 0;
  const auto grow = [&](TokenId id, const std::string& content) {
    if (id >= kMostTokens)
      core::fail_input("{}: token '{}' has id {}, expected one below {}", name, shortened(content), id, kMostTokens);
    limit = std::max<std::size_t>(limit, id + 1);
  };
  for (const auto& [content, id] : description_.vocab) grow(id, content);
  for (const AddedToken& token : description_.added) grow(token.id, token.content);
  bytes_.resize(limit);
  kinds_.assign(limit, kAbsent);
  ids_ = TokenIndex(description_.vocab.size() + description_.added.size());
  for (const auto& [content, id] : description_.vocab) {
    if (content.empty()) core::fail_input("{}: an empty token, id {}", name, id);
    if (!ids_.add(content, id)) core::fail_input("{}: token '{}' is there twice", name, shortened(content));
    if (kinds_[id] != kAbsent) core::fail_input("{}: id {} is there twice", name, id);
    kinds_[id] = kOrdinary;
    const std::optional<std::string> bytes = from_byte_alphabet(content);
    bytes_[id] = bytes ? *bytes : content;
  }
  token_count_ = description_.vocab.size();
  if (!description_.ignore_merges) return;
  whole_pieces_ = TokenIndex(token_count_);
  for (const auto& [content, id] : description_.vocab) whole_pieces_.add(bytes_[id], id);
}

void Tokenizer::add_added_tokens(const std::string& name) {
  std::vector<std::string_view> contents;
  for (const AddedToken& token : description_.added) {
    if (token.content.empty()) core::fail_input("{}: an added token without content, id {}", name, token.id);
    const bool is_new = ids_.add(token.content, token.id);
    if (const TokenId known = ids_.find(token.content); known != token.id)
      core::fail_input("{}: added token '{}' has id {}, but the token has {}", name, shortened(token.content), token.id,
                       known);
    if (is_new && kinds_[token.id] != kAbsent)
      core::fail_input("{}: added token '{}' has id {}, which is another token's", name, shortened(token.content),
                       token.id);
    token_count_ += is_new ? 1 : 0;
    kinds_[token.id] = token.special ? kSpecial : kOrdinary;
    bytes_[token.id] = token.content;
    contents.push_back(token.content);
  }
  std::ranges::sort(contents);
  const auto twice = std::ranges::adjacent_find(contents);
  if (twice != contents.end())
    core::fail_input("{}: added token '{}' is there twice", name, shortened(std::string(*twice)));
}

BpeModel Tokenizer::make_model(const std::string& name) const {
  std::array<TokenId, 256> byte_tokens{};
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const std::string content = to_byte_alphabet(std::string(1, static_cast<char>(byte)));
    const std::optional<TokenId> id = find(content);
    if (!id) core::fail_input("{}: no token '{}' for byte 0x{:02x}, expected all 256 bytes", name, content, byte);
    byte_tokens[byte] = *id;
  }
  std::vector<Merge> merges;
  merges.reserve(description_.merges.size());
  std::string joined;
  for (const auto& merge : description_.merges) {
    const std::string& left = merge.first;
    const std::string& right = merge.second;
    const auto require = [&](const std::string& content) {
      const std::optional<TokenId> id = find(content);
      if (!id)
        core::fail_input("{}: merge {} ('{}' and '{}'): '{}' is not in the vocabulary", name, merges.size(),
                         shortened(left), shortened(right), shortened(content));
      return *id;
    };
    joined.assign(left).append(right);
    merges.push_back({require(left), require(right), require(joined)});
  }
  return {byte_tokens, merges, bytes_};
}

AddedTokenFinder Tokenizer::make_finder(bool normalized) const {
  std::vector<AddedToken> tokens;
  for (const AddedToken& token : description_.added) {
    if (token.normalized != normalized) continue;
    tokens.push_back(token);
    if (normalized)
      for (const NormalForm form : normal_forms_) tokens.back().content = normalize(tokens.back().content, form);
  }
  return AddedTokenFinder(std::move(tokens));
}

std::optional<TokenId> Tokenizer::find(std::string_view content) const {
  const TokenId id = ids_.find(content);
  if (id == kNoToken) return std::nullopt;
  return id;
}

std::string_view Tokenizer::bytes_of(TokenId id) const {
  if (id >= kinds_.size() || kinds_[id] == kAbsent)
    core::fail_input("tokenizer: no token has id {} (ids lie below {})", id, kinds_.size());
  return bytes_[id];
}

bool Tokenizer::is_special(TokenId id) const { return id < kinds_.size() && kinds_[id] == kSpecial; }

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special) const {
  std::string bytes;
  bytes.reserve(ids.size() * 4);
  for (const TokenId id : ids) {
    const std::string_view token = bytes_of(id);
    if (!skip_special || !is_special(id)) bytes += token;
  }
  return bytes;
}

}  // namespace lastbit::text
