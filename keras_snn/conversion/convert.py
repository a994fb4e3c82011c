"""From a plain model to one that runs over time."""

import functools
import math
from dataclasses import dataclass

import keras
import numpy as np
from keras import tree

from keras_snn import activations, layers
from keras_snn.config import default
from keras_snn.conversion.calibration import activation_scales
from keras_snn.conversion.plan import AVERAGE_POOLINGS, LINEAR, MAX_POOLINGS, MERGES, ceiling, lif_constants, plan
from keras_snn.energy.connections import DEPTHWISE, TRANSPOSED

NEURONS = ("if", "lif", "spiking_activation")


def convert(
    model,
    *,
    n_steps,
    neuron="if",
    calibration=None,
    percentile=99.9,
    per="layer",
    initial_potential=0.5,
    scale_firing_rates=1.0,
    synapse=None,
    dt=None,
    batch_size=100,
):
    """Turn a trained plain model into one whose activations are spikes over ``n_steps`` time steps.

    What comes before the first activation is computed once, and is the constant current of every step; what comes
    after the last one is averaged over time, and the last activation, such as a softmax, is taken of that average.
    Everything between runs at all steps at once. Batch normalization is folded into the layer before it, dropout is
    left out, and max pooling passes on the spikes of the unit that has fired most (``layers.MaxRatePooling``).

    ======================  =====================================  =================================================
    neuron                  for                                    a spike stands for
    ======================  =====================================  =================================================
    "if"                    relu                                   its threshold, the largest activation in the
                                                                   calibration data; reset by subtraction
    "spiking_activation"    any function of one unit               ``1 / (dt scale_firing_rates)``
    "lif"                   ``lif_rate``, ``soft_lif``             ``amplitude / dt``
    ======================  =====================================  =================================================

    Spikes are 0 or 1 with "if" and "lif", and what one stands for is in the weights that follow. The model that comes
    out is an ordinary one: it saves, loads, is evaluated, inspected, and trained on with surrogate gradients.

    Args:
        model: A built Sequential or functional Keras model, with models inside of it or not. It is left as it was.
        n_steps: Integer, number of time steps.
        neuron: "if", "lif" or "spiking_activation".
        calibration: Inputs of the model, an array or a nest of arrays, some hundred samples. Needed for "if".
        percentile: Number in (0, 100]: the threshold is what so many per cent of a layer's positive activations are not
            above. Units that would be above fire at every step. Default 99.9; 100 takes the largest.
        per: "layer" or "channel": one threshold for a layer, or one for each index of the last axis.
        initial_potential: Number in [0, 1), the membrane before the first step in parts of the threshold ("if" alone).
            Default 0.5, with which rates are rounded to the nearest and not downwards.
        scale_firing_rates: Number > 0, by which all rates are multiplied ("spiking_activation" alone). More spikes
            bring the rates nearer to the activations, and more steps do not: f is taken of what comes at each step,
            which goes up and down with the spikes. Default 1.
        synapse: Number in seconds, the time constant of a ``layers.Lowpass`` after all neurons, which smooths what the
            next layer sees ("spiking_activation" and "lif", whose functions are not linear). The first steps, while it
            fills, count too: take several time constants. Default None, no filter.
        dt: Number in seconds. Default ``keras_snn.default.dt``. With "if" it only says how many Hz a spike is.
        batch_size: Integer, for the calibration.

    Returns:
        ``keras.Model`` with the inputs and outputs of ``model``, compiled as that one is.

    Raises:
        TypeError: If ``model`` is subclassed, or not built.
        ValueError: If layers cannot be converted, which are listed, each with what to do, before anything is built; or
            for an argument out of its range.

    Example:

    ```python
    spiking = keras_snn.convert(plain, n_steps=32, calibration=x[:500])
    print(keras_snn.inspect(spiking, x_test, y_test, n_steps=[8, 32, 128]).table())
    print(keras_snn.conversion.report(plain, spiking, x_test[:500]).table())
    ```

    References: Diehl et al. 2015, IJCNN (thresholds from data); Rueckauer et al. 2017, Front. Neurosci. 11, 682
    (reset by subtraction, percentiles); Bu et al. 2022, AAAI, arXiv:2202.01440 (the initial potential).
    """
    _check(neuron, calibration, percentile, per, initial_potential, scale_firing_rates, synapse)
    found = plan(model, neuron)
    dt = default.dt if dt is None else dt
    names = [call.activation_name for call in found.calls if call.spikes]
    if neuron == "if":
        options = {"percentile": percentile, "per": per, "batch_size": batch_size}
        scales = activation_scales(model, names, calibration, **options)

    def make(call, name):
        function = call.activation
        if neuron == "if":
            threshold = np.minimum(scales[call.activation_name], ceiling(function))
            return _integrate_and_fire(threshold, initial_potential, dt=dt, name=name), threshold
        if neuron == "lif":
            rate = lif_constants(function)
            tau = 1 / -math.expm1(-dt / rate.tau_rc)
            refractory = round(rate.tau_ref / dt)
            return layers.LIF(tau=tau, refractory=refractory, dt=dt, name=name), rate.amplitude / dt
        scaled = function if scale_firing_rates == 1 else activations.Scaled(function, scale_firing_rates)
        return layers.SpikingActivation(scaled, dt=dt, name=name), 1 / scale_firing_rates

    inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name) for x in model.inputs]
    outputs = _Builder(found, n_steps, make, synapse and functools.partial(layers.Lowpass, synapse, dt=dt)).build(
        inputs
    )
    if isinstance(model, keras.Sequential):
        inputs, outputs = *inputs, *outputs
    else:
        inputs, outputs = tree.pack_sequence_as(model.input, inputs), tree.pack_sequence_as(model.output, outputs)
    converted = keras.Model(inputs, outputs, name=f"{model.name}_spiking")
    if model.compiled:
        converted.compile_from_config(model.get_compile_config())
    return converted


def neuron_name(name):
    """Return the name of the layer of neurons that stand for the activation of the call ``name``."""
    return f"{_plain(name)}_spikes"


def _plain(name):
    return name.replace(" (call ", "_").replace(")", "")


def _integrate_and_fire(threshold, initial_potential, **options):
    options |= {"reset": "subtract", "initial_potential": initial_potential}
    if not np.ndim(threshold):
        return layers.IF(threshold=float(threshold), **options)
    return layers.IF(threshold=keras.initializers.Constant(threshold.tolist()), per="channel", **options)


@dataclass
class _Value:
    """A tensor of the new model.

    Attributes:
        tensor: Symbolic tensor.
        timed: Boolean, whether it has a time axis.
        unit: What 1 in it stands for in the plain model: a number, or an array along the last axis.
    """

    tensor: keras.KerasTensor
    timed: bool = False
    unit: float | np.ndarray = 1.0


class _Builder:
    """Makes a layer, or several, of each call of the plan."""

    def __init__(self, found, n_steps, make_neuron, make_synapse):
        self.plan = found
        self.n_steps = n_steps
        self.make_neuron = make_neuron
        self.make_synapse = make_synapse
        self.values = {}

    def build(self, inputs):
        self.values = {number: _Value(x) for number, x in zip(self.plan.inputs, inputs, strict=True)}
        analogue = {}
        for call in self.plan.calls:
            value = self._convert(call, [self.values[x] for x in call.inputs])
            if call.spikes:
                value = self._fire(call, value)
            elif call.activation is not None:
                analogue[call.output] = call
            self.values[call.output] = value
        names = ["mean_over_time", *(f"mean_over_time_{i}" for i in range(2, len(self.plan.outputs) + 1))]
        return [self._read_out(x, analogue.get(x), name) for x, name in zip(self.plan.outputs, names, strict=True)]

    def _convert(self, call, values):
        layer, name = call.layer, _plain(call.name)
        if isinstance(layer, LINEAR):
            return self._linear(call, name, *values)
        if call.activation is not None:  # of no linear layer before it
            return self._real(*values)
        if isinstance(layer, MERGES):
            return self._merge(layer, name, values)
        (value,) = values
        keeps_unit = isinstance(layer, (*MAX_POOLINGS, *AVERAGE_POOLINGS)) or (
            isinstance(layer, keras.layers.Flatten) or not np.ndim(value.unit)
        )
        if not keeps_unit or isinstance(layer, _AFFINE):
            value = self._real(value)
        unit = value.unit
        if isinstance(layer, keras.layers.Flatten) and np.ndim(unit):
            unit = np.broadcast_to(unit, value.tensor.shape[1 + value.timed :]).reshape(-1)
        copy = layer.__class__.from_config({**layer.get_config(), "name": name})
        if value.timed and isinstance(layer, MAX_POOLINGS):
            return _Value(layers.MaxRatePooling(copy, name=f"{name}_over_time")(value.tensor), True, unit)
        result = _Value(self._apply(copy, value, name), value.timed, unit)
        copy.set_weights(layer.get_weights())
        return result

    def _linear(self, call, name, value):
        layer = call.layer
        if np.ndim(value.unit) and not _takes_units_of_channels(layer):
            value = self._real(value)
        config = {**layer.get_config(), "name": name, "activation": None}
        config["use_bias"] = layer.use_bias or call.normalization is not None
        copy = layer.__class__.from_config(config)
        tensor = self._apply(copy, value, name)
        copy.set_weights(_weights(layer, value.unit, call.normalization))
        return _Value(tensor, value.timed)

    def _merge(self, layer, name, values):
        same = all(not np.ndim(v.unit) and v.unit == values[0].unit for v in values)
        values = values if same else [self._real(value) for value in values]
        unit, timed = values[0].unit, any(value.timed for value in values)
        config = {**layer.get_config(), "name": name}
        if timed:
            values = [self._over_time(value) for value in values]
            if config.get("axis", -1) > 0:
                config["axis"] += 1
        copy = layer.__class__.from_config(config)
        return _Value(copy([value.tensor for value in values]), timed, unit)

    def _fire(self, call, value):
        value = self._over_time(self._real(value))
        neuron, unit = self.make_neuron(call, neuron_name(call.activation_name))
        spikes = neuron(value.tensor)
        return _Value(self.make_synapse()(spikes) if self.make_synapse else spikes, True, unit)

    def _read_out(self, number, call, name):
        value = self._real(self.values[number])
        tensor = value.tensor
        if value.timed:
            tensor = layers.TemporalAveragePooling(name=name)(tensor)
        if call is None:
            return tensor
        function = call.activation
        if isinstance(function, keras.layers.Layer):
            return function.__class__.from_config(function.get_config())(tensor)
        return keras.layers.Activation(function, name=f"{_plain(call.activation_name)}_of_mean")(tensor)

    def _real(self, value):
        if not np.ndim(value.unit) and value.unit == 1:
            return value
        return _Value(keras.layers.Rescaling(value.unit)(value.tensor), value.timed)

    def _over_time(self, value):
        if value.timed:
            return value
        return _Value(layers.Repeat(self.n_steps)(value.tensor), True, value.unit)

    @staticmethod
    def _apply(layer, value, name):
        return (layers.TimeFold(layer, name=f"{name}_over_time") if value.timed else layer)(value.tensor)


_AFFINE = (keras.layers.Rescaling, keras.layers.Normalization, keras.layers.BatchNormalization)


def _takes_units_of_channels(layer):
    last = getattr(layer, "data_format", "channels_last") == "channels_last"
    return last and getattr(layer, "groups", 1) == 1


def _weights(layer, unit, normalization):
    """Return the weights of a linear layer for inputs in ``unit``, with a batch normalization folded into them."""
    *kernels, bias = layer.get_weights() if layer.use_bias else [*layer.get_weights(), 0.0]
    kernels = [kernel.astype("float64") for kernel in kernels]
    # Dense has (in, out), convolutions (..., in, out), transposed ones (..., out, in), depthwise ones (..., in, times).
    if np.ndim(unit) and not isinstance(layer, TRANSPOSED):
        unit = np.reshape(unit, (-1, 1))
    kernels[0] = kernels[0] * unit
    if normalization is not None:
        gain, shift = _gain_and_shift(normalization)
        bias = np.asarray(bias, "float64") * gain + shift
        if isinstance(layer, TRANSPOSED):
            kernels[-1] = kernels[-1] * gain[:, None]
        elif isinstance(layer, DEPTHWISE):
            kernels[-1] = kernels[-1] * gain.reshape(kernels[-1].shape[-2:])
        else:
            kernels[-1] = kernels[-1] * gain
    has_bias = layer.use_bias or normalization is not None
    return [weight.astype("float32") for weight in [*kernels, *([np.asarray(bias)] if has_bias else [])]]


def _gain_and_shift(normalization):
    """Return a and b of ``a x + b``, which a batch normalization is outside of training."""
    mean, variance = (np.asarray(w, "float64") for w in normalization.get_weights()[-2:])
    weights = iter(normalization.get_weights())
    gamma = next(weights) if normalization.scale else 1.0
    beta = next(weights) if normalization.center else 0.0
    gain = gamma / np.sqrt(variance + normalization.epsilon)
    return gain, beta - mean * gain


def _check(neuron, calibration, percentile, per, initial_potential, scale_firing_rates, synapse):
    if neuron not in NEURONS:
        raise ValueError(f"`neuron` has to be one of {', '.join(map(repr, NEURONS))}; got {neuron!r}.")
    if neuron == "if" and calibration is None:
        raise ValueError(
            "`calibration` is needed for neuron='if', whose thresholds are taken from it: give some hundred inputs of "
            "the model, such as x_train[:500]."
        )
    if per not in ("layer", "channel"):
        raise ValueError(f"`per` has to be 'layer' or 'channel'; got {per!r}.")
    if not 0 < percentile <= 100:
        raise ValueError(f"`percentile` has to be in (0, 100]; got {percentile!r}.")
    if not 0 <= initial_potential < 1:
        raise ValueError(
            f"`initial_potential` has to be in [0, 1), in parts of the threshold; got {initial_potential!r}."
        )
    if not scale_firing_rates > 0:
        raise ValueError(f"`scale_firing_rates` has to be a number > 0; got {scale_firing_rates!r}.")
    if synapse is not None and not synapse > 0:
        raise ValueError(f"`synapse` has to be a time constant in seconds, > 0, or None; got {synapse!r}.")
    if synapse is not None and neuron == "if":
        raise ValueError("`synapse` is for 'spiking_activation' and 'lif': with 'if' it would only delay the spikes.")
    if scale_firing_rates != 1 and neuron != "spiking_activation":
        raise ValueError(
            f"`scale_firing_rates` is for neuron='spiking_activation'; with {neuron!r} the scale comes from "
            f"{'the calibration data' if neuron == 'if' else 'the amplitude of the rate function'}."
        )
