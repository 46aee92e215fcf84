"""Checkpoints: token ids in, everything between them and the logits out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from . import _core
from ._arrays import borrow, give, library_of


class Model:
    """A checkpoint of a Hugging Face directory (config.json and safetensors) under one arithmetic."""

    def __init__(self, core: _core.Model) -> None:
        self._core = core

    @classmethod
    def from_pretrained(
        cls, directory: str | os.PathLike[str], *, numerics: str = "fp32", stream: bool = False
    ) -> Model:
        """Reads a checkpoint. ``numerics``: a policy (fp64, fp32, bf16, fp8-h800, ...) or a .toml file.

        ``stream``: only one layer's weights are in memory at a time.
        """
        return cls(_core.Model.load(os.fspath(directory), numerics, stream))

    def forward(
        self,
        ids: Any,
        *,
        taps: Sequence[str] = ("logits",),
        documents: Sequence[int] = (),
        attention: str = "naive",
    ) -> dict[str, Any]:
        """Runs token ids [B, S] (int64 or int32) and returns the taps asked for, by name.

        ``documents``: lengths of the documents that every row is packed from. ``attention``: naive or absorbed.
        """
        names = [taps] if isinstance(taps, str) else list(taps)
        results = self._core.forward(borrow(ids, "ids"), names, list(documents), attention)
        return {name: give(tensor, library_of(ids)) for name, tensor in results.items()}

    def tap_names(self) -> list[str]:
        """Every name that ``forward`` can tap, in the order of the data's journey."""
        return self._core.tap_names()
