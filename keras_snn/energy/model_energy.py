"""ModelEnergy: a table of connections, neurons, rates and energy, layer by layer."""

import math
from typing import ClassVar, NamedTuple

import keras
import numpy as np
from keras import ops, tree

from keras_snn import layers as ours
from keras_snn import probe
from keras_snn.config import default
from keras_snn.energy.connections import connections, is_linear
from keras_snn.energy.devices import DEVICES, Device, device

_COLUMNS = ("name", "output_shape", "params", "connections", "neurons", "energy cpu")
_SPIKING_WARNING = "Energy on the spiking device {!r} is that of a spiking network; these layers do not spike: {}."
_BATCH_SIZE = 128


class Node(NamedTuple):
    """One call of a layer."""

    layer: keras.layers.Layer
    input_shapes: list
    output_shapes: list


class ModelEnergy:
    """Estimate the energy that one inference of a model takes on several devices.

    A spiking device pays ``J_synop connections rate dt steps`` for the synapses of a layer, where the rate is the mean
    of ``|inputs|`` in Hz, and ``J_neuron neurons steps``. Any other device computes each connection and each neuron
    once: ``J_synop connections`` and ``J_neuron neurons``. The constants, with their sources, are
    ``keras_snn.energy.DEVICES``. They leave out memory, transport and idle power: compare ratios of energies.

    Counts are those of one time step: the steps that ``Repeat`` makes, and a time axis of unknown length, count once.
    A static time axis of a model's input is an axis like any other.

    Args:
        model: A built Keras model. One that was subclassed needs ``example_data``.
        example_data: Array ``(samples, ...)`` or a nest of them, as for ``model.predict``. Needed for spiking devices,
            whose energy depends on the rates.

    Raises:
        TypeError: If ``model`` is no Keras model.
        ValueError: If it is not built.

    Example:

    ```python
    energy = keras_snn.ModelEnergy(model, example_data=x_test[:500])
    energy.summary(columns=("name", "connections", "rate", "energy cpu", "energy loihi"), timesteps_per_inference=10)
    energy.total_energy("loihi", timesteps_per_inference=10, dt=0.01)  # J
    ```
    """

    devices: ClassVar = DEVICES
    layer_stats: ClassVar = {}

    def __init__(self, model, example_data=None):
        if not isinstance(model, keras.Model):
            raise TypeError(f"`model` has to be a Keras model; got {type(model).__name__}.")
        if not model.built:
            raise ValueError(f"The model {model.name!r} is not built. Call it on a batch first.")
        self.model = model
        inputs = getattr(model, "inputs", None)
        if example_data is None and not inputs:
            raise ValueError(
                f"The subclassed model {model.name!r} does not tell its input's shape: give `example_data`."
            )
        self.has_rates = example_data is not None
        few = tree.map_structure(lambda x: np.asarray(x[:1]), example_data) if self.has_rates else None
        rows = {}
        with probe.left_as_it_was(model):
            _run(model, _nothing(model) if inputs else few, _Rows(rows, type(self)), n_steps=1)
            rates = _rates(model, example_data) if self.has_rates else {}
        self.rows = rows
        for name, row in rows.items():
            row["rate"] = rates.get(name)

    @classmethod
    def compute_layer_stats(cls, layer, node=None):
        """Return the dict of "connections", "neurons" and "spiking" of a layer, or of one of its calls.

        Args:
            layer: A built Keras layer.
            node: ``Node`` with the shapes of a call. Default: those of the layer's only call in a functional model.
        """
        if node is None:
            shapes = (tree.map_structure(lambda t: tuple(t.shape), end) for end in (layer.input, layer.output))
            node = Node(layer, *([s] if isinstance(s, tuple) else list(s) for s in shapes))
        return {"connections": 0, "neurons": 0, "spiking": False, **(cls._stats(node) or {})}

    @classmethod
    def register_layer(cls, layer_class):
        """Decorate a function ``(node) -> dict`` that tells "connections" and "neurons" of a class of layers."""

        def register(function):
            cls.layer_stats[layer_class] = function
            return function

        return register

    @classmethod
    def register_device(cls, name, energy_per_synop, energy_per_neuron, spiking):
        """Add a device, in joules; its name is looked up whatever its case."""
        cls.devices[name.lower()] = Device(energy_per_synop, energy_per_neuron, spiking)

    @classmethod
    def _stats(cls, node):
        """Return what is known of a call; None for a layer of an unknown class."""
        for known in type(node.layer).__mro__:
            if known in cls.layer_stats:
                return cls.layer_stats[known](node)
        n_outputs = math.prod(node.output_shapes[0][1:])
        if isinstance(node.layer, ours.SpikingLayer) and not isinstance(node.layer.cell, ours.SpikingCell):
            return None  # a Keras cell
        if isinstance(node.layer, (ours.SpikingLayer, ours.SpikingNeuron)):
            spiking = node.layer.emits_spikes
            return {"neurons": math.prod(node.input_shapes[0][2:]) * spiking, "spiking": spiking}
        if isinstance(node.layer, _ACTIVATIONS):
            linear = is_linear(getattr(node.layer, "activation", keras.activations.relu))
            return {"neurons": 0 if linear else n_outputs}
        count = connections(node.layer, node.input_shapes[0], node.output_shapes[0])
        if count is not None:
            linear = is_linear(getattr(node.layer, "activation", None))
            return {"connections": count, "neurons": 0 if linear else n_outputs}
        return {} if isinstance(node.layer, _NOTHING) else None

    def layer_energy(self, layer, device, timesteps_per_inference=1, dt=None):
        """Return the pair (synaptic, neural) energy of a layer in J per inference, over all its calls.

        Args:
            layer: A layer of the model, or its name.
            device: String.
            timesteps_per_inference: Integer; counts on spiking devices.
            dt: Number in seconds; counts on spiking devices. Default: ``keras_snn.default.dt``.
        """
        rows = [row for name, row in self.rows.items() if layer in (name, row["layer"], row["layer"].name)]
        if not rows:
            raise ValueError(f"`layer` has to be a layer that the model {self.model.name!r} calls; got {layer!r}.")
        energies = [self._energy(row, device, timesteps_per_inference, dt) for row in rows]
        return tuple(map(sum, zip(*energies, strict=True)))

    def _energy(self, row, name, n_steps, dt):
        on = device(name)
        events = 1
        if on.spiking:
            if not self.has_rates:
                raise ValueError(
                    f"The energy on {name!r} depends on the rates: give ModelEnergy(..., example_data=...)."
                )
            events = row["rate"] * (default.dt if dt is None else dt) * n_steps
        synops = on.energy_per_synop * row["connections"] * events
        return synops, on.energy_per_neuron * row["neurons"] * (n_steps if on.spiking else 1)

    def total_energy(self, device, timesteps_per_inference=1, dt=None):
        """Return the energy of one inference in J; the arguments are those of ``layer_energy``."""
        return sum(sum(self._energy(row, device, timesteps_per_inference, dt)) for row in self.rows.values())

    def summary(self, columns=_COLUMNS, timesteps_per_inference=1, dt=None, line_length=98, print_warnings=True):
        """Print ``summary_string``; the arguments are the same."""
        print(self.summary_string(columns, timesteps_per_inference, dt, line_length, print_warnings))

    def summary_string(self, columns=_COLUMNS, timesteps_per_inference=1, dt=None, line_length=98, print_warnings=True):
        """Return the table of the layers.

        Args:
            columns: Names out of "name", "output_shape", "params", "connections", "neurons", "rate", and "energy D",
                "synop_energy D", "neuron_energy D" for a device D.
            timesteps_per_inference: As in ``layer_energy``.
            dt: As in ``layer_energy``.
            line_length: Integer, the width of the table in characters.
            print_warnings: Boolean, whether to name below the table what is not known or does not fit a device.
        """
        cells = [
            [self._cell(c, name, row, timesteps_per_inference, dt) for c in columns] for name, row in self.rows.items()
        ]
        width = max(1, line_length // len(columns))
        lines = ["".join(f"{cell[: width - 1]:<{width}}" for cell in line).rstrip() for line in [list(columns), *cells]]
        rule = "=" * line_length
        lines = [lines[0], rule, *lines[1:], rule]
        devices = dict.fromkeys(c.split(" ", 1)[1] for c in columns if " " in c)
        for name in devices:
            lines.append(
                f"Total energy per inference [{name}]: {self.total_energy(name, timesteps_per_inference, dt):.3e} J"
            )
        if print_warnings:
            lines += self._warnings(devices)
        return "\n".join(lines)

    def _cell(self, column, name, row, n_steps, dt):
        kind, _, on = column.partition(" ")
        if kind in ("energy", "synop_energy", "neuron_energy") and on:
            synop, neuron = self._energy(row, on, n_steps, dt)
            return f"{ {'energy': synop + neuron, 'synop_energy': synop, 'neuron_energy': neuron}[kind]:.2e}"
        if column == "name":
            return name
        if column == "rate" and not self.has_rates:
            raise ValueError("The column 'rate' needs ModelEnergy(..., example_data=...).")
        if column == "rate":
            return f"{row['rate']:.2f}"
        if column in ("connections", "neurons", "params"):
            return f"{row[column]:,}"
        if column == "output_shape":
            return str(row[column])
        raise ValueError(
            "`columns` may hold 'name', 'output_shape', 'params', 'connections', 'neurons', 'rate', and 'energy D', "
            f"'synop_energy D', 'neuron_energy D' for a device D of {sorted(self.devices)}; got {column!r}."
        )

    def _warnings(self, devices):
        unknown = [f"{name} ({type(row['layer']).__name__})" for name, row in self.rows.items() if not row["known"]]
        if unknown:
            yield f"Warning: counted as nothing, as their connections are not known: {', '.join(unknown)}."
        silent = [name for name, row in self.rows.items() if row["neurons"] and not row["spiking"]]
        for name in devices:
            if silent and device(name).spiking:
                yield "Warning: " + _SPIKING_WARNING.format(name, ", ".join(silent))


class _Rows:
    """Collects a row for every call of a layer."""

    def __init__(self, rows, cls):
        self.rows, self.cls, self.counted = rows, cls, set()

    def __call__(self, name, layer, inputs, outputs):
        node = Node(layer, *([tuple(t.shape) for t in tree.flatten(end)] for end in (inputs, outputs)))
        params = 0 if layer in self.counted else layer.count_params()
        self.counted.add(layer)
        stats = self.cls._stats(node)
        self.rows[name] = {
            "layer": layer,
            "output_shape": (None, *node.output_shapes[0][1:]),
            "params": params,
            "known": stats is not None,
            **{"connections": 0, "neurons": 0, "spiking": False, **(stats or {})},
        }


def _run(model, x, record, n_steps=None, spikes=None):
    n_samples = len(tree.flatten(x)[0])
    index = np.arange(n_samples, dtype="int32")
    with probe.scope(n_steps=n_steps, sample_index=index, record=spikes), probe.calls(model, record):
        model(x, training=False)


def _rates(model, data):
    """Return the mean of |inputs| of every call of a layer, in Hz where they are spikes of height 1."""
    totals = {}

    def record(name, layer, inputs, outputs):
        x = tree.flatten(inputs)[0]
        total, n = totals.get(name, (0.0, 0))
        size = math.prod(x.shape)
        mean = float(ops.convert_to_numpy(ops.mean(ops.abs(ops.cast(x, "float32")))))
        totals[name] = total + mean * size, n + size

    n_samples = len(tree.flatten(data)[0])
    for start in range(0, n_samples, _BATCH_SIZE):
        _run(model, tree.map_structure(lambda x: np.asarray(x[start : start + _BATCH_SIZE]), data), record)  # noqa: B023
    seconds = _seconds_of_a_spike(model, tree.map_structure(lambda x: np.asarray(x[:1]), data))
    return {name: total / n / seconds.get(name, 1) for name, (total, n) in totals.items()}


def _seconds_of_a_spike(model, x):
    """Return the dt of the neurons, by the names of the calls that their spikes, of height 1, reach."""
    if not any(isinstance(layer, ours.SpikingNeuron) for layer in model._flatten_layers()):
        return {}
    sums, dts = ({}, {}), []
    for height, totals in enumerate(sums):

        def all_or_none(layer, spikes, mask=None, height=height):
            if not isinstance(layer, ours.SpikingNeuron):
                return None
            dts.append(float(ops.convert_to_numpy(layer.dt)))
            return ops.full_like(spikes, height)

        def record(name, layer, inputs, outputs, totals=totals):
            totals[name] = float(ops.convert_to_numpy(ops.sum(ops.abs(ops.cast(tree.flatten(inputs)[0], "float32")))))

        _run(model, x, record, spikes=all_or_none)
    return {name: dts[0] for name in sums[0] if sums[0][name] != sums[1][name]}


def _nothing(model):
    """Return one sample of zeros in the shape of a model's inputs."""

    def zeros(tensor):
        return np.zeros([size or 1 for size in (tensor.shape[0] or 1, *tensor.shape[1:])], tensor.dtype)

    inputs = getattr(model, "_inputs_struct", model.inputs)
    return tree.map_structure(zeros, inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else inputs)


_ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ELU,
    keras.layers.Softmax,
)
_NOTHING = (
    keras.layers.Add,
    keras.layers.BatchNormalization,  # at inference a part of the layer before it
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalAveragePooling3D,
    keras.layers.InputLayer,
    keras.layers.Reshape,
    ours.Delta,
    ours.FirstSpikeTime,
    ours.Interval,
    ours.LastStep,
    ours.Latency,
    ours.Phase,
    ours.Poisson,
    ours.Population,
    ours.RankOrder,
    ours.Repeat,
    ours.TemporalAveragePooling,
)
