"""Tensor-core products, quantisation and casts."""

from __future__ import annotations

from typing import Any, NamedTuple

from . import _core
from ._arrays import borrow, borrow_or_none, give, library_of


def gemm(
    a: Any,
    b: Any,
    *,
    scale_a: Any = None,
    scale_b: Any = None,
    c: Any = None,
    numerics: str = "fp8-h800",
    unit: str = "",
    promotion: str = "",
    promote_every: int = 128,
    role: str = "nt",
    tile_a: str = "1x128",
    tile_b: str = "128x128",
    a_type: str = "",
    b_type: str = "",
    out_type: str = "f32",
    group_of_row: Any = None,
    rows_of_group: Any = None,
) -> Any:
    """D = A B^T (+ C) as a tensor core computes it, to the bit.

    ``a`` [M, K] and ``b`` [N, K] hold 8- or 16-bit floats, or the codes of such as unsigned integers, of ``a_type`` and
    ``b_type`` (else of ``numerics``: fp8-h800, bf16-h800, f16-h800). With scales, one a tile, partial sums are promoted
    in the order ``promotion``: deepgemm (default), cublas or muladd. ``unit`` is another tensor core, such as
    ``blackwell_tcgen05``. ``out_type``: f32, bf16 or f16. ``role`` nn: ``b`` lies as [K, N]; tn: ``a`` as [K, M], too.

    For experts ``b`` is [groups, N, K] and either ``group_of_row`` [M] names each row's group (-1 for none) or ``a`` is
    [groups, M, K], of which ``rows_of_group`` [groups] says how many rows count.
    """
    d = _core.gemm(
        borrow(a, "a"),
        borrow(b, "b"),
        borrow_or_none(scale_a, "scale_a"),
        borrow_or_none(scale_b, "scale_b"),
        borrow_or_none(c, "c"),
        borrow_or_none(group_of_row, "group_of_row"),
        borrow_or_none(rows_of_group, "rows_of_group"),
        numerics,
        unit,
        promotion,
        promote_every,
        role,
        tile_a,
        tile_b,
        a_type,
        b_type,
        out_type,
    )
    return give(d, library_of(a))


def mma(unit: str, a: Any, b: Any, c: Any = None, *, a_type: str = "", b_type: str = "", out_type: str = "f32") -> Any:
    """Independent dots through one tensor core's instruction: d[i] = a[i, :] . b[i, :] + c[i].

    ``a`` and ``b`` are [n, K], in steps of the unit's own K; ``c`` and the result are [n] of ``out_type`` (f32 or f16).
    Integers are codes, of ``a_type`` and ``b_type``.
    """
    d = _core.mma(borrow(a, "a"), borrow(b, "b"), borrow_or_none(c, "c"), unit, a_type, b_type, out_type)
    return give(d, library_of(a))


class Quantized(NamedTuple):
    """Codes [rows, cols], their scales, one a tile, and NVFP4's scale of the tensor."""

    codes: Any
    scales: Any
    tensor_scale: Any


def quantize(
    x: Any,
    format: str = "e4m3",
    *,
    tile: str = "1x128",
    scale: str = "fp32",
    method: str = "division",
    zero_block: str = "one",
    epsilon: float = 1e-4,
    transpose: bool = False,
) -> Quantized:
    """A float32 matrix as codes of ``format`` (e4m3, e5m2, e2m1, nvfp4) with a scale a tile.

    ``tile``: ROWSxCOLS, row, tensor, or mx. ``scale``: fp32 or ue8m0 (up to a power of two). ``method``: division
    (x / s) or reciprocal (x times largest / amax). ``zero_block``: one, or epsilon (amax is at least ``epsilon``).
    ``transpose``: codes [cols, rows], the tiles are of those.
    """
    codes, scales, tensor_scale = _core.quantize(
        borrow(x, "x"), format, tile, scale, method, zero_block, epsilon, transpose
    )
    library = library_of(x)
    whole = None if tensor_scale is None else give(tensor_scale, library)
    return Quantized(give(codes, library), give(scales, library), whole)


def dequantize(codes: Any, scales: Any, tensor_scale: Any = None, *, format: str = "", tile: str = "1x128") -> Any:
    """Codes times their scales in float32. ``format`` says what integers are codes of (e4m3 if left out)."""
    x = _core.dequantize(
        borrow(codes, "codes"), borrow(scales, "scales"), borrow_or_none(tensor_scale, "tensor_scale"), format, tile
    )
    return give(x, library_of(codes))


def cast(x: Any, to: str, *, convention: str = "cuda", overflow: str = "", rounding: str = "", seed: int = 0) -> Any:
    """float32 as codes of the format ``to``, under its own dtype where the library has one, else unsigned integers.

    ``convention``: cuda or ml_dtypes, for NaN and E8M0. ``overflow``: saturate or none. ``rounding``: nearest (even),
    up, zero or stochastic (from ``seed``). What is left out follows the convention.
    """
    return give(_core.encode(borrow(x, "x"), to, convention, overflow, rounding, seed), library_of(x))


def to_float32(codes: Any, format: str = "") -> Any:
    """The values of codes, exactly. ``format`` says what integers are codes of."""
    return give(_core.decode(borrow(codes, "codes"), format), library_of(codes))
