"""What the filter layers and their cells have in common: their options, their two weights, and when they act."""

import numbers

import keras
from keras import ops

from keras_snn import checks
from keras_snn.layers.base import SpikingCell, SpikingLayer
from keras_snn.layers.base.spiking_cell import shape_of
from keras_snn.ops.filters import METHODS
from keras_snn.ops.precision import voltage_dtype


class FilterCell(SpikingCell):
    """A cell with the weights ``initial_level`` and ``tau`` (seconds), one per unit.

    Their order and shapes are those of KerasSpiking, so that files of trained weights load.
    """

    emits_spikes = False

    def __init__(
        self,
        size,
        tau_initializer,
        *,
        dt=None,
        apply_during_training=True,
        level_initializer="zeros",
        initial_level_constraint=None,
        tau_constraint=None,
        method="sequential",
        **kwargs,
    ):
        super().__init__(size, dt=dt, always_use_inference=apply_during_training, **kwargs)
        _set_options(
            self,
            tau_initializer=tau_initializer,
            apply_during_training=apply_during_training,
            level_initializer=level_initializer,
            initial_level_constraint=initial_level_constraint,
            tau_constraint=tau_constraint,
            method=method,
        )

    def build(self, input_shape=None):
        options = {
            "shape": self.weight_shape,
            "dtype": voltage_dtype(self.variable_dtype),
            "trainable": self.apply_during_training,
        }
        self.initial_level = self.add_weight(
            name="initial_level",
            initializer=self.level_initializer,
            constraint=self.initial_level_constraint,
            **options,
        )
        self.tau = self.add_weight(
            name="tau", initializer=self.tau_initializer, constraint=self.tau_constraint, **options
        )
        self.built = True

    def filter(self, inputs, state, mask=None):
        """Return the filtered ``inputs (batch, time, ...)`` and the last state."""
        raise NotImplementedError

    def call_sequence(self, inputs, states, training, mask=None):
        if training and not self.apply_during_training:
            return inputs, states
        outputs, state = self.filter(ops.cast(inputs, states[0].dtype), states[0], mask)
        return ops.cast(outputs, inputs.dtype), [state]

    def call_training(self, inputs, states):
        return self._one_step(inputs, states, training=True)

    @property
    def weight_shape(self):
        """The shape of both weights."""
        return (1, *shape_of(self.size))

    def get_config(self):
        config = super().get_config()
        del config["state_size"], config["always_use_inference"]
        return {**config, **_options_config(self)}


class FilterLayer(SpikingLayer):
    """A layer that runs a ``FilterCell``."""

    emits_spikes = False
    cell_class = None

    def __init__(
        self,
        tau_initializer,
        *,
        dt=None,
        apply_during_training=True,
        level_initializer="zeros",
        initial_level_constraint=None,
        tau_constraint=None,
        method="sequential",
        **kwargs,
    ):
        super().__init__(dt=dt, **kwargs)
        _set_options(
            self,
            tau_initializer=tau_initializer,
            apply_during_training=apply_during_training,
            level_initializer=level_initializer,
            initial_level_constraint=initial_level_constraint,
            tau_constraint=tau_constraint,
            method=method,
        )

    def build(self, input_shape):
        super().build(input_shape)
        if self.stateful:  # only a reset reads it then: no gradient comes
            self.cell.initial_level.trainable = False

    def build_cell(self, input_shape):
        options = {name: getattr(self, name) for name in _OPTIONS}
        return self.cell_class(input_shape[2:], self.tau_initializer, dt=self._dt, dtype=self.dtype_policy, **options)

    def get_config(self):
        return {**super().get_config(), **_options_config(self)}


_OPTIONS = (
    "apply_during_training",
    "level_initializer",
    "initial_level_constraint",
    "tau_constraint",
    "method",
)


def _set_options(
    layer,
    *,
    tau_initializer,
    apply_during_training,
    level_initializer,
    initial_level_constraint,
    tau_constraint,
    method,
):
    checks.choice("method", method, METHODS)
    layer.tau_initializer = _tau_initializer(tau_initializer)
    layer.apply_during_training = apply_during_training
    layer.level_initializer = keras.initializers.get(level_initializer)
    layer.initial_level_constraint = keras.constraints.get(initial_level_constraint)
    layer.tau_constraint = keras.constraints.get(tau_constraint)
    layer.method = method


def _tau_initializer(tau):
    if isinstance(tau, numbers.Real) and not isinstance(tau, bool) and 0 < tau < float("inf"):
        return keras.initializers.Constant(float(tau))
    if tau is None or isinstance(tau, numbers.Real):
        raise ValueError(
            "`tau_initializer` has to be a positive, finite number of seconds, or the name or an instance of an "
            f"initializer; got {tau!r}."
        )
    return keras.initializers.get(tau)


def _options_config(layer):
    return {
        "tau_initializer": keras.initializers.serialize(layer.tau_initializer),
        "apply_during_training": layer.apply_during_training,
        "level_initializer": keras.initializers.serialize(layer.level_initializer),
        "initial_level_constraint": keras.constraints.serialize(layer.initial_level_constraint),
        "tau_constraint": keras.constraints.serialize(layer.tau_constraint),
        "method": layer.method,
    }
