from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

@final
class Tensor:
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    def memory(self, as_codes: bool) -> Any: ...

@final
class Validation:
    @property
    def passed(self) -> bool: ...
    @property
    def causes(self) -> list[str]: ...
    def text(self) -> str: ...
    def json(self) -> str: ...
    def junit(self) -> str: ...
    def html(self) -> str: ...

@final
class Model:
    @staticmethod
    def load(directory: str, numerics: str, stream: bool) -> Model: ...
    def forward(
        self, ids: Tensor, taps: Sequence[str], documents: Sequence[int], attention: str
    ) -> dict[str, Tensor]: ...
    def tap_names(self) -> list[str]: ...

@final
class ForecastRequest:
    model: str
    cluster: str
    job: str
    schedule: str
    settings: list[str]
    load: str
    kernel_times: str
    scaling: bool
    samples: int
    seed: int
    force: bool
    def __init__(self) -> None: ...

def version() -> str: ...
def set_data_dir(folder: str) -> None: ...
def set_num_threads(threads: int) -> None: ...
def borrow(array: Any, name: str, dtype: str) -> Tensor: ...
def gemm(
    a: Tensor,
    b: Tensor,
    scale_a: Tensor | None,
    scale_b: Tensor | None,
    c: Tensor | None,
    group_of_row: Tensor | None,
    rows_of_group: Tensor | None,
    numerics: str,
    unit: str,
    promotion: str,
    promote_every: int,
    role: str,
    tile_a: str,
    tile_b: str,
    a_type: str,
    b_type: str,
    d_type: str,
) -> Tensor: ...
def mma(a: Tensor, b: Tensor, c: Tensor | None, unit: str, a_type: str, b_type: str, d_type: str) -> Tensor: ...
def quantize(
    x: Tensor,
    format: str,
    tile: str,
    scale: str,
    method: str,
    zero_block: str,
    epsilon: float,
    transpose: bool,
) -> tuple[Tensor, Tensor, Tensor | None]: ...
def dequantize(codes: Tensor, scales: Tensor, tensor_scale: Tensor | None, format: str, tile: str) -> Tensor: ...
def encode(x: Tensor, format: str, convention: str, overflow: str, rounding: str, seed: int) -> Tensor: ...
def decode(codes: Tensor, format: str) -> Tensor: ...
def op(name: str, inputs: Mapping[str, Tensor], settings: Mapping[str, str]) -> dict[str, Tensor]: ...
def op_names() -> list[str]: ...
def check(
    contract: str,
    candidate: Callable[[dict[str, Tensor]], Mapping[str, Tensor]],
    name: str,
    settings: Mapping[str, str],
    shapes: Sequence[str],
    families: Sequence[str],
    seed: int,
    tolerance: str,
    diagnose: bool,
) -> Validation: ...
def describe_contract(name: str, settings: Mapping[str, str]) -> dict[str, Any]: ...
def contract_names() -> list[str]: ...
def forecast_training(request: ForecastRequest) -> str: ...
