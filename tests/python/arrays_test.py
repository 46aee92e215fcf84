"""Arrays in and out: libraries, dtypes, memory, and what is refused."""

import contextlib

import lastbit
import ml_dtypes
import numpy
import pytest


def address_of(array):
    return array.__array_interface__["data"][0]


def test_quantise_and_multiply_in_every_library(rng, library, array_of, numpy_of):
    x = rng.standard_normal((40, 300), dtype=numpy.float32)
    w = rng.standard_normal((150, 300), dtype=numpy.float32)
    qx, sx, _ = lastbit.quantize(array_of(x))
    qw, sw, _ = lastbit.quantize(array_of(w), tile="128x128")
    d = lastbit.gemm(qx, qw, scale_a=sx, scale_b=sw, out_type="bf16")
    assert type(d).__module__.partition(".")[0].removesuffix("lib") == library
    assert str(qx.dtype).removeprefix("torch.") == "float8_e4m3fn"
    assert str(d.dtype).removeprefix("torch.") == "bfloat16"
    qa, sa, _ = lastbit.quantize(x)
    qb, sb, _ = lastbit.quantize(w, tile="128x128")
    expected = lastbit.gemm(qa, qb, scale_a=sa, scale_b=sb, out_type="bf16")
    assert numpy_of(qx).tobytes() == qa.tobytes()
    assert numpy_of(d).tobytes() == expected.tobytes()
    exact = x @ w.T
    error = numpy.linalg.norm(expected.astype(numpy.float32) - exact) / numpy.linalg.norm(exact)
    assert 0.03 < error < 0.045  # three fraction bits in both operands


@pytest.mark.parametrize("name", ["e4m3", "e5m2", "e4m3fnuz", "e5m2fnuz", "e8m0", "bf16", "f16"])
def test_casts_give_ml_dtypes_and_values_back(name):
    values = numpy.array([[1.0, 0.5, 2.0], [4.0, 0.25, 64.0]], dtype=numpy.float32)  # powers of two: exact everywhere
    codes = lastbit.cast(values, name)
    names = {
        "e4m3": "float8_e4m3fn",
        "e5m2": "float8_e5m2",
        "e4m3fnuz": "float8_e4m3fnuz",
        "e5m2fnuz": "float8_e5m2fnuz",
        "e8m0": "float8_e8m0fnu",
        "bf16": "bfloat16",
        "f16": "float16",
    }
    assert codes.dtype.name == names[name]
    assert (codes.astype(numpy.float32) == values).all()
    assert (lastbit.to_float32(codes) == values).all()
    assert (lastbit.to_float32(codes.view(f"u{codes.itemsize}"), name) == values).all()


@pytest.mark.parametrize("name", ["e4m3", "e5m2", "e4m3fnuz", "e5m2fnuz", "e8m0", "bf16", "f16"])
def test_every_dtype_passes_through_every_library(name, array_of, numpy_of):
    values = numpy.array([[1.0, 0.5, 2.0]], dtype=numpy.float32)
    assert (numpy_of(lastbit.to_float32(lastbit.cast(array_of(values), name))) == values).all()


def test_casts_follow_the_convention(rng):
    x = numpy.append(rng.standard_normal(1000, dtype=numpy.float32) * 200, numpy.float32([numpy.nan, -numpy.nan, 1e9]))
    theirs = x.astype(ml_dtypes.float8_e4m3fn).view(numpy.uint8)
    assert (lastbit.cast(x, "e4m3", convention="ml_dtypes").view(numpy.uint8) == theirs).all()
    cuda = lastbit.cast(x, "e4m3").view(numpy.uint8)
    assert cuda[-1] == 0x7E and theirs[-1] == 0x7F  # saturated, NaN


def test_memory_is_borrowed_and_given_away_without_copies():
    from lastbit import _arrays

    x = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
    tensor = _arrays.borrow(x, "x")
    x[1, 2] = 7
    assert _arrays.give(tensor, "numpy")[1, 2] == 7  # the same memory, read when asked for
    results = lastbit.quantize(x)
    assert results.codes.flags.writeable and results.codes.base is not None
    again = _arrays.give(_arrays.borrow(results.scales, "s"), "numpy")
    assert (again == results.scales).all()
    # Somebody else's memory is not written through a result.
    assert address_of(again) != address_of(results.scales)


def test_results_live_without_their_inputs(rng):
    d = lastbit.gemm(numpy.full((4, 64), 0x38, numpy.uint8), numpy.full((5, 64), 0x38, numpy.uint8))
    assert (d == 64).all() and d.dtype == numpy.float32


def test_read_only_arrays_are_read():
    x = numpy.ones((2, 128), dtype=numpy.float32)
    x.flags.writeable = False
    assert (lastbit.quantize(x).scales == numpy.float32(1) / numpy.float32(448)).all()


@contextlib.contextmanager
def refused(error, *parts):
    """Expects an exception of one line that contains all of ``parts``."""
    with pytest.raises(error) as raised:
        yield
    text = str(raised.value)
    assert "\n" not in text
    for part in parts:
        assert part in text, text


def test_what_is_no_array_is_refused():
    with refused(TypeError, "x: found list, expected an array"):
        lastbit.quantize([[1.0, 2.0]])
    with refused(TypeError, "a: found NoneType"):
        lastbit.gemm(None, None)


def test_dtypes_are_refused_with_their_shapes():
    with refused(ValueError, "x: dtype f64, expected float32; its shape is [2, 3]"):
        lastbit.quantize(numpy.zeros((2, 3)))
    with refused(TypeError, "x: array [2, 3]", "complex"):
        lastbit.quantize(numpy.zeros((2, 3), dtype=numpy.complex64))
    with refused(TypeError, "x: array [2]", "dtype >f4"):
        lastbit.cast(numpy.zeros(2, dtype=">f4"), "e4m3")
    with refused(TypeError, "x: array [2]"):
        lastbit.cast(numpy.array(["a", "b"]), "e4m3")
    codes = numpy.zeros((4, 64), dtype=numpy.uint16)
    with refused(ValueError, "a: dtype u16, expected u8 codes of e4m3; its shape is [4, 64]"):
        lastbit.gemm(codes, codes)


def test_shapes_are_refused():
    codes = numpy.zeros((4, 64), dtype=numpy.uint8)
    with refused(ValueError, "b: shape [4, 32] has K = 32, expected 64 as in a"):
        lastbit.gemm(codes, numpy.zeros((4, 32), dtype=numpy.uint8))
    with refused(ValueError, "a: shape [64]"):
        lastbit.gemm(codes[0], codes)
    scale = numpy.ones((1, 1), dtype=numpy.float32)
    with refused(ValueError, "scale_a: shape [1, 1], expected [4, 1]"):
        lastbit.gemm(codes, codes, scale_a=scale, scale_b=scale)
    with refused(ValueError, "x: shape [3], expected a matrix"):
        lastbit.quantize(numpy.zeros(3, dtype=numpy.float32))


def test_arrays_with_gaps_are_refused():
    x = numpy.zeros((4, 8), dtype=numpy.float32)
    with refused(ValueError, "x: array [8, 4] with strides [1, 8] is not contiguous"):
        lastbit.quantize(x.T)
    with refused(ValueError, "x: array [4, 4] with strides [8, 2] is not contiguous"):
        lastbit.quantize(x[:, ::2])
    assert lastbit.quantize(x[1:3]).codes.shape == (2, 8)  # rows alone have no gaps
    bytes_ = numpy.zeros(4 * 6 + 1, dtype=numpy.uint8)
    with refused((TypeError, ValueError), "x: array [2, 3]"):
        lastbit.quantize(bytes_[1:].view(numpy.float32).reshape(2, 3))


class OnAnotherDevice:
    """An array that says that it lies on the second CUDA device."""

    shape = (2, 3)
    dtype = "float32"

    def __dlpack_device__(self):
        return (2, 1)

    def __dlpack__(self, **_):
        raise AssertionError("memory of another device was asked for")


def test_other_devices_are_refused_by_name():
    with refused(ValueError, "x: array [2, 3] on device cuda:1, expected cpu"):
        lastbit.quantize(OnAnotherDevice())


def test_torch_tensors_of_other_devices_and_with_gradients():
    torch = pytest.importorskip("torch")
    with refused((TypeError, ValueError), "x: array [2, 3]"):
        lastbit.quantize(torch.zeros(2, 3, device="meta"))
    x = torch.ones(2, 128, requires_grad=True)
    assert lastbit.quantize(x).codes.dtype == torch.float8_e4m3fn


def test_jax_does_not_narrow_64_bit_results():
    jax = pytest.importorskip("jax")
    x = jax.numpy.ones((2, 4))
    with refused(TypeError, "of f64: JAX keeps no 64-bit numbers"):
        lastbit.op("rms_norm", {"x": x, "weight": jax.numpy.ones(4)}, eps=1e-6, cast="f64")
