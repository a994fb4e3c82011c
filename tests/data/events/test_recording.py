import numpy as np
import pytest

from keras_snn.data import as_events

pytestmark = pytest.mark.backend_free

EVENT = np.dtype([("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "?")])


@pytest.mark.every_backend
def test_fields_of_any_type_and_byte_order():
    rows = [(2, 1, 4_300_000_000, 1), (0, 3, 4_300_000_007, 0)]  # 71.7 minutes of microseconds: above 32 bits
    expected = np.array(rows, EVENT)
    for types in ("uuuu", "iiii"):
        for order in "<>":
            fields = [(name, f"{order}{kind}8") for name, kind in zip("xytp", types, strict=True)]
            np.testing.assert_array_equal(as_events(np.array(rows, fields), (4, 3)), expected)
    mixed = [("p", "?"), ("t", ">u8"), ("y", "<i2"), ("x", ">f4")]
    np.testing.assert_array_equal(as_events(np.array([r[::-1] for r in rows], mixed)), expected)
    np.testing.assert_array_equal(as_events(expected.view(np.recarray)), expected)
    np.testing.assert_array_equal(as_events({name: expected[name].tolist() for name in "tpyx"}), expected)
    assert as_events(expected, (4, 3)) is expected  # no copy


def test_negative_times_are_kept():
    assert as_events({"x": [0, 0], "y": [0, 0], "t": [-7, 3], "p": [1, 0]})["t"].tolist() == [-7, 3]


def test_no_events():
    assert as_events({"x": [], "y": [], "t": [], "p": []}, (2, 2)).dtype == EVENT


def test_audio_has_no_y():
    events = as_events({"x": [5], "t": [0.5], "p": [1]}, 6)
    assert events.dtype == np.dtype([("x", "i2"), ("t", "f8"), ("p", "?")])


@pytest.mark.parametrize(
    ("recording", "size", "message"),
    [
        ([1, 2], None, "`recording` must be a structured array or a mapping .*; got a list"),
        (np.zeros(3), None, "`recording` must have 'x', 't', 'p'; 'x' is missing"),
        (np.zeros(2, EVENT), (1,), r'has a "y": `size` must be \(height, width\)'),
        (np.array([(-1, 0, 0, 0)], EVENT), None, '"x" of `recording` must be from 0 to 32767; got -1 at event 0'),
        (np.array([(0, 9, 0, 0)], EVENT), (9, 9), '"y" of `recording` must be from 0 to 8, .*; got 9 at event 0'),
        (np.array([(0, 0, 5, 0), (0, 0, 3, 0)], EVENT), None, "got 3 at event 1, after 5"),
        ({"x": [40_000], "y": [0], "t": [0], "p": [0]}, None, "from 0 to 32767; got 40000 at event 0"),
        ({"x": [0], "y": [0], "t": np.uint64([2**63]), "p": [0]}, None, "below 2\\*\\*63"),
    ],
)
def test_what_is_refused(recording, size, message):
    with pytest.raises(ValueError, match=message):
        as_events(recording, size)
