"""The base of cells: what a layer does in one time step."""

import weakref

import keras
from keras import ops, tree

from keras_snn import probe
from keras_snn.layers.base.time_step import HasTimeStep
from keras_snn.ops.precision import voltage_dtype
from keras_snn.ops.scan import held, scan


@keras.saving.register_keras_serializable(package="keras_snn")
class SpikingCell(HasTimeStep):
    """One time step of a spiking layer, with a training and an inference behaviour; the class to subclass.

    Override ``call_inference(inputs, states)``, and ``call_training`` where training differs; each returns the pair
    ``(outputs, states)``. ``RNN(cell)`` or a ``SpikingLayer`` then runs the cell over time, with the gradient of the
    whole sequence. Weights are made in ``build`` as in any Keras layer. ``self.dt`` is the time step in force.

    Args:
        size: Integer or tuple of integers, shape of the outputs of one step without the batch axis.
        state_size: Integer or tuple, shape of the one state; or a list of those, one a state. Default: ``size``.
        dt: Number in seconds, or a scalar variable. Default: ``keras_snn.default.dt`` when the cell is made.
        always_use_inference: Boolean, use ``call_inference`` in training too.

    Call arguments:
        inputs: Tensor ``(batch, ...)``, one time step.
        states: List of tensors ``(batch, ...)``.
        training: Boolean.

    Example:

    ```python
    class Threshold(keras_snn.layers.SpikingCell):
        def call_inference(self, inputs, states):
            voltage = states[0] + inputs * self.dt
            spikes = ops.cast(voltage >= 1, inputs.dtype)
            return spikes / self.dt, [voltage - spikes]

    layer = keras_snn.layers.RNN(Threshold(8, dt=0.01))
    ```
    """

    changeable = ("always_use_inference",)
    #: Whether the outputs are spikes, for the tools that look at them.
    emits_spikes = True

    def __init__(self, size, state_size=None, dt=None, always_use_inference=True, **kwargs):
        super().__init__(dt=dt, **kwargs)
        self.size = tuple(size) if isinstance(size, list) else size  # JSON brings a list
        self.state_size = self.size if state_size is None else state_size
        self.output_size = self.size
        self.always_use_inference = always_use_inference

    def call(self, inputs, states, training=None):
        if training and not self.always_use_inference:
            return self.call_training(inputs, states)
        return self.call_inference(inputs, states)

    def call_training(self, inputs, states):
        """Do one step in training: here, as in inference."""
        return self.call_inference(inputs, states)

    def call_inference(self, inputs, states):
        """Do one step; return ``(outputs, states)``."""
        if type(self).call_sequence is SpikingCell.call_sequence:
            raise NotImplementedError(f"{type(self).__name__} has to override `call_inference(inputs, states)`.")
        return self._one_step(inputs, states, training=False)

    def call_sequence(self, inputs, states, training, mask=None):
        """Run the cell over axis 1 of ``inputs``; return ``(outputs, states)``.

        A cell with a faster way to the same values overrides it, and need not override the calls of one step. The
        states are held where the bool tensor ``mask (batch, time)`` is False; outputs there are not used.
        """
        step = _CellStep(self, bool(training))
        wide = voltage_dtype(self.compute_dtype)
        inputs, dt = ops.cast(inputs, wide), ops.convert_to_tensor(self.dt, wide)
        trainable = [ops.convert_to_tensor(v) for v in self.trainable_variables]
        # Copied, since PyTorch needs the old values in the backward pass.
        changing = [ops.copy(v) for v in self.non_trainable_variables]
        xs = (inputs,) if mask is None else (inputs, mask)
        outputs, (states, changed) = scan(step, (list(states), changing), xs, (trainable, dt))
        for variable, value in zip(self.non_trainable_variables, changed, strict=True):
            variable.assign(value)
        return outputs, states

    def get_initial_state(self, inputs=None, batch_size=None, dtype=None):
        """Return the states before the first step: a list of zeros ``(batch, ...)``."""
        if batch_size is None:
            batch_size = ops.shape(inputs)[0]
        dtype = dtype or voltage_dtype(self.compute_dtype)
        return [ops.zeros((batch_size, *shape), dtype) for shape in self.state_shapes]

    @property
    def state_shapes(self):
        """The shapes of the states without the batch axis."""
        return [(size,) if isinstance(size, int) else tuple(size) for size in self._state_sizes]

    @property
    def _state_sizes(self):
        return self.state_size if isinstance(self.state_size, list) else [self.state_size]

    def get_config(self):
        return {
            **super().get_config(),
            "size": self.size,
            "state_size": list(self._state_sizes),
            "always_use_inference": self.always_use_inference,
        }

    def _one_step(self, inputs, states, training):
        outputs, states = self.call_sequence(ops.expand_dims(inputs, 1), states, training)
        return outputs[:, 0], states


KerasSpikingCell = SpikingCell


def run_cell(cell, inputs, states, training, *mask):
    """Run ``cell`` over axis 1 of ``inputs``: its own way over the sequence, unless a subclass changed the step."""
    classes = type(cell).__mro__
    place = {name: next(i for i, c in enumerate(classes) if name in vars(c)) for name in _WAYS}
    run = type(cell) if place["call_sequence"] <= min(place.values()) else SpikingCell
    return run.call_sequence(cell, inputs, states, training, *mask)


_WAYS = ("call_sequence", "call", "call_training", "call_inference")


class _CellStep:
    """A cell as a pure step: its variables come as params, those that change as state."""

    def __init__(self, cell, training):
        self.cell = weakref.ref(cell)  # the engine remembers steps: it must not keep models alive
        plain = ((name, value) for name, value in vars(cell).items() if not name.startswith("_"))
        # What the step takes for constants: a change of one makes another step of it.
        constants = tuple((name, value) for name, value in plain if isinstance(value, (bool, int, float, str)))
        self.key = (id(cell), training, constants)
        self.training = training

    def __eq__(self, other):
        return isinstance(other, _CellStep) and self.key == other.key and self.cell() is other.cell()

    def __hash__(self):
        return hash(self.key)

    def __call__(self, params, state, x):
        trainable, dt = params
        states, changing = state
        x, *counts = x
        with probe.scope(dt=dt):
            (outputs, new_states), changed = self.cell().stateless_call(
                trainable, changing, x, states, training=self.training
            )
        new_states = new_states if tree.is_nested(new_states) else [new_states]
        new_states = list(new_states)
        return (held(*counts, new_states, states) if counts else new_states, list(changed)), outputs
