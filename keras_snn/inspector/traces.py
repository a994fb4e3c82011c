"""Record the states of some units in a run of the examples, one time step at a time."""

import functools
import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops, tree

from keras_snn import graph
from keras_snn.inspector.json_arrays import from_lists, to_lists
from keras_snn.inspector.prober import Prober, spike_counts
from keras_snn.layers import SpikingNeuron
from keras_snn.layers.activation.spiking_activation import SpikingActivationCell
from keras_snn.layers.base.sequence_layer import SequenceLayer
from keras_snn.ops.backend import inference
from keras_snn.ops.neurons import Parameters, nan_if_infinite
from keras_snn.ops.precision import to_float, voltage_dtype
from keras_snn.probe import Carry, unique

if TYPE_CHECKING:
    from keras_snn.inspector.findings import Examples

#: Number of recorded units of a layer.
N_UNITS = 3


@dataclass(frozen=True, eq=False)
class Trace:
    """Inputs, states and spikes of some units of a layer call in the examples, at each time step.

    Arrays are ``(sample, time, units)``, of the recorded units.

    Attributes:
        units: Array of the indices of the recorded units in the flattened shape of the units.
        inputs: The layer's inputs at these units; None if inputs and units differ in shape.
        states: Dict from the name of each state to its values at the end of each step, after the reset. Names are the
            ``state_names`` of a ``SpikingNeuron`` ("v" is the membrane), "v" for the voltage of ``SpikingActivation``,
            and "0", "1", ... for the states of other cells.
        spikes: Number of spikes in each step; None for a layer without spikes.
        threshold: The threshold in each step, on the scale of "v": a unit spikes if the membrane exceeds it before the
            reset. It includes adaptation (``ALIF``: ``threshold + beta a``) and respects the bounds of a learned
            threshold. 1 for ``SpikingActivation``, which also fires at 1. None for a neuron without the state "v", or
            that does not compare its membrane by ``p.fire`` or ``p.after_spike``.
        dt: Time step in seconds: the one given to ``inspect``, else that of the layer.
    """

    units: np.ndarray
    inputs: np.ndarray | None
    states: dict[str, np.ndarray]
    spikes: np.ndarray | None
    threshold: np.ndarray | None
    dt: float

    @property
    def membrane(self) -> np.ndarray | None:
        """The state "v": the membrane after each step and reset; None for a layer without a membrane."""
        return self.states.get("v")

    def to_dict(self) -> dict[str, Any]:
        """Return a dict for a JSON file: lists with their dtypes; numbers have six digits."""
        names = [attribute.name for attribute in fields(self)]
        return {name: self.dt if name == "dt" else to_lists(getattr(self, name)) for name in names}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Trace":
        """Return the object for the result of ``to_dict``."""
        names = [attribute.name for attribute in fields(cls)]
        return cls(**{name: values["dt"] if name == "dt" else from_lists(values[name]) for name in names})


def record(prober: Prober, examples: "Examples", dt: float | None) -> dict[str, Trace]:
    """Return a dict from the name of each layer call to the ``Trace`` of the examples, in the order of the calls.

    A layer has a trace if it runs over time with a state in the shape of its units. The units are those of
    ``most_active`` for a layer with spikes, else the first units.

    Args:
        prober: ``Prober`` of a model that can run over parts of its time axis.
        examples: ``Examples``, the first samples of the data.
        dt: Number in seconds; None if each layer uses its dt.
    """
    axis, n, (step, layers) = prober.anatomy.time_axis, prober.n_examples, _compiled(prober)
    units = {name: most_active(counts) for name, counts in examples.counts.items()}
    batch_size = graph.static_batch_size(axis.model) or n
    starts = range(0, n, batch_size)
    parts = [_run(step, axis, examples.x, np.arange(start, start + batch_size) % n, dt, units) for start in starts]
    recorded = tree.map_structure(lambda *rows: np.concatenate(rows)[:n], *parts)
    return {
        name: Trace(
            units=units.get(name, np.arange(next(iter(recorded[name]["states"].values())).shape[-1])),
            inputs=recorded[name].get("inputs"),
            states={state: recorded[name]["states"][state] for state in states},
            spikes=recorded[name].get("spikes"),
            threshold=recorded[name].get("threshold"),
            dt=to_float(layer.dt) if dt is None else dt,
        )
        for name, (layer, states) in layers.items()
    }


def most_active(counts: np.ndarray) -> np.ndarray:
    """Return the indices of the units with most spikes in ``counts (sample, time, units)``, in ascending order.

    Saturated and silent units come after all others. Units with equal numbers of spikes are taken in their order.
    """
    spikes, fraction = np.abs(counts).sum(axis=(0, 1)), (counts != 0).mean(axis=(0, 1))
    order = np.lexsort((-spikes, (fraction == 0) | (fraction == 1)))
    return np.sort(order[:N_UNITS])


def _run(step, axis, x, index, dt, units):
    """Return the nest of arrays ``(batch, time, units)`` of all steps, for the samples ``index``."""
    x = tree.map_structure(lambda array: ops.convert_to_tensor(array[index]), x)
    dt = None if dt is None else ops.convert_to_tensor(dt, "float32")
    index, units = tree.map_structure(lambda array: ops.convert_to_tensor(array, "int32"), (index, units))
    states, steps = None, []
    for t in range(axis.n_steps):
        recorded, states = step(1, axis.part(x, t, 1), index, dt, units, states)
        steps.append(tree.map_structure(ops.convert_to_numpy, recorded))
    return tree.map_structure(lambda *parts: np.concatenate(parts, axis=1), *steps)


# Cached for the next dt, and the next call with the same model: compilation takes seconds.
@functools.lru_cache(maxsize=1)
def _compiled(prober):
    """Return the compiled ``_step``, and a dict that its first run fills: from layer calls to (layer, state names)."""
    layers = {}
    return inference(functools.partial(_step, prober, layers), prober.inspected), layers


def _step(prober, layers, n_steps, x, index, dt, units, states):
    """Run a time step. Return a dict from each layer call to its tensors ``(batch, 1, units)``, and the new states."""
    axis, carry, recorded, names, emitted = prober.anatomy.time_axis, Carry(states), {}, set(), {}

    def record_spikes(layer, spikes, *mask):
        name = unique(layer.name, names)
        names.add(name)
        unit = ops.cast(ops.convert_to_tensor(layer.spike_unit), "float32")
        emitted[layer] = name, spike_counts(spikes, unit)

    def watch(name, layer, x, outputs):
        if not isinstance(layer, SequenceLayer):
            return
        name, spikes = emitted.get(layer, (unique(name, axis.emitters), None))
        slot = max(i for i, owner in enumerate(carry.layers) if owner is layer)  # the latest is that of this call
        started, ended = carry.started[slot], carry.ended[slot]
        x = ops.cast(ops.swapaxes(x, 0, 1) if layer.time_major else x, voltage_dtype(layer.compute_dtype))
        size = tuple(n or 0 for n in layer.step_shapes(tuple(x.shape))[0])
        states = dict(zip(_state_names(layer, ended), ended, strict=True))
        states = {name: state for name, state in states.items() if tuple(state.shape[1:]) == size}
        if not states:
            return
        layers[name] = layer, list(states)
        chosen = units[name] if name in units else np.arange(min(N_UNITS, math.prod(size)))
        threshold = _threshold(layer, x, started)

        def pick(values):
            return ops.take(ops.reshape(values, (ops.shape(values)[0], 1, -1)), chosen, axis=-1)

        recorded[name] = {
            "states": tree.map_structure(pick, states),
            **({"inputs": pick(x)} if tuple(x.shape[2:]) == size else {}),
            **({} if spikes is None else {"spikes": pick(spikes)}),
            **({} if threshold is None else {"threshold": pick(threshold)}),
        }

    scope = {"dt": dt, "record": record_spikes, "sample_index": index, "seed": prober.seed}
    with graph.calls(prober.inspected, watch):
        axis.run(x, n_steps, carry, **scope)
    return recorded, carry.ended


def _state_names(layer, states):
    if isinstance(layer, SpikingNeuron):
        late = ["previous spikes"] if layer.reset_delay else []
        return [*layer.state_names, *late, "refractory"][: len(states)]
    return ["v"] if _is_spiking_activation(layer) else list(map(str, range(len(states))))


def _is_spiking_activation(layer):
    return isinstance(getattr(layer, "cell", None), SpikingActivationCell)


def _threshold(layer, x, states):
    """Return the threshold ``(batch, ...)`` in the step from ``states`` with the input ``x (batch, 1, ...)``.

    Returns:
        Tensor; None for a layer without a threshold.
    """
    if _is_spiking_activation(layer):
        return ops.ones_like(states[0])
    if not isinstance(layer, SpikingNeuron) or "v" not in layer.state_names:
        return None
    neuron, params, constants = layer.equations(states)
    p = _ThresholdParameters(neuron, {**params, **constants})
    neuron.step(p, tuple(states), nan_if_infinite(ops.cast(x[:, 0], states[0].dtype)))
    if p.last_threshold is None:
        return None
    return ops.broadcast_to(ops.cast(p.last_threshold, states[0].dtype), ops.shape(states[0]))


class _ThresholdParameters(Parameters):
    """Parameters of a step that store the threshold of the reset, which is on the scale of the membrane."""

    last_threshold = None

    def after_spike(self, h, spikes, threshold):
        self.last_threshold = threshold
        return super().after_spike(h, spikes, threshold)
