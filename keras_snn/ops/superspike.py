"""SuperSpike: a learning rule with eligibility traces for neurons that are to spike at given times.

The loss is the van Rossum distance between the spike trains s and the target trains::

    L = 1/2 integral e(t)^2 dt,  e = alpha * (s - target)

with the convolution ``*`` in time. Its gradient for the weight of a synapse is a product of three factors, input,
membrane and error::

    dL/dw = integral e(t) lambda(t) dt,  lambda = alpha * (sigma'(v) (epsilon * s_pre))

``sigma'(v) = 1 / (1 + beta |v - threshold|)^2`` replaces the derivative of the spikes. ``epsilon * s_pre`` is the
derivative of the membrane without the reset. Both kernels are ``filters.cascade`` of two time constants: ``kernel`` of
alpha (rise, decay) and ``response`` of epsilon (synapse, membrane).

A spike of 1 in a step of length dt is a pulse of area 1. Times have the unit of dt. The defaults are in ms and mV.

References: Zenke and Ganguli 2018, Neural Computation 30, 1514-1541, arXiv:1705.11146; van Rossum 2001, Neural
Computation 13, 751-763, doi:10.1162/089976601300014321.
"""

import math

from keras import ops

from keras_snn.hints import Tensor
from keras_snn.ops.filters import cascade, lowpass_gain, lowpass_step
from keras_snn.ops.masks import only_counted
from keras_snn.ops.neurons import Neuron, observed_synaptic
from keras_snn.ops.scan import scan
from keras_snn.ops.surrogate import fast_sigmoid_derivative, heaviside

KERNEL = (5.0, 10.0)
RESPONSE = (5.0, 10.0)


def error_signal(
    spikes: Tensor,
    target: Tensor,
    *,
    kernel: tuple[float, ...] = KERNEL,
    dt: float = 1.0,
    mask: Tensor | None = None,
) -> Tensor:
    """Return ``e = alpha * (s - target)``, ``(batch, time, ...)``.

    Args:
        spikes: Tensor ``(batch, time, ...)``, 0 or 1.
        target: Tensor of the same shape.
        kernel: Tuple of one or two time constants of alpha, as in ``filters.cascade``.
        dt: Number > 0, the length of a step.
        mask: As in ``scan``: e is held where it is False.
    """
    difference = ops.subtract(spikes, target) / dt
    return cascade(difference if mask is None else only_counted(difference, mask), kernel, dt, mask=mask)


def van_rossum(
    spikes: Tensor,
    target: Tensor,
    *,
    kernel: tuple[float, ...] = KERNEL,
    dt: float = 1.0,
    mask: Tensor | None = None,
) -> Tensor:
    """Return the van Rossum distance of each pair of trains, ``L = dt / 2 sum e_t^2``: ``(batch, ...)``.

    Arguments are those of ``error_signal``. Only steps that count enter the sum.
    """
    squares = ops.square(error_signal(spikes, target, kernel=kernel, dt=dt, mask=mask))
    return dt / 2 * ops.sum(squares if mask is None else only_counted(squares, mask), axis=1)


def forward(
    pre: Tensor,
    weights: Tensor,
    *,
    threshold: float = 10.0,
    response: tuple[float, float] = RESPONSE,
    reset: str = "zero",
    dt: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Simulate current-based LIF neurons: ``v = epsilon * (s_pre weights)`` with a reset.

    The equations are those of the layer ``Synaptic``, exact for each step.

    Args:
        pre: Tensor ``(batch, time, inputs)``, spikes of 0 or 1.
        weights: Tensor ``(inputs, neurons)``, or ``(batch, inputs, neurons)`` for separate weights of each sample.
        threshold: Number, above the resting potential of 0. Default 10 mV.
        response: Pair of the time constants of synapse and membrane. Default 5 and 10 ms.
        reset: "zero" or "subtract". Default "zero".
        dt: Number > 0, the length of a step. Default 1 ms.

    Returns:
        Pair of the spikes and the membrane before the reset, ``(batch, time, neurons)``.
    """
    synapse_leak, leak = (-math.expm1(-dt / tau) for tau in response)  # the gains of the filters
    currents = ops.matmul(pre, weights) * (synapse_leak * leak / dt)
    state = ops.zeros_like(currents[:, 0])
    constants = {"leak": leak, "synapse_leak": synapse_leak, "threshold": threshold}
    constants = {name: ops.convert_to_tensor(value, state.dtype) for name, value in constants.items()}
    neuron = Neuron(observed_synaptic, (("v_reset", 0.0),), heaviside, reset)
    (spikes, membrane), _ = scan(neuron, (state, state), currents, {}, constants=constants, gradient=False)
    return spikes, membrane


def eligibility(
    pre: Tensor,
    membrane: Tensor,
    *,
    threshold: float = 10.0,
    beta: float = 1.0,
    response: tuple[float, float] = RESPONSE,
    kernel: tuple[float, ...] = KERNEL,
    dt: float = 1.0,
) -> Tensor:
    """Return the eligibility traces lambda of all synapses at all steps, ``(batch, time, inputs, neurons)``.

    ``gradient`` computes the same traces without keeping them.

    Args:
        pre: Tensor ``(batch, time, inputs)``, spikes of 0 or 1.
        membrane: Tensor ``(batch, time, neurons)``, the membrane before the reset.
        threshold: Number. Default 10 mV.
        beta: Number > 0, the slope of sigma. Default 1 per mV.
        response: Pair of time constants of epsilon. Default 5 and 10 ms.
        kernel: Tuple of one or two time constants of alpha. Default 5 and 10 ms.
        dt: Number > 0, the length of a step. Default 1 ms.
    """
    factors = cascade(pre / dt, response, dt), fast_sigmoid_derivative(membrane - threshold, beta)
    return cascade(_products(*factors), kernel, dt)


def gradient(
    pre: Tensor,
    membrane: Tensor,
    error: Tensor,
    *,
    threshold: float = 10.0,
    beta: float = 1.0,
    response: tuple[float, float] = RESPONSE,
    kernel: tuple[float, ...] = KERNEL,
    dt: float = 1.0,
) -> Tensor:
    """Return ``dL/dw = dt sum e_t lambda_t`` of each synapse, ``(batch, inputs, neurons)``.

    Computed online: a synapse keeps one number for each time constant of ``kernel``, and the sum. With dt = 1, and for
    a reset by subtraction that is detached, it is the gradient of backpropagation through time with the surrogate
    ``FastSigmoid(beta)``. For another dt it is this gradient multiplied by dt, because sigma replaces a spike density.

    Args:
        pre: As in ``eligibility``.
        membrane: As in ``eligibility``.
        error: Tensor ``(batch, time, neurons)``, the ``error_signal`` with the same kernel.
        threshold: As in ``eligibility``.
        beta: As in ``eligibility``.
        response: As in ``eligibility``.
        kernel: As in ``eligibility``.
        dt: As in ``eligibility``.

    Example:

    ```python
    from keras_snn.ops import superspike
    pre = np.random.default_rng(0).uniform(size=(1, 500, 100)) < 0.01  # 10 Hz at dt = 1 ms
    pre, weights = pre.astype("float32"), np.full((100, 1), 20, "float32")
    target = np.zeros((1, 500, 1), "float32")
    spikes, membrane = superspike.forward(pre, weights)
    error = superspike.error_signal(spikes, target)
    weights = weights - 10.0 * superspike.gradient(pre, membrane, error)[0]
    ```
    """
    psp, slope = cascade(pre / dt, response, dt), fast_sigmoid_derivative(membrane - threshold, beta)
    zeros = ops.zeros_like(_products(psp[:, 0], slope[:, 0]))
    gains = tuple(lowpass_gain(ops.convert_to_tensor(tau, zeros.dtype), dt) for tau in kernel)
    init = tuple(zeros for _ in kernel), zeros
    _, (_, total) = scan(_eligibility_step, init, (psp, slope, error), gains, gradient=False)
    return dt * total


def _eligibility_step(gains, state, x):
    traces, total = state
    psp, slope, error = x
    trace, new = _products(psp, slope), []
    for gain, level in zip(gains, traces, strict=True):
        trace, _ = lowpass_step(gain, level, trace)
        new.append(trace)
    return (tuple(new), total + trace * ops.expand_dims(error, 1)), error


def _products(psp, slope):
    """Return the product for each synapse: ``(..., inputs, neurons)``."""
    return ops.expand_dims(psp, -1) * ops.expand_dims(slope, -2)
