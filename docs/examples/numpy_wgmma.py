"""Hopper's FP8 tensor core in NumPy, held against the reference: as it is, and with promotion that comes too late.

A step aligns 32 products and the accumulator to the largest exponent among them, cuts each to 13 fraction bits, adds,
and cuts the sum to 13 fraction bits again. Every 128 elements of K the partial sum goes to an FP32 register.
"""

import lastbit
import ml_dtypes
import numpy as np

STEP, FRACTION_BITS, EVERY = 32, 13, 128


def exponent_of(x):
    """floor(log2 |x|); far below everything for 0."""
    return np.where(x == 0, -(10**6), np.frexp(x)[1] - 1)


def operand_exponent(x):
    return np.where(x == 0, -(10**6), np.maximum(exponent_of(x), -6))


def cut(x, grid):
    """x toward zero, to a multiple of 2^grid; everything here is exact in float64."""
    return np.ldexp(np.trunc(np.ldexp(x, -grid)), grid)


def step(a, b, c):
    """a [M, 32], b [N, 32], c [M, N] -> [M, N], in float64."""
    products = a[:, None, :] * b[None, :, :]
    # The exponent of a product is the sum of its operands' (subnormal ones have the format's least), not its own.
    exponents = operand_exponent(a)[:, None, :] + operand_exponent(b)[None, :, :]
    largest = np.maximum(exponents.max(axis=2), exponent_of(c))
    grid = np.maximum(largest, -1000) - FRACTION_BITS
    total = cut(products, grid[:, :, None]).sum(axis=2) + cut(c, grid)
    return cut(total, np.maximum(exponent_of(total), -1000) - FRACTION_BITS)


def product(a, b, scale_a, scale_b, every):
    a, b = a.astype(np.float64), b.astype(np.float64)
    y = np.zeros((a.shape[0], b.shape[0]))
    for k in range(0, a.shape[1], every):
        c = np.zeros_like(y)
        for i in range(k, min(k + every, a.shape[1]), STEP):
            c = step(a[:, i : i + STEP], b[:, i : i + STEP], c)
        scale = scale_a[:, k // EVERY, None] * np.repeat(scale_b[:, k // EVERY], EVERY)[None, : b.shape[0]]
        y = (
            (c * scale.astype(np.float64) + y).astype(np.float32).astype(np.float64)
        )  # an FMA's, but for roundings that BF16 hides
    return y.astype(ml_dtypes.bfloat16)


def promoted(a, b, scale_a, scale_b):
    return product(a, b, scale_a, scale_b, EVERY)


def promoted_late(a, b, scale_a, scale_b):
    return product(a, b, scale_a, scale_b, 2 * EVERY)


for kernel in (promoted, promoted_late):
    print(lastbit.check("fp8_gemm", kernel, shapes=[(16, 130, 384)], families=["normal", "outlier", "cancelling"]))
