"""Atomic file writing, and readers that name the broken file."""

import contextlib
import os
import pathlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

#: A path of a file or folder.
Path = str | os.PathLike

#: Values of a vector that ``vector_parts`` reads at a time.
PART_LENGTH = 2**20

#: Part of the name of each temporary file. ``remove_leftovers`` looks for it.
_PART = ".part"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[pathlib.Path]:
    """Yield the path of a temporary file beside ``path``, renamed to ``path`` when the block ends without an error.

    A process that is killed leaves the temporary file. Its name begins with a dot; ``remove_leftovers`` deletes it.

    Raises:
        OSError: If the folder cannot be made or written.
    """
    target = pathlib.Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The suffixes stay at the end: writers choose the format by them.
    stem, dot, suffixes = target.name.partition(".")
    handle, temporary = tempfile.mkstemp(prefix=f".{stem}-", suffix=_PART + dot + suffixes, dir=target.parent)
    os.close(handle)
    try:
        yield pathlib.Path(temporary)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


@contextlib.contextmanager
def replacing_folder(path: Path, content: str) -> Iterator[pathlib.Path]:
    """Yield the path of a temporary folder beside ``path``, renamed to ``path`` when the block ends without an error.

    Args:
        path: Path of the folder.
        content: Name of a file that every folder of this kind has. A folder with it is replaced.

    Raises:
        FileExistsError: If ``path`` exists and is not such a folder.
        OSError: If the folder cannot be made or written.
    """
    target = pathlib.Path(path)
    if target.exists() and not (target / content).is_file():
        raise FileExistsError(f"{str(target)!r} must be a new folder, or one with the file {content!r} to replace.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", suffix=_PART, dir=target.parent) as temporary:
        new, old = pathlib.Path(temporary, "new"), pathlib.Path(temporary, "old")
        new.mkdir()
        yield new
        if target.exists():
            os.replace(target, old)
        os.replace(new, target)


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files that killed processes left in ``folder``. No other process may write to it meanwhile."""
    for path in pathlib.Path(folder).glob(f".*-????????{_PART}.*"):
        path.unlink()


def check_writable(path: Path) -> None:
    """Make the folder of the file ``path``, and raise an error if the file cannot be written there.

    Raises:
        OSError: If the folder cannot be made or written, or ``path`` is a folder itself.
    """
    target = pathlib.Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{str(target)!r} must be the path of a file; got a folder.")
    target.parent.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=target.parent).close()


def save_figure(figure: Any, path: Path) -> None:
    """Write a Matplotlib figure to ``path`` atomically."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_model(model: keras.Model, path: Path) -> None:
    """Save a Keras model to ``path``, a ``.keras`` file, atomically."""
    with replacing(path) as temporary:
        model.save(temporary)


def load_model(path: Path) -> keras.Model:
    """Return the Keras model in the file ``path``, not compiled. No code in the file is executed.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is broken, holds no Keras model, or holds code, such as a ``Lambda`` layer.
    """
    source = pathlib.Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"There is no file {str(source)!r}.")
    with source.open("rb") as file:
        is_archive = zipfile.is_zipfile(file)
    if source.suffix == ".keras" and not is_archive:  # Keras reports such a file as not found
        raise ValueError(
            f"{str(source)!r} must be a complete file of `model.save`, got {source.stat().st_size:,} bytes that are no "
            "zip archive. The file is cut off, empty or of another kind: save the model again."
        )
    try:
        return keras.models.load_model(source, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many types of errors, most without the name of the file
        raise ValueError(f"{str(source)!r} cannot be loaded as a Keras model: {error}") from error


def load_arrays(
    path: Path, description: str, names: Sequence[str], *, optional: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Return a dict of the arrays ``names`` in ``path``, a file of ``numpy.savez``.

    Args:
        path: Path of the file.
        description: String, such as "a file of JPEG images", for the error.
        names: Sequence of the names of required arrays.
        optional: Sequence of the names of arrays that may be missing.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the file is broken, of another kind, or lacks an array.
    """

    def read():
        # Given a path, NumPy does not close a broken file.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in (*names, *(name for name in optional if name in arrays))}

    with _named_errors(path, description):
        return parsed(read)


def parsed(read: Callable[[], Any]) -> Any:
    """Return ``read()``, which has NumPy parse the header of an array. Repeat it after a SystemError.

    CPython 3.11 counts the depth of its parser for all threads together (python/cpython#106905). The header of a whole
    file thus fails now and then when another thread parses at the same time, as TensorFlow does in the first step of
    ``fit``.
    """
    for _ in range(20):
        with contextlib.suppress(SystemError):
            return read()
    return read()


@contextlib.contextmanager
def _named_errors(path, description):
    """Turn the errors of a reader, of many types, into a ValueError that names the file. An OSError stays as it is."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{os.fspath(path)!r} must be {description}, and complete: {error}.") from error


def vector_parts(
    path: Path, description: str, names: Sequence[str], *, optional: Sequence[str] = ()
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the vectors ``names`` of a file of ``numpy.savez`` in parts of ``PART_LENGTH``, as dicts. At least one.

    Arguments and errors as in ``load_arrays``; also a ValueError for an array that is not a vector, or for vectors of
    different lengths.
    """
    with _named_errors(path, description), zipfile.ZipFile(path) as archive, contextlib.ExitStack() as stack:
        present = {name.removesuffix(".npy") for name in archive.namelist()}
        names = [*names, *(name for name in optional if name in present)]
        members = {name: stack.enter_context(archive.open(f"{name}.npy")) for name in names}
        heads = {name: _head(member) for name, member in members.items()}
        if len(lengths := {shape for shape, _ in heads.values()}) > 1 or any(len(shape) != 1 for shape in lengths):
            raise ValueError(f"its arrays {', '.join(names)} must be vectors of the same length")
        (n,) = lengths.pop()
        for start in range(0, max(1, n), PART_LENGTH):
            rows = min(PART_LENGTH, n - start)
            yield {name: _rows(member, heads[name][1], rows) for name, member in members.items()}


def _head(file):
    """Read the header of an array; return its shape and type."""
    read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    read_header, start = read[np.lib.format.read_magic(file)[0]], file.tell()
    shape, _, dtype = parsed(lambda: (file.seek(start), read_header(file))[1])
    if dtype.hasobject:
        raise ValueError("it has Python objects")
    return shape, dtype


def _rows(file, dtype, n):
    content = file.read(n * dtype.itemsize)
    if len(content) < n * dtype.itemsize:
        raise ValueError("an array ends early")
    return np.frombuffer(content, dtype)


def write_vectors(path: Path, parts: Iterable[Mapping[str, np.ndarray]], **arrays: np.ndarray) -> None:
    """Write vectors that come in parts to a compressed file, as ``numpy.savez_compressed`` does, atomically.

    Args:
        path: Path of the file.
        parts: Iterable of dicts with the same names and types; at least one. Only one part is in memory at a time.
        **arrays: Further arrays.
    """
    with replacing(path) as temporary, contextlib.ExitStack() as stack:
        blocks: dict[str, Any] = {}
        types: dict[str, np.dtype] = {}
        for part in parts:
            for name, vector in part.items():
                if name not in blocks:
                    blocks[name] = stack.enter_context(tempfile.TemporaryFile(dir=temporary.parent))
                    types[name] = vector.dtype
                blocks[name].write(np.ascontiguousarray(vector, types[name]).tobytes())
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, block in blocks.items():
                shape = (block.tell() // types[name].itemsize,)
                descr = np.lib.format.dtype_to_descr(types[name])
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array_header_1_0(
                        member, {"descr": descr, "fortran_order": False, "shape": shape}
                    )
                    block.seek(0)
                    shutil.copyfileobj(block, member, 2**20)
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, array)
