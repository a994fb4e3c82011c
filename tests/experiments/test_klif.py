"""KLIF against LIF, with a narrow network and a small synthetic image set."""

import csv
import dataclasses
import json

import keras
import numpy as np
import pytest
from reference.images import bars
from reference.interruption import interrupt_second_epoch

from keras_snn import data, layers
from keras_snn.activations import LeakyReLU
from keras_snn.experiments import images, training
from keras_snn.experiments.klif import EXPERIMENT, PUBLISHED, experiment, table
from keras_snn.experiments.spec import configuration

TINY = {"width": 0.02, "n_steps": 2, "batch_size": 20, "n_train": 60, "n_test": 20}
SHALLOW = (128, "pool", "pool", "pool")  # the encoder; with two dense layers, three layers of neurons

pytestmark = pytest.mark.backend_free


@pytest.fixture(autouse=True, scope="module")
def tiny():
    """Reduce the networks and the data of the quick preset, so that it runs in seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "load", lambda *_: bars(70, 30))
        patch.setitem(experiment.PRESETS, "quick", {**experiment.PRESETS["quick"], **TINY})
        net = dataclasses.replace(experiment.NETS["fashion_mnist"], blocks=SHALLOW)
        patch.setitem(experiment.NETS, "fashion_mnist", net)
        yield


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Train two kinds for two epochs; return the results, their folder, and the networks."""
    out, networks = tmp_path_factory.mktemp("results"), []
    build = experiment.klif_net

    def klif_net(*args, **kwargs):
        networks.append(build(*args, **kwargs))
        return networks[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "klif_net", klif_net)
        record = EXPERIMENT.run(epochs=2, only=["lif", "klif, one branch"], n_seeds=1, seed=3, out=out, verbose=False)
    return record, out, networks


@pytest.fixture
def calls(results):
    """Return a list for the names and data of parts, and an experiment that calls networks without training them."""
    calls, result = [], results[0]["parts"]["lif, seed 3"]

    def train_part(part):
        config = part.config
        model = experiment.klif_net(config["dataset"], "lif", width=config["width"], n_steps=config["n_steps"])
        for x, y in part.data:
            assert model(keras.KerasTensor(x.shape)).shape == (len(y), 10)
        calls.append((part.name, part.data))
        return result

    return calls, dataclasses.replace(EXPERIMENT, train_part=train_part)


@pytest.mark.every_backend
def test_every_part_has_its_results(results):
    record, out, _ = results
    assert record["finished"]
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(record))
    assert list(record["parts"]) == ["lif, seed 3", "klif, one branch, seed 3"]
    lif, klif = record["parts"].values()
    for part in (lif, klif):
        assert len(part["accuracy"]) == len(part["train_accuracy"]) == len(part["seconds"]) == 2
        right = 20 * np.array(part["accuracy"])  # twenty test images
        np.testing.assert_allclose(right, np.round(right), atol=1e-4)
        assert len(part["spikes_per_step"]) == 3
        assert all(0 <= rate <= 1 for rate in part["spikes_per_step"])
    assert max(lif["spikes_per_step"]) > 0  # with a single branch, the current is too low for spikes
    assert lif["k"] == [[]] * 3
    assert klif["k"][0] == [1.0] * 3
    assert np.shape(klif["k"]) == (3, 3)
    assert klif["k"][2] != klif["k"][0]
    assert not list((out / "begun").iterdir())
    for picture in ("accuracy", "k", "spikes"):
        assert (out / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_networks_of_one_and_three_branches_differ_in_the_encoder(results):
    record, _, (three_branches, one_branch) = results
    assert (three_branches.get_layer("encoder").branches, one_branch.get_layer("encoder").branches) == (3, 1)
    kernels = [[w.shape for w in model.weights if w.path.endswith("kernel")] for model in (three_branches, one_branch)]
    assert len(kernels[0]) == 3
    assert kernels[0][1:] == kernels[1][1:]
    assert "klif, one branch  1 " in table(record)


def test_the_table_gives_means_and_deviations(results, tmp_path):
    """The table has mean and standard deviation over seeds, here of made-up results of two neurons and two seeds."""
    trained = results[0]["parts"]["klif, one branch, seed 3"]
    made_up = {}

    def train_part(part):
        made_up[part.name] = {**trained, "accuracy": [0.1, 0.2 + 0.15 * len(made_up) ** 2]}
        return {**made_up[part.name], "k": [[]] * 3} if part.kind == "lif" else made_up[part.name]

    without_training = dataclasses.replace(EXPERIMENT, train_part=train_part)
    record = without_training.run(epochs=2, only=["lif", "klif"], n_seeds=2, seed=3, out=tmp_path, verbose=False)
    assert list(record["parts"]) == ["lif, seed 3", "klif, seed 3", "lif, seed 4", "klif, seed 4"]
    lines = table(record).splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line.startswith(("lif ", "klif "))}
    for name, published in (("lif", "94.28"), ("klif", "94.35")):
        last = 100 * np.array([made_up[f"{name}, seed {seed}"]["accuracy"][-1] for seed in (3, 4)])
        assert rows[name][5:9] == [f"{last.mean():.2f}", "±", f"{last.std(ddof=1):.2f}", published]
        assert rows[name][1] == "2"
    assert "not run here" in lines[-1]
    assert "nothing follows" in lines[-3]
    assert "best of" not in table(record)


def full_configuration(dataset):
    """Return configuration and parts of a run with the full preset."""
    config = configuration(EXPERIMENT, preset="full", dataset=dataset)
    return config, EXPERIMENT.parts(config)


@pytest.mark.parametrize("dataset", EXPERIMENT.entry.datasets)
def test_the_full_preset_has_the_published_settings(dataset):
    config, kinds = full_configuration(dataset)
    assert set(PUBLISHED[dataset]) <= set(kinds)
    assert {"klif, celu", "klif, leaky relu"} <= set(kinds)
    assert config["epochs"] == (200 if dataset == "cifar10" else 100)
    assert config["n_steps"] == {"fashion_mnist": 8, "mnist": 8, "cifar10": 10, "nmnist": 10}.get(dataset, 6)


@pytest.mark.parametrize(("dataset", "n_neurons"), [("cifar10_vgg16", 16), ("cifar10_resnet18", 18)])
def test_the_deep_networks(dataset, n_neurons):
    """The ablation only changes the encoder and keeps the votes. Chapter 3 has other settings."""
    config, kinds = full_configuration(dataset)
    config = {**config, "width": 0.02}
    networks = {}
    for name in ("klif, leaky relu", "klif, three branches", "lif, chapter 3"):
        assert name in kinds
        model = experiment._network(experiment.KINDS[name], config)
        (*_, last) = (layer for layer in model.layers if isinstance(layer, layers.SpikingNeuron))
        n = sum(isinstance(layer, layers.SpikingNeuron) for layer in model.layers)
        networks[name] = (n, model.get_layer("encoder").branches, last.output.shape[1:], last.decay_input)
        if name == "klif, leaky relu":
            assert last.activation == LeakyReLU(0.01)
    assert networks == {
        "klif, leaky relu": (n_neurons, 1, (6, 100), True),
        "klif, three branches": (n_neurons, 3, (6, 100), True),
        "lif, chapter 3": (n_neurons, 1, (8, 10), False),
    }


def test_one_seed_has_no_deviation(results):
    assert not any("±" in line for line in table(results[0]).splitlines()[1:])


def test_an_interrupted_training_continues_after_its_last_epoch(results, tmp_path, monkeypatch):
    """An interrupted training continues after its last epoch, and gives the results of an uninterrupted one."""
    begun = interrupt_second_epoch(monkeypatch, experiment._EpochLog)
    options = {"epochs": 2, "only": ["klif, one branch"], "n_seeds": 1, "seed": 3, "out": tmp_path, "verbose": False}
    with pytest.raises(KeyboardInterrupt):
        EXPERIMENT.run(**options)
    (kept,) = (tmp_path / "begun").glob("*/epochs.csv")
    (first,) = csv.DictReader(kept.read_text().splitlines())
    (part,) = EXPERIMENT.run(**options)["parts"].values()
    assert begun == [0, 1, 1]
    assert len(part["accuracy"]) == 2
    assert part["accuracy"][0] == float(first["accuracy"])
    assert part["k"][:2] == [[1.0] * 3, json.loads(first["k"].strip('"'))]
    before = results[0]["parts"]["klif, one branch, seed 3"]
    # rtol: two threads sum over a batch, in any order.
    np.testing.assert_allclose(part["k"][:2], before["k"][:2], rtol=1e-3)
    assert part["k"][1] != part["k"][0]


def test_the_learning_rate_is_a_cosine_with_restarts():
    rate = training.cosine({"batch_size": 10, "epochs": 200, "learning_rate": 1e-4}, 95)
    at = [float(keras.ops.convert_to_numpy(rate(step))) for step in (0, 500, 999, 1000, 1500)]
    last = 1e-4 * (1 - np.cos(np.pi / 1000)) / 2
    np.testing.assert_allclose(at, [1e-4, 5e-5, last, 1e-4, 5e-5], rtol=1e-3, atol=1e-10)  # float32 near zero
    short = training.cosine({"batch_size": 10, "epochs": 2, "learning_rate": 1e-4}, 95)
    np.testing.assert_allclose(float(keras.ops.convert_to_numpy(short(10))), 5e-5, rtol=1e-4)


def test_frames_of_events(calls, tmp_path):
    calls, without_training = calls
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", 6), ("test", 4)):
        arrays |= {f"{name}_{split}": rng.integers(0, 34, size=n * 50).astype("uint8") for name in ("x", "y")}
        arrays[f"p_{split}"] = rng.integers(0, 2, size=n * 50).astype("uint8")
        arrays[f"t_{split}"] = np.tile(np.arange(50), n).astype("uint32")
        arrays[f"offset_{split}"] = 50 * np.arange(n + 1)
        arrays[f"label_{split}"] = np.arange(n)
    np.savez(tmp_path / "events.npz", **arrays)
    options = {"dataset": "nmnist", "epochs": 1, "n_seeds": 1, "only": ["lif"], "verbose": False}
    record = without_training.run(data_name=str(tmp_path / "events.npz"), out=tmp_path, **options)
    assert record["config"]["dataset"] == "nmnist"
    ((name, sets),) = calls
    assert name == "lif, seed 0"
    for (x, y), split, n in zip(sets, ("train", "test"), (6, 4), strict=True):
        assert x.shape == (n, 2, 34, 34, 2)
        assert x.sum() == 50 * n  # number of events
        np.testing.assert_array_equal(y, arrays[f"label_{split}"])
    with pytest.raises(ValueError, match="`data_name` must be 'simulated', a file of events, .*; got 'full'"):
        without_training.run(data_name="full", out=tmp_path, **options)
    assert configuration(EXPERIMENT, dataset="nmnist")["data"] == "simulated"


def test_cifar_takes_a_file_of_jpegs(calls, tmp_path, monkeypatch):
    calls, without_training = calls
    split = np.random.default_rng(0).uniform(size=(8, 32, 32, 3)).astype("float32"), np.arange(8)
    monkeypatch.setattr(data, "load", lambda name, path: (split, split))
    (tmp_path / "cifar.npz").write_bytes(b"")
    options = {"epochs": 1, "n_seeds": 1, "only": ["lif"], "verbose": False}
    record = without_training.run(dataset="cifar10", data_name=str(tmp_path / "cifar.npz"), out=tmp_path, **options)
    assert record["config"]["width"] == 0.0625
    ((name, sets),) = calls
    assert name == "lif, seed 0"
    for x, y in sets:
        np.testing.assert_array_equal(x, split[0])
        np.testing.assert_array_equal(y, split[1])
    with pytest.raises(ValueError, match="'full' or a path for 'cifar10'"):
        without_training.run(dataset="cifar10", data_name="sample", out=tmp_path, **options)
