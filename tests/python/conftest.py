"""Arrays of three libraries; PyTorch and JAX where they are installed."""

import numpy
import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def rng():
    return numpy.random.default_rng(1)


@pytest.fixture(params=["numpy", "torch", "jax"])
def library(request):
    if request.param != "numpy":
        pytest.importorskip(request.param)
    return request.param


@pytest.fixture
def array_of(library):
    """NumPy's array as one of the library's."""

    def convert(array):
        if library == "torch":
            import torch

            return torch.from_numpy(numpy.ascontiguousarray(array))
        if library == "jax":
            import jax

            return jax.numpy.asarray(array)
        return array

    return convert


@pytest.fixture
def numpy_of():
    """The bytes of a result of any library, as NumPy's array."""

    def convert(array):
        if type(array).__module__.startswith("torch"):
            import torch

            names = {torch.float8_e4m3fn: "float8_e4m3fn", torch.float8_e5m2: "float8_e5m2", torch.bfloat16: "bfloat16"}
            if array.dtype in names:
                import ml_dtypes

                codes = array.view(torch.uint8 if array.element_size() == 1 else torch.int16).numpy()
                return codes.view(getattr(ml_dtypes, names[array.dtype]))
            return array.numpy()
        return numpy.asarray(array)

    return convert
