"""Packages that the import loads, and errors without a backend. Each test runs a new process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

import keras_snn

OPTIONAL = ("matplotlib", "sklearn", "tensorflow_datasets", "PIL", "pandas")


def python(code, **environment):
    """Run code in a new process, with the package in the path."""
    folder = str(Path(keras_snn.__file__).parents[1])
    paths = [folder, os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else [folder]
    settings = {"KERAS_BACKEND": keras.config.backend(), "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **settings, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def hide(*names):
    """Return code that makes the import of these packages fail."""
    return "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in names)


@pytest.mark.backend_free
def test_all_neurons_are_available_from_the_package():
    for name in keras_snn.layers.neurons.__all__:
        assert name in keras_snn.__all__
        assert getattr(keras_snn, name) is getattr(keras_snn.layers, name)


@pytest.mark.parametrize("missing", ["keras", "the backend"])
def test_a_missing_package_is_an_error_that_names_the_extras(missing):
    result = python(hide(keras.config.backend() if missing == "the backend" else missing) + "import keras_snn")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    for name in ("tensorflow", "jax", "torch"):
        assert f"keras_snn[{name}]" in last
    assert "KERAS_BACKEND" in last


@pytest.mark.backend_free
def test_an_unsupported_backend_is_an_error_that_lists_the_supported_ones():
    result = python("import keras; print('imported'); import keras_snn", KERAS_BACKEND="numpy")
    if "imported" not in result.stdout:
        pytest.skip("Keras's NumPy backend needs the package of another backend to import")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    for name in ("'numpy'", "tensorflow", "jax", "torch", "KERAS_BACKEND"):
        assert name in last


WITHOUT_OPTIONAL_PACKAGES = """
import contextlib, io, json, sys

class Missing:
    requested = []

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in OPTIONAL:
            self.requested.append(name)
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.modules.update(dict.fromkeys(OPTIONAL))  # Keras and its backend may look for them too
import keras
for name in OPTIONAL:
    del sys.modules[name]
before = {name.partition(".")[0] for name in sys.modules}
sys.meta_path.insert(0, Missing())
import keras_snn
from keras_snn import data
result = {"requested": Missing.requested}
result["modules"] = sorted({name.partition(".")[0] for name in sys.modules} - before - sys.stdlib_module_names)
del sys.meta_path[0]
sys.modules.update(dict.fromkeys(OPTIONAL))

model = keras.Sequential([keras.Input((3, 2)), keras_snn.SpikingActivation("relu"), keras_snn.layers.LastStep()])
(x, y), _ = data.load("fashion_mnist_sample")
report = keras_snn.inspect(model, x[:4, :3, :2], examples=0)
result["lines"] = len(report.table().splitlines())

for name in ("fashion_mnist", "mnist", "cifar10"):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            data.load(name)
        except (OSError, NameError) as error:
            result[name] = [str(error), printed.getvalue()]
print(json.dumps(result))
"""


def test_without_optional_packages_network_and_files(tmp_path):
    """The package works without optional packages, and a failed download names the alternatives.

    One process for all checks, because each process imports a backend. The proxy refuses every connection, so that
    nothing is downloaded. MNIST and CIFAR-10 have a file at the path in their error. Keras prints a message if it looks
    there, which tests the path.
    """
    (tmp_path / "datasets").mkdir()
    for name in ("mnist.npz", "cifar-10-batches-py-target_archive"):
        (tmp_path / "datasets" / name).write_bytes(b"not the original")
    code = f"OPTIONAL = {OPTIONAL!r}\n{WITHOUT_OPTIONAL_PACKAGES}"
    done = python(code, KERAS_HOME=str(tmp_path), https_proxy="http://127.0.0.1:9", no_proxy="")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    # The import only loads tabulate, which uses wcwidth if installed. It tries to import no optional package.
    assert {"keras_snn"} <= set(result["modules"]) <= {"keras_snn", "tabulate", "wcwidth"}
    assert result["requested"] == []
    # Five lines: model, data and date; heading; rule; one dt; a note on a silent layer.
    assert result["lines"] == 5
    # A failed download names the three alternatives.
    for name, path in (
        ("fashion_mnist", "datasets/fashion-mnist/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz"),
        ("mnist", "datasets/mnist.npz"),
        ("cifar10", "datasets/cifar-10-batches-py-target_archive"),
    ):
        message, printed = result[name]
        assert message.startswith(f"'{name}' can be neither read nor downloaded (URL fetch failure")
        assert f"1. Put the original files at {tmp_path / path}" in message
        assert f"load('{name}', source='tfds', data_dir=...)" in message
        assert "load('fashion_mnist_sample')" in message
        if name != "fashion_mnist":  # Keras does not check the files of Fashion-MNIST
            assert "A local file was found" in printed
