"""Lastbit: DeepSeek-V3 and the tensor cores under it to the last bit, and a forecast of the clusters that train it.

Arrays of NumPy, PyTorch, JAX and everything else with ``__dlpack__`` are read where they lie, without a copy: on the
CPU, row-major, 8-bit floats and bfloat16 included. Results come in the library of the first array given.

Errors have one line of text: ``ValueError`` for bad input, ``TypeError`` for what is no array or has a dtype that
Lastbit does not know, ``OSError`` for what the system refuses, ``NotImplementedError`` for what is not available here.
Python's lock is released while Lastbit works, on all cores unless ``set_num_threads`` says otherwise.
"""

from pathlib import Path

from . import _core, sim
from ._model import Model
from ._operators import op, op_names
from ._products import cast, dequantize, gemm, mma, quantize, to_float32
from ._validation import Validation, check, contract_names

_core.set_data_dir(str(Path(__file__).parent / "data"))
__version__ = _core.version()


def set_num_threads(threads: int) -> None:
    """The number of threads that Lastbit uses; 0 for all cores. No result depends on it."""
    _core.set_num_threads(threads)


__all__ = [
    "Model",
    "Validation",
    "cast",
    "check",
    "contract_names",
    "dequantize",
    "gemm",
    "mma",
    "op",
    "op_names",
    "quantize",
    "set_num_threads",
    "sim",
    "to_float32",
]
