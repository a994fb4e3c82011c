"""The base of neurons, which compute one step of their equations."""

import inspect
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import keras
from keras import ops

from keras_snn import checks, probe, surrogates
from keras_snn.constraints import Clip
from keras_snn.hints import Shape, Tensor
from keras_snn.layers.base.sequence_layer import SequenceLayer
from keras_snn.ops.bounds import bounded
from keras_snn.ops.late_steps import late_reset, refractory
from keras_snn.ops.neurons import RESETS, Neuron
from keras_snn.ops.precision import voltage_dtype
from keras_snn.ops.scan import scan

PER = ("layer", "channel", "unit")
_AT_LEAST_ONE_STEP = Clip(min_value=1.0)


@keras.saving.register_keras_serializable(package="keras_snn")
class SpikingNeuron(SequenceLayer):
    """Base class of neurons. A subclass defines ``step`` and the names of its parameters, ``parameter_names``.

    ``step(p, state, x) -> (state, spikes)`` is a static method without a closure. It computes one time step from a
    tuple of states and an input ``(batch, ...)``. The parameters are attributes of ``p``. Floats other than 0.0 are
    tensors, so that a new value compiles nothing again. ``p.fire(h)`` compares the membrane potential h to
    ``p.threshold``, and returns the potential after the reset and the spikes with their surrogate gradient. For other
    equations there are ``p.fire(h, threshold)``, ``p.spike(h - threshold)`` and ``p.after_spike(h, spikes,
    threshold)``. Spikes are 1 where ``h > threshold``, strictly, and 0 elsewhere. The gradient is that of the whole
    sequence.

    An input that is not finite reaches ``step`` as NaN. From this step on its neuron gives no spikes, and its gradients
    are NaN; other neurons are not affected. This requires that ``step`` returns NaN for a membrane potential of NaN.

    After the layer is built, ``dt``, ``surrogate``, ``detach_reset`` and parameters that are numbers can be set; other
    arguments raise AttributeError. A new value takes effect in the next call; in compiled functions, after
    ``compile()``.

    Args:
        threshold: Number, or an initializer. Default 1.
        reset: "zero" (a spike sets the potential to ``v_reset``), "subtract" (a spike subtracts the threshold), or
            None. Default "zero".
        v_reset: Number, the resting potential, the potential after ``reset="zero"`` and the initial potential. Default
            0.
        surrogate: The surrogate gradient: a name or an instance of ``keras_snn.surrogates``, or any function of
            ``h - threshold`` that returns spikes with a custom gradient. To save the model, the function must be
            registered with Keras. Default "atan", with the slope 2.
        detach_reset: Boolean. True: no gradient flows through the spike in the reset. Default False.
        learn: Sequence of names of trained parameters. The equations clamp a learned parameter to its bounds, which
            therefore hold in any training loop; ``parameter_values()`` returns the clamped values. A learned threshold
            is kept at ``v_reset`` or above. Default ().
        per: The shape of a parameter that is trained or comes from an initializer: one value per "layer", per "channel"
            (an entry of the last axis) or per "unit". Default "layer".
        **kwargs: ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ``time_major=False``,
            ``unroll=False``, ``go_backwards=False``, ``stands_for=None``, as in ``SpikingLayer``; ``dt=None``, the
            length of a time step in seconds, with which tools such as ``keras_snn.inspect`` compute rates in Hz; and
            the arguments of ``keras.layers.Layer``.

    Call arguments:
        inputs: Tensor ``(batch, time, ...)`` with at least one axis after time.
        mask: As in ``SpikingLayer``.
        initial_state: Tensor or list of tensors ``(batch, ...)``. Default: ``v_reset`` for the state "v", 0 for others.

    Input shape: ``(batch, time, ...)``. Output shape: the same, or ``(batch, ...)`` with ``return_sequences=False``;
    with ``return_state=True`` a list of the outputs and the states.

    Raises:
        ValueError: For a missing or empty time axis, an unknown name, a number out of range, a mask or an initial
            state of another shape, or ``stateful=True`` without a static batch size.
        TypeError: If ``step`` is not a static method, or a parameter is neither a number nor an initializer.

    Example:

    ```python
    @keras.saving.register_keras_serializable(package="my_neurons")
    class Quadratic(keras_snn.layers.SpikingNeuron):
        parameter_names = ("a", "critical", "threshold")
        state_names = ("v",)

        def __init__(self, a=0.2, critical=0.5, **kwargs):
            super().__init__(**kwargs)
            self.a, self.critical = a, critical

        @staticmethod
        def step(p, state, x):
            (v,) = state
            v, spikes = p.fire(v + p.a * v * (v - p.critical) + x)
            return (v,), spikes
    ```
    """

    changeable: ClassVar[tuple[str, ...]] = ("surrogate", "detach_reset")
    #: Names of the parameters: each is an argument and an attribute, and can be trained.
    parameter_names: ClassVar[tuple[str, ...]] = ("threshold",)
    #: Names of the states, in the order of ``step``. The initial value of "v", the membrane potential, is ``v_reset``.
    state_names: ClassVar[tuple[str, ...]] = ("v",)
    #: The parameters that are time constants of at least 1 step, each with the name of 1 / tau in ``p``.
    time_constants: ClassVar[dict[str, str]] = {}
    #: The ``Clip`` of other parameters, by name. It checks a number, clamps a weight in the equations, and is the
    #: constraint of the weight. Default for a learned threshold: ``v_reset`` or above.
    bounds: Mapping[str, Clip] = MappingProxyType({})
    #: Names of other arguments that are attributes of ``p``. Values other than floats must be hashable.
    options: ClassVar[tuple[str, ...]] = ("v_reset",)
    #: Whether ``step`` is elementwise and broadcasts. It then takes about half the time; see ``scan``.
    pointwise: Any = False
    #: Number of steps after a spike in which the states are held and there is no spike.
    refractory: Any = 0
    #: Whether a reset acts in the step after the spike. The step must fire by ``p.fire``.
    reset_delay: Any = False

    def __init__(
        self,
        *,
        threshold: Any = 1.0,
        reset: str | None = "zero",
        v_reset: float = 0.0,
        surrogate: Any = "atan",
        detach_reset: bool = False,
        learn: Sequence[str] = (),
        per: str = "layer",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._parameter_arguments = {}
        if not isinstance(inspect.getattr_static(self, "step"), staticmethod):
            raise TypeError(f"`step` of {type(self).__name__} must be a static method: @staticmethod above its def.")
        learn = (learn,) if isinstance(learn, str) else tuple(learn)
        if unknown := set(learn) - set(self.parameter_names):
            raise ValueError(f"`learn` must name parameters of {self.parameter_names}, got {sorted(unknown)}.")
        self.learn = learn
        self.v_reset = checks.number("v_reset", v_reset)
        self.threshold = threshold  # after `learn` and `v_reset`, which define its bound
        self.reset = checks.choice("reset", reset, RESETS)
        self.surrogate = surrogate
        self.detach_reset = detach_reset
        self.per = checks.choice("per", per, PER)

    @staticmethod
    def step(p: Any, state: tuple[Tensor, ...], x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Compute one step; return ``(state, spikes)``."""
        raise NotImplementedError("A SpikingNeuron needs a static method `step(p, state, x) -> (state, spikes)`.")

    def __setattr__(self, name, value):
        if name == "surrogate":
            value = surrogates.get(value)
        if name in type(self).parameter_names and not isinstance(value, keras.Variable):
            if isinstance(getattr(self, name, None), keras.Variable):
                raise AttributeError(f"`{name}` of {self.name!r} is a weight: use {name}.assign(...).")
            value = self._parameter(name, value)
            if self.built and callable(value):
                raise AttributeError(f"`{name}` of {self.name!r} can be an initializer only before the layer is built.")
            self._parameter_arguments[name] = value
        super().__setattr__(name, value)

    def _parameter(self, name, value):
        """Return the parameter ``value`` as a float or an initializer, or raise TypeError or ValueError."""
        if isinstance(value, (dict, str)) or callable(value):
            return keras.initializers.get(value)
        value = checks.number(name, value)
        bound = self._bound(name)
        if bound is not None and not bound.holds(value):
            raise ValueError(f"`{name}` must be {bound}, got {value:g}.")
        return value

    def _bound(self, name):
        if name in self.time_constants:
            return _AT_LEAST_ONE_STEP
        if name == "threshold" and name in self.learn:
            return self.bounds.get(name, Clip(min_value=self.v_reset))  # a lower one fires at rest
        return self.bounds.get(name)

    def build_parts(self, shape: Shape) -> None:
        self._units = self.known_units(shape)
        for name in self.parameter_names:
            value, bound = self._parameter_arguments[name], self._bound(name)
            is_built = isinstance(getattr(self, name), keras.Variable)
            if is_built or (name not in self.learn and not callable(value)):
                continue
            initializer = value if callable(value) else keras.initializers.Constant(value)
            weight = self.add_weight(
                name=name,
                shape=self._parameter_shape(shape[2:]),
                initializer=initializer if bound is None else _bounded_initializer(bound, initializer),
                constraint=bound,
                dtype=voltage_dtype(self.variable_dtype),
                trainable=name in self.learn,
            )
            setattr(self, name, weight)

    def _parameter_shape(self, units):
        if self.per == "layer":
            return ()
        return units if self.per == "unit" else units[-1:]

    def parameter_values(self) -> dict[str, Any]:
        """Return the values of the parameters that the equations use: numbers, or tensors clamped to their bounds.

        A weight can be outside its bounds, because only Keras's optimizers apply constraints. In reports, use these
        values instead of the weights.
        """
        values = {}
        for name in self.parameter_names:
            value, bound = getattr(self, name), self._bound(name)
            is_weight = isinstance(value, keras.Variable)
            # A copy: on PyTorch, a new value before the backward pass (`PlasticConnection`) would be an error in it.
            value = ops.copy(value) if is_weight and name not in self.learn else value
            value = ops.convert_to_tensor(value) if is_weight else value
            clamps = is_weight and bound is not None
            values[name] = bounded(value, bound.min_value, bound.max_value) if clamps else value
        return values

    def equation_values(self, p: dict[str, Any]) -> dict[str, Any]:
        """Return the values of the attributes of ``p`` in ``step``, by name, from those of parameters and options.

        Override it if the equations use other quantities than the arguments.
        """
        leaks = {leak: 1 / p[name] for name, leak in self.time_constants.items()}
        return {**{name: value for name, value in p.items() if name not in self.time_constants}, **leaks}

    def equations(self, states: list[Tensor]) -> tuple[Neuron, dict[str, Tensor], dict[str, Tensor]]:
        """Return the step as a ``Neuron``, the dict of its parameters that have a gradient, and that of its constants.

        Constants are the floats other than 0.0. They are inputs of the compiled loop, so a new value compiles nothing
        again. 0.0 stays in the code, because steps leave out a term of 0. So do values of other types.

        Args:
            states: List of tensors ``(batch, ...)``. Only their shapes are used.
        """
        options = {name: getattr(self, name) for name in self.options}
        values = self.equation_values({**self.parameter_values(), **options})
        params = {name: value for name, value in values.items() if ops.is_tensor(value)}
        numbers = {name: value for name, value in values.items() if isinstance(value, float) and value}
        choices = tuple((name, value) for name, value in values.items() if name not in params.keys() | numbers.keys())
        step = self.step
        if self.reset_delay:
            step, choices = late_reset(step), (*choices, ("reset_delay", True))
        if self.refractory:
            step, choices = refractory(step), (*choices, ("refractory", self.refractory))
        neuron = Neuron(step, choices, probe.surrogate(self.surrogate), self.reset, self.detach_reset)
        # In the shape of the batch, if possible: the gradient is then summed over the batch once, not at each step.
        params = {name: self.spread(name, value, states) for name, value in params.items()}
        return neuron, params, {name: ops.convert_to_tensor(x, states[0].dtype) for name, x in numbers.items()}

    def run(
        self, inputs: Tensor, states: list[Tensor], training: bool | None, mask: Tensor = None
    ) -> tuple[Tensor, list[Tensor]]:
        neuron, params, constants = self.equations(states)
        inference = training is False  # with None, a gradient may be needed
        options = {"unroll": self.unroll, "pointwise": self.pointwise, "inference": inference, "mask": mask}
        inputs = ops.cast(inputs, states[0].dtype)
        outputs, states = scan(neuron, tuple(states), inputs, params, constants=constants, **options)
        return outputs, list(states)

    def spread(self, name: str, value: Tensor, states: list[Tensor]) -> Tensor:
        """Return a parameter broadcast to the shape of the states, with one value for each unit of the batch."""
        return ops.broadcast_to(value, ops.shape(states[0]))

    def step_shapes(self, shape: Shape) -> tuple[Shape, Sequence[Shape]]:
        units = tuple(shape[2:])
        return units, [units] * (len(self.state_names) + bool(self.reset_delay) + bool(self.refractory))

    def initial_state(self, batch_size: int) -> list[Tensor]:
        shape, dtype = (batch_size, *self._units), voltage_dtype(self.compute_dtype)
        values = [self.v_reset if name == "v" else 0 for name in self.state_names]
        values += [0] * bool(self.reset_delay)  # the spikes of the last step
        states = [ops.full(shape, value, dtype=dtype) for value in values]
        return [*states, ops.zeros(shape, "int32")] if self.refractory else states

    @property
    def spike_unit(self) -> float:
        """The factor that converts outputs to numbers of spikes: 1, because outputs are 0 or 1."""
        return 1.0

    def in_hertz(self, outputs: Tensor) -> Tensor:
        return outputs / ops.cast(self.dt, outputs.dtype)

    def get_config(self):
        config = super().get_config()
        for name, value in self._parameter_arguments.items():
            config[name] = keras.initializers.serialize(value) if callable(value) else value
        config |= {name: getattr(self, name) for name in ("reset", "v_reset", "detach_reset", "per", *self.options)}
        return {**config, "surrogate": surrogates.serialize(self.surrogate), "learn": list(self.learn)}


def _bounded_initializer(bound, initializer):
    return lambda shape, dtype=None: bound(initializer(shape, dtype))
