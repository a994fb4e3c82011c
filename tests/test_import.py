"""What importing the package brings along, and what it says where no backend is. Each test is a process of its own."""

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


def hide(*names):
    return "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in names)


@pytest.mark.backend_free
def test_all_neurons_are_available_from_the_package():
    for name in keras_snn.layers.neurons.__all__:
        assert name in keras_snn.__all__
        assert getattr(keras_snn, name) is getattr(keras_snn.layers, name)


@pytest.mark.parametrize("missing", ["keras", "the backend"])
def test_a_missing_backend_is_an_error_that_names_the_extras(missing):
    result = python(hide(keras.config.backend() if missing == "the backend" else missing) + "import keras_snn")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    for name in ("tensorflow", "jax", "torch"):
        assert f"keras_snn[{name}]" in last
    assert "KERAS_BACKEND" in last


@pytest.mark.backend_free
def test_another_backend_of_keras_is_an_error_that_names_ours():
    result = python("import keras; print('imported'); import keras_snn", KERAS_BACKEND="numpy")
    if "imported" not in result.stdout:
        pytest.skip("Keras's own NumPy backend does not import here: it needs another backend's package")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    for name in ("'numpy'", "tensorflow", "jax", "torch", "KERAS_BACKEND"):
        assert name in last


WITHOUT_OPTIONAL_PACKAGES = """
import contextlib, io, json, sys

class Missing:
    asked_for = []

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in OPTIONAL:
            self.asked_for.append(name)
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.modules.update(dict.fromkeys(OPTIONAL))  # Keras and its backend may look for them too
import keras
for name in OPTIONAL:
    del sys.modules[name]
before = {name.partition(".")[0] for name in sys.modules}
sys.meta_path.insert(0, Missing())
import keras_snn
from keras_snn import data
result = {"asked for": Missing.asked_for}
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
    """One process for all of it, since each has to import a backend.

    The proxy refuses every connection, so that nothing is downloaded where there is a network. At the place that the
    errors name for MNIST and CIFAR-10 there is a file: Keras says so if that is where it looks.
    """
    (tmp_path / "datasets").mkdir()
    for name in ("mnist.npz", "cifar-10-batches-py-target_archive"):
        (tmp_path / "datasets" / name).write_bytes(b"not the original")
    code = f"OPTIONAL = {OPTIONAL!r}\n{WITHOUT_OPTIONAL_PACKAGES}"
    done = python(code, KERAS_HOME=str(tmp_path), https_proxy="http://127.0.0.1:9", no_proxy="")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    # The import loads no other package than tabulate, which uses wcwidth if it is installed, and tries none.
    assert {"keras_snn"} <= set(result["modules"]) <= {"keras_snn", "tabulate", "wcwidth"}
    assert result["asked for"] == []
    # Model, data and date, a heading, its line, one dt, and a note on a silent layer.
    assert result["lines"] == 5
    # A failed download names the three ways out.
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
        if name != "fashion_mnist":  # the only one whose files Keras does not check
            assert "A local file was found" in printed
