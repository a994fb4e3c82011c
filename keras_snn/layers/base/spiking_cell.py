"""The base of cells: what a layer does in one time step."""

import inspect
import operator
import weakref
from typing import Any

import keras
from keras import ops, tree

from keras_snn import probe
from keras_snn.hints import Nest, Tensor
from keras_snn.layers.base.time_step import HasTimeStep
from keras_snn.ops.precision import voltage_dtype
from keras_snn.ops.scan import held, scan

_STEP_METHODS = ("call", "call_training", "call_inference")


@keras.saving.register_keras_serializable(package="keras_snn")
class SpikingCell(HasTimeStep):
    """One time step of a spiking layer, with a training and an inference behavior; the class to subclass.

    Override ``call_inference(inputs, states)``, and ``call_training`` where training differs; each returns the pair
    ``(outputs, states)``. ``RNN(cell)`` or a ``SpikingLayer`` then runs the cell over time, with the gradient of the
    whole sequence. Weights are made in ``build`` as in any Keras layer. ``self.dt`` is the time step in force.

    Args:
        size: Integer, tuple of integers or ``tf.TensorShape``, shape of the outputs of one step without the batch axis.
            The attribute ``size`` is an integer or a tuple.
        state_size: As ``size``, the shape of a single state; or a list of such shapes, one for each state. Default:
            ``size``.
        dt: Number in seconds, or a scalar variable. Default: ``keras_snn.default.dt`` when the cell is made.
        always_use_inference: Boolean, use ``call_inference`` in training too.

    Call arguments:
        inputs: Tensor ``(batch, ...)``, one time step.
        states: List of tensors ``(batch, ...)``.
        training: Boolean.

    Example:

    ```python
    @keras.saving.register_keras_serializable(package="my_cells")
    class Threshold(keras_snn.layers.SpikingCell):
        def call_inference(self, inputs, states):
            voltage = states[0] + inputs * self.dt
            spikes = ops.cast(voltage >= 1, inputs.dtype)
            return spikes / self.dt, [voltage - spikes]

    layer = keras_snn.layers.RNN(Threshold(8, dt=0.01))
    ```
    """

    changeable = ("always_use_inference",)
    #: Returns the layer that runs the cell, which has the same dt and other changeable arguments.
    owner = staticmethod(lambda: None)
    #: Whether the outputs are spikes.
    emits_spikes = True
    #: Whether the engine runs ``call_sequence``. False: it runs the methods of one step, ``call``, ``call_training`` and
    #: ``call_inference``. By default, the method that a class overrides sets it: ``call_sequence`` to True, and without
    #: ``call_sequence`` one of the others to False.
    runs_call_sequence = True

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "runs_call_sequence" in vars(cls):
            return
        parent = next(base for base in cls.__bases__ if issubclass(base, SpikingCell))
        if cls.call_sequence is not parent.call_sequence:
            cls.runs_call_sequence = True
        elif any(getattr(cls, name) is not getattr(parent, name) for name in _STEP_METHODS):
            cls.runs_call_sequence = False

    def __init__(self, size, state_size=None, dt=None, always_use_inference=True, **kwargs):
        super().__init__(dt=dt, **kwargs)
        self.size = _integers(size)
        self.state_size = self.size if state_size is None else state_size
        self.output_size = self.size
        self.always_use_inference = always_use_inference

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        layer = self.owner()
        if layer is not None and name in type(layer).changeable and not same_argument(self, layer, name):
            setattr(layer, name, value)

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
            raise NotImplementedError(f"{type(self).__name__} must override `call_inference(inputs, states)`.")
        return self._one_step(inputs, states, training=False)

    def call_sequence(self, inputs, states, training, mask=None):
        """Run the cell over axis 1 of ``inputs``; return ``(outputs, states)``.

        A cell with a faster way to the same values overrides it, and need not override the calls of one step. The
        states are held where the bool tensor ``mask (batch, time)`` is False; outputs there are not used.
        """
        step = _CellStep(self, bool(training), states)
        wide = voltage_dtype(self.compute_dtype)
        inputs = ops.cast(inputs, wide)
        dt = self.dt if isinstance(self, HasTimeStep) else probe.dt()
        dt = [] if dt is None else [ops.convert_to_tensor(dt, wide)]
        trainable = [ops.convert_to_tensor(v) for v in self.trainable_variables]
        # Copied, since PyTorch needs the old values in the backward pass.
        changing = [ops.copy(v) for v in self.non_trainable_variables]
        xs = (inputs,) if mask is None else (inputs, mask)
        start, params = (tree.flatten(states), changing), (trainable, dt)
        outputs, (states, changed) = scan(step, start, xs, params, inference=training is False)
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
        return [shape_of(size) for size in self._state_sizes]

    @property
    def _state_sizes(self):
        sizes = self.state_size
        several = isinstance(sizes, (list, tuple)) and (isinstance(sizes, list) or any(map(_is_iterable, sizes)))
        return [_integers(size) for size in (sizes if several else [sizes])]

    def get_config(self):
        return {
            **super().get_config(),
            "size": self.size,
            "state_size": self._state_sizes,
            "always_use_inference": self.always_use_inference,
        }

    def _one_step(self, inputs, states, training):
        outputs, states = self.call_sequence(ops.expand_dims(inputs, 1), states, training)
        return outputs[:, 0], states


KerasSpikingCell = SpikingCell


def same_argument(cell, layer, name):
    """Return whether a cell and its layer have the same value of an argument."""
    name = "_dt" if name == "dt" else name  # not that of an open scope
    return getattr(cell, name) == getattr(layer, name)


def check_cell(cell):
    """Return ``cell`` if the engine can run it, or raise an error."""
    if not (isinstance(cell, keras.layers.Layer) and hasattr(cell, "state_size")):
        raise TypeError(
            "`cell` must be a keras_snn.layers.SpikingCell or a Keras layer with `state_size` and "
            f"`call(inputs, states)`, such as keras.layers.LSTMCell, got {cell!r}."
        )
    for part in cell._flatten_layers():
        if hasattr(part, "reset_dropout_mask") and (part.dropout or part.recurrent_dropout):
            raise ValueError(
                f"{part.name!r} ({type(part).__name__}) must have `dropout` and `recurrent_dropout` of 0, got "
                f"{part.dropout} and {part.recurrent_dropout}. Keras keeps dropout masks outside the time loop. Put a "
                "keras.layers.Dropout before this layer, or run the cell in keras.layers.RNN."
            )
    return cell


def keep_wide(cell):
    """Turn off autocasting in a built Keras cell: mixed precision would round its states, which accumulate."""
    for part in cell._flatten_layers():
        part.autocast = False
    for variable in cell.variables:
        variable._autocast = False  # as in `check_variable`


def initial_states(cell, batch_size):
    """Return the initial states of ``cell``, as a nest.

    ``get_initial_state`` receives ``inputs=None``, ``batch_size`` and ``dtype``, as far as it accepts them.
    """
    dtype = voltage_dtype(cell.compute_dtype)
    if not hasattr(cell, "get_initial_state"):
        return [ops.zeros((batch_size, size), dtype) for size in tree.flatten(cell.state_size)]
    options = {"inputs": None, "batch_size": batch_size, "dtype": dtype}
    states = cell.get_initial_state(**_accepted(cell.get_initial_state, options))
    states = list(states) if tree.is_nested(states) else [states]
    if isinstance(cell, SpikingCell):
        return states
    # Under a half-precision policy, Keras's cells give states in half precision.
    return tree.map_structure(lambda state: ops.cast(state, dtype), states)


def _accepted(function, options):
    """Return the ``options`` that ``function`` accepts as arguments."""
    parameters = inspect.signature(function).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return {name: value for name, value in options.items() if takes_all or name in parameters}


def shape_of(size):
    """Return the shape of one step, without the batch axis, that an integer or an iterable of integers gives."""
    size = _integers(size)
    return (size,) if isinstance(size, int) else size


def _integers(size):
    """Return an integer, or a tuple of integers for a list (from JSON), a ``tf.TensorShape`` or any other iterable."""
    try:
        return tuple(map(operator.index, size)) if _is_iterable(size) else operator.index(size)
    except TypeError:
        raise TypeError(f"`size` and `state_size` must be an integer or a tuple of integers, got {size!r}.") from None


def _is_iterable(size):
    return hasattr(size, "__iter__")


def run_cell(cell: Any, inputs: Tensor, states: Nest, training: bool | None, *mask: Tensor) -> tuple[Tensor, Nest]:
    """Run ``cell`` over axis 1 of ``inputs``: by its ``call_sequence``, or step by step."""
    run = type(cell) if getattr(cell, "runs_call_sequence", False) else SpikingCell
    return run.call_sequence(cell, inputs, states, training, *mask)


class _CellStep:
    """A cell as a pure step: its variables come as params, those that change as state."""

    def __init__(self, cell, training, states):
        self.structure = tree.map_structure(lambda _: 0, states)
        self.cell = weakref.ref(cell)  # the engine remembers steps: it must not keep models alive
        plain = ((name, value) for name, value in vars(cell).items() if not name.startswith("_"))
        # What the step takes for constants: a change of one makes another step of it.
        constants = tuple((name, value) for name, value in plain if isinstance(value, (bool, int, float, str)))
        self.key = (id(cell), training, constants)
        self.options = _accepted(cell.call, {"training": training})

    def __eq__(self, other):
        return isinstance(other, _CellStep) and self.key == other.key and self.cell() is other.cell()

    def __hash__(self):
        return hash(self.key)

    def __call__(self, params, state, x):
        (trainable, dt), (states, changing), (x, *counts) = params, state, x
        cell = self.cell()
        with probe.scope(dt=dt[0] if dt else None):
            (outputs, new_states), changed = cell.stateless_call(
                trainable, changing, x, tree.pack_sequence_as(self.structure, states), **self.options
            )
        new_states = tree.flatten(new_states)
        return (held(*counts, new_states, states) if counts else new_states, list(changed)), outputs
