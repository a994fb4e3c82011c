"""Training at one step with noise, with a small network and a small synthetic image set."""

import copy
import csv
import json

import keras
import numpy as np
import pytest
from reference.images import bars
from reference.interruption import interrupt_second_epoch

from keras_snn import layers
from keras_snn.experiments import images
from keras_snn.experiments.noise_training import EXPERIMENT, experiment, membrane, results, table
from keras_snn.experiments.spec import configuration

pytestmark = pytest.mark.backend_free

TINY = {"width": 0.03, "n_steps": 5, "batch_size": 20, "n_train": 60, "n_test": 20, "n_runs": 2, "direct_epochs": 1}


def small_net(input_shape=(28, 28, 1), n_classes=10, neuron=None, *, width=1.0, n_steps=1):
    """Return a network with one layer of neurons, which compiles faster than five layers."""
    x = inputs = keras.Input(input_shape)
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(x))
    x = layers.Repeat(n_steps)(keras.layers.BatchNormalization()(keras.layers.Dense(10)(x)))
    return keras.Model(inputs, layers.TemporalAveragePooling()(neuron()(x)))


@pytest.fixture(autouse=True, scope="module")
def tiny():
    """Reduce the network and the data of the quick preset, so that it runs in seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "load", lambda *_: bars(70, 30))
        patch.setattr(experiment, "ALPHAS", (4.0, None))  # each alpha is compiled
        patch.setitem(experiment.DATASETS, "fashion_mnist", (small_net, 200))
        patch.setitem(experiment.PRESETS, "quick", {**experiment.PRESETS["quick"], **TINY})
        yield


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    return EXPERIMENT.run(epochs=2, only=["gaussian", "direct"], n_seeds=1, seed=3, out=out, verbose=False), out


def test_every_part_has_its_results(found):
    found, out = found
    assert found["finished"]
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(found))
    assert list(found["parts"]) == ["gaussian, seed 3", "direct, seed 3"]
    alphas = ["alpha 4.0", "alpha None"]
    for name, part in found["parts"].items():
        n_epochs = 1 if name.startswith("direct") else 2
        assert len(part["accuracy"]) == len(part["train_accuracy"]) == len(part["seconds"]) == n_epochs
        assert list(part["at"]) == (["lif"] if name.startswith("direct") else ["lif", *alphas])
        for evaluated, figures in part["at"].items():
            n_images = 20 if evaluated == "lif" else 40  # twenty test images, in two runs
            for figure in ("accuracy", "ties"):
                counts = n_images * np.array(figures[figure])
                assert counts.shape == (5,)
                np.testing.assert_allclose(counts, np.round(counts), atol=1e-4)
    assert not list((out / "begun").iterdir())
    for picture in ("steps", "seconds", "membrane"):
        assert (out / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_direct_training_is_evaluated_after_its_last_epoch(found):
    """The accuracy of the trained network is that after the last epoch."""
    for name, part in found[0]["parts"].items():
        if name.startswith("direct"):
            assert part["accuracy"][-1] == part["at"]["lif"]["accuracy"][-1]


def test_the_table(found):
    found, _ = found
    found = copy.deepcopy(found)
    for kind in ("gaussian", "direct"):
        found["parts"][f"{kind}, seed 4"] = second_seed = copy.deepcopy(found["parts"][f"{kind}, seed 3"])
        for figures in second_seed["at"].values():
            figures["accuracy"] = [0.5 * share for share in figures["accuracy"]]
    lines = table(found).splitlines()
    rows = [line for line in lines if line.startswith(("gaussian", "direct"))]
    assert [row.split()[1] for row in rows[:4]] == ["LIF", "alpha", "alpha", "LIF"]
    for evaluated, row in (("alpha 4.0", rows[1]), ("alpha None", rows[2])):
        for k in (1, 5):
            runs = [found["parts"][f"gaussian, seed {seed}"]["at"][evaluated]["accuracy"][k - 1] for seed in (3, 4)]
            assert f"{100 * np.mean(runs):.2f} ± {100 * np.std(runs, ddof=1):.2f}" in row
    assert any("Published: 135 s against 528 s direct to 92 %, 3.9 times faster." in line for line in lines)
    assert any(line.startswith("published") and "93.89" in line for line in lines)


def test_one_seed_and_one_kind(found):
    one_part = {**found[0], "parts": {"uniform, seed 3": found[0]["parts"]["gaussian, seed 3"]}}
    assert not any("±" in line for line in table(one_part).splitlines()[2:])
    assert "Gaussian" not in table(one_part)


def part(accuracy, seconds, **at):
    return {"accuracy": accuracy, "seconds": seconds, "at": {name: {"accuracy": values} for name, values in at.items()}}


def test_the_race_ends_at_the_max_accuracy_that_both_reach():
    noisy = part([0.3, 0.5, 0.7, 0.6], [9.0, 1.5, 1.5, 2.0])
    direct = part([0.65, 0.8], [30.0, 20.0])
    # 0.7: after three epochs of 1.5 s (the fastest epoch), and after two of 20 s.
    assert results.race({"gaussian": [noisy], "direct": [direct]}) == [(0.7, 4.5, 40.0)]
    # 0.65: the max of direct training.
    direct = part([0.65, 0.6], [20.0, 20.0])
    assert results.race({"gaussian": [noisy], "direct": [direct]}) == [(0.65, 4.5, 20.0)]
    assert results.race({"gaussian": [noisy]}) == []


def test_the_rise_starts_at_the_trained_network():
    runs = [part([], [], **{"alpha 4.0": [0.6, 0.9], "alpha None": [0.5, 0.8]}) for _ in range(2)]
    np.testing.assert_allclose(results.rise(runs), [0.4, 0.4])


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """Interrupt a training and resume it; return the begun epochs, the saved figures of the first, and the result."""
    out = tmp_path_factory.mktemp("interrupted")
    options = {"epochs": 2, "only": ["gaussian"], "n_seeds": 1, "seed": 3, "out": out, "verbose": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "ALPHAS", (4.0,))
        begun = interrupt_second_epoch(patch, experiment._EpochLog)
        with pytest.raises(KeyboardInterrupt):
            EXPERIMENT.run(**options)
        (kept,) = (out / "begun").glob("*/epochs.csv")
        (row,) = csv.DictReader(kept.read_text().splitlines())
        first = {name: float(row[name]) for name in ("accuracy", "train_accuracy")}
        (resumed,) = EXPERIMENT.run(**options)["parts"].values()
    return begun, first, resumed


@pytest.mark.every_backend
def test_an_interrupted_training_continues_after_its_last_epoch(interrupted):
    begun, first, resumed = interrupted
    assert begun == [0, 1, 1]
    assert len(resumed["accuracy"]) == 2
    assert resumed["accuracy"][0] == first["accuracy"]


def test_the_same_seed_gives_the_same(found, interrupted):
    """Two runs with the same seed have the same first epoch. One of them was interrupted after it."""
    before = found[0]["parts"]["gaussian, seed 3"]
    _, first, _ = interrupted
    # atol: two threads sum over a batch in any order, which may change a spike: 5 of 60 images, 4 of 20.
    np.testing.assert_allclose(first["train_accuracy"], before["train_accuracy"][0], atol=0.1)
    np.testing.assert_allclose(first["accuracy"], before["accuracy"][0], atol=0.21)


def test_without_noise_the_memory_is_centered_at_zero():
    config = {"dataset": "mnist", "width": 0.02, "n_steps": 3, "statistics": "batch"}
    for noise, beta in ((None, 0.0), ("uniform", 0.5)):
        new = experiment._extended(experiment._network(config, noise, 1), noise, config, 4.0)
        neurons = [layer for layer in new.layers if isinstance(layer, layers.NoisyLIF)]
        assert {(layer.noise, layer.alpha, layer.beta) for layer in neurons} == {(noise, 4.0, beta)}


@pytest.mark.parametrize("dataset", ["mnist", "cifar10_vgg16", "cifar10_resnet18"])
def test_the_last_layer_of_the_networks_is_spikes_of_ten_units(dataset):
    config = {"dataset": dataset, "width": 0.02, "n_steps": 3, "statistics": "batch"}
    new = experiment._extended(experiment._network(config, "gaussian", 1), "gaussian", config, 4.0)
    shape = (28, 28, 1) if dataset == "mnist" else (32, 32, 3)
    assert new.input_shape == (None, *shape)
    assert new.layers[-1].input.shape == (None, 3, 10)


def test_the_full_preset_has_the_published_epochs():
    for dataset, epochs in (("mnist", 100), ("fashion_mnist", 200), ("cifar10_vgg16", 1000), ("cifar10_resnet18", 800)):
        config = configuration(EXPERIMENT, preset="full", dataset=dataset)
        assert (config["epochs"], config["learning_rate"], config["width"]) == (epochs, 1e-4, 1.0)
        assert config["direct_epochs"] == epochs


def test_the_membrane_of_figure_4_7_only_fires_with_input():
    """Without input, the membrane stays in [0, 1]. With input and the same noise, it exceeds 1, spikes and is reset."""
    quiet, silent = membrane.trace(0.0, n_steps=20)
    assert quiet.min() >= 0 and quiet.max() <= 1
    assert not silent.any()
    np.testing.assert_allclose(quiet.mean(axis=1), 0.5, atol=0.06)  # noise of 0.1, mean of 100 units
    h, spikes = membrane.trace(0.5, n_steps=20)
    np.testing.assert_array_equal(spikes, h > 1)
    assert 0 < spikes.mean() < 1
    np.testing.assert_allclose(h[0], quiet[0] + 0.5, rtol=1e-6)
    # The equations, from h: a = h / 2 without a spike, else 0.
    a = h[:-1] * (1 - spikes[:-1]) / 2
    centered = a - a.mean(axis=1, keepdims=True)
    memory = centered / (4 * np.abs(centered).max(axis=1, keepdims=True))
    first = quiet[:-1] / 2 - quiet[:-1].mean(axis=1, keepdims=True) / 2
    noise = quiet[1:] - first / (4 * np.abs(first).max(axis=1, keepdims=True))
    np.testing.assert_allclose(h[1:], memory + noise + 0.5, atol=1e-5)  # float32
