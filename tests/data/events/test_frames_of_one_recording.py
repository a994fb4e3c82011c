"""``to_frames`` and ``to_events``: windows, edges that the caller sets, and the way back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import event_files

from keras_snn.data import to_events, to_frames

pytestmark = pytest.mark.backend_free


def recording(t, x=0, p=1):
    return {"x": np.full(len(t), x), "y": np.zeros(len(t), int), "t": np.asarray(t), "p": np.full(len(t), p)}


def counts(t, **options):
    """Return the number of events in each frame."""
    return to_frames(recording(t), (1, 1), **options).sum((1, 2, 3)).tolist()


@pytest.mark.every_backend
def test_windows():
    t = [10, 19, 20, 45]
    assert counts(t, window=10) == [2, 1, 0, 1]  # from 10 to 46
    assert counts(t, window=10, start=0) == [0, 2, 1, 0, 1]
    assert counts(t, window=10, start=15, stop=35) == [2, 0]
    assert counts(t, window=10, start=15, stop=45) == [2, 0, 1]  # the last frame has the event at `stop`
    assert counts(t, window=10, start=15, stop=44) == [2, 0, 0]
    assert counts(t, window=1000) == [4]  # longer than the recording
    assert counts(t, window=1000, start=0, stop=3000) == [4, 0, 0]
    assert counts(t, window=10, start=100, stop=120) == [0, 0]  # no events between the edges
    assert counts(t, window=17.5) == [3, 0, 1]
    assert counts(np.array(t) / 1000, window=0.01, start=0.0) == [0, 2, 1, 0, 1]


def test_no_event_and_one_event():
    assert counts([], window=10, start=0, stop=30) == [0, 0, 0]
    assert counts([], window=10) == counts([], count=3) == [0]
    assert counts([], n_frames=2) == [0, 0]
    for options in ({"window": 10}, {"count": 5}, {"n_frames": 1}):
        assert counts([7], **options) == [1]
    assert counts([7], n_frames=3, start=0, stop=8) == [0, 0, 1]
    assert counts([7], n_frames=2, stop=7, start=0) == [0, 1]  # at `stop`
    assert counts([0.5], n_frames=3) == [1, 0, 0]


def test_number_of_frames():
    assert counts([0, 1, 2, 3, 4, 5], n_frames=3) == [2, 2, 2]
    assert counts([0, 1, 2, 3, 4, 5], n_frames=3, start=0, stop=12) == [4, 2, 0]
    assert counts([0, 1, 2, 30, 40], n_frames=2, split_by="number") == [2, 3]
    assert counts([0, 1, 2, 30, 40], n_frames=2, split_by="number", start=1, stop=30) == [1, 2]
    assert counts([0, 1, 2, 30, 40], count=2) == [2, 2, 1]


def test_two_recordings_stay_in_step():
    first, second = recording([100, 250]), recording([0, 199])
    options = {"window": 100, "start": 0, "stop": 300}
    assert to_frames(first, (1, 1), **options)[:, 0, 0, 1].tolist() == [0, 1, 1]
    assert to_frames(second, (1, 1), **options)[:, 0, 0, 1].tolist() == [1, 1, 0]


def test_signed_polarity():
    events = {"x": [0, 0, 1], "y": [0, 0, 0], "t": [0, 1, 2], "p": [1, 1, 0]}
    assert to_frames(events, (1, 2), n_frames=1, polarity="signed").ravel().tolist() == [2, -1]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_windows_are_those_of_a_loop(draw):
    start = draw.draw(st.integers(-50, 50))
    window = draw.draw(st.integers(1, 40))
    stop = start + draw.draw(st.integers(1, 200))
    t = sorted(draw.draw(st.lists(st.integers(-80, 300), max_size=20)))
    n_frames = -(-(stop - start) // window)
    expected = [0] * n_frames
    for time in t:
        if start <= time <= stop:
            expected[min((time - start) // window, n_frames - 1)] += 1
    assert counts(t, window=window, start=start, stop=stop) == expected
    bins = [0] * n_frames
    for time in t:
        if start <= time <= stop:
            bins[min((time - start) * n_frames // (stop - start), n_frames - 1)] += 1
    assert counts(t, n_frames=n_frames, start=start, stop=stop) == bins


@pytest.mark.parametrize("polarity", ["channels", "signed"])
def test_events_from_frames_have_the_same_counts(polarity):
    rng = np.random.default_rng(0)
    shape = (4, 3, 5, 2 if polarity == "channels" else 1)
    frames = rng.integers(0 if polarity == "channels" else -3, 4, shape).astype("float32")
    events = to_events(frames, window=10, start=-20)
    assert len(events) == np.abs(frames).sum()
    assert (np.diff(events["t"]) >= 0).all()
    back = to_frames(events, (3, 5), window=10, start=-20, stop=20, polarity=polarity)
    np.testing.assert_array_equal(back, frames)
    audio = to_events(frames[:, 0])
    assert audio.dtype.names == ("x", "t", "p")
    one_pixel = to_events(np.float32([[[[0, 3]]]]), window=12)
    assert one_pixel["t"].tolist() == [2, 6, 10]
    assert len(to_events(np.zeros(shape))) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Give one of `n_frames`, `window` and `count`; got n_frames=None, window=None, count=None"),
        ({"n_frames": 2, "window": 5}, "got n_frames=2, window=5, count=None"),
        ({"window": 0}, "`window` must be a finite number above 0; got 0"),
        ({"count": 0}, "`count` must be an integer of at least 1; got 0"),
        ({"n_frames": 0}, "`n_frames` must be an integer of at least 1"),
        ({"n_frames": 1, "start": 5, "stop": 5}, "`stop` must be after `start`; got start=5 and stop=5"),
        ({"n_frames": 1, "start": np.nan}, "`start` must be a finite number; got nan"),
        ({"n_frames": 1, "polarity": "both"}, "`polarity` must be one of 'channels', 'signed'; got 'both'"),
    ],
)
def test_invalid_options(options, message):
    with pytest.raises(ValueError, match=message):
        counts([1, 2], **options)


@pytest.mark.parametrize(
    "frames", [np.zeros((2, 2)), np.zeros((2, 2, 2, 3)), [[[[0.5]]]], [[[[-1, 0]]]], [[[[np.nan]]]]]
)
def test_frames_without_whole_counts_are_refused(frames):
    with pytest.raises(ValueError, match="`frames` must be"):
        to_events(frames)


def test_long_recordings():
    events = event_files.random_events(100, 2**45, start=2**40)  # 1.1 years of microseconds
    frames = to_frames(events, (720, 1280), window=2**43, start=2**40, stop=2**40 + 2**45)
    np.testing.assert_array_equal(frames.sum((1, 2, 3)), np.bincount((events["t"] - 2**40) >> 43, minlength=4))
