"""The Fashion-MNIST experiment, with a small synthetic image set."""

import functools
import json

import keras
import pytest
from reference.images import bars

from keras_snn import data
from keras_snn.experiments.fashion_mnist import EXPERIMENT, PUBLISHED, build, experiment, table
from keras_snn.inspector import sweep

N_TEST = 20
#: Without "aware", which is "filtered" with another mean over time, and "regularized", which adds a penalty.
RUN = ("ann", "spiking", "filtered")

pytestmark = pytest.mark.backend_free


def tiny():
    return bars(32, N_TEST)  # one batch size, so that each network is compiled once


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Train and test the networks for one epoch; return the results and their folder."""
    out = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda name: tiny())
        patch.setattr(experiment, "inspect", functools.partial(experiment.inspect, examples=1))  # faster to draw
        return EXPERIMENT.run(preset="quick", epochs=1, only=RUN, out=out, verbose=False), out


def test_results_of_every_network(results):
    record, out = results
    assert record["finished"]
    assert record["config"] == {
        "experiment": "fashion-mnist",
        "preset": "quick",
        "seed": 0,
        "n_steps": 10,
        "data": "sample",
        "epochs": 1,
        "batch_size": 32,
    }
    assert tuple(record["parts"]) == RUN
    for name, part in record["parts"].items():
        assert 0 <= part["train_accuracy"] <= 1
        assert part["loss"] > 0
        assert part["seconds_per_epoch"] > 0
        assert list(part["test"]) == list(PUBLISHED[name]["test"])
        for test in part["test"].values():
            n_right = test["accuracy"] * N_TEST
            assert n_right == pytest.approx(round(n_right), abs=1e-5)  # Keras returns float32
            if name != "ann":
                least, mean, most = test["rate_hz"]
                assert 0 <= least <= mean <= most
                assert mean > 0
                assert 0 <= test["silent"] < 1
    # JSON has lists in place of tuples.
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(record))


def test_files_of_every_network(results):
    _, out = results
    pictures = {f"{name}_dt{dt}.png" for name in RUN for dt in PUBLISHED[name]["test"] if dt != "-"}
    models = {f"{name}.keras" for name in RUN}
    assert {path.name for path in out.iterdir()} == {"results.json", "accuracy.png", *pictures, *models}
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in ("accuracy.png", *pictures))


@pytest.mark.every_backend
def test_saved_networks_have_the_recorded_figures(results):
    record, out = results
    _, (x, y) = tiny()
    _, accuracy = keras.models.load_model(out / "ann.keras").evaluate(x, y, verbose=0)
    assert accuracy == record["parts"]["ann"]["test"]["-"]["accuracy"]
    report = sweep.inspect(keras.models.load_model(out / "filtered.keras"), x, y, dt=0.01, examples=0)
    test = record["parts"]["filtered"]["test"]["0.01"]
    assert report[0.01].accuracy == test["accuracy"]
    (layer,) = report[0.01].layers.values()
    assert [layer.rate.min, layer.rate.mean, layer.rate.max] == list(test["rate_hz"])


def test_table_has_our_figures_and_published_figures(results):
    record, _ = results
    first, _, header, _, *rows = table(record).splitlines()
    assert first.startswith("Fashion-MNIST, the embedded sample, 1 epochs, seed 0")
    assert header.count("published") == 3
    rows = iter(rows)
    for name in RUN:
        part = PUBLISHED[name]
        for i, (dt, theirs) in enumerate(part["test"].items()):
            row = next(rows).split("  ")
            cells = [cell.strip() for cell in row if cell.strip()]
            ours = record["parts"][name]["test"][dt]
            expected = [f"{100 * accuracy['accuracy']:.2f}" for accuracy in (ours, theirs)]
            expected += [
                "-" if rates is None else " / ".join(f"{rate:.3g}" for rate in rates)
                for rates in (ours["rate_hz"], theirs["rate_hz"])
            ]
            train = [f"{100 * source['train_accuracy']:.2f}" for source in (record["parts"][name], part)]
            assert cells == ([name, dt, *train] if i == 0 else [dt]) + expected
    assert set(next(rows)) <= set("= ")
    assert next(rows).startswith("Seconds an epoch (median): ann ")


def test_published_figures_are_in_the_table():
    parts = {name: {**part, "seconds_per_epoch": 1} for name, part in PUBLISHED.items()}
    text = table({"parts": parts, "config": {"data": "full", "epochs": 10, "seed": 0}})
    assert "all 60,000 training images" in text
    for figure in ("88.32", "19.55", "0 / 0.52 / 100", "64.43", "88.14", "88.37", "84.27", "75.19", "84.34"):
        assert text.count(figure) == 2, figure


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_are_the_published_ones(name):
    model = build(name)
    assert model.output_shape == (None, 10)
    # 784 x 128 + 128, 128 x 10 + 10, and a tau and an initial level for each filter.
    assert model.count_params() == 100_480 + 1290 + (256 if name == "filtered" else 0)
    (activation,) = (layer for layer in model.layers if "Activation" in type(layer).__name__)
    if name == "spiking":
        assert (activation.dt, activation.spiking_aware_training) == (0.001, False)
    elif name != "ann":
        assert (activation.dt, activation.spiking_aware_training) == (0.01, True)
    assert (activation.activity_regularizer is not None) == (name == "regularized")
