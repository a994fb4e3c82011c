"""The classifier of recordings, with a small network and a few simulated recordings."""

import itertools
import json

import keras
import numpy as np
import pytest
from reference.images import bars

from keras_snn import data, layers
from keras_snn.experiments import recordings
from keras_snn.experiments.nmnist import EXPERIMENT, PRESETS, experiment, table

pytestmark = pytest.mark.backend_free

TINY = {"width": 1, "n_steps": 2, "batch_size": 10, "n_train": 20, "n_test": 10, "n_seeds": 1}


def small_network(shape, width):
    """Return a network with one layer of neurons, which compiles faster than three."""
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.TimeFold(keras.layers.Flatten()),
            layers.TimeFold(keras.layers.Dense(10 * width)),
            layers.LIF(),
            layers.TemporalAveragePooling(),
        ]
    )


@pytest.fixture(scope="module")
def splits():
    """Simulated recordings of thin bars, and their labels."""
    return [(data.simulate_saccades(x), y) for x, y in bars(20, 10)]


@pytest.fixture(scope="module")
def path(splits, tmp_path_factory):
    """A file of the recordings."""
    path, arrays = tmp_path_factory.mktemp("events") / "events.npz", {}
    for split, (clips, labels) in zip(("train", "test"), splits, strict=True):
        events = np.concatenate(clips)
        arrays |= {f"{field}_{split}": events[field] for field in "xytp"}
        arrays[f"offset_{split}"] = [0, *itertools.accumulate(map(len, clips))]
        arrays[f"label_{split}"] = labels
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def found(path, tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "quick", {**PRESETS["quick"], **TINY})
        patch.setattr(experiment, "network", small_network)
        return EXPERIMENT.run(data_name=str(path), epochs=2, seed=3, out=out, verbose=False), out


@pytest.mark.every_backend
def test_the_results(found, splits):
    results, out = found
    assert results["finished"]
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(results))
    assert list(results["parts"]) == ["lif, seed 3"]
    (part,) = results["parts"].values()
    confusion = np.array(part["confusion"])
    _, (test, labels) = splits
    assert confusion.sum(axis=1).tolist() == np.bincount(labels, minlength=10).tolist()
    assert np.trace(confusion) == pytest.approx(10 * part["accuracy"][-1], abs=1e-4)
    assert len(part["accuracy"]) == len(part["train_accuracy"]) == len(part["seconds"]) == 2
    assert len(part["spikes_per_step"]) == 1
    for picture in ("accuracy", "recordings"):
        assert (out / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    # The saved model gives the same classes.
    model = keras.models.load_model(out / "classifier-seed-3.keras")
    scores = model.predict(recordings.frames(test, 2, start=0, stop=310_000), verbose=0)
    again = np.zeros((10, 10), int)
    np.add.at(again, (labels, scores.argmax(axis=1)), 1)
    assert again.tolist() == part["confusion"]
    assert "N-MNIST, at most 20 for training, 10 for the test; 2 frames, 2 epochs" in table(results)


def test_the_network():
    model = experiment.network((5, 34, 34, 2), 8)
    kernels = [tuple(v.shape) for v in model.trainable_variables if v.path.endswith("kernel")]
    assert kernels == [(3, 3, 2, 8), (3, 3, 8, 16), (8 * 8 * 16, 128), (128, 10)]
    assert model.output_shape == (None, 10)
    assert sum(isinstance(layer, layers.LIF) for layer in model.layers) == 3


def test_shift_moves_all_events_alike():
    events = {"x": [0, 5, 33], "y": [10, 20, 33], "t": [1, 2, 3], "p": [0, 1, 1]}
    shift = experiment.Shift(2, seed=0)
    moves = set()
    for _ in range(200):
        moved = shift(events)
        (middle,) = moved[moved["t"] == 2]
        dx, dy = int(middle["x"]) - 5, int(middle["y"]) - 20
        inside = [(x + dx, y + dy, t) for x, y, t in ((0, 10, 1), (5, 20, 2), (33, 33, 3))]
        inside = [event for event in inside if 0 <= event[0] < 34 and 0 <= event[1] < 34]
        assert moved[["x", "y", "t"]].tolist() == inside
        moves.add((dx, dy))
    assert moves == set(itertools.product(range(-2, 3), repeat=2))
    assert events["x"] == [0, 5, 33]


def test_sources_of_recordings(path, splits, tmp_path, monkeypatch):
    config = {"n_train": 6, "n_test": None}
    for name, (clips, labels) in zip(("Train", "Test"), splits, strict=True):
        for number, (clip, label) in enumerate(zip(clips, labels, strict=True)):
            data.write_events(tmp_path / name / str(label) / f"{number}.npz", clip)
    monkeypatch.setattr(
        data, "load", lambda name, **options: bars(20, 10) if name == "mnist" else load(name, **options)
    )
    found = {name: recordings.load({**config, "data": str(name)}) for name in ("simulated", path, tmp_path)}
    for source, pairs in found.items():
        for (clips, labels), (all_clips, all_labels), n in zip(pairs, splits, (6, 10), strict=True):
            assert len(clips) == len(labels) == n
            frames = recordings.frames(clips, 2)
            expected = recordings.frames(all_clips, 2)
            for frame, label in zip(frames, labels, strict=True):
                (row,) = np.nonzero((expected == frame).all(axis=(1, 2, 3, 4)))[0]
                assert all_labels[row] == label
                if source != tmp_path:
                    assert row == np.nonzero((frames == frame).all(axis=(1, 2, 3, 4)))[0][0]
        for clip, events in zip(clips, recordings.read(clips), strict=True):  # paths, or recordings
            np.testing.assert_array_equal(recordings.frames([clip], 2), recordings.frames([events], 2))
            assert events.dtype.names == ("x", "y", "t", "p")
    labels = found[tmp_path][0][1]
    assert len(set(labels.tolist())) > 2  # in random order, not by class
    with pytest.raises(
        ValueError, match="`data_name` must be 'simulated', a file of events, or a folder .*; got 'full'"
    ):
        recordings.load({**config, "data": "full"})
    (tmp_path / "flat" / "Train").mkdir(parents=True)
    data.write_events(tmp_path / "flat" / "Train" / "0.npz", splits[0][0][0])
    with pytest.raises(ValueError, match="must have a folder for each class"):
        recordings.load({**config, "data": str(tmp_path / "flat")})


load = data.load
