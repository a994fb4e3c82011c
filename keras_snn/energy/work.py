"""The operations of a layer in one inference, and their energy."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from keras import ops, tree

from keras_snn.energy.devices import device_costs
from keras_snn.hints import Nest, Tensor

if TYPE_CHECKING:
    from keras_snn.energy.synapses import Synapses

#: Numbers of spikes are split into multiples of this base, a remainder, and a fraction in units of ``1 / base``: each
#: part fits int32.
_BASE = 2.0**17
#: Maximum batch size: int32 holds the sum of the fractions of this number of samples.
MOST_SAMPLES = 8192
#: Bytes of a state, and of a weight that is not rounded: 32-bit floating point.
_BYTES = 4


@dataclass(frozen=True)
class Work:
    """The work of one call of a layer in one inference, on average over the samples.

    Attributes:
        spikes: Number of spikes that arrive over all steps. An average of spikes, as from pooling, counts as a
            fraction. None for analog inputs.
        operations: Number of synaptic operations: each spike times its fan-out. None for analog inputs.
        connections: Number of connections with a nonzero weight: multiply-accumulates of one run in an ANN.
        dense_connections: Number of connections, including those of weight zero.
        neurons: Number of neurons that one run updates.
        runs: Number of runs of the layer.
    """

    spikes: float | None
    operations: float | None
    connections: int
    dense_connections: int
    neurons: int = 0
    runs: int = 1

    @property
    def macs(self) -> int:
        """Number of multiply-accumulates (MACs): with analog inputs, one per connection in each run."""
        return self.connections * self.runs if self.operations is None else 0

    @property
    def accumulates(self) -> float:
        """Number of accumulates (ACs): the synaptic operations, in each of which a spike adds a weight."""
        return self.operations or 0.0

    @property
    def neuron_updates(self) -> int:
        """Number of neuron updates in all runs. An activation function of an ANN counts as an update."""
        return self.neurons * self.runs

    def memory_traffic(self, weight_bytes: int = _BYTES) -> float:
        """Return the memory traffic in bytes, without any cache.

        Each multiply-accumulate and each accumulate reads a weight, also if it was just read. Each neuron update reads
        and writes 4 bytes: a state, or the activation of an ANN. Inputs and sums are not counted.

        Args:
            weight_bytes: Integer, the bytes of a weight. Default 4.
        """
        return weight_bytes * (self.macs + self.accumulates) + 2 * _BYTES * self.neuron_updates


class Totals:
    """The operations of one inference of a model: sums over ``work``, the ``Work`` of each layer call by its name."""

    work: dict[str, Work]

    @property
    def weight_bytes(self) -> int:
        """Bytes of a weight."""
        return _BYTES

    @property
    def macs(self) -> int:
        """Number of multiply-accumulates of one inference: in layers with analog inputs, each time that they run."""
        return sum(work.macs for work in self.work.values())

    @property
    def accumulates(self) -> float:
        """Number of accumulates of one inference: in the layers that spikes reach, each spike times its fan-out."""
        return sum(work.accumulates for work in self.work.values())

    @property
    def neuron_updates(self) -> int:
        """Number of neuron updates of one inference. An activation function of an ANN counts as an update."""
        return sum(work.neuron_updates for work in self.work.values())

    @property
    def memory_traffic(self) -> float:
        """Memory traffic of one inference in bytes, without any cache: see ``Work.memory_traffic``."""
        return sum(work.memory_traffic(self.weight_bytes) for work in self.work.values())


def joules(
    work: Work,
    name: str,
    *,
    per_step: tuple[int, int | None] | None = None,
    as_ann: bool = False,
    int8: bool = False,
    bound: str | None = None,
) -> tuple[float, float]:
    """Return the pair (synaptic, neural) energy of one inference in J.

    A layer that spikes reach costs its synaptic operations. A layer with analog inputs costs a multiply-accumulate per
    connection each time that it runs. A device without spikes runs each layer once, as an ANN.

    Args:
        work: ``Work``.
        name: Name of a device.
        per_step: Pair (steps, n_steps). The work of ``n_steps`` time steps is scaled to ``steps`` steps, and a layer
            with analog inputs runs at every step. Default: the work as counted.
        as_ann: Boolean. True: each layer runs once, as on a device without spikes. Default False.
        int8: As in ``device_costs``.
        bound: As in ``device_costs``.
    """
    costs = device_costs(name, int8=int8, bound=bound)
    if as_ann or not costs["spiking"]:
        work = replace(work, operations=None, runs=1)
    elif per_step is not None:
        steps, n_steps = per_step
        scale = 1 if n_steps is None else steps / n_steps
        work = replace(work, operations=None if work.operations is None else work.operations * scale, runs=steps)
    synaptic = costs["energy_per_mac"] * work.macs + costs["energy_per_synop"] * work.accumulates
    return synaptic, costs["energy_per_neuron"] * work.neuron_updates


def energy_range(
    works: Iterable[Work], name: str, *, as_ann: bool = False, int8: bool = False
) -> tuple[float, float, float]:
    """Return the energy of one inference in J, and its minimum and maximum over the range of each constant.

    Args:
        works: The ``Work`` of each layer call.
        name: As in ``joules``.
        as_ann: As in ``joules``.
        int8: As in ``device_costs``.
    """
    works = list(works)

    def total(bound):
        return sum(sum(joules(work, name, as_ann=as_ann, int8=int8, bound=bound)) for work in works)

    return total(None), total("min"), total("max")


def arriving(synapses: "Synapses", inputs: Nest, unit: float | Tensor, n_samples: int | Tensor) -> Tensor:
    """Return the spikes that arrive at each input of a call, float32 ``(batch, runs, *fan_out.shape)``.

    Args:
        synapses: ``Synapses`` of a call whose inputs are spikes.
        inputs: The call's inputs.
        unit: Number or scalar tensor: one spike has the height ``1 / unit``.
        n_samples: Integer or scalar tensor, the batch size: at most ``MOST_SAMPLES``.
    """
    x = ops.abs(ops.cast(tree.flatten(inputs)[0], "float32")) * (unit * synapses.scale)
    return ops.reshape(x, (n_samples, -1, *synapses.fan_out.shape))


def spikes_of_samples(synapses: "Synapses", arrived: Tensor, counted: Tensor = None) -> Tensor:
    """Return the exact number of spikes that arrived at each input of a call, summed over a batch.

    Args:
        synapses: ``Synapses`` of the call.
        arrived: Tensor of ``arriving``.
        counted: Integer tensor ``(batch,)``, the number of unmasked steps of each sample. Default: all steps.

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
    high = ops.floor(x / _BASE)
    low = ops.floor(x - high * _BASE)
    fraction = ops.round((x - high * _BASE - low) * _BASE)
    return ops.stack([ops.sum(ops.cast(part, "int32"), axis=0) for part in (high, low, fraction)])[None]


def spike_numbers(sums: np.ndarray) -> np.ndarray:
    """Return float64 numbers of spikes from an array of ``spikes_of_samples``, or several concatenated arrays."""
    high, low, fraction = sums.astype("int64").sum(axis=0)
    return high * _BASE + low + fraction / _BASE
