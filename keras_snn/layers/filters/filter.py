"""The bases of the filter layers and their cells: options, weights and the pass-through in training."""

import numbers
from typing import Any, ClassVar

import keras
from keras import ops

from keras_snn import checks
from keras_snn.hints import Shape, Tensor
from keras_snn.layers.base import SpikingCell, SpikingLayer
from keras_snn.layers.base.spiking_cell import shape_of
from keras_snn.layers.base.time_step import HasTimeStep
from keras_snn.ops.filters import METHODS
from keras_snn.ops.precision import voltage_dtype


class FilterOptions(HasTimeStep):
    """Mixin with the options of a filter, for the layer and for its cell.

    Args:
        tau_initializer: Positive number in seconds, or a name or instance of an initializer, for ``tau``.
        dt: Number in seconds, or a scalar variable; see ``SpikingLayer``. Default: ``keras_snn.default.dt``, 0.001.
        apply_during_training: Boolean. False: in training the outputs are the inputs, and the weights are not
            trainable. Default True.
        level_initializer: Initializer of ``initial_level``. Default "zeros".
        initial_level_constraint: Constraint of ``initial_level``. Default None.
        tau_constraint: Constraint of ``tau``. Default None.
        method: "sequential" or "parallel" over time; see ``keras_snn.ops.lowpass``. Default "sequential".
        **kwargs: Arguments of the layer or the cell.
    """

    #: Names of the options in addition to ``tau_initializer`` and ``dt``.
    options: ClassVar = (
        "apply_during_training",
        "level_initializer",
        "initial_level_constraint",
        "tau_constraint",
        "method",
    )

    def __init__(
        self,
        tau_initializer: Any,
        *,
        dt: Any = None,
        apply_during_training: bool = True,
        level_initializer: Any = "zeros",
        initial_level_constraint: Any = None,
        tau_constraint: Any = None,
        method: str = "sequential",
        **kwargs: Any,
    ) -> None:
        super().__init__(dt=dt, **kwargs)
        self.tau_initializer = _tau_initializer(tau_initializer)
        self.apply_during_training = apply_during_training
        self.level_initializer = keras.initializers.get(level_initializer)
        self.initial_level_constraint = keras.constraints.get(initial_level_constraint)
        self.tau_constraint = keras.constraints.get(tau_constraint)
        self.method = checks.choice("method", method, METHODS)

    def get_config(self):
        return {
            **super().get_config(),
            "tau_initializer": keras.initializers.serialize(self.tau_initializer),
            "apply_during_training": self.apply_during_training,
            "level_initializer": keras.initializers.serialize(self.level_initializer),
            "initial_level_constraint": keras.constraints.serialize(self.initial_level_constraint),
            "tau_constraint": keras.constraints.serialize(self.tau_constraint),
            "method": self.method,
        }


class FilterCell(FilterOptions, SpikingCell):
    """A cell with the weights ``initial_level`` and ``tau`` (seconds), one of each per unit.

    Order and shapes of the weights are those of KerasSpiking, so that its files of trained weights load.

    Args:
        size: Integer or tuple, shape of one step without the batch axis.
        tau_initializer: As in ``FilterOptions``.
        **kwargs: The other options of ``FilterOptions``, and the arguments of ``keras.layers.Layer``.
    """

    emits_spikes = False

    def __init__(self, size: Any, tau_initializer: Any, **kwargs: Any) -> None:
        super().__init__(tau_initializer, size=size, always_use_inference=True, **kwargs)
        self.always_use_inference = self.apply_during_training

    def build(self, input_shape=None):
        options: dict[str, Any] = {
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

    def filter(self, inputs: Tensor, state: Tensor, mask: Tensor = None) -> tuple[Tensor, Tensor]:
        """Return the filtered ``inputs (batch, time, ...)`` and the last state."""
        raise NotImplementedError(f"{type(self).__name__} must override `filter(inputs, state, mask)`.")

    def call_sequence(
        self, inputs: Tensor, states: list[Tensor], training: bool | None, mask: Tensor = None
    ) -> tuple[Tensor, list[Tensor]]:
        if training and not self.apply_during_training:
            return inputs, states
        outputs, state = self.filter(ops.cast(inputs, states[0].dtype), states[0], mask)
        return ops.cast(outputs, inputs.dtype), [state]

    def call_training(self, inputs: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        return self._one_step(inputs, states, training=True)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """The shape of both weights."""
        return (1, *shape_of(self.size))

    def get_config(self):
        config = super().get_config()
        del config["state_size"], config["always_use_inference"]
        return config


class FilterLayer(FilterOptions, SpikingLayer):
    """A layer that runs a ``FilterCell``, with the arguments of ``FilterOptions`` and ``SpikingLayer``."""

    emits_spikes = False
    #: The class of the cell.
    cell_class: Any = None

    def build(self, input_shape):
        super().build(input_shape)
        if self.stateful:  # only a reset reads the weight then: it receives no gradient
            self.cell.initial_level.trainable = False

    def build_cell(self, input_shape: Shape) -> FilterCell:
        options = {name: getattr(self, name) for name in self.options}
        return self.cell_class(input_shape[2:], self.tau_initializer, dt=self._dt, dtype=self.dtype_policy, **options)


def _tau_initializer(tau):
    if isinstance(tau, numbers.Real) and not isinstance(tau, bool) and 0 < float(tau) < float("inf"):
        return keras.initializers.Constant(float(tau))
    if tau is None or isinstance(tau, numbers.Real):
        raise ValueError(
            "`tau_initializer` must be a positive, finite number of seconds, or the name or an instance of an "
            f"initializer, got {tau!r}."
        )
    return keras.initializers.get(tau)
