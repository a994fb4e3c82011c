"""Present images to the network of Diehl and Cook, and repeat those to which it responds with too few spikes."""

from typing import NamedTuple

from keras import ops

from keras_snn.hints import Tensor
from keras_snn.ops import diehl_cook, plasticity
from keras_snn.ops.scan import scan


class Presented(NamedTuple):
    """The results of ``present``.

    Attributes:
        counts: Tensor ``(batch, n)``, spikes of the excitatory neurons in the last presentation of each image.
        n_retries: int32 tensor ``(batch,)``.
        given_up: Bool tensor ``(batch,)``, whether the last presentation had too few spikes.
        spikes: Tensor ``(batch, time, n)``, if the network records them.
        kernel: Tensor ``(n_inputs, n)``.
        theta: Tensor ``(n,)``.
        start: Dict of the traces and membranes at the start of the next presentation, as in the argument ``start``.
    """

    counts: Tensor
    n_retries: Tensor
    given_up: Tensor
    spikes: Tensor
    kernel: Tensor
    theta: Tensor
    start: diehl_cook.State


def present(
    network: diehl_cook.Network,
    x: Tensor,
    index: Tensor,
    word: Tensor,
    kernel: Tensor,
    theta: Tensor,
    *,
    start: diehl_cook.State | None = None,
    delays: Tensor | None = None,
) -> Presented:
    """Present images in parallel.

    Args:
        network: ``diehl_cook.Network``.
        x: Tensor ``(batch, n_inputs)`` with values in [0, 1].
        index: Integer tensor ``(batch,)``, and ``word``: as in ``keras_snn.ops.random.uniform_at_steps``.
        word: See ``index``.
        kernel: Tensor ``(n_inputs, n)``.
        theta: Tensor ``(n,)``, mV.
        start: Dict of traces and membranes ``(batch, ...)``. Default None: those of ``diehl_cook.at_rest``.
        delays: int32 tensor ``(n_inputs, n)``, steps. Default None: no delays.
    """
    batch_size, n_inputs, n = ops.shape(x)[0], x.shape[1], kernel.shape[1]
    length = network.n_steps + (network.n_rest if network.learns and network.simulates_rest else 0)
    rested = diehl_cook.at_rest(network, batch_size, n_inputs, n)
    scale = 1 / ops.cast(batch_size, "float32") if network.averages else ops.ones(())
    fixed = {"index": index, "word": word, "scale": scale, **({} if delays is None else {"delays": delays})}

    def attempt(k, active, n_retries, counts, spikes, kernel, theta, start):
        gain = (network.gain + ops.cast(k, x.dtype)) * ops.cast(active, x.dtype)
        probability = network.step_probability * ops.expand_dims(gain, 1) * x
        params = {**fixed, "theta": theta, "probability": probability, "first_step": k * length}
        state = {**rested, **start}
        if network.learns:
            state["kernel"] = plasticity.scaled_to_sum(kernel, network.total_weight)
        else:
            params["kernel"] = kernel
        outputs, state = scan(network, state, None, params, length=length, gradient=False)
        if network.learns:
            state = diehl_cook.events(network, params, state)
            kernel = state["kernel"]
            theta = (theta + state["grown"]) * network.decay_of_theta(network.n_steps + network.n_rest)
            if not network.simulates_rest:
                state = diehl_cook.decayed(network, state, network.n_rest)
                state |= {name: rested[name] for name in diehl_cook.MEMBRANES}
            start = {name: state[name] for name in start}
        counts = ops.where(ops.expand_dims(active, 1), state["counts"], counts)
        if network.records:
            spikes = ops.where(ops.reshape(active, (-1, 1, 1)), outputs, spikes)
        n_retries = n_retries + ops.cast(ops.logical_and(active, k > 0), "int32")
        active = ops.logical_and(active, ops.sum(counts, axis=1) < network.min_spikes)
        return k + 1, active, n_retries, counts, spikes, kernel, theta, start

    first = (
        ops.zeros((), "int32"),
        ops.ones((batch_size,), "bool"),
        ops.zeros((batch_size,), "int32"),
        ops.zeros((batch_size, n)),
        ops.zeros((batch_size, length if network.records else 0, n)),
        kernel,
        theta,
        {} if start is None else start,
    )
    _, given_up, n_retries, counts, spikes, kernel, theta, start = ops.while_loop(
        lambda k, active, *_: ops.logical_and(k <= network.max_retries, ops.any(active)), attempt, first
    )
    return Presented(counts, n_retries, given_up, spikes, kernel, theta, start)
