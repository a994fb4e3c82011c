"""How well the spike rates of a converted model follow the activations of the plain one, layer by layer."""

import json
from dataclasses import asdict, dataclass

import numpy as np
from keras import ops

from keras_snn import layers
from keras_snn.activations import Scaled
from keras_snn.conversion.calibration import recorded
from keras_snn.conversion.convert import neuron_name
from keras_snn.conversion.plan import lif_constants, plan
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


def report(model, converted, x, *, n_steps=None, batch_size=None):
    """Compare the activations of a plain model with the spike rates of the model that ``convert`` made of it.

    The first layer whose correlation falls is where accuracy is lost: a large share of clipped activations asks for a
    higher percentile, a small rate for a lower one, for ``per="channel"`` or for more steps. More steps give finer
    rates, but clipped activations stay clipped: if accuracy rises with the steps and then falls, check the clipped
    share.

    Args:
        model: The plain model.
        converted: What ``convert`` made of it.
        x: Inputs as for Keras's ``evaluate``: an array ``(samples, ...)``, tensor or pandas object, or a nest of them
            for several inputs; or data in batches: a ``tf.data.Dataset``, ``keras.utils.PyDataset``, PyTorch
            ``DataLoader`` or generator, whose labels are ignored. Some hundred samples suffice.
        n_steps: Integer. Default: what the model was converted with.
        batch_size: Integer, for arrays. Default: about 128. Must be None for data in batches.

    Returns:
        ``ConversionReport``, with ``table()``, ``to_dict()``, ``save(path)`` and ``plot(path)``.

    Raises:
        TypeError: If ``x`` is neither arrays nor data in batches.
        ValueError: If ``converted`` was not made of ``model``; for empty or endless data or batches of different
            structure.

    Example:

    ```python
    spiking = keras_snn.convert(plain, n_steps=32, calibration=x[:500])
    print(keras_snn.conversion.report(plain, spiking, x_test[:500]).table())
    ```
    """
    neurons = {layer.name: layer for layer in converted.layers}
    kind = next((kind for cls, kind in _KINDS if any(isinstance(layer, cls) for layer in neurons.values())), "if")
    calls = [call for call in plan(model, kind).stages if call.spikes]
    missing = [neuron_name(call.activation_name) for call in calls if neuron_name(call.activation_name) not in neurons]
    if missing:
        raise ValueError(
            f"{converted.name!r} was not converted from {model.name!r}: it lacks {', '.join(map(repr, missing))}."
        )
    names = {call.activation_name: neuron_name(call.activation_name) for call in calls}
    units = {call.activation_name: _unit(neurons[names[call.activation_name]], call.activation) for call in calls}
    sums = {name: _Sums() for name in names}
    scope = {"n_steps": n_steps}
    batches = Batches(x, batch_size=batch_size, inputs_only=True)
    for batch in batches:
        activations = recorded(model, batch, set(names))
        spikes = recorded(converted, batch, set(names.values()), **scope)
        for name, spikes_name in names.items():
            train = spikes[spikes_name]
            layer, n_steps = neurons[spikes_name], train.shape[1]
            sums[name].add(activations[name], train.mean(axis=1) * units[name], _limit(layer, units[name]))
            sums[name].spikes += float(np.abs(train).sum()) / n_steps * to_float(layer.spike_unit)
    fits = {name: of.fit(name, units[name]) for name, of in sums.items()}
    return ConversionReport(n_steps, batches.n_samples, fits)


_KINDS = ((layers.SpikingActivation, "spiking_activation"), (layers.LIF, "lif"), (layers.IF, "if"))


def _unit(layer, activation):
    """Return what 1 in the outputs of a layer of neurons stands for."""
    if isinstance(layer, layers.IF):
        return np.asarray(ops.convert_to_numpy(ops.convert_to_tensor(layer.threshold)), "float64")
    if isinstance(layer, layers.LIF):
        return lif_constants(activation).amplitude / to_float(layer.dt)
    return 1 / layer.activation.scale if isinstance(layer.activation, Scaled) else 1.0


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
