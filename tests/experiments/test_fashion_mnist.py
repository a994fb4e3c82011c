"""The Fashion-MNIST experiment on a data set of a few synthetic images."""

import functools
import json
import math

import keras
import pytest
from reference.images import bars

from keras_snn.experiments import fashion_mnist
from keras_snn.experiments.fashion_mnist import PUBLISHED, build, experiment, run, table
from keras_snn.inspector import sweep

N_TEST = 20
#: "aware" is "filtered" with another mean over time, and "regularized" adds a penalty to it.
RUN = ("ann", "spiking", "filtered")

pytestmark = pytest.mark.backend_free


def tiny():
    return bars(32, N_TEST)  # one batch: another size would be compiled too


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Train and test the networks, for one epoch."""
    out = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment.data, "load", lambda name: tiny())
        patch.setattr(experiment, "inspect", functools.partial(experiment.inspect, examples=1))  # quickly drawn
        return run(preset="quick", epochs=1, only=RUN, out=out, verbose=False), out


def test_results_of_every_network(results):
    found, out = results
    assert found["finished"]
    assert found["config"] == {
        "experiment": "fashion-mnist",
        "preset": "quick",
        "seed": 0,
        "n_steps": 10,
        "data": "sample",
        "epochs": 1,
        "batch_size": 32,
    }
    assert tuple(found["parts"]) == RUN
    for name, part in found["parts"].items():
        assert 0 <= part["train_accuracy"] <= 1
        assert part["loss"] > 0
        assert part["seconds_per_epoch"] > 0
        assert list(part["test"]) == list(PUBLISHED[name]["test"])
        for ours in part["test"].values():
            n_right = ours["accuracy"] * N_TEST
            assert n_right == pytest.approx(round(n_right), abs=1e-5)  # Keras's is a float32
            if name != "ann":
                least, mean, most = ours["rate_hz"]
                assert 0 <= least <= mean <= most
                assert mean > 0
                assert 0 <= ours["silent"] < 1
    # Tuples became lists on the way.
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(found))


def test_files_of_every_network(results):
    _, out = results
    pictures = {f"{name}_dt{dt}.png" for name in RUN for dt in PUBLISHED[name]["test"] if dt != "-"}
    models = {f"{name}.keras" for name in RUN}
    assert {path.name for path in out.iterdir()} == {"results.json", "accuracy.png", *pictures, *models}
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in ("accuracy.png", *pictures))


@pytest.mark.every_backend
def test_saved_networks_give_the_figures(results):
    found, out = results
    _, (x, y) = tiny()
    _, accuracy = keras.models.load_model(out / "ann.keras").evaluate(x, y, verbose=0)
    assert accuracy == found["parts"]["ann"]["test"]["-"]["accuracy"]
    report = sweep.inspect(keras.models.load_model(out / "filtered.keras"), x, y, dt=0.01, examples=0)
    ours = found["parts"]["filtered"]["test"]["0.01"]
    assert report[0.01].accuracy == ours["accuracy"]
    (layer,) = report[0.01].layers.values()
    assert [layer.rate.min, layer.rate.mean, layer.rate.max] == list(ours["rate_hz"])


def test_table_has_ours_beside_the_published(results):
    found, _ = results
    first, _, header, _, *rows = table(found).splitlines()
    assert first.startswith("Fashion-MNIST, the embedded sample, 1 epochs, seed 0")
    assert header.count("published") == 3
    rows = iter(rows)
    for name in RUN:
        part = PUBLISHED[name]
        for i, (dt, theirs) in enumerate(part["test"].items()):
            row = next(rows).split("  ")
            cells = [cell.strip() for cell in row if cell.strip()]
            ours = found["parts"][name]["test"][dt]
            wanted = [f"{100 * accuracy['accuracy']:.2f}" for accuracy in (ours, theirs)]
            wanted += [
                "-" if rates is None else " / ".join(f"{rate:.3g}" for rate in rates)
                for rates in (ours["rate_hz"], theirs["rate_hz"])
            ]
            train = [f"{100 * of['train_accuracy']:.2f}" for of in (found["parts"][name], part)]
            assert cells == ([name, dt, *train] if i == 0 else [dt]) + wanted
    assert set(next(rows)) <= set("= ")
    assert next(rows).startswith("Seconds an epoch (median): ann ")


def test_published_figures_are_in_the_table_as_printed_there():
    parts = {name: {**part, "seconds_per_epoch": 1} for name, part in PUBLISHED.items()}
    text = table({"parts": parts, "config": {"data": "full", "epochs": 10, "seed": 0}})
    assert "all 60,000 training images" in text
    for figure in ("88.32", "19.55", "0 / 0.52 / 100", "64.43", "88.14", "88.37", "84.27", "75.19", "84.34"):
        assert text.count(figure) == 2, figure


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_are_the_published_ones(name):
    model = build(name)
    assert model.output_shape == (None, 10)
    # 784 x 128 + 128, 128 x 10 + 10, and one tau and one initial level for each of the filters.
    assert model.count_params() == 100_480 + 1290 + (256 if name == "filtered" else 0)
    (activation,) = (layer for layer in model.layers if "Activation" in type(layer).__name__)
    if name == "spiking":
        assert (activation.dt, activation.spiking_aware_training) == (0.001, False)
    elif name != "ann":
        assert (activation.dt, activation.spiking_aware_training) == (0.01, True)
    assert (activation.activity_regularizer is not None) == (name == "regularized")


# Interrupted runs, with a training that is not one


@pytest.fixture
def trained(monkeypatch):
    """Replace data and training; give the list of the networks that were trained, and what interrupts."""

    class Trained(list):
        interrupted_at = None

    names = Trained()

    def run_one(name, train, test, config, *, folder, verbose):
        if name == names.interrupted_at:
            raise KeyboardInterrupt
        names.append(name)
        return {**PUBLISHED[name], "loss": 1.0, "seconds_per_epoch": 0.5}

    monkeypatch.setattr(experiment.data, "load", lambda name, **_: tiny())
    monkeypatch.setattr(experiment, "_run_one", run_one)
    return names


def interrupt_in_the_second(trained, out):
    trained.interrupted_at = "spiking"
    with pytest.raises(KeyboardInterrupt):
        run(out=out, verbose=False)
    assert trained == ["ann"]
    found = json.loads((out / "results.json").read_text())
    assert (list(found["parts"]), found["finished"]) == (["ann"], False)
    trained.interrupted_at = None
    trained.clear()


def test_an_interrupted_run_goes_on(trained, tmp_path, capsys):
    interrupt_in_the_second(trained, tmp_path)
    assert capsys.readouterr().out == ""
    found = run(out=tmp_path)
    assert trained == ["spiking", "aware", "regularized", "filtered"]
    assert list(found["parts"]) == list(PUBLISHED)
    assert found["finished"]
    printed = capsys.readouterr().out
    assert "Going on after an interrupted run: ann are done." in printed
    assert "aware: 10 epochs of 32 images" in printed
    assert table(found) in printed
    assert str(tmp_path) in printed


@pytest.mark.parametrize("change", [{"seed": 1}, {"epochs": 3}, {"preset": "full"}, {"data_name": "full"}])
def test_another_configuration_starts_anew(trained, tmp_path, change):
    interrupt_in_the_second(trained, tmp_path)
    run(out=tmp_path, verbose=False, **change)
    assert trained == list(PUBLISHED)


def test_a_finished_run_starts_anew(trained, tmp_path):
    for _ in range(2):
        run(out=tmp_path, only=["aware"], verbose=False)
    assert trained == ["aware", "aware"]


def test_a_truncated_file_starts_anew(trained, tmp_path):
    interrupt_in_the_second(trained, tmp_path)
    text = (tmp_path / "results.json").read_text()
    (tmp_path / "results.json").write_text(text[: len(text) // 2])
    assert run(out=tmp_path, only=["ann", "spiking"], verbose=False)["finished"]
    assert trained == ["ann", "spiking"]


def test_a_loss_that_is_not_finite_can_be_read_again(trained, tmp_path, monkeypatch):
    run_one = experiment._run_one
    monkeypatch.setattr(experiment, "_run_one", lambda *a, **k: {**run_one(*a, **k), "loss": math.nan})
    interrupt_in_the_second(trained, tmp_path)
    run(out=tmp_path, verbose=False)
    assert trained == ["spiking", "aware", "regularized", "filtered"]


# Bad input


def test_an_unwritable_folder_is_an_error_before_the_training(trained, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        run(out=tmp_path / "file" / "out")
    assert trained == []


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("`preset`.*'quick', 'full'; got 'slow'", {"preset": "slow"}),
        ("`only`.*'ann'.*; got 'aware2'", {"only": ["ann", "aware2"]}),
        ("`data_name`.*got 'mnist'", {"data_name": "mnist"}),
        ("`data_name`.*got ''", {"data_name": ""}),
        ("`epochs`.*got 0", {"epochs": 0}),
        ("`epochs`.*got -1", {"epochs": -1}),
        ("`epochs`.*got 2.5", {"epochs": 2.5}),
    ],
)
def test_bad_input_is_an_error_that_leaves_earlier_results(trained, tmp_path, monkeypatch, message, arguments):
    monkeypatch.chdir(tmp_path)
    run(out=tmp_path, only=["ann"], verbose=False)
    before = (tmp_path / "results.json").read_bytes()
    with pytest.raises(ValueError, match=message):
        run(out=tmp_path, **arguments)
    assert (tmp_path / "results.json").read_bytes() == before
    assert trained == ["ann"]


def test_data_by_name_or_folder(trained, tmp_path, monkeypatch):
    asked = []

    def load(name, **arguments):
        asked.append((name, arguments))
        return tiny()

    monkeypatch.setattr(experiment.data, "load", load)
    for arguments in ({}, {"preset": "full"}, {"preset": "full", "data_name": "sample"}, {"data_name": str(tmp_path)}):
        run(out=tmp_path / "out", only=["ann"], verbose=False, **arguments)
    assert asked == [
        ("fashion_mnist_sample", {}),
        ("fashion_mnist", {}),
        ("fashion_mnist_sample", {}),
        ("fashion_mnist", {"source": "tfds", "data_dir": str(tmp_path)}),
    ]


def test_the_module_has_what_the_command_needs():
    assert fashion_mnist.run is run
    assert fashion_mnist.PRESETS["full"]["epochs"] == 10
