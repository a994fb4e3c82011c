"""ModelEnergy: connections, neurons, rates and energy of each layer of a model."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import keras
import numpy as np
from keras import tree

from keras_snn import checks, graph, layers, probe
from keras_snn.config import default
from keras_snn.data.batches import Batches
from keras_snn.energy.devices import DEVICES, add_device, device_costs
from keras_snn.energy.measure import measure, sample_and_length
from keras_snn.energy.statistics import COMPUTERS, Node
from keras_snn.energy.synapses import Synapses, count, spike_reach
from keras_snn.energy.work import MOST_SAMPLES, joules
from keras_snn.hints import Nest
from keras_snn.layers.base.time_step import check_dt

_COLUMNS = ("name", "output_shape", "params", "connections", "neurons", "energy cpu")
_CALL_STATISTICS = ("known", "connections", "dense_connections", "neurons", "spiking")


class ModelEnergy:
    """Estimate the energy that one inference of a model takes on several devices.

    A device without spikes ("cpu", "gpu", "arm") runs each layer once, which costs ``J_mac connections + J_neuron
    neurons``. On a device with spikes, the energy depends on ``inputs``:

    - "rates", as in KerasSpiking: every activation is a rate in Hz. A layer costs ``(J_synop connections rate dt +
      J_neuron neurons) steps``, where the rate is the mean of ``|inputs|``.
    - "analog", as in ``inspect``: only the outputs of spiking layers and encoders are spikes. Each arriving spike costs
      ``J_synop`` times the number of connections of its unit. A layer with any other input costs ``J_mac connections``
      in each run.

    For convolutions the two give different synaptic operations: units at the border of an image have fewer connections
    than the mean.

    Counts are those of one time step. Connections of weight zero do not count.
    ``keras_snn.energy.device_table()`` shows the constants, their ranges and their sources;
    ``keras_snn.energy.NOT_MODELED`` states what they leave out.

    Args:
        model: A built Keras model. A subclassed one needs ``example_data``.
        example_data: Inputs as for Keras's ``evaluate``: an array ``(samples, ...)``, tensor or pandas object, or a
            nest of them for several inputs; or data in batches: a ``tf.data.Dataset``, ``keras.utils.PyDataset``,
            PyTorch ``DataLoader`` or generator, whose labels are ignored. Required for devices with spikes: their
            energy depends on the rates.
        inputs: "rates" or "analog". Default "rates".

    Attributes:
        rows: Dict from the name of each layer call to a dict of its statistics.
        layer_stats: Dict from each layer to its "connections", "neurons" and "spiking", over all its calls.
        layer_rates: Dict from each layer to the mean of its ``|inputs|`` in Hz; empty without ``example_data``.
        n_steps: Number of time steps of the model, from its shapes: 1 without a time axis, None for a time axis of
            unknown length.

    Raises:
        TypeError: If ``model`` is no Keras model, or ``example_data`` is neither arrays nor data in batches.
        ValueError: If the model is not built, a required size is unknown, or ``inputs`` is unknown; for empty or
            endless data, or batches of different structure.

    Example:

    ```python
    energy = keras_snn.ModelEnergy(model, example_data=x_test[:500], inputs="analog")
    energy.summary(columns=("name", "connections", "rate", "energy cpu", "energy loihi"), timesteps_per_inference=None)
    energy.total_energy("loihi", timesteps_per_inference=None)  # J, equal to report.energy("loihi") of `inspect`
    ```
    """

    devices: ClassVar = DEVICES
    layer_stats_computers: ClassVar = COMPUTERS

    def __init__(self, model: keras.Model, example_data: Nest = None, *, inputs: str = "rates"):
        if not isinstance(model, keras.Model):
            raise TypeError(f"`model` must be a Keras model; got {type(model).__name__}.")
        if not model.built:
            raise ValueError(f"The model {model.name!r} is not built. Call it on a batch first.")
        self.inputs = checks.choice("inputs", inputs, ("rates", "analog"))
        self.model = model
        self.has_rates = example_data is not None
        batches = None
        if self.has_rates:
            batches = Batches(example_data, name="example_data", inputs_only=True, most=MOST_SAMPLES)
        elif not getattr(model, "inputs", None):
            raise ValueError(
                f"The subclassed model {model.name!r} does not show the shape of its inputs: give `example_data`."
            )
        sample, length = sample_and_length(model, batches)
        with probe.left_as_it_was(model):
            axis = graph.TimeAxis(model, sample, length=length)
            self._calls: dict[str, Synapses] = spike_reach(axis)
            self.n_steps: int | None = axis.n_steps
            counts = {} if batches is None else measure(model, batches, self._calls)
        if length is not None and not self.has_rates:
            self.n_steps = None
        self.rows = self._rows(counts)
        _warn_about_unknown({synapses.call.layer: None for synapses in self._calls.values() if not synapses.known})
        rows_by_layer = {layer: [self.rows[name] for name in self._names(layer)] for layer in model._flatten_layers()}
        self.layer_stats = {layer: _sum_statistics(rows) for layer, rows in rows_by_layer.items()}
        self.layer_rates = {
            layer: float(np.mean([row["rate"] for row in rows]))
            for layer, rows in rows_by_layer.items()
            if rows and self.has_rates
        }

    @classmethod
    def compute_layer_stats(cls, layer: keras.layers.Layer, node: Node | None = None) -> dict[str, Any]:
        """Return a dict with "connections", "neurons" and "spiking" of one time step of a layer.

        An unknown axis after the batch axis is time. So is axis 1 of ``TimeDistributed`` and ``TimeFold``.

        Args:
            layer: A Keras layer that was called on a ``keras.Input``.
            node: ``Node`` with the shapes of another call. Default: the shapes of the layer's first call.

        Raises:
            ValueError: If ``layer`` is not a layer, was never called, or has an unknown size.
        """
        if not isinstance(layer, keras.layers.Layer):
            raise ValueError(f"`layer` must be a Keras layer; got {type(layer).__name__}.")
        if isinstance(layer, keras.Model):
            return _sum_statistics(ModelEnergy(layer).rows.values())
        if node is None:
            try:
                tensors = layer.input, layer.output
            except (AttributeError, ValueError):
                raise ValueError(
                    f"The layer {layer.name!r} was never called. Call it on a keras.Input first."
                ) from None
            input_shapes, output_shapes = tree.map_structure(lambda tensor: tuple(tensor.shape), tensors)
            node = Node(layer, input_shapes, output_shapes)
        if isinstance(layer, (keras.layers.TimeDistributed, layers.TimeFold)):
            (_, *units), (_, *output_units) = node.input_shapes[1:], node.output_shapes[1:]
            return cls.compute_layer_stats(layer.layer, Node(layer.layer, (None, *units), (None, *output_units)))
        input_shapes, output_shapes = ([s] if isinstance(s, tuple) else list(s) for s in node[1:])
        has_time = len(input_shapes[0]) > 2 and input_shapes[0][1] is None
        # The number of runs is unknown, as is the size of the time axis.
        time = "axis" if has_time else None
        call = graph.Call(layer.name, layer, input_shapes, output_shapes, time, runs=None)  # type: ignore[arg-type]
        synapses = Synapses(call)
        count({layer.name: synapses})
        if not synapses.known:
            _warn_about_unknown([layer])
        return _sum_statistics([vars(synapses)])

    @classmethod
    def register_layer(cls, layer_class: type) -> Callable[[Callable], Callable]:
        """Decorate a function ``(node) -> dict`` that returns the statistics of a layer class.

        The node has the attributes ``layer``, ``input_shapes`` and ``output_shapes``: a shape ``(batch, ...)`` for one
        tensor, a list of shapes for several tensors. The dict may have the keys "connections" and "neurons" (default
        0), and "spiking" (default True).
        """
        if layer_class in cls.layer_stats_computers:
            warnings.warn(f"{layer_class.__name__} is already registered; the new function replaces it.", stacklevel=2)

        def register(function):
            cls.layer_stats_computers[layer_class] = function
            return function

        return register

    @classmethod
    def register_device(
        cls,
        device_name: str,
        energy_per_synop: float,
        energy_per_neuron: float,
        spiking: bool,
        *,
        energy_per_mac: float | None = None,
        source: str | None = None,
        ranges: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        """Add a device. Its name is not case-sensitive.

        Args:
            device_name: String.
            energy_per_synop: Energy in J of a synaptic operation: a spike adds a weight.
            energy_per_neuron: Energy in J of a neuron update.
            spiking: Boolean, whether the device computes only where a spike arrives.
            energy_per_mac: Energy in J of a multiply-accumulate. Default: ``energy_per_synop``.
            source: String, the publication of the constants, for ``keras_snn.energy.device_table``.
            ranges: Dict from "energy_per_mac", "energy_per_synop" or "energy_per_neuron" to the pair (smallest,
                largest) in J. Default: no ranges.

        Raises:
            ValueError: If ``ranges`` has another name, or a pair that is not in ascending order.
        """
        if device_name.lower() in cls.devices:
            warnings.warn(
                f"The device {device_name!r} is already registered; the new constants replace it.", stacklevel=2
            )
        add_device(
            device_name, energy_per_synop, energy_per_neuron, spiking, energy_per_mac, source=source, ranges=ranges
        )

    def layer_energy(
        self,
        layer: keras.layers.Layer | str,
        device: str,
        timesteps_per_inference: int | None = 1,
        dt: float | None = None,
    ) -> tuple[float, float]:
        """Return the pair (synaptic, neural) energy of a layer in J per inference, over all its calls.

        Args:
            layer: A layer of the model, at any depth, or its name. For a layer that contains layers, such as
                ``TimeDistributed`` or a model, the result is the sum over them.
            device: String.
            timesteps_per_inference: Integer, the number of time steps. Every layer runs at each step: the energy on a
                device with spikes is proportional to this number. None: the model's number of steps; with
                ``inputs="analog"``, a layer outside the time axis then runs once. Default 1, as in KerasSpiking.
            dt: Number in seconds, the time step on a device with spikes. Default: that of the layers that emit the
                arriving spikes; ``keras_snn.default.dt`` for analog inputs.

        Raises:
            ValueError: If the model has no such layer, if ``example_data`` is missing, or if the number of steps of the
                model is unknown.
        """
        layers_by_name = {known.name: known for known in self.layer_stats}
        names = [layer] if layer in self.rows else None
        if layer in self.layer_stats or layer in layers_by_name:
            names = self._names(layers_by_name.get(layer, layer))
        if names is None:
            raise ValueError(f"`layer` must be a layer of the model {self.model.name!r}, or its name; got {layer!r}.")
        if [known.name for known in self.layer_stats].count(layer) > 1:
            raise ValueError(f"Several layers of {self.model.name!r} have the name {layer!r}: give the layer itself.")
        energies = [self._energy(name, device, timesteps_per_inference, dt) for name in names]
        return sum(synaptic for synaptic, _ in energies), sum(neural for _, neural in energies)

    def total_energy(self, device: str, timesteps_per_inference: int | None = 1, dt: float | None = None) -> float:
        """Return the energy of one inference in J. Arguments as in ``layer_energy``."""
        return sum(sum(self._energy(name, device, timesteps_per_inference, dt)) for name in self.rows)

    def summary(
        self,
        columns: Sequence[str] = _COLUMNS,
        timesteps_per_inference: int | None = 1,
        dt: float | None = None,
        line_length: int = 98,
        print_warnings: bool = True,
    ) -> None:
        """Print ``summary_string``, with the same arguments."""
        print(self.summary_string(columns, timesteps_per_inference, dt, line_length, print_warnings))

    def summary_string(
        self,
        columns: Sequence[str] = _COLUMNS,
        timesteps_per_inference: int | None = 1,
        dt: float | None = None,
        line_length: int = 98,
        print_warnings: bool = True,
    ) -> str:
        """Return a table with a row for each layer call.

        Args:
            columns: Names out of "name", "output_shape", "params", "connections", "neurons", "rate", and "energy D",
                "synop_energy D", "neuron_energy D" for a device D. If 90 of 100 connections have weight zero, the
                column "connections" shows "10 of 100".
            timesteps_per_inference: As in ``layer_energy``.
            dt: As in ``layer_energy``.
            line_length: Integer, the width of the table in characters.
            print_warnings: Boolean. True: list layers of unknown class, and non-spiking layers on a spiking device,
                below the table.
        """
        if not columns:
            raise ValueError("`columns` must hold at least one name; got none.")
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
        if print_warnings and devices:
            lines.append("Estimates: without memory, transport of spikes and idle power.")
        if print_warnings:
            lines += self._warnings(devices)
        return "\n".join(lines)

    def _rows(self, counts):
        rows, listed = {}, set()
        for name, synapses in self._calls.items():
            layer, spikes = synapses.call.layer, synapses.spikes
            mean, arrived = counts.get(name, (None, None))
            shape = synapses.call.output_shapes[0]
            unknown_time = self.n_steps is None and synapses.call.time == "axis" and len(shape) > 1
            rows[name] = {
                "layer": layer,
                "output_shape": (None, None, *shape[2:]) if unknown_time else (None, *shape[1:]),
                "params": 0 if layer in listed else layer.count_params(),
                "rate": mean if mean is None or spikes is None else mean * spikes.unit / spikes.dt,
                "work": synapses.work(arrived),
                **{key: getattr(synapses, key) for key in _CALL_STATISTICS},
            }
            listed.add(layer)
        return rows

    def _names(self, layer):
        """Return the names of the calls of a layer and of the layers inside it."""
        inner_layers = list(layer._flatten_layers())
        return [name for name, row in self.rows.items() if row["layer"] in inner_layers]

    def _energy(self, name, device, steps, dt):
        """Return the pair (synaptic, neural) energy of a call in J."""
        steps = checks.integer("timesteps_per_inference", steps, least=1, optional=True)
        dt = None if dt is None else check_dt(dt)
        work, spikes = self.rows[name]["work"], self._calls[name].spikes
        rates, spiking = self.inputs == "rates", device_costs(device)["spiking"]
        if spiking and not self.has_rates and (rates or spikes is not None):
            raise ValueError(f"The energy on {device!r} depends on the rates: give ModelEnergy(..., example_data=...).")
        if not spiking:
            return joules(work, device)
        n_steps = self.n_steps
        if n_steps is None and (steps is None or (spikes is not None and not rates)):
            raise ValueError(
                f"The number of time steps of {self.model.name!r} is unknown. Give `timesteps_per_inference`, or "
                "`example_data` of the length of an inference."
            )
        model_dt = default.dt if spikes is None else spikes.dt
        if rates:
            spikes_per_step = self.rows[name]["rate"] * (model_dt if dt is None else dt)
            steps, n_steps = n_steps if steps is None else steps, 1
            work = replace(work, operations=work.connections * spikes_per_step)
        elif dt is not None and spikes is not None and spikes.in_hertz:
            work = replace(work, operations=work.operations * dt / model_dt)
        return joules(work, device, per_step=None if steps is None else (steps, n_steps))

    def _cell(self, column, name, row, n_steps, dt):
        kind, _, device = column.partition(" ")
        if kind in ("energy", "synop_energy", "neuron_energy") and device:
            synaptic, neural = self._energy(name, device, n_steps, dt)
            energies = {"energy": synaptic + neural, "synop_energy": synaptic, "neuron_energy": neural}
            return f"{energies[kind]:.2e}"
        if column == "name":
            return name
        if column == "rate" and not self.has_rates:
            raise ValueError("The column 'rate' needs ModelEnergy(..., example_data=...).")
        if column == "rate":
            return f"{row['rate']:.2f}"
        if column == "connections" and row["connections"] != row["dense_connections"]:
            return f"{row['connections']:,} of {row['dense_connections']:,}"
        if column in ("connections", "neurons", "params"):
            return f"{row[column]:,}"
        if column == "output_shape":
            return str(row[column])
        raise ValueError(
            "`columns` may hold 'name', 'output_shape', 'params', 'connections', 'neurons', 'rate', and 'energy D', "
            f"'synop_energy D', 'neuron_energy D' for a device D of {sorted(self.devices)}; got {column!r}."
        )

    def _warnings(self, devices):
        unknown = [_title(synapses.call.layer) for synapses in self._calls.values() if not synapses.known]
        if unknown:
            yield f"Warning: counted as 0, because their connections are not known: {', '.join(unknown)}."
        non_spiking = [name for name, row in self.rows.items() if row["neurons"] and not row["spiking"]]
        for device in devices:
            if non_spiking and device_costs(device)["spiking"] and self.inputs == "rates":
                yield (
                    f"Warning: the energy on the spiking device {device!r} assumes spiking layers; these layers do not "
                    f"spike: {', '.join(non_spiking)}."
                )


def _sum_statistics(rows):
    """Return the sums of the statistics of several calls."""
    rows = list(rows)
    return {
        "connections": sum(row["connections"] for row in rows),
        "neurons": sum(row["neurons"] for row in rows),
        "spiking": all(row["spiking"] for row in rows),
    }


def _warn_about_unknown(unknown):
    if unknown:
        warnings.warn(
            f"Counted as 0, because their connections are not known: {', '.join(map(_title, unknown))}. Register "
            "their class with ModelEnergy.register_layer.",
            stacklevel=3,
        )


def _title(layer):
    return f"{layer.name} ({type(layer).__name__})"
