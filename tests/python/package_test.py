"""The package itself: how long it takes to import, and its examples."""

import ast
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import lastbit
import pytest
from lastbit import _core

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def test_import_is_quick_and_brings_no_other_library():
    command = (
        "import sys, time; begin = time.perf_counter(); import lastbit; "
        "print(time.perf_counter() - begin, *(m for m in ('numpy', 'torch', 'jax') if m in sys.modules))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True) for _ in range(5)
    ]
    words = [run.stdout.split() for run in runs]
    assert all(len(one) == 1 for one in words), words
    assert min(float(one[0]) for one in words) < 0.3  # the quickest: a machine under load adds to the others


def test_version_is_the_librarys():
    assert lastbit.__version__ == version("lastbit")


def test_stub_says_what_the_module_has():
    stub = ast.parse((Path(lastbit.__file__).parent / "_core.pyi").read_text())
    functions = {node.name: node for node in stub.body if isinstance(node, ast.FunctionDef)}
    classes = {node.name: node for node in stub.body if isinstance(node, ast.ClassDef)}
    assert functions.keys() | classes.keys() == {name for name in dir(_core) if not name.startswith("__")}
    for name, function in functions.items():
        signature = getattr(_core, name).__doc__.partition("\n")[0]  # "name(a: Tensor, b: Tensor) -> Tensor"
        expected = ast.parse(f"def {signature}: ...").body[0]
        assert [a.arg for a in function.args.args] == [a.arg for a in expected.args.args], name
    for name, node in classes.items():
        members = {m.name if isinstance(m, ast.FunctionDef) else m.target.id for m in node.body}
        assert members - {"__init__"} == {m for m in dir(getattr(_core, name)) if not m.startswith("__")}, name


def run_example(name, *arguments, **environment):
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, **environment},
    )


def test_readme_prints_what_it_says(tmp_path):
    text = (EXAMPLES.parents[1] / "README.md").read_text()
    _, _, rest = text.partition("```python\n")
    example, _, rest = rest.partition("```")
    printed = rest.partition("```\n")[2].partition("```")[0]
    script = tmp_path / "readme.py"
    script.write_text(example)
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == printed


def test_numpy_emulation():
    result = run_example("numpy_wgmma.py")
    assert result.returncode == 0, result.stderr
    assert "ACCEPTED  fp8_gemm" in result.stdout and "REJECTED  fp8_gemm" in result.stdout


def test_triton_kernel():
    pytest.importorskip("triton")
    pytest.importorskip("torch")
    result = run_example("triton_quantize.py", TRITON_INTERPRET="1")
    assert result.returncode == 0, result.stderr
    assert "ACCEPTED  quantize_1x128" in result.stdout
