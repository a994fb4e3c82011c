"""The scope through which tools look inside a model without touching it.

Inside ``scope(...)`` every layer of this package that is called uses the scope's ``dt`` and ``n_steps`` instead of its
own, and hands its spikes to the scope. Nothing is cloned, and the model is left as it was.
"""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from keras import ops, tree

from keras_snn import checks
from keras_snn.ops import masks
from keras_snn.ops.encoding import all_steps
from keras_snn.ops.random import sample_index, seed_word
from keras_snn.ops.scan import held

_local = threading.local()


@dataclass
class Carry:
    """The states at the border of two parts of the time axis, one nest for each call of a layer that has a state.

    Every tensor begins with the batch axis.

    Attributes:
        states: List of the states at the end of the part before; None in the first part.
        fresh: Bool tensor ``(batch,)``, True for the samples that start anew in this part; None if none does.
        started: List of the states at the start of this part, which the run of the model fills.
        ended: List of the states at the end of this part, which the run of the model fills.
        layers: List of the layers that run a step over time with these states; None for other states, such as the sum
            of an average. The run of the model fills it.
    """

    states: list | None = None
    fresh: Any = None
    started: list = field(default_factory=list)
    ended: list = field(default_factory=list)
    layers: list = field(default_factory=list)


class Slot:
    """The place of one call of a layer in the carry of the open scope; see ``slot``."""

    def __init__(self, carry, layer=None):
        self._carry = carry
        if carry is not None:
            self._place = len(carry.ended)
            carry.started.append(None)
            carry.ended.append(None)
            carry.layers.append(layer)

    @property
    def is_open(self):
        """Whether the states are carried from one part of the time axis to the next."""
        return self._carry is not None

    def start(self, initial):
        """Return the states to start from: those at the end of the part before, else ``initial()``."""
        carry = self._carry
        if carry is None:
            return initial()
        if carry.states is None:
            states = initial()
        else:
            states = carry.states[self._place]
            if carry.fresh is not None:
                states = held(carry.fresh, initial(), states)
        carry.started[self._place] = states
        return states

    def end(self, states):
        """Hand the states on to the next part."""
        if self._carry is not None:
            self._carry.ended[self._place] = states

    def keep(self, initial):
        """Return ``initial()`` of the first part, in all parts."""
        states = self.start(initial)
        self.end(states)
        return states

    def add_up(self, sums):
        """Return a nest of sums over the steps so far, given those over the steps of this part."""
        if self._carry is not None:
            before = self.start(lambda: tree.map_structure(ops.zeros_like, sums))
            sums = tree.map_structure(ops.add, before, sums)
            self.end(sums)
        return sums


@dataclass
class Scope:
    """What is in force inside ``scope(...)``."""

    dt: Any = None
    n_steps: int | None = None
    record: Callable | None = None
    sample_index: Any = None
    seed: int = 0
    code_steps: int | None = None
    carry: Carry | None = None
    n_draws: int = 0
    makes_time: bool = False
    reads_dt: bool = False


@contextlib.contextmanager
def scope(*, dt=None, n_steps=None, record=None, sample_index=None, seed=0, code_steps=None, carry=None):
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
        code_steps: Integer, number of steps of an encoder's code; its output is ``n_steps`` steps of that code. None:
            the code has ``n_steps`` steps.
        carry: ``Carry``, the states at the end of the part of the time axis before the one that is run. Each layer of
            this package then starts from its state there, and layers that end the time axis give their output after
            all steps so far. None: the run is that of a whole time axis.
    """
    if not hasattr(_local, "stack"):
        _local.stack = []
    n_steps = checks.integer("n_steps", n_steps, least=1, optional=True)
    seed = checks.integer("seed", seed)
    _local.stack.append(Scope(dt, n_steps, record, sample_index, seed, code_steps, carry))
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
    if scope is None:
        return own
    return scope.code_steps or (n_steps(own) if scope.carry is None else own)


def slot(layer=None):
    """Return the ``Slot`` of a call of a layer that has a state, in the order of the calls.

    ``slot.start`` gives the state to start from, ``slot.end`` hands on the one at the end of the part. A ``layer`` that
    runs a step over time is listed in the carry.
    """
    here = current()
    return Slot(None if here is None else here.carry, layer)


def step_numbers(n_steps, counted):
    """Return the numbers of the next steps: 0, 1, ... in the first part of the time axis.

    Args:
        n_steps: Integer or scalar tensor.
        counted: int32 tensor ``(batch,)``, how many of these steps count for the next part.

    Returns:
        int32 tensor ``(batch, n_steps)``, or ``(1, n_steps)`` if nothing is carried.
    """
    place, steps = slot(), all_steps(n_steps)
    return ops.expand_dims(place.add_up(counted) - counted, 1) + steps if place.is_open else steps


def hold_last(x, mask):
    """Return ``masks.hold_last``; before the first step that counts stands the last value of earlier parts, or 0."""
    place = slot()
    x = masks.hold_last(x, mask, place.start(lambda: ops.zeros_like(x[:, 0])))
    place.end(x[:, -1])
    return x


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
    """Put back what the calls of a model change: its seeds, and the states of layers that keep one.

    Yields:
        Two lists of pairs (variable, value), the values to put back: of states of layers, and of other variables.
    """
    sync(model)
    stateful = (layer for layer in model._flatten_layers() if getattr(layer, "stateful", False))
    # Keras's own RNNs do not list their states as variables, nor do layers of this package on PyTorch.
    states = [v for layer in stateful for v in getattr(layer, "carried", None) or tree.flatten(layer.states)]
    states, others = ([(v, _value(v)) for v in some] for some in (states, model.non_trainable_variables))
    try:
        yield states, others
    finally:
        for variable, value in (*others, *states):
            variable.assign(value)


class Turns:
    """Several runs of one model that take turns: each goes on with the variables as it has left them.

    These are the states of layers, and other variables that the first call changes.

    Args:
        before: The lists that ``left_as_it_was`` yields: each run starts with these values.
    """

    def __init__(self, before):
        self._before, self._changing, self._of_run = before, None, {}

    @contextlib.contextmanager
    def turn(self, run):
        """Open a turn of ``run``, a hashable object."""
        if self._changing is not None:
            starts = [value for _, value in self._changing]
            for (variable, _), value in zip(self._changing, self._of_run.get(run, starts), strict=True):
                variable.assign(value)
        yield
        if self._changing is None:
            states, others = self._before
            self._changing = [*states, *((v, value) for v, value in others if np.any(_value(v) != value))]
        self._of_run[run] = [_value(variable) for variable, _ in self._changing]


def sync(model):
    """Set the variables of a model in the middle of ``fit``, where JAX keeps their values elsewhere."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def _value(variable):
    return np.array(ops.convert_to_numpy(variable))


def unique(name, taken):
    """Tell several calls of one layer apart."""
    call = 1
    while (unique := name if call == 1 else f"{name} (call {call})") in taken:
        call += 1
    return unique


def draw(seed, seed_generator, batch_size):
    """Return the indices ``(batch,)`` of the samples and the seed of the next draw, as ``uniform_by_index`` takes them.

    Inside a scope that has ``sample_index``, these are the indices, and the order of the draws makes the seed. Layers
    are called in the same order each time, and that order tells their draws apart. Elsewhere the indices are the places
    in the batch, and the seed is ``seed``, or the next one of ``seed_generator`` if that is None.
    """
    if draws_by_index():
        here = current()
        here.n_draws += 1
        return here.sample_index, here.seed * 1009 + here.n_draws
    return sample_index(batch_size), seed_generator.next() if seed is None else seed


def draw_once(seed, seed_generator, batch_size):
    """Return the indices ``(batch,)`` and the seed word of a draw; the same in all parts of the time axis."""
    place = slot()

    def first():
        index, drawn = draw(seed, seed_generator, batch_size)
        word = seed_word(drawn)
        return index, ops.broadcast_to(word, (batch_size,)) if place.is_open else word

    return place.keep(first)
