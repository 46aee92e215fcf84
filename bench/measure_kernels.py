#!/usr/bin/env python3
"""Times the GEMMs of a job's layers on this machine's GPU, as a file for `lastbit sim train --kernel-times`.

    lastbit sim train --model M --cluster C --job J --dump workload >work.json
    bench/measure_kernels.py work.json mine.csv [--device cuda] [--repeats 20] [--bf16-for-fp8]

Needs a Python with torch. Dense and grouped GEMMs of the dump are run in the format that the job has them in: BF16 by
`torch.bmm`, FP8 with one scale a tensor by `torch._scaled_mm`, which does dense forward GEMMs on some GPUs. A GEMM that
torch does not run in the job's format is left out and named, since a BF16 time is none of an FP8 kernel; with
--bf16-for-fp8 its BF16 time is written all the same. A time is the median of the repeats. It has been run on CPUs only
(--device cpu), where nothing runs in FP8: no GPU was at hand.
"""
import argparse
import json
import statistics
import time

import torch


def timed(work, device, repeats):
    work()
    seconds = []
    for _ in range(repeats):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def gemm(kind, fmt, rows, n, k, groups, device):
    """The operation and the format that it really runs in."""
    rows, n, k, groups = int(rows), int(n), int(k), int(groups)
    if fmt == "fp8" and kind == "dense" and device == "cuda" and hasattr(torch, "_scaled_mm"):
        a = torch.randn(rows, k, device=device).to(torch.float8_e4m3fn)
        b = torch.randn(n, k, device=device).to(torch.float8_e4m3fn)
        one = torch.ones((), device=device)
        return lambda: torch._scaled_mm(a, b.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16), "fp8"
    wgrad = kind.endswith("wgrad")
    each = max(1, rows // groups)
    left = torch.randn(groups, n if wgrad else each, each if wgrad else k, device=device, dtype=torch.bfloat16)
    right = torch.randn(groups, each if wgrad else k, k if wgrad else n, device=device, dtype=torch.bfloat16)
    return lambda: torch.bmm(left, right), "bf16"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", help="what --dump workload printed")
    parser.add_argument("csv", help="the file to write")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--bf16-for-fp8", action="store_true", help="write BF16 times of what does not run in FP8")
    options = parser.parse_args()
    with open(options.workload) as file:
        dump = json.load(file)
    shapes = {}
    for unit in dump["units"].values():
        for operators in (unit.get("segments") or {k: unit[k] for k in ("forward", "backward", "weight")}).values():
            for op in operators:
                if op["kind"] in ("dense", "dense_wgrad", "grouped", "grouped_wgrad"):
                    s = op["shape"]
                    shapes[op["kind"], op["format"], s["n"], s["k"], s["groups"], s["rows"]] = op["operator"]
    lines = ["kernel,n,k,groups,rows,us"]
    left_out = []
    for (kind, fmt, n, k, groups, rows), name in shapes.items():
        work, ran = gemm(kind, fmt, rows, n, k, groups, options.device)
        if ran != fmt and not options.bf16_for_fp8:
            left_out.append(name)
            continue
        us = timed(work, options.device, options.repeats) * 1e6
        lines += [f"# {name}, {ran}", f"{kind},{n:.17g},{k:.17g},{groups:.17g},{rows:.17g},{us:.2f}"]
    if left_out:
        print(f"left out, not run in FP8 on {options.device}: {'; '.join(left_out)}")
    if len(lines) == 1:
        raise SystemExit(f"no kernel ran in the job's format, so {options.csv} is not written")
    with open(options.csv, "w") as file:
        file.write("\n".join(lines) + "\n")
    print(f"{options.csv}: {len(shapes) - len(left_out)} kernels on {options.device}")


if __name__ == "__main__":
    main()
