"""Kernels in NumPy as people write them in FP32, each with the faults that it may have; without one it is right."""

import lastbit
import ml_dtypes
import numpy as np

BF16 = ml_dtypes.bfloat16
E4M3 = ml_dtypes.float8_e4m3fn
F32 = np.float32


def nearest(y):
    return np.asarray(y, F32).astype(BF16)


def truncated(y):
    return (np.ascontiguousarray(y, F32).view(np.uint32) >> 16).astype(np.uint16).view(BF16)


def half_up(y):
    return (
        ((np.ascontiguousarray(y, F32).view(np.uint32).astype(np.uint64) + 0x8000) >> 16).astype(np.uint16).view(BF16)
    )


def through_f16(y):
    return np.asarray(y, F32).astype(np.float16).astype(F32).astype(BF16)


def toward_zero_e4m3(q):
    codes = q.astype(E4M3)
    away = np.abs(codes.astype(F32)) > np.abs(q)
    return (codes.view(np.uint8) - away).astype(np.uint8).view(E4M3)


def rms_norm(x, weight, eps, out=nearest, mean=np.asarray, normed=np.asarray):
    x, weight = x.astype(F32), weight.astype(F32)
    square = mean((x * x).mean(axis=1, keepdims=True)).astype(F32)
    return out(normed(x / np.sqrt(square + F32(eps))).astype(F32) * weight)


def rope(x, cos, sin, out=nearest):
    half = x.shape[-1] // 2
    a, b = x[..., :half].astype(F32), x[..., half:].astype(F32)
    c, s = cos[:, None, :], sin[:, None, :]
    return out(np.concatenate([a * c - b * s, b * c + a * s], axis=-1))


def adamw(w, grad, m, v, settings, out=nearest, rounded=True, decay="before", eps_inside=False):
    rate, beta1, beta2, eps, weight_decay, step = settings
    m1 = F32(beta1) * m.astype(F32) + F32(1 - beta1) * grad
    v1 = F32(beta2) * v.astype(F32) + F32(1 - beta2) * grad * grad
    stored = out(m1), out(v1)
    if rounded:
        m1, v1 = (one.astype(F32) for one in stored)
    m1, v1 = m1 / F32(1 - beta1**step), v1 / F32(1 - beta2**step)
    root = np.sqrt(v1 + F32(eps)) if eps_inside else np.sqrt(v1) + F32(eps)
    kept = F32(1) - F32(rate) * F32(weight_decay)
    update = F32(rate) * m1 / root
    return {"w": w * kept - update if decay == "before" else (w - update) * kept, "m": stored[0], "v": stored[1]}


def cross_entropy(logits, targets, out=nearest):
    x = logits.astype(F32)
    rows, has = np.arange(len(targets)), targets >= 0
    largest = x.max(axis=1, keepdims=True)
    powers = np.exp(x - largest)
    total = powers.sum(axis=1, keepdims=True)
    lse = (largest + np.log(total))[:, 0].astype(F32)
    gradient = powers / total
    gradient[rows, np.maximum(targets, 0)] -= 1
    gradient = np.where(has[:, None], gradient / F32(max(has.sum(), 1)), 0)
    nll = np.where(has, lse - x[rows, np.maximum(targets, 0)], 0).astype(F32)
    return {"nll": nll, "lse": lse, "dlogits": out(gradient)}


def router(logits, bias, n_group, topk_group, top_k, scale, masked=-np.inf, eps=0.0, biased_weights=False):
    affinity = (1 / (1 + np.exp(-logits))).astype(F32)
    score = affinity + bias
    chosen = np.empty((len(logits), top_k), np.int64)
    for token, row in enumerate(score):
        groups = row.reshape(n_group, -1).copy()
        best = np.sort(groups, axis=1)[:, -2:].sum(axis=1)
        groups[np.argsort(-best, kind="stable")[topk_group:]] = masked
        chosen[token] = np.sort(np.argsort(-groups.ravel(), kind="stable")[:top_k])
    weight = np.take_along_axis(score if biased_weights else affinity, chosen, axis=1)
    return chosen, weight / (weight.sum(axis=1, keepdims=True) + F32(eps)) * F32(scale)


def swiglu_quantize(gate, up, kept=nearest, silu_rounded=False, cast=None):
    gate, up = gate.astype(F32), up.astype(F32)
    silu = gate / (1 + np.exp(-gate))
    product = kept((nearest(silu).astype(F32) if silu_rounded else silu) * up).astype(F32)
    quantized = lastbit.quantize(product)
    if cast is None:
        return quantized[:2]
    scales = np.repeat(quantized.scales, 128, axis=1)[:, : product.shape[1]]
    return cast(np.clip(product / scales, -448, 448)), quantized.scales


def mla_decode(q, cache, block_table, seq_lens, scale, out=nearest):
    batch, heads, _ = q.shape
    result, logs = np.empty((batch, heads, 512), BF16), np.empty((batch, heads), F32)
    for i, length in enumerate(seq_lens):
        keys = cache[block_table[i]].reshape(-1, 576)[:length].astype(F32)
        scores = q[i].astype(F32) @ keys.T * F32(scale)
        largest = scores.max(axis=1, keepdims=True)
        powers = np.exp(scores - largest)
        total = powers.sum(axis=1, keepdims=True)
        result[i] = out(nearest(powers).astype(F32) @ keys[:, :512] / total)
        logs[i] = (largest + np.log(total))[:, 0]
    return result, logs


def cast(x, to="e4m3", change=np.asarray):
    return change(lastbit.cast(np.asarray(x, F32), to)).view(f"u{lastbit.cast(np.zeros(1, F32), to).itemsize}")
