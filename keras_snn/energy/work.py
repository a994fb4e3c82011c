"""The work of a layer in one inference: its operations and their energy."""

from dataclasses import dataclass

import numpy as np
from keras import ops, tree

from keras_snn.energy.devices import device

#: Spikes are counted in int32 as a multiple of this, a rest below it, and a fraction in units of its inverse.
_PART = 2.0**17
#: Limit of the batch size: sums of fractions over so many samples fit int32.
MOST_SAMPLES = 8192


@dataclass(frozen=True)
class Work:
    """The work of one call of a layer in one inference, on average over the samples.

    Attributes:
        spikes: Number of spikes that arrive over all steps. An average of spikes, which pooling gives, counts as a
            fraction. None for analog inputs.
        operations: Number of synaptic operations: each spike times its fan-out. None for analog inputs.
        connections: Number of connections whose weight is not zero: multiply-accumulates of one run in an ANN.
        dense_connections: Number of connections, including those of weight zero.
        neurons: Number of neurons that one run updates.
        runs: How often the layer runs.
    """

    spikes: float | None
    operations: float | None
    connections: int
    dense_connections: int
    neurons: int = 0
    runs: int = 1


def joules(work, name, *, per_step=None, as_ann=False):
    """Return the pair (synaptic, neural) energy of one inference in J.

    A layer that spikes reach costs its synaptic operations. A layer with analog inputs costs a multiply-accumulate per
    connection each time that it runs. A device without spikes runs each layer once, as an ANN.

    Args:
        work: ``Work``.
        name: Name of a device.
        per_step: Pair (steps, n_steps): scale the work, which was counted over ``n_steps`` time steps, to ``steps``
            steps; a layer with analog inputs then runs at every step. Default: the work as counted.
        as_ann: Boolean. True: each layer runs once, as on a device without spikes. Default False.
    """
    costs = device(name)
    if as_ann or not costs["spiking"]:
        return costs["energy_per_mac"] * work.connections, costs["energy_per_neuron"] * work.neurons
    steps, n_steps = per_step or (work.runs, None)
    if work.operations is None:
        synaptic = costs["energy_per_mac"] * work.connections * steps
    else:
        synaptic = costs["energy_per_synop"] * work.operations * (steps / n_steps if per_step else 1)
    return synaptic, costs["energy_per_neuron"] * work.neurons * steps


def arriving(synapses, inputs, unit, n_samples):
    """Return the spikes that arrive at each input of a call, float32 ``(batch, runs, *fan_out.shape)``.

    Args:
        synapses: ``Synapses`` of a call that spikes reach.
        inputs: The call's inputs.
        unit: Number or scalar tensor: one spike has the height ``1 / unit``.
        n_samples: Integer or scalar tensor, the size of the batch: at most ``MOST_SAMPLES``.
    """
    x = ops.abs(ops.cast(tree.flatten(inputs)[0], "float32")) * (unit * synapses.scale)
    return ops.reshape(x, (n_samples, -1, *synapses.fan_out.shape))


def spikes_of_samples(synapses, arrived, counted=None):
    """Return the number of spikes that arrived at each input of a call, added over the samples of a batch exactly.

    Args:
        synapses: ``Synapses`` of the call.
        arrived: Tensor of ``arriving``.
        counted: Integer tensor ``(batch,)``, the number of steps of each sample that count. Default: all.

    Returns:
        Integer tensor ``(1, 3, *fan_out.shape)`` for ``spike_numbers``.
    """
    units = synapses.fan_out.shape
    if np.any(synapses.steps != 1):  # averages over time
        steps = ops.convert_to_tensor(np.reshape(synapses.steps, (1, -1, *units)).astype("float32"))
        if counted is not None:
            counted = ops.reshape(ops.cast(counted, "float32"), (-1, 1, *[1] * len(units)))
            steps = ops.where(steps > 1, counted, 1.0)
        arrived = arrived * steps
    x = ops.sum(arrived, axis=1)
    high = ops.floor(x / _PART)
    low = ops.floor(x - high * _PART)
    fraction = ops.round((x - high * _PART - low) * _PART)
    return ops.stack([ops.sum(ops.cast(part, "int32"), axis=0) for part in (high, low, fraction)])[None]


def spike_numbers(sums):
    """Return float64 numbers of spikes from the NumPy array of ``spikes_of_samples``, or from several concatenated."""
    high, low, fraction = sums.astype("int64").sum(axis=0)
    return high * _PART + low + fraction / _PART
