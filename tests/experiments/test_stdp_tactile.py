"""The networks and the tables of the experiment on touch, with two surfaces and a few presentations."""

import json

import numpy as np
import pytest

from keras_snn import experiments
from keras_snn.experiments.spec import execute
from keras_snn.experiments.stdp_tactile import augmentation, experiment, recordings, results

pytestmark = pytest.mark.backend_free


@pytest.fixture
def small(monkeypatch):
    """Keep two simulated surfaces, cut slides into two pieces, and replace 400 neurons by 5."""
    load, augmented = recordings.load, augmentation.augmented

    def two_surfaces(path):
        touch = load(path)
        rows = np.flatnonzero(np.isin(touch.labels, [0, 7]))
        signals = tuple([signals[row] for row in rows] for signals in touch.signals)
        return recordings.TouchSet(
            touch.name, touch.sensors, ("rough", "smooth"), signals, touch.unit, touch.labels[rows] // 7, touch.source
        )

    monkeypatch.setattr(recordings, "load", two_surfaces)
    monkeypatch.setattr(augmentation, "augmented", lambda split, n_pieces=2: augmented(split, n_pieces))
    monkeypatch.setattr(results.Network.__init__, "__defaults__", (5, True, True, "rectified"))
    monkeypatch.setitem(experiment.PRESETS, "quick", {**experiment.PRESETS["quick"], "sizes": [5], "chunk": 20})


def test_names_of_the_parts(tmp_path):
    for name in ("biotac.npz", "fabric_slide.npz"):
        (tmp_path / name).touch()
    config = {**experiment.PRESETS["full"], "data": str(tmp_path)}
    names = experiment.parts(config)
    assert len(names) == 2 * 10
    assert names[:5] == [
        "BioTac, sensor 1, 100 neurons",
        "BioTac, sensor 1, 400 neurons",
        "BioTac, sensor 1, 1600 neurons",
        "BioTac, sensor 2, 400 neurons",
        "BioTac, both, 400 neurons",
    ]
    assert names[14:] == [
        "FabricSlide, sensor 1, 400 neurons, not augmented",
        "FabricSlide, sensor 1, 400 neurons, fixed weights",
        "FabricSlide, sensor 1, 400 neurons, waveform",
        "FabricSlide, both, 400 neurons, waveform",
        "BioTac, without spikes",
        "FabricSlide, without spikes",
    ]


@pytest.mark.every_backend
def test_images_of_the_networks(small):
    """Scaled by the training samples; both sensors side by side; no test slide in the training."""
    touch = recordings.load("simulated")
    (split,) = augmentation.splits(touch, 1, seed=3)
    train, test = augmentation.augmented(split), augmentation.tested(split)
    one, two, both = (
        experiment._images(touch, results.Network("simulated", sensors), train, test)
        for sensors in ("sensor 1", "sensor 2", "both")
    )
    assert [values.shape for values in both] == [(2 * 25, 28, 56), (6, 28, 56)]
    for left, right, pair in zip(one, two, both, strict=True):
        np.testing.assert_array_equal(pair, np.concatenate([left, right], axis=2))
    assert not np.isin(test.rows, train.rows).any()
    assert one[0].max() == pytest.approx(255, rel=1e-6)


def test_a_run(small, tmp_path, monkeypatch):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    names = ["both, 5 neurons", "sensor 1, 5 neurons, not augmented", "without spikes"]
    only = [f"simulated, {name}" for name in names]
    monkeypatch.setattr(results, "_PANELS", {"networks": names[:2]})
    found = execute(experiments.get("stdp-tactile"), out=tmp_path, only=only, n_seeds=2, verbose=False)
    assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["finished"]
    for seed in range(2):
        both, recorded, baselines = (found["parts"][f"{name}, seed {seed}"] for name in only)
        assert (both["n_samples"], recorded["n_samples"]) == (50, 14)
        # As many presentations without augmentation.
        assert [n for n, _ in both["curve"]] == [n for n, _ in recorded["curve"]] == [20, 40, 50]
        for (row,), samples in ((both["rows"], "augmented"), (recorded["rows"], "recorded")):
            assert row["samples"] == samples
            assert np.sum(row["confusion"]) == row["n_test"] == 6
            assert row["accuracy"] == pytest.approx(np.trace(row["confusion"]) / 6)
        assert len(baselines["rows"]) == 2 * 3 * 2 * 3
    text = results.table(found)
    mean = np.mean([found["parts"][f"{only[0]}, seed {seed}"]["rows"][0]["accuracy"] for seed in range(2)])
    assert f"both, 5 neurons                     2       {100 * mean:.2f} ± " in text
    assert "another data set" in text
    assert text.count("± ") == 3 + 12 * 3  # two networks and the header; all classifiers without spikes
    for name in ("accuracy", "features", "spikes", "both-5-neurons-fields"):
        assert (tmp_path / f"simulated-{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_confusion_is_drawn(tmp_path):
    row = {"samples": "augmented", "accuracy": 0.75, "confusion": [[2, 0], [1, 1]]}
    baseline = {**row, "sensors": "both", "input": "signal", "classifier": "SVM-RBF"}
    parts = {
        "t, both, 400 neurons, seed 0": {"rows": [{**row, "sensors": "both"}], "curve": [[5, 0.5]]},
        "t, without spikes, seed 0": {"rows": [baseline]},
    }
    results.draw({"parts": parts}, tmp_path)
    assert (tmp_path / "t-confusion.png").read_bytes().startswith(b"\x89PNG")
