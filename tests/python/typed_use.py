"""Read by mypy alone: how the package is used, with its types."""

import lastbit


def right(x: object) -> tuple[object, object]:
    codes, scales, _ = lastbit.quantize(x, "e4m3", tile="1x128")
    return codes, scales


validation: lastbit.Validation = lastbit.check("quantize_1x128", right, shapes=[(1, 128), "2x128"], arrays="torch")
passed: bool = validation.passed
causes: list[str] = validation.causes
step_s: float = lastbit.sim.train("deepseek-v3", "h800-2048", "v3-pretrain")["step_s"]
names: list[str] = lastbit.Model.from_pretrained("checkpoint", numerics="bf16").tap_names()
