"""The equations of spiking neurons, each a pure step function.

A step has the form ``step(p, state, x) -> (state, spikes)``. The attributes of ``p`` are the parameters of the
equations. ``p.fire(h)`` returns the membrane h after reset, and the spikes. ``Neuron`` turns a step into a function for
``scan``.

Time constants count time steps, except in ``izhikevich`` and ``conductance_leaky``. ``leak`` is 1 / tau.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from keras_snn.hints import Tensor
from keras_snn.ops.backend import compiled, straight_through
from keras_snn.ops.precision import mean
from keras_snn.ops.random import uniform_at_steps
from keras_snn.ops.statistics import largest_over

RESETS = ("zero", "subtract", None)


@dataclass(frozen=True)
class Neuron:
    """A step and its choices. Instances with equal choices compare equal, so ``scan`` compiles them once.

    It is called with the pair of the dicts ``(params, constants)`` of tensors, which are further attributes of ``p``.

    Attributes:
        step: Function ``(p, state, x) -> (state, spikes)`` that captures no variables.
        choices: Tuple of pairs (name, hashable value), attributes of ``p`` that are part of the compiled code.
        spike: Function from the membrane above the threshold to spikes, with a surrogate gradient.
        reset: "zero" (to ``v_reset``), "subtract" (the threshold), or None.
        detach_reset: Boolean, whether the spike that resets the membrane carries no gradient.
    """

    step: Callable
    choices: tuple = ()
    spike: Callable | None = None
    reset: str | None = "zero"
    detach_reset: bool = False

    @property
    def __wrapped__(self):
        """The step, so that the engine checks what it captures."""
        return self.step

    def __call__(self, params, state, x):
        params, constants = params
        return self.step(Parameters(self, {**params, **constants}), state, nan_if_infinite(x))


class Parameters:
    """The parameters of a step as attributes, and its firing and reset.

    Args:
        neuron: ``Neuron``.
        params: Dict of tensors, the parameters that are not choices of the neuron.
    """

    if TYPE_CHECKING:  # the parameters differ between neurons

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, neuron: Neuron, params: dict[str, Tensor]) -> None:
        vars(self).update(neuron.choices)
        vars(self).update(params)
        self._neuron: Any = neuron

    def fire(self, h: Tensor, threshold: float | Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the membrane ``h`` after reset, and the spikes: 1 where h > threshold, else 0.

        Args:
            h: Tensor ``(batch, ...)``.
            threshold: Number or tensor. Default: the parameter ``threshold``.
        """
        threshold = self.threshold if threshold is None else threshold
        if "previous_spikes" in vars(self):  # see `late_reset`
            h = self.after_spike(h, self.previous_spikes, threshold)
            return h, self.spike(h - threshold)
        spikes = self.spike(h - threshold)
        return self.after_spike(h, spikes, threshold), spikes

    def spike(self, x: Tensor) -> Tensor:
        """Return 1 where ``x > 0``, else 0, with the surrogate gradient."""
        return self._neuron.spike(x)

    def after_spike(self, h: Tensor, spikes: Tensor, threshold: float | Tensor) -> Tensor:
        """Return ``h (1 - s) + v_reset s``, ``h - threshold s``, or ``h``, for ``reset`` "zero", "subtract" or None."""
        if self._neuron.reset is None:
            return h
        if self._neuron.detach_reset:
            spikes = ops.stop_gradient(spikes)
        if self._neuron.reset == "subtract":
            return h - threshold * spikes
        kept = h * (1 - spikes)
        return kept if _is_zero(self.v_reset) else kept + self.v_reset * spikes


def integrate(p: Parameters, state: tuple[Tensor, ...], x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """``h = v + x``."""
    (v,) = state
    v, spikes = p.fire(v + x)
    return (v,), spikes


def leaky(p: Parameters, state: tuple[Tensor, ...], x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """``h = v + leak (x - (v - v_reset))``, or without decay of the input ``h = v - leak (v - v_reset) + x``."""
    (v,) = state
    v, spikes = p.fire(charge(p, v, x))
    return (v,), spikes


def scaled_leaky(p: Parameters, state: tuple[Tensor, ...], x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """Compute ``h`` as ``leaky`` does; ``f = activation(k h)`` fires.

    The next membrane is ``f`` after reset, or ``f per_k`` after reset if ``per_k`` is not None.
    """
    (v,) = state
    f = p.activation(rounded(p.k * charge(p, v, x)))
    spikes = p.spike(f - p.threshold)
    if p.per_k is None:
        return (p.after_spike(f, spikes, p.threshold),), spikes
    return (p.after_spike(rounded(f * p.per_k), spikes, p.threshold * p.per_k),), spikes


def adaptive_leaky(p: Parameters, state: tuple[Tensor, ...], x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """Compute ``leaky`` with the threshold ``threshold + beta a``; ``a <- a - adaptation_leak a + s``."""
    v, a = state
    v, spikes = p.fire(charge(p, v, x), p.threshold + rounded(p.beta * a))
    return (v, decayed(a, p.adaptation_leak) + spikes), spikes


def synaptic(p: Parameters, state: tuple[Tensor, ...], x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """``i <- i - synapse_leak i + x``, then ``leaky`` with the input i, without decay of the input."""
    i, v = state
    i = decayed(i, p.synapse_leak) + x
    v, spikes = p.fire(decayed(v, p.leak, p.v_reset) + i)
    return (i, v), spikes


def observed_synaptic(p: Parameters, state: tuple[Tensor, ...], x: Tensor) -> tuple[tuple[Tensor, ...], Any]:
    """As ``synaptic``; the outputs are spikes and the membrane before firing."""
    i, v = state
    h = decayed(v, p.leak, p.v_reset) + decayed(i, p.synapse_leak) + x
    state, spikes = synaptic(p, state, x)
    return state, (spikes, h)


def leaky_integrator(p: Parameters, state: tuple[Tensor, ...], x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """Compute ``leaky`` without spikes: the membrane is the output."""
    (v,) = state
    v = charge(p, v, x)
    return (v,), v


def izhikevich(p: Parameters, state: tuple[Tensor, ...], x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """``v' = 0.04 v^2 + 5 v + 140 - u + x``, ``u' = a (b v - u)``; a spike sets v to c and adds d to u.

    Euler's method, with two half steps for the membrane as in the publication. ``dt`` is in seconds, v in mV, and both
    derivatives are per millisecond.
    """
    v, u = state
    half = 500 * p.dt
    for _ in range(2):
        v = v + half * ((0.04 * v + 5) * v + 140 - u + x)
    u = u + 2 * half * p.a * (p.b * v - u)
    v, spikes = p.fire(v)
    return (v, u + p.d * spikes), spikes


def resonate(p: Parameters, state: tuple[Tensor, ...], x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """``z = (cos + i sin) z + x`` with the real and imaginary part of z as states; \\|z\\| fires, and z is reset."""
    a, b = state
    a, b = rounded(p.cos * a) - rounded(p.sin * b) + x, rounded(p.sin * a) + rounded(p.cos * b)
    square = rounded(a * a) + rounded(b * b)
    is_zero = square == 0  # the gradient of the root is infinite there
    size = ops.where(is_zero, square, ops.sqrt(ops.where(is_zero, ops.ones_like(square), square)))
    spikes = p.spike(size - p.threshold)
    return (p.after_spike(a, spikes, p.threshold), p.after_spike(b, spikes, p.threshold)), spikes


def damped_rotation(period: float | Tensor, decay_periods: float) -> tuple[Any, Any]:
    """Return the real and imaginary part of ``exp(-1 / (decay_periods period) + 2 pi i / period)``."""
    functions: Any = math if isinstance(period, float) else ops
    decay, angle = functions.exp(-1 / (decay_periods * period)), 2 * math.pi / period
    return decay * functions.cos(angle), decay * functions.sin(angle)


def recurrent_leaky(p: Parameters, state: tuple[Tensor, ...], x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """Compute ``leaky`` with the input ``x + s recurrent_kernel``, where s are the spikes of the previous step."""
    v, before = state
    v, spikes = p.fire(charge(p, v, x + before @ p.recurrent_kernel))
    return (v, spikes), spikes


def noisy_leaky(p: Parameters, state: tuple[Tensor, ...], x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """``h = N(v - leak (v - v_reset)) + x``, where x includes the noise; ``h = x + 0 v`` if ``alpha`` is None.

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


def folded_leaky(p: Parameters, state: tuple, x: Tensor) -> tuple[tuple, Any]:
    """``h = v - leak (v - v_reset) + x``; ``f = fold(h)`` fires and is carried on."""
    (v,) = state
    h = decayed(v, p.leak, p.v_reset) + x
    return _fire_from(p, h, fold(h, p.slope))


def observed_folded_leaky(p: Parameters, state: tuple, x: Tensor) -> tuple[tuple, Any]:
    """As ``folded_leaky``; the outputs are spikes and h."""
    h = decayed(state[0], p.leak, p.v_reset) + x
    state, spikes = folded_leaky(p, state, x)
    return state, (spikes, h)


def oscillating_leaky(p: Parameters, state: tuple, x: Tensor) -> tuple[tuple, Any]:
    """As ``folded_leaky``, with ``f = fold(h + F(h))`` for the function F and its constants c and d."""
    (v,) = state
    h = decayed(v, p.leak, p.v_reset) + x
    return _fire_from(p, h, fold(h + OSCILLATIONS[p.function](h, p.c, p.d), p.slope))


def _fire_from(p, h, f):
    """Fire at the membrane ``f`` of ``h``; with ``p.smooth``, the derivative of f by h is 1 in the backward pass."""
    v, spikes = p.fire(straight_through(f, h) if p.smooth else f)
    return (v,), spikes


def fold(x: Tensor, slope: float) -> Tensor:
    """Return ``x`` where it is positive, else ``-slope x``: a leaky ReLU of negative slope."""
    return ops.where(x > 0, x, rounded(-slope * x))


#: The functions F(h) that replace the noise of an oscillating membrane, with their constants c and d.
OSCILLATIONS = {
    "f1": lambda h, c, d: ops.sin(h + c) + d,
    "f2": lambda h, c, d: rounded(h * ops.sin(h + c)) + d,
    "f3": lambda h, c, d: ops.exp(h + c) + d,
    "f4": lambda h, c, d: ops.sigmoid(c * h) + d,
}


def conductance_membrane(
    u: Tensor,
    g_e: Tensor,
    g_i: Tensor | float,
    *,
    rest: float,
    e_excitatory: float,
    e_inhibitory: float,
    dt_over_tau: float,
) -> Tensor:
    """Return the membrane after a step of ``tau u' = rest - u + g_e (e_excitatory - u) + g_i (e_inhibitory - u)``.

    Exponential Euler: the conductances, in units of the leak, are constant within the step.
    """
    total = 1 + g_e + g_i
    equilibrium = (rest + g_e * e_excitatory + g_i * e_inhibitory) / total
    return equilibrium + (u - equilibrium) * ops.exp(-dt_over_tau * total)


def conductance_leaky(p: Parameters, state: tuple[Tensor, ...], x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """``g_e <- g_e + max(x, 0)``, ``g_i <- g_i + max(-x, 0)``; ``conductance_membrane``; decay of g_e and g_i.

    ``wait`` is the remaining refractory time. It holds the membrane only. ``dt`` is in ms, as all times.
    """
    v, g_e, g_i, wait = state
    g_e, g_i = g_e + ops.relu(x), g_i + ops.relu(-x)
    constants = {name: getattr(p, name) for name in ("rest", "e_excitatory", "e_inhibitory", "dt_over_tau")}
    free = wait < 0.5 * p.dt  # half a step of tolerance: `wait` has rounding errors
    h = ops.where(free, conductance_membrane(v, g_e, g_i, **constants), v)
    v, spikes = p.fire(h)
    wait = ops.where(spikes > 0, p.refractory_time, ops.relu(wait - p.dt))
    return (v, p.decay_e * g_e, p.decay_i * g_i, wait), spikes


def charge(p: Parameters, v: Tensor, x: Tensor) -> Tensor:
    """Return the membrane before firing, after leak and input."""
    if p.decay_input:
        return v + rounded(p.leak * (x - _above(v, p.v_reset)))
    return decayed(v, p.leak, p.v_reset) + x


def decayed(v: Tensor, leak: float | Tensor, rest: float | Tensor = 0.0) -> Tensor:
    """Return ``v`` after one step of decay toward ``rest``: ``v - leak (v - rest)``."""
    return v - rounded(leak * _above(v, rest))


def standardised(a: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return ``(a - mean(a)) / max|a - mean(a)|`` over ``axes``, in [-1, 1]; 0 if all values are equal."""
    # Rounded: XLA may fuse the product in the mean in one pass only, and no value equals the maximum in the backward
    # pass. A NaN, after an input that was not finite, counts as 0, so that it does not reach other neurons.
    finite = ops.where(ops.isnan(a), ops.zeros((), a.dtype), a)
    average = rounded(mean(finite, axes, keepdims=True))
    centered = a - average
    largest = largest_over(ops.abs(finite - average), axis=axes, keepdims=True)
    # Rounding errors of equal values must not be amplified.
    return centered / ops.where(largest < 1e-6, math.inf, largest)


def noise(index: Tensor, steps: Tensor, like: Tensor, word: Tensor, kind: str, axes: tuple[int, ...]) -> Tensor:
    """Return noise, drawn for each sample and step by the sample's index and the seed.

    Args:
        index: As in ``uniform_at_steps``.
        steps: As in ``uniform_at_steps``.
        like: Tensor ``(batch, time, ...)``, which has the shape and dtype of the noise.
        word: As in ``uniform_at_steps``.
        kind: "uniform" in [-1, 1], "normal", or "gaussian": normal numbers divided by their maximum absolute value.
        axes: Tuple of the axes of this maximum.
    """
    return _noise(kind, axes)(index, steps, like, word)


@functools.lru_cache(maxsize=256)
def _noise(kind, axes):
    @compiled  # some twenty elementwise operations: not compiled, they take as long as the network
    def draw(index, steps, like, word):
        uniform = 2 * uniform_at_steps(index, steps, tuple(ops.shape(like))[2:], word) - 1
        if kind == "uniform":
            return ops.cast(uniform, like.dtype)
        # The middle of a uniform number's interval of 2^-24: never -1 or 1, and exact in float32. The normal number is
        # sqrt(2) erfinv(middle). erfinv is monotonic, so the maximum is erfinv of the largest middle. TensorFlow's
        # erfinv is not finite near 1, but correct near -1: hence the signs.
        middle = uniform + 2.0**-24
        inverse = ops.erfinv(-ops.abs(middle))
        if kind == "normal":
            return ops.cast(-math.sqrt(2) * ops.sign(middle) * inverse, like.dtype)
        largest = largest_over(ops.abs(middle), axis=axes, keepdims=True)
        return ops.cast(ops.sign(middle) * inverse / ops.erfinv(-largest), like.dtype)

    return draw


def statistics_axes(statistics: str, x: Tensor, *, first: int) -> tuple[int, ...]:
    """Return the axes of ``x`` from ``first`` on, and also axis 0 if ``statistics`` is "batch"."""
    return (*((0,) if statistics == "batch" else ()), *range(first, len(x.shape)))


def nan_if_infinite(x: Tensor) -> Tensor:
    """Return ``x`` with NaN in place of infinite values.

    NaN is above no threshold and stays NaN in every equation, so the neuron is silent from then on. After an infinite
    value, which may be reset or clipped by ``rounded``, the neuron would continue to spike.
    """
    if keras.config.backend() == "torch":
        return x + 0 * ops.stop_gradient(x)  # without an operation in the backward pass
    return ops.where(ops.abs(x) < math.inf, x, math.nan)


def rounded(product: Tensor) -> Tensor:
    """Return ``product`` rounded to its dtype, before it is added to another value.

    Keeps XLA from fusing the product into a multiply-add, which rounds only once: some spikes would differ from those
    of other backends. The operation between product and sum is a maximum with the lowest number.
    """
    if keras.config.backend() == "torch":
        return product
    lowest = {"float32": -3.4028234663852886e38, "float64": -1.7976931348623157e308}
    return straight_through(ops.maximum(product, lowest[keras.backend.standardize_dtype(product.dtype)]), product)


def _above(v, v_reset):
    return v if _is_zero(v_reset) else v - v_reset


def _is_zero(value):
    return isinstance(value, float) and value == 0
