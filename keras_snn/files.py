"""Files that are whole or not there."""

import contextlib
import os
import pathlib
import tempfile


@contextlib.contextmanager
def replacing(path):
    """Give the path of a temporary file beside ``path``, which takes its place when the block ends without an error.

    Raises:
        OSError: If the folder cannot be made or written.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: writers choose the format by it.
    handle, temporary = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    try:
        yield pathlib.Path(temporary)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def check_writable(path):
    """Make the folder of the file ``path``, and raise an error now if the file could not be written later.

    Raises:
        OSError: If the folder cannot be made or written, or ``path`` is a folder itself.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder; a file of that name is to be written.")
    path.parent.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=path.parent).close()


def save_figure(figure, path):
    """Write a figure of Matplotlib to ``path``, whole or not at all."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)


def write_text(path, text):
    """Write ``text`` to ``path``, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
