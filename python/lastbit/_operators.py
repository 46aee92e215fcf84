"""Every operator of a model by name, forward and backward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import _core
from ._arrays import borrow, give, library_of, text_of


def op(name: str, inputs: Mapping[str, Any], **settings: object) -> dict[str, Any]:
    """Runs an operator of ``lastbit op --list``: arrays by name in, results by name out.

    ``lastbit op NAME`` prints its inputs, settings and results. Gradients come where their upstream gradient is among
    the inputs.
    """
    arrays = {key: borrow(array, f"{name}: {key}") for key, array in inputs.items()}
    results = _core.op(name, arrays, {key: text_of(value) for key, value in settings.items()})
    library = library_of(next(iter(inputs.values()), None))
    return {key: give(tensor, library) for key, tensor in results.items()}


def op_names() -> list[str]:
    """The operators that ``op`` knows."""
    return _core.op_names()
