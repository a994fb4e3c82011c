"""What importing the package brings along, and what it says where no backend is. Each test is a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

import keras_snn

OPTIONAL = ("matplotlib", "sklearn", "tensorflow_datasets", "PIL", "pandas")


def python(code, **environment):
    place = str(Path(keras_snn.__file__).parents[1])
    paths = [place, os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else [place]
    own = {"KERAS_BACKEND": keras.config.backend(), "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **own, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_import_brings_no_other_package_along():
    code = """
import sys
import keras
before = {name.partition(".")[0] for name in sys.modules}
import keras_snn
print(*sorted({name.partition(".")[0] for name in sys.modules} - before - sys.stdlib_module_names))
"""
    result = python(code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["keras_snn"]


def hide(*names):
    return "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in names)


@pytest.mark.parametrize("missing", ["keras", "the backend"])
def test_what_is_missing_is_an_error_that_names_the_extras(missing):
    result = python(hide(keras.config.backend() if missing == "the backend" else missing) + "import keras_snn")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    for name in ("tensorflow", "jax", "torch"):
        assert f"keras_snn[{name}]" in last
    assert "KERAS_BACKEND" in last


def test_another_backend_of_keras_is_an_error_that_names_ours():
    if python("import keras", KERAS_BACKEND="numpy").returncode:
        pytest.skip("Keras's own NumPy backend does not import here: it needs another backend's package")
    result = python("import keras_snn", KERAS_BACKEND="numpy")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    for name in ("'numpy'", "tensorflow", "jax", "torch", "KERAS_BACKEND"):
        assert name in last


def test_works_without_the_optional_packages():
    code = """
import keras, keras_snn
from keras_snn import data
model = keras.Sequential([keras.Input((3, 2)), keras_snn.SpikingActivation("relu"), keras_snn.layers.LastStep()])
(x, y), _ = data.load("fashion_mnist_sample")
report = keras_snn.inspect(model, x[:4, :3, :2], examples=0)
print(len(report.table().splitlines()))
"""
    result = python(hide(*OPTIONAL) + code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["3"]
