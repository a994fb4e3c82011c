"""The equations of spiking neurons: each a pure step from the state before to the state after, and the spikes.

A step has the form ``step(p, state, x) -> (state, spikes)``. ``p`` holds the parameters by their names in the
equations, and fires: ``p.fire(h)`` gives what is left of the membrane h after the spikes, and the spikes. ``Neuron``
makes of it what ``scan`` runs over time.

Time is counted in steps, apart from Izhikevich's model. ``leak`` is 1 / tau.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import ops

from keras_snn.ops.backend import compiled, straight_through
from keras_snn.ops.precision import mean
from keras_snn.ops.random import uniform_at_steps
from keras_snn.ops.statistics import largest_over

RESETS = ("zero", "subtract", None)


@dataclass(frozen=True)
class Neuron:
    """A step with its constants, as a value: two equal ones are one function to ``scan``, which compiles it once.

    Attributes:
        step: Function ``(p, state, x) -> (state, spikes)``, closed over nothing.
        constants: Tuple of pairs (name, hashable value).
        spike: Function from the membrane above the threshold to spikes, with a surrogate gradient.
        reset: "zero" (to ``v_reset``), "subtract" (the threshold), or None.
        detach_reset: Boolean, whether the spike that resets the membrane carries no gradient.
    """

    step: Callable
    constants: tuple = ()
    spike: Callable | None = None
    reset: str | None = "zero"
    detach_reset: bool = False

    @property
    def __wrapped__(self):
        """The step, for the engine's check of what it closes over."""
        return self.step

    def __call__(self, params, state, x):
        return self.step(Parameters(self, params), state, nan_if_infinite(x))


class Parameters:
    """What a step knows beside its state: every parameter as an attribute, and how to fire.

    Args:
        neuron: ``Neuron``.
        params: Dict of tensors, the parameters that are not constants.
    """

    def __init__(self, neuron, params):
        vars(self).update(neuron.constants)
        vars(self).update(params)
        self._neuron = neuron

    def fire(self, h, threshold=None):
        """Return what is carried on of the membrane ``h``, and the spikes: 1 where h > threshold, else 0.

        Args:
            h: Tensor ``(batch, ...)``.
            threshold: Number or tensor. Default: the parameter ``threshold``.
        """
        threshold = self.threshold if threshold is None else threshold
        spikes = self.spike(h - threshold)
        return self.after_spike(h, spikes, threshold), spikes

    def spike(self, x):
        """Return 1 where ``x > 0``, else 0, with the surrogate gradient."""
        return self._neuron.spike(x)

    def after_spike(self, h, spikes, threshold):
        """Return ``h (1 - s) + v_reset s``, ``h - threshold s``, or ``h``, as ``reset`` says."""
        if self._neuron.reset is None:
            return h
        if self._neuron.detach_reset:
            spikes = ops.stop_gradient(spikes)
        if self._neuron.reset == "subtract":
            return h - threshold * spikes
        kept = h * (1 - spikes)
        return kept if _is_zero(self.v_reset) else kept + self.v_reset * spikes


def integrate(p, state, x):
    """``h = v + x``."""
    (v,) = state
    v, spikes = p.fire(v + x)
    return (v,), spikes


def leaky(p, state, x):
    """``h = v + leak (x - (v - v_reset))``, or ``h = v - leak (v - v_reset) + x`` where the input does not decay."""
    (v,) = state
    v, spikes = p.fire(charge(p, v, x))
    return (v,), spikes


def scaled_leaky(p, state, x):
    """As ``leaky``, and ``f = activation(k h)`` fires and is carried on, or ``f per_k`` where that is not None."""
    (v,) = state
    f = p.activation(rounded(p.k * charge(p, v, x)))
    spikes = p.spike(f - p.threshold)
    if p.per_k is None:
        return (p.after_spike(f, spikes, p.threshold),), spikes
    return (p.after_spike(rounded(f * p.per_k), spikes, p.threshold * p.per_k),), spikes


def adaptive_leaky(p, state, x):
    """As ``leaky``, with the threshold ``threshold + beta a``; ``a <- a - adaptation_leak a + s``."""
    v, a = state
    v, spikes = p.fire(charge(p, v, x), p.threshold + rounded(p.beta * a))
    return (v, decayed(a, p.adaptation_leak) + spikes), spikes


def synaptic(p, state, x):
    """``i <- i - synapse_leak i + x``, and then as ``leaky`` with the input i, which does not decay by the membrane."""
    i, v = state
    i = decayed(i, p.synapse_leak) + x
    v, spikes = p.fire(decayed(v, p.leak, p.v_reset) + i)
    return (i, v), spikes


def leaky_integrator(p, state, x):
    """As ``leaky``, without spikes: the membrane is what comes out."""
    (v,) = state
    v = charge(p, v, x)
    return (v,), v


def izhikevich(p, state, x):
    """``v' = 0.04 v^2 + 5 v + 140 - u + x``, ``u' = a (b v - u)``; a spike sets v to c and adds d to u.

    Euler's method, the membrane in two halves of a step as in the publication. ``dt`` is in seconds, v in mV, and both
    derivatives are by the millisecond.
    """
    v, u = state
    half = 500 * p.dt
    for _ in range(2):
        v = v + half * ((0.04 * v + 5) * v + 140 - u + x)
    u = u + 2 * half * p.a * (p.b * v - u)
    v, spikes = p.fire(v)
    return (v, u + p.d * spikes), spikes


def recurrent_leaky(p, state, x):
    """As ``leaky``, with the spikes of the step before times ``recurrent_kernel`` added to the input."""
    v, before = state
    v, spikes = p.fire(charge(p, v, x + before @ p.recurrent_kernel))
    return (v, spikes), spikes


def noisy_leaky(p, state, x):
    """``h = N(v - leak (v - v_reset)) + x``, with the noise as a part of x; ``h = x + 0 v`` where ``alpha`` is None.

    ``N(a) = (a - mean(a)) / (alpha max|a - mean(a)|) + beta`` over the units of a sample, or of the batch.
    """
    (v,) = state
    if p.alpha is None:
        x = x + 0 * v  # NaN stays NaN
    else:
        a = decayed(v, p.leak, p.v_reset)
        x = standardised(a, statistics_axes(p.statistics, a, first=1)) / p.alpha + p.beta + x
    v, spikes = p.fire(x)
    return (v,), spikes


@functools.cache  # one object for one step: the engine tells them apart by it
def refractory(step):
    """Return ``step`` with one more state, last: the number of steps for which nothing moves after a spike."""

    @functools.wraps(step)
    def held(p, state, x):
        *before, wait = state
        after, spikes = step(p, tuple(before), x)
        free = ops.logical_or(wait == 0, ops.isnan(x))  # NaN is never held back: it ends the neuron's spikes for good
        spikes = ops.where(free, spikes, ops.zeros_like(spikes))
        after = tuple(ops.where(free, new, old) for new, old in zip(after, before, strict=True))
        wait = ops.where(spikes > 0, p.refractory, ops.maximum(wait - 1, 0))
        return (*after, ops.cast(wait, "int32")), spikes

    return held


def charge(p, v, x):
    """Return the membrane before firing: the leak and the input."""
    if p.decay_input:
        return v + rounded(p.leak * (x - _above(v, p.v_reset)))
    return decayed(v, p.leak, p.v_reset) + x


def decayed(v, leak, rest=0.0):
    """Return what a step leaves of ``v`` on its way to ``rest``."""
    return v - rounded(leak * _above(v, rest))


def standardised(a, axes):
    """Return ``(a - mean(a)) / max|a - mean(a)|`` over ``axes``, which is in [-1, 1]: 0 where all are alike."""
    # Rounded, or XLA fuses the product in the mean here and not there, and finds no largest one in the backward pass.
    # A neuron that is NaN, after an input that was not finite, counts as 0: the others must go on.
    finite = ops.where(ops.isnan(a), ops.zeros((), a.dtype), a)
    average = rounded(mean(finite, axes, keepdims=True))
    centred = a - average
    largest = largest_over(ops.abs(finite - average), axis=axes, keepdims=True)
    # What rounding leaves of equal values must not be blown up.
    return centred / ops.where(largest < 1e-6, math.inf, largest)


def noise(index, steps, like, word, kind, axes):
    """Return noise in [-1, 1], drawn for each sample and step by its index and the seed alone.

    Args:
        index: As in ``uniform_at_steps``.
        steps: As in ``uniform_at_steps``.
        like: Tensor ``(batch, time, ...)``, of whose shape and dtype the noise is.
        word: As in ``uniform_at_steps``.
        kind: "uniform", or "gaussian": normal numbers, divided by the largest absolute one.
        axes: Tuple, over which that is the largest.
    """
    return _noise(kind, axes)(index, steps, like, word)


@functools.lru_cache(maxsize=256)
def _noise(kind, axes):
    @compiled  # some twenty operations of a number each, which otherwise take as long as the network
    def draw(index, steps, like, word):
        uniform = 2 * uniform_at_steps(index, steps, tuple(ops.shape(like))[2:], word) - 1
        if kind == "uniform":
            return ops.cast(uniform, like.dtype)
        # The middle of the step of 2^-24 that a number stands for: never -1 or 1, and exact in float32. The normal
        # number is sqrt(2) erfinv of it, which rises: the largest one is that of the largest. TensorFlow's erfinv has
        # no values near 1; those near -1 are right.
        middle = uniform + 2.0**-24
        largest = largest_over(ops.abs(middle), axis=axes, keepdims=True)
        return ops.cast(ops.sign(middle) * ops.erfinv(-ops.abs(middle)) / ops.erfinv(-largest), like.dtype)

    return draw


def statistics_axes(statistics, x, *, first):
    """Return the axes of ``x`` from ``first`` on, and axis 0 too where ``statistics`` is "batch"."""
    return (*((0,) if statistics == "batch" else ()), *range(first, len(x.shape)))


def nan_if_infinite(x):
    """Return ``x`` with NaN in place of infinite values.

    NaN is above no threshold and stays NaN in every equation, so the neuron is silent from then on. An infinite value
    would fire, or be reset, or be clipped by ``rounded``, and the neuron would go on.
    """
    if keras.config.backend() == "torch":
        return x + 0 * ops.stop_gradient(x)  # without an operation in the backward pass
    return ops.where(ops.abs(x) < math.inf, x, math.nan)


def rounded(product):
    """Return ``product``, which is then added to something as it is in float32.

    XLA fuses a multiplication and an addition into one operation that rounds once, which makes or spares a spike now
    and then that other backends do not. The maximum, of which no number falls short, stands between the two.
    """
    if keras.config.backend() == "torch":
        return product
    lowest = {"float32": -3.4028234663852886e38, "float64": -1.7976931348623157e308}
    return straight_through(ops.maximum(product, lowest[keras.backend.standardize_dtype(product.dtype)]), product)


def _above(v, v_reset):
    return v if _is_zero(v_reset) else v - v_reset


def _is_zero(value):
    return isinstance(value, float) and value == 0
