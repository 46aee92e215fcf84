#include "model/summary.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "model/counts.h"

namespace lastbit::model {
namespace {

struct Row {
  const char* key;
  std::int64_t total;
  std::int64_t active;
  double flops;  // forward, a token, causal
};

std::vector<Row> rows(const ParameterCounts& counts, const TokenFlops& flops) {
  return {
      {"embedding", counts.embedding, counts.embedding, 0},
      {"attention", counts.attention, counts.attention, flops.attention_projections + flops.attention_core},
      {"dense_ffn", counts.dense_ffn, counts.dense_ffn, flops.dense_ffn},
      {"routed_experts", counts.routed_experts, counts.active_routed_experts, flops.routed_experts},
      {"shared_experts", counts.shared_experts, counts.shared_experts, flops.shared_experts},
      {"routers", counts.routers, counts.routers, flops.routers},
      {"norms", counts.norms, counts.norms, 0},
      {"head", counts.head, counts.head, flops.head},
      {"medusa", counts.medusa, counts.medusa, 0},
  };
}

// "671.0B", "5.0M", "8.2K", "96": four significant digits at most.
std::string short_count(double value) {
  if (value >= 1e9) return fmt::format("{:.1f}B", value * 1e-9);
  if (value >= 1e6) return fmt::format("{:.1f}M", value * 1e-6);
  if (value >= 1e3) return fmt::format("{:.1f}K", value * 1e-3);
  return fmt::format("{:.0f}", value);
}

std::string attention_name(const ModelConfig& config) {
  if (config.attention == AttentionKind::kMla) return "MLA";
  if (config.num_key_value_heads == config.num_attention_heads) return "MHA";
  return config.num_key_value_heads == 1 ? "MQA" : "GQA";
}

std::string count_line(const char* key, std::int64_t value) {
  const auto count = static_cast<double>(value);
  return fmt::format("  {:<30} {:>20}  {:>9}\n", key, value, short_count(count));
}

std::string gigaflops_line(const std::string& key, double flops) {
  return fmt::format("  {:<30} {:>20.3f}\n", key, flops * 1e-9);
}

constexpr double kBf16Bytes = 2;

}  // namespace

nlohmann::json summary_json(const ModelConfig& config, const std::string& name, std::int64_t sequence_tokens) {
  const ParameterCounts counts = count_parameters(config);
  const TokenFlops causal = count_flops(config, sequence_tokens, true);
  const TokenFlops everywhere = count_flops(config, sequence_tokens, false);
  nlohmann::json components;
  for (const Row& row : rows(counts, causal))
    components[row.key] = {
        {"parameters", row.total}, {"active_parameters", row.active}, {"forward_flops_per_token", row.flops}};
  nlohmann::json summary = {
      {"schema", 1},
      {"model", name},
      {"model_type", config.model_type},
      {"sequence_tokens", sequence_tokens},
      {"parameters",
       {{"total", counts.total()},
        {"active", counts.active()},
        {"active_without_embedding", counts.active_without_embedding()},
        {"mtp_unique", counts.mtp_unique},
        {"mtp_stored", counts.mtp_stored}}},
      {"flops_per_token",
       {{"forward_causal", causal.forward()},
        {"forward_noncausal", everywhere.forward()},
        {"training_causal", causal.training()},
        {"training_noncausal", everywhere.training()}}},
      {"training_flops_per_sequence",
       {{"counted_causal", causal.training() * static_cast<double>(sequence_tokens)},
        {"counted_noncausal", everywhere.training() * static_cast<double>(sequence_tokens)},
        {"deepseekmoe_formula", paper_training_flops(config, sequence_tokens)}}},
      {"cache_bytes_per_token_bf16", cache_bytes_per_token(config, kBf16Bytes)},
      {"components", components},
  };
  const auto combinations = expert_combinations(config.n_routed_experts, config.num_experts_per_tok);
  if (config.n_routed_experts > 0 && combinations) summary["expert_combinations"] = *combinations;
  return summary;
}

std::string summary_text(const ModelConfig& config, const std::string& name, std::int64_t sequence_tokens) {
  const ParameterCounts counts = count_parameters(config);
  const TokenFlops causal = count_flops(config, sequence_tokens, true);
  const TokenFlops everywhere = count_flops(config, sequence_tokens, false);
  std::string text = fmt::format("{} ({}): {}\n\n", name, config.model_type, summary_line(config));
  text += fmt::format("{:<16} {:>18} {:>18} {:>22}\n", "component", "parameters", "active", "forward MFLOP a token");
  for (const Row& row : rows(counts, causal))
    if (row.total > 0)
      text += fmt::format("{:<16} {:>18} {:>18} {:>22.3f}\n", row.key, row.total, row.active, row.flops * 1e-6);

  text += "\nparameters\n";
  text += count_line("total", counts.total());
  text += count_line("active", counts.active());
  text += count_line("active, no input embedding", counts.active_without_embedding());
  if (counts.mtp_unique > 0) {
    text += count_line("MTP modules, beside these", counts.mtp_unique);
    text += count_line("MTP modules as stored", counts.mtp_stored);
  }
  text += fmt::format("\nGFLOP a token, sequences of {}\n", sequence_tokens);
  text += gigaflops_line("forward, causal", causal.forward());
  text += gigaflops_line("training, causal", causal.training());
  text += gigaflops_line("forward, non-causal", everywhere.forward());
  text += gigaflops_line("training, non-causal", everywhere.training());
  const auto tokens = static_cast<double>(sequence_tokens);
  text += fmt::format("\nTFLOP to train on one sequence of {}\n", sequence_tokens);
  text += fmt::format("  {:<30} {:>20.2f}\n", "counted, non-causal", everywhere.training() * tokens * 1e-12);
  text += fmt::format("  {:<30} {:>20.2f}\n", "DeepSeekMoE paper's formula",
                      paper_training_flops(config, sequence_tokens) * 1e-12);
  text += fmt::format("\ncache, BF16\n  {:<30} {:>20.3f}\n", "KB a token",
                      cache_bytes_per_token(config, kBf16Bytes) * 1e-3);
  const auto combinations = expert_combinations(config.n_routed_experts, config.num_experts_per_tok);
  if (config.n_routed_experts > 0)
    text += fmt::format("\nexpert combinations a layer\n  {:<30} {:>20}\n",
                        fmt::format("{} of {}", config.num_experts_per_tok, config.n_routed_experts),
                        combinations ? std::to_string(*combinations) : "more than 1.8e19");
  return text;
}

std::string summary_line(const ModelConfig& config) {
  const ParameterCounts counts = count_parameters(config);
  std::string line =
      fmt::format("{} parameters, {} active; {} layers, {}", short_count(static_cast<double>(counts.total())),
                  short_count(static_cast<double>(counts.active())), config.num_hidden_layers, attention_name(config));
  if (config.n_routed_experts == 0) return line + ", dense";
  return line + fmt::format(", {} + {} experts, top {}", config.n_shared_experts, config.n_routed_experts,
                            config.num_experts_per_tok);
}

}  // namespace lastbit::model
