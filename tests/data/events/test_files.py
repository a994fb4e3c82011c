import numpy as np
import pytest
from reference import event_files

from keras_snn import data, files

pytestmark = pytest.mark.backend_free

EVENT = np.dtype([("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "?")])

#: Encoder, second decoder and library of each format.
FORMATS = {
    "EVT 3.0": (event_files.evt3, event_files.decode_evt3, "evt3"),
    "EVT 2.0": (event_files.evt2, event_files.decode_evt2, "faery"),
    "DAT": (event_files.dat, event_files.decode_dat, "faery"),
}


def written(tmp_path, content, name="recording"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


# The times of EVT 3.0 wrap after 2**24 us (16.8 s), of DAT after 2**32 us (71 min), of EVT 2.0 after 2**34 us (4.8 h).
@pytest.mark.parametrize(
    ("name", "span", "start"),
    [
        ("EVT 3.0", 40_000_000, 0),
        ("EVT 3.0", 100_000, 2**24 - 3000),
        ("EVT 2.0", 1_000_000, 5_000_000),
        ("EVT 2.0", 2**35, 0),
        ("DAT", 1_000_000, 5_000_000),
        ("DAT", 2**34, 0),
    ],
)
@pytest.mark.parametrize("extra", [(), event_files.EXTRA])
def test_the_libraries_agree_with_a_second_decoder(tmp_path, name, span, start, extra):
    encode, decode, library = FORMATS[name]
    pytest.importorskip(library)
    events = event_files.random_events(500, span, start=start)
    content = encode(events, extra) if name != "DAT" else encode(events)
    np.testing.assert_array_equal(decode(content), events)  # the second decoder is right
    path = written(tmp_path, content)  # the name has no ending
    read = data.read_events(path)
    np.testing.assert_array_equal(read, events)
    assert read.dtype == EVENT
    assert data.sensor_size(path) == (720, 1280)
    from_first = data.read_events(path, clock="first")["t"]
    np.testing.assert_array_equal(from_first, events["t"] - events["t"][0])


def test_vectors_of_events(tmp_path):
    pytest.importorskip("evt3")
    words = [0x8001, 0x6002, 0x0007, 0x3803, 0x4805, 0x50FF, 0x6005, 0x3001, 0x5003]
    content = event_files.HEADER.format(3).encode() + np.array(words, "<u2").tobytes()
    expected = event_files.decode_evt3(content)
    assert expected["x"].tolist() == [3, 5, 14, *range(15, 23), 1, 2]
    assert expected["p"].tolist() == [True] * 11 + [False] * 2
    np.testing.assert_array_equal(data.read_events(written(tmp_path, content)), expected)


def test_aedat4(tmp_path):
    # The encoder is of the decoder's library; the values are from here, and a second library reads them too.
    faery = pytest.importorskip("faery")
    events = event_files.random_events(300, 10**6, start=1_700_000_000_000_000)
    packet = np.empty(len(events), [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")])
    for field, name in (("t", "t"), ("x", "x"), ("y", "y"), ("on", "p")):
        packet[field] = events[name]
    path = str(tmp_path / "recording.aedat4")
    faery.file_encoder.events_to_file(iter([packet]), path, (1280, 720), zero_t0=False)
    np.testing.assert_array_equal(data.read_events(path), events)
    assert data.sensor_size(path) == (720, 1280)
    content = (tmp_path / "recording.aedat4").read_bytes()
    with pytest.raises(ValueError, match="must be a complete AEDAT 4 file"):
        data.read_events(written(tmp_path, content[: len(content) // 2]))


def test_nmnist_files(tmp_path):
    pytest.importorskip("tonic")
    events = event_files.random_events(400, 300_000)
    events["x"] %= 34
    events["y"] %= 34
    path = written(tmp_path, event_files.five_bytes(events))
    np.testing.assert_array_equal(data.read_events(path), events)
    assert data.sensor_size(path) is None


@pytest.mark.every_backend
def test_own_files(tmp_path):
    events = event_files.random_events(50, 2**40, start=-5)
    path = tmp_path / "recording.npz"
    data.write_events(path, events, size=(720, 1280))
    np.testing.assert_array_equal(data.read_events(path), events)
    assert data.sensor_size(path) == (720, 1280)
    np.save(
        tmp_path / "array.npy",
        events[["t", "p", "y", "x"]].astype([("t", ">i8"), ("p", "i1"), ("y", ">u2"), ("x", "f4")]),
    )
    np.testing.assert_array_equal(data.read_events(tmp_path / "array.npy"), events)
    audio = {"x": [3, 1], "t": [0.1, 0.2], "p": [1, 0]}
    data.write_events(path, audio)
    assert data.read_events(path).dtype.names == ("x", "t", "p")
    assert data.read_events(path, clock="first")["t"].tolist() == pytest.approx([0, 0.1])
    assert data.sensor_size(path) is None
    with pytest.raises(ValueError, match=r"`path` must end in \.npz; got .*recording\.raw"):
        data.write_events(tmp_path / "recording.raw", events)
    with pytest.raises(ValueError, match="within `size` \\(2, 2\\)"):
        data.write_events(path, events, size=(2, 2))
    assert data.read_events(path).dtype.names == ("x", "t", "p")  # the file is as before


def test_parts_of_a_recording_are_written_one_after_another(tmp_path):
    events = event_files.random_events(1000, 10**6, start=-5)
    path = tmp_path / "recording.npz"
    data.write_events(path, iter(np.split(events, [0, 10, 700])), size=(720, 1280))
    np.testing.assert_array_equal(data.read_events(path), events)
    assert data.sensor_size(path) == (720, 1280)
    with np.load(path) as arrays:  # as of numpy.savez
        assert {name: array.dtype for name, array in arrays.items()} == {
            **{name: EVENT[name] for name in "xytp"},
            "size": np.dtype("int64"),
        }
    data.write_events(path, iter(()))
    assert len(data.read_events(path)) == 0
    data.write_events(path, events)
    for parts, message in (
        ([events[:10], events[5:20]], r'"t" of `recording` must be sorted; got .* at event 10, after'),
        ([events[:10], events[10:20][::-1]], r'"t" of `recording`, from event 10 on, must be sorted'),
        ([events[:10], {"x": [0], "t": [2**41], "p": [1]}], "'y' is missing"),
    ):
        with pytest.raises(ValueError, match=message):
            data.write_events(path, iter(parts), size=(720, 1280))
        np.testing.assert_array_equal(data.read_events(path), events)  # the file is as before
    assert [file.name for file in tmp_path.iterdir()] == ["recording.npz"]


def test_a_file_is_read_in_parts(tmp_path, monkeypatch):
    events = event_files.random_events(25, 1000)
    path = tmp_path / "recording.npz"
    data.write_events(path, events)
    monkeypatch.setattr(files, "PART_LENGTH", 10)
    assert [len(part) for part in data.iter_events(path)] == [10, 10, 5]
    np.testing.assert_array_equal(data.read_events(path), events)
    np.savez(path, x=np.zeros(20), y=np.zeros(20), t=np.arange(20), p=[1] * 15 + [3] * 5)
    with pytest.raises(ValueError, match=r"recording\.npz', from event 10 on, must be 0 or 1 .*; got 3 at event 5"):
        data.read_events(path)
    for arrays, message in (
        ({"x": np.zeros(2), "t": np.zeros(3), "p": np.zeros(2)}, "its arrays x, t, p must be vectors of the same"),
        (
            {"x": np.zeros((2, 2)), "t": np.zeros((2, 2)), "p": np.zeros((2, 2))},
            ".* must be vectors of the same length",
        ),
        ({"x": np.array([None, 1]), "t": np.zeros(2), "p": np.zeros(2)}, "it has Python objects"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=f"must be a file of `write_events`, and complete: {message}"):
            data.read_events(path)


@pytest.mark.parametrize("n", [0, 1])
def test_recordings_of_no_and_of_one_event(tmp_path, n):
    events = event_files.random_events(n, 1000)
    data.write_events(tmp_path / "a.npz", events)
    np.testing.assert_array_equal(data.read_events(tmp_path / "a.npz", clock="first")["t"], np.zeros(n))
    for name in ("EVT 2.0", "DAT"):
        encode, _, library = FORMATS[name]
        pytest.importorskip(library)
        np.testing.assert_array_equal(data.read_events(written(tmp_path, encode(events))), events)
    pytest.importorskip("evt3")
    header = event_files.HEADER.format(3).encode()
    assert len(data.read_events(written(tmp_path, header))) == 0


@pytest.mark.parametrize(
    ("name", "n_bytes", "message"),
    [("EVT 3.0", 1, "1 bytes after byte"), ("EVT 2.0", 3, "1 bytes after byte"), ("DAT", 5, "3 bytes after byte")],
)
def test_a_file_that_ends_within_an_event(tmp_path, name, n_bytes, message):
    encode, _, library = FORMATS[name]
    pytest.importorskip(library)
    content = encode(event_files.random_events(20, 1000))
    path = written(tmp_path, content[:-n_bytes])
    end = len(content) - {"EVT 3.0": 2, "EVT 2.0": 4, "DAT": 8}[name]
    with pytest.raises(ValueError, match=f"recording' must be a complete {name} file: it ends .* {message} {end}"):
        data.read_events(path)


def test_malformed_files(tmp_path):
    pytest.importorskip("evt3")
    header = event_files.HEADER.format(3).encode()

    def evt3(*words):
        return written(tmp_path, header + np.array(words, "<u2").tobytes())

    with pytest.raises(ValueError, match=r'"x" of .*recording\' must be from 0 to 1279, .*; got 1500 at event 1'):
        data.read_events(evt3(0x8000, 0x6001, 0x0000, 0x2001, 0x2000 | 1500))
    backwards = evt3(0x8005, 0x6001, 0x0000, 0x2001, 0x8004, 0x2001)
    with pytest.raises(ValueError, match=r'"t" of .* must be sorted .*; got 16384 at event 1, after 20481'):
        data.read_events(backwards)
    assert data.read_events(backwards, sort=True)["t"].tolist() == [16384, 20481]
    pytest.importorskip("faery")
    wrong = event_files.dat(event_files.random_events(3, 10))[:-1] + b"\xff"
    with pytest.raises(ValueError, match=r"must be a complete DAT file: .*overflow"):
        data.read_events(written(tmp_path, wrong[:-4] + b"\xff\xff\xff\xff"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"x,y,t,p\n1,2,3,4\n", "its content has no known format"),
        (b"hello", "its content has no known format"),
        (bytes([1, 2, 9, 0, 0, 1, 2, 3, 0, 0]), "its content has no known format"),  # five bytes, but times go back
        (b"#!AER-DAT3.1\r\n", "AEDAT 2 and 3 are not supported. Convert it to AEDAT 4"),
        (b"% evt 2.1\n% end\n", "EVT 2.1 is not supported"),
        (b"% evt 3.0\n% endianness big\n% end\n", "big-endian EVT is not supported"),
        (b"\x89HDF\r\n\x1a\n", "HDF5 has no common layout"),
        (b"Event Stream\x02\x00\x00\x01", "a cut file would be read without an error"),
        (b"PK\x03\x04....", "must be a file of `write_events`, and complete"),
        (b"\x93NUMPY\x01", "must be a complete file of `numpy.save`"),
    ],
)
def test_other_content_is_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        data.read_events(written(tmp_path, content))


def test_arguments(tmp_path):
    with pytest.raises(FileNotFoundError):
        data.read_events(tmp_path / "nothing.raw")
    with pytest.raises(OSError):
        data.read_events(tmp_path)
    with pytest.raises(ValueError, match="`clock` must be one of 'file', 'first'; got 'now'"):
        data.read_events(tmp_path, clock="now")


def test_parts_are_not_in_memory_together(tmp_path):
    pytest.importorskip("evt3")
    events = event_files.random_events(500, 40_000_000)
    parts = data.iter_events(written(tmp_path, event_files.evt3(events)))
    np.testing.assert_array_equal(np.concatenate(list(parts)), events)
