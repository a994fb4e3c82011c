"""Functions with one implementation per backend. No other folder imports TensorFlow, JAX or PyTorch."""

import functools
import importlib

import keras

_EXTRAS = ("tensorflow", "jax", "torch")
if keras.config.backend() not in _EXTRAS:
    raise ImportError(
        f"The Keras backend must be one of {', '.join(_EXTRAS)}; got {keras.config.backend()!r}. "
        "Set the environment variable KERAS_BACKEND before Keras is imported."
    )

_backend = importlib.import_module(f"{__name__}.{keras.config.backend()}")
_devices = importlib.import_module(f"{__name__}.{keras.config.backend()}_devices")

by_events = _backend.by_events
compiled = _backend.compiled
cumsum = _backend.cumsum
floor = _backend.floor
gradient = _backend.gradient
has_float64 = _backend.has_float64
inference = _backend.inference
is_known = _backend.is_known
loop = _backend.loop
replica = _backend.replica
scan = _backend.scan
start_devices = functools.cache(_devices.start)
start_from = _backend.start_from
straight_through = _backend.straight_through
must_unroll = _backend.must_unroll
with_derivative = _backend.with_derivative
with_pullback = _backend.with_pullback

__all__ = [
    "by_events",
    "compiled",
    "cumsum",
    "floor",
    "gradient",
    "has_float64",
    "inference",
    "is_known",
    "loop",
    "replica",
    "scan",
    "start_devices",
    "start_from",
    "straight_through",
    "must_unroll",
    "with_derivative",
    "with_pullback",
]
