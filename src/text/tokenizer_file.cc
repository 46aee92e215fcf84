#include "text/tokenizer_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "core/error.h"
#include "text/json_fields.h"

namespace lastbit::text {
namespace {

using nlohmann::json;

constexpr std::size_t kDeepestJson = 64;

// Builds the document, except for model.vocab and model.merges: they go straight into the description, because a
// quarter of a million nodes of a tree take longer than everything else.
class TokenizerReader : public nlohmann::json_sax<json> {
 public:
  TokenizerReader(const std::string& name, TokenizerDescription& description)
      : name_(name), description_(description) {}

  [[nodiscard]] const json& rest() const { return root_; }
  [[nodiscard]] bool has_vocab() const { return has_vocab_; }
  [[nodiscard]] bool has_merges() const { return has_merges_; }

  bool null() override { return value(json()); }
  bool boolean(bool flag) override { return value(json(flag)); }
  bool number_integer(number_integer_t number) override { return value(json(number)); }
  bool number_unsigned(number_unsigned_t number) override {
    if (place_ == Place::kVocab) return add_token(number);
    return value(json(number));
  }
  bool number_float(number_float_t number, const string_t& /*text*/) override { return value(json(number)); }
  bool string(string_t& text) override {
    if (place_ == Place::kMerges) return add_merge_line(text);
    if (place_ == Place::kMergePair) return add_merge_half(text);
    return value(json(std::move(text)));
  }
  bool binary(binary_t& /*bytes*/) override { return false; }

  bool start_object(std::size_t /*size*/) override {
    if (at_model_field("vocab")) {
      has_vocab_ = true;
      place_ = Place::kVocab;
      return true;
    }
    return open(json::object());
  }
  bool key(string_t& text) override {
    if (place_ == Place::kVocab) {
      token_ = std::move(text);
      return true;
    }
    if (open_.back().node->contains(text) || (is_model(open_.back()) && already_read(text)))
      core::fail_input("{}: key '{}' is there twice in one object", name_, shortened(text));
    open_.back().key = std::move(text);
    return true;
  }
  bool end_object() override {
    if (place_ == Place::kVocab) {
      place_ = Place::kElsewhere;
      return true;
    }
    open_.pop_back();
    return true;
  }
  bool start_array(std::size_t /*size*/) override {
    if (at_model_field("merges")) {
      has_merges_ = true;
      place_ = Place::kMerges;
      return true;
    }
    if (place_ == Place::kMerges) {
      place_ = Place::kMergePair;
      halves_ = 0;
      description_.merges.emplace_back();
      return true;
    }
    return open(json::array());
  }
  bool end_array() override {
    if (place_ == Place::kMergePair) {
      if (halves_ != 2) fail_merge();
      place_ = Place::kMerges;
      return true;
    }
    if (place_ == Place::kMerges) {
      place_ = Place::kElsewhere;
      return true;
    }
    open_.pop_back();
    return true;
  }
  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const nlohmann::detail::exception& error) override {
    // nlohmann says "[json.exception...] parse error at line 1, column 2: what": keep the what.
    const std::string reason = error.what();
    const std::size_t colon = reason.find(": ");
    core::fail_input("{}: byte {}: {}", name_, position,
                     reason.substr(colon == std::string::npos ? 0 : colon + 2, 200));
  }

 private:
  enum class Place : std::uint8_t { kElsewhere, kVocab, kMerges, kMergePair };
  struct Open {
    json* node;
    std::string key;
  };

  [[nodiscard]] bool is_model(const Open& open) const {
    return open_.size() == 2 && &open == &open_[1] && open_[0].key == "model" && open_[0].node->is_object();
  }
  [[nodiscard]] bool already_read(const std::string& text) const {
    return (text == "vocab" && has_vocab_) || (text == "merges" && has_merges_);
  }
  [[nodiscard]] bool at_model_field(const char* field) const {
    return place_ == Place::kElsewhere && open_.size() == 2 && is_model(open_[1]) && open_[1].node->is_object() &&
           open_[1].key == field;
  }

  json* place(json node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return &root_;
    }
    json& parent = *open_.back().node;
    if (parent.is_array()) {
      parent.push_back(std::move(node));
      return &parent.back();
    }
    json& slot = parent[open_.back().key];
    slot = std::move(node);
    return &slot;
  }
  bool open(json node) {
    refuse_inside();
    if (open_.size() >= kDeepestJson) core::fail_input("{}: nested deeper than {}", name_, kDeepestJson);
    // Parents stay where they are while a child is open: nothing is added to them.
    json* opened = place(std::move(node));
    open_.push_back({opened, {}});
    return true;
  }
  bool value(json node) {
    refuse_inside();
    place(std::move(node));
    return true;
  }
  // Where vocabulary and merges take values of one type only.
  void refuse_inside() const {
    if (place_ == Place::kVocab)
      core::fail_input("{}: model.vocab['{}'], expected an id, a whole number from 0", name_, shortened(token_));
    if (place_ == Place::kMerges) fail_merge_at(description_.merges.size());
    if (place_ == Place::kMergePair) fail_merge();
  }

  bool add_token(number_unsigned_t number) {
    if (number >= kMostTokens)
      core::fail_input("{}: token '{}' has id {}, expected one below {}", name_, shortened(token_), number,
                       kMostTokens);
    description_.vocab.emplace_back(std::move(token_), static_cast<TokenId>(number));
    return true;
  }
  bool add_merge_line(const std::string& text) {
    const std::size_t space = text.find(' ');
    description_.merges.emplace_back();
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) fail_merge();
    description_.merges.back() = {text.substr(0, space), text.substr(space + 1)};
    return check_merge();
  }
  bool add_merge_half(std::string& text) {
    if (halves_ >= 2) fail_merge();
    auto& [left, right] = description_.merges.back();
    (halves_ == 0 ? left : right) = std::move(text);
    ++halves_;
    return halves_ < 2 || check_merge();
  }
  bool check_merge() const {
    const auto& [left, right] = description_.merges.back();
    if (left.empty() || right.empty()) fail_merge();
    return true;
  }
  [[noreturn]] void fail_merge() const { fail_merge_at(description_.merges.size() - 1); }  // the last one
  [[noreturn]] void fail_merge_at(std::size_t index) const {
    core::fail_input("{}: model.merges[{}], expected two tokens, as \"a b\" or [\"a\", \"b\"]", name_, index);
  }

  const std::string& name_;
  TokenizerDescription& description_;
  json root_;
  std::vector<Open> open_;
  Place place_ = Place::kElsewhere;
  bool has_vocab_ = false;
  bool has_merges_ = false;
  std::string token_;
  int halves_ = 0;
};

json field_or_null(const json& object, const std::string& key) {
  const auto found = object.find(key);
  return found == object.end() ? json() : *found;
}

// Options of the model that change what it does and are not built.
void refuse_options(const json& model, const std::string& name) {
  for (const char* key : {"unk_token", "continuing_subword_prefix", "end_of_word_suffix"}) {
    const json value = field_or_null(model, key);
    const bool unset = value.is_null() || (value.is_string() && value.get_ref<const std::string&>().empty());
    if (!unset) core::fail_unsupported("{}: model.{}, supported is null", name, key);
  }
  const json dropout = field_or_null(model, "dropout");
  if (!dropout.is_null() && dropout != 0) core::fail_unsupported("{}: model.dropout, supported is null", name);
  if (bool_or(model, "byte_fallback", false, name + ": model"))
    core::fail_unsupported("{}: model.byte_fallback true, supported is false", name);
}

AddedToken added_token(const json& object, const std::string& name) {
  AddedToken token;
  token.content = require_string(object, "content", name);
  const json& id = require_field(object, "id", name);
  if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= kMostTokens)
    core::fail_input("{}: added token '{}' has id {}, expected a whole number below {}", name, shortened(token.content),
                     shortened(id.dump()), kMostTokens);
  token.id = id.get<TokenId>();
  token.single_word = bool_or(object, "single_word", false, name);
  token.lstrip = bool_or(object, "lstrip", false, name);
  token.rstrip = bool_or(object, "rstrip", false, name);
  token.special = bool_or(object, "special", false, name);
  token.normalized = bool_or(object, "normalized", !token.special, name);
  return token;
}

}  // namespace

Tokenizer parse_tokenizer(std::string_view text, const std::string& name) {
  TokenizerDescription description;
  TokenizerReader reader(name, description);
  if (!json::sax_parse(text.begin(), text.end(), &reader)) core::fail_input("{}: not JSON", name);
  const json& rest = reader.rest();
  const json& model = require_field(rest, "model", name);
  const std::string type =
      model.is_object() && !model.contains("type") ? "BPE" : require_string(model, "type", name + ": model");
  if (type != "BPE") core::fail_unsupported("{}: a model of type '{}', supported is BPE", name, shortened(type));
  if (!reader.has_vocab()) core::fail_input("{}: no model.vocab, expected an object of tokens and ids", name);
  if (!reader.has_merges()) core::fail_input("{}: no model.merges, expected an array", name);
  refuse_options(model, name);
  description.ignore_merges = bool_or(model, "ignore_merges", false, name + ": model");
  const json added = field_or_null(rest, "added_tokens");
  if (!added.is_null() && !added.is_array()) core::fail_input("{}: added_tokens, expected an array", name);
  for (std::size_t i = 0; i < added.size(); ++i)
    description.added.push_back(added_token(added[i], fmt::format("{}: added_tokens[{}]", name, i)));
  description.normalizer = field_or_null(rest, "normalizer");
  description.pre_tokenizer = field_or_null(rest, "pre_tokenizer");
  description.post_processor = field_or_null(rest, "post_processor");
  description.decoder = field_or_null(rest, "decoder");
  if (!description.decoder.is_null() && require_string(description.decoder, "type", name + ": decoder") != "ByteLevel")
    core::fail_unsupported("{}: decoder, supported is ByteLevel", name);
  return {std::move(description), name};
}

std::string tokenizer_json(const TokenizerDescription& description) {
  // Tokens in order of id, for readers; JSON's own order of keys would be that of the strings.
  std::vector<std::pair<std::string, TokenId>> vocab = description.vocab;
  std::ranges::sort(vocab, {}, &std::pair<std::string, TokenId>::second);
  nlohmann::ordered_json tokens = nlohmann::ordered_json::object();
  auto& entries = tokens.get_ref<nlohmann::ordered_json::object_t&>();
  entries.reserve(vocab.size());
  // Not operator[]: an ordered object looks for every key among all before it.
  for (const auto& [content, id] : vocab)
    static_cast<std::vector<std::pair<const std::string, nlohmann::ordered_json>>&>(entries).emplace_back(content, id);
  nlohmann::ordered_json merges = nlohmann::ordered_json::array();
  for (const auto& [left, right] : description.merges) merges.push_back(fmt::format("{} {}", left, right));
  nlohmann::ordered_json added = nlohmann::ordered_json::array();
  for (const AddedToken& token : description.added)
    added.push_back({{"id", token.id},
                     {"content", token.content},
                     {"single_word", token.single_word},
                     {"lstrip", token.lstrip},
                     {"rstrip", token.rstrip},
                     {"normalized", token.normalized},
                     {"special", token.special}});
  nlohmann::ordered_json model{{"type", "BPE"},
                               {"dropout", nullptr},
                               {"unk_token", nullptr},
                               {"continuing_subword_prefix", nullptr},
                               {"end_of_word_suffix", nullptr},
                               {"fuse_unk", false},
                               {"byte_fallback", false},
                               {"ignore_merges", description.ignore_merges}};
  model["vocab"] = std::move(tokens);
  model["merges"] = std::move(merges);
  nlohmann::ordered_json file{{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  file["added_tokens"] = std::move(added);
  file["normalizer"] = description.normalizer;
  file["pre_tokenizer"] = description.pre_tokenizer;
  file["post_processor"] = description.post_processor;
  file["decoder"] = description.decoder;
  file["model"] = std::move(model);
  return file.dump(1) + "\n";
}

}  // namespace lastbit::text
