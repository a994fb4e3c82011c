import numpy as np
import pytest

from keras_snn import data
from keras_snn.data import event_frames

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
def test_frames_equal_a_loop(split_by, n):
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


def test_frames_by_number_have_equal_numbers_of_events():
    frames = event_frames([recording(90)], 3, (5, 7))[0]
    assert frames.sum(axis=(1, 2, 3)).tolist() == [30, 30, 30]


@pytest.mark.every_backend
def test_small_integers_do_not_overflow():
    events = {"x": np.uint8([200]), "y": np.uint8([3]), "p": np.uint8([1]), "t": np.uint32([4_000_000_000])}
    assert event_frames([events], 10, (5, 201), split_by="time")[0, 0, 3, 200, 1] == 1


def test_a_file(tmp_path):
    recordings = [recording(4), recording(6)]
    joined = {name: np.concatenate([r[name] for r in recordings]) for name in "xypt"}
    arrays = {f"{name}_{split}": array for name, array in joined.items() for split in ("train", "test")}
    arrays |= {"offset_train": [0, 10], "label_train": [3], "offset_test": [0, 4, 10], "label_test": np.uint8([7, 1])}
    np.savez(tmp_path / "events.npz", **arrays)
    (first_split, first_labels), (second_split, labels) = data.load("nmnist", path=tmp_path / "events.npz")
    assert (len(first_split), first_labels.tolist()) == (1, [3])
    assert labels.tolist() == [7, 1]
    assert labels.dtype == np.int64
    for loaded, written in zip(second_split, recordings, strict=True):
        for name in "xypt":
            np.testing.assert_array_equal(loaded[name], written[name])
    with pytest.raises(FileNotFoundError):
        data.load("nmnist", path=tmp_path / "nothing.npz")
    content = (tmp_path / "events.npz").read_bytes()
    for name, content in (("text", b"no archive"), ("empty", b""), ("cut", content[:-40])):
        (tmp_path / f"{name}.npz").write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}\.npz' must be a file of events"):
            data.load("nmnist", path=tmp_path / f"{name}.npz")
    del arrays["x_test"]
    np.savez(tmp_path / "part.npz", **arrays)
    with pytest.raises(ValueError, match=r"part\.npz' must be a file of events with the split 'test', and complete"):
        data.load("nmnist", path=tmp_path / "part.npz")


def test_a_file_of_audio_has_no_y(tmp_path):
    joined = {"x": [0, 1, 1], "p": [1, 0, 1], "t": [0.1, 0.2, 0.3], "offset": [0, 3], "label": [2]}
    np.savez(
        tmp_path / "audio.npz", **{f"{name}_{split}": joined[name] for name in joined for split in ("train", "test")}
    )
    ((events,), _), _ = data.load("nmnist", path=tmp_path / "audio.npz")
    assert events.dtype.names == ("x", "t", "p")
    assert event_frames([events], 3, 2, split_by="time")[0, :, 1].tolist() == [[0, 0], [1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"offset_train": [0, 2, 4]}, "`offset_train` of .* must rise from 0 to the number of events"),
        ({"offset_train": [1, 2, 3]}, "must rise from 0"),
        ({"offset_train": [0, 4, 3]}, "must rise from 0"),
        ({"offset_train": []}, "must rise from 0"),
        ({"offset_train": [0, 1.5, 3]}, r"`offset_train` of .* must be whole numbers; got 1.5 at event 1"),
        ({"t_train": [5, 6]}, "for 3 x, 3 y, 3 p, 2 t"),
        ({"label_train": [1]}, "must have a label for each of 2 recordings; got 1"),
        ({"label_train": [1, 0.5]}, "`label_train` of .* must be whole numbers; got 0.5"),
    ],
    ids=str,
)
def test_a_file_whose_arrays_do_not_fit_is_refused(tmp_path, changed, message):
    arrays = {f"{name}_train": [0, 1, 1] for name in "xypt"} | {"offset_train": [0, 1, 3], "label_train": [4, 5]}
    np.savez(tmp_path / "events.npz", **(arrays | changed))
    with pytest.raises(ValueError, match=message):
        data.load("nmnist", path=tmp_path / "events.npz")


#: Four events at x = y = 0.
EVENTS = {"x": [0, 0, 0, 0], "y": [0, 0, 0, 0], "p": [0, 1, 1, 0], "t": [1, 2, 3, 4]}


def counts(n_steps=4, size=(1, 1), recordings=None, split_by="time", sort=False, **changed):
    """Return the counts (n_steps, 2) of the first pixel."""
    recordings = [EVENTS | changed] if recordings is None else recordings
    return event_frames(recordings, n_steps, size, split_by=split_by, sort=sort)[0].reshape(n_steps, -1, 2)[:, 0]


@pytest.mark.parametrize(
    "p", [[-1, 1, 1, -1], [-1.0, 1.0, 1.0, -1.0], [False, True, True, False], [0.0, 1.0, 1.0, 0.0]]
)
def test_polarities(p):
    expected = [[1, 0], [0, 1], [0, 1], [1, 0]]
    assert counts().tolist() == counts(p=p).tolist() == counts(p=np.array(p, "float16")).tolist() == expected
    assert counts(p=[1] * 4).sum(axis=0).tolist() == [0, 4]
    assert counts(p=[-1] * 4).sum(axis=0).tolist() == [4, 0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("unit", [1.0, 1000.0])
def test_times_that_are_floats(dtype, unit):
    events = {"x": [0] * 3, "y": [0] * 3, "p": [0] * 3, "t": unit * np.array([0.10, 0.45, 0.90], dtype)}
    assert counts(3, recordings=[events])[:, 0].tolist() == [1, 1, 1]


def test_integer_times_do_not_overflow():
    limits = np.iinfo("int64")
    for t in (
        np.array([limits.min, -1, 1, limits.max]),
        np.array([0, 2**61, 2**62 + 2**61, 2**63 - 1], "uint64"),
        np.array([-128, -1, 1, 127], "int8"),
    ):
        assert counts(2, t=t).sum(axis=1).tolist() == [2, 2]
    assert counts(4, t=10**18 + np.array([0, 1, 2, 3])).sum(axis=1).tolist() == [1, 1, 1, 1]  # float64 spacing: 128


@pytest.mark.parametrize("split_by", ["number", "time"])
@pytest.mark.parametrize("t", [[7], [0.5], np.array([2**32 - 1], "uint32")])
def test_a_single_event_is_in_the_first_frame(split_by, t):
    event = {"x": [0], "y": [0], "p": [1], "t": t}
    assert counts(recordings=[event], split_by=split_by).tolist() == [[0, 1], [0, 0], [0, 0], [0, 0]]
    assert counts(9, split_by=split_by).sum() == 4  # more steps than events


def test_equal_times_are_in_the_first_step():
    for t in ([3] * 4, [0.3] * 4):
        assert counts(t=t).sum(axis=1).tolist() == [4, 0, 0, 0]


def test_a_recording_without_events_gives_zeros():
    empty = {name: [] for name in "xypt"}
    frames = event_frames([empty, EVENTS], 3, (2, 2), split_by="time")
    assert frames.shape == (2, 3, 2, 2, 2)
    assert frames.sum(axis=(1, 2, 3, 4)).tolist() == [0, 4]
    assert event_frames([], 3, (2, 2)).shape == (0, 3, 2, 2, 2)


@pytest.mark.parametrize("size", [3, (3,), np.int64(3), [3]])
def test_events_without_y_are_counted_by_channel(size):
    events = {"x": [2, 0, 2], "p": [0, 1, 1], "t": [1, 2, 3]}
    frames = event_frames([events], np.int64(3), size, split_by="time")
    assert frames.shape == (1, 3, 3, 2)
    assert frames[0, :, 2].tolist() == [[1, 0], [0, 0], [0, 1]]
    assert frames[0, 1, 0].tolist() == [0, 1]


def test_record_arrays():
    records = np.array([(5, 0, 0, True), (9, 0, 0, False)], [("t", "i4"), ("x", "i2"), ("y", "i2"), ("p", "?")])
    assert counts(2, recordings=[records]).tolist() == [[0, 1], [1, 0]]


def test_unsorted_times():
    t, x = [3, 1, 4, 2], [0, 1, 2, 3]
    for split_by in ("number", "time"):
        with pytest.raises(
            ValueError, match=r'^"t" of recordings\[0\] must be sorted.*sort=True.*; got 1 at event 1, after 3'
        ):
            counts(t=t, split_by=split_by)
        frames = event_frames([EVENTS | {"t": t, "x": x}], 4, (1, 4), split_by=split_by, sort=True)
        assert frames.sum(axis=(2, 4))[0].argmax(axis=1).tolist() == [1, 3, 0, 2]
    with pytest.raises(ValueError, match=r"recordings\[1\]"):
        event_frames([EVENTS, EVENTS | {"t": np.uint8([1, 2, 1, 3])}], 4, (1, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split_by": "space"}, "`split_by` must be one of 'number', 'time'; got 'space'"),
        ({"n_steps": 0}, "`n_steps` must be an integer of at least 1; got 0"),
        ({"n_steps": 2.0}, "`n_steps` must be an integer"),
        ({"size": (2, 2, 2)}, r"`size` must be \(height, width\), or \(n,\) .* polarities is added. Got \(2, 2, 2\)"),
        ({"size": ()}, r"`size` must be \(height, width\)"),
        ({"size": (2.0, 2)}, "`size` must be an integer of at least 1"),
        ({"size": (1,)}, r'recordings\[0\] has a "y": `size` must be \(height, width\); got \(1,\)'),
        ({"recordings": EVENTS}, "`recordings` must be a list of recordings; got one recording"),
        ({"recordings": [{"x": [0], "p": [0], "t": [0]}]}, r"recordings\[0\] must have .*'y' is missing.*size=\(n,\)"),
        *(({"recordings": [EVENTS, {k: EVENTS[k] for k in "xypt" if k != n}]}, f"'{n}' is missing") for n in "xpt"),
        ({"x": [0, 0, 1, 0]}, r'"x" of recordings\[0\] must be from 0 to 0, within `size` \(1, 1\); got 1 at event 2'),
        ({"y": [0, -1, 0, 0]}, r'"y" of recordings\[0\] must be from 0 to 0, .*; got -1 at event 1'),
        ({"x": [0, 0, 0.5, 0]}, r'"x" of recordings\[0\] must be whole numbers; got 0.5 at event 2'),
        ({"y": [0, 0, np.nan, 0]}, '"y" .* must be whole numbers; got nan at event 2'),
        ({"x": [0, 0, np.inf, 0]}, '"x" .* must be whole numbers; got inf at event 2'),
        ({"x": ["0"] * 4}, '"x" .* must be a vector of whole numbers'),
        ({"x": [[0, 0, 0, 0]]}, r'"x" .* must be a vector .* of shape \(1, 4\)'),
        ({"x": [0, 0, 0]}, "must have the same length; got 3 of 'x', 4 of 'y', 4 of 't', 4 of 'p'"),
        ({"p": [0, 1, 2, 0]}, r'"p" of recordings\[0\] must be 0 or 1 \(or -1 and \+1\); got 2 at event 2'),
        ({"p": [0, 1, 1, -1]}, r'"p" .* must be -1 or \+1, as another event has -1; got 0 at event 0'),
        ({"p": [0, 1, 0.5, 0]}, '"p" .*; got 0.5 at event 2'),
        ({"p": [0, 1, np.nan, 0]}, '"p" .*; got nan at event 2'),
        ({"t": [0.1, np.nan, 0.2, 0.3]}, '"t" .* must be finite; got nan at event 1'),
        ({"t": np.float16([0.1, 0.2, 0.3, np.inf])}, '"t" .* must be finite; got inf at event 3'),
        ({"t": np.array([1, 2, 3, 4], "datetime64[us]")}, '"t" .* must be a vector of integers or floats'),
    ],
    ids=str,
)
def test_invalid_events_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        counts(**options)
