"""Models over parts of the time axis: streams, and predictions whose memory does not grow with the number of steps.

The carry of ``probe.scope`` passes the state of each layer of this package from one part to the next.
"""

import threading
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_snn import checks, graph, probe
from keras_snn.data.arrays import as_arrays
from keras_snn.fingerprint import cache_of_models, fingerprint
from keras_snn.graph.parts import over_parts
from keras_snn.hints import Nest, Tensor
from keras_snn.ops.backend import inference, loop
from keras_snn.ops.scan import held


class _InParts(keras.Model):
    """A model that runs another one over parts of the time axis."""

    def __init__(self, axis, steps_at_once):
        # Neither inputs nor variables are cast here, whatever the global dtype policy.
        super().__init__(name=f"{axis.model.name}_in_parts", dtype="float32", autocast=False)
        self.model = axis.model
        self._axis = axis
        self.steps_at_once = steps_at_once

    def call(self, x):
        axis = self._axis
        structure: Any = None

        def part(start, n_steps, carry):
            nonlocal structure
            structure = axis.run(axis.part(x, start, n_steps), n_steps, carry)
            pairs = list(zip(axis.ended, tree.flatten(structure), strict=True))
            return [], [y for ended, y in pairs if ended], [y for ended, y in pairs if not ended]

        _, last, each = over_parts(axis, part, self.steps_at_once)
        last, each = iter(last), iter(each)
        outputs = [next(last) if ended else next(each) for ended in axis.ended]
        return tree.pack_sequence_as(structure, outputs)

    def eval(self):
        """Return self. Otherwise Keras would set evaluation mode on PyTorch, in the caller's model too."""
        return self

    def _get_jax_state(self, **kinds):
        """Return copies of the values of variables.

        JAX's ``predict`` deletes the values that it runs with, and sets the variables at its end. The variables belong
        to the caller's model: after an error they would be lost, and other threads could not read them meanwhile.
        """
        return tree.map_structure(ops.copy, super()._get_jax_state(**{**kinds, "purge_model_variables": False}))


def predict(
    model: keras.Model,
    x: Nest,
    *,
    steps_at_once: int | None = None,
    batch_size: int = 32,
    causal: bool = False,
    verbose: str | int = "auto",
) -> Nest:
    """Return ``model.predict(x)``, with memory that does not grow with the number of time steps.

    The model runs over parts of its time axis, one after the other; each layer of this package continues from its state
    at the end of the part before. The results equal those of the whole run, up to rounding of averages over
    time. Masks that layers of the model make are taken into account. A layer with ``stateful=True`` starts each batch
    from its initial state. If the model cannot run in parts, it continues as in ``model.predict``.

    Args:
        model: A built Keras model.
        x: Array ``(samples, ...)`` or pandas object, or a nest of them for a model with several inputs.
        steps_at_once: Integer, number of time steps of a part. Default: as many as fit in some hundred MB.
        batch_size: Integer. Default 32.
        causal: Boolean. True asserts that each output depends on no later time step, and that only layers of keras_snn
            keep a state over time. Required if the graph of the model cannot be read: for a subclassed model, a
            ``Lambda`` layer, or ``keras.ops`` over time.
        verbose: As in ``keras.Model.predict``.

    Returns:
        NumPy array, or the nest of arrays that ``model.predict`` returns.

    Raises:
        ValueError: If ``steps_at_once`` is given and the model mixes time steps (``Bidirectional``, attention, a
            convolution or ``Flatten`` over time) or holds a recurrent layer of Keras. The message names the layer.

    Example:

    ```python
    scores = keras_snn.predict(model, x_test, steps_at_once=16)
    ```
    """
    batch_size = checks.integer("batch_size", batch_size, least=1)
    steps_at_once = checks.integer("steps_at_once", steps_at_once, least=1, optional=True)
    n_samples, x = checks.arrays("x", x), as_arrays(x)
    probe.sync(model)
    cached, shapes = _cache(model, fingerprint(model)), tuple(tuple(a.shape[1:]) for a in tree.flatten(x))
    if (shapes, causal) not in cached:
        cached[shapes, causal] = graph.TimeAxis(model, x, causal=causal)
    axis = cached[shapes, causal]
    if steps_at_once is not None:
        axis.check()
    elif axis.why_not is not None:
        return model.predict(x, batch_size=batch_size, verbose=verbose)
    steps_at_once = min(axis.n_steps, steps_at_once or axis.steps_at_once(min(batch_size, n_samples)))
    key = axis, steps_at_once, threading.get_ident()  # Keras keeps values of variables in a model that JAX runs
    if key not in cached:
        cached[key] = _InParts(axis, steps_at_once)
        cached[key].compile(jit_compile="auto")
    return cached[key].predict(x, batch_size=batch_size, verbose=verbose)


_cache = cache_of_models(1)


def stream(model: keras.Model, batch_size: int = 1, *, causal: bool = False) -> "Stream":
    """Return a ``Stream``, which runs a model on live data, step by step.

    ``step`` receives the next time step, or a block of steps, of each stream in a batch, and returns the model's
    output. If layers end the time axis, this is the output after all steps so far. Memory does not grow with the number
    of steps.

    Args:
        model: A built Keras model.
        batch_size: Integer, the number of parallel streams. Default 1.
        causal: As in ``keras_snn.predict``.

    Raises:
        ValueError: If the model cannot run over parts of its time axis. The message names the layer.

    Example:

    ```python
    live = keras_snn.stream(model, batch_size=10)
    live.start(x_test[:10])  # the model creates its time axis; others take frames: live.step(frames)
    for _ in range(3):
        scores = live.step()  # after all steps so far
    live.reset()
    ```
    """
    return Stream(model, batch_size, causal)


class Stream:
    """A model on live data, made by ``stream``. Each layer of this package continues from its state.

    Weights are read in each step, so updates of a training take effect. Updates of weights before the layer that
    creates the time axis take effect at the next ``start`` or ``reset``, because this layer keeps its input. Other
    attributes of layers are constants of the compiled function: make a new stream after a change, such as ``set_dt``
    with a number.

    Attributes:
        model: The model.
        batch_size: Number of parallel streams.
    """

    def __init__(self, model: keras.Model, batch_size: int, causal: bool) -> None:
        if not isinstance(model, keras.Model):
            raise TypeError(f"`model` must be a Keras model; got {type(model).__name__}.")
        self.model = model
        self.batch_size = checks.integer("batch_size", batch_size, least=1)
        self._axis: Any = None  # a graph.TimeAxis, once the inputs are known
        self._x: Any = None
        self._states: Any = None
        self._fresh: np.ndarray = np.ones(self.batch_size, bool)
        self._causal = causal
        self._last = None
        self._run = inference(self._part, model)
        self._run_masked = inference(self._masked, model)
        if graph.is_graph(model) and getattr(model, "inputs", None):
            self._study(graph.zero_sample(model)[0])
        elif not model.built and not causal:
            raise ValueError(f"The model {model.name!r} must be built: call it, or begin it with keras.Input.")
        elif not causal:
            raise ValueError(f"The graph of {model.name!r} cannot be read: it is a subclassed model. Pass causal=True.")

    def _study(self, x):
        self._axis = graph.TimeAxis(self.model, x, causal=self._causal)
        self._axis.check()
        return self._axis

    def start(self, x: Nest, which: int | Sequence | np.ndarray | None = None) -> None:
        """Set the still inputs ``x (batch, ...)`` of a model that creates its time axis, and reset the streams.

        Args:
            x: Array, or a nest of arrays.
            which: As in ``reset``: only the rows of these streams are set.
        """
        x = self._arrays("x", x)
        if self._axis is None:
            self._study(x)
        if not self._axis.is_made:
            raise ValueError(
                f"The model {self.model.name!r} must create its time axis for `start`; its inputs have one. Pass each "
                "time step to `step(frame)`."
            )
        chosen = self._chosen(which)
        if self._x is None and not chosen.all():
            raise ValueError("`which` must be None in the first call of `start`: all streams need an input.")
        inputs = getattr(self.model, "inputs", None) or []
        if len(inputs) == 1 and not _fit(x, [(None, *inputs[0].shape[1:])]):
            shape = (self.batch_size, *inputs[0].shape[1:])
            raise ValueError(f"`x` must have the shape {shape}; got {[a.shape for a in tree.flatten(x)]}.")
        if not chosen.all():
            x = tree.map_structure(lambda new, old: np.where(_rows(chosen, new), new, old), x, self._x)
        self._x = x
        self.reset(which)

    def step(self, frame: Nest = None, mask: Tensor | None = None, *, n_steps: int = 1) -> Nest:
        """Run the next time step, or a block of them; return the output of the model as NumPy arrays.

        Args:
            frame: Array ``(batch, ...)``, one step of each stream, or ``(batch, steps, ...)``, a block; a nest of them
                for several inputs. None for a model that creates its time axis: see ``start``.
            mask: Bool array ``(batch,)``, or ``(batch, steps)`` for a block: False for streams without input at a
                step. Their states are held, and their last output is returned again (zeros before the first output).
            n_steps: Integer, the number of steps to run, for a model that creates its time axis. Default 1.

        Returns:
            The output ``(batch, ...)`` after this step. An output with a time axis is ``(batch, steps, ...)`` for a
            block, and ``(batch, ...)`` for one step.
        """
        n_steps = checks.integer("n_steps", n_steps, least=1)
        probe.sync(self.model)
        x, is_block = self._inputs(frame, mask)
        if self._axis.is_made:
            is_block = n_steps > 1
        elif n_steps > 1:
            raise ValueError("`n_steps` is for a model that creates its time axis. Pass a block of frames instead.")
        else:
            n_steps = tree.flatten(x)[0].shape[1]
        fresh = None if self._states is None or not self._fresh.any() else ops.convert_to_tensor(self._fresh)
        x = tree.map_structure(ops.convert_to_tensor, x)
        if mask is None:
            outputs, self._states = self._run(n_steps, x, self._states, fresh)
            self._last = self._without_time(outputs)
        else:
            mask = ops.convert_to_tensor(self._mask(mask, n_steps))
            outputs, self._states, self._last = self._run_masked(n_steps, x, self._states, fresh, mask, self._last)
        self._fresh = np.zeros(self.batch_size, bool)
        outputs = tree.map_structure(ops.convert_to_numpy, outputs)
        return outputs if is_block else tree.pack_sequence_as(outputs, self._without_time(outputs))

    def reset(self, which: int | Sequence | np.ndarray | None = None) -> None:
        """Restart streams at the next step.

        Args:
            which: Integer, sequence of integers, or Bool array ``(batch,)``: the streams. Default: all.
        """
        self._fresh |= self._chosen(which)
        if self._fresh.all():
            self._states = self._last = None

    def _part(self, n_steps, x, states, fresh):
        """Return the outputs of the next ``n_steps`` steps, and the states after them."""
        carry = probe.Carry(states, fresh)
        return self._axis.run(x, n_steps, carry), carry.ended

    def _masked(self, n_steps, x, states, fresh, mask, last):
        """Return the outputs as ``_part`` does, the states, and the list of the outputs after the last step.

        Masked steps are run too, and then the states of their streams are restored.
        """
        axis = self._axis
        structure: Any = None

        def step(t, states, fresh, last):
            nonlocal structure
            carry = probe.Carry(states, fresh)
            structure = axis.run(axis.part(x, t, 1), 1, carry)
            outputs = self._without_time(structure)
            last = [ops.zeros_like(y) for y in outputs] if last is None else last
            if fresh is not None:
                last = held(fresh, [ops.zeros_like(y) for y in outputs], last)
            counts = ops.take(mask, t, axis=1)
            return held(counts, carry.ended, carry.started), held(counts, outputs, last)

        def body(before, i):
            states, last = step(i + 1, before[0], None, before[1])
            return (states, last), last

        states, last = step(0, states, fresh, last)
        each = [y[:, None] for y in last]
        if n_steps > 1:
            changing = self.model.non_trainable_variables
            (states, last), rest = loop(body, (states, last), n_steps - 1, last, changing)
            each = [ops.concatenate([y, ops.moveaxis(more, 0, 1)], axis=1) for y, more in zip(each, rest, strict=True)]
        flat = [y if ended else ys for y, ys, ended in zip(last, each, axis.ended, strict=True)]
        return tree.pack_sequence_as(structure, flat), states, last

    def _without_time(self, outputs):
        """Return the list of the outputs of one step."""
        pairs = zip(tree.flatten(outputs), self._axis.ended, strict=True)
        return [y if ended else y[:, -1] for y, ended in pairs]

    def _inputs(self, frame, mask):
        """Return the inputs with a time axis, unless the model creates it, and whether ``frame`` is a block."""
        if self._axis is not None and self._axis.is_made:
            return self._still_inputs(frame, mask)
        if frame is None:
            raise ValueError("`frame` must be given unless the model creates its time axis; got None.")
        x = self._arrays("frame", frame)
        if self._axis is None and self._study(x).is_made:
            return self._still_inputs(frame, mask)
        inputs = getattr(self.model, "inputs", None) or []  # none in a subclassed model, which receives blocks
        ranks = {len(s.shape) - a.ndim for s, a in zip(inputs, tree.flatten(x), strict=False)}
        is_block = ranks != {1}
        with_time = x if is_block else tree.map_structure(lambda a: a[:, None], x)
        # Not compared for several inputs: their order may differ.
        expected = [(None, None, *s.shape[2:]) for s in inputs if len(inputs) == 1]
        arrays = tree.flatten(with_time)
        is_consistent = len({a.shape[1:2] for a in arrays}) == 1 and len(arrays) == len(inputs or arrays)
        if ranks not in (set(), {0}, {1}) or not is_consistent or not _fit(with_time, expected):
            shapes = [tuple(s.shape) for s in inputs]
            raise ValueError(
                f"`frame` must be one time step, or a block of steps, of inputs of the shapes {shapes}; got "
                f"{[a.shape for a in tree.flatten(x)]}."
            )
        return with_time, is_block

    def _still_inputs(self, frame, mask):
        if frame is not None or mask is not None:
            raise ValueError(
                f"The model {self.model.name!r} creates its time axis: set its input with `start(x)`, and call "
                "`step()` without arguments."
            )
        if self._x is None:
            raise ValueError("The stream has no input yet: call `start(x)` first.")
        return self._x, False

    def _mask(self, mask, n_steps):
        mask = np.asarray(mask, bool)
        if mask.shape not in ((self.batch_size, n_steps), (self.batch_size,) if n_steps == 1 else None):
            shape = (self.batch_size, n_steps)
            raise ValueError(f"`mask` must have the shape {shape}, a value for each stream and step; got {mask.shape}.")
        return mask.reshape(self.batch_size, n_steps)

    def _arrays(self, name, x):
        x = tree.map_structure(np.asarray, x)
        sizes = {a.shape[:1] for a in tree.flatten(x)}
        if sizes != {(self.batch_size,)}:
            raise ValueError(
                f"`{name}` must have a row for each of the {self.batch_size} streams; got the shapes "
                f"{[a.shape for a in tree.flatten(x)]}."
            )
        return x

    def _chosen(self, which):
        """Return the streams of ``reset(which)`` as a Bool array ``(batch,)``."""
        index = np.arange(self.batch_size) if which is None else np.asarray(which)
        index = index.astype(int) if index.size == 0 else index
        chosen = np.zeros(self.batch_size, bool)
        is_valid = index.shape == chosen.shape if index.dtype == bool else index.dtype.kind in "iu"
        if not is_valid or (index.dtype != bool and (np.abs(index + 0.5) > self.batch_size).any()):
            kinds = f"an integer below {self.batch_size}, a sequence of them, or a Bool array of shape {chosen.shape}"
            raise ValueError(f"`which` must be {kinds}; got {which!r}.")
        chosen[index] = True
        return chosen


def _fit(x, shapes):
    """Return whether the arrays of a nest have these shapes, where None is any size."""
    pairs = zip(tree.flatten(x), shapes, strict=False)
    return all(a.ndim == len(s) and all(n in (None, m) for m, n in zip(a.shape, s, strict=True)) for a, s in pairs)


def _rows(chosen, array):
    return chosen.reshape(-1, *[1] * (array.ndim - 1))
