import numpy as np
import pytest

from keras_snn.data import event_frames, load_events

pytestmark = pytest.mark.backend_free

RNG = np.random.default_rng(0)


def recording(n, size=(5, 7)):
    times = np.sort(RNG.integers(100, 1000, size=n))
    return {
        "x": RNG.integers(0, size[1], n),
        "y": RNG.integers(0, size[0], n),
        "p": RNG.integers(0, 2, n),
        "t": times,
    }


@pytest.mark.parametrize("split_by", ["number", "time"])
@pytest.mark.parametrize("n", [0, 2, 3, 47])
def test_frames_are_those_of_a_loop(split_by, n):
    events, n_steps = recording(n), 3
    expected = np.zeros((n_steps, 5, 7, 2))
    for k in range(n):
        if split_by == "number":
            step = min(k // max(1, n // n_steps), n_steps - 1)
        else:
            begin, end = events["t"][0], events["t"][-1] + 1
            step = int((events["t"][k] - begin) / (end - begin) * n_steps)
        expected[step, events["y"][k], events["x"][k], events["p"][k]] += 1
    (frames,) = event_frames([events], n_steps, (5, 7), split_by=split_by)
    np.testing.assert_array_equal(frames, expected)
    assert frames.sum() == n
    assert frames.dtype == np.float32


def test_frames_by_number_hold_as_many_events():
    frames = event_frames([recording(90)], 3, (5, 7))[0]
    assert frames.sum(axis=(1, 2, 3)).tolist() == [30, 30, 30]


@pytest.mark.every_backend
def test_small_integers_do_not_overflow():
    events = {"x": np.uint8([200]), "y": np.uint8([3]), "p": np.uint8([1]), "t": np.uint32([4_000_000_000])}
    assert event_frames([events], 10, (5, 201), split_by="time")[0, 0, 3, 200, 1] == 1


def test_a_file(tmp_path):
    recordings = [recording(4), recording(6)]
    joined = {f"{name}_test": np.concatenate([r[name] for r in recordings]) for name in "xypt"}
    np.savez(tmp_path / "events.npz", **joined, offset_test=[0, 4, 10], label_test=np.uint8([7, 1]))
    found, labels = load_events(tmp_path / "events.npz", "test")
    assert labels.tolist() == [7, 1]
    assert labels.dtype == np.int64
    for a, b in zip(found, recordings, strict=True):
        for name in "xypt":
            np.testing.assert_array_equal(a[name], b[name])
    with pytest.raises(ValueError, match="no file of events with the split 'train'"):
        load_events(tmp_path / "events.npz", "train")
    with pytest.raises(FileNotFoundError):
        load_events(tmp_path / "nothing.npz", "train")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(ValueError, match="no file of events"):
        load_events(tmp_path / "text.npz", "train")


def test_bad_arguments():
    with pytest.raises(ValueError, match="split_by must be one of 'number', 'time', got 'space'"):
        event_frames([], 3, (5, 7), split_by="space")
    with pytest.raises(ValueError, match="size must hold all events"):
        event_frames([recording(50)], 3, (5, 5))
