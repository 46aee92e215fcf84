"""Faults that a tolerance of one last place, or inputs that never show them, would let through: all are rejected."""

from functools import partial

import lastbit
import numpy as np
import pytest

import kernels
from kernels import F32, nearest, truncated


def adamw(w, grad, m, v, learning_rate, beta1, beta2, eps, weight_decay, step, **faults):
    return kernels.adamw(w, grad, m, v, (learning_rate, beta1, beta2, eps, weight_decay, step), **faults)


def gemm(a, b, scale_a, scale_b, change=np.asarray):
    return change(lastbit.gemm(a, b, scale_a=scale_a, scale_b=scale_b, out_type="bf16"))


def no_infinities(d):
    return np.where(np.isinf(d.astype(F32)), np.sign(d.astype(F32)) * F32(3.3895e38), d.astype(F32)).astype(d.dtype)


def cast_nans(code):
    return lambda x: np.where(np.isnan(x.astype(F32)), code, kernels.cast(x)).astype(np.uint8)


def cast_half_away(x):
    """A code more where the number lies halfway and the code below it is even."""
    x = np.asarray(x, F32)
    codes = kernels.cast(x)
    above = np.minimum((codes & 0x7F) + 1, 0x7E)
    here, next_up = (lastbit.to_float32(c.astype(np.uint8), "e4m3") for c in (codes & 0x7F, above))
    return np.where(np.abs(x) == (here + next_up) / 2, codes & 0x80 | above, codes).astype(np.uint8)


def cast_bf16(x, change):
    return change(np.asarray(x, F32)).view(np.uint16)


# contract, kernel, settings, shapes, families, and the faults of the kernel that must be found.
CASES = [
    ("rms_norm", kernels.rms_norm, {}, [(17, 512), (2, 7168)], ["normal", "outlier"],
     [{"out": truncated}, {"mean": nearest}, {"normed": nearest}]),
    ("rope", kernels.rope, {}, [(5, 3, 64)], ["normal"], [{"out": truncated}, {"out": kernels.through_f16}]),
    ("adamw", adamw, {}, [(4099,)], ["normal", "sparse", "first_step"],
     [{"out": truncated}, {"rounded": False}, {"decay": "after"}, {"eps_inside": True}]),
    ("cross_entropy", kernels.cross_entropy, {"gradient_type": "bf16"}, [(7, 300)], ["normal", "no_targets"],
     [{"out": truncated}]),
    ("router", kernels.router, {}, [(65, 256)], ["normal", "negative_bias", "small_affinities"],
     [{"masked": 0}, {"eps": 1e-6}, {"biased_weights": True}]),
    ("swiglu_quantize_1x128", kernels.swiglu_quantize, {}, [(33, 300)], ["normal", "outlier"],
     [{"kept": np.asarray}, {"kept": truncated}, {"silu_rounded": True}, {"cast": kernels.toward_zero_e4m3}]),
    ("mla_decode", kernels.mla_decode, {}, [(3, 16, 100)], ["normal", "zero_queries", "large_values"],
     [{"out": truncated}, {"out": kernels.through_f16}]),
    ("cast", kernels.cast, {}, [(4099,)], ["specials", "nan_payloads", "halfway"], []),
    ("cast", partial(cast_bf16, change=nearest), {"to": "bf16"}, [(4099,)], ["halfway"],
     [{"change": kernels.half_up}, {"change": truncated}]),
    ("fp8_gemm", gemm, {}, [(33, 65, 760)], ["normal", "overflow"], [{"change": no_infinities}]),
]  # fmt: skip
WRONG_CASTS = [cast_nans(0x7E), cast_nans(0xFF), cast_half_away]


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("contract, kernel, settings, shapes, families, faults", CASES)
def test_right_is_accepted_and_every_fault_rejected(contract, kernel, settings, shapes, families, faults):
    def check(candidate):
        return lastbit.check(contract, candidate, settings=settings, shapes=shapes, families=families, diagnose=False)

    right = check(kernel)
    assert right.passed, str(right)
    for fault in faults:
        assert not check(partial(kernel, **fault)).passed, fault


@pytest.mark.parametrize("wrong", WRONG_CASTS)
def test_wrong_casts_are_rejected(wrong):
    assert not lastbit.check("cast", wrong, shapes=[(4099,)], diagnose=False).passed
