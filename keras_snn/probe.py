"""The scope through which tools look inside a model without touching it.

Inside ``scope(...)`` every layer of this package that is called uses the scope's ``dt`` and ``n_steps`` instead of its
own, and hands its spikes to the scope. Nothing is cloned, and the model is left as it was.
"""

import contextlib
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops, tree

from keras_snn import checks
from keras_snn.ops import masks
from keras_snn.ops.random import uniform_by_index

#: How many numbers of first steps a scope with ``first_steps`` goes through, at most.
MOST_STEPS = 32

_local = threading.local()


@dataclass
class Scope:
    """What is in force inside ``scope(...)``."""

    dt: Any = None
    n_steps: int | None = None
    record: Callable | None = None
    sample_index: Any = None
    seed: int = 0
    first_steps: bool = False
    code_steps: int | None = None
    n_draws: int = 0
    makes_time: bool = False
    reads_dt: bool = False


@contextlib.contextmanager
def scope(*, dt=None, n_steps=None, record=None, sample_index=None, seed=0, first_steps=False, code_steps=None):
    """Override what the layers called inside would use.

    Args:
        dt: Number or scalar tensor, seconds. None leaves each layer its own.
        n_steps: Integer, number of steps that ``Repeat`` and the encoders make. None leaves each its own.
        record: Callable ``(layer, spikes)``, called with the spikes ``(batch, time, ...)`` of each spiking layer. What
            it returns, unless None, goes on in their place. Where the layer has a mask, it is called with
            ``(layer, spikes, mask)``; the bool tensor ``mask (batch, time)`` is False at steps that do not count.
        sample_index: Integer tensor ``(batch,)``, the place of each sample in the data. Initial voltages are then drawn
            by it, so that no figure depends on the batch size.
        seed: Integer, for those draws.
        first_steps: Boolean. Where a layer ends the time axis, go on with what it gives after the first k steps, for
            each k of ``steps_up_to``, as if each were a sample: ``(batch * k, ...)``.
        code_steps: Integer, number of steps of an encoder's code; its output is the first ``n_steps`` steps of that
            code. None: the code has ``n_steps`` steps.
    """
    if not hasattr(_local, "stack"):
        _local.stack = []
    n_steps = checks.integer("n_steps", n_steps, least=1, optional=True)
    seed = checks.integer("seed", seed)
    _local.stack.append(Scope(dt, n_steps, record, sample_index, seed, first_steps, code_steps))
    try:
        yield _local.stack[-1]
    finally:
        _local.stack.pop()


def current():
    """Return the innermost scope that is open in this thread, or None."""
    stack = getattr(_local, "stack", None)
    return stack[-1] if stack else None


def dt():
    """Return the dt of the innermost open scope, or None. Sets ``reads_dt`` of the scope."""
    scope = current()
    if scope is None:
        return None
    scope.reads_dt = True
    return scope.dt


def n_steps(own):
    """Return the number of steps to make where a layer's own number is ``own``."""
    scope = current()
    if scope is None:
        return own
    scope.makes_time = True
    return scope.n_steps or own


def code_steps(own):
    """Return the number of steps of an encoder's code, where the encoder's own number is ``own``."""
    scope = current()
    return own if scope is None else scope.code_steps or n_steps(own)


def draws_by_index():
    """Tell whether a scope is open in which initial states are drawn by sample index."""
    return current() is not None and current().sample_index is not None


def record(layer, spikes, *mask):
    """Hand the spikes ``(batch, time, ...)`` of ``layer``, and its mask if it has one, to the open scope.

    Returns:
        The spikes, or what the scope puts in their place.
    """
    if current() is None or current().record is None:
        return spikes
    instead = current().record(layer, spikes, *mask)
    return spikes if instead is None else instead


@contextlib.contextmanager
def left_as_it_was(model):
    """Put back what the calls of a model change: its seeds, and the states of layers that keep one."""
    if hasattr(model, "jax_state_sync"):  # in the middle of `fit`, JAX keeps the values of variables elsewhere
        model.jax_state_sync()
    stateful = (layer for layer in model._flatten_layers() if getattr(layer, "stateful", False))
    # Keras's own RNNs do not list their states as variables, nor do layers of this package on PyTorch.
    states = [v for layer in stateful for v in getattr(layer, "carried", None) or tree.flatten(layer.states)]
    before = [(v, np.array(ops.convert_to_numpy(v))) for v in (*model.non_trainable_variables, *states)]
    try:
        yield
    finally:
        for variable, value in before:
            variable.assign(value)


def unique(name, taken):
    """Tell several calls of one layer apart."""
    call = 1
    while (unique := name if call == 1 else f"{name} (call {call})") in taken:
        call += 1
    return unique


def next_draw():
    """Return the sample index and the seed of the next draw, inside a scope that has ``sample_index``.

    Layers are called in the same order each time, and that order tells their draws apart.
    """
    here = current()
    here.n_draws += 1
    return here.sample_index, here.seed * 1009 + here.n_draws


def initial_uniform(shape, dtype):
    """Draw initial voltages from U[0, 1) by sample index, as ``next_draw`` has it."""
    index, seed = next_draw()
    return ops.cast(uniform_by_index(index, shape, seed), dtype)


def values_after(sequence, steps):
    """Return ``sequence (batch, time, ...)`` after each number of steps: a list of tensors ``(batch, ...)``."""
    return [sequence[:, k - 1] for k in steps]


def means_after(sequence, steps, mask=None):
    """Return the mean of ``sequence (batch, time, ...)`` over each number of steps, which ascend: a list of tensors.

    With a ``mask (batch, time)``, only the steps that count are averaged.
    """
    if mask is not None:
        return [masks.mean(sequence[:, :k], mask[:, :k]) for k in steps]
    parts = [ops.sum(sequence[:, a:b], axis=1) for a, b in itertools.pairwise([0, *steps])]
    return [total / k for total, k in zip(itertools.accumulate(parts), steps, strict=True)]


def after_first_steps(sequence, whole, values):
    """Return what comes out after each number of steps of ``steps_up_to``: ``(batch, len(steps), ...)``.

    Args:
        sequence: Tensor ``(batch, time, ...)``, time static.
        whole: Tensor ``(batch, ...)``, what comes out after all of them. It is taken as it is, since ``values`` may
            round otherwise.
        values: Function ``(sequence, steps)``, such as ``values_after`` or ``means_after``.
    """
    steps = steps_up_to(sequence.shape[1]).tolist()
    return ops.stack([*(ops.cast(v, whole.dtype) for v in values(sequence, steps[:-1])), whole], axis=1)


def end_of_time(sequence, whole, values):
    """Return what a layer that ends the time axis hands on, given the arguments of ``after_first_steps``.

    That is ``whole``; in a scope with ``first_steps``, for a static number of steps, the values after each number of
    steps as samples of their own.
    """
    if current() is None or not current().first_steps or sequence.shape[1] is None:
        return whole
    return ops.reshape(after_first_steps(sequence, whole, values), (-1, *whole.shape[1:]))


def steps_up_to(n_steps):
    """Return the numbers of first steps k that are looked at: all of 1 to ``n_steps``, or `MOST_STEPS` of them."""
    steps = np.arange(1, n_steps + 1)
    return steps if n_steps <= MOST_STEPS else np.unique(np.geomspace(1, n_steps, MOST_STEPS).round().astype(int))
