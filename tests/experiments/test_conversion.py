import json

import keras
import numpy as np
import pytest

from keras_snn import data, layers
from keras_snn.conversion import convert
from keras_snn.experiments import conversion
from keras_snn.experiments.conversion import experiment

#: Whole batches: every other size is compiled too.
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
        kinds = {name: experiment.KINDS[name] for name in ("spiking activation", "if, by channel")}  # each is compiled
        patch.setattr(experiment, "KINDS", kinds)
        yield


def test_run_and_the_same_seed_gives_the_same(tiny, tmp_path, capsys, monkeypatch):
    """A finished run starts anew."""
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

    random = "spiking activation"  # the first, so that its draws are those of before
    monkeypatch.setattr(experiment, "KINDS", {random: experiment.KINDS[random]})
    again = conversion.EXPERIMENT.run(out=tmp_path, only=["mlp"], seed=3, verbose=False)["parts"]["mlp"]
    assert again["seconds_per_epoch"] != part["seconds_per_epoch"]  # it is measured, twice
    part["kinds"] = {random: part["kinds"][random]}
    for each in (part, again):
        assert each.pop("seconds_per_epoch") > 0
        kind = each["kinds"][random]
        kind["report"] = [{**fit, "name": None} for fit in kind["report"].values()]  # Keras continues to count
    assert part == again


DEEPER = pytest.mark.nightly("the same for a deeper network")


@pytest.mark.parametrize(
    ("name", "shape", "n_hidden"), [("cnn", (28, 28, 1), 4), pytest.param("resnet", (32, 32, 3), 7, marks=DEEPER)]
)
def test_the_networks_with_convolutions_are_converted(name, shape, n_hidden):
    """Without a training: the run treats all networks in the same way."""
    model = experiment.NETWORKS[name](shape, 0.125)
    x = np.random.default_rng(0).uniform(size=(4, *shape)).astype("float32")
    spiking = convert(model, n_steps=3, calibration=x, per="channel")
    assert len([layer for layer in spiking.layers if isinstance(layer, layers.IF)]) == n_hidden
    (found,) = experiment.accuracies(spiking, x, np.arange(4), [3])
    assert found == np.mean(keras.ops.convert_to_numpy(spiking(x)).argmax(axis=1) == np.arange(4))


@pytest.mark.every_backend
def test_one_long_run_equals_shorter_runs():
    """For neurons with a fixed initial potential: the accuracies after 1 and 7 of 20 steps."""
    (x, y), _ = data.load("fashion_mnist_sample")
    x, y = x[:192, ..., None], y[:192]
    keras.utils.set_random_seed(0)
    model = experiment.NETWORKS["mlp"](x.shape[1:], 0.25)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=3, verbose=0)
    found = experiment.accuracies(convert(model, n_steps=20, calibration=x), x, y, [1, 7, 20], batch_size=64)
    for n_steps, accuracy in zip([1, 7, 20], found, strict=True):
        outputs = keras.ops.convert_to_numpy(convert(model, n_steps=n_steps, calibration=x)(x))
        assert accuracy == np.mean(outputs.argmax(axis=1) == y)
    assert found[0] < found[2]
