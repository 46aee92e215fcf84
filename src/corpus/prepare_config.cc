#include "corpus/prepare_config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <limits>

#include "core/error.h"
#include "io/checksum.h"
#include "io/config_file.h"
#include "io/config_reader.h"
#include "io/data_dir.h"

namespace lastbit::corpus {
namespace {

using io::ConfigReader;
using nlohmann::json;

constexpr std::int64_t kMostInt = std::numeric_limits<std::int64_t>::max();

std::int64_t whole_or(const ConfigReader& reader, const std::string& key, std::int64_t otherwise, std::int64_t low,
                      std::int64_t high) {
  return reader.has(key) ? reader.require_in(key, low, high) : otherwise;
}
double share_or(const ConfigReader& reader, const std::string& key, double otherwise) {
  return reader.has(key) ? reader.require_in(key, 0.0, 1.0) : otherwise;
}

std::string resolve(const std::string& folder, const std::string& path) {
  return (std::filesystem::path(folder) / path).lexically_normal().string();
}

void read_input(const ConfigReader& reader, const std::string& folder, PrepareConfig& config) {
  for (const std::string& path : reader.require<std::vector<std::string>>("files")) {
    config.inputs.push_back(resolve(folder, path));
    if (!std::filesystem::is_regular_file(config.inputs.back()))
      core::fail_input("{}: input.files: no file '{}'", reader.file(), config.inputs.back());
  }
  if (config.inputs.empty()) reader.fail("files", "at least one file");
  config.text_field = reader.get_or<std::string>("text_field", config.text_field);
  config.language_field = reader.get_or<std::string>("language_field", config.language_field);
  config.url_field = reader.get_or<std::string>("url_field", config.url_field);
  reader.finish();
}

void read_clean(const ConfigReader& reader, text::CleanUp& clean) {
  clean.strip_html = reader.get_or("strip_html", clean.strip_html);
  clean.line_ends = reader.get_or("line_ends", clean.line_ends);
  clean.control_characters = reader.get_or("control_characters", clean.control_characters);
  clean.collapse_white_space = reader.get_or("collapse_white_space", clean.collapse_white_space);
  if (reader.has("normal_form")) {
    const std::string form = reader.require_one_of("normal_form", {"NFC", "NFKC", "none"});
    clean.normal_form = text::find_normal_form(form);
  }
  reader.finish();
}

void read_filter(const ConfigReader& reader, text::DocumentFilter& filter) {
  filter.min_code_points = whole_or(reader, "min_code_points", filter.min_code_points, 0, kMostInt);
  filter.max_code_points = whole_or(reader, "max_code_points", filter.max_code_points, 0, kMostInt);
  filter.min_letter_share = share_or(reader, "min_letter_share", filter.min_letter_share);
  filter.max_repeated_line_share = share_or(reader, "max_repeated_line_share", filter.max_repeated_line_share);
  filter.min_script_share = share_or(reader, "min_script_share", filter.min_script_share);
  using Strings = std::vector<std::string>;
  filter.scripts = reader.get_or<Strings>("scripts", {});
  for (const std::string& script : filter.scripts)
    if (std::ranges::find(text::script_names(), script) == text::script_names().end())
      core::fail_input("{}: key '{}': found '{}', expected one of {}", reader.file(), reader.dotted("scripts"), script,
                       fmt::join(text::script_names(), ", "));
  filter.languages = reader.get_or<Strings>("languages", {});
  filter.blocked_domains = reader.get_or<Strings>("blocked_domains", {});
  reader.finish();
}

void read_duplicates(const ConfigReader& reader, PrepareConfig& config) {
  config.exact_duplicates = reader.get_or("exact", config.exact_duplicates);
  config.near_duplicates = reader.get_or("near", config.near_duplicates);
  if (reader.has("threshold")) config.near_threshold = reader.require_in("threshold", 0.05, 1.0);
  config.shingle_words = static_cast<int>(whole_or(reader, "shingle_words", config.shingle_words, 1, 100));
  reader.finish();
}

void read_tokens(const ConfigReader& reader, const std::string& folder, PrepareConfig& config) {
  if (reader.has("file")) config.tokenizer = resolve(folder, reader.require<std::string>("file"));
  config.line_break_share = share_or(reader, "line_break_share", config.line_break_share);
  reader.finish();
}

void read_fim(const ConfigReader& reader, text::FimRule& fim) {
  fim.rate = share_or(reader, "rate", fim.rate);
  if (reader.has("order"))
    fim.order = reader.require_one_of("order", {"psm", "spm"}) == "psm" ? text::FimOrder::kPsm : text::FimOrder::kSpm;
  fim.markers.begin = reader.get_or("begin", fim.markers.begin);
  fim.markers.hole = reader.get_or("hole", fim.markers.hole);
  fim.markers.end = reader.get_or("end", fim.markers.end);
  fim.markers.end_of_text = reader.get_or("end_of_text", fim.markers.end_of_text);
  reader.finish();
}

void read_pack(const ConfigReader& reader, PrepareConfig& config) {
  if (reader.has("method"))
    config.pack = reader.require_one_of("method", {"best-fit", "concat"}) == "concat" ? PackMethod::kConcat
                                                                                      : PackMethod::kBestFit;
  constexpr std::int64_t kMostTokensInMemory = std::int64_t{1} << 28U;
  config.window_tokens = whole_or(reader, "window_tokens", config.window_tokens, 2, 1 << 24);
  config.shard_tokens = whole_or(reader, "shard_tokens", std::max(config.shard_tokens, config.window_tokens),
                                 config.window_tokens, kMostTokensInMemory);
  reader.finish();
}

}  // namespace

PrepareConfig load_prepare_config(const std::string& path) {
  const ConfigReader reader(io::load_config_file(path), path);
  const std::string folder = std::filesystem::path(path).parent_path().string();
  PrepareConfig config;
  read_input(reader.require_object("input"), folder, config);
  if (const auto part = reader.optional_object("clean")) read_clean(*part, config.clean);
  if (const auto part = reader.optional_object("filter")) read_filter(*part, config.filter);
  if (const auto part = reader.optional_object("duplicates")) read_duplicates(*part, config);
  if (const auto part = reader.optional_object("tokenizer")) read_tokens(*part, folder, config);
  if (const auto part = reader.optional_object("fim")) read_fim(*part, config.fim);
  if (const auto part = reader.optional_object("pack")) read_pack(*part, config);
  if (config.tokenizer.empty()) config.tokenizer = io::data_path("tokenizer/lastbit-8k.json");
  config.output = resolve(folder, reader.require<std::string>("output"));
  config.seed = static_cast<std::uint64_t>(whole_or(reader, "seed", 1, 0, kMostInt));
  config.memory_mb = whole_or(reader, "memory_mb", config.memory_mb, 64, 1 << 20);
  reader.finish();
  return config;
}

json effective_config(const PrepareConfig& config) {
  const text::CleanUp& clean = config.clean;
  const text::DocumentFilter& filter = config.filter;
  const text::FimRule& fim = config.fim;
  json inputs = json::array();
  for (const std::string& path : config.inputs)
    inputs.push_back({{"file", path}, {"bytes", std::filesystem::file_size(path)}});
  json form = "none";
  if (clean.normal_form) form = clean.normal_form == text::NormalForm::kNfc ? "NFC" : "NFKC";
  return {{"input",
           {{"files", inputs},
            {"text_field", config.text_field},
            {"language_field", config.language_field},
            {"url_field", config.url_field}}},
          {"clean",
           {{"strip_html", clean.strip_html},
            {"line_ends", clean.line_ends},
            {"control_characters", clean.control_characters},
            {"collapse_white_space", clean.collapse_white_space},
            {"normal_form", form}}},
          {"filter",
           {{"min_code_points", filter.min_code_points},
            {"max_code_points", filter.max_code_points},
            {"min_letter_share", filter.min_letter_share},
            {"max_repeated_line_share", filter.max_repeated_line_share},
            {"scripts", filter.scripts},
            {"min_script_share", filter.min_script_share},
            {"languages", filter.languages},
            {"blocked_domains", filter.blocked_domains}}},
          {"duplicates",
           {{"exact", config.exact_duplicates},
            {"near", config.near_duplicates},
            {"threshold", config.near_threshold},
            {"shingle_words", config.shingle_words}}},
          {"tokenizer",
           {{"file", config.tokenizer},
            {"crc32", io::crc32_of_file(config.tokenizer)},
            {"line_break_share", config.line_break_share}}},
          {"fim",
           {{"rate", fim.rate},
            {"order", fim.order == text::FimOrder::kPsm ? "psm" : "spm"},
            {"begin", fim.markers.begin},
            {"hole", fim.markers.hole},
            {"end", fim.markers.end},
            {"end_of_text", fim.markers.end_of_text}}},
          {"pack",
           {{"method", config.pack == PackMethod::kBestFit ? "best-fit" : "concat"},
            {"window_tokens", config.window_tokens},
            {"shard_tokens", config.shard_tokens}}},
          {"seed", config.seed}};
}

}  // namespace lastbit::corpus
