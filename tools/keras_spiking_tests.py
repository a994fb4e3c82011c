"""Run KerasSpiking's tests of ``ModelEnergy`` on keras_snn.

The tests come from the package keras-spiking 0.3.0, which pip fetches without its dependencies. Its license does not
allow a copy here. Stand-ins for the modules that the tests import use Keras 3 and keras_snn instead. Messages are
not compared: they differ between the packages.

    KERAS_BACKEND=torch python tools/keras_spiking_tests.py

It does not run on the TensorFlow backend, because a stand-in has the name "tensorflow".
"""

import contextlib
import subprocess
import sys
import tempfile
import types
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_snn

_TEXTS = {  # start of a line of `summary_string`: here, in KerasSpiking
    "Total energy per inference [cpu]": "Total energy per inference [Joules/inf] (cpu)",
    "Total energy per inference [spinnaker2]": "Total energy per inference [Joules/inf] (spinnaker2)",
    "Total energy per inference [loihi]": "Total energy per inference [Joules/inf] (loihi)",
    "Estimates: ": "* These are estimates only",
    "Warning: the energy on the spiking device 'spinnaker2'": "* This model contains non-spiking activations",
}


class Layer(keras.layers.Layer):
    """Keras 2's layer, whose ``call`` returns its inputs."""

    def call(self, inputs):
        return inputs


class ModelEnergy(keras_snn.ModelEnergy):
    """``ModelEnergy`` with KerasSpiking's texts in the summary."""

    def summary_string(self, *args, **kwargs):
        text = super().summary_string(*args, **kwargs)
        for ours, theirs in _TEXTS.items():
            text = text.replace(ours, theirs)
        return text


def module(name, **contents):
    """Register a stand-in for a module, and return it."""
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(contents)
    return sys.modules[name]


def stand_ins():
    """Register the modules that the tests import."""
    layers = module("tensorflow.keras.layers", **{**vars(keras.layers), "Layer": Layer})
    tf_keras = module(
        "tensorflow.keras",
        layers=layers,
        Model=keras.Model,
        Input=lambda shape: keras.Input((shape,) if isinstance(shape, int) else shape),
    )
    module(
        "tensorflow",
        keras=tf_keras,
        device=lambda name: contextlib.nullcontext(),
        nn=types.SimpleNamespace(relu=keras.activations.relu),
        random=types.SimpleNamespace(set_seed=lambda seed: None),
    )
    keras.layers.Layer.output_shape = property(lambda layer: tuple(layer.output.shape))
    module("keras_spiking.layers", SpikingActivation=keras_snn.SpikingActivation)
    module("keras_spiking.model_energy", ModelEnergy=ModelEnergy)
    module("keras_spiking")


class Plugin:
    """The fixture of KerasSpiking's tests."""

    @pytest.fixture
    def rng(self):
        return np.random.RandomState(0)


def main():
    """Run the tests; return pytest's exit status."""
    with tempfile.TemporaryDirectory() as folder:
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        subprocess.run([*fetch, "keras-spiking==0.3.0"], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as package:
            tests = package.extract("keras_spiking/tests/test_model_energy.py", folder)
        target = Path(folder) / "test_model_energy.py"
        Path(tests).rename(target)
        stand_ins()
        raises, warns = pytest.raises, pytest.warns
        pytest.raises = lambda expected, match=None: raises(expected)
        pytest.warns = lambda expected, match=None: warns(expected)
        options = ["-q", "-pno:nengo", "-pno:cacheprovider", "-Wignore", "-c/dev/null"]
        return pytest.main([*options, "--rootdir", folder, str(target)], plugins=[Plugin()])


if __name__ == "__main__":
    sys.exit(main())
