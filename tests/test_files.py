"""Files that are whole or not there."""

import os
import stat

import pytest

from keras_snn.files import replacing, write_text

pytestmark = pytest.mark.backend_free


def test_writes_and_makes_the_folders(tmp_path):
    path = tmp_path / "a" / "b" / "note.txt"
    write_text(path, "naïve 5 Ω\n")
    assert path.read_bytes() == "naïve 5 Ω\n".encode()
    assert os.listdir(path.parent) == ["note.txt"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.every_backend
def test_takes_a_string_as_a_path(tmp_path):
    write_text(str(tmp_path / "note.txt"), "a")
    assert (tmp_path / "note.txt").read_text() == "a"


def test_replaces_what_was_there(tmp_path):
    path = tmp_path / "note.txt"
    write_text(path, "a long first version")
    write_text(path, "second")
    assert path.read_text() == "second"


def test_the_temporary_file_is_beside_and_has_the_suffix(tmp_path):
    with replacing(tmp_path / "picture.png") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"
        assert not (tmp_path / "picture.png").exists()
        temporary.write_bytes(b"png")
    assert (tmp_path / "picture.png").read_bytes() == b"png"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("before", [None, "first"])
def test_an_error_leaves_everything_as_it_was(tmp_path, error, before):
    path = tmp_path / "note.txt"
    if before is not None:
        path.write_text(before)
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("half of the sec")
        raise error
    assert os.listdir(tmp_path) == ([] if before is None else ["note.txt"])
    assert before is None or path.read_text() == before


def test_an_unwritable_folder_is_an_error(tmp_path):
    (tmp_path / "file").write_text("no folder")
    for path in (tmp_path / "file" / "note.txt", tmp_path / "file" / "deeper" / "note.txt"):
        with pytest.raises(OSError, match="file"):
            write_text(path, "a")
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_in_the_place_of_the_file_is_an_error(tmp_path):
    (tmp_path / "note.txt").mkdir()
    with pytest.raises(OSError, match=r"note\.txt"):
        write_text(tmp_path / "note.txt", "a")
    assert os.listdir(tmp_path) == ["note.txt"]
