"""Plasticity: learning rules as pure steps on traces.

A rule is a step ``(traces, pre, post) -> (traces, terms)``. ``pre (batch, ...)`` and ``post (batch, ...)`` are the
spikes of a time step at both ends of a connection. The terms are pairs (x, y) of a presynaptic and a postsynaptic
value: the change of the weight from input i to neuron j is the sum of ``x_i y_j``. For shared kernels, it is also the
sum over all places of the kernel: the vector-Jacobian product of the connection at x with y.

In each step the traces decay, then presynaptic spikes act, then postsynaptic spikes. A presynaptic spike uses the
traces before all spikes of the step. A postsynaptic spike uses presynaptic traces with the spikes of the step.
"""

from collections.abc import Callable

from keras import ops

from keras_snn.hints import Tensor
from keras_snn.ops.scan import scan

Traces = tuple[Tensor, ...]
Terms = tuple[tuple[Tensor, Tensor], ...]


def nearest(trace: Tensor, spikes: Tensor) -> Tensor:
    """Return the trace after spikes, which set it to 1: only the last spike counts."""
    return ops.where(spikes > 0, ops.ones_like(trace), trace)


def all_to_all(trace: Tensor, spikes: Tensor) -> Tensor:
    """Return the trace after spikes, which add 1 to it: all earlier spikes count."""
    return trace + spikes


#: The updates of a trace by spikes.
PAIRINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"nearest": nearest, "all": all_to_all}


def hebb(
    traces: Traces, pre: Tensor, post: Tensor, *, rate: float, pre_decay: float = 0.0, post_decay: float = 0.0
) -> tuple[Traces, Terms]:
    """Compute ``dw_ij = rate x_i y_j`` with the traces ``x <- pre_decay x + pre`` and ``y <- post_decay y + post``.

    With decays of 0, x and y are the values of the step: spikes, counts or rates.
    """
    x, y = traces
    x, y = pre_decay * x + pre, post_decay * y + post
    return (x, y), ((x, rate * y),)


def pair_stdp(
    traces: Traces,
    pre: Tensor,
    post: Tensor,
    *,
    presynaptic: float,
    postsynaptic: float,
    pre_decay: float,
    post_decay: float,
    pairing: str = "nearest",
) -> tuple[Traces, Terms]:
    """Pair-based STDP, with a trace x of presynaptic and a trace y of postsynaptic spikes.

    A presynaptic spike changes its weights by ``presynaptic y_j``, a postsynaptic spike by ``postsynaptic x_i``.
    """
    update = PAIRINGS[pairing]
    x, y = pre_decay * traces[0], post_decay * traces[1]
    x_after = update(x, pre)
    return (x_after, update(y, post)), ((pre, presynaptic * y), (x_after, postsynaptic * post))


def triplet_stdp(
    traces: Traces,
    pre: Tensor,
    post: Tensor,
    *,
    presynaptic: float,
    postsynaptic: float,
    pre_triplet: float,
    post_triplet: float,
    pre_decay: float,
    post_decay: float,
    slow_pre_decay: float,
    slow_post_decay: float,
    pairing: str = "nearest",
) -> tuple[Traces, Terms]:
    """Triplet-based STDP: pair-based STDP, and slow traces u of presynaptic and v of postsynaptic spikes.

    A presynaptic spike changes its weights by ``(presynaptic + pre_triplet u_i) y_j``, a postsynaptic spike by
    ``(postsynaptic + post_triplet v_j) x_i``, with u and v before the spike.
    """
    update = PAIRINGS[pairing]
    x, y = pre_decay * traces[0], post_decay * traces[1]
    u, v = slow_pre_decay * traces[2], slow_post_decay * traces[3]
    x_after = update(x, pre)
    at_pre = (pre * (presynaptic + pre_triplet * u), y)
    at_post = (x_after, post * (postsynaptic + post_triplet * v))
    return (x_after, update(y, post), update(u, pre), update(v, post)), (at_pre, at_post)


def dense_change(terms: Terms) -> Tensor:
    """Return the change of the weights ``(batch, inputs, neurons)`` of a dense connection in one step."""
    return sum(ops.expand_dims(x, 2) * ops.expand_dims(y, 1) for x, y in terms)


def oja_decay(power: Tensor, kernel: Tensor, rate: float) -> Tensor:
    """Return the second term of Oja's rule, ``dw_ij = rate y_j (x_i - y_j w_ij)``.

    Args:
        power: Tensor ``(neurons,)``, the sum of ``y_j^2``.
        kernel: Tensor ``(..., neurons)``.
        rate: Number.
    """
    return -rate * power * kernel


def eligibility(trace: Tensor, change: Tensor, decay: float) -> Tensor:
    """Return an eligibility trace of a weight after a step: it decays, then collects the change of a rule.

    In reward-modulated STDP, the weight changes by ``reward * trace`` in each step, after this.
    """
    return decay * trace + change


def reward_to_come(reward: Tensor, last: Tensor, decay: float, mask: Tensor | None = None) -> Tensor:
    """Return the factor of each step's change in reward-modulated STDP: all later rewards, decayed to this step.

    With the eligibility trace ``e_t = sum_{s <= t} decay^(t - s) dw_s``, the sum of ``r_t e_t`` equals the sum of
    ``g_s dw_s`` with ``g_s = sum_{t >= s} decay^(t - s) r_t``. The trace of each weight need not be stored.

    Args:
        reward: Tensor ``(batch, time)``, the reward at each step.
        last: Tensor ``(batch,)``, a further reward at the end, after the last step's changes.
        decay: Number, the factor by which an eligibility trace decays in a step.
        mask: As in ``scan``.
    """
    factor = ops.full_like(last, decay)
    return scan(_add_reward, last, reward, factor, reverse=True, gradient=False, mask=mask)[0]


def _add_reward(decay, later, reward):
    total = reward + later
    return decay * total, total


def scaled_to_sum(kernel: Tensor, total: float) -> Tensor:
    """Return ``kernel (..., neurons)``, scaled so that the weights of each neuron have the sum ``total``.

    A neuron whose weights have no positive sum keeps them.
    """
    sums = ops.sum(kernel, axis=tuple(range(len(kernel.shape) - 1)), keepdims=True)
    return ops.where(sums > 0, kernel * (total / ops.where(sums > 0, sums, ops.ones_like(sums))), kernel)


def adapted_threshold(theta: Tensor, spikes: Tensor, increment: float, decay: float) -> Tensor:
    """Return the adaptive part of a threshold after a step: it decays, and each spike adds ``increment``."""
    return decay * theta + increment * spikes
