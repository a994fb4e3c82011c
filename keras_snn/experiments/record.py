"""The JSON file of an experiment: configuration, versions and figures, saved after every part."""

import json
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_snn._version import __version__
from keras_snn.files import check_writable, remove_leftovers, write_text


class Record:
    """The results of a run in the folder ``out``; an interrupted run is continued.

    Args:
        out: Path of the folder; made if it is not there.
        config: Dict of plain values that decide the figures. A file of another configuration, or of a finished run, is
            not continued but replaced.
        figures: Sequence of names. A complete part is a dict in which none of these figures is missing or None.
            Incomplete parts of the file are left out, and run again.
        resume: Whether an interrupted run is continued. Default True.

    Attributes:
        left_out: List of the names of the parts that were left out.

    Raises:
        OSError: If the folder cannot be written, before anything is computed.
    """

    def __init__(self, out: str | Path, config: Mapping[str, Any], figures: Sequence[str] = (), *, resume: bool = True):
        self.folder = Path(out)
        self.figures = figures
        self.path = self.folder / "results.json"
        self.data: dict[str, Any] = {"config": config, "versions": versions(), "parts": {}, "finished": False}
        before = self._read() if resume else None
        self.resumed = (
            before is not None
            and not before["finished"]
            and (before["config"], before["versions"]) == (config, self.data["versions"])
        )
        self.left_out = []
        if before is not None and self.resumed:
            parts = before["parts"]
            self.left_out = [name for name, part in parts.items() if self._missing(part)]
            whole = {name: part for name, part in parts.items() if name not in self.left_out}
            self.data = {**before, "parts": whole}
        # The results of another run stay until the first part of this run is finished.
        check_writable(self.path)  # an error now, not after the first part
        remove_leftovers(self.folder)

    @property
    def parts(self) -> dict[str, dict]:
        """Dict of the finished parts."""
        return self.data["parts"]

    def add(self, name: str, part: dict) -> None:
        """Keep the figures ``part`` under ``name``, and save.

        Raises:
            ValueError: If ``part`` is no dict of figures, or lacks one.
        """
        if missing := self._missing(part):
            raise ValueError(f"The part {name!r} of the results must have all its figures; it lacks {missing}.")
        self.parts[name] = part
        self.save()

    def finish(self) -> None:
        """Note that all parts are there, and save."""
        self.data["finished"] = True
        self.save()

    def save(self) -> None:
        """Write the file, whole or not at all."""
        write_text(self.path, json.dumps(self.data, indent=1) + "\n")

    def _missing(self, part):
        """Return the names of missing figures as a text, "all" for a part that is no dict, "" for a complete part."""
        if not isinstance(part, dict) or not part:
            return "all"
        return ", ".join(repr(name) for name in self.figures if part.get(name) is None)

    def _read(self):
        try:
            before = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        whole = isinstance(before, dict) and before.keys() == self.data.keys() and isinstance(before["parts"], dict)
        return before if whole else None


def versions() -> dict[str, str]:
    """Return the versions that can change a figure."""
    backend = keras.config.backend()
    return {
        "keras_snn": __version__,
        "backend": backend,
        "keras": keras.__version__,
        # Not by the name of the distribution, which may be another one, such as tensorflow-cpu.
        backend: sys.modules[backend].__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
