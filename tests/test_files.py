"""Atomic writing, and errors that name the broken file."""

import ast
import os
import stat

import keras
import numpy as np
import pytest

from keras_snn import data
from keras_snn.files import load_arrays, load_model, remove_leftovers, replacing, save_model, vector_parts, write_text

pytestmark = pytest.mark.backend_free


def test_write_text_creates_folders(tmp_path):
    path = tmp_path / "a" / "b" / "note.txt"
    write_text(path, "naïve 5 Ω\n")
    assert path.read_bytes() == "naïve 5 Ω\n".encode()
    assert os.listdir(path.parent) == ["note.txt"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.every_backend
def test_a_path_may_be_a_string(tmp_path):
    write_text(str(tmp_path / "note.txt"), "a")
    assert (tmp_path / "note.txt").read_text() == "a"


def test_write_text_replaces_a_file(tmp_path):
    path = tmp_path / "note.txt"
    write_text(path, "a long first version")
    write_text(path, "second")
    assert path.read_text() == "second"


def test_the_temporary_file_has_the_folder_and_suffix_of_the_target(tmp_path):
    with replacing(tmp_path / "picture.png") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"
        assert not (tmp_path / "picture.png").exists()
        temporary.write_bytes(b"png")
    assert (tmp_path / "picture.png").read_bytes() == b"png"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("before", [None, "first"])
def test_an_error_leaves_the_file_unchanged(tmp_path, error, before):
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


def test_all_suffixes_stay_last(tmp_path):
    """A temporary file keeps the ending ".weights.h5", which Keras requires."""
    with replacing(tmp_path / "epoch-1.weights.h5") as temporary:
        assert temporary.name.endswith(".weights.h5")


def test_files_left_by_a_killed_process_are_removed(tmp_path):
    others = [".hidden", ".hidden-12345678.txt", "note.part.txt", ".a-note.part.txt"]
    for name in others:
        write_text(tmp_path / name, "kept")
    for name in ("a note.txt", "epoch-1.weights.h5"):
        with replacing(tmp_path / name) as temporary:
            pass
        temporary.write_bytes(b"half of the")  # a process killed before the renaming leaves this file
    assert len(os.listdir(tmp_path)) == 4 + len(others)
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "a note.txt", "epoch-1.weights.h5"])


class Interrupted:
    """A model whose `save` is interrupted."""

    def save(self, path):
        assert path.suffix == ".keras"
        path.write_bytes(b"PK\x03\x04 half of a model")
        raise KeyboardInterrupt


def test_an_interrupted_save_leaves_no_partial_model(tmp_path):
    path = tmp_path / "ann.keras"
    for _ in range(2):
        before = os.listdir(tmp_path)
        with pytest.raises(KeyboardInterrupt):
            save_model(Interrupted(), path)
        assert os.listdir(tmp_path) == before
        save_model(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), path)
    assert load_model(path).output_shape == (None, 1)  # from before the second interruption


def test_load_arrays_names_the_file_and_the_missing_array(tmp_path):
    path = tmp_path / "some.npz"
    np.savez(path, a=np.arange(3), b=np.ones(2))
    arrays = load_arrays(path, "a file", ["a"], optional=["b", "c"])
    assert {name: array.tolist() for name, array in arrays.items()} == {"a": [0, 1, 2], "b": [1, 1]}
    with pytest.raises(ValueError, match=r"some\.npz' must be a file of sounds, and complete: .*'d is not a file"):
        load_arrays(path, "a file of sounds", ["a", "d"])
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        load_arrays(tmp_path / "none.npz", "a file", ["a"])


def test_a_header_is_read_again_after_a_fault_of_the_parser(tmp_path, monkeypatch):
    np.savez(tmp_path / "some.npz", a=np.arange(3))
    np.save(tmp_path / "events.npy", np.array([(1, 2, 3, 1)], [("x", "u2"), ("y", "u2"), ("t", "i8"), ("p", "u1")]))
    parse, n_calls = ast.literal_eval, []

    def disturbed(text):
        n_calls.append(text)
        if len(n_calls) % 3:
            raise SystemError("AST constructor recursion depth mismatch (before=54, after=51)")
        return parse(text)

    monkeypatch.setattr(ast, "literal_eval", disturbed)
    assert load_arrays(tmp_path / "some.npz", "a file", ["a"])["a"].tolist() == [0, 1, 2]
    (part,) = vector_parts(tmp_path / "some.npz", "a file", ["a"])
    assert part["a"].tolist() == [0, 1, 2]
    assert data.read_events(tmp_path / "events.npy")["t"].tolist() == [3]
    assert len(n_calls) == 9
