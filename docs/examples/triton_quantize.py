"""A Triton kernel that quantises 1 x 128 blocks to FP8, held against the reference, twice.

TRITON_INTERPRET=1 runs it on the CPU, in Triton's interpreter. On a GPU the wrapper would copy x there and the results
back: Lastbit reads and gives arrays on the CPU. This example has run in the interpreter alone, never on a GPU.

The first kernel leaves the cast to PyTorch and is accepted. The second casts itself, and what the report shows is a
fault of the interpreter: in Triton 3.9.0 it rounds 127 to 64 (the carry into the exponent is lost), 100 to 104 (ties
are not to even) and 0.001 to 0.
"""

import os
import sys

import lastbit
import torch
import triton
import triton.language as tl

if os.environ.get("TRITON_INTERPRET") != "1":
    sys.exit("triton_quantize.py: set TRITON_INTERPRET=1, this example runs on the CPU")


@triton.jit
def quantize_rows(x_ptr, q_ptr, scales_ptr, cols, blocks, BLOCK: tl.constexpr):
    row, block = tl.program_id(0), tl.program_id(1)
    at = block * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * cols + at, mask=at < cols, other=0.0)
    scale = tl.max(tl.abs(x), axis=0) / 448.0
    scale = tl.where(scale == 0.0, 1.0, scale)
    q = tl.clamp(x / scale, -448.0, 448.0)
    tl.store(q_ptr + row * cols + at, q.to(q_ptr.dtype.element_ty), mask=at < cols)
    tl.store(scales_ptr + row * blocks + block, scale)


def quantize(x, dtype):
    rows, cols = x.shape
    blocks = triton.cdiv(cols, 128)
    q = torch.empty((rows, cols), dtype=dtype)
    scales = torch.empty((rows, blocks), dtype=torch.float32)
    quantize_rows[(rows, blocks)](x, q, scales, cols, blocks, BLOCK=128)
    return q.to(torch.float8_e4m3fn), scales


def cast_by_torch(x):
    return quantize(x, torch.float32)


def cast_by_triton(x):
    return quantize(x, torch.float8_e4m3fn)


for kernel in (cast_by_torch, cast_by_triton):
    print(lastbit.check("quantize_1x128", kernel, shapes=[(2, 300)], settings={"x_type": "f32"}, arrays="torch"))
