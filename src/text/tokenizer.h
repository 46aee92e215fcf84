// Byte-level BPE tokenizers: text to ids and back.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe_model.h"
#include "text/normal_form.h"
#include "text/pre_tokenizer.h"
#include "text/token_index.h"

namespace lastbit::text {

// What a tokenizer.json says, checked only in so far as it is of the right types.
struct TokenizerDescription {  // NOLINT(bugprone-exception-escape): nlohmann's move checks an invariant
  std::vector<std::pair<std::string, TokenId>> vocab;       // contents in the byte alphabet
  std::vector<std::pair<std::string, std::string>> merges;  // in order of rank
  bool ignore_merges = false;                               // a piece that is a token is that token
  std::vector<AddedToken> added;
  nlohmann::json normalizer;  // null: none
  nlohmann::json pre_tokenizer;
  nlohmann::json post_processor;  // kept, not applied: no BOS is added
  nlohmann::json decoder;
};

// Immutable and thread-safe.
class Tokenizer {
 public:
  // `name` precedes messages. Errors (bad input): ids that are there twice or not below kMostTokens, a byte without a
  // token, merges of or into what is not a token, added tokens that contradict the vocabulary, and what PreTokenizer
  // refuses. Unsupported: normalizers other than the four normal forms, pre-tokenizers that are not byte-level.
  Tokenizer(TokenizerDescription description, const std::string& name);

  // Tables refer to the description's strings, which a move leaves where they are.
  Tokenizer(Tokenizer&&) = default;
  Tokenizer& operator=(Tokenizer&&) = default;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;
  ~Tokenizer() = default;

  [[nodiscard]] const TokenizerDescription& description() const { return description_; }
  // Every id is below it; there may be ids without a token.
  [[nodiscard]] std::size_t id_limit() const { return bytes_.size(); }
  [[nodiscard]] std::size_t token_count() const { return token_count_; }
  // The id of a token by its content ("Ġthe", "<｜end▁of▁sentence｜>").
  [[nodiscard]] std::optional<TokenId> find(std::string_view content) const;
  // What the token decodes to; errors (bad input): no token has this id.
  [[nodiscard]] std::string_view bytes_of(TokenId id) const;
  [[nodiscard]] bool is_special(TokenId id) const;

  // Added tokens are recognised, nothing is put before or behind. Any bytes: text that is not UTF-8 is encoded between
  // its invalid stretches, and those byte by byte, so that decode() gives the bytes back (unless the file names a
  // normalizer or removes what it splits at). For many texts use Encoder or encode_batch.
  [[nodiscard]] std::vector<TokenId> encode(std::string_view text) const;
  // One result a text, the same for any number of threads.
  [[nodiscard]] std::vector<std::vector<TokenId>> encode_batch(std::span<const std::string_view> texts) const;

  // The bytes, which are UTF-8 when the ids came from UTF-8 and were not cut. Errors: as bytes_of().
  [[nodiscard]] std::string decode(std::span<const TokenId> ids, bool skip_special = false) const;

 private:
  friend class Encoder;
  void add_tokens(const std::string& name);
  void add_added_tokens(const std::string& name);
  [[nodiscard]] BpeModel make_model(const std::string& name) const;
  [[nodiscard]] AddedTokenFinder make_finder(bool normalized) const;

  TokenizerDescription description_;
  TokenIndex ids_;                   // of vocab and added tokens, by content in description_
  std::vector<std::string> bytes_;   // by id
  std::vector<std::uint8_t> kinds_;  // by id: TokenKind
  std::size_t token_count_ = 0;
  std::vector<NormalForm> normal_forms_;  // applied in order
  PreTokenizer pre_tokenizer_;
  TokenIndex whole_pieces_;  // by bytes, when merges are ignored
  std::optional<BpeModel> model_;
  std::optional<AddedTokenFinder> raw_added_;
  std::optional<AddedTokenFinder> normalized_added_;
};

// Encodes one text after another and remembers pieces. One a thread.
class Encoder {
 public:
  explicit Encoder(const Tokenizer& tokenizer);  // which must live as long
  ~Encoder();
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  // Appends the ids of `text`. Errors (bad input): more than 2 GiB, an expression that runs into its limits.
  void encode(std::string_view text, std::vector<TokenId>& ids);
  // The same without recognising added tokens: text that spells a special token stays text.
  void encode_ordinary(std::string_view text, std::vector<TokenId>& ids);

 private:
  struct State;
  void encode_part(std::string_view text, bool find_added, std::vector<TokenId>& ids);
  void encode_utf8(std::string_view text, bool find_added, std::vector<TokenId>& ids);
  void encode_pieces(std::string_view text, std::vector<TokenId>& ids);
  void encode_piece(std::string_view piece, std::vector<TokenId>& ids);

  const Tokenizer& tokenizer_;
  std::unique_ptr<State> state_;
};

}  // namespace lastbit::text
