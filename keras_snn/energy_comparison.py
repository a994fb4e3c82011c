"""Compare the accuracy, operations and energy of spiking and non-spiking models, also with 8-bit weights."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_snn import graph, probe, text_table
from keras_snn.conversion.copies import from_config, set_weights, uncompiled
from keras_snn.data.batches import Batches
from keras_snn.energy import DEVICES, NOT_MODELED, Work, energy_range, spike_reach
from keras_snn.energy.connections import DEPTHWISE, TRANSPOSED, einsum_axes
from keras_snn.energy.devices import device_costs
from keras_snn.energy.work import Totals
from keras_snn.hints import Nest
from keras_snn.inspector import inspect, plots, tables
from keras_snn.inspector.anatomy import notes_on_work
from keras_snn.inspector.find_dt import accuracy_of
from keras_snn.inspector.findings import Path, finish
from keras_snn.inspector.inputs import check_model
from keras_snn.inspector.panels import Figure

#: Two accuracies count as equal up to this difference: a percentage point.
EQUAL = 0.01

_NETWORK = ("network", "weights")
_TABLE_DEVICES = (tables.ARITHMETIC, *tables.SPIKING, *tables.ANN)

NOTE = (
    "Numbers for one inference, without connections of weight zero. Difference: accuracy minus that of the first row, "
    "in percentage points. MACs: multiply-accumulates of analog inputs. ACs: accumulates, each spike times its "
    "fan-out. Memory: a weight of 4 bytes (1 byte with 8 bits) read for each MAC and AC, and 4 bytes read and written "
    "for each neuron update, without any cache. 45nm: 4.6 pJ per MAC and 0.9 pJ per AC; with 8 bits 0.3 and 0.1 pJ, "
    "which assumes 8-bit activations. 8 bits: measured on a copy with weights rounded to 255 values in each output "
    "channel; its biases, states and activations stay floating-point numbers. A network is listed on devices of its "
    "kind; the constants of loihi and spinnaker2 do not depend on the format of weights."
)


@dataclass(frozen=True, eq=False)
class EnergyRow(Totals):
    """One network of an ``EnergyComparison``.

    Attributes:
        name: Name of the network.
        bits: Number of bits of a weight: 32 or 8.
        spiking: Boolean, whether the network has spiking layers.
        accuracy: Accuracy in [0, 1]; None without labels.
        work: Dict from the name of each layer call to its ``keras_snn.energy.Work``.
    """

    name: str
    bits: int
    spiking: bool
    accuracy: float | None
    work: dict[str, Work]

    @property
    def label(self) -> str:
        """Name and number of bits of the network."""
        return self.name if self.bits == 32 else f"{self.name} ({self.bits} bits)"

    @property
    def weight_bytes(self) -> int:
        """Bytes of a weight."""
        return self.bits // 8

    def energy(self, name: str) -> float | None:
        """Return the energy of one inference in J on a device; None if the device does not run such a network.

        A device with spikes runs spiking networks, a device without spikes non-spiking networks with 32-bit weights.
        "45nm" and other devices with costs of 8-bit weights run all networks.
        """
        energies = self.energy_range(name)
        return None if energies is None else energies[0]

    def energy_range(self, name: str) -> tuple[float, float, float] | None:
        """Return ``energy``, and its minimum and maximum over the range of each constant."""
        costs = device_costs(name)
        runs_all = "int8" in costs
        if not runs_all and (costs["spiking"] != self.spiking or (self.bits == 8 and not self.spiking)):
            return None
        return energy_range(self.work.values(), name, int8=self.bits == 8)

    def to_dict(self) -> dict[str, Any]:
        """Return the values as a dict of Python numbers."""
        return {
            "name": self.name,
            "bits": self.bits,
            "spiking": self.spiking,
            "accuracy": self.accuracy,
            "macs": self.macs,
            "accumulates": self.accumulates,
            "neuron_updates": self.neuron_updates,
            "memory_traffic": self.memory_traffic,
            **{f"energy_{name}": self.energy(name) for name in DEVICES},
        }


class EnergyComparison:
    """The result of ``compare_energy``.

    Attributes:
        rows: List of an ``EnergyRow`` for each network, with 32-bit and with 8-bit weights.
        notes: List of sentences: networks of another accuracy than the first, and operations that are not counted.
    """

    def __init__(self, rows: list[EnergyRow], notes: list[str]):
        self.rows = rows
        self.notes = [*self._unequal(), *notes]

    def _unequal(self):
        """Return a list with a sentence that names the networks whose accuracy differs from that of the first."""
        # 1e-9 covers rounding: 0.89 - 0.88 > 0.01 in binary.
        differences = {row.label: self._difference(row) for row in self.rows}
        others = [label for label, value in differences.items() if value is not None and abs(value) > EQUAL + 1e-9]
        if not others:
            return []
        return [
            f"Not of equal accuracy: {', '.join(others)}. The accuracy differs by more than {100 * EQUAL:g} percentage "
            f"point from that of {self.rows[0].label}."
        ]

    def _difference(self, row):
        first = self.rows[0].accuracy
        return None if first is None or row.accuracy is None else row.accuracy - first

    def table(self) -> str:
        """Return two text tables with a row for each network: operations, and energy on several devices.

        Below them are the notes and a statement of what is not modeled.
        """
        lines = [line for note in self._all_notes() for line in textwrap.wrap(note, 110)]
        return "\n".join([*text_table.plain(self._operations()), "", *text_table.plain(self._energies()), *lines])

    __str__ = table

    def _repr_html_(self):
        operations = tables.as_html(self._operations(), "Accuracy and operations of one inference")
        return f"{operations}\n{tables.as_html(self._energies(), 'Energy of one inference', self._all_notes())}"

    def _all_notes(self):
        return [*self.notes, NOTE, NOT_MODELED]

    def _operations(self):
        cells: tables.Rows = [(*_NETWORK, "accuracy", "difference", "MACs", "ACs", "neuron updates", "memory (kB)")]
        for row in self.rows:
            difference = self._difference(row)
            points = "-" if difference is None else f"{100 * difference:+.2f}"
            numbers = row.macs, row.accumulates, row.neuron_updates, row.memory_traffic / 1e3
            cells.append(
                (row.name, f"{row.bits} bits", tables.percent(row.accuracy), points, *map(tables.amount, numbers))
            )
        return cells

    def _energies(self):
        cells: tables.Rows = [(*_NETWORK, *(f"{name} (µJ)" for name in _TABLE_DEVICES))]
        for row in self.rows:
            energies = (tables.microjoules(row.energy(name)) for name in _TABLE_DEVICES)
            cells.append((row.name, f"{row.bits} bits", *energies))
        return cells

    def to_dict(self) -> dict[str, Any]:
        """Return the networks as dicts of Python numbers, and the notes. Energies are in J, memory traffic in bytes.

        "difference" is the accuracy minus that of the first network.
        """
        rows = [{**row.to_dict(), "difference": self._difference(row)} for row in self.rows]
        return {"rows": rows, "notes": self.notes, "not_modeled": NOT_MODELED}

    def to_dataframe(self) -> Any:
        """Return a pandas ``DataFrame`` with a row for each network and the values of ``to_dict``.

        Raises:
            ImportError: If pandas is not installed.
        """
        return tables.dataframe(self.to_dict()["rows"])

    def plot(self, path: Path | None = None) -> Figure:
        """Draw operations and energy of each network as bars, and write the figure to ``path`` if given.

        Thin lines are the energies for the range of each constant. Return the figure.
        """
        operations: dict[str, dict] = {}
        energies: dict[str, dict] = {}
        for row in self.rows:
            counts = {"MACs": row.macs, "ACs": row.accumulates, "neuron\nupdates": row.neuron_updates}
            operations[row.label] = {name: (count, count, count) for name, count in counts.items()}
            joules = {name: row.energy_range(name) for name in _TABLE_DEVICES}
            energies[row.label] = {
                name: tuple(1e6 * value for value in values) for name, values in joules.items() if values is not None
            }
        figure = plots.new_figure(9, 3.6)
        left, right = figure.subplots(1, 2, width_ratios=(2, 3))
        plots.bars(left, operations, ylabel="operations per inference")
        plots.bars(right, energies, ylabel="energy per inference (µJ)")
        legend = left.get_legend_handles_labels()
        figure.legend(*legend, loc="outside upper center", ncols=4, frameon=False, fontsize=8)
        return finish(figure, path)


def compare_energy(
    models: Mapping[str, keras.Model],
    x: Nest,
    y: Nest = None,
    *,
    dt: float | None = None,
    n_steps: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    int8: bool = True,
) -> EnergyComparison:
    """Compare the accuracy, operations, memory traffic and energy of spiking and non-spiking models on the same data.

    A comparison is fair between networks of equal accuracy. This function cannot train them: it reports the accuracy of
    each network, the difference from the first one, and a note if the difference is above one percentage point.

    With ``int8``, each network is listed a second time with 8-bit weights. The kernels of a copy are rounded to 255
    values, symmetric around 0, with one scale per output channel: the largest ``|w|`` divided by 127. The accuracy and
    the spikes are those of the copy. All layers with kernels are rounded, not only ``Dense``, ``EinsumDense`` and
    ``Embedding``, to which Keras's ``quantize("int8")`` is limited. Biases, normalizations, states and activations stay
    floating-point numbers. Weights that are rounded to 0 are no connections.

    Args:
        models: Dict from the name of each network to a built Keras model with one output. The first is the reference
            for accuracies. A model with spiking layers is measured by ``inspect``. Any other model runs once: its
            multiply-accumulates are its connections.
        x: Data as for ``inspect``, which can be read several times.
        y: Labels as for ``inspect``, of one output; None for no accuracies.
        dt: Number in seconds, for the spiking models. Default: each layer uses its dt.
        n_steps: Integer, for the spiking models, as in ``inspect``. Default: all steps.
        batch_size: As in ``inspect``.
        seed: As in ``inspect``.
        int8: Boolean, whether to add the networks with 8-bit weights. Default True.

    Returns:
        An ``EnergyComparison``.

    Raises:
        TypeError: If ``models`` is not a dict of Keras models, or ``x`` can be read only once.
        ValueError: If ``models`` is empty, if there are labels of several outputs, if a model cannot be copied for
            8-bit weights or is already quantized, or for arguments that ``inspect`` refuses.

    Example:

    ```python
    comparison = keras_snn.compare_energy({"SNN": spiking, "ANN": ann}, x_test, y_test, dt=0.1)
    print(comparison)
    comparison.plot("energy.png")
    ```
    """
    if not isinstance(models, Mapping) or not models:
        kind = TypeError if not isinstance(models, Mapping) else ValueError
        raise kind(
            f"`models` must be a dict from a name to each Keras model, such as {{'SNN': a, 'ANN': b}}; got {models!r}."
        )
    for model in models.values():
        check_model(model)
    batches = Batches(x, y, batch_size=batch_size)
    batches.need_several_passes("compare_energy")
    outputs = sorted(batches.first(1).y)
    if len(outputs) > 1:
        raise ValueError(
            f"`y` must hold the labels of one output; got those of {outputs}. Give a dict with one of them."
        )
    options = {"dt": dt, "n_steps": n_steps, "batch_size": batch_size, "seed": seed}
    rows, notes = [], []
    for name, model in models.items():
        for bits in (32, 8) if int8 else (32,):
            spiking, accuracy, work, of_model = _measure(
                _rounded(model) if bits == 8 else model, batches, x, y, options
            )
            rows.append(EnergyRow(str(name), bits, spiking, accuracy, work))
            notes += [f"{name}: {note}" for note in of_model if bits == 32]
    return EnergyComparison(rows, notes)


def _measure(model, batches, x, y, options):
    """Return whether the model spikes, its accuracy, the ``Work`` of each layer call, and notes."""
    first = batches.first(graph.static_batch_size(model) or 1)
    output = next(iter(first.y), None)
    with probe.left_as_it_was(model):
        axis = graph.TimeAxis(model, first.x)
        spiking = bool(axis.emitters)
        synapses = {} if spiking else spike_reach(axis)
    if spiking:
        (result,) = inspect(model, x, y, examples=0, verbose=0, **options)
        return True, result.accuracies.get(output), result.work, result.notes
    if any(call.spikes is not None for call in synapses.values()):
        raise ValueError(
            f"The model {model.name!r} has encoders, but no spiking layer that `inspect` can measure. Add a layer such "
            "as keras_snn.IF, or leave the model out of `models`."
        )
    work = {name: call.work() for name, call in synapses.items() if call.dense_connections or call.neurons}
    accuracy = None if output is None else accuracy_of(model, batches, output)
    return False, accuracy, work, notes_on_work(synapses)


def _rounded(model):
    """Return a copy of a model whose kernels are rounded to 8 bits."""
    quantized = [layer.name for layer in model._flatten_layers() if getattr(layer, "quantization_mode", None)]
    if quantized or not graph.is_graph(model):
        reason = f"its layers {', '.join(quantized)} are quantized" if quantized else "it is a subclassed model"
        raise ValueError(
            f"The model {model.name!r} cannot be copied with 8-bit weights: {reason}. Give a Sequential or functional "
            "model with floating-point weights, or int8=False."
        )
    new = keras.models.clone_model(
        uncompiled(model), clone_function=lambda layer: from_config(layer, layer.get_config()), recursive=True
    )
    set_weights(new, model.get_weights())
    for layer in new._flatten_layers():
        for variable in (*layer._trainable_variables, *layer._non_trainable_variables):  # without those of inner layers
            if variable.name.endswith("kernel"):
                kernel = ops.convert_to_numpy(variable).astype("float64")
                scale = np.abs(kernel).max(axis=_input_axes(layer, variable), keepdims=True) / 127
                steps = np.round(np.divide(kernel, scale, out=np.zeros_like(kernel), where=scale > 0))
                variable.assign((steps * scale).astype("float32"))
    return new


def _input_axes(layer, kernel):
    """Return the axes of a kernel that do not number output channels."""
    rank = len(kernel.shape)
    if isinstance(layer, keras.layers.EinsumDense):
        _, kernel_axes, output_axes = einsum_axes(layer)
        return tuple(axis for axis, name in enumerate(kernel_axes) if name not in output_axes)
    if isinstance(layer, DEPTHWISE) or kernel.name == "depthwise_kernel":
        return tuple(range(rank - 2))
    output = rank - 2 if isinstance(layer, TRANSPOSED) else rank - 1
    return tuple(axis for axis in range(rank) if axis != output)
