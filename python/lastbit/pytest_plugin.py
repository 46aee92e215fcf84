"""The pytest fixture ``lastbit_check``: a kernel that its contract rejects fails the test with the report."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ._validation import Validation


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("lastbit").addoption(
        "--lastbit-seed", type=int, default=1, help="Seed of the inputs that lastbit_check draws (default: 1)"
    )


@pytest.fixture
def lastbit_check(request: pytest.FixtureRequest) -> Callable[..., Validation]:
    """As ``lastbit.check``, but the test fails where the kernel does, and ``--lastbit-seed`` chooses the inputs."""
    import lastbit

    def check(contract: str, candidate: Callable[..., Any], **options: Any) -> Validation:
        options.setdefault("seed", request.config.getoption("--lastbit-seed"))
        validation = lastbit.check(contract, candidate, **options)
        if not validation.passed:
            pytest.fail(str(validation), pytrace=False)
        return validation

    return check
