"""From one kind of network to another, with the same weights."""

from keras_snn.conversion.extend_time import extend_time

__all__ = ["extend_time"]
