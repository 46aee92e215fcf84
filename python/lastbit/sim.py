"""The forecast: how long a cluster takes, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from . import _core
from ._arrays import text_of


def train(
    model: str,
    cluster: str,
    job: str,
    *,
    schedule: str = "",
    settings: Mapping[str, object] | None = None,
    load: str = "",
    kernel_times: str = "",
    scaling: bool = False,
    samples: int = 64,
    seed: int = 1,
    force: bool = False,
) -> dict[str, Any]:
    """Forecasts a training job: what ``lastbit sim train --json`` prints, as a dictionary; times in seconds.

    ``model``, ``cluster`` and ``job`` are presets or files. ``settings`` changes single values, as in
    ``{"assume.routing_load_factor": 1.1}``. ``samples`` draws say how sure it is; 0 for the point alone.
    """
    request = _core.ForecastRequest()
    request.model = model
    request.cluster = cluster
    request.job = job
    request.schedule = schedule
    request.settings = [f"{key}={text_of(value)}" for key, value in (settings or {}).items()]
    request.load = load
    request.kernel_times = kernel_times
    request.scaling = scaling
    request.samples = samples
    request.seed = seed
    request.force = force
    forecast: dict[str, Any] = json.loads(_core.forecast_training(request))
    return forecast
