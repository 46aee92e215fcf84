#!/usr/bin/env python3
"""Draws cost against size from Google Benchmark's JSON: CPU time of every family that ran at two sizes or more.

    bench/plot_scaling.py build/bench/engine_bench.json --only build_and_execute --size micro-batches --out cost.svg

needs a Python that has matplotlib.

A family is a benchmark's name without its size, which is the last number in it ("build_and_execute/dualpipe/480").
Several files make one picture. With repetitions the medians are drawn. A dotted line has the slope of cost in
proportion to size.
"""
import argparse
import collections
import json
import sys

NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


def families(paths):
    """{family: {size: milliseconds}}, medians where there are repetitions."""
    found = collections.defaultdict(dict)
    for path in paths:
        with open(path) as file:
            runs = json.load(file)["benchmarks"]
        repeated = any(run.get("aggregate_name") == "median" for run in runs)
        for run in runs:
            if repeated and run.get("aggregate_name") != "median" or run.get("aggregate_name") in ("BigO", "RMS"):
                continue
            family, _, size = run.get("run_name", run["name"]).rpartition("/")
            if family and size.isdigit():
                found[family][int(size)] = run["cpu_time"] * NANOSECONDS[run["time_unit"]] * 1e-6
    return {family: dict(sorted(points.items())) for family, points in found.items() if len(points) > 1}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="JSON that a bench program wrote")
    parser.add_argument("--only", default="", help="only families whose names begin so")
    parser.add_argument("--size", default="size", help="what sizes are, for the axis")
    parser.add_argument("--out", required=True, help="picture to write; its ending names the format")
    options = parser.parse_args()
    measured = {name: points for name, points in families(options.files).items() if name.startswith(options.only)}
    if not measured:
        sys.exit("plot_scaling: no benchmark in these files ran at two sizes")

    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for family, points in measured.items():
        axes.loglog(list(points), list(points.values()), marker="o", label=family)
        first, last = min(points), max(points)
        start = points[first]
        axes.loglog([first, last], [start, start * last / first], linestyle=":", linewidth=0.8, color="grey")
    axes.set_xlabel(options.size)
    axes.set_ylabel("CPU time, ms")
    axes.grid(True, which="both", linewidth=0.3)
    axes.legend()
    figure.savefig(options.out, metadata={"Date": None} if options.out.endswith(".svg") else None)


if __name__ == "__main__":
    main()
