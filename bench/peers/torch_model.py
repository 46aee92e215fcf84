#!/usr/bin/env python3
"""Prefill, decoding and the training step of a checkpoint by Hugging Face transformers on PyTorch, FP32 on the CPU.

usage: torch_model.py DIR THREADS EXPERTS MODES
EXPERTS: eager or grouped_mm (transformers' experts_implementation). MODES: of prefill,decode,train.
Prints one JSON line a mode: seconds by the wall and of the CPU at the median of three, tokens/s, peak of resident MB.
"""
import json
import os
import resource
import sys
import time

directory, threads, experts, modes = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4].split(",")
os.environ["OMP_NUM_THREADS"] = str(threads)

import torch  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

torch.set_num_threads(threads)
model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, experts_implementation=experts).eval()
generator = torch.Generator().manual_seed(0)


def random_ids(batch, tokens):
    return torch.randint(2, model.config.vocab_size, (batch, tokens), generator=generator)


def measure(mode, tokens, run):
    run()
    runs = []
    for _ in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        runs.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = (sorted(column)[1] for column in zip(*runs))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024e-6
    print(json.dumps({"mode": mode, "wall_s": wall, "cpu_s": cpu, "tokens_s": tokens / wall,
                      "tokens_cpu_s": tokens / cpu, "peak_rss_MB": peak}),
          flush=True)


with torch.no_grad():
    if "prefill" in modes:
        prompt = random_ids(1, 512)
        measure("prefill", 512, lambda: model(input_ids=prompt, use_cache=True, logits_to_keep=1))
    if "decode" in modes:
        start = random_ids(1, 16)

        def decode():
            result = model(input_ids=start, use_cache=True)
            for _ in range(32):
                token = result.logits[:, -1].argmax(-1, keepdim=True)
                result = model(input_ids=token, past_key_values=result.past_key_values, use_cache=True)

        measure("decode", 32, decode)

if "train" in modes:
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1)
    batch = random_ids(4, 256)

    def step():
        optimizer.zero_grad(set_to_none=True)
        model(input_ids=batch, labels=batch, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    measure("train", 1024, step)
