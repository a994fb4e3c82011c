"""SpikeHealth: silent and saturated layers, rates and gradients after each epoch."""

import math
import warnings
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_snn import checks, graph, probe
from keras_snn.data.arrays import as_array
from keras_snn.fingerprint import cache_of_models, fingerprint
from keras_snn.hints import Nest, Tensor
from keras_snn.inspector.advice import advice
from keras_snn.inspector.measurement import add_statistics, layer_report
from keras_snn.ops.backend import gradient, inference, with_pullback
from keras_snn.ops.precision import to_float
from keras_snn.ops.statistics import summarise, tally


@keras.saving.register_keras_serializable(package="keras_snn")
class SpikeHealth(keras.callbacks.Callback):
    """Report after each epoch whether the spiking layers of a model are silent, saturated, or without a gradient.

    The model runs on a fixed sample, in inference mode. For each call of a spiking layer, these values are added to the
    ``logs`` of the epoch. The history of ``fit`` holds them, and callbacks that stand after this one, such as
    ``TensorBoard`` and ``CSVLogger``, log them:

    - ``<layer>_silent``: fraction of the units without a spike in the sample.
    - ``<layer>_saturated``: fraction of the units with a spike at every step of the sample.
    - ``<layer>_rate``: mean firing rate, Hz.
    - ``<layer>_gradient_norm``, with ``y``: Euclidean norm of the gradient of the loss by the layer's inputs, behind
      the surrogate. The loss is that of ``compile``. If the norm is zero, no earlier weight learns through this layer.

    A warning with advice is raised once per training for a layer that is silent or saturated, whose gradient is
    exactly zero, or whose values are not finite.

    Args:
        x: Array ``(samples, ...)``, or a nest of them for several inputs: a small fixed sample, such as 64 samples.
        y: Labels of ``x`` as in ``fit``. None: no gradients. Default None.
        warn_above: Number in (0, 1]. A layer with this fraction of silent units is silent, and the same for saturated.
            Default 0.9.
        stop: Boolean. True: end the training at the first warning. Default False.

    Raises:
        ValueError: If ``x`` and ``y`` have different numbers of samples or a number is out of range; in training, if
            the model calls no spiking layer or cannot run on ``x``.

    Example:

    ```python
    model = keras.Sequential([
        keras_snn.Repeat(8),
        keras.layers.Dense(32, kernel_initializer=keras.initializers.VarianceScaling(4)),
        keras_snn.LIF(name="hidden"),
        keras.layers.Dense(3),
    ])
    model.compile("adam", "mse")
    x, y = np.random.rand(128, 20), np.random.rand(128, 8, 3)
    health = keras_snn.callbacks.SpikeHealth(x[:32], y[:32])
    history = model.fit(x, y, epochs=2, verbose=0, callbacks=[health])
    len(history.history["hidden_silent"])  # 2
    sorted(health.measure(model)["hidden"])  # ["gradient_norm", "rate", "saturated", "silent"]
    ```
    """

    def __init__(self, x: Nest, y: Nest = None, *, warn_above: float = 0.9, stop: bool = False) -> None:
        super().__init__()
        self.x, self.y = _arrays(x), None if y is None else _arrays(y)
        n_samples = checks.arrays("x", self.x)
        if y is not None and checks.arrays("y", self.y) != n_samples:
            raise ValueError(
                f"`y` must have a label for each of the {n_samples} samples of `x`; got {checks.arrays('y', self.y)}."
            )
        self.warn_above = checks.number("warn_above", warn_above, above=0, most=1)
        self.stop = stop
        self._warned: set[tuple[str, str]] = set()

    def on_train_begin(self, logs=None):
        self._warned.clear()

    def on_epoch_end(self, epoch, logs=None):
        layers = self.measure(self.model)
        for name, values in layers.items():
            if logs is not None:
                logs.update({f"{name}_{quantity}": value for quantity, value in values.items()})
            state = self._state(values)
            if state is None or (name, state) in self._warned:
                continue
            self._warned.add((name, state))
            description = _DESCRIPTIONS[state].format(name=name, share=values.get(state))
            warnings.warn(f"Epoch {epoch + 1}: {description} {advice(state, self.model)}", stacklevel=2)
            if self.stop:
                self.model.stop_training = True

    def measure(self, model: keras.Model) -> dict[str, dict[str, float]]:
        """Return the values of a model without training: a dict from each layer call to "silent", "saturated", "rate".

        With ``y`` also "gradient_norm"; the model must then be compiled with a loss.
        """
        probe.sync(model)
        cache = _cache(model, fingerprint(model))
        y = () if self.y is None else self.y
        shapes = tuple((a.shape, str(a.dtype)) for a in tree.flatten((self.x, y)))
        if shapes not in cache:
            cache[shapes] = _Pass(model, self.x, has_labels=self.y is not None)
        return cache[shapes](self.x, y)

    def _state(self, values):
        """Return the state of a layer that needs a warning, or None."""
        if not np.isfinite(list(values.values())).all():
            return "not finite"
        if max(values["silent"], values["saturated"]) >= self.warn_above:
            return "silent" if values["silent"] >= self.warn_above else "saturated"
        return "zero gradient" if values.get("gradient_norm") == 0 else None

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as a dict for ``from_config``. The sample is part of it."""
        serialize = keras.saving.serialize_keras_object
        return {"x": serialize(self.x), "y": serialize(self.y), "warn_above": self.warn_above, "stop": self.stop}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SpikeHealth":
        """Return the callback for a dict of ``get_config``."""
        deserialize = keras.saving.deserialize_keras_object
        return cls(**{**config, "x": deserialize(config["x"]), "y": deserialize(config["y"])})


class _Pass:
    """One forward pass, and with labels one backward pass, of a model on a sample: compiled once."""

    def __init__(self, model, x, *, has_labels):
        self.model, self.has_labels = model, has_labels
        self.emitters = graph.TimeAxis(model, x).emitters
        if not self.emitters:
            raise ValueError(f"The model {model.name!r} calls no spiking layer of keras_snn.")
        self.names = list(self.emitters)
        self._run = inference(self._call, model)

    def _call(self, n_steps, x, y, index):
        del n_steps

        def loss_and_counts(taps):
            finite, emitted = [], {}

            def record_inputs(layer, inputs):
                # A zero with the layer's gradient: `gradient` then returns the squared norm for this entry of `taps`.
                zero = with_pullback(ops.zeros_like(inputs), taps[len(finite)], _squared_norm)
                finite.append(ops.all(ops.isfinite(inputs)))
                return inputs + zero

            def record(layer, spikes, mask=None):
                emitted[probe.unique(layer.name, emitted)] = layer.in_hertz(spikes), layer.dt, mask

            with probe.scope(record=record, record_inputs=record_inputs, sample_index=index, seed=0):
                outputs = self.model(x, training=False)
                n_steps = max(spikes.shape[1] for spikes, *_ in emitted.values())
                counts = {name: summarise(c) for name, c in tally(emitted, n_steps).items()}
                loss = self._loss(x, y, outputs) if self.has_labels else ops.sum(taps)
            return loss, (counts, ops.stack(finite))

        taps = ops.zeros((len(self.names),), "float32")
        return gradient(loss_and_counts, taps, self.model.variables)

    def _loss(self, x, y, outputs):
        return ops.cast(self.model.compute_loss(x=x, y=y, y_pred=outputs, training=False), "float32")

    def __call__(self, x, y):
        index = np.arange(len(tree.flatten(x)[0]), dtype="int32")
        with probe.left_as_it_was(self.model):
            squares, (counts, finite) = self._run(
                None, *(tree.map_structure(ops.convert_to_tensor, a) for a in (x, y, index))
            )
        norms = np.sqrt(ops.convert_to_numpy(squares).astype("float64"))
        rows = zip(self.names, norms.tolist(), ops.convert_to_numpy(finite), strict=True)
        return {name: self._values(name, counts[name], norm, is_finite, len(index)) for name, norm, is_finite in rows}

    def _values(self, name, counts, gradient_norm, is_finite, n_samples):
        layer, units, _ = self.emitters[name]
        counts = {key: np.asarray(ops.convert_to_numpy(value)) for key, value in counts.items()}
        report = layer_report(add_statistics(None, counts), to_float(layer.dt), units, n_samples)
        values = {"silent": report.silent, "saturated": report.saturated, "rate": report.rate.mean}
        if counts["infinite"].any() or not is_finite:
            values = dict.fromkeys(values, math.nan)
        return {**values, "gradient_norm": gradient_norm} if self.has_labels else values


_cache = cache_of_models(1)
_DESCRIPTIONS = {
    "silent": "{share:.0%} of the units of {name!r} are silent (no spike in the sample).",
    "saturated": "{share:.0%} of the units of {name!r} are saturated (a spike at every step of the sample).",
    "zero gradient": "The gradient of the loss by the inputs of {name!r} is zero: no earlier weight learns from it.",
    "not finite": "Inputs, spikes or gradients of {name!r} are not finite.",
}


def _squared_norm(upstream: Tensor, tap: Tensor) -> Tensor:
    return ops.cast(ops.sum(ops.square(ops.cast(upstream, "float32"))), tap.dtype)


def _arrays(nest):
    """Return a nest of NumPy arrays; floats in Keras's float type, as ``fit`` converts them."""
    nest = tree.map_structure(as_array, nest)
    return tree.map_structure(lambda a: a.astype(keras.config.floatx()) if a.dtype.kind == "f" else a, nest)
