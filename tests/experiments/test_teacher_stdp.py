"""The schedule and a short run of ``teacher-stdp``."""

import numpy as np
import pytest

from keras_snn.experiments.spec import Part
from keras_snn.experiments.teacher_stdp import EXPERIMENT, PRESETS, experiment, table

pytestmark = pytest.mark.backend_free


def part(folder, config, kind="as published"):
    numbers = np.arange(400.0)[:, None] / 400
    return Part(f"{kind}, seed 0", kind, 0, config, [(numbers, np.arange(400) % 2)], folder, {}, False)


@pytest.mark.every_backend
def test_schedule(tmp_path):
    config = {**PRESETS["full"], "n_train": 5000}
    (train, y), (test, _) = experiment.schedule(part(tmp_path, config))
    assert (len(train), len(test)) == (5000, 100)
    numbers = np.round(400 * train[:, 0]).astype(int)
    assert (numbers.min(), numbers.max()) == (1, 348)
    np.testing.assert_array_equal(numbers % 2, y)
    (train, _), (test, _) = experiment.schedule(part(tmp_path, config), held_out=True)
    assert len(np.unique(test)) == len(test) == 134
    assert not set(train[:, 0]) & set(test[:, 0])


def test_matched():
    assert experiment.matched(np.array([1, 1, 0, 1]), np.array([0, 0, 1, 1]), 2) == 0.75
    assert experiment.matched(np.array([0, 1]), np.array([0, 1]), 10) == "-"


def test_a_short_run(tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "quick", {**PRESETS["quick"], "n_train": 10, "n_test": 20, "n_kinds": 1})
    pytest.importorskip("sklearn")
    results = EXPERIMENT.run(out=tmp_path, verbose=False)
    (found,) = results["parts"].values()
    assert found["forced"] == 1
    assert found["n_test"] == 20
    for picture in ("digits", "weights", "traces-training", "traces-test"):
        assert (tmp_path / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    traces = np.load(tmp_path / "traces-seed-0.npz")
    with np.load(tmp_path / "weights-as-published-seed-0.npz") as weights:
        np.testing.assert_allclose(traces["training w"][-1], weights["w after training"], atol=0.02)  # 10 ms earlier
    assert "95 %" in table(results)
