"""The published results that this package reproduces. ``get(name)`` returns an ``Experiment``."""

from keras_snn.experiments.registry import ENTRIES, Entry, entry, get

__all__ = ["ENTRIES", "Entry", "entry", "get"]
