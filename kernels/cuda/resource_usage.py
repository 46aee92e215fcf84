#!/usr/bin/env python3
"""Registers, shared memory, stack and spills of every kernel, as a table in Markdown.

usage: resource_usage.py NVCC SOURCE_DIR ARCHITECTURES SOURCE...     (ARCHITECTURES: "80 90a 100a")

Compiles each source for each architecture with warnings as errors and reads what ptxas says. Exit code 1 if one does
not compile.
"""
import re
import subprocess
import sys


def compile_source(nvcc, root, architecture, source):
    """What nvcc and ptxas print about one source; ends the program if it does not compile."""
    command = [nvcc, "-std=c++20", "-O3", "-fmad=false", "-Werror", "all-warnings", "-Xcompiler=-Wall,-Wextra",
               f"-I{root}", f"-I{root}/src", f"-gencode=arch=compute_{architecture},code=sm_{architecture}",
               "--resource-usage", "-cubin", "-o", "/dev/null", source]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{source} does not compile for sm_{architecture}:\n{result.stderr}")
    return result.stderr


def kernels_of(text):
    """(name, registers, static shared memory, stack, spilled bytes) of each entry function that ptxas lists."""
    entry = None
    stack = spills = 0
    for line in text.splitlines():
        if found := re.search(r"Compiling entry function '(\w+)'", line):
            entry = found.group(1)
        if found := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            stack = int(found.group(1))
            spills = int(found.group(2)) + int(found.group(3))
        if entry and (found := re.search(r"Used (\d+) registers", line)):
            shared = re.search(r"(\d+) bytes smem", line)
            yield demangle(entry), int(found.group(1)), int(shared.group(1)) if shared else 0, stack, spills
            entry = None


def demangle(name):
    """lastbit::kernels::(anonymous namespace)::gemm_v0(...) as gemm_v0."""
    text = subprocess.run(["c++filt", name], capture_output=True, text=True).stdout.strip()
    text = re.sub(r"\(anonymous namespace\)::|_GLOBAL__N__\w+::|lastbit::kernels::|^void ", "", text)
    text = re.sub(r"\([\w:]+\)(\d)", r"\1", text)  # an enumerator as a template's argument
    return text.split("(")[0]


def main():
    nvcc, root, architectures, *sources = sys.argv[1:]
    rows = {}
    for source in sources:
        for architecture in architectures.split():
            for name, *usage in kernels_of(compile_source(nvcc, root, architecture, source)):
                file = source.removeprefix(root + "/kernels/")
                rows.setdefault((file, name), {})[architecture] = usage
    names = [f"sm_{architecture}" for architecture in architectures.split()]
    print("| source | kernel | " + " | ".join(names) + " |")
    print("| --- | --- |" + " --- |" * len(names))
    for (file, name), usages in rows.items():
        cells = []
        for architecture in architectures.split():
            registers, shared, stack, spills = usages[architecture]
            more = (f", {stack} B stack" if stack else "") + (f", {spills} B spilled" if spills else "")
            cells.append(f"{registers} registers, {shared} B" + more)
        print(f"| `{file}` | `{name}` | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
