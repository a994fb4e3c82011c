"""Steps of neurons with a refractory period, or with resets that act one step later."""

import functools
from collections.abc import Callable

from keras import ops


@functools.cache  # one function per step: it is a key of the engine's cache
def refractory(step: Callable) -> Callable:
    """Return ``step`` with a refractory period. The additional last state counts its remaining steps."""

    @functools.wraps(step)
    def held(p, state, x):
        *before, wait = state
        after, spikes = step(p, tuple(before), x)
        free = ops.logical_or(wait == 0, ops.isnan(x))  # NaN is not held back: it ends the spikes of the neuron
        spikes = ops.where(free, spikes, ops.zeros_like(spikes))
        after = tuple(ops.where(free, new, old) for new, old in zip(after, before, strict=True))
        wait = ops.where(spikes > 0, p.refractory, ops.maximum(wait - 1, 0))
        return (*after, ops.cast(wait, "int32")), spikes

    return held


@functools.cache
def late_reset(step: Callable) -> Callable:
    """Return ``step`` with each reset one step later. The additional last state holds the spikes of the last step.

    The reset acts on the membrane after its charge and before it fires. For "subtract": ``v_t = h_t - threshold
    s_{t-1}``.
    """

    @functools.wraps(step)
    def late(p, state, x):
        *before, p.previous_spikes = state
        after, spikes = step(p, tuple(before), x)
        return (*after, spikes), spikes

    return late
