"""From a plain model to one that runs over time."""

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
    batch_size=None,
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

    Spikes are 0 or 1 with "if" and "lif", and what one stands for is in the weights that follow; where nothing that
    follows has weights, as at an addition of layers with different thresholds, a ``Rescaling`` stands between. The
    model that comes out is an ordinary one: it saves, loads, is evaluated, inspected, and trained on with surrogate
    gradients. As its weights are others, it has no regularizers and no constraints; of a layer that is called several
    times it has as many copies. ``stands_for`` of each layer of neurons names the call in the plain model whose
    activation the spikes stand for, and the activation that an output of 1 stands for. It is part of the layer's
    config: copies of the model and loaded models have it too.

    Args:
        model: A built Sequential or functional Keras model, with models inside of it or not. It is left as it was.
        n_steps: Integer > 0, number of time steps.
        neuron: "if", "lif" or "spiking_activation".
        calibration: Inputs as for Keras's ``evaluate``: an array ``(samples, ...)``, tensor or pandas object, or a nest
            of them for several inputs; or data in batches: a ``tf.data.Dataset``, ``keras.utils.PyDataset``, PyTorch
            ``DataLoader`` or generator, whose labels are ignored. Some hundred samples suffice. Needed for "if".
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
        batch_size: Integer, for arrays of ``calibration``. Default: about 128. Must be None for data in batches.

    Returns:
        ``keras.Model`` with the inputs and outputs of ``model``, compiled as that one is. Where its loss or metrics are
        functions that are not registered with Keras, it is not compiled, and a warning says so.

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
    _check(n_steps, neuron, calibration, percentile, per, initial_potential, scale_firing_rates, synapse)
    found = plan(model, neuron)
    dt = default.dt if dt is None else dt
    names = [stage.activation_name for stage in found.stages if stage.spikes]
    if neuron == "if":
        options = {"percentile": percentile, "per": per, "batch_size": batch_size}
        scales = activation_scales(model, names, calibration, **options)

    def make(stage, **options):
        """Return the neurons of a stage, and the activation that an output of 1 stands for."""
        function = stage.activation
        if neuron == "if":
            unit = np.minimum(scales[stage.activation_name], ceiling(function))
            new = functools.partial(_integrate_and_fire, unit, initial_potential)
        elif neuron == "lif":
            rate = lif_constants(function)
            unit, tau = rate.amplitude / dt, 1 / -math.expm1(-dt / rate.tau_rc)
            new = functools.partial(layers.LIF, tau=tau, refractory=round(rate.tau_ref / dt))
        else:
            unit = 1 / scale_firing_rates
            scaled = function if scale_firing_rates == 1 else activations.Scaled(function, scale_firing_rates)
            new = functools.partial(layers.SpikingActivation, scaled)
        return new(dt=dt, stands_for=(stage.activation_name, unit), **options), unit

    inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name) for x in model.inputs]
    outputs = _Builder(found, int(n_steps), make, synapse and functools.partial(layers.Lowpass, synapse, dt=dt)).build(
        inputs
    )
    if isinstance(model, keras.Sequential):
        inputs, outputs = *inputs, *outputs
    else:
        inputs, outputs = tree.pack_sequence_as(model.input, inputs), tree.pack_sequence_as(model.output, outputs)
    converted = keras.Model(inputs, outputs, name=f"{model.name}_spiking")
    compile_like(converted, model)
    return converted


def _plain(name):
    return name.replace(" (call ", "_call_").replace(")", "")


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
    """Makes a layer, or several, of each stage of the plan."""

    def __init__(self, found, n_steps, make_neuron, make_synapse):
        self.plan = found
        self.n_steps = n_steps
        self.make_neuron = make_neuron
        self.make_synapse = make_synapse
        self.values = {}
        self.names = set()
        self.outputs = {}  # the names of what comes last, by value; one that comes twice has one
        for number, name in zip(found.outputs, found.output_names, strict=True):
            if number not in self.outputs:
                self.outputs[number] = self._name(name)
        self.dtype = None  # that of the layer which is being converted

    def build(self, inputs):
        self.values = {number: _Value(x) for number, x in zip(self.plan.inputs, inputs, strict=True)}
        made_by = {}
        for stage in self.plan.stages:
            self.dtype = stage.layer.dtype_policy
            value = self._convert(stage, [self.values[x] for x in stage.inputs])
            self.values[stage.output] = self._fire(stage, value) if stage.spikes else value
            made_by[stage.output] = stage
        outputs = {
            number: self._read_out(self.values[number], made_by.get(number), name)
            for number, name in self.outputs.items()
        }
        return [outputs[number] for number in self.plan.outputs]

    def _name(self, name):
        """Return a name that no layer has yet."""
        names = itertools.chain([name], (f"{name}_{i}" for i in itertools.count(2)))
        free = next(one for one in names if one not in self.names)
        self.names.add(free)
        return free

    def _convert(self, stage, values):
        layer, name = stage.layer, _plain(stage.node.name)
        if isinstance(layer, LINEAR):
            return self._linear(stage, name, *values)
        if stage.activation is not None:  # of no linear layer before it
            return self._real(*values)
        if isinstance(layer, MERGES):
            return self._merge(layer, name, values)
        (value,) = values
        if isinstance(layer, _AFFINE) or (np.ndim(value.unit) and not _keeps_units_of_channels(layer)):
            value = self._real(value)
        unit = value.unit
        if isinstance(layer, keras.layers.Flatten) and np.ndim(unit):
            unit = np.broadcast_to(unit, value.tensor.shape[1 + value.timed :]).reshape(-1)
        return _Value(self._apply(layer, layer.get_config(), value, name, layer.get_weights()), value.timed, unit)

    def _linear(self, stage, name, value):
        layer = stage.layer
        if np.ndim(value.unit) and not _takes_units_of_channels(layer):
            value = self._real(value)
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
            values = [self._real(value) for value in values]
            unit = 1.0
        if timed:
            values = [self._of_rank(self._over_time(value), rank) for value in values]
            if config.get("axis", -1) > 0:
                config["axis"] += 1
        copy = layer.__class__.from_config(config)
        return _Value(copy([value.tensor for value in values]), timed, unit)

    def _of_rank(self, value, rank):
        """Put axes of size 1 after time, as Keras does after the batch where it merges tensors of several ranks."""
        missing = rank + 1 - len(value.tensor.shape)
        if not missing:
            return value
        reshape = keras.layers.Reshape((1,) * missing + value.tensor.shape[2:])
        fold = layers.TimeFold(reshape, name=self._name("expanded"), dtype=self.dtype)
        return _Value(fold(value.tensor), True, value.unit)

    def _fire(self, stage, value):
        self.dtype = stage.dtype
        value = self._over_time(self._real(value))
        name = f"{_plain(stage.activation_name)}_spikes"
        self.names.add(name)
        neuron, unit = self.make_neuron(stage, name=name, dtype=self.dtype)
        spikes = neuron(value.tensor)
        if self.make_synapse:
            spikes = self.make_synapse(name=self._name(f"{name}_smooth"), dtype=self.dtype)(spikes)
        return _Value(spikes, True, unit)

    def _read_out(self, value, stage, name):
        """Return the output ``name`` from a value; ``stage`` made it."""
        self.dtype = None if stage is None else stage.dtype
        function = None if stage is None or stage.spikes else stage.activation
        value = self._real(value)
        tensor = value.tensor
        if value.timed:
            own = name if function is None else self._name("mean_over_time")
            tensor = layers.TemporalAveragePooling(name=own, dtype=self.dtype)(tensor)
            if function is None:
                return tensor
        if isinstance(function, keras.layers.Layer):
            return function.__class__.from_config({**function.get_config(), "name": name})(tensor)
        return keras.layers.Activation(function, name=name, dtype=self.dtype)(tensor)

    def _real(self, value):
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
        """Return what a copy of a layer makes of a value, at every step if it has steps."""
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


def _takes_units_of_channels(layer):
    return has_channels_last(layer) and getattr(layer, "groups", 1) == 1


def _keeps_units_of_channels(layer):
    keeping = (*MAX_POOLINGS, *AVERAGE_POOLINGS, *PADDINGS, keras.layers.Flatten, keras.layers.RepeatVector)
    return isinstance(layer, keeping) and has_channels_last(layer)


def _check(n_steps, neuron, calibration, percentile, per, initial_potential, scale_firing_rates, synapse):
    checks.integer("n_steps", n_steps, least=1)
    checks.choice("neuron", neuron, NEURONS)
    if neuron == "if" and calibration is None:
        raise ValueError(
            "`calibration` is needed for neuron='if', whose thresholds are taken from it: give some hundred inputs of "
            "the model, such as x_train[:500]."
        )
    checks.choice("per", per, ("layer", "channel"))
    checks.number("percentile", percentile, above=0, most=100)
    if not 0 <= initial_potential < 1:
        raise ValueError(
            f"`initial_potential` has to be in [0, 1), in parts of the threshold; got {initial_potential!r}."
        )
    checks.number("scale_firing_rates", scale_firing_rates, above=0)
    if synapse is not None and not synapse > 0:
        raise ValueError(f"`synapse` has to be a time constant in seconds, > 0, or None; got {synapse!r}.")
    if synapse is not None and neuron == "if":
        raise ValueError("`synapse` is for 'spiking_activation' and 'lif': with 'if' it would only delay the spikes.")
    if scale_firing_rates != 1 and neuron != "spiking_activation":
        raise ValueError(
            f"`scale_firing_rates` is for neuron='spiking_activation'; with {neuron!r} the scale comes from "
            f"{'the calibration data' if neuron == 'if' else 'the amplitude of the rate function'}."
        )
