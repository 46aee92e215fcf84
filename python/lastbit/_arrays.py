"""Arrays of other libraries as Lastbit's tensors, and back, without copies."""

from __future__ import annotations

from typing import Any, Literal

from . import _core

Library = Literal["numpy", "torch", "jax"]

# Dtypes that NumPy knows through ml_dtypes alone; PyTorch and JAX have the same names.
_CODE_DTYPES = {
    "float8_e4m3fn": "e4m3",
    "float8_e5m2": "e5m2",
    "float8_e4m3fnuz": "e4m3fnuz",
    "float8_e5m2fnuz": "e5m2fnuz",
    "float8_e8m0fnu": "e8m0",
    "float4_e2m1fn": "u8",
    "bfloat16": "bf16",
}
_NAMES = {ours: theirs for theirs, ours in _CODE_DTYPES.items() if ours != "u8"}


def library_of(array: object) -> Library:
    """Where results go that belong to this array: everything but PyTorch and JAX gets NumPy's."""
    package = type(array).__module__.partition(".")[0]
    if package == "torch":
        return "torch"
    return "jax" if package in ("jax", "jaxlib") else "numpy"


def borrow(array: Any, name: str) -> _core.Tensor:
    """The array as a tensor over the same memory. ``name`` starts every message about it."""
    if not hasattr(array, "__dlpack__") or not hasattr(array, "__dlpack_device__"):
        raise TypeError(f"{name}: found {type(array).__name__}, expected an array of NumPy, PyTorch, JAX or DLPack")
    codes = _CODE_DTYPES.get(str(array.dtype).removeprefix("torch."), "")
    source = array
    if library_of(array) == "torch":
        source = array.detach()
        if codes and codes != "bf16":
            import torch

            source = source.view(torch.uint8)
    elif codes and library_of(array) == "numpy" and hasattr(array, "view"):
        source = array.view(f"u{array.dtype.itemsize}")
    elif codes == "u8":
        raise TypeError(f"{name}: array {list(array.shape)} of float4_e2m1fn, expected its codes as uint8")
    return _core.borrow(source, name, codes)


def borrow_or_none(array: Any, name: str) -> _core.Tensor | None:
    return None if array is None else borrow(array, name)


def give(tensor: _core.Tensor, library: Library) -> Any:
    """The tensor's memory as an array of ``library``."""
    special = _NAMES.get(tensor.dtype)
    if library == "torch":
        import torch

        if special and special != "bfloat16":
            return torch.from_dlpack(tensor.memory(as_codes=True)).view(getattr(torch, special))
        return torch.from_dlpack(tensor.memory(as_codes=False))
    if library == "jax":
        import jax

        if tensor.dtype in ("i64", "u64", "f64") and not jax.config.jax_enable_x64:
            raise TypeError(
                f"array {list(tensor.shape)} of {tensor.dtype}: JAX keeps no 64-bit numbers, "
                "expected jax.config.update('jax_enable_x64', True) before it is used"
            )
        return jax.numpy.from_dlpack(tensor.memory(as_codes=False))
    import numpy

    if not special:
        return numpy.asarray(tensor.memory(as_codes=False))
    import ml_dtypes

    return numpy.asarray(tensor.memory(as_codes=True)).view(getattr(ml_dtypes, special))


def text_of(value: object) -> str:
    """A setting's value as the command line writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
