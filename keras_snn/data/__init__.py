"""Data sets as NumPy arrays."""

from keras_snn.data.datasets import class_names, load

__all__ = ["class_names", "load"]
