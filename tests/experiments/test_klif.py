"""KLIF against LIF, with a thin net on a set of a few synthetic images."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from reference.images import bars
from reference.interruption import interrupt_second_epoch

from keras_snn import cli, data, layers
from keras_snn.activations import LeakyReLU
from keras_snn.experiments import common, get, klif
from keras_snn.experiments.klif import PUBLISHED, experiment, run, table

TINY = {"width": 0.02, "n_steps": 2, "batch_size": 20, "n_train": 60, "n_test": 20}
SHALLOW = (128, "pool", "pool", "pool")  # the encoder alone; with the two dense layers, three layers of neurons

pytestmark = pytest.mark.backend_free


@pytest.fixture(autouse=True, scope="module")
def tiny():
    """Make the quick preset one of seconds, of networks that are compiled in seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment.common, "load", lambda *_: bars(70, 30))
        patch.setitem(experiment.PRESETS, "quick", {**experiment.PRESETS["quick"], **TINY})
        net = dataclasses.replace(experiment.NETS["fashion_mnist"], blocks=SHALLOW)
        patch.setitem(experiment.NETS, "fashion_mnist", net)
        yield


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Train two kinds, for two epochs; return results, folder, and the networks."""
    out, made = tmp_path_factory.mktemp("results"), []
    build = experiment.klif_net

    def klif_net(*args, **kwargs):
        made.append(build(*args, **kwargs))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "klif_net", klif_net)
        found = run(epochs=2, only=["lif", "klif, one branch"], n_seeds=1, seed=3, out=out, verbose=False)
    return found, out, made


@pytest.fixture
def asked(results, monkeypatch):
    """Replace the training by the call of the network; return the list of names, images and labels."""
    asked, part = [], results[0]["parts"]["lif, seed 3"]

    def run_one(name, sets, config, **_):
        model = experiment.klif_net(config["dataset"], "lif", width=config["width"], n_steps=config["n_steps"])
        for x, y in sets:
            assert model(keras.KerasTensor(x.shape)).shape == (len(y), 10)
        asked.append((name, sets))
        return part

    monkeypatch.setattr(experiment, "_run_one", run_one)
    return asked


@pytest.mark.every_backend
def test_every_neuron_is_there(results):
    found, out, _ = results
    assert found["finished"]
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(found))
    assert list(found["parts"]) == ["lif, seed 3", "klif, one branch, seed 3"]
    lif, klif = found["parts"].values()
    for part in (lif, klif):
        assert len(part["accuracy"]) == len(part["train_accuracy"]) == len(part["seconds"]) == 2
        right = 20 * np.array(part["accuracy"])  # of twenty test images
        np.testing.assert_allclose(right, np.round(right), atol=1e-4)
        assert len(part["spikes_per_step"]) == 3
        assert all(0 <= rate <= 1 for rate in part["spikes_per_step"])
    assert max(lif["spikes_per_step"]) > 0  # a single branch gives too little current
    assert lif["k"] == [[]] * 3
    assert klif["k"][0] == [1.0] * 3
    assert np.shape(klif["k"]) == (3, 3)
    assert klif["k"][2] != klif["k"][0]
    assert not list((out / "begun").iterdir())
    for picture in ("accuracy", "k", "spikes"):
        assert (out / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_one_branch_is_the_same_but_for_the_encoder(results):
    found, _, (three, one) = results
    assert (three.get_layer("encoder").branches, one.get_layer("encoder").branches) == (3, 1)
    kernels = [[w.shape for w in model.weights if w.path.endswith("kernel")] for model in (three, one)]
    assert len(kernels[0]) == 3
    assert kernels[0][1:] == kernels[1][1:]
    assert "klif, one branch  1 " in table(found)


def test_the_table_gives_means_and_deviations(results, tmp_path, monkeypatch):
    """Of two neurons and two seeds, with a training that is not one."""
    part = results[0]["parts"]["klif, one branch, seed 3"]
    of = {}

    def run_one(name, *_, **__):
        of[name] = {**part, "accuracy": [0.1, 0.2 + 0.15 * len(of) ** 2]}
        return {**of[name], "k": [[]] * 3} if name.startswith("lif") else of[name]

    monkeypatch.setattr(experiment, "_run_one", run_one)
    found = run(epochs=2, only=["lif", "klif"], n_seeds=2, seed=3, out=tmp_path, verbose=False)
    assert list(found["parts"]) == ["lif, seed 3", "klif, seed 3", "lif, seed 4", "klif, seed 4"]
    lines = table(found).splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line.startswith(("lif ", "klif "))}
    for name, published in (("lif", "94.28"), ("klif", "94.35")):
        last = 100 * np.array([of[f"{name}, seed {seed}"]["accuracy"][-1] for seed in (3, 4)])
        assert rows[name][5:9] == [f"{last.mean():.2f}", "±", f"{last.std(ddof=1):.2f}", published]
        assert rows[name][1] == "2"
    assert "not run here" in lines[-1]
    assert "nothing follows" in lines[-3]
    assert "best of" not in table(found)


def asked_of_full(dataset, monkeypatch, tmp_path):
    """Return the configuration and the kinds of a run with the full preset."""
    asked = {}

    def run_parts(out, config, names, *_, **__):
        asked.update(config=config, kinds=[name.removesuffix(", seed 0") for name in names])
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "_load", lambda config: bars(70, 30))
    monkeypatch.setattr(experiment.common, "run_parts", run_parts)
    with pytest.raises(KeyboardInterrupt):
        run(preset="full", dataset=dataset, out=tmp_path, verbose=False)
    return asked["config"], asked["kinds"]


@pytest.mark.parametrize("dataset", experiment.DATASETS)
def test_the_full_preset_runs_what_is_published(dataset, monkeypatch, tmp_path):
    config, kinds = asked_of_full(dataset, monkeypatch, tmp_path)
    assert set(PUBLISHED[dataset]) <= set(kinds)
    assert {"klif, celu", "klif, leaky relu"} <= set(kinds)
    assert config["epochs"] == (200 if dataset == "cifar10" else 100)
    assert config["n_steps"] == {"fashion_mnist": 8, "mnist": 8, "cifar10": 10, "nmnist": 10}.get(dataset, 6)


@pytest.mark.parametrize(("dataset", "n_neurons"), [("cifar10_vgg16", 16), ("cifar10_resnet18", 18)])
def test_the_deep_networks(dataset, n_neurons, monkeypatch, tmp_path):
    """The ablation varies the encoder alone and keeps the votes; chapter 3 has another set-up."""
    config, kinds = asked_of_full(dataset, monkeypatch, tmp_path)
    config = {**config, "width": 0.02}
    found = {}
    for name in ("klif, leaky relu", "klif, three branches", "lif, chapter 3"):
        assert name in kinds
        model = experiment._network(experiment.KINDS[name], config)
        (*_, last) = (layer for layer in model.layers if isinstance(layer, layers.SpikingNeuron))
        n = sum(isinstance(layer, layers.SpikingNeuron) for layer in model.layers)
        found[name] = (n, model.get_layer("encoder").branches, last.output.shape[1:], last.decay_input)
        if name == "klif, leaky relu":
            assert last.activation == LeakyReLU(0.01)
    assert found == {
        "klif, leaky relu": (n_neurons, 1, (6, 100), True),
        "klif, three branches": (n_neurons, 3, (6, 100), True),
        "lif, chapter 3": (n_neurons, 1, (8, 10), False),
    }


def test_one_seed_has_no_deviation(results):
    assert not any("±" in line for line in table(results[0]).splitlines()[1:])


def test_an_interrupted_training_goes_on_from_its_last_epoch(results, tmp_path, monkeypatch):
    """And the same seed gives the same."""
    begun = interrupt_second_epoch(monkeypatch, experiment._Watch)
    options = {"epochs": 2, "only": ["klif, one branch"], "n_seeds": 1, "seed": 3, "out": tmp_path, "verbose": False}
    with pytest.raises(KeyboardInterrupt):
        run(**options)
    (kept,) = (tmp_path / "begun").glob("*/diary.json")
    first = json.loads(kept.read_text())["epochs"]["0"]
    (part,) = run(**options)["parts"].values()
    assert begun == [0, 1, 1]
    assert len(part["accuracy"]) == 2
    assert part["accuracy"][0] == first["accuracy"]
    assert part["k"][:2] == [[1.0] * 3, first["k"]]
    before = results[0]["parts"]["klif, one branch, seed 3"]
    # Sums over a batch run in two threads, in an order that may change.
    np.testing.assert_allclose(part["k"][:2], before["k"][:2], rtol=1e-3)
    assert part["k"][1] != part["k"][0]


def test_the_learning_rate_is_a_cosine_with_restarts():
    rate = common.cosine({"batch_size": 10, "epochs": 200, "learning_rate": 1e-4}, 95)
    at = [float(keras.ops.convert_to_numpy(rate(step))) for step in (0, 500, 999, 1000, 1500)]
    last = 1e-4 * (1 - np.cos(np.pi / 1000)) / 2
    np.testing.assert_allclose(at, [1e-4, 5e-5, last, 1e-4, 5e-5], rtol=1e-3, atol=1e-10)  # float32 near zero
    short = common.cosine({"batch_size": 10, "epochs": 2, "learning_rate": 1e-4}, 95)
    np.testing.assert_allclose(float(keras.ops.convert_to_numpy(short(10))), 5e-5, rtol=1e-4)


def test_frames_of_events(asked, tmp_path):
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
    found = run(data_name=str(tmp_path / "events.npz"), out=tmp_path, **options)
    assert found["config"]["dataset"] == "nmnist"
    ((name, sets),) = asked
    assert name == "lif, seed 0"
    for (x, y), split, n in zip(sets, ("train", "test"), (6, 4), strict=True):
        assert x.shape == (n, 2, 34, 34, 2)
        assert x.sum() == 50 * n  # the events
        np.testing.assert_array_equal(y, arrays[f"label_{split}"])
    with pytest.raises(ValueError, match="file of events for 'nmnist'; got 'full'"):
        run(out=tmp_path, **options)


def test_cifar_takes_a_file_of_jpegs(asked, tmp_path, monkeypatch):
    images = np.random.default_rng(0).uniform(size=(8, 32, 32, 3)).astype("float32"), np.arange(8)
    monkeypatch.setattr(data, "load", lambda name, path: (images, images))
    (tmp_path / "cifar.npz").write_bytes(b"")
    options = {"epochs": 1, "n_seeds": 1, "only": ["lif"], "verbose": False}
    found = run(dataset="cifar10", data_name=str(tmp_path / "cifar.npz"), out=tmp_path, **options)
    assert found["config"]["width"] == 0.0625
    ((name, sets),) = asked
    assert name == "lif, seed 0"
    for x, y in sets:
        np.testing.assert_array_equal(x, images[0])
        np.testing.assert_array_equal(y, images[1])
    with pytest.raises(ValueError, match="'sample' is of Fashion-MNIST; for 'cifar10'"):
        run(dataset="cifar10", data_name="sample", out=tmp_path, **options)


def test_bad_arguments(tmp_path):
    for options, message in (
        ({"dataset": "svhn"}, "`dataset` must be one of 'fashion_mnist'"),
        ({"only": ["gru"]}, "`only` must be one of 'lif'"),
        ({"only": ["lif, chapter 3"]}, "`only` must be one of 'lif'"),
        ({"preset": "slow"}, "`preset` must be one of 'quick', 'full'"),
        ({"epochs": 0}, "`epochs` must be an integer of at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            run(out=tmp_path, verbose=False, **options)
    assert get("klif") is klif


def test_the_command_line_names_the_data_set(monkeypatch, capsys):
    asked = {}
    monkeypatch.setattr(klif, "run", lambda **options: asked.update(options))
    assert cli.main(["run", "klif", "--dataset", "nmnist", "--data", "events.npz"]) == 0
    assert (asked["dataset"], asked["data_name"], asked["out"]) == ("nmnist", "events.npz", "runs/klif-nmnist-quick")
    assert cli.main(["run", "clothing", "--dataset", "mnist"]) == 1
    assert "`--dataset` is not for 'clothing'" in capsys.readouterr().err
