#include "train/small_run.h"

#include <fmt/format.h>

#include "io/atomic_file.h"

namespace lastbit::train {

nlohmann::json small_run(const testing::TempDir& folder, const nlohmann::json& changes) {
  std::string text;
  for (int document = 0; document < 40; ++document) {
    std::string words;
    for (int i = 0; i < 30; ++i) words += fmt::format("word {} of document {}, ", i * i % 17, document);
    text += nlohmann::json{{"text", words}}.dump() + "\n";
  }
  io::write_text_file(folder.file("text.jsonl"), text);
  nlohmann::json object = {
      {"model", "micro"},
      {"model_config",
       {{"vocab_size", 1024},
        {"hidden_size", 16},
        {"intermediate_size", 24},
        {"num_hidden_layers", 2},
        {"q_lora_rank", 8},
        {"kv_lora_rank", 8},
        {"qk_nope_head_dim", 8},
        {"qk_rope_head_dim", 8},
        {"v_head_dim", 8},
        {"n_routed_experts", 8},
        {"num_experts_per_tok", 2},
        {"moe_intermediate_size", 8},
        {"aux_loss_alpha", 0.001}}},
      {"numerics", "fp32"},
      {"seed", 3},
      {"steps", 6},
      {"output", folder.file("run")},
      {"data",
       {{"text", {"text.jsonl"}},
        {"tokenizer", testing::source_path("data/tokenizer/lastbit-1k.json")},
        {"sequence_tokens", 32},
        {"validation_share", 0.1}}},
      {"batch", {{"sequences", 4}, {"first_sequences", 2}, {"ramp_tokens", 100}, {"micro_sequences", 2}}},
      {"learning_rate", {{"schedule", "cosine"}, {"peak", 0.01}, {"warm_up_steps", 2}}},
      {"ema_decay", 0.9},
      {"record", {{"evaluate_every", 3}, {"checkpoint_every", 2}}}};
  if (!changes.is_null()) object.merge_patch(changes);
  return object;
}

TrainConfig small_config(const testing::TempDir& folder, const nlohmann::json& changes) {
  return parse_train_config(small_run(folder, changes), folder.file("small.toml"), folder.path());
}

}  // namespace lastbit::train
