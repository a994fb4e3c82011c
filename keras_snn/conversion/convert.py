"""Convert an ANN to a spiking network."""

import functools
import itertools
import math
from dataclasses import dataclass

import keras
import numpy as np
from keras import tree

from keras_snn import activations, checks, layers
from keras_snn.config import default
from keras_snn.conversion.calibration import activation_scales
from keras_snn.conversion.copies import compile_like, config_of_copy, folded, set_weights
from keras_snn.conversion.plan import (
    AVERAGE_POOLINGS,
    LINEAR,
    MAX_POOLINGS,
    MERGES,
    PADDINGS,
    ceiling,
    has_channels_last,
    lif_constants,
    plan,
)
from keras_snn.hints import Nest

NEURONS = ("if", "lif", "spiking_activation")


def convert(
    model: keras.Model,
    *,
    n_steps: int,
    neuron: str = "if",
    calibration: Nest = None,
    percentile: float = 99.9,
    per: str = "layer",
    initial_potential: float = 0.5,
    scale_firing_rates: float = 1.0,
    synapse: float | None = None,
    dt: float | None = None,
    batch_size: int | None = None,
) -> keras.Model:
    """Convert a trained ANN to a spiking network that runs for ``n_steps`` time steps.

    The layers before the first activation run once; their output is the constant input current of all steps. The
    outputs of the last layer are averaged over time, and the last activation, such as a softmax, is computed from the
    average. All other layers run at every step. Batch normalization is folded into the layer before it, dropout is
    removed, and max pooling passes on the spikes of the unit with the most spikes so far (``layers.MaxRatePooling``).

    ======================  =====================================  =================================================
    neuron                  activations                            activation of one spike
    ======================  =====================================  =================================================
    "if"                    relu                                   the threshold: a percentile of the activations in
                                                                   the calibration data; reset by subtraction
    "spiking_activation"    any elementwise function               ``1 / (dt scale_firing_rates)``
    "lif"                   ``lif_rate``, ``soft_lif``             ``amplitude / dt``
    ======================  =====================================  =================================================

    Spikes of "if" and "lif" are 0 or 1. The next weights are multiplied by the activation of one spike. If no weights
    follow, as at an addition of layers with different thresholds, a ``Rescaling`` is inserted.

    The result is an ordinary Keras model: it can be saved, loaded, evaluated, inspected, and trained with surrogate
    gradients. It has no regularizers and no constraints, because its weights have other scales. A layer that is called
    several times is copied for each call. ``stands_for`` of each neuron layer is the name of the converted call in the
    ANN, and the activation of one spike. It is in the layer's config, and therefore in copies and loaded models.

    Args:
        model: A built Sequential or functional Keras model; it may contain such models. It is not changed.
        n_steps: Integer > 0, number of time steps.
        neuron: "if", "lif" or "spiking_activation".
        calibration: Inputs as for Keras's ``evaluate``: an array ``(samples, ...)``, tensor or pandas object, or a nest
            of them for several inputs; or data in batches: a ``tf.data.Dataset``, ``keras.utils.PyDataset``, PyTorch
            ``DataLoader`` or generator, whose labels are ignored. Some hundred samples suffice. Required for
            "if".
        percentile: Number in (0, 100]: the threshold is this percentile of the positive activations of a layer. Units
            with a larger activation spike at every step. Default 99.9; 100 is the maximum.
        per: "layer" or "channel": a threshold for each layer, or for each index of the last axis.
        initial_potential: Number in [0, 1), the initial membrane potential divided by the threshold ("if" only).
            Default 0.5, with which rates are rounded to the nearest value, not down.
        scale_firing_rates: Number > 0, a factor of all rates ("spiking_activation" only). More spikes bring the rates
            closer to the activations. More steps do not: the activation function acts on the input of each step, which
            fluctuates with the spikes. Default 1.
        synapse: Number in seconds, the time constant of a ``layers.Lowpass`` after each neuron layer, which smooths the
            input of the next layer ("spiking_activation" and "lif", whose functions are not linear). Choose a duration
            of several time constants: the average includes the first steps, when the filter is not yet at its level.
            Default None, no filter.
        dt: Number in seconds. Default ``keras_snn.default.dt``. With "if" it only sets the rate in Hz of the spikes.
        batch_size: Integer, for arrays of ``calibration``. Default: about 128. Must be None for data in batches.

    Returns:
        ``keras.Model`` with the inputs and outputs of ``model``, compiled with the same arguments. If its loss or
        metrics are functions that are not registered with Keras, the result is not compiled, with a warning.

    Raises:
        TypeError: If ``model`` is subclassed, or not built.
        ValueError: If layers cannot be converted: the error lists them all, with a solution for each. Or for an
            argument out of its range.

    Example:

    ```python
    spiking = keras_snn.convert(ann, n_steps=32, calibration=x[:500])
    print(keras_snn.inspect(spiking, x_test, y_test, n_steps=[8, 32, 128]).table())
    print(keras_snn.conversion.report(ann, spiking, x_test[:500]).table())
    ```

    References: Diehl et al. 2015, IJCNN (thresholds from data); Rueckauer et al. 2017, Front. Neurosci. 11, 682
    (reset by subtraction, percentiles); Bu et al. 2022, AAAI, arXiv:2202.01440 (the initial potential).
    """
    _check(n_steps, neuron, calibration, percentile, per, initial_potential, scale_firing_rates, synapse)
    conversion_plan = plan(model, neuron)
    dt = default.dt if dt is None else dt
    names = [stage.activation_name or "" for stage in conversion_plan.stages if stage.spikes]
    if neuron == "if":
        scales = activation_scales(model, names, calibration, percentile=percentile, per=per, batch_size=batch_size)

    def make(stage, **options):
        """Return the neuron layer of a stage, and the activation of one spike."""
        function = stage.activation
        if neuron == "if":
            unit = np.minimum(scales[stage.activation_name], ceiling(function) or np.inf)
            neurons = functools.partial(_integrate_and_fire, unit, initial_potential)
        elif neuron == "lif":
            rate = lif_constants(function)
            unit, tau = rate.amplitude / dt, 1 / -math.expm1(-dt / rate.tau_rc)
            neurons = functools.partial(layers.LIF, tau=tau, refractory=round(rate.tau_ref / dt))
        else:
            unit = 1 / scale_firing_rates
            scaled = function if scale_firing_rates == 1 else activations.Scaled(function, scale_firing_rates)
            neurons = functools.partial(layers.SpikingActivation, scaled)
        return neurons(dt=dt, stands_for=(stage.activation_name, unit), **options), unit

    inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name) for x in model.inputs]
    make_filter = None if synapse is None else functools.partial(layers.Lowpass, synapse, dt=dt)
    outputs = _Builder(conversion_plan, int(n_steps), make, make_filter).build(inputs)
    if isinstance(model, keras.Sequential):
        (inputs,), (outputs,) = inputs, outputs
    else:
        inputs, outputs = tree.pack_sequence_as(model.input, inputs), tree.pack_sequence_as(model.output, outputs)
    converted = keras.Model(inputs, outputs, name=f"{model.name}_spiking")
    compile_like(converted, model)
    return converted


def _layer_name(name):
    return name.replace(" (call ", "_call_").replace(")", "")


def _integrate_and_fire(threshold, initial_potential, **options):
    options |= {"reset": "subtract", "initial_potential": initial_potential}
    if not np.ndim(threshold):
        return layers.IF(threshold=float(threshold), **options)
    return layers.IF(threshold=keras.initializers.Constant(threshold.tolist()), per="channel", **options)


@dataclass
class _Value:
    """A tensor of the converted model.

    Attributes:
        tensor: Symbolic tensor.
        timed: Boolean, whether it has a time axis.
        unit: The value in the ANN of 1 in the tensor: a number, or an array along the last axis.
    """

    tensor: keras.KerasTensor
    timed: bool = False
    unit: float | np.ndarray = 1.0


class _Builder:
    """Build the layers of each stage of a plan."""

    def __init__(self, conversion_plan, n_steps, make_neuron, make_synapse):
        self.plan = conversion_plan
        self.n_steps = n_steps
        self.make_neuron = make_neuron
        self.make_synapse = make_synapse
        self.values = {}
        self.names = set()
        self.outputs = {}  # the layer name of each output value; a value that is two outputs has one name
        for number, name in zip(conversion_plan.outputs, conversion_plan.output_names, strict=True):
            if number not in self.outputs:
                self.outputs[number] = self._name(name)
        self.dtype = None  # dtype policy of the layer in conversion

    def build(self, inputs):
        """Return the list of the output tensors."""
        self.values = {number: _Value(x) for number, x in zip(self.plan.inputs, inputs, strict=True)}
        sources = {}
        for stage in self.plan.stages:
            self.dtype = stage.layer.dtype_policy
            value = self._convert(stage, [self.values[x] for x in stage.inputs])
            self.values[stage.output] = self._fire(stage, value) if stage.spikes else value
            sources[stage.output] = stage
        outputs = {
            number: self._read_out(self.values[number], sources.get(number), name)
            for number, name in self.outputs.items()
        }
        return [outputs[number] for number in self.plan.outputs]

    def _name(self, name):
        """Return an unused layer name that begins with ``name``."""
        candidates = itertools.chain([name], (f"{name}_{i}" for i in itertools.count(2)))
        unused = next(candidate for candidate in candidates if candidate not in self.names)
        self.names.add(unused)
        return unused

    def _convert(self, stage, values):
        layer, name = stage.layer, _layer_name(stage.node.name)
        if isinstance(layer, LINEAR):
            return self._linear(stage, name, *values)
        if stage.activation is not None:  # an activation layer that is not joined with a linear layer
            return self._to_ann_scale(*values)
        if isinstance(layer, MERGES):
            return self._merge(layer, name, values)
        (value,) = values
        if isinstance(layer, _AFFINE) or (np.ndim(value.unit) and not _preserves_channels(layer)):
            value = self._to_ann_scale(value)
        unit = value.unit
        if isinstance(layer, keras.layers.Flatten) and np.ndim(unit):
            unit = np.broadcast_to(unit, value.tensor.shape[1 + value.timed :]).reshape(-1)
        return _Value(self._apply(layer, layer.get_config(), value, name, layer.get_weights()), value.timed, unit)

    def _linear(self, stage, name, value):
        layer = stage.layer
        if np.ndim(value.unit) and not _can_scale_channels(layer):
            value = self._to_ann_scale(value)
        config = {**config_of_copy(layer), "activation": None}
        config["use_bias"] = layer.use_bias or stage.normalization is not None
        weights = folded(layer, value.unit, stage.normalization)
        return _Value(self._apply(layer, config, value, name, weights), value.timed)

    def _merge(self, layer, name, values):
        timed = any(value.timed for value in values)
        rank = max(len(value.tensor.shape) - value.timed for value in values)
        config = {**layer.get_config(), "name": self._name(name)}
        if all(np.array_equal(value.unit, values[0].unit) and not np.ndim(value.unit) for value in values):
            unit = values[0].unit
        elif config.get("axis") in (-1, rank - 1):
            unit = np.concatenate([np.broadcast_to(value.unit, value.tensor.shape[-1]) for value in values])
        else:
            values = [self._to_ann_scale(value) for value in values]
            unit = 1.0
        if timed:
            values = [self._expand(self._over_time(value), rank) for value in values]
            if config.get("axis", -1) > 0:
                config["axis"] += 1
        copy = layer.__class__.from_config(config)
        return _Value(copy([value.tensor for value in values]), timed, unit)

    def _expand(self, value, rank):
        """Insert axes of size 1 after time. Keras inserts them after the batch axis when it merges tensors."""
        missing = rank + 1 - len(value.tensor.shape)
        if not missing:
            return value
        reshape = keras.layers.Reshape((1,) * missing + value.tensor.shape[2:])
        fold = layers.TimeFold(reshape, name=self._name("expanded"), dtype=self.dtype)
        return _Value(fold(value.tensor), True, value.unit)

    def _fire(self, stage, value):
        self.dtype = stage.dtype
        value = self._over_time(self._to_ann_scale(value))
        name = f"{_layer_name(stage.activation_name)}_spikes"
        self.names.add(name)
        neuron, unit = self.make_neuron(stage, name=name, dtype=self.dtype)
        spikes = neuron(value.tensor)
        if self.make_synapse:
            spikes = self.make_synapse(name=self._name(f"{name}_smooth"), dtype=self.dtype)(spikes)
        return _Value(spikes, True, unit)

    def _read_out(self, value, stage, name):
        """Return the output tensor ``name`` of a value and its stage."""
        self.dtype = None if stage is None else stage.dtype
        function = None if stage is None or stage.spikes else stage.activation
        value = self._to_ann_scale(value)
        tensor = value.tensor
        if value.timed:
            average_name = name if function is None else self._name("mean_over_time")
            tensor = layers.TemporalAveragePooling(name=average_name, dtype=self.dtype)(tensor)
            if function is None:
                return tensor
        if isinstance(function, keras.layers.Layer):
            return function.__class__.from_config({**function.get_config(), "name": name})(tensor)
        return keras.layers.Activation(function, name=name, dtype=self.dtype)(tensor)

    def _to_ann_scale(self, value):
        """Rescale a value to the values of the ANN."""
        if not np.ndim(value.unit) and value.unit == 1:
            return value
        rescaling = keras.layers.Rescaling(value.unit, name=self._name("in_activations"), dtype=self.dtype)
        return _Value(rescaling(value.tensor), value.timed)

    def _over_time(self, value):
        if value.timed:
            return value
        repeat = layers.Repeat(self.n_steps, name=self._name("repeat"), dtype=self.dtype)
        return _Value(repeat(value.tensor), True, value.unit)

    def _apply(self, layer, config, value, name, weights):
        """Return the output of a copy of a layer for a value, at every step if the value has a time axis."""
        if not value.timed:
            copy = layer.__class__.from_config({**config, "name": self._name(name)})
            tensor = copy(value.tensor)
        else:
            fold = layers.MaxRatePooling if isinstance(layer, MAX_POOLINGS) else layers.TimeFold
            copy = layer.__class__.from_config({**config, "name": name})
            tensor = fold(copy, name=self._name(f"{name}_over_time"), dtype=self.dtype)(value.tensor)
        set_weights(copy, weights)
        return tensor


_AFFINE = (keras.layers.Rescaling, keras.layers.Normalization, keras.layers.BatchNormalization)


def _can_scale_channels(layer):
    return has_channels_last(layer) and getattr(layer, "groups", 1) == 1


def _preserves_channels(layer):
    preserving = (*MAX_POOLINGS, *AVERAGE_POOLINGS, *PADDINGS, keras.layers.Flatten, keras.layers.RepeatVector)
    return isinstance(layer, preserving) and has_channels_last(layer)


def _check(n_steps, neuron, calibration, percentile, per, initial_potential, scale_firing_rates, synapse):
    checks.integer("n_steps", n_steps, least=1)
    checks.choice("neuron", neuron, NEURONS)
    if neuron == "if" and calibration is None:
        raise ValueError(
            "`calibration` is needed for neuron='if', whose thresholds are computed from it: give some hundred inputs "
            "of the model, such as x_train[:500]."
        )
    checks.choice("per", per, ("layer", "channel"))
    checks.number("percentile", percentile, above=0, most=100)
    if not 0 <= initial_potential < 1:
        raise ValueError(
            f"`initial_potential` must be in [0, 1), a fraction of the threshold; got {initial_potential!r}."
        )
    checks.number("scale_firing_rates", scale_firing_rates, above=0)
    if synapse is not None and not synapse > 0:
        raise ValueError(f"`synapse` must be a time constant in seconds, > 0, or None; got {synapse!r}.")
    if synapse is not None and neuron == "if":
        raise ValueError("`synapse` is for 'spiking_activation' and 'lif': with 'if' it would only delay the spikes.")
    if scale_firing_rates != 1 and neuron != "spiking_activation":
        raise ValueError(
            f"`scale_firing_rates` is for neuron='spiking_activation'; with {neuron!r} the scale comes from "
            f"{'the calibration data' if neuron == 'if' else 'the amplitude of the rate function'}."
        )
