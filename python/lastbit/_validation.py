"""Somebody's kernel, as a Python callable, held against a contract."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import _core
from ._arrays import Library, borrow, give, text_of


class Validation:
    """What a validation found. ``str()`` is the report that ``lastbit check kernel`` prints."""

    def __init__(self, core: _core.Validation) -> None:
        self._core = core

    @property
    def passed(self) -> bool:
        """Every case that ran passed, at least one did, and the comparison can tell wrong results from right ones."""
        return self._core.passed

    @property
    def causes(self) -> list[str]:
        """Why results differ, most telling first, where that was found."""
        return self._core.causes

    def __str__(self) -> str:
        return self._core.text()

    def json(self) -> dict[str, Any]:
        """Cases, findings, comparisons, power and causes."""
        report: dict[str, Any] = json.loads(self._core.json())
        return report

    def html(self) -> str:
        """A self-contained page with maps of the mismatches and histograms of ulps."""
        return self._core.html()

    def junit(self) -> str:
        """JUnit XML, a test case for every case."""
        return self._core.junit()


def check(
    contract: str,
    candidate: Callable[..., Any],
    *,
    shapes: Sequence[str | Sequence[int]] = (),
    families: Sequence[str] = (),
    settings: Mapping[str, object] | None = None,
    seed: int = 1,
    tolerance: str = "",
    diagnose: bool = True,
    arrays: Library = "numpy",
) -> Validation:
    """Holds ``candidate`` against the reference on inputs that hurt, and says why it differs where it can.

    ``candidate`` is called with the contract's inputs as keyword arguments, arrays of the library ``arrays``, and with
    those of its settings that its signature names. It returns the contract's output, a tuple of its outputs in order,
    or a dictionary; ``NotImplementedError`` skips a case. ``lastbit check kernel CONTRACT --describe`` prints arrays,
    settings, families and tolerances. ``shapes``: sizes of the axes, (64, 7168) or "64x7168".

    The callable runs in this process, twice on each input: an exception is a finding, as are results that differ
    between both runs and inputs that were written, but a crash or a hang is the end. Kernels in a shared library run
    in a process of their own (``lastbit check kernel --plugin``).
    """
    if not callable(candidate):
        raise TypeError(f"candidate: found {type(candidate).__name__}, expected a callable")
    if arrays not in ("numpy", "torch", "jax"):
        raise ValueError(f"arrays: found {arrays!r}, expected 'numpy', 'torch' or 'jax'")
    chosen = {key: text_of(value) for key, value in (settings or {}).items()}
    described = _core.describe_contract(contract, chosen)
    wanted = _settings_wanted(candidate, described["inputs"], described["settings"])
    outputs: list[str] = described["outputs"]

    def run(inputs: dict[str, _core.Tensor]) -> dict[str, _core.Tensor]:
        results = candidate(**{name: give(tensor, arrays) for name, tensor in inputs.items()}, **wanted)
        return {name: borrow(array, name) for name, array in _by_name(results, outputs).items()}

    sizes = [shape if isinstance(shape, str) else "x".join(str(size) for size in shape) for shape in shapes]
    name = getattr(candidate, "__qualname__", type(candidate).__name__)
    return Validation(_core.check(contract, run, name, chosen, sizes, list(families), seed, tolerance, diagnose))


def contract_names() -> list[str]:
    """The contracts that ``check`` knows."""
    return _core.contract_names()


def _settings_wanted(
    candidate: Callable[..., Any], inputs: Sequence[str], settings: Mapping[str, Any]
) -> dict[str, Any]:
    try:
        parameters = inspect.signature(candidate).parameters
    except ValueError:  # some callables of C say nothing of their signature
        return {}
    return {key: value for key, value in settings.items() if key in parameters and key not in inputs}


def _by_name(results: Any, outputs: Sequence[str]) -> Mapping[str, Any]:
    if isinstance(results, Mapping):
        unknown = [name for name in results if name not in outputs]
        if unknown:
            raise ValueError(f"the candidate returned {unknown[0]!r}, expected {', '.join(outputs)}")
        return results
    values = results if isinstance(results, (tuple, list)) else (results,)
    if len(values) != len(outputs):
        raise ValueError(f"the candidate returned {len(values)} arrays, expected {len(outputs)}: {', '.join(outputs)}")
    return dict(zip(outputs, values))
