"""Sampling with small networks, on a set of a few synthetic images."""

import copy
import json
import math

import keras
import numpy as np
import pytest
from reference.images import bars

from keras_snn import models
from keras_snn.experiments import images
from keras_snn.experiments.spec import configuration
from keras_snn.experiments.spiking_sampling import EXPERIMENT, PRESETS, experiment, measures, table
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
