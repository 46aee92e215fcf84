#!/usr/bin/env python3
"""Writes the model of the speed comparison, the preset base-bench with seeded random weights: config.json and
model.safetensors in Hugging Face's names, FP32, and model-f32.gguf for llama.cpp.

usage: make_model.py DIR      (wants torch, safetensors, numpy and gguf)
"""
import json
import pathlib
import sys

import gguf
import torch
from safetensors.torch import save_file

target = pathlib.Path(sys.argv[1])
target.mkdir(parents=True, exist_ok=True)
root = pathlib.Path(__file__).resolve().parents[2]
c = json.loads((root / "data" / "models" / "base-bench.json").read_text())
c.pop("lastbit_source", None)
generator = torch.Generator().manual_seed(1234)
weights = {}
hidden, heads, layers = c["hidden_size"], c["num_attention_heads"], c["num_hidden_layers"]
nope, rope, value = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
q_rank, kv_rank, experts = c["q_lora_rank"], c["kv_lora_rank"], c["n_routed_experts"]


def normal(*shape):
    return torch.randn(*shape, generator=generator)


def matrix(name, rows, columns):
    weights[name + ".weight"] = normal(rows, columns) / columns ** 0.5


def norm(name, size):
    weights[name + ".weight"] = 1 + 0.05 * normal(size)


def feed_forward(name, width):
    matrix(name + "gate_proj", width, hidden)
    matrix(name + "up_proj", width, hidden)
    matrix(name + "down_proj", hidden, width)


weights["model.embed_tokens.weight"] = 0.5 * normal(c["vocab_size"], hidden)
for layer in range(layers):
    prefix = f"model.layers.{layer}."
    attention, ffn = prefix + "self_attn.", prefix + "mlp."
    norm(prefix + "input_layernorm", hidden)
    norm(prefix + "post_attention_layernorm", hidden)
    matrix(attention + "q_a_proj", q_rank, hidden)
    norm(attention + "q_a_layernorm", q_rank)
    matrix(attention + "q_b_proj", heads * (nope + rope), q_rank)
    matrix(attention + "kv_a_proj_with_mqa", kv_rank + rope, hidden)
    norm(attention + "kv_a_layernorm", kv_rank)
    matrix(attention + "kv_b_proj", heads * (nope + value), kv_rank)
    matrix(attention + "o_proj", hidden, heads * value)
    if layer < c["first_k_dense_replace"]:
        feed_forward(ffn, c["intermediate_size"])
        continue
    matrix(ffn + "gate", experts, hidden)
    weights[ffn + "gate.e_score_correction_bias"] = 0.05 * normal(experts)
    for expert in range(experts):
        feed_forward(f"{ffn}experts.{expert}.", c["moe_intermediate_size"])
    feed_forward(ffn + "shared_experts.", c["moe_intermediate_size"] * c["n_shared_experts"])
norm("model.norm", hidden)
matrix("lm_head", c["vocab_size"], hidden)

(target / "config.json").write_text(json.dumps(c, indent=1))
save_file(weights, str(target / "model.safetensors"), metadata={"format": "pt"})

writer = gguf.GGUFWriter(str(target / "model-f32.gguf"), "deepseek2")
writer.add_block_count(layers)
writer.add_context_length(c["max_position_embeddings"])
writer.add_embedding_length(hidden)
writer.add_feed_forward_length(c["intermediate_size"])
writer.add_head_count(heads)
writer.add_head_count_kv(1)
writer.add_rope_freq_base(c["rope_theta"])
writer.add_layer_norm_rms_eps(c["rms_norm_eps"])
writer.add_leading_dense_block_count(c["first_k_dense_replace"])
writer.add_vocab_size(c["vocab_size"])
writer.add_q_lora_rank(q_rank)
writer.add_kv_lora_rank(kv_rank)
writer.add_key_length(kv_rank + rope)
writer.add_value_length(kv_rank)
writer.add_key_length_mla(nope + rope)
writer.add_value_length_mla(value)
writer.add_expert_feed_forward_length(c["moe_intermediate_size"])
writer.add_expert_count(experts)
writer.add_expert_used_count(c["num_experts_per_tok"])
writer.add_expert_shared_count(c["n_shared_experts"])
writer.add_expert_weights_scale(c["routed_scaling_factor"])
writer.add_expert_weights_norm(True)
writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
writer.add_rope_dimension_count(rope)
writer.add_tokenizer_model("no_vocab")


def put(name, tensor):
    writer.add_tensor(name, tensor.contiguous().numpy())


def put_feed_forward(block, suffix, tensor_of):
    for kind in ("gate", "up", "down"):
        put(f"{block}ffn_{kind}{suffix}.weight", tensor_of(kind + "_proj.weight"))


put("token_embd.weight", weights["model.embed_tokens.weight"])
put("output_norm.weight", weights["model.norm.weight"])
put("output.weight", weights["lm_head.weight"])
for layer in range(layers):
    prefix, block = f"model.layers.{layer}.", f"blk.{layer}."
    attention, ffn = prefix + "self_attn.", prefix + "mlp."
    put(block + "attn_norm.weight", weights[prefix + "input_layernorm.weight"])
    put(block + "ffn_norm.weight", weights[prefix + "post_attention_layernorm.weight"])
    put(block + "attn_q_a.weight", weights[attention + "q_a_proj.weight"])
    put(block + "attn_q_a_norm.weight", weights[attention + "q_a_layernorm.weight"])
    put(block + "attn_q_b.weight", weights[attention + "q_b_proj.weight"])
    put(block + "attn_kv_a_mqa.weight", weights[attention + "kv_a_proj_with_mqa.weight"])
    put(block + "attn_kv_a_norm.weight", weights[attention + "kv_a_layernorm.weight"])
    up_projections = weights[attention + "kv_b_proj.weight"].view(heads, nope + value, kv_rank)
    keys, values = up_projections.split([nope, value], 1)
    put(block + "attn_k_b.weight", keys.transpose(1, 2))
    put(block + "attn_v_b.weight", values)
    put(block + "attn_output.weight", weights[attention + "o_proj.weight"])
    if layer < c["first_k_dense_replace"]:
        put_feed_forward(block, "", lambda name: weights[ffn + name])
        continue
    put(block + "ffn_gate_inp.weight", weights[ffn + "gate.weight"])
    put(block + "exp_probs_b.bias", weights[ffn + "gate.e_score_correction_bias"])
    put_feed_forward(block, "_exps",
                     lambda name: torch.stack([weights[f"{ffn}experts.{e}.{name}"] for e in range(experts)]))
    put_feed_forward(block, "_shexp", lambda name: weights[f"{ffn}shared_experts.{name}"])
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
