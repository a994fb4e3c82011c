"""A file of an earlier version gives the recorded outputs on each backend. Loading a file executes no code in it."""

import ast
import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_snn
from keras_snn import files
from keras_snn.layers import (
    ALIF,
    LIF,
    Alpha,
    Lowpass,
    Poisson,
    RecurrentLIF,
    Repeat,
    SpikingActivation,
    Synaptic,
    TemporalAveragePooling,
    TimeFold,
)

FOLDER = Path(__file__).parent / "saved_models"
PACKAGE = Path(keras_snn.__file__).parent
VERSIONS = sorted(path.stem for path in FOLDER.glob("*.keras"))


def write(version):
    """Write a model and its outputs to ``saved_models``: once for a version, never again."""
    still = keras.Input((4,), name="still")
    x = Repeat(8)(keras.layers.Dense(6)(still))
    parts = [
        SpikingActivation("relu", dt=0.25, seed=1)(x),
        LIF(learn=("tau", "threshold"), per="channel", surrogate=keras_snn.surrogates.Sigmoid(3.0), refractory=1)(x),
        ALIF(reset="subtract")(x),
        Synaptic(tau=4.0)(x),
        RecurrentLIF()(x),
        Poisson(8, seed=2)(keras.layers.Activation("sigmoid")(still)),
    ]
    spikes = keras.layers.Concatenate(name="spikes")(parts)
    y = Alpha(0.05, dt=0.01)(Lowpass(0.1, dt=0.01, level_initializer="ones")(TimeFold(keras.layers.Dense(3))(spikes)))
    model = keras.Model(still, [spikes, TemporalAveragePooling()(y)])
    rng = np.random.default_rng(0)
    for weight in model.weights:  # multiples of 1 / 8: sums are exact in any order
        if "kernel" in weight.name:
            weight.assign(rng.integers(-3, 7, size=weight.shape) / 8)
    inputs = (rng.integers(0, 17, size=(5, 4)) / 8).astype("float32")
    spikes, means = (keras.ops.convert_to_numpy(y) for y in model(inputs))
    path = FOLDER / f"{version}.keras"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:  # smaller
        for name, content in members.items():
            archive.writestr(name, content)
    np.savez_compressed(FOLDER / f"{version}.npz", inputs=inputs, spikes=spikes, means=means)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_of_a_version_gives_the_recorded_outputs(version):
    model = files.load_model(FOLDER / f"{version}.keras")
    recorded = files.load_arrays(FOLDER / f"{version}.npz", "recorded outputs", ("inputs", "spikes", "means"))
    spikes, means = (keras.ops.convert_to_numpy(y) for y in model(recorded["inputs"], training=False))
    assert 0.05 < (recorded["spikes"] != 0).mean() < 0.95
    np.testing.assert_array_equal(spikes, recorded["spikes"])
    np.testing.assert_allclose(means, recorded["means"], rtol=1e-5)  # sums in another order differ by 1e-6


def test_there_is_a_file_and_it_is_small():
    assert VERSIONS
    assert max(path.stat().st_size for path in FOLDER.iterdir()) < 50_000


@pytest.mark.parametrize("wrap", [lambda layer: layer, TimeFold], ids=["layer", "wrapped"])
def test_a_file_with_a_lambda_is_refused(wrap, tmp_path):
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((3, 4)), wrap(keras.layers.Lambda(lambda x: 2 * x))]).save(path)
    with pytest.raises(ValueError, match=r"(?s)cannot be loaded as a Keras model.*Lambda.*arbitrary code"):
        files.load_model(path)


@pytest.mark.parametrize("name", ["system", "remove"])
def test_a_file_with_another_module_as_activation_is_refused(name, tmp_path):
    keras.Sequential([keras.Input((3, 4)), SpikingActivation("relu")]).save(tmp_path / "model.keras")
    function = {"module": "os", "class_name": "function", "config": name, "registered_name": name}
    crafted = tmp_path / "crafted.keras"
    with zipfile.ZipFile(tmp_path / "model.keras") as source, zipfile.ZipFile(crafted, "w") as target:
        for member in source.namelist():
            content = source.read(member)
            if member == "config.json":
                changed = content.replace(b'"activation": "relu"', b'"activation": ' + json.dumps(function).encode())
                assert changed != content
                content = changed
            target.writestr(member, content)
    with pytest.raises(ValueError, match="cannot be loaded as a Keras model"):
        files.load_model(crafted)


def unsafe_calls(source):
    """Return the lines of a source that may load code: pickles, and arrays of Python objects."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            if {name.partition(".")[0] for name in names} & {"pickle", "marshal", "shelve", "dill", "joblib"}:
                found.append(node.lineno)
        if isinstance(node, ast.Call):
            name, keywords = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            is_load = name in ("np.load", "numpy.load", "np.lib.format.read_array")
            if name in ("eval", "exec", "torch.load") or (is_load and keywords.get("allow_pickle") != "False"):
                found.append(node.lineno)
            if name.endswith("models.load_model") and keywords.get("safe_mode") != "True":
                found.append(node.lineno)
    return found


def test_the_package_loads_no_code():
    sources = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    assert {path: lines for path, source in sources.items() if (lines := unsafe_calls(source))} == {}
    for source in (
        "import pickle",
        "from pickle import loads",
        "np.load(f)",
        "np.load(f, allow_pickle=True)",
        "eval('1')",
    ):
        assert unsafe_calls(source) == [1]
    assert unsafe_calls("np.load(f, allow_pickle=False)") == []
