"""lastbit.check and the pytest plugin: right kernels pass, wrong ones are told why."""

import lastbit
import ml_dtypes
import numpy
import pytest

SHAPES = [(1, 1), (40, 300)]


def quantize_right(x, method="division"):
    return lastbit.quantize(numpy.asarray(x, dtype=numpy.float32), method=method)[:2]


def test_a_right_kernel_is_accepted():
    validation = lastbit.check("quantize_1x128", quantize_right, shapes=SHAPES)
    assert validation.passed, str(validation)
    assert str(validation).startswith("ACCEPTED  quantize_1x128")
    assert validation.json()["passed"] and len(validation.json()["cases"]) == 20
    assert "<testsuite" in validation.junit() and "<html" in validation.html()


def test_settings_reach_the_kernel_that_names_them():
    assert lastbit.check("quantize_1x128", quantize_right, shapes=SHAPES, settings={"method": "reciprocal"}).passed
    wrong = lastbit.check(
        "quantize_1x128", lambda x: quantize_right(x), shapes=SHAPES, settings={"method": "reciprocal"}
    )
    assert not wrong.passed


def test_the_cause_is_named():
    validation = lastbit.check("quantize_1x128", lambda x: quantize_right(x, "reciprocal"), shapes=["130x300"])
    assert not validation.passed
    assert "matches multiplication by the reciprocal in 100 %" in " ".join(validation.causes)


def test_other_libraries_arrays(library):
    seen = []

    def kernel(x, weight, eps):
        seen.append((type(x).__module__.partition(".")[0].removesuffix("lib"), str(x.dtype).removeprefix("torch.")))
        values = numpy.asarray(x) if library != "torch" else x.float().numpy()
        values = values.astype(numpy.float32)
        w = numpy.asarray(weight) if library != "torch" else weight.float().numpy()
        scale = 1 / numpy.sqrt((values * values).mean(axis=1, keepdims=True) + numpy.float32(eps))
        y = values * scale * w.astype(numpy.float32)
        if library == "torch":
            import torch

            return torch.from_numpy(y).bfloat16()
        if library == "jax":
            import jax

            return jax.numpy.asarray(y).astype(jax.numpy.bfloat16)
        return y.astype(ml_dtypes.bfloat16)

    validation = lastbit.check("rms_norm", kernel, shapes=[(4, 128)], families=["normal", "outlier"], arrays=library)
    assert validation.passed, str(validation)
    assert set(seen) == {(library, "bfloat16")}


def findings(validation):
    return [
        finding["kind"] + " " + finding["text"] for case in validation.json()["cases"] for finding in case["findings"]
    ]


@pytest.mark.parametrize(
    "wrong, says",
    [
        (lambda x: 1 / 0, "error ZeroDivisionError: division by zero"),
        (lambda x: x, "error ValueError: the candidate returned 1 arrays, expected 2: codes, scales"),
        (lambda x: {"codez": x}, "error ValueError: the candidate returned 'codez'"),
        (lambda x: (None, x), "error TypeError: codes: found NoneType"),
        (lambda x: (x, x), "values codes: "),
        (lambda x: [numpy.zeros_like(r) for r in quantize_right(x)], "values codes: "),
    ],
)
def test_what_a_candidate_does_wrong_is_a_finding(wrong, says):
    validation = lastbit.check("quantize_1x128", wrong, shapes=[(2, 128)], families=["normal"])
    assert not validation.passed
    assert any(finding.startswith(says) for finding in findings(validation)), findings(validation)


def test_inputs_that_are_written_and_results_that_change():
    def writes(x):
        results = quantize_right(x)
        x.view(numpy.uint16)[0, 0] ^= 1
        return results

    assert "memory input x was written, a kernel reads it" in findings(
        lastbit.check("quantize_1x128", writes, shapes=[(2, 128)], families=["normal"])
    )
    calls = []

    def changes(x):
        calls.append(1)
        codes, scales = quantize_right(x)
        scales[0, 0] *= len(calls)
        return codes, scales

    assert any(
        finding.startswith("nondeterministic scales: 1 of ")
        for finding in findings(lastbit.check("quantize_1x128", changes, shapes=[(2, 128)], families=["normal"]))
    )
    calls.clear()

    def changes_shape(x):
        calls.append(1)
        codes, scales = quantize_right(x)
        return codes if len(calls) % 2 else codes[:1], scales

    assert any(
        finding.startswith("nondeterministic codes: ")
        for finding in findings(lastbit.check("quantize_1x128", changes_shape, shapes=[(2, 128)], families=["normal"]))
    )


def test_skipping_everything_is_not_passing():
    def skips(x):
        raise NotImplementedError("no such size")

    validation = lastbit.check("quantize_1x128", skips, shapes=[(2, 128)])
    assert not validation.passed
    assert "REJECTED  quantize_1x128: 0 of 10 cases passed, 0 failed, 10 skipped" in str(validation)


def test_ctrl_c_ends_a_validation():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lastbit.check("quantize_1x128", interrupted, shapes=[(2, 128)])


def test_bad_requests():
    with pytest.raises(ValueError, match="did you mean 'rms_norm'"):
        lastbit.check("rms_nrm", quantize_right)
    with pytest.raises(ValueError, match="unknown setting 'esp'"):
        lastbit.check("rms_norm", quantize_right, settings={"esp": 1})
    with pytest.raises(ValueError, match="shape of 3 sizes, expected 2"):
        lastbit.check("rms_norm", quantize_right, shapes=[(1, 2, 3)])
    with pytest.raises(ValueError, match="tolerance norm=1"):
        lastbit.check("rms_norm", quantize_right, tolerance="norm=1")
    with pytest.raises(TypeError, match="candidate: found int"):
        lastbit.check("rms_norm", 3)
    with pytest.raises(ValueError, match="arrays: found 'cupy'"):
        lastbit.check("rms_norm", quantize_right, arrays="cupy")
    assert "fp8_gemm" in lastbit.contract_names()


def test_the_fixture_passes_and_fails_tests(pytester):
    pytester.makepyfile(
        """
        import lastbit
        import numpy

        def right(x):
            return lastbit.quantize(numpy.asarray(x, dtype=numpy.float32))[:2]

        def test_right(lastbit_check):
            assert lastbit_check("quantize_1x128", right, shapes=[(2, 128)]).json()["seed"] == 5

        def test_wrong(lastbit_check):
            lastbit_check("quantize_1x128", lambda x: [0 * r for r in right(x)], shapes=[(2, 128)])
        """
    )
    result = pytester.runpytest_subprocess("--lastbit-seed", "5", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*REJECTED  quantize_1x128*"])
