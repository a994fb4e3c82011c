"""The training of the experiment on a few images."""

import json
import types

import keras
import numpy as np
import pytest

from keras_snn import data, experiments
from keras_snn.experiments.spec import execute
from keras_snn.experiments.stdp_mnist import experiment, results
from keras_snn.models import DiehlCook

pytestmark = pytest.mark.backend_free


@pytest.fixture
def small(monkeypatch):
    """Replace MNIST by stripes, and the preset by two passes over six images with a network of four neurons."""
    x = np.zeros((8, 28, 28), "float32")
    for k, image in enumerate(x):
        image[14 * (k % 2) : 14 * (k % 2) + 8] = 0.9
    monkeypatch.setattr(data, "load", lambda name, **_: ((x[:6], np.arange(6) % 2), (x[6:], np.arange(2))))
    monkeypatch.setattr(experiment, "SIZES", (4,))
    monkeypatch.setattr(experiment, "PASSES", {4: 2})
    monkeypatch.setattr(results, "PASSES", {4: 2})
    monkeypatch.setattr(results, "PUBLISHED", {4: 0.5})
    sizes = {"epochs": 2, "n_labels": 6, "n_curve": 2, "chunk": 4}
    monkeypatch.setitem(experiment.PRESETS, "quick", {**experiment.PRESETS["quick"], **sizes})


@pytest.mark.every_backend
def test_the_network_of_the_experiment_learns():
    network = experiment.network(types.SimpleNamespace(kind="4 neurons", seed=0))
    network.fit(np.full((1, 28, 28), 0.9, "float32"), verbose=0)
    assert keras.ops.convert_to_numpy(network.theta).max() > 20  # mV; rises with each spike


def test_an_interrupted_run_continues_with_the_next_chunk(small, tmp_path, monkeypatch):
    run = experiments.get("stdp-mnist")
    whole = execute(run, out=tmp_path / "whole", only=["4 neurons"], verbose=False)
    (part,) = whole["parts"].values()
    assert [n for n, _ in part["curve"]] == [4, 6, 10, 12]
    assert [measured["n_passes"] for measured in part["passes"]] == [1, 2]
    assert "4 neurons" in results.table(whole)
    for picture in ("accuracy", "4-neurons-seed-0-fields", "4-neurons-seed-0-activity"):
        assert (tmp_path / "whole" / f"{picture}.png").read_bytes().startswith(b"\x89PNG")

    fit, n_calls = DiehlCook.fit, []

    def interrupted(*args, **kwargs):
        n_calls.append(1)
        if len(n_calls) == 3:
            raise KeyboardInterrupt
        return fit(*args, **kwargs)

    monkeypatch.setattr(DiehlCook, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        execute(run, out=tmp_path / "part", only=["4 neurons"], verbose=False)
    (saved,) = (tmp_path / "part" / "begun").glob("*/progress.json")
    assert json.loads(saved.read_text())["n_done"] == 6
    continued = execute(run, out=tmp_path / "part", only=["4 neurons"], verbose=False)
    assert len(n_calls) == 5  # two chunks, the interruption, the other two
    for name in ("passes", "curve", "n_retries", "n_given_up"):
        assert next(iter(continued["parts"].values()))[name] == part[name], name
    assert not saved.parent.exists()
