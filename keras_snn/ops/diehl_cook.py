"""The network of Diehl and Cook (2015): one time step of its neurons, and its plasticity event by event.

Membranes are in mV, times in ms, conductances in units of the leak. A step does, in this order::

    plasticity     the events of the step before: presynaptic, then postsynaptic spikes; decay of the traces
    membranes      conductances are constant within the step
    spikes         of the inputs (Poisson), of excitatory and of inhibitory neurons
    conductances   decay, then jump by the weights of the spikes

A weight changes one step after its spikes, before it is read again: the order of events is that of a simulator that
changes it at once. On a CPU, XLA then updates the rows and columns of the weights in place. In the other order it
copies all weights in every step, which takes 20 times as long.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras import ops

from keras_snn.hints import Tensor
from keras_snn.ops.backend import by_events
from keras_snn.ops.neurons import conductance_membrane
from keras_snn.ops.random import uniform_at_steps

State = dict[str, Any]


@dataclass(frozen=True)
class Population:
    """The constants of a population of neurons, in mV and ms."""

    tau: float
    rest: float
    reset: float
    threshold: float
    refractory: float
    e_inhibitory: float
    e_excitatory: float = 0.0


EXCITATORY = Population(100.0, -65.0, -65.0, -52.0, 5.0, -100.0)
INHIBITORY = Population(10.0, -60.0, -45.0, -40.0, 2.0, -85.0)

TAU_EXCITATORY, TAU_INHIBITORY = 1.0, 2.0  # of the conductances
TO_INHIBITORY, TO_EXCITATORY = 10.4, 17.0  # fixed weights
TAU_TRACES, TAU_POST2 = 20.0, 40.0  # of the traces pre and post1, and of post2
#: mV. The threshold is ``EXCITATORY.threshold + theta - THETA``, and theta starts at this value. It decays as a whole:
#: without spikes, the threshold falls by 20 mV in the long run.
THETA = 20.0
GATE = 50.0  # two spikes of an excitatory neuron are further apart than this, with the gate

#: The traces, and the states of the membranes. They have the batch on their first axis.
TRACES = ("pre", "post1", "post2")
MEMBRANES = ("u", "g_e", "g_i", "wait", "since", "v", "h_e", "v_wait")


@dataclass(frozen=True)
class Network:
    """A step ``(params, state, x) -> (state, spikes)`` and its constants. ``x`` is not used.

    The states have the batch on their first axis; but "kernel" and "grown" (of networks that learn) have no batch, and
    the number "t" of the step is a scalar, or one for each image.

    Attributes:
        dt: Number, ms.
        n_steps: Integer, number of steps in which the inputs spike and spikes are counted.
        learns: Boolean, whether weights and thresholds change.
        rule: "triplet" or "pair".
        presynaptic: Number, the change of a weight at a presynaptic spike, times post1. Negative: depression.
        postsynaptic: Number, the change of a weight at a postsynaptic spike, times pre (times post2: "triplet").
        gate: Boolean, whether two spikes of an excitatory neuron are more than 50 ms apart.
        theta_increment: Number, mV that a spike adds to its neuron's threshold.
        tau_theta: Number, ms, time constant of the decay of theta.
        records: Boolean, whether the outputs are the spikes of the excitatory neurons. False: there are no outputs.
        n_rest: Integer, number of steps of the rest after a presentation.
        simulates_rest: Boolean. False: membranes return to rest at once, traces and theta decay.
        max_delay: Integer, the longest delay of a synapse in steps. 0: no delays.
        total_weight: Number, the sum of the weights of each neuron, before each presentation in training.
        step_probability: Number, the probability of a spike in a step for an input of 1, per unit of gain.
        gain: Integer, the gain of the first presentation of an image.
        min_spikes: Integer. With fewer excitatory spikes, an image is presented again, with one more unit of gain.
        max_retries: Integer.
        averages: Boolean. True: changes of images presented in parallel are averaged. False: they are summed.
    """

    dt: float
    n_steps: int
    learns: bool
    rule: str = "triplet"
    presynaptic: float = -1e-4
    postsynaptic: float = 1e-2
    gate: bool = False
    theta_increment: float = 0.05
    tau_theta: float = 1e7
    records: bool = False
    n_rest: int = 300
    simulates_rest: bool = False
    max_delay: int = 0
    total_weight: float = 78.0
    step_probability: float = 255 / 8 * 5e-4
    gain: int = 2
    min_spikes: int = 5
    max_retries: int = 20
    averages: bool = False

    def decay(self, tau: float, steps: int = 1) -> float:
        """Return the factor of an exponential decay over a number of steps."""
        return math.exp(-self.dt * steps / tau)

    def decay_of_theta(self, steps: int | Tensor) -> Any:
        """Return the factor by which theta decays over a number of steps, from the first one on."""
        return ops.exp(-ops.cast(steps, "float32") * (self.dt / self.tau_theta))

    def steps(self, time: float) -> int:
        """Return the number of steps in a time in ms."""
        return round(time / self.dt)

    def __call__(self, params: State, state: State, x: Any) -> tuple[State, Any]:
        del x
        state = decayed(self, events(self, params, state)) if self.learns else dict(state)
        kernel = state["kernel"] if self.learns else params["kernel"]
        t = ops.reshape(state["t"], (-1, 1))
        theta = (params["theta"] + state["grown"]) * self.decay_of_theta(t) if self.learns else params["theta"]

        u, wait, spikes = _fire(self, EXCITATORY, state["u"], state["wait"], state["g_e"], state["g_i"], theta - THETA)
        since = ops.minimum(state["since"] + 1, self.steps(2 * GATE))
        if self.gate:
            spikes = spikes * ops.cast(since > self.steps(GATE), spikes.dtype)
        fired = spikes > 0
        v, v_wait, inhibitory = _fire(self, INHIBITORY, state["v"], state["v_wait"], state["h_e"], 0.0, 0.0)
        inputs = _draw(self, params, t)
        state["x"] = inputs if len(state["x"].shape) == 2 else _push(state["x"], inputs)

        state["g_e"] = received(state["g_e"] * self.decay(TAU_EXCITATORY), kernel, arrivals(params, state["x"]))
        others = ops.sum(inhibitory, axis=1, keepdims=True) - inhibitory
        state["g_i"] = state["g_i"] * self.decay(TAU_INHIBITORY) + TO_EXCITATORY * others
        state["h_e"] = state["h_e"] * self.decay(TAU_EXCITATORY) + TO_INHIBITORY * spikes

        state["u"] = ops.where(fired, EXCITATORY.reset, u)
        state["wait"] = ops.where(fired, self.steps(EXCITATORY.refractory), wait)
        state["since"] = ops.where(fired, 0, since)
        state["v"] = ops.where(inhibitory > 0, INHIBITORY.reset, v)
        state["v_wait"] = ops.where(inhibitory > 0, self.steps(INHIBITORY.refractory), v_wait)
        state["spikes"] = spikes
        if self.learns:
            state["grown"] = state["grown"] + params["scale"] * self.theta_increment * ops.sum(spikes, axis=0)
        counts = ops.cast(t < self.n_steps, spikes.dtype)
        state["counts"] = state["counts"] + counts * spikes
        state["t"] = state["t"] + 1
        return state, spikes if self.records else ()


def _fire(network, population, u, wait, g_e, g_i, theta):
    """Return the membrane before reset, the remaining refractory steps, and the spikes (0 or 1)."""
    wait = ops.maximum(wait - 1, 0)
    free = wait == 0
    moved = conductance_membrane(
        u,
        g_e,
        g_i,
        rest=population.rest,
        e_excitatory=population.e_excitatory,
        e_inhibitory=population.e_inhibitory,
        dt_over_tau=network.dt / population.tau,
    )
    u = ops.where(free, moved, u)
    return u, wait, ops.cast(ops.logical_and(free, u > population.threshold + theta), u.dtype)


def _draw(network, params, t):
    """Return the spikes ``(batch, n_inputs)`` of the inputs: 1 with the probability ``params["probability"]``."""
    probability = params["probability"]
    steps = params["first_step"] + t
    numbers = uniform_at_steps(params["index"], steps, ops.shape(probability)[1:], params["word"])
    spikes = ops.logical_and(numbers[:, 0] < probability, t < network.n_steps)
    return ops.cast(spikes, probability.dtype)


def _push(past, x):
    """Return the last inputs ``(batch, delays, n_inputs)``, newest first, after one more step."""
    return ops.concatenate([x[:, None], past[:, :-1]], axis=1)


def arrivals(params: State, x: Tensor) -> Tensor:
    """Return the input spikes that arrive now: ``(batch, n_inputs, 1)``; with delays ``(batch, n_inputs, n)``.

    Args:
        params: Dict with "delays", an int32 tensor ``(n_inputs, n)`` of steps, if ``x`` has an axis of delays.
        x: The inputs ``(batch, n_inputs)`` of this step; or those of the last steps ``(batch, delays, n_inputs)``.
    """
    if len(x.shape) == 2:
        return x[:, :, None]
    n_inputs = x.shape[2]
    places = params["delays"] * n_inputs + ops.arange(n_inputs, dtype="int32")[:, None]
    return ops.take(ops.reshape(x, (-1, x.shape[1] * n_inputs)), places, axis=1)


def received(g: Tensor, kernel: Tensor, arrived: Tensor) -> Tensor:
    """Return ``g`` plus the weights of the spikes that arrived: ``(batch, n)``."""
    if arrived.shape[2] != 1:
        return g + ops.sum(arrived * kernel, axis=1)
    if not by_events():
        return g + ops.matmul(arrived[:, :, 0], kernel)

    def add(b, i, g):
        return ops.slice_update(g, (b, 0), _row(g, b) + _row(kernel, i))

    return for_each_spike(arrived[:, :, 0], add, g)


def events(network: Network, params: State, state: State) -> State:
    """Return the state after the events of the last step changed weights and traces.

    At a presynaptic spike, pre = 1 and ``w = clip(w + presynaptic post1, 0, 1)``. Then, at a postsynaptic spike,
    ``w = clip(w + postsynaptic pre post2, 0, 1)`` ("pair": without post2), with the value of post2 before this spike,
    and post1 = post2 = 1.
    """
    arrived, spikes, kernel = arrivals(params, state["x"]), state["spikes"], state["kernel"]
    before = params["scale"] * network.presynaptic * state["post1"]
    pre = ops.where(arrived > 0, 1.0, state["pre"])
    after = params["scale"] * network.postsynaptic * spikes * (state["post2"] if network.rule == "triplet" else 1.0)
    if network.presynaptic or network.postsynaptic:
        kernel = _changed(kernel, arrived, before, pre, spikes, after)
    traces = {name: ops.where(spikes > 0, 1.0, state[name]) for name in ("post1", "post2")}
    return {**state, **traces, "pre": pre, "kernel": kernel}


def decayed(network: Network, state: State, steps: int = 1) -> State:
    """Return the state after the traces decayed over a number of steps."""
    taus = {"pre": TAU_TRACES, "post1": TAU_TRACES, "post2": TAU_POST2}
    return {**state, **{name: state[name] * network.decay(tau, steps) for name, tau in taus.items()}}


def _pairs(inputs, outputs):
    """Return the sum over the batch of ``inputs (batch, n_inputs, 1 or n)`` times ``outputs (batch, n)``."""
    if inputs.shape[2] == 1:
        return ops.matmul(ops.transpose(inputs[:, :, 0]), outputs)
    return ops.sum(inputs * outputs[:, None], axis=0)


def _changed(kernel, arrived, before, pre, spikes, after):
    """Return the weights after their changes at each spike: a row for an input, then a column for a neuron."""
    if not by_events() or arrived.shape[2] != 1:
        kernel = ops.clip(kernel + _pairs(arrived, before), 0, 1)
        return ops.cond(ops.any(spikes > 0), lambda: ops.clip(kernel + _pairs(pre, after), 0, 1), lambda: kernel)
    inputs, pre = arrived[:, :, 0], pre[:, :, 0]
    n_inputs = kernel.shape[0]

    def change_row(b, i, kernel):
        return ops.slice_update(kernel, (i, 0), ops.clip(_row(kernel, i) + _row(before, b), 0, 1))

    def change_column(b, j, kernel):
        change = ops.transpose(_row(pre, b)) * ops.slice(after, (b, j), (1, 1))
        column = ops.slice(kernel, (0, j), (n_inputs, 1))
        return ops.slice_update(kernel, (0, j), ops.clip(column + change, 0, 1))

    kernel = for_each_spike(inputs, change_row, kernel)
    return for_each_spike(spikes, change_column, kernel)


def for_each_spike(spikes: Tensor, update: Callable, carry: Tensor) -> Tensor:
    """Return the last of ``carry = update(b, i, carry)``, for each spike of a sample b and a unit i in order.

    Args:
        spikes: Tensor ``(batch, units)`` of 0 and 1.
        update: Function of two int32 scalar tensors and the carry.
        carry: Tensor.
    """
    n_units = spikes.shape[1]
    units = ops.arange(n_units, dtype="int32")[None]

    def of_sample(b, carry):
        sample = _row(spikes, b) > 0

        def next_after(i):
            return ops.min(ops.where(ops.logical_and(sample, units > i), units, n_units))

        def advance(i, carry):
            return next_after(i), update(b, i, carry)

        return ops.while_loop(lambda i, _: i < n_units, advance, (next_after(-1), carry))[1]

    return ops.fori_loop(0, ops.shape(spikes)[0], of_sample, carry)


def _row(x, i):
    return ops.slice(x, (i, 0), (1, x.shape[1]))


def at_rest(network: Network, batch_size: int | Tensor, n_inputs: int, n: int) -> State:
    """Return the states before a presentation: membranes at rest, refractory periods over, the gate open.

    Args:
        network: ``Network``.
        batch_size: Integer or scalar tensor.
        n_inputs: Integer, number of inputs.
        n: Integer, number of excitatory neurons, and of inhibitory neurons.
    """
    max_delay = network.max_delay
    zeros, waits = ops.zeros((batch_size, n)), ops.zeros((batch_size, n), "int32")
    past = (batch_size, n_inputs) if max_delay == 0 else (batch_size, max_delay + 1, n_inputs)
    return {
        "u": zeros + EXCITATORY.rest,
        "g_e": zeros,
        "g_i": zeros,
        "wait": waits,
        "since": waits + network.steps(2 * GATE),
        "v": zeros + INHIBITORY.rest,
        "h_e": zeros,
        "v_wait": waits,
        "pre": ops.zeros((batch_size, n_inputs, n if max_delay else 1)),
        "post1": zeros,
        "post2": zeros,
        "x": ops.zeros(past),
        "spikes": zeros,
        "counts": zeros,
        "t": ops.zeros((), "int32"),
        **({"grown": ops.zeros(n)} if network.learns else {}),
    }
