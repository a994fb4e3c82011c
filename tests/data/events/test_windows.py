import itertools

import numpy as np
import pytest
from reference import event_files

from keras_snn import data

pytestmark = pytest.mark.backend_free


def at(*times):
    return {"x": [0] * len(times), "y": [0] * len(times), "p": [1] * len(times), "t": list(times)}


def windows(parts, window):
    return [(start, events["t"].tolist()) for start, events in data.time_windows(parts, window)]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], []),
        ([7], [(7, [7])]),
        ([5, 14, 15, 19], [(5, [5, 14, 15, 19])]),  # the rest is shorter than half a window
        ([5, 14, 15, 20], [(5, [5, 14]), (15, [15, 20])]),
        ([0, 100, 101], [(0, [0]), (100, [100, 101])]),  # windows without events are left out
        ([0, 3, 10, 19, 20, 24], [(0, [0, 3]), (10, [10, 19, 20, 24])]),
        ([-12, -3, 3], [(-12, [-12, -3]), (-2, [3])]),
        ([0.5, 1.0, 10.4, 10.5, 15.5], [(0.5, [0.5, 1.0, 10.4]), (10.5, [10.5, 15.5])]),
    ],
)
def test_windows_of_ten(times, expected):
    assert windows([at(*times)], 10) == expected
    assert windows([at(time) for time in times], 10) == expected  # the parts do not matter


@pytest.mark.every_backend
def test_all_events_are_in_one_window_each():
    events = event_files.random_events(500, 10_000)
    parts = np.split(events, [3, 3, 250, 499])
    found = list(data.time_windows(iter(parts), 700))
    np.testing.assert_array_equal(np.concatenate([part for _, part in found]), events)
    for (start, part), (following, _) in itertools.pairwise(found):
        assert start <= part["t"][0]
        assert part["t"][-1] < start + 700 <= following
    assert len(found) == 14  # 14.3 windows


def test_only_a_part_is_read_at_a_time():
    read = []

    def parts():
        for start in range(0, 1000, 100):
            read.append(start)
            yield at(*range(start, start + 100))

    next(data.time_windows(parts(), 50))
    assert read == [0]


def test_errors():
    with pytest.raises(ValueError, match="`window` must be a finite number above 0; got 0"):
        windows([at(1)], 0)
    with pytest.raises(ValueError, match="must be sorted"):
        windows([at(5, 1)], 10)
