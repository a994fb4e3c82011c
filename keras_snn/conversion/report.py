"""How well the spike rates of a converted model follow the activations of the plain one, layer by layer."""

import json
from dataclasses import asdict, dataclass

import numpy as np

from keras_snn import checks, graph, layers, probe
from keras_snn.conversion.calibration import recorded
from keras_snn.data.batches import Batches
from keras_snn.files import save_figure, write_text
from keras_snn.inspector.tables import as_html, as_text, percent
from keras_snn.ops.precision import to_float

_HEADER = ("layer", "scale", "activation", "rate", "correlation", "error", "clipped", "spikes a step")


@dataclass(frozen=True)
class LayerFit:
    """One layer of neurons beside the activation that it stands for.

    Attributes:
        name: Name of the call of the plain model.
        scale: What one spike stands for, in units of the activation; a mean where channels differ.
        activation: Mean of the activation.
        rate: Mean of what the spikes stand for, over time, units and samples.
        correlation: Pearson's, of activations and rates, over units and samples; None where one of them never changes.
        error: Root of the mean squared difference, over the root of the mean squared activation; None if that is 0.
        clipped: Share of the activations above the limit of the neuron. The limit of "if" is the threshold, chosen by
            calibration. The limit of "lif" is one spike after each refractory period. A spiking activation has no
            limit, because it can spike several times in a step: its share is 0.
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
    """What ``report`` finds: ``report.layers[name]`` is a ``LayerFit``."""

    n_steps: int
    n_samples: int
    layers: dict

    def table(self):
        """Return a text table with a line for each layer, in the order of the network."""
        return "\n".join([f"{self.n_samples:,} samples, {self.n_steps} steps", *as_text(self._rows())])

    __str__ = table

    def _repr_html_(self):
        return as_html(self._rows(), f"Activations and spike rates: {self.n_samples:,} samples, {self.n_steps} steps")

    def to_dict(self):
        """Return the report as nested dicts of plain numbers."""
        fits = {name: asdict(fit) for name, fit in self.layers.items()}
        return {"n_steps": self.n_steps, "n_samples": self.n_samples, "layers": fits}

    def save(self, path):
        """Write the report as JSON."""
        write_text(path, json.dumps(self.to_dict(), indent=1) + "\n")

    def plot(self, path=None):
        """Draw correlation and error of each layer.

        Args:
            path: Path of a picture to write. Default: none.

        Returns:
            Matplotlib figure.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 1.2 + 0.35 * len(self.layers)), layout="constrained")
        axes = figure.subplots(1, 2, sharey=True)
        names = list(self.layers)
        for axis, what in zip(axes, ("correlation", "error"), strict=True):
            values = [getattr(fit, what) for fit in self.layers.values()]
            axis.barh(names, [np.nan if value is None else value for value in values], color="C0")
            axis.spines[["top", "right"]].set_visible(False)
        axes[0].set(xlabel="correlation of activation and rate", xlim=(0, 1))
        axes[1].set_xlabel("relative error of the rates")
        axes[0].invert_yaxis()
        if path is not None:
            save_figure(figure, path)
        return figure

    def _rows(self):
        rows = [_HEADER]
        for fit in self.layers.values():
            numbers = (fit.scale, fit.activation, fit.rate, fit.correlation, fit.error)
            shown = ("-" if value is None else f"{value:.4g}" for value in numbers)
            rows.append((fit.name, *shown, percent(fit.clipped), f"{fit.spikes_per_step:.3f}"))
        return rows


def report(model, converted, x, *, n_steps=None, batch_size=None, steps_at_once=None):
    """Compare the activations of a plain model with the spike rates of the model that ``convert`` made of it.

    The first layer whose correlation falls is where accuracy is lost: a large share of clipped activations asks for a
    higher percentile, a small rate for a lower one, for ``per="channel"`` or for more steps. More steps give finer
    rates, but clipped activations stay clipped: if accuracy rises with the steps and then falls, check the clipped
    share.

    Args:
        model: The plain model.
        converted: What ``convert`` made of it, or a copy, or that model loaded from a file.
        x: Inputs as for Keras's ``evaluate``: an array ``(samples, ...)``, tensor or pandas object, or a nest of them
            for several inputs; or data in batches: a ``tf.data.Dataset``, ``keras.utils.PyDataset``, PyTorch
            ``DataLoader`` or generator, whose labels are ignored. Some hundred samples suffice.
        n_steps: Integer. Default: what the model was converted with.
        batch_size: Integer, for arrays. Default: about 128. Must be None for data in batches.
        steps_at_once: Integer, number of time steps that are in memory together. Default: as many as fit in some
            hundred MB.

    Returns:
        ``ConversionReport``, with ``table()``, ``to_dict()``, ``save(path)`` and ``plot(path)``.

    Raises:
        TypeError: If ``x`` is neither arrays nor data in batches.
        ValueError: If ``converted`` was not made of ``model``, or does not say which activations its neurons stand for,
            as in files of earlier versions; for empty or endless data or batches of different structure.

    Example:

    ```python
    spiking = keras_snn.convert(plain, n_steps=32, calibration=x[:500])
    print(keras_snn.conversion.report(plain, spiking, x_test[:500]).table())
    ```
    """
    found = _neurons(model, converted)
    names = {name: node.name for name, node in found.items()}
    units = {name: np.asarray(node.layer.stands_for[1]) for name, node in found.items()}
    sums = {name: _Sums() for name in names}
    batches = Batches(x, batch_size=batch_size, inputs_only=True)
    axis = graph.TimeAxis(converted, batches.first(1).x, n_steps=n_steps)
    steps_at_once = checks.integer("steps_at_once", steps_at_once, least=1, optional=True)
    for batch in batches:
        activations = recorded(model, batch, set(names))
        spikes = _sums_over_time(axis, batch, set(names.values()), steps_at_once or axis.steps_at_once(batch.n_samples))
        for name, neuron in found.items():
            total, size = spikes[neuron.name]
            rates = total / axis.n_steps * units[name]
            sums[name].add(activations[name], rates, _limit(neuron.layer, units[name]))
            sums[name].spikes += size / axis.n_steps * to_float(neuron.layer.spike_unit)
    fits = {name: of.fit(name, units[name]) for name, of in sums.items()}
    return ConversionReport(axis.n_steps, batches.n_samples, fits)


def _sums_over_time(axis, batch, names, steps_at_once):
    """Return by name the sum over time of the spikes of calls, and the sum of their absolute values."""
    sums, carry = dict.fromkeys(names, (0, 0)), probe.Carry()
    for n in axis.parts(steps_at_once):
        found = recorded(axis.model, batch, names, carry=carry, **axis.scope_of(n))
        for name, spikes in found.items():
            total, size = sums[name]
            sums[name] = total + spikes.sum(axis=1, dtype="float64"), size + float(np.abs(spikes).sum())
        carry = probe.Carry(carry.ended)
    return sums


def _neurons(model, converted):
    """Return by the name of each call in the plain model the ``graph.Node`` of the neurons that stand for it."""
    found = {node.layer.stands_for[0]: node for node in graph.trace(converted).nodes if _stands_for(node.layer)}
    if not found:
        raise ValueError(
            f"{converted.name!r} has no neurons that stand for activations of a plain model. `converted` must be made "
            "by keras_snn.convert. If it comes from a file of an earlier version, convert the plain model again."
        )
    shapes = {node.name: node.output_shapes[0] for node in graph.trace(model).nodes}
    # The neurons have a time axis too.
    other = [name for name, node in found.items() if shapes.get(name, ())[1:] != node.output_shapes[0][2:]]
    if other:
        raise ValueError(
            f"{converted.name!r} was not converted from {model.name!r}: its neurons stand for the calls "
            f"{', '.join(map(repr, other))}, and {model.name!r} has no such calls of the same shapes."
        )
    return {name: found[name] for name in shapes if name in found}


def _stands_for(layer):
    return getattr(layer, "stands_for", None)


def _limit(layer, unit):
    """Return the largest activation that a neuron can represent, its limit."""
    return np.inf if isinstance(layer, layers.SpikingActivation) else unit / (1 + layer.refractory)


class _Sums:
    """Sums over the units and samples of one layer."""

    def __init__(self):
        self.n, self.clipped, self.spikes = 0, 0, 0.0
        self.moments = np.zeros(5)

    def add(self, a, b, limit):
        a, b = a.astype("float64"), b.astype("float64")
        self.n += a.size
        self.moments += [a.sum(), b.sum(), (a * a).sum(), (b * b).sum(), (a * b).sum()]
        self.clipped += int((a > limit).sum())

    def fit(self, name, unit):
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
