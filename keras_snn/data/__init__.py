"""Data sets as NumPy arrays."""

from keras_snn.data.datasets import class_names, load
from keras_snn.data.events import event_frames
from keras_snn.data.transforms import load_amat, random_background, rotate, turn

__all__ = ["class_names", "event_frames", "load", "load_amat", "random_background", "rotate", "turn"]
