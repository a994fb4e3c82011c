"""A scope that lets tools override settings of layers and record spikes, without changing the model.

Inside ``scope(...)``, each layer of this package that is called uses ``dt`` and ``n_steps`` of the scope, and passes
its spikes to the scope. The model is neither cloned nor changed.
"""

import contextlib
import threading
from collections.abc import Callable, Container, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_snn import checks
from keras_snn.hints import Nest, Tensor
from keras_snn.ops import masks
from keras_snn.ops.encoding import all_steps
from keras_snn.ops.random import sample_index, seed_word
from keras_snn.ops.scan import held

_local = threading.local()


@dataclass
class Carry:
    """The states between two parts of the time axis: one nest for each call of a layer with a state.

    The first axis of every tensor is the batch.

    Attributes:
        states: List of the states at the end of the previous part; None in the first part.
        fresh: Bool tensor ``(batch,)``, True for samples that restart in this part; None if no sample does.
        started: List of the states at the start of this part, filled by the run of the model.
        ended: List of the states at the end of this part, filled by the run of the model.
        layers: List of the layers that run a step over time with these states; None for other states, such as the sum
            of an average. Filled by the run of the model.
    """

    states: list | None = None
    fresh: Any = None
    started: list = field(default_factory=list)
    ended: list = field(default_factory=list)
    layers: list = field(default_factory=list)


class Slot:
    """The entry for one call of a layer in the carry of the open scope; see ``slot``."""

    def __init__(self, carry: Carry | None, layer: keras.layers.Layer | None = None) -> None:
        self._carry = carry
        if carry is not None:
            self._place = len(carry.ended)
            carry.started.append(None)
            carry.ended.append(None)
            carry.layers.append(layer)

    @property
    def is_open(self) -> bool:
        """Whether the states are carried from one part of the time axis to the next."""
        return self._carry is not None

    def start(self, initial: Callable[[], Nest]) -> Nest:
        """Return the states at the end of the previous part, or ``initial()`` in the first part."""
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

    def end(self, states: Nest) -> None:
        """Store the states for the next part."""
        if self._carry is not None:
            self._carry.ended[self._place] = states

    def keep(self, initial: Callable[[], Nest]) -> Nest:
        """Return the ``initial()`` of the first part in all parts."""
        states = self.start(initial)
        self.end(states)
        return states

    def add_up(self, sums: Nest) -> Nest:
        """Return a nest of sums over all steps so far, given the sums over the steps of this part."""
        if self._carry is not None:
            before = self.start(lambda: tree.map_structure(ops.zeros_like, sums))
            sums = tree.map_structure(ops.add, before, sums)
            self.end(sums)
        return sums


@dataclass
class Scope:
    """The settings and records of an open ``scope(...)``."""

    dt: Any = None
    n_steps: int | None = None
    record: Callable | None = None
    record_inputs: Callable | None = None
    sample_index: Any = None
    seed: Any = 0
    code_steps: int | None = None
    carry: Carry | None = None
    surrogate: Callable | None = None
    smooth_gradient: bool = False
    n_draws: int = 0
    makes_time: bool = False
    reads_dt: bool = False


@contextlib.contextmanager
def scope(
    *,
    dt: float | Tensor | None = None,
    n_steps: int | None = None,
    record: Callable | None = None,
    record_inputs: Callable | None = None,
    sample_index: Tensor | None = None,
    seed: int | Tensor = 0,
    code_steps: int | None = None,
    carry: Carry | None = None,
    surrogate: Callable | None = None,
    smooth_gradient: bool = False,
) -> Iterator[Scope]:
    """Override settings of the layers that are called in the block.

    Args:
        dt: Number or scalar tensor, seconds. None: that of each layer.
        n_steps: Integer, number of steps that ``Repeat`` and the encoders create. None: that of each layer.
        record: Callable ``(layer, spikes)``, called with the spikes ``(batch, time, ...)`` of each spiking layer. A
            return value other than None replaces the spikes. If the layer has a mask, it is called with
            ``(layer, spikes, mask)``. The bool tensor ``mask (batch, time)`` is False at steps that do not count.
        record_inputs: Callable ``(layer, inputs)``, called with the inputs ``(batch, time, ...)`` of each spiking layer
            before the layer runs. A return value other than None replaces the inputs.
        sample_index: Integer tensor ``(batch,)``, the index of each sample in the data. Random numbers are then drawn
            by it, so that results do not depend on the batch size.
        seed: Integer or int32 scalar tensor, the seed of these draws.
        code_steps: Integer, number of steps of an encoder's code; its output is ``n_steps`` steps of that code. None:
            the code has ``n_steps`` steps.
        carry: ``Carry``, the states at the end of the previous part of the time axis. Each layer of this package then
            starts from its state there, and layers that end the time axis return their output after all steps so far.
            None: the run covers the whole time axis.
        surrogate: ``keras_snn.surrogates`` instance that replaces the surrogate of each neuron. None leaves each its
            own. Spikes do not depend on it, gradients do.
        smooth_gradient: Boolean. True: the folding and the oscillation of a membrane (``OscillationLIF``,
            ``AlternativeOscillationLIF``) have the derivative 1 in the backward pass, and so have the spikes of an
            encoder by its value (straight-through). Default False.
    """
    if not hasattr(_local, "stack"):
        _local.stack = []
    n_steps = checks.integer("n_steps", n_steps, least=1, optional=True)
    seed = seed if ops.is_tensor(seed) else checks.integer("seed", seed)
    opened = Scope(
        dt, n_steps, record, record_inputs, sample_index, seed, code_steps, carry, surrogate, smooth_gradient
    )
    _local.stack.append(opened)
    try:
        yield opened
    finally:
        _local.stack.pop()


def current() -> Scope | None:
    """Return the innermost scope that is open in this thread, or None."""
    stack = getattr(_local, "stack", None)
    return stack[-1] if stack else None


def dt() -> float | Tensor | None:
    """Return the dt of the innermost open scope, or None. Sets ``reads_dt`` of the scope."""
    opened = current()
    if opened is None:
        return None
    opened.reads_dt = True
    return opened.dt


def n_steps(own: int) -> int:
    """Return the number of steps that a layer creates: that of the open scope, else ``own``."""
    opened = current()
    if opened is None:
        return own
    opened.makes_time = True
    return opened.n_steps or own


def code_steps(own: int) -> int:
    """Return the number of steps of an encoder's code: that of the open scope, else ``own``."""
    opened = current()
    if opened is None:
        return own
    return opened.code_steps or (n_steps(own) if opened.carry is None else own)


def slot(layer: keras.layers.Layer | None = None) -> Slot:
    """Return the next ``Slot`` of the carry, for a call of a layer with a state.

    ``slot.start`` returns the state to start from. ``slot.end`` stores the state at the end of the part. A ``layer``
    that runs a step over time is listed in the carry.
    """
    opened = current()
    return Slot(None if opened is None else opened.carry, layer)


def step_numbers(n_steps: int | Tensor, counted: Tensor) -> Tensor:
    """Return the numbers of the next steps: 0, 1, ... in the first part of the time axis.

    Args:
        n_steps: Integer or scalar tensor.
        counted: int32 tensor ``(batch,)``, the number of these steps that count.

    Returns:
        int32 tensor ``(batch, n_steps)``, or ``(1, n_steps)`` without a carry.
    """
    place, steps = slot(), all_steps(n_steps)
    return ops.expand_dims(place.add_up(counted) - counted, 1) + steps if place.is_open else steps


def hold_last(x: Tensor, mask: Tensor) -> Tensor:
    """Return ``masks.hold_last``. Steps before the first one that counts get the last value of earlier parts, or 0."""
    place = slot()
    x = masks.hold_last(x, mask, place.start(lambda: ops.zeros_like(x[:, 0])))
    place.end(x[:, -1])
    return x


def surrogate(own: Callable) -> Callable:
    """Return the surrogate of the innermost open scope, or a neuron's ``own`` if the scope has none."""
    opened = current()
    return own if opened is None or opened.surrogate is None else opened.surrogate


def smooths_gradients() -> bool:
    """Return whether a scope is open with ``smooth_gradient``."""
    opened = current()
    return opened is not None and opened.smooth_gradient


def draws_by_index() -> bool:
    """Return whether a scope is open in which random numbers are drawn by sample index."""
    opened = current()
    return opened is not None and opened.sample_index is not None


def record_inputs(layer: keras.layers.Layer, inputs: Tensor) -> Tensor:
    """Pass the inputs ``(batch, time, ...)`` of a spiking ``layer`` to the open scope.

    Returns:
        The inputs, or their replacement by the scope.
    """
    opened = current()
    if opened is None or opened.record_inputs is None:
        return inputs
    replacement = opened.record_inputs(layer, inputs)
    return inputs if replacement is None else replacement


def record(layer: keras.layers.Layer, spikes: Tensor, *mask: Tensor) -> Tensor:
    """Pass the spikes ``(batch, time, ...)`` of ``layer``, and its mask if it has one, to the open scope.

    Returns:
        The spikes, or their replacement by the scope.
    """
    opened = current()
    if opened is None or opened.record is None:
        return spikes
    replacement = opened.record(layer, spikes, *mask)
    return spikes if replacement is None else replacement


@contextlib.contextmanager
def left_as_it_was(model: keras.Model) -> Iterator[tuple[list, list]]:
    """Restore a model's seed generators and layer states when the block ends.

    Yields:
        Two lists of pairs (variable, value to restore): for the states of layers, and for other variables.
    """
    sync(model)
    stateful = (layer for layer in model._flatten_layers() if getattr(layer, "stateful", False))
    # Keras's own RNNs do not list their states as variables, nor do layers of this package on PyTorch.
    variables = [v for layer in stateful for v in getattr(layer, "carried", None) or tree.flatten(layer.states)]
    states = [(variable, _value(variable)) for variable in variables]
    others = [(variable, _value(variable)) for variable in model.non_trainable_variables]
    try:
        yield states, others
    finally:
        for variable, value in (*others, *states):
            variable.assign(value)


class Turns:
    """Separate variable values for several runs of one model that alternate.

    The variables are the states of layers, and the other variables that the first call changes.

    Args:
        before: The lists that ``left_as_it_was`` yields: each run starts with these values.
    """

    def __init__(self, before: tuple[list, list]) -> None:
        self._before = before
        self._changing: list | None = None
        self._values_of_run: dict[Hashable, list] = {}

    @contextlib.contextmanager
    def turn(self, run: Hashable) -> Iterator[None]:
        """Open a turn of ``run``, a hashable object."""
        if self._changing is not None:
            starts = [value for _, value in self._changing]
            for (variable, _), value in zip(self._changing, self._values_of_run.get(run, starts), strict=True):
                variable.assign(value)
        yield
        if self._changing is None:
            states, others = self._before
            self._changing = [*states, *((v, value) for v, value in others if np.any(_value(v) != value))]
        self._values_of_run[run] = [_value(variable) for variable, _ in self._changing]


def sync(model: keras.Model) -> None:
    """Update the variables of a model during ``fit``: JAX keeps their values elsewhere."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def _value(variable):
    return np.array(ops.convert_to_numpy(variable))


def unique(name: str, taken: Container[str]) -> str:
    """Number repeated calls of one layer, so that their names are unique."""
    call = 1
    while (numbered := name if call == 1 else f"{name} (call {call})") in taken:
        call += 1
    return numbered


def draw(seed: int | None, seed_generator: Any, batch_size: int | Tensor) -> tuple[Tensor, int | Tensor]:
    """Return the indices ``(batch,)`` of the samples and the seed of the next draw, for ``uniform_by_index``.

    In a scope with ``sample_index``, the indices are ``sample_index``. The seed is made from the seed of the scope and
    the number of the draw, because layers draw in the same order in each run. Without one, the indices are the
    positions in the batch. The seed is ``seed``, or the next seed of ``seed_generator`` if ``seed`` is None.
    """
    opened = current()
    if opened is not None and opened.sample_index is not None:
        opened.n_draws += 1
        if ops.is_tensor(opened.seed):
            return opened.sample_index, ops.stack([opened.seed, ops.full_like(opened.seed, opened.n_draws)])
        return opened.sample_index, opened.seed * 1009 + opened.n_draws
    return sample_index(batch_size), seed_generator.next() if seed is None else seed


def draw_once(seed: int | None, seed_generator: Any, batch_size: int | Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices ``(batch,)`` and the seed word of a draw, the same in all parts of the time axis."""
    place = slot()

    def first():
        index, drawn = draw(seed, seed_generator, batch_size)
        word = seed_word(drawn)
        return index, ops.broadcast_to(word, (batch_size,)) if place.is_open else word

    return place.keep(first)
