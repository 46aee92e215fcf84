#!/usr/bin/env python3
"""Lastbit beside other engines on one model: prefill of 512 tokens, decoding, the training step of 4 x 256 tokens.

    bench/peers/make_model.py DIR             # once, with a Python that has torch, safetensors, numpy and gguf
    bench/peers/model.py --model DIR --torch-python PYTHON --llama-bench PROGRAM --threads 2 --repeats 5

Every engine works on the same weights in DIR with the same number of threads, FP32: Lastbit by `model_bench` of the
build, Hugging Face transformers by torch_model.py beside this file, llama.cpp by its llama-bench on
DIR/model-f32.gguf. Engines take turns, one process at a time, so that a busy spell of the machine meets all of them;
a figure is the median over the turns. An engine without its option is left out. Prints a table on stderr and JSON on
stdout. Measure on a quiet machine: the load average is in the JSON. Ratios by CPU time, over all threads, are there
for machines that are not: a busy neighbour moves them less.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
OURS = {
    "prefill_fp32": "prefill lastbit fp32",
    "prefill_fp8_h800": "prefill lastbit fp8-h800",
    "decode_naive_fp32": "decode lastbit fp32 naive",
    "decode_absorbed_fp32": "decode lastbit fp32 absorbed",
    "train_fp32": "train lastbit fp32",
    "train_fp32_bf16_moments": "train lastbit fp32, BF16 moments",
    "train_bf16": "train lastbit bf16",
    "train_fp8_h800": "train lastbit fp8-h800",
}
# What is compared: ours, the best of these, the ratio wanted.
GOALS = [
    ("prefill lastbit fp32", ["prefill torch grouped_mm", "prefill torch eager"], 1.3),
    ("prefill lastbit fp32", ["prefill llama.cpp"], 1.3),
    ("train lastbit fp32", ["train torch grouped_mm"], 1.3),
    ("train lastbit fp8-h800", ["train lastbit fp32", "train lastbit fp32, BF16 moments"], 0.45),
    ("decode lastbit fp32 absorbed", ["decode torch grouped_mm"], None),
    ("decode lastbit fp32 absorbed", ["decode llama.cpp"], None),
]


def output_of(command, environment):
    done = subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def run_ours(options):
    command = [options.model_bench, "--benchmark_format=json", f"--benchmark_filter={options.filter}"]
    text = output_of(command, {"LASTBIT_BENCH_MODEL": options.model, "LASTBIT_THREADS": str(options.threads)})
    for run in json.loads(text)["benchmarks"]:
        name = OURS[run["name"].split("/")[0]]
        figures = {"tokens_s": run["tokens/s"], "tokens_cpu_s": run["tokens/cpu_s"], "peak_rss_MB": run["peak_rss_MB"]}
        if "peak/least" in run:
            figures["peak_over_least"] = run["peak/least"]
        yield name, figures


def run_torch(options, experts, modes):
    text = output_of([options.torch_python, HERE / "torch_model.py", options.model, str(options.threads), experts, modes],
                     {"OMP_NUM_THREADS": str(options.threads)})
    for line in text.splitlines():
        run = json.loads(line)
        name = f"{run.pop('mode')} torch {experts}"
        yield name, {figure: run[figure] for figure in ("tokens_s", "tokens_cpu_s", "peak_rss_MB")}


def run_llama(options):
    gguf = os.path.join(options.model, "model-f32.gguf")
    text = output_of([options.llama_bench, "-m", gguf, "-p", "512", "-n", "32", "-t", str(options.threads), "-r", "3",
                      "-o", "json"], {})
    for run in json.loads(text):
        mode = "prefill" if run["n_prompt"] > 0 else "decode"
        yield f"{mode} llama.cpp", {"tokens_s": statistics.median(run["samples_ts"])}


def turns(options):
    yield run_ours(options)
    if options.torch_python:
        yield run_torch(options, "grouped_mm", "prefill,decode,train")
        yield run_torch(options, "eager", "prefill")
    if options.llama_bench:
        yield run_llama(options)


def ratios_of(medians):
    for ours, rivals, goal in GOALS:
        found = [name for name in rivals if name in medians]
        if ours not in medians or not found:
            continue
        best = max(found, key=lambda name: medians[name]["tokens_s"])
        of, to = medians[ours], medians[best]
        ratio = {"of": ours, "to": best, "goal": goal, "ratio": of["tokens_s"] / to["tokens_s"]}
        if "tokens_cpu_s" in to:
            ratio["cpu_ratio"] = of["tokens_cpu_s"] / to["tokens_cpu_s"]
        yield ratio


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="directory that make_model.py wrote")
    parser.add_argument("--model-bench", default=str(HERE.parents[1] / "build" / "release" / "model_bench"))
    parser.add_argument("--torch-python", help="a Python with torch and transformers")
    parser.add_argument("--llama-bench", help="llama.cpp's program")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--filter", default=".", help="regular expression over our benchmarks' names")
    options = parser.parse_args()

    figures = {}
    load_before = os.getloadavg()
    for turn in range(options.repeats):
        for engine in turns(options):
            for name, run in engine:
                print(f"turn {turn + 1}: {name}: {run['tokens_s']:.1f} tokens/s", file=sys.stderr, flush=True)
                for figure, value in run.items():
                    figures.setdefault(name, {}).setdefault(figure, []).append(value)
    medians = {name: {figure: statistics.median(values) for figure, values in runs.items()}
               for name, runs in figures.items()}
    ratios = list(ratios_of(medians))

    for name, run in sorted(medians.items()):
        spread = figures[name]["tokens_s"]
        memory = f"{run['peak_rss_MB']:8.0f} MB" if "peak_rss_MB" in run else ""
        print(f"{name:36} {run['tokens_s']:9.1f} tokens/s ({min(spread):.1f} to {max(spread):.1f}) {memory}",
              file=sys.stderr)
    for ratio in ratios:
        goal = f", wanted {ratio['goal']}" if ratio["goal"] else ""
        cpu = f" (by CPU time {ratio['cpu_ratio']:.3f})" if "cpu_ratio" in ratio else ""
        print(f"{ratio['of']} / {ratio['to']}: {ratio['ratio']:.3f}{cpu}{goal}", file=sys.stderr)
    json.dump({"threads": options.threads, "repeats": options.repeats, "load_before": load_before,
               "load_after": os.getloadavg(), "medians": medians, "ratios": ratios, "figures": figures},
              sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
