#include "corpus/prepare.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "corpus/document_tokens.h"
#include "corpus/segments.h"
#include "corpus/shards.h"
#include "corpus/tokenize_files.h"
#include "io/atomic_file.h"
#include "io/json.h"

namespace lastbit::corpus {
namespace {

using nlohmann::json;

void make_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) core::fail_io("{}: cannot make the folder: {}", path, error.message());
}

// The first place where two configs differ, as a dotted key.
std::string difference(const json& a, const json& b) {
  const json changes = json::diff(a, b);
  if (changes.empty()) return {};
  std::string key = changes.front().at("path").get<std::string>().substr(1);
  std::ranges::replace(key, '/', '.');
  return key;
}

// An unfinished run keeps its config beside its segments; another config would mix two corpora.
void claim_work_folder(const std::string& work, const json& effective) {
  const std::string path = work + "/config.json";
  if (std::filesystem::exists(path)) {
    const std::string key = difference(io::load_json(path), effective);
    if (!key.empty())
      core::fail_input("{}: an unfinished run with another '{}'; remove the folder or finish that run first", work,
                       key);
    return;
  }
  make_folder(work);
  io::write_text_file(path, effective.dump(1) + "\n");
}

std::optional<json> finished_index(const PrepareConfig& config, const json& effective) {
  const std::string path = config.output + "/index.json";
  if (!std::filesystem::exists(path)) return std::nullopt;
  json index = io::load_json(path);
  const std::string key = difference(index.value("config", json::object()), effective);
  if (!key.empty()) core::fail_input("{}: made with another '{}'; choose another output or remove it", path, key);
  return index;
}

text::TokenId padding_token(const text::Tokenizer& tokenizer, const DocumentTokens& tokens) {
  return tokenizer.find("<｜▁pad▁｜>").value_or(tokens.end_of_text());
}

json index_json(const PrepareConfig& config, const json& effective, const text::Tokenizer& tokenizer,
                const PrepareStatistics& read, const ShardTotals& packed, const std::vector<ShardEntry>& shards) {
  json entries = json::array();
  for (const ShardEntry& shard : shards)
    entries.push_back(
        {{"file", shard.file}, {"windows", shard.windows}, {"bytes", shard.bytes}, {"crc32", shard.crc32}});
  const auto share = [](std::int64_t part, std::int64_t whole) {
    return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
  };
  return {{"format", "lastbit-shards-1"},
          {"window_tokens", config.window_tokens},
          {"id_limit", tokenizer.id_limit()},
          {"shards", entries},
          {"statistics",
           {{"documents", read.documents},
            {"bytes", read.bytes},
            {"kept_documents", read.kept_documents},
            {"kept_bytes", read.kept_bytes},
            {"kept_tokens", read.kept_tokens},
            {"bytes_per_token", share(read.kept_bytes, read.kept_tokens)},
            {"dropped", read.dropped},
            {"windows", packed.windows},
            {"tokens", packed.tokens},
            {"padding_share", share(packed.padding_tokens, packed.tokens + packed.padding_tokens)},
            {"cut_share", share(packed.cut_documents, read.kept_documents)},
            {"dropped_tokens", packed.dropped_tokens}}},
          {"config", effective}};
}

}  // namespace

json prepare_data(const PrepareConfig& config,
                  const std::function<void(const std::string&, std::uint64_t, std::uint64_t)>& progress) {
  const json effective = effective_config(config);
  if (std::optional<json> index = finished_index(config, effective)) return *index;
  const text::Tokenizer tokenizer = load_tokenizer(config.tokenizer);
  const DocumentTokens document_tokens(tokenizer, config);
  const std::string work = config.output + "/work";
  claim_work_folder(work, effective);
  const auto stage = [&](const char* name) {
    return [&progress, name](std::uint64_t done, std::uint64_t all) {
      if (progress) progress(name, done, all);
    };
  };
  const std::vector<Segment> segments = make_segments(config, work, tokenizer, document_tokens, stage("documents"));
  PrepareStatistics read;
  io::AtomicFile dropped(config.output + "/dropped.jsonl");
  for (const Segment& segment : segments) {
    read.add(segment.statistics);
    dropped.write(segment.dropped);
  }
  if (read.kept_documents == 0) core::fail_input("{}: none of {} documents is left", config.output, read.documents);
  ShardTotals packed;
  const std::vector<ShardEntry> shards =
      write_shards(config, segments, padding_token(tokenizer, document_tokens), config.output, packed, stage("shards"));
  dropped.commit();
  json index = index_json(config, effective, tokenizer, read, packed, shards);
  io::write_text_file(config.output + "/index.json", index.dump(1) + "\n");
  std::filesystem::remove_all(work);
  return index;
}

}  // namespace lastbit::corpus
