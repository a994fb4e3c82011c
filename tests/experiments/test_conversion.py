import json

import keras
import numpy as np
import pytest

from keras_snn import data
from keras_snn.conversion import convert
from keras_snn.experiments import conversion
from keras_snn.experiments.conversion import experiment

TINY = {
    "epochs": 1,
    "width": 0.125,
    "n_train": 256,
    "n_test": 60,
    "n_calibration": 50,
    "n_inspected": 10,
    "steps": [2, 8],
}


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(conversion.PRESETS, "quick", {**conversion.PRESETS["quick"], **TINY})
    kinds = {name: experiment.KINDS[name] for name in ("if, by channel", "spiking activation")}  # each is compiled
    monkeypatch.setattr(experiment, "KINDS", kinds)


def test_run(tiny, tmp_path, capsys):
    results = conversion.run(out=tmp_path, only=["cnn"])
    assert json.loads((tmp_path / "results.json").read_text()) == results
    part = results["parts"]["cnn"]
    assert list(part["kinds"]) == list(experiment.KINDS)
    for kind in part["kinds"].values():
        assert [len(kind[name]) for name in ("accuracy", "spikes", "synaptic_operations")] == [2, 2, 2]
        assert kind["spikes"][1] > 2 * kind["spikes"][0]
        assert len(kind["report"]) == 4
    printed = capsys.readouterr().out
    assert "T = 8" in printed
    assert conversion.table(results) in printed
    assert {"accuracy.png", "spikes.png"} <= {path.name for path in tmp_path.iterdir()}


def test_the_same_seed_gives_the_same(tiny, tmp_path):
    """A finished run is made anew."""
    parts = [conversion.run(out=tmp_path, only=["mlp"], seed=3, verbose=False)["parts"]["mlp"] for _ in range(2)]
    for part in parts:
        assert part.pop("seconds_per_epoch") > 0
        for kind in part["kinds"].values():
            kind["report"] = [{**fit, "name": None} for fit in kind["report"].values()]  # Keras goes on counting
    assert parts[0] == parts[1]


def test_one_long_run_says_what_shorter_ones_say():
    """Of a network whose neurons start from a fixed potential: accuracies after 1 and 7 of 20 steps."""
    (x, y), _ = data.load("fashion_mnist_sample")
    x, y = x[:200, ..., None], y[:200]
    keras.utils.set_random_seed(0)
    model = experiment.NETWORKS["mlp"](x.shape[1:], 0.25)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=3, verbose=0)
    found = experiment.accuracies(convert(model, n_steps=20, calibration=x), x, y, [1, 7, 20], batch_size=64)
    for n_steps, accuracy in zip([1, 7, 20], found, strict=True):
        spiking = convert(model, n_steps=n_steps, calibration=x)
        np.testing.assert_allclose(accuracy, spiking.evaluate(x, y, verbose=0)[1], rtol=1e-6)
    assert found[0] < found[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "imagenet"}, "`dataset`"),
        ({"only": ["resnet"]}, "`only`"),
        ({"preset": "slow"}, "`preset`"),
        ({"dataset": "mnist", "data_name": "sample"}, "is of Fashion-MNIST"),
    ],
)
def test_bad_arguments(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        conversion.run(out=tmp_path, **options)
