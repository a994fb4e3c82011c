"""The scope through which tools look inside a model without touching it.

Inside ``scope(...)`` every layer of this package that is called uses the scope's ``dt`` and ``n_steps`` instead of its
own, and hands its spikes to the scope. Nothing is cloned, and the model is left as it was.
"""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras import ops

from keras_snn.ops.random import uniform_by_index

_local = threading.local()


@dataclass
class Scope:
    """What is in force inside ``scope(...)``."""

    dt: Any = None
    n_steps: int | None = None
    record: Callable | None = None
    sample_index: Any = None
    seed: int = 0
    n_draws: int = 0
    makes_time: bool = False


@contextlib.contextmanager
def scope(*, dt=None, n_steps=None, record=None, sample_index=None, seed=0):
    """Override what the layers called inside would use.

    Args:
        dt: Number or scalar tensor, seconds. None leaves each layer its own.
        n_steps: Integer, number of steps that ``Repeat`` and the encoders make. None leaves each its own.
        record: Callable ``(layer, spikes)``, called with the spikes ``(batch, time, ...)`` of each spiking layer.
        sample_index: Integer tensor ``(batch,)``, the place of each sample in the data. Initial voltages are then drawn
            by it, so that no figure depends on the batch size.
        seed: Integer, for those draws.
    """
    if not hasattr(_local, "stack"):
        _local.stack = []
    _local.stack.append(Scope(dt, n_steps, record, sample_index, seed))
    try:
        yield _local.stack[-1]
    finally:
        _local.stack.pop()


def current():
    """Return the innermost scope that is open in this thread, or None."""
    stack = getattr(_local, "stack", None)
    return stack[-1] if stack else None


def n_steps(own):
    """Return the number of steps to make where a layer's own number is ``own``."""
    scope = current()
    if scope is None:
        return own
    scope.makes_time = True
    return scope.n_steps or own


def draws_by_index():
    """Tell whether a scope is open in which initial states are drawn by sample index."""
    return current() is not None and current().sample_index is not None


def record(layer, spikes):
    """Hand the spikes ``(batch, time, ...)`` of ``layer`` to the open scope, if it wants them."""
    if current() is not None and current().record is not None:
        current().record(layer, spikes)


def initial_uniform(shape, dtype):
    """Draw initial voltages from U[0, 1) by sample index, inside a scope that has ``sample_index``.

    Layers are called in the same order each time, and that order tells their draws apart.
    """
    here = current()
    here.n_draws += 1
    return ops.cast(uniform_by_index(here.sample_index, shape, here.seed * 1009 + here.n_draws), dtype)
