"""Run a model over the parts of its time axis, inside a compiled function."""

from collections.abc import Callable

from keras import ops, tree

from keras_snn import probe
from keras_snn.graph.time_axis import TimeAxis
from keras_snn.hints import Nest
from keras_snn.ops.backend import loop


def over_parts(axis: TimeAxis, part: Callable, steps_at_once: int) -> tuple[Nest, Nest, Nest]:
    """Run a model over its time axis, part by part, inside a compiled function. The first part may be shorter.

    Args:
        axis: ``TimeAxis`` of the model.
        part: Function ``(start, n_steps, carry) -> (sums, last, each)`` that runs a part. ``sums`` is a nest of tensors
            to add over the parts, ``last`` a nest whose values of the last part are returned, and ``each`` a nest of
            tensors ``(batch, ...)`` to join along axis 1.
        steps_at_once: Integer, number of steps of a part.

    Returns:
        ``sums``, ``last`` and ``each`` of all steps.
    """
    first, *others = axis.parts(steps_at_once)
    carry = probe.Carry()
    sums, last, each = part(0, first, carry)
    if not others:
        return sums, last, each

    def body(before, i):
        states, sums, _ = before
        carry = probe.Carry(states)
        more, last, each = part(first + i * steps_at_once, steps_at_once, carry)
        return (carry.ended, tree.map_structure(ops.add, sums, more), last), each

    start, changing = (carry.ended, sums, last), axis.model.non_trainable_variables
    (_, sums, last), rest = loop(body, start, len(others), each, changing)
    return sums, last, tree.map_structure(_joined, each, rest)


def _joined(first, rest):
    """Join ``first (batch, a, ...)`` and ``rest (parts, batch, b, ...)`` along axis 1."""
    parts, batch, length, *units = ops.shape(rest)
    rest = ops.reshape(ops.moveaxis(rest, 0, 1), (batch, parts * length, *units))
    return ops.concatenate([first, rest], axis=1)
