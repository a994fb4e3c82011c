"""What the filter layers and their cells have in common: their options, their two weights, and when they act."""

import numbers

import keras
from keras import ops

from keras_snn.layers.base import SpikingCell, SpikingLayer
from keras_snn.ops.filters import METHODS
from keras_snn.ops.spiking import voltage_dtype


class FilterCell(SpikingCell):
    """A cell with the weights ``tau`` (seconds) and ``initial_level``, one a unit, of shape ``(1, *size)``."""

    def __init__(self, size, tau_initializer, *, dt=None, state_size=None, **kwargs):
        options, kwargs = _split(kwargs)
        super().__init__(size, state_size, dt=dt, **kwargs)
        _set_options(self, tau_initializer, **options)
        self.always_use_inference = self.apply_during_training

    def build(self, input_shape=None):
        size = (self.size,) if isinstance(self.size, int) else tuple(self.size)
        options = {
            "shape": (1, *size),
            "dtype": voltage_dtype(self.variable_dtype),
            "trainable": self.apply_during_training,
        }
        self.tau = self.add_weight(
            name="tau", initializer=self.tau_initializer, constraint=self.tau_constraint, **options
        )
        self.initial_level = self.add_weight(
            name="initial_level",
            initializer=self.level_initializer,
            constraint=self.initial_level_constraint,
            **options,
        )
        self.built = True

    def filter(self, inputs, state):
        """Return the filtered ``inputs (batch, time, ...)`` and the last state."""
        raise NotImplementedError

    def call_sequence(self, inputs, states, training):
        if training and not self.apply_during_training:
            return inputs, states
        outputs, state = self.filter(ops.cast(inputs, states[0].dtype), states[0])
        return ops.cast(outputs, inputs.dtype), [state]

    def call_training(self, inputs, states):
        return self._one_step(inputs, states, training=True)

    def level(self, batch_size):
        """Return the initial level for a batch: ``(batch, ...)``."""
        return ops.broadcast_to(self.initial_level, (batch_size, *self.initial_level.shape[1:]))

    def get_config(self):
        config = super().get_config()
        del config["state_size"], config["always_use_inference"]
        return {**config, **_options_config(self)}


class FilterLayer(SpikingLayer):
    """A layer that runs a ``FilterCell``."""

    emits_spikes = False
    cell_class = None

    def __init__(self, tau_initializer, *, dt=None, **kwargs):
        options, kwargs = _split(kwargs)
        super().__init__(dt=dt, **kwargs)
        _set_options(self, tau_initializer, **options)

    def build_cell(self, input_shape):
        options = {name: getattr(self, name) for name in _OPTIONS}
        return self.cell_class(
            input_shape[2:], self.tau_initializer, dt=self._dt, dtype=self.dtype_policy, **options
        )

    def get_config(self):
        return {**super().get_config(), **_options_config(self)}


_OPTIONS = (
    "apply_during_training",
    "level_initializer",
    "initial_level_constraint",
    "tau_constraint",
    "method",
)


def _split(kwargs):
    options = {name: kwargs.pop(name) for name in _OPTIONS if name in kwargs}
    return options, kwargs


def _set_options(
    layer,
    tau_initializer,
    *,
    apply_during_training=True,
    level_initializer="zeros",
    initial_level_constraint=None,
    tau_constraint=None,
    method="sequential",
):
    if isinstance(tau_initializer, numbers.Real) and not isinstance(tau_initializer, bool):
        if not tau_initializer > 0:
            raise ValueError(f"`tau_initializer` has to be a positive number of seconds; got {tau_initializer!r}.")
        tau_initializer = keras.initializers.Constant(float(tau_initializer))
    if method not in METHODS:
        raise ValueError(f"`method` has to be one of {METHODS}; got {method!r}.")
    layer.tau_initializer = keras.initializers.get(tau_initializer)
    layer.apply_during_training = apply_during_training
    layer.level_initializer = keras.initializers.get(level_initializer)
    layer.initial_level_constraint = keras.constraints.get(initial_level_constraint)
    layer.tau_constraint = keras.constraints.get(tau_constraint)
    layer.method = method


def _options_config(layer):
    return {
        "tau_initializer": keras.initializers.serialize(layer.tau_initializer),
        "apply_during_training": layer.apply_during_training,
        "level_initializer": keras.initializers.serialize(layer.level_initializer),
        "initial_level_constraint": keras.constraints.serialize(layer.initial_level_constraint),
        "tau_constraint": keras.constraints.serialize(layer.tau_constraint),
        "method": layer.method,
    }
