#include "model/config_file.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/error.h"
#include "core/suggest.h"
#include "io/config_file.h"
#include "io/config_reader.h"
#include "io/data_dir.h"
#include "model/config_router.h"
#include "model/config_sizes.h"

namespace lastbit::model {
namespace {

using io::ConfigReader;

// Keys that Hugging Face writes and that change nothing here: bookkeeping, generation defaults, training options.
constexpr std::array kIrrelevantKeys = {
    "_attn_implementation_autoset",
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "auto_map",
    "bos_token_id",
    "dtype",
    "eos_token_id",
    "ep_size",
    "lastbit_source",
    "max_window_layers",
    "output_router_logits",
    "pad_token_id",
    "pretraining_tp",
    "return_dict",
    "router_aux_loss_coef",
    "torch_dtype",
    "transformers_version",
    "use_cache",
};

void read_sizes(const ConfigReader& reader, ModelConfig& config) {
  config.vocab_size = require_size(reader, "vocab_size");
  config.hidden_size = require_size(reader, "hidden_size");
  config.intermediate_size = require_size(reader, "intermediate_size");
  config.num_hidden_layers = reader.require_in("num_hidden_layers", std::int64_t{1}, std::int64_t{100000});
  config.num_attention_heads = require_size(reader, "num_attention_heads");
  config.num_key_value_heads = reader.get_or<std::int64_t>("num_key_value_heads", config.num_attention_heads);
  if (config.num_key_value_heads < 1 || config.num_attention_heads % config.num_key_value_heads != 0)
    reader.fail("num_key_value_heads", fmt::format("a divisor of num_attention_heads {}", config.num_attention_heads));
  config.max_position_embeddings = require_size(reader, "max_position_embeddings");
  config.rms_norm_eps = reader.get_or<double>("rms_norm_eps", 1e-6);
  if (!(config.rms_norm_eps > 0)) reader.fail("rms_norm_eps", "a number above 0");
  config.initializer_range = reader.get_or<double>("initializer_range", config.initializer_range);
  if (!(config.initializer_range > 0)) reader.fail("initializer_range", "a number above 0");
  config.attention_bias = reader.get_or<bool>("attention_bias", false);
  config.tie_word_embeddings = reader.get_or<bool>("tie_word_embeddings", false);
  if (reader.get_or<std::string>("hidden_act", "silu") != "silu") reader.fail("hidden_act", "'silu'");
}

YarnConfig read_yarn(const ConfigReader& reader) {
  YarnConfig yarn;
  yarn.factor = reader.require_in("factor", 1.0, 1e9);
  yarn.original_max_position_embeddings = require_size(reader, "original_max_position_embeddings");
  yarn.beta_fast = reader.get_or<double>("beta_fast", yarn.beta_fast);
  yarn.beta_slow = reader.get_or<double>("beta_slow", yarn.beta_slow);
  if (!(yarn.beta_slow > 0)) reader.fail("beta_slow", "a number above 0");
  if (!(yarn.beta_fast > yarn.beta_slow))
    reader.fail("beta_fast", fmt::format("a number above beta_slow {}", yarn.beta_slow));
  yarn.mscale = reader.get_or<double>("mscale", yarn.mscale);
  yarn.mscale_all_dim = reader.get_or<double>("mscale_all_dim", yarn.mscale_all_dim);
  if (yarn.mscale < 0) reader.fail("mscale", "a number of at least 0");
  if (yarn.mscale_all_dim < 0) reader.fail("mscale_all_dim", "a number of at least 0");
  return yarn;
}

Llama3RopeConfig read_llama3_rope(const ConfigReader& reader) {
  Llama3RopeConfig rope;
  rope.factor = reader.require_in("factor", 1.0, 1e9);
  rope.low_freq_factor = reader.require_in("low_freq_factor", 1e-9, 1e9);
  rope.high_freq_factor = reader.require<double>("high_freq_factor");
  if (!(rope.high_freq_factor > rope.low_freq_factor))
    reader.fail("high_freq_factor", fmt::format("a number above low_freq_factor {}", rope.low_freq_factor));
  rope.original_max_position_embeddings = require_size(reader, "original_max_position_embeddings");
  return rope;
}

// rope_scaling of every transformers version, or rope_parameters (transformers 5), which holds rope_theta too.
void read_rope_scaling(const ConfigReader& scaling, ModelConfig& config) {
  const std::string key = scaling.has("rope_type") || !scaling.has("type") ? "rope_type" : "type";
  scaling.ignore("type");  // some files carry both
  const std::string type =
      scaling.require_one_of(key, {"default", "yarn", "llama3", "linear", "dynamic", "longrope", "su"});
  if (type == "yarn") {
    config.rope_scaling = read_yarn(scaling);
  } else if (type == "llama3") {
    config.rope_llama3 = read_llama3_rope(scaling);
  } else if (type != "default") {
    core::fail_unsupported("{}: key '{}': RoPE scaling '{}' is not supported; yarn, llama3 and default are",
                           scaling.file(), scaling.dotted(key), type);
  }
}

void read_rope(const ConfigReader& reader, ModelConfig& config) {
  const auto theta_from = [&](const ConfigReader& source) {
    config.rope_theta = source.get_or<double>("rope_theta", config.rope_theta);
    if (!(config.rope_theta > 1)) source.fail("rope_theta", "a number above 1");
  };
  theta_from(reader);
  if (const auto parameters = reader.optional_object("rope_parameters")) {
    theta_from(*parameters);
    read_rope_scaling(*parameters, config);
    parameters->finish();
  }
  const auto scaling = reader.optional_object("rope_scaling");
  if (!scaling) return;
  if (reader.has("rope_parameters")) reader.fail("rope_scaling", "no such key beside rope_parameters");
  read_rope_scaling(*scaling, config);
  scaling->finish();
}

void read_yarn_mscale(const ConfigReader& reader, ModelConfig& config) {
  if (!reader.has("lastbit_yarn_mscale")) return;
  if (!config.rope_scaling) reader.fail("lastbit_yarn_mscale", "no such key without rope_scaling of type yarn");
  const std::string when = reader.require_one_of("lastbit_yarn_mscale", {"always", "beyond_original"});
  config.rope_scaling->apply_mscale = when == "always" ? YarnMscale::kAlways : YarnMscale::kBeyondOriginal;
}

void require_even(const ConfigReader& reader, const std::string& key, std::int64_t value) {
  if (value % 2 != 0) reader.fail(key, "an even number, for RoPE turns pairs");
}

void read_mla(const ConfigReader& reader, ModelConfig& config) {
  config.attention = AttentionKind::kMla;
  config.q_lora_rank = optional_size(reader, "q_lora_rank", false);
  config.kv_lora_rank = require_size(reader, "kv_lora_rank");
  // Either may be 0: RoPE alone, or no positions at all.
  config.qk_nope_head_dim = reader.require_in("qk_nope_head_dim", std::int64_t{0}, kLargestSize);
  config.qk_rope_head_dim = reader.require_in("qk_rope_head_dim", std::int64_t{0}, kLargestSize);
  if (config.qk_head_dim() == 0) reader.fail("qk_rope_head_dim", "a number above 0 where qk_nope_head_dim is 0");
  require_even(reader, "qk_rope_head_dim", config.qk_rope_head_dim);
  config.v_head_dim = require_size(reader, "v_head_dim");
  config.latent_norm_eps = reader.get_or<double>("lastbit_latent_norm_eps", config.latent_norm_eps);
  if (!(config.latent_norm_eps > 0)) reader.fail("lastbit_latent_norm_eps", "a number above 0");
  config.rope_interleave = reader.get_or<bool>("rope_interleave", true);
  read_yarn_mscale(reader, config);
  if (reader.get_or<std::int64_t>("qk_head_dim", config.qk_head_dim()) != config.qk_head_dim())
    reader.fail("qk_head_dim", fmt::format("qk_nope_head_dim + qk_rope_head_dim = {}", config.qk_head_dim()));
  // transformers writes the rotary part's width as head_dim for these models.
  if (reader.get_or<std::int64_t>("head_dim", config.qk_rope_head_dim) != config.qk_rope_head_dim)
    reader.fail("head_dim", fmt::format("qk_rope_head_dim = {}", config.qk_rope_head_dim));
}

void read_gqa(const ConfigReader& reader, ModelConfig& config) {
  config.attention = AttentionKind::kGqa;
  config.rope_interleave = false;
  config.head_dim = optional_size(reader, "head_dim", false);
  if (config.head_dim != 0) {
    require_even(reader, "head_dim", config.head_dim);
  } else if (config.hidden_size % (2 * config.num_attention_heads) != 0) {
    reader.fail("hidden_size",
                fmt::format("an even multiple of num_attention_heads {}, or a head_dim", config.num_attention_heads));
  } else {
    config.head_dim = config.hidden_size / config.num_attention_heads;
  }
  if (!reader.has("partial_rotary_factor")) return;
  config.partial_rotary_factor = reader.require_in("partial_rotary_factor", 0.0, 1.0);
  if (config.rotary_dim() % 2 != 0)
    reader.fail("partial_rotary_factor", fmt::format("an even share of head_dim {}", config.head_dim));
}

void read_quantization(const ConfigReader& reader, ModelConfig& config) {
  const auto quantization = reader.optional_object("quantization_config");
  if (!quantization) return;
  const auto method = quantization->require<std::string>("quant_method");
  if (method != "fp8")
    core::fail_unsupported("{}: key '{}': quantisation '{}' is not supported; fp8 is", reader.file(),
                           quantization->dotted("quant_method"), method);
  if (quantization->has("fmt")) static_cast<void>(quantization->require_one_of("fmt", {"e4m3"}));
  for (const char* key : {"activation_scheme", "scale_fmt", "modules_to_not_convert"}) quantization->ignore(key);
  const auto block = quantization->require<std::vector<std::int64_t>>("weight_block_size");
  if (block.size() != 2 || block[0] < 1 || block[1] < 1)
    quantization->fail("weight_block_size", "two numbers of at least 1: rows and columns of a block");
  config.quantization_config = Fp8Config{{block[0], block[1]}};
  quantization->finish();
}

void read_llama_or_qwen(const ConfigReader& reader, ModelConfig& config) {
  read_gqa(reader, config);
  if (config.model_type == "qwen2") {
    config.qkv_bias = true;  // always on in the family, whatever the file says
    if (reader.get_or<bool>("use_sliding_window", false)) reader.fail("use_sliding_window", "false");
    reader.ignore("sliding_window");
  }
  if (reader.get_or<bool>("mlp_bias", false)) reader.fail("mlp_bias", "false");
}

}  // namespace

ModelConfig parse_model_config(const nlohmann::json& object, const std::string& file) {
  const ConfigReader reader(object, file);
  for (const char* key : kIrrelevantKeys) reader.ignore(key);
  ModelConfig config;
  config.model_type = reader.require_one_of("model_type", {"deepseek_v3", "deepseek_v2", "deepseek", "llama", "qwen2"});
  read_sizes(reader, config);
  read_rope(reader, config);
  if (config.model_type == "deepseek_v3" || config.model_type == "deepseek_v2") {
    read_mla(reader, config);
    read_moe(reader, config);
  } else if (config.model_type == "deepseek") {
    read_gqa(reader, config);
    read_moe(reader, config);
  } else {
    read_llama_or_qwen(reader, config);
  }
  if (config.model_type == "deepseek_v3")
    config.num_nextn_predict_layers = optional_size(reader, "num_nextn_predict_layers");
  config.medusa_heads = optional_size(reader, "lastbit_medusa_heads");
  config.medusa_own_heads = reader.get_or<bool>("lastbit_medusa_own_heads", false);
  if (config.medusa_own_heads && config.medusa_heads == 0)
    reader.fail("lastbit_medusa_own_heads", "false without lastbit_medusa_heads");
  read_quantization(reader, config);
  reader.finish();
  return config;
}

std::vector<std::string> model_presets() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(io::data_path("models")))
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::string model_config_path(const std::string& name_or_path) {
  const std::vector<std::string> presets = model_presets();
  if (std::binary_search(presets.begin(), presets.end(), name_or_path))
    return io::data_path("models/" + name_or_path + ".json");
  const std::filesystem::path path(name_or_path);
  if (std::filesystem::is_directory(path)) {
    const std::filesystem::path file = path / "config.json";
    if (!std::filesystem::exists(file))
      core::fail_input("{}: a directory without config.json, expected one in Hugging Face's form", name_or_path);
    return file.string();
  }
  if (std::filesystem::exists(path)) return name_or_path;
  core::fail_input("model '{}': no preset, directory or file of this name{}", name_or_path,
                   core::suggestion(name_or_path, presets));
}

ModelConfig load_model_config(const std::string& name_or_path) {
  const std::string path = model_config_path(name_or_path);
  return parse_model_config(io::load_config_file(path), path);
}

nlohmann::json checkpoint_config(nlohmann::json object, const std::string& torch_dtype) {
  object.erase("lastbit_source");
  object.erase("quantization_config");
  object["torch_dtype"] = torch_dtype;
  return object;
}

}  // namespace lastbit::model
