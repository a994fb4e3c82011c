"""Compare the spike rates of a converted model with the activations of the ANN, layer by layer."""

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from keras_snn import checks, graph, layers, probe, text_table
from keras_snn.conversion.calibration import record_outputs
from keras_snn.data.batches import Batches
from keras_snn.files import save_figure, write_text
from keras_snn.hints import Nest
from keras_snn.inspector.panels import open_axis
from keras_snn.inspector.tables import as_html, percent
from keras_snn.ops.precision import to_float

_HEADER = ("layer", "scale", "activation", "rate", "correlation", "error", "clipped", "spikes a step")


@dataclass(frozen=True)
class LayerFit:
    """The rates of a neuron layer, and the activations of the ANN that they represent.

    Attributes:
        name: Name of the call in the ANN.
        scale: The activation of one spike; the mean over the channels.
        activation: Mean activation.
        rate: Mean rate over time, units and samples, multiplied by ``scale``.
        correlation: Pearson correlation of activations and rates, over units and samples; None if one is constant.
        error: Root mean square of the differences, divided by that of the activations; None if all activations are 0.
        clipped: Fraction of the activations above the limit of the neuron. The limit of "if" is the threshold from the
            calibration. The limit of "lif" is one spike after each refractory period. A spiking activation has no
            limit, because it can spike several times in a step: its fraction is 0.
        spikes_per_step: Mean number of spikes of a unit and step.
    """

    name: str
    scale: float
    activation: float
    rate: float
    correlation: float | None
    error: float | None
    clipped: float
    spikes_per_step: float


@dataclass(frozen=True)
class ConversionReport:
    """The result of ``report``. ``layers[name]`` is a ``LayerFit``."""

    n_steps: int
    n_samples: int
    layers: dict[str, LayerFit]

    def table(self) -> str:
        """Return a text table with a row for each layer, in the order of the calls."""
        return "\n".join([f"{self.n_samples:,} samples, {self.n_steps} steps", *text_table.plain(self._rows())])

    __str__ = table

    def _repr_html_(self):
        return as_html(self._rows(), f"Activations and spike rates: {self.n_samples:,} samples, {self.n_steps} steps")

    def to_dict(self) -> dict[str, Any]:
        """Return the report as nested dicts of Python numbers."""
        fits = {name: asdict(fit) for name, fit in self.layers.items()}
        return {"n_steps": self.n_steps, "n_samples": self.n_samples, "layers": fits}

    def save(self, path: str | os.PathLike) -> None:
        """Write the report as JSON."""
        write_text(path, json.dumps(self.to_dict(), indent=1) + "\n")

    def plot(self, path: str | os.PathLike | None = None) -> Any:
        """Draw the correlation and the error of each layer.

        Args:
            path: Path of the image file. Default: no file.

        Returns:
            Matplotlib figure.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 1.2 + 0.35 * len(self.layers)), layout="constrained")
        axes = figure.subplots(1, 2, sharey=True)
        names = list(self.layers)
        for axis, attribute in zip(axes, ("correlation", "error"), strict=True):
            values = [getattr(fit, attribute) for fit in self.layers.values()]
            axis.barh(names, [np.nan if value is None else value for value in values], color="C0")
            open_axis(axis)
        axes[0].set(xlabel="correlation of activation and rate", xlim=(0, 1))
        axes[1].set_xlabel("relative error of the rates")
        axes[0].invert_yaxis()
        if path is not None:
            save_figure(figure, path)
        return figure

    def _rows(self):
        rows: list[tuple[str, ...]] = [_HEADER]
        for fit in self.layers.values():
            numbers = (fit.scale, fit.activation, fit.rate, fit.correlation, fit.error)
            cells = ("-" if value is None else f"{value:.4g}" for value in numbers)
            rows.append((fit.name, *cells, percent(fit.clipped), f"{fit.spikes_per_step:.3f}"))
        return rows


def report(
    model: keras.Model,
    converted: keras.Model,
    x: Nest,
    *,
    n_steps: int | None = None,
    batch_size: int | None = None,
    steps_at_once: int | None = None,
) -> ConversionReport:
    """Compare the activations of an ANN with the spike rates of the model that ``convert`` returned for it.

    Accuracy is lost in the first layer with a low correlation. If many of its activations are clipped, use a higher
    percentile. If its rates are small, use a lower percentile, ``per="channel"`` or more steps. More steps give finer
    rates, but do not change the clipped fraction: check it if the accuracy rises with the steps and then falls.

    Args:
        model: The ANN.
        converted: The result of ``convert``, a copy of it, or the model loaded from a file.
        x: Inputs as for Keras's ``evaluate``: an array ``(samples, ...)``, tensor or pandas object, or a nest of them
            for several inputs; or data in batches: a ``tf.data.Dataset``, ``keras.utils.PyDataset``, PyTorch
            ``DataLoader`` or generator, whose labels are ignored. Some hundred samples suffice.
        n_steps: Integer. Default: the number of steps of ``converted``.
        batch_size: Integer, for arrays. Default: about 128. Must be None for data in batches.
        steps_at_once: Integer, number of time steps in memory. Default: as many as fit in some hundred MB.

    Returns:
        ``ConversionReport``, with ``table()``, ``to_dict()``, ``save(path)`` and ``plot(path)``.

    Raises:
        TypeError: If ``x`` is neither arrays nor data in batches.
        ValueError: If ``converted`` was not converted from ``model``, or its layers have no ``stands_for``, as in files
            of earlier versions; for empty or endless data, or batches of different structure.

    Example:

    ```python
    spiking = keras_snn.convert(ann, n_steps=32, calibration=x[:500])
    print(keras_snn.conversion.report(ann, spiking, x_test[:500]).table())
    ```
    """
    neurons = _neurons(model, converted)
    names = {name: node.name for name, node in neurons.items()}
    units = {name: np.asarray(node.layer.stands_for[1]) for name, node in neurons.items()}
    sums = {name: _Sums() for name in names}
    batches = Batches(x, batch_size=batch_size, inputs_only=True)
    axis = graph.TimeAxis(converted, batches.first(1).x, n_steps=n_steps)
    steps_at_once = checks.integer("steps_at_once", steps_at_once, least=1, optional=True)
    for batch in batches:
        activations = record_outputs(model, batch, set(names))
        spikes = _sums_over_time(axis, batch, set(names.values()), steps_at_once or axis.steps_at_once(batch.n_samples))
        for name, neuron in neurons.items():
            total, size = spikes[neuron.name]
            rates = total / axis.n_steps * units[name]
            sums[name].add(activations[name], rates, _limit(neuron.layer, units[name]))
            sums[name].spikes += size / axis.n_steps * to_float(neuron.layer.spike_unit)
    fits = {name: layer_sums.fit(name, units[name]) for name, layer_sums in sums.items()}
    return ConversionReport(axis.n_steps, batches.n_samples or 0, fits)


def _sums_over_time(axis, batch, names, steps_at_once):
    """Return a dict from the name of each call to the sum of its spikes over time, and of their absolute values."""
    sums: dict[str, tuple[Any, float]] = dict.fromkeys(names, (0, 0.0))
    carry = probe.Carry()
    for n in axis.parts(steps_at_once):
        outputs = record_outputs(axis.model, batch, names, carry=carry, **axis.scope_of(n))
        for name, spikes in outputs.items():
            total, size = sums[name]
            sums[name] = total + spikes.sum(axis=1, dtype="float64"), size + float(np.abs(spikes).sum())
        carry = probe.Carry(carry.ended)
    return sums


def _neurons(model, converted):
    """Return a dict from the name of each converted call in the ANN to the ``graph.Node`` of its neurons."""
    neurons = {node.layer.stands_for[0]: node for node in graph.trace(converted).nodes if _stands_for(node.layer)}
    if not neurons:
        raise ValueError(
            f"`converted` must be a result of keras_snn.convert; {converted.name!r} has no neurons with `stands_for`. "
            "If it comes from a file of an earlier version, convert the ANN again."
        )
    shapes = {node.name: node.output_shapes[0] for node in graph.trace(model).nodes}
    # The neurons also have a time axis.
    unmatched = [name for name, node in neurons.items() if shapes.get(name, ())[1:] != node.output_shapes[0][2:]]
    if unmatched:
        raise ValueError(
            f"`converted` must be converted from {model.name!r}; the neurons of {converted.name!r} represent the calls "
            f"{', '.join(map(repr, unmatched))}, and {model.name!r} has no such calls with the same shapes."
        )
    return {name: neurons[name] for name in shapes if name in neurons}


def _stands_for(layer):
    return getattr(layer, "stands_for", None)


def _limit(layer, unit):
    """Return the maximum activation that a neuron can represent."""
    return np.inf if isinstance(layer, layers.SpikingActivation) else unit / (1 + layer.refractory)


class _Sums:
    """Sums over the units and samples of a layer."""

    def __init__(self):
        self.n, self.clipped, self.spikes = 0, 0, 0.0
        self.moments = np.zeros(5)

    def add(self, activations, rates, limit):
        """Add the activations and rates of a batch."""
        a, b = activations.astype("float64"), rates.astype("float64")
        self.n += a.size
        self.moments += [a.sum(), b.sum(), (a * a).sum(), (b * b).sum(), (a * b).sum()]
        self.clipped += int((a > limit).sum())

    def fit(self, name, unit):
        """Return the ``LayerFit`` of all batches."""
        a, b, aa, bb, ab = self.moments / self.n
        spread = np.sqrt(max(aa - a * a, 0) * max(bb - b * b, 0))
        difference = np.sqrt(max(aa + bb - 2 * ab, 0))
        return LayerFit(
            name=name,
            scale=float(np.mean(unit)),
            activation=float(a),
            rate=float(b),
            correlation=float((ab - a * b) / spread) if spread > 0 else None,
            error=float(difference / np.sqrt(aa)) if aa > 0 else None,
            clipped=self.clipped / self.n,
            spikes_per_step=self.spikes / self.n,
        )
