"""The base of neurons: one step of equations, and what they have in common."""

import inspect

import keras
from keras import ops

from keras_snn import checks, surrogates
from keras_snn.constraints import Clip
from keras_snn.layers.base.sequence_layer import SequenceLayer
from keras_snn.ops.bounds import bounded
from keras_snn.ops.neurons import RESETS, Neuron, refractory
from keras_snn.ops.precision import voltage_dtype
from keras_snn.ops.scan import scan

PER = ("layer", "channel", "unit")
_AT_LEAST_ONE_STEP = Clip(min_value=1.0)


@keras.saving.register_keras_serializable(package="keras_snn")
class SpikingNeuron(SequenceLayer):
    """A layer of neurons; the class to subclass. Give it ``step``, and the names of its ``parameter_names``.

    ``step(p, state, x) -> (state, spikes)`` is a static method that closes over nothing: one time step, for a tuple of
    states and an input ``(batch, ...)``. ``p`` has the parameters as attributes. ``p.fire(h)`` compares the membrane h
    to ``p.threshold``, and returns what the reset leaves of it, and the spikes with their surrogate gradient;
    ``p.fire(h, threshold)``, ``p.spike(h - threshold)`` and ``p.after_spike(h, spikes, threshold)`` are there for more.
    The spikes are 1 where ``h > threshold``, strictly, and 0 elsewhere. The gradient is that of the whole sequence.
    An input that is not finite reaches ``step`` as NaN. From this step on its neuron gives no spikes, and its gradients
    are NaN; other neurons are not affected. This requires that ``step`` gives a membrane of NaN for a membrane of NaN.

    After the layer is built, only ``dt``, ``surrogate``, ``detach_reset`` and parameters that are numbers can be set;
    other arguments raise AttributeError. A new value takes effect in the next call, in compiled functions after
    ``compile()``.

    Args:
        threshold: Number, or an initializer. Default 1.
        reset: "zero" (a spike sets the membrane to ``v_reset``), "subtract" (takes the threshold off it), or None.
        v_reset: Number, the membrane's value at rest and after a reset to zero, and its initial value. Default 0.
        surrogate: What stands in for the derivative of a spike: a name or an instance of ``keras_snn.surrogates``, or
            any function of the membrane above the threshold that gives spikes with a gradient of their own (a
            registered one, if the model is to be saved). Default "atan", of slope 2.
        detach_reset: Boolean. True: no gradient flows through the spike that resets. Default False.
        learn: Sequence of names of parameters that are trained. Default none. The equations clamp a learned parameter
            to its bounds, which therefore hold in any training loop; ``parameter_values()`` returns the values in
            force. A learned threshold is kept at ``v_reset`` or above.
        per: What shares one value of a parameter that is trained or comes from an initializer: the "layer", each
            "channel" (an entry of the last axis), or nothing ("unit").
        **kwargs: ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ``time_major=False``,
            ``unroll=False``, ``go_backwards=False``, ``stands_for=None``, as in ``SpikingLayer``; ``dt=None``, the
            length of a time step in seconds, by which tools such as ``keras_snn.inspect`` compute rates in Hz; and
            those of any Keras layer.

    Call arguments:
        inputs: Tensor ``(batch, time, ...)`` with at least one axis after time.
        mask: As in ``SpikingLayer``.
        initial_state: Tensor or list of tensors ``(batch, ...)``; default: ``v_reset`` for the membrane, 0 for others.

    Input shape: ``(batch, time, ...)``. Output shape: the same, or ``(batch, ...)`` with ``return_sequences=False``;
    with ``return_state=True`` a list of that and the states.

    Raises:
        ValueError: For a missing or empty time axis, an unknown name, a number out of range, a mask or an initial
            state of another shape, or ``stateful=True`` without a static batch size.
        TypeError: If ``step`` is not a static method, or a parameter neither a number nor an initializer.

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

    changeable = ("surrogate", "detach_reset")
    #: Names of the parameters: each is an argument and an attribute, and can be trained.
    parameter_names = ("threshold",)
    #: Names of the states, in the order in which ``step`` has them. "v", the membrane, begins at ``v_reset``.
    state_names = ("v",)
    #: The parameters that are time constants, 1 at least, each with the name by which ``step`` finds 1 / tau.
    time_constants = {}  # noqa: RUF012
    #: The ``Clip`` of other parameters, by name. It checks a number, clamps a weight in the equations, and is the
    #: constraint of the weight. Default for a learned threshold: ``v_reset`` or above.
    bounds = {}  # noqa: RUF012
    #: Names of further arguments that ``step`` finds in ``p``; their values are hashable.
    options = ("v_reset",)
    #: Whether ``step`` takes each unit by itself and broadcasts: then it runs in about half of the time. See ``scan``.
    pointwise = False
    #: Number of steps after a spike for which the states stay as they are, and no spike comes.
    refractory = 0

    def __init__(
        self,
        *,
        threshold=1.0,
        reset="zero",
        v_reset=0.0,
        surrogate="atan",
        detach_reset=False,
        learn=(),
        per="layer",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._given = {}
        if not isinstance(inspect.getattr_static(self, "step"), staticmethod):
            raise TypeError(f"`step` of {type(self).__name__} must be a static method: @staticmethod above its def.")
        learn = (learn,) if isinstance(learn, str) else tuple(learn)
        if unknown := set(learn) - set(self.parameter_names):
            raise ValueError(f"`learn` must name parameters of {self.parameter_names}, got {sorted(unknown)}.")
        self.learn = learn
        self.v_reset = checks.number("v_reset", v_reset)
        self.threshold = threshold  # after `learn` and `v_reset`, which give its bound
        self.reset = checks.choice("reset", reset, RESETS)
        self.surrogate = surrogate
        self.detach_reset = detach_reset
        self.per = checks.choice("per", per, PER)

    @staticmethod
    def step(p, state, x):
        """Do one step; return ``(state, spikes)``."""
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
            self._given[name] = value
        super().__setattr__(name, value)

    def _parameter(self, name, value):
        """Return the parameter ``value`` as a float or as an initializer, or raise an error."""
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
            return self.bounds.get(name, Clip(min_value=self.v_reset))  # a smaller threshold fires at rest
        return self.bounds.get(name)

    def build_parts(self, shape):
        self._units = self.known_units(shape)
        for name in self.parameter_names:
            value, bound = self._given[name], self._bound(name)
            built = isinstance(getattr(self, name), keras.Variable)
            if built or (name not in self.learn and not callable(value)):
                continue
            initializer = value if callable(value) else keras.initializers.Constant(value)
            weight = self.add_weight(
                name=name,
                shape=self._parameter_shape(shape[2:]),
                initializer=initializer if bound is None else _within(bound, initializer),
                constraint=bound,
                dtype=voltage_dtype(self.variable_dtype),
                trainable=name in self.learn,
            )
            setattr(self, name, weight)

    def _parameter_shape(self, units):
        if self.per == "layer":
            return ()
        return units if self.per == "unit" else units[-1:]

    def parameter_values(self):
        """Return the values in force of the parameters as a dict: numbers, or tensors clamped to their bounds.

        A weight can be outside its bounds, because only Keras's optimizers apply constraints. Report these values, not
        the weights.
        """
        values = {}
        for name in self.parameter_names:
            value, bound = getattr(self, name), self._bound(name)
            is_weight = isinstance(value, keras.Variable)
            value = ops.convert_to_tensor(value) if is_weight else value
            clamps = is_weight and bound is not None
            values[name] = bounded(value, bound.min_value, bound.max_value) if clamps else value
        return values

    def equation_values(self, p):
        """Return the dict of what ``step`` finds in its ``p``, from a dict of the layer's parameters.

        Override it where the equations are written in other terms than the arguments.
        """
        leaks = {leak: 1 / p[name] for name, leak in self.time_constants.items()}
        return {**{name: value for name, value in p.items() if name not in self.time_constants}, **leaks}

    def equations(self, states):
        """Return the step with its constants, a ``Neuron``, and the dict of its other parameters, which are tensors.

        Args:
            states: List of tensors ``(batch, ...)``. Only their shapes matter.
        """
        options = {name: getattr(self, name) for name in self.options}
        values = self.equation_values({**self.parameter_values(), **options})
        params = {name: value for name, value in values.items() if ops.is_tensor(value)}
        constants = tuple((name, value) for name, value in values.items() if name not in params)
        step = self.step
        if self.refractory:
            step, constants = refractory(step), (*constants, ("refractory", self.refractory))
        step = Neuron(step, constants, self.surrogate, self.reset, self.detach_reset)
        # Of the shape of a batch, where it can be: then its gradient is summed over it once, and not in every step.
        return step, {name: self.spread(name, value, states) for name, value in params.items()}

    def run(self, inputs, states, training, mask=None):
        step, params = self.equations(states)
        inference = training is False  # None leaves it open
        options = {"unroll": self.unroll, "pointwise": self.pointwise, "inference": inference, "mask": mask}
        outputs, states = scan(step, tuple(states), ops.cast(inputs, states[0].dtype), params, **options)
        return outputs, list(states)

    def spread(self, name, value, states):
        """Return a parameter as the engine gets it: one value for each unit of the batch."""
        return ops.broadcast_to(value, ops.shape(states[0]))

    def step_shapes(self, shape):
        units = tuple(shape[2:])
        return units, [units] * (len(self.state_names) + bool(self.refractory))

    def initial_state(self, batch_size):
        shape, dtype = (batch_size, *self._units), voltage_dtype(self.compute_dtype)
        starts = [self.v_reset if name == "v" else 0 for name in self.state_names]
        states = [ops.full(shape, start, dtype=dtype) for start in starts]
        return [*states, ops.zeros(shape, "int32")] if self.refractory else states

    @property
    def spike_unit(self):
        """What the outputs are multiplied by to get numbers of spikes: nothing, as they are 0 or 1."""
        return 1.0

    def in_hertz(self, outputs):
        return outputs / ops.cast(self.dt, outputs.dtype)

    def get_config(self):
        config = super().get_config()
        for name, value in self._given.items():
            config[name] = keras.initializers.serialize(value) if callable(value) else value
        config |= {name: getattr(self, name) for name in ("reset", "v_reset", "detach_reset", "per", *self.options)}
        return {**config, "surrogate": surrogates.serialize(self.surrogate), "learn": list(self.learn)}


def _within(bound, initializer):
    return lambda shape, dtype=None: bound(initializer(shape, dtype))
