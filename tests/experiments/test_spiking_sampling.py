"""Sampling with small networks, on a set of a few synthetic images."""

import copy
import json
import lzma
import math

import keras
import numpy as np
import pytest
from reference import event_files
from reference.images import bars

from keras_snn import data, models
from keras_snn.experiments import images, recordings
from keras_snn.experiments.spec import configuration
from keras_snn.experiments.spiking_sampling import (
    EXPERIMENT,
    PRESETS,
    event_results,
    events,
    experiment,
    measures,
    table,
)
from keras_snn.experiments.spiking_sampling.results import verdicts

pytestmark = pytest.mark.backend_free

TINY = {"rates": [10], "epochs": 1, "classifier_epochs": 1, "batch_size": 20, "n_train": 60, "n_test": 20}


def small_network(shape, n_steps=3):
    """Return a network of one convolution, which compiles in less time than four."""
    return keras.Sequential([keras.Input(shape), keras.layers.Conv2D(1, 1)])


@pytest.fixture(autouse=True, scope="module")
def tiny():
    """Shorten the quick preset to seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "load", lambda *_: bars(70, 30))
        patch.setattr(models, "sampling_network", small_network)
        patch.setattr(
            models,
            "dense_reconstructor",
            lambda shape: keras.Sequential([keras.Input(shape), keras.layers.Conv2D(1, 3, padding="same")]),
        )
        patch.setattr(experiment, "METHODS", experiment.CROSSED)  # every one is compiled
        patch.setitem(experiment.PRESETS, "quick", {**experiment.PRESETS["quick"], **TINY})
        yield


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    return EXPERIMENT.run(dataset="fashion_mnist", seed=3, out=out, verbose=False), out


def test_the_results(found):
    results, out = found
    assert results["finished"]
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(results))
    (part,) = results["parts"].values()
    assert list(results["parts"]) == ["10 %, seed 3"]
    for method, figures in part["methods"].items():
        assert figures["ones"] == 78
        assert figures["bytes"] == pytest.approx(78 + min(78 * math.log2(784), 784) / 8)
        assert 0 <= figures["on_nonzero"] <= 1
        assert round(20 * figures["accuracy"], 6) == int(round(20 * figures["accuracy"], 6))
        assert part["cross"][f"{method}, {method}"] == pytest.approx(figures["mse"], rel=1e-6)
    assert set(part["codecs"]) == {"zlib", "PNG", *(f"JPEG {quality}" for quality in measures.QUALITIES)}
    for picture in ("rate_distortion", "examples-10-seed-3"):
        assert (out / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    with np.load(out / "examples-10-seed-3.npz") as arrays:
        assert arrays["spiking mask"].sum((1, 2, 3)).tolist() == [78] * len(arrays["image"])


def test_the_table_and_the_orders(found):
    results = copy.deepcopy(found[0])
    (part,) = results["parts"].values()
    part["methods"] |= dict.fromkeys(("brightest", "gradient"), part["methods"]["random"])
    for seed, (spiking, random) in enumerate(((0.02, 0.05), (0.03, 0.05), (0.02, 0.06))):
        results["parts"][f"10 %, seed {seed}"] = other = copy.deepcopy(part)
        other["methods"]["spiking"]["mse"], other["methods"]["random"]["mse"] = spiking, random
        other["methods"]["gradient"] = {**other["methods"]["random"], "mse": 0.025}
    del results["parts"]["10 %, seed 3"]
    orders = {row[0]: row for row in verdicts(results)}
    gaps = np.array([0.03, 0.02, 0.04])
    error = gaps.std(ddof=1) / math.sqrt(3)
    assert orders["spiking below random"][2:5] == (f"{gaps.mean():+.4f}", f"{error:.4f}", "holds")
    # Mean 0.0017, standard error 0.0033
    assert orders["gradient at least spiking"][4] == "not decided"
    text = table(results)
    assert "0.0233 ± 0.0033" in text  # mean and standard error of 0.02, 0.03 and 0.02
    assert "visibly so at 10, 5 and 1 %" in text


@pytest.mark.every_backend
def test_measures():
    x = np.zeros((2, 4, 4, 1), "float32")
    y = x.copy()
    y[0, 0, 0] = 0.4  # error 0.01
    y[1] = 0.1  # error 0.01
    errors = measures.squared_errors(y, x)
    np.testing.assert_allclose(errors, 0.01, rtol=1e-6)
    assert measures.psnr(errors) == pytest.approx(20, abs=1e-5)
    # The example of the specification: 78 values of 8 bits and 750 bits of positions.
    assert 8 * measures.sample_bytes(784, 78, 1) == pytest.approx(624 + 750, abs=1)
    assert 8 * measures.sample_bytes(784, 400, 3) == 3 * 8 * 400 + 784  # a mask is shorter than positions
    noise = np.random.default_rng(0).random((3, 16, 16, 3)).astype("float32")
    codecs = measures.codecs(noise)
    lengths = [codecs[f"JPEG {quality}"]["bytes"] for quality in measures.QUALITIES]
    assert lengths == sorted(lengths)
    quality = {q: measures.psnr(measures.squared_errors(codecs[f"JPEG {q}"]["images"], noise)) for q in (5, 90)}
    assert quality[90] > quality[5] > 5
    assert codecs["zlib"]["bytes"] > 3 * 256  # noise
    gray = measures.codecs(np.zeros((2, 28, 28, 1), "float32"))
    assert gray["PNG"]["bytes"] < 100
    assert np.abs(gray["JPEG 50"]["images"]).max() < 0.02


def test_presets():
    config = configuration(EXPERIMENT, preset="full")
    assert (config["epochs"], config["learning_rate"], config["n_steps"]) == (100, 1e-4, 3)
    assert configuration(EXPERIMENT, preset="full", dataset="cifar10")["rates"] == [10]
    assert PRESETS["standard"]["n_seeds"] == 3


def few_recordings(config):
    """Return twenty simulated recordings for training, ten for the test."""
    del config
    return [(data.simulate_saccades(x, threshold=0.8), y) for x, y in bars(20, 10)]


@pytest.fixture(scope="module")
def found_events(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    small = {"n_frames": 2, "width": 0.02, "batch_size": 10}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recordings, "load", few_recordings)
        patch.setattr(models, "event_sampling_network", small_event_network)
        patch.setattr(models, "event_reconstructor", small_event_network)
        patch.setattr(models, "event_classifier", small_classifier)
        patch.setattr(events, "METHODS", ("spiking", "random"))
        patch.setitem(
            experiment.ADJUSTMENTS, ("quick", "nmnist"), {**experiment.ADJUSTMENTS["quick", "nmnist"], **small}
        )
        patch.setitem(experiment.ADJUSTMENTS["quick", "nmnist"], "classifier_epochs", 1)
        return EXPERIMENT.run(dataset="nmnist", only=["10 %"], epochs=1, seed=3, out=out, verbose=False), out


def small_event_network(shape, **options):
    """Return a convolution within each frame, which compiles in less time than nine."""
    del options
    return keras.Sequential([keras.Input(shape), keras.layers.Conv3D(2, (1, 3, 3), padding="same")])


def small_classifier(shape, **options):
    """Return a network of one layer."""
    del options
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(10)])


def test_events_that_are_kept(found_events):
    results, out = found_events
    (part,) = results["parts"].values()
    assert set(part["methods"]) == {"spiking", "random", "random events"}
    (_, _), (test, labels) = few_recordings({})
    sampler = keras.models.load_model(out / "sampler-10-seed-3.keras")
    kept = sampler.compress_events(test, (34, 34), n_frames=2)
    n = sum(map(len, test))
    spiking, thinned = part["methods"]["spiking"], part["methods"]["random events"]
    assert spiking["kept"] == thinned["kept"] == sum(map(len, kept)) / n
    assert spiking["ones"] == part["methods"]["random"]["ones"] == round(0.1 * 2 * 2312)
    # 1 in 10 places: 10 % of n events that lie in clusters, with a generous margin for the few places with many events
    assert 0.07 < part["methods"]["random"]["kept"] < 0.13
    for figures in (*part["methods"].values(), {"accuracy": part["classifier"]}):
        assert round(10 * figures["accuracy"], 6) in range(11)
    sizes = {name: codec["bytes"] for name, codec in part["codecs"].items()}
    assert sizes["file of N-MNIST"] == 5 * n / len(test)
    assert spiking["bytes"] < sizes["xz of columns"] < sizes["zlib of the file"] < sizes["file of N-MNIST"]
    frames = recordings.frames(test, 2)
    error = events.relative_error(sampler.reconstruct(frames), frames)
    assert spiking["error"] == part["cross"]["spiking, spiking"] == pytest.approx(error, rel=1e-5)
    assert len(labels) == 10
    for picture in ("accuracy", "examples-10-seed-3"):
        assert (out / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    text = experiment.table(results)
    assert "simulated recordings" in text
    assert f"{100 * spiking['kept']:.1f}" in text


def test_codings_lose_nothing():
    clip = few_recordings({})[1][0][0]
    assert events.five_bytes(clip) == event_files.five_bytes(clip)
    columns = lzma.decompress(events._CODECS["xz of columns"](clip), lzma.FORMAT_ALONE)
    n = len(clip)
    x, y = np.frombuffer(columns[: 2 * n], "u1").reshape(2, n)
    polarities = np.unpackbits(np.frombuffer(columns[2 * n : -4 * n], "u1"))[:n]
    times = np.cumsum(np.frombuffer(columns[-4 * n :], "<u4"))
    for found, field in ((x, "x"), (y, "y"), (polarities, "p"), (times, "t")):
        np.testing.assert_array_equal(found, clip[field])


def test_thinned_events_are_random_and_in_order():
    clip = few_recordings({})[1][0][0]
    rng = np.random.default_rng(0)
    few = events.thinned(clip, 50, rng)
    assert len(few) == 50
    assert (np.diff(few["t"]) >= 0).all()
    assert set(few.tolist()) <= set(clip.tolist())
    assert few.tolist() != events.thinned(clip, 50, rng).tolist()
    assert len(events.thinned(clip, 0, rng)) == 0


def test_orders_of_events(found_events):
    results = copy.deepcopy(found_events[0])
    (part,) = results["parts"].values()
    part["methods"]["brightest"] = part["methods"]["random"]
    for seed, (spiking, random) in enumerate(((0.9, 0.5), (0.8, 0.5), (0.9, 0.6))):
        results["parts"][f"10 %, seed {seed}"] = other = copy.deepcopy(part)
        other["classifier"] = 0.85
        other["methods"]["spiking"]["accuracy"], other["methods"]["random"]["accuracy"] = spiking, random
    del results["parts"]["10 %, seed 3"]
    orders = {row[0]: row for row in event_results.verdicts(results)}
    # Gaps of 40, 30 and 30 points: mean 33.3, standard error 3.3
    assert orders["spiking above random, equal rate"][2:5] == ("+33.3", "3.3", "holds")
    # Gaps of -5, 5 and -5 points
    assert orders["all events at least spiking"][2:5] == ("-1.7", "3.3", "not decided")


def test_recordings_of_a_folder_are_read(tmp_path, monkeypatch):
    clip = few_recordings({})[1][0][0]
    data.write_events(tmp_path / "0.npz", clip)
    monkeypatch.setattr(recordings, "load", lambda config: [([str(tmp_path / "0.npz")], np.array([7]))])
    (((found,), labels),) = experiment.load({"dataset": "nmnist"})
    np.testing.assert_array_equal(found, clip)
    assert labels.tolist() == [7]
