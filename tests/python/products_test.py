"""Products, dots, operators, models and forecasts through Python: the bits of the command line."""

import threading
import time

import lastbit
import numpy
import pytest


def test_hopper_cuts_to_13_bits():
    one = numpy.full((1, 64), 0x38, dtype=numpy.uint8)
    # 1 + 2^-14 in one step: beside the 1 the small product lies below the 13 fraction bits and is cut off.
    a = one[:, :32].copy()
    a[0, 1:] = 0
    a[0, 1] = 0x08  # 2^-6
    b = a.copy()
    b[0, 1] = 0x04  # 2^-7, a subnormal number; the product is 2^-13
    assert lastbit.mma("hopper_wgmma", a, b, a_type="e4m3", b_type="e4m3")[0] == 1 + 2.0**-13
    b[0, 1] = 0x02
    assert lastbit.mma("hopper_wgmma", a, b, a_type="e4m3", b_type="e4m3")[0] == 1
    assert lastbit.mma("blackwell_tcgen05", a, b, a_type="e4m3", b_type="e4m3")[0] == 1 + 2.0**-14
    c = numpy.array([2.0], dtype=numpy.float32)
    assert lastbit.mma("hopper_wgmma", a, b, c, a_type="e4m3", b_type="e4m3")[0] == 3
    with pytest.raises(ValueError, match="expected a_type to say what they are codes of"):
        lastbit.mma("hopper_wgmma", a, b)
    with pytest.raises(ValueError, match="did you mean 'hopper_wgmma'"):
        lastbit.mma("hopper_wgma", a, b, a_type="e4m3", b_type="e4m3")


def test_grouped_products(rng):
    a = lastbit.quantize(rng.standard_normal((6, 256), dtype=numpy.float32))
    w = rng.standard_normal((3, 130, 256), dtype=numpy.float32)
    b = [lastbit.quantize(one, tile="128x128") for one in w]
    codes = numpy.stack([one.codes for one in b])
    scales = numpy.stack([one.scales for one in b])
    group = numpy.array([0, 2, 2, 1, -1, 0], dtype=numpy.int32)
    d = lastbit.gemm(a.codes, codes, scale_a=a.scales, scale_b=scales, group_of_row=group)
    for i, g in enumerate(group):
        row = (
            numpy.zeros(130, numpy.float32)
            if g < 0
            else lastbit.gemm(a.codes[i : i + 1], codes[g], scale_a=a.scales[i : i + 1], scale_b=scales[g])[0]
        )
        assert (d[i] == row).all()


def test_quantise_and_back(rng):
    x = rng.standard_normal((5, 64), dtype=numpy.float32)
    for format in ("e4m3", "e5m2", "nvfp4"):
        quantized = lastbit.quantize(x, format)
        back = lastbit.dequantize(*quantized, format=format)
        assert numpy.abs(back - x).max() < 0.5
    turned = lastbit.quantize(x, transpose=True)
    assert turned.codes.shape == (64, 5)
    with pytest.raises(ValueError, match="x: epsilon -1"):
        lastbit.quantize(x, zero_block="epsilon", epsilon=-1)
    x[3, 7] = numpy.inf
    with pytest.raises(ValueError, match=r"x.*\[3, 7\]"):
        lastbit.quantize(x)


def test_operators(rng):
    x = rng.standard_normal((3, 16))
    weight = rng.standard_normal(16)
    results = lastbit.op("rms_norm", {"x": x, "weight": weight, "dy": numpy.ones((3, 16))}, eps=1e-6)
    expected = x / numpy.sqrt((x * x).mean(axis=1, keepdims=True) + 1e-6) * weight
    numpy.testing.assert_allclose(results["y"], expected, rtol=1e-12)
    assert results["dweight"].shape == (16,)
    with pytest.raises(ValueError, match="rms_norm"):
        lastbit.op("rms_norm", {"x": x, "weight": weight}, epsilon=1)
    with pytest.raises(ValueError, match="did you mean 'rms_norm'"):
        lastbit.op("rms_nrm", {"x": x})
    assert "rope" in lastbit.op_names()


@pytest.fixture(scope="module")
def checkpoint():
    from pathlib import Path

    return Path(lastbit.__file__).parent / "data" / "checkpoints" / "tiny"


def test_model_runs_forward_and_taps(checkpoint):
    model = lastbit.Model.from_pretrained(checkpoint)
    ids = numpy.array([[1, 2, 3, 5]], dtype=numpy.int64)
    taps = model.forward(ids, taps=["logits", "hidden.layer0", "loss"])
    assert taps["logits"].shape[:2] == (1, 4)
    shifted = taps["logits"][0, :-1].astype(numpy.float64)
    chosen = shifted[numpy.arange(3), ids[0, 1:]]
    loss = (numpy.log(numpy.exp(shifted).sum(axis=1)) - chosen).mean()
    assert taps["loss"][0] == pytest.approx(loss, rel=1e-6)
    assert "hidden.layer0" in model.tap_names()
    assert (model.forward(ids.astype(numpy.int32))["logits"] == taps["logits"]).all()
    with pytest.raises(ValueError, match="did you mean 'logits'"):
        model.forward(ids, taps=["logit"])
    with pytest.raises(ValueError, match=r"token ids.*\[4\]|ids.*\[4\]"):
        model.forward(ids[0])
    with pytest.raises((OSError, ValueError), match="no_such_folder"):
        lastbit.Model.from_pretrained("no_such_folder")
    with pytest.raises(ValueError, match="fp9"):
        lastbit.Model.from_pretrained(checkpoint, numerics="fp9")


def test_forecast_is_the_command_lines():
    forecast = lastbit.sim.train("deepseek-v3", "h800-2048", "v3-pretrain", samples=0)
    assert forecast["step_s"] == pytest.approx(18.623, abs=0.001)
    slower = lastbit.sim.train(
        "deepseek-v3", "h800-2048", "v3-pretrain", samples=0, settings={"assume.routing_load_factor": 1.3}
    )
    assert slower["step_s"] > forecast["step_s"]
    with pytest.raises(ValueError, match="did you mean 'h800-2048'"):
        lastbit.sim.train("deepseek-v3", "h800-204", "v3-pretrain")


def test_other_threads_go_on_meanwhile():
    codes = numpy.full((512, 7168), 0x38, dtype=numpy.uint8)
    ticks = []
    stop = threading.Event()

    def tick():
        while not stop.wait(0.002):
            ticks.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    time.sleep(0.02)
    begin = time.perf_counter()
    lastbit.gemm(codes, codes)
    end = time.perf_counter()
    stop.set()
    thread.join()
    during = sum(begin < t < end for t in ticks)
    assert end - begin > 0.02, "too short to tell"
    # Held, the lock would let no tick through.
    assert during >= 3, f"{during} ticks in {end - begin:.3f} s"


def test_threads_change_no_bits(rng):
    codes = rng.integers(0, 0x7E, (64, 512), dtype=numpy.uint8)
    bits = []
    for threads in (1, 3, 0):
        lastbit.set_num_threads(threads)
        bits.append(lastbit.gemm(codes, codes).tobytes())
    assert bits[0] == bits[1] == bits[2]
    with pytest.raises(ValueError, match="threads: found -1"):
        lastbit.set_num_threads(-1)
