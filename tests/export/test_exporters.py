"""Exported files give the model's spikes. An export that does not work is refused, and leaves nothing behind."""

import os

import keras
import numpy as np
import pytest
from contracts.test_exports import MAIN, images, model_of

import keras_snn
from keras_snn import export, files
from keras_snn.export import exporters
from keras_snn.layers import LIF, Lowpass, NoisyLIF, RankOrder, Repeat, SpikingActivation, TemporalAveragePooling
from keras_snn.ops.backend import exported

BACKEND = keras.config.backend()
TIME, UNITS = 6, 4
#: The format that a backend writes fastest.
FASTEST = "onnx" if BACKEND == "torch" else "saved_model"
ENDINGS = {"saved_model": "", "litert": ".tflite", "onnx": ".onnx"}
PACKAGES = {
    "saved_model": "tensorflow",
    "litert": "tensorflow",
    "onnx": {"tensorflow": "tf2onnx", "torch": "onnxscript", "jax": "jax2onnx"}[BACKEND],
}
#: Layers that jax2onnx does not support.
NOT_IN_JAX_ONNX = {"SpikingActivation", "NoisyLIF", "Delay", "FirstSpikeTime", "Resonance", "Poisson", "Latency"} | {
    *("Phase", "Population", "Interval")
}
formats = pytest.mark.parametrize(
    "kind",
    [
        pytest.param("saved_model", marks=pytest.mark.skipif(BACKEND == "torch", reason="not on PyTorch")),
        pytest.param("litert", marks=pytest.mark.tensorflow("Keras exports to LiteRT from TensorFlow")),
        "onnx",
    ],
)


def data(batch, seed=1):
    """Return inputs in multiples of 1 / 8: with such weights, sums are exact in any order."""
    return (np.random.default_rng(seed).integers(0, 17, size=(batch, TIME, UNITS)) / 8).astype("float32")


def exact(shape, dtype=None):
    """Initialize weights with multiples of 1 / 8."""
    return np.random.default_rng(0).integers(-3, 7, size=shape).astype("float32") / 8


def dense(units):
    return keras.layers.Dense(units, kernel_initializer=exact)


def spiking(**options):
    """Return a model whose outputs are the spikes of its last layer."""
    inputs = keras.Input((TIME, UNITS), **options)
    x = SpikingActivation("relu", dt=0.5, seed=0)(dense(5)(inputs))
    return keras.Model(inputs, LIF(tau=4.0, decay_input=False, reset="subtract")(dense(3)(x)))


def still():
    return keras.Sequential([keras.Input((UNITS,)), dense(5), Repeat(TIME), LIF(), dense(3), TemporalAveragePooling()])


def spikes(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False))


def runner(path):
    """Return a function that runs an exported file on one array."""
    if path.endswith(".tflite"):
        run = exported.litert_runner(path)
        return lambda x: next(iter(run({"x": x}).values()))
    if path.endswith(".onnx"):
        run = exported.onnx_runner(path)
        return lambda x: run([x])[0]
    return exported.saved_model_endpoints(path)["serve"]


def export_to(folder, model, kind, **options):
    pytest.importorskip(PACKAGES[kind], reason="the package of the exporter is not installed")
    return getattr(export, kind)(model, str(folder / f"exported{ENDINGS[kind]}"), **options)


@formats
def test_spikes_of_the_file_are_those_of_the_model(kind, tmp_path, capsys):
    model = spiking()
    fixed = {"batch_size": 2} if kind == "onnx" and BACKEND != "tensorflow" else {}
    if kind == "onnx" and BACKEND == "jax":
        model = keras.Sequential([keras.Input((TIME, UNITS)), dense(3), LIF(tau=4.0, decay_input=False)])
    result = export_to(tmp_path, model, kind, **fixed)
    assert capsys.readouterr().out == ""
    assert (result.max_difference, result.silent) == (0, ())
    assert os.listdir(tmp_path) == [os.path.basename(result.path)]
    run = runner(result.path)
    for batch in (2,) if fixed else (1, 3):
        x = data(batch)
        expected = spikes(model, x)
        assert 0.1 < expected.mean() < 0.9
        np.testing.assert_array_equal(run(x), expected)


@formats
@pytest.mark.nightly("all layers, in the model and in a model of one step")
@pytest.mark.parametrize("one_step", [False, True])
def test_all_layers(kind, one_step, tmp_path):
    lacking = {"RankOrder", "OscillationLIF"} if kind == "onnx" else set()
    if BACKEND == "torch":
        lacking |= {"Phase"}
    if BACKEND == "jax":
        lacking |= {"TopKMask"} if kind == "saved_model" else NOT_IN_JAX_ONNX
    if one_step:  # of a time axis of the inputs
        lacking |= {name for name, row in MAIN.items() if not row.has_time} | {"PlasticConnection"}
    model = model_of([name for name in MAIN if name not in lacking])
    x = images(2, seed=1)
    if one_step:
        model = export.step_model(model)
        x = {"x": x[:, 0], **export.initial_states(model, 2)}
    result = export_to(tmp_path, model, kind, x=x, batch_size=2)
    assert result.max_difference < 1e-5


@pytest.mark.skipif(BACKEND == "torch", reason="not on PyTorch")
def test_states_continue_until_reset(tmp_path):
    inputs = keras.Input((TIME, UNITS), batch_size=2)
    # Lowpass has initial states that are weights.
    x = Lowpass(0.1, dt=0.01, stateful=True, level_initializer="ones")(dense(5)(inputs))
    model = keras.Model(inputs, LIF(tau=8.0, reset="subtract", stateful=True)(dense(3)(x)))
    x = 8 * data(2)
    first, second = spikes(model, x), spikes(model, x)
    assert (first != second).any()
    result = export_to(tmp_path, model, "saved_model", x=x)
    assert result.max_difference == 0
    endpoints = exported.saved_model_endpoints(result.path)
    served = [endpoints["serve"](x) for _ in range(2)]
    endpoints["reset"]()
    served.append(endpoints["serve"](x))
    np.testing.assert_array_equal(served, [first, second, first])
    third = spikes(model, x)  # the export changed no state of the model
    keras_snn.reset_states(model)
    np.testing.assert_array_equal([spikes(model, x) for _ in range(3)], [first, second, third])


@pytest.mark.skipif(BACKEND == "torch", reason="not on PyTorch")
def test_random_numbers_continue_from_those_of_the_model(tmp_path):
    model = keras.Sequential([keras.Input((TIME, UNITS)), dense(5), SpikingActivation("relu", dt=0.25)])
    run = runner(export_to(tmp_path, model, "saved_model").path)
    x = data(2)
    served = [run(x) for _ in range(2)]
    np.testing.assert_array_equal(served, [spikes(model, x) for _ in range(2)])
    assert (served[0] != served[1]).any()


@pytest.mark.skipif(BACKEND == "torch", reason="not on PyTorch")
def test_a_saved_model_is_replaced_and_another_folder_is_not(tmp_path):
    model = still()
    path = tmp_path / "served"
    path.mkdir()
    (path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="must be a new folder, or one with the file 'saved_model.pb'"):
        export.saved_model(model, path)
    assert os.listdir(path) == ["notes.txt"]
    (path / "saved_model.pb").touch()
    export.saved_model(model, path, batch_size=1)
    assert os.listdir(tmp_path) == ["served"]
    assert not (path / "notes.txt").exists()


@pytest.mark.parametrize("broken", ["other outputs", "does not run"])
def test_a_wrong_file_is_deleted(broken, tmp_path, monkeypatch):
    def run(*_):
        if broken == "does not run":
            raise OSError("no such operation")
        return [np.full((2, 3), 7.0)]

    monkeypatch.setattr(exported, "onnx_runner", lambda path: run)
    monkeypatch.setattr(exported, "saved_model_endpoints", lambda path: {"serve": run})
    message = "the tolerance is 1e-05. The file was deleted" if broken == "other outputs" else "no such operation"
    with pytest.raises(RuntimeError, match=message):
        export_to(tmp_path, still(), FASTEST)
    assert os.listdir(tmp_path) == []
    if FASTEST == "onnx":
        files.write_text(tmp_path / "exported.onnx", "the file before")
        with pytest.raises(RuntimeError, match=message):
            export_to(tmp_path, still(), FASTEST)
        assert (tmp_path / "exported.onnx").read_text() == "the file before"


@pytest.mark.filterwarnings("ignore")  # warnings of the exporters, which `verbose` shows
def test_silent_layers_and_the_text_of_verbose(tmp_path, capfd):
    model = still()
    model.layers[0].set_weights([np.zeros((UNITS, 5)), np.zeros(5)])
    result = export_to(tmp_path, model, FASTEST, verbose=True)
    assert result.silent == (model.layers[2].name,)
    assert f"No spikes in {model.layers[2].name}: pass `x`" in capfd.readouterr().out


def refusals():
    """Yield a name, a function that makes a model, a format, its options, the error and its text."""
    here = f"it is {BACKEND!r}. Nothing was written. Save the model with model.save"
    yield "not a model", lambda: "model", "saved_model", {}, TypeError, "must be a Keras model; got str"
    if BACKEND == "torch":
        yield (
            "saved_model",
            spiking,
            "saved_model",
            {},
            ValueError,
            f"tensorflow or jax to write SavedModel files; {here}",
        )
        yield "open batch", spiking, "onnx", {}, ValueError, "SpikingActivation.*pass `batch_size`"
    if BACKEND != "tensorflow":
        yield "litert", spiking, "litert", {}, ValueError, f"tensorflow to write LiteRT files; {here}"
    else:
        noisy = [keras.Input((TIME, UNITS)), NoisyLIF(seed=0)]
        yield "Gaussian", lambda: keras.Sequential(noisy), "litert", {}, ValueError, "make it with noise='uniform'"
    yield "not built", lambda: keras.Sequential([LIF()]), FASTEST, {}, ValueError, "must be built"
    yield "batch", lambda: spiking(batch_size=3), FASTEST, {"batch_size": 2}, ValueError, "must be 3.*or None; got 2"
    yield "few samples", spiking, FASTEST, {"batch_size": 2, "x": data(1)}, ValueError, "at least 2 samples.*got 1"
    yield "path", still, "onnx", {"path": "model.tflite"}, ValueError, "must end with '.onnx'; got"
    if BACKEND != "jax":  # its exporter to ONNX is not among the extras
        ranked = [keras.Input((UNITS,)), RankOrder(TIME), LIF()]
        yield "RankOrder", lambda: keras.Sequential(ranked), "onnx", {"batch_size": 1}, ValueError, "use Latency"
        random = [keras.Input((TIME, UNITS)), SpikingActivation("relu")]
        yield "random", lambda: keras.Sequential(random), "onnx", {"batch_size": 1}, ValueError, "an integer `seed`"
        stateful = [keras.Input((TIME, UNITS), batch_size=2), LIF(stateful=True)]
        yield "stateful", lambda: keras.Sequential(stateful), "onnx", {}, ValueError, "keras_snn.export.step_model"
    if (BACKEND, FASTEST) != ("tensorflow", "saved_model"):
        open_time = [keras.Input((None, UNITS)), LIF()]
        yield "open time", lambda: keras.Sequential(open_time), FASTEST, {}, ValueError, "a known number of steps"


@pytest.mark.parametrize(
    ("make", "kind", "options", "error", "text"), [pytest.param(*r[1:], id=r[0]) for r in refusals()]
)
def test_refusals(make, kind, options, error, text, tmp_path, monkeypatch):
    if "onnx" in (kind, FASTEST):
        pytest.importorskip("onnxruntime", reason="the extra `exports` is not installed")
    model = make()
    monkeypatch.setattr(keras.Model, "export", None)
    monkeypatch.setattr(keras.export, "ExportArchive", None)
    path = tmp_path / options.pop("path", f"exported{ENDINGS[kind]}")
    with pytest.raises(error, match=text):
        getattr(export, kind)(model, path, **options)
    assert os.listdir(tmp_path) == []


def test_a_missing_package_names_the_extra(monkeypatch, tmp_path):
    find = exporters.refusals.importlib.util.find_spec
    monkeypatch.setattr(
        exporters.refusals.importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name)
    )
    with pytest.raises(ImportError, match=r"onnxruntime: pip install .*'keras_snn\[exports\]'"):
        export.onnx(still(), tmp_path / "model.onnx")


@pytest.mark.tensorflow("the remedy for LiteRT")
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_int8(tmp_path):
    """Keras's int8 models are exported to SavedModel and ONNX; LiteRT quantizes by itself."""
    import tensorflow as tf

    # Large layers: LiteRT leaves small ones in float.
    model = keras.Sequential(
        [keras.Input((UNITS,)), keras.layers.Dense(256), Repeat(2), LIF(), keras.layers.Dense(256)]
    )
    sizes = [
        os.path.getsize(export_to(tmp_path, model, "litert", x=data(8)[:, 0], tolerance=0.1, **options).path)
        for options in ({}, {"optimizations": [tf.lite.Optimize.DEFAULT]})
    ]
    assert sizes[1] < 0.5 * sizes[0]
    model.quantize("int8")
    with pytest.raises(ValueError, match="before `quantize`, with optimizations="):
        export_to(tmp_path, model, "litert")
    assert export_to(tmp_path, model, "onnx", x=data(2)[:, 0]).max_difference < 1e-5
