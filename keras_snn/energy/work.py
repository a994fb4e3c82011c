"""The work of a layer in one inference: how many operations, and what they cost."""

from dataclasses import dataclass

from keras import ops, tree

from keras_snn.energy.devices import device
from keras_snn.ops.statistics import parts, total

#: Fractions of spikes, as average pooling makes them, are counted in units of 2**-17.
_FRACTION = 2.0**17
#: More samples in a batch could exceed the range of the integers that count them.
MOST_SAMPLES = 8192


@dataclass(frozen=True)
class Work:
    """The work of one call of a layer in one inference, on average over the samples.

    Attributes:
        spikes: Number of spikes that arrive over all steps. Averages of spikes, as pooling makes them, count by their
            size. None for a layer whose inputs are analog: no spikes reach it.
        operations: Number of synaptic operations: each spike times its fan-out. None for analog inputs.
        connections: Number of connections whose weight is not zero: multiply-accumulates of one run in the ANN.
        dense_connections: Number of connections, those of weight zero included.
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

    Where spikes arrive, each synaptic operation costs. A layer with analog inputs costs a multiply-accumulate per
    connection each time that it runs. A device without spikes runs each layer once, as an ANN.

    Args:
        work: ``Work``.
        name: Name of a device.
        per_step: Pair (steps, n_steps): the energy of ``steps`` time steps, where the work is that of ``n_steps`` and a
            layer with analog inputs runs at every step. Default: the work as it is.
        as_ann: Boolean, whether to count as on a device without spikes.
    """
    on = device(name)
    if as_ann or not on["spiking"]:
        return on["energy_per_mac"] * work.connections, on["energy_per_neuron"] * work.neurons
    steps, n_steps = per_step or (work.runs, None)
    if work.operations is None:
        synaptic = on["energy_per_mac"] * work.connections * steps
    else:
        synaptic = on["energy_per_synop"] * work.operations * (steps / n_steps if per_step else 1)
    return synaptic, on["energy_per_neuron"] * work.neurons * steps


def spikes_of_samples(anatomy, inputs, unit, n_samples, counted=None):
    """Return how many spikes arrived at each input of a call, summed over the samples of a batch without rounding.

    Args:
        anatomy: ``Anatomy`` of a call that spikes reach.
        inputs: The call's inputs.
        unit: Number or scalar tensor: one spike has the height ``1 / unit``.
        n_samples: Integer or scalar tensor, the size of the batch: at most ``MOST_SAMPLES``.
        counted: Float tensor ``(batch, 1)``, the number of steps of each sample that count. Default: all.

    Returns:
        Integer tensor ``(1, 4, *fan_out.shape)`` for ``spike_numbers``.
    """
    units = anatomy.fan_out.shape
    x = ops.abs(ops.cast(tree.flatten(inputs)[0], "float32")) * unit
    x = ops.sum(ops.reshape(x, (n_samples, -1, *units)), axis=1)
    if anatomy.steps_in_one > 1:
        x = x * (anatomy.steps_in_one if counted is None else ops.reshape(counted, (-1, *[1] * len(units))))
    whole = ops.floor(x)
    fraction = ops.cast(ops.round((x - whole) * _FRACTION), "int32")
    return ops.stack([ops.sum(part, axis=0) for part in (*parts(ops.cast(whole, "int32")), fraction)])[None]


def spike_numbers(sums):
    """Return the numbers of spikes, float64, of an array that ``spikes_of_samples`` gave, or of several joined ones."""
    *whole, fraction = sums.astype("int64").sum(axis=0)
    return total(whole) + fraction / _FRACTION
