import json

import keras
import numpy as np
import pytest

from keras_snn import data, layers
from keras_snn.conversion import convert
from keras_snn.experiments import conversion
from keras_snn.experiments.conversion import experiment

#: Multiples of the batch size, so that one size is compiled.
TINY = {
    "epochs": 1,
    "width": 0.125,
    "n_train": 256,
    "n_test": 56,
    "n_calibration": 64,
    "n_inspected": 8,
    "steps": [2, 8],
}

pytestmark = pytest.mark.backend_free


@pytest.fixture(scope="module")
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(experiment.PRESETS, "quick", {**experiment.PRESETS["quick"], **TINY})
        kinds = {name: experiment.KINDS[name] for name in ("spiking activation", "if, by channel")}
        patch.setattr(experiment, "KINDS", kinds)
        yield


def test_a_run_and_its_repetition_with_the_same_seed(tiny, tmp_path, capsys, monkeypatch):
    """A second run starts again after a finished run, and gives the same figures."""
    results = conversion.EXPERIMENT.run(out=tmp_path, only=["mlp"], seed=3)
    assert json.loads((tmp_path / "results.json").read_text()) == results
    part = results["parts"]["mlp"]
    assert list(part["kinds"]) == list(experiment.KINDS)
    for kind in part["kinds"].values():
        assert [len(kind[name]) for name in ("accuracy", "spikes", "synaptic_operations")] == [2, 2, 2]
        assert kind["spikes"][1] > 2 * kind["spikes"][0]
        assert len(kind["report"]) == 2
    printed = capsys.readouterr().out
    assert "T = 8" in printed
    clipped = [f"{100 * fit['clipped']:.2f}" for fit in part["kinds"]["if, by channel"]["report"].values()]
    assert f"if, by channel      {' / '.join(clipped)}" in printed
    assert conversion.table(results) in printed
    assert {"accuracy.png", "spikes.png"} <= {path.name for path in tmp_path.iterdir()}

    random_kind = "spiking activation"  # the first kind, so that its draws are the same
    monkeypatch.setattr(experiment, "KINDS", {random_kind: experiment.KINDS[random_kind]})
    repeated = conversion.EXPERIMENT.run(out=tmp_path, only=["mlp"], seed=3, verbose=False)["parts"]["mlp"]
    assert repeated["seconds_per_epoch"] != part["seconds_per_epoch"]  # measured in each run
    part["kinds"] = {random_kind: part["kinds"][random_kind]}
    for each in (part, repeated):
        assert each.pop("seconds_per_epoch") > 0
        kind = each["kinds"][random_kind]
        kind["report"] = [{**fit, "name": None} for fit in kind["report"].values()]  # Keras numbers new layers
    assert part == repeated


DEEPER = pytest.mark.nightly("a deeper network")


@pytest.mark.parametrize(
    ("name", "shape", "n_hidden"), [("cnn", (28, 28, 1), 4), pytest.param("resnet", (32, 32, 3), 7, marks=DEEPER)]
)
def test_the_networks_with_convolutions_are_converted(name, shape, n_hidden):
    """Convolutional networks are converted and evaluated. Untrained: the run is the same for all networks."""
    model = experiment.NETWORKS[name](shape, 0.125)
    x = np.random.default_rng(0).uniform(size=(4, *shape)).astype("float32")
    spiking = convert(model, n_steps=3, calibration=x, per="channel")
    assert len([layer for layer in spiking.layers if isinstance(layer, layers.IF)]) == n_hidden
    (accuracy,) = experiment.accuracies(spiking, x, np.arange(4), [3])
    assert accuracy == np.mean(keras.ops.convert_to_numpy(spiking(x)).argmax(axis=1) == np.arange(4))


@pytest.mark.every_backend
def test_accuracies_after_k_steps_equal_those_of_shorter_runs():
    """Accuracies after 1 and 7 of 20 steps equal those of shorter runs, for neurons with a fixed initial potential."""
    (x, y), _ = data.load("fashion_mnist_sample")
    x, y = x[:192, ..., None], y[:192]
    keras.utils.set_random_seed(0)
    model = experiment.NETWORKS["mlp"](x.shape[1:], 0.25)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=3, verbose=0)
    accuracies = experiment.accuracies(convert(model, n_steps=20, calibration=x), x, y, [1, 7, 20], batch_size=64)
    for n_steps, accuracy in zip([1, 7, 20], accuracies, strict=True):
        outputs = keras.ops.convert_to_numpy(convert(model, n_steps=n_steps, calibration=x)(x))
        assert accuracy == np.mean(outputs.argmax(axis=1) == y)
    assert accuracies[0] < accuracies[2]
