"""The study on three sets of digits, with a small synthetic image set."""

import json

import keras
import numpy as np
import pytest
from reference.images import bars

from keras_snn import data
from keras_snn.experiments.ann_vs_snn_mnist import EXPERIMENT, experiment, table

SETS = ("clean", "rotated", "background-random")

pytestmark = pytest.mark.backend_free


def tiny():
    return bars(32, 20)  # one batch size, so that each network is compiled once


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Train and test all networks for one epoch; return the results and their folder."""
    out = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda name: tiny())
        return EXPERIMENT.run(epochs=1, out=out, verbose=False), out


def test_every_network_is_tested_on_every_set(results):
    record, out = results
    assert record["finished"]
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(record))
    assert list(record["parts"]) == ["ann", "snn", "aware"]
    for name, part in record["parts"].items():
        assert tuple(part["test"]) == SETS
        for of_set in part["test"].values():
            assert list(of_set) == (["-"] if name == "ann" else ["0.001", "0.01", "0.1", "1"])
            for test in of_set.values():
                matrix = np.array(test["confusion"])
                assert matrix.shape == (10, 10)
                assert matrix.sum(axis=1).tolist() == [2] * 10  # 20 test images, two per class
                assert test["accuracy"] == pytest.approx(np.trace(matrix) / 20, abs=1e-6)
    for name in ("accuracy.png", "confusion.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.every_backend
def test_a_saved_network_has_the_recorded_confusion_matrices(results):
    record, out = results
    x, y = tiny()[1]
    model = keras.models.load_model(out / "ann.keras")
    for name, change in {**experiment.VARIATIONS, "clean": lambda x, _: x}.items():
        predictions = model.predict(change(x, 0), verbose=0).argmax(axis=1)
        confusion = np.zeros((10, 10), int)
        np.add.at(confusion, (y, predictions), 1)
        assert record["parts"]["ann"]["test"][name]["-"]["confusion"] == confusion.tolist()


def test_the_ann_with_the_same_weights(results):
    record, out = results
    x, y = tiny()[1]
    model = keras.models.load_model(out / "snn.keras")
    first, last = model.layers[1], model.layers[-1]
    hidden = keras.ops.relu(first(x.reshape(len(x), -1)))
    right = keras.ops.convert_to_numpy(last(hidden)).argmax(axis=1) == y
    assert record["parts"]["snn"]["ann_with_these_weights"]["clean"] == pytest.approx(right.mean(), abs=1e-6)


def test_the_spiking_network_has_firing_rates(results):
    parts = results[0]["parts"]
    for name in SETS:
        rates = [parts["snn"]["test"][name][dt]["rate_hz"] for dt in ("0.001", "1")]
        assert all(least <= mean <= most and most > 0 for least, mean, most in rates)


def test_the_table_has_our_figures_and_published_figures(results):
    lines = table(results[0]).splitlines()
    assert lines[2].split()[:2] == ["network", "dt"]
    rows = [line.split() for line in lines[4:-5]]
    assert len(rows) == 1 + 5 + 5
    assert rows[5][0] == rows[10][0] == "ann*"
    assert rows[0][0] == "ann" and "97.79" in rows[0] and "34.28" in rows[0] and "18.77" in rows[0]
    assert rows[1][0] == "snn" and {"99.52", "18.70", "9.96"} <= set(rows[1])
    assert "34.28" not in " ".join(map(str, rows[1:]))  # the published accuracy of the ANN


def test_files_of_the_published_sets(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "load", lambda name: tiny())
    x, y = tiny()[1]
    lines = [" ".join(f"{v:g}" for v in (*image.T.ravel(), label)) for image, label in zip(x[:4], y[:4], strict=True)]
    (tmp_path / "rot.amat").write_text("\n".join(lines) + "\n")
    record = EXPERIMENT.run(
        epochs=1, out=tmp_path / "out", only=["ann"], amat={"rotated": tmp_path / "rot.amat"}, verbose=False
    )
    assert np.sum(record["parts"]["ann"]["test"]["rotated"]["-"]["confusion"]) == 4
    assert record["config"]["amat"] == {"rotated": str(tmp_path / "rot.amat")}
