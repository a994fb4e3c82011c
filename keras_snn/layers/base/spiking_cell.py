"""The base of cells, which compute one time step."""

import inspect
import operator
import weakref
from typing import Any, ClassVar

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
    """Base class of cells: one time step of a spiking layer, in training and in inference.

    Override ``call_inference(inputs, states)``, and ``call_training`` if training differs. Each returns the pair
    ``(outputs, states)``. ``RNN(cell)`` or a ``SpikingLayer`` then runs the cell over time, with the gradient of the
    whole sequence. Weights are made in ``build`` as in any Keras layer. ``self.dt`` is the current time step.

    The engine compiles the cell. It compiles again for another value of a public attribute that is a number, a string
    or a boolean. Other attributes, and those of layers inside the cell, must not change after the first call.

    Args:
        size: Integer, tuple of integers or ``tf.TensorShape``, shape of the outputs of one step without the batch axis.
            The attribute ``size`` is an integer or a tuple.
        state_size: The shape of a single state, in the form of ``size``, or a list of such shapes, one for each state.
            Default: ``size``.
        dt: Number in seconds, or a scalar variable. Default: ``keras_snn.default.dt`` when the cell is made.
        always_use_inference: Boolean, use ``call_inference`` in training too. Default True.
        **kwargs: Arguments of ``keras.layers.Layer``, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: Tensor ``(batch, ...)``, one time step.
        states: List of tensors ``(batch, ...)``.
        training: Boolean, or None for inference. Default None.

    Returns the outputs ``(batch, ...)`` and the list of new states.

    Raises:
        TypeError: If ``size`` or ``state_size`` does not consist of integers.
        NotImplementedError: If ``call_inference`` is not overridden, when called.

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

    changeable: ClassVar[tuple[str, ...]] = ("always_use_inference",)
    #: Returns the layer that runs the cell, or None. Both have the same values of changeable arguments.
    owner: Any = staticmethod(lambda: None)
    #: Whether the outputs are spikes.
    emits_spikes = True
    #: Whether the engine runs ``call_sequence``. False: it runs ``call`` step by step. In a subclass it is True if the
    #: subclass overrides ``call_sequence``, else False if it overrides ``call``, ``call_training`` or
    #: ``call_inference``, else the value of the base class. A subclass can also set it.
    runs_call_sequence = True

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "runs_call_sequence" in vars(cls):
            return
        cells = [base for base in cls.__bases__ if issubclass(base, SpikingCell)]
        inherited_from = next((base for base in cells if base.call_sequence is cls.call_sequence), None)
        cls.runs_call_sequence = inherited_from is None or (
            inherited_from.runs_call_sequence
            and all(getattr(cls, name) is getattr(inherited_from, name) for name in _STEP_METHODS)
        )

    def __init__(
        self, size: Any, state_size: Any = None, dt: Any = None, always_use_inference: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(dt=dt, **kwargs)
        self.size = _as_integers(size)
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

    def call_training(self, inputs: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Compute one step in training; return ``(outputs, states)``. Default: as in inference."""
        return self.call_inference(inputs, states)

    def call_inference(self, inputs: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Compute one step in inference; return ``(outputs, states)``."""
        if type(self).call_sequence is SpikingCell.call_sequence:
            raise NotImplementedError(f"{type(self).__name__} must override `call_inference(inputs, states)`.")
        return self._one_step(inputs, states, training=False)

    def call_sequence(
        self, inputs: Tensor, states: Nest, training: bool | None, mask: Tensor = None
    ) -> tuple[Tensor, Nest]:
        """Run the cell over axis 1 of ``inputs``; return ``(outputs, states)``.

        A subclass can override it with a faster computation of the same values, instead of the methods of one step.
        States are held where the bool tensor ``mask (batch, time)`` is False; outputs there are not used.
        """
        step = _CellStep(self, bool(training), states)
        dtype = voltage_dtype(self.compute_dtype)
        inputs = ops.cast(inputs, dtype)
        dt = self.dt if isinstance(self, HasTimeStep) else probe.dt()
        dt = [] if dt is None else [ops.convert_to_tensor(dt, dtype)]
        trainable = [ops.convert_to_tensor(v) for v in self.trainable_variables]
        # Copied: PyTorch needs the old values in the backward pass.
        non_trainable = [ops.copy(v) for v in self.non_trainable_variables]
        xs = (inputs,) if mask is None else (inputs, mask)
        start, params = (tree.flatten(states), non_trainable), (trainable, dt)
        outputs, (states, new_values) = scan(step, start, xs, params, inference=training is False)
        for variable, value in zip(self.non_trainable_variables, new_values, strict=True):
            variable.assign(value)
        return outputs, states

    def get_initial_state(self, inputs=None, batch_size=None, dtype=None):
        """Return the states before the first step: a list of zeros ``(batch, ...)``."""
        if batch_size is None:
            batch_size = ops.shape(inputs)[0]
        dtype = dtype or voltage_dtype(self.compute_dtype)
        return [ops.zeros((batch_size, *shape), dtype) for shape in self.state_shapes]

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the states without the batch axis."""
        return [shape_of(size) for size in self._state_sizes]

    @property
    def _state_sizes(self):
        sizes = self.state_size
        is_list = isinstance(sizes, (list, tuple)) and (isinstance(sizes, list) or any(map(_is_iterable, sizes)))
        return [_as_integers(size) for size in (sizes if is_list else [sizes])]

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


def same_argument(cell: keras.layers.Layer, layer: keras.layers.Layer, name: str) -> bool:
    """Return whether a cell and its layer have the same value of an argument."""
    name = "_dt" if name == "dt" else name  # `dt` can be that of an open scope
    return getattr(cell, name) == getattr(layer, name)


def check_cell(cell: Any) -> keras.layers.Layer:
    """Return ``cell`` if the engine can run it, or raise TypeError or ValueError."""
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


def keep_wide(cell: keras.layers.Layer) -> None:
    """Turn off autocasting in a built Keras cell: its states accumulate, and mixed precision would round them."""
    for part in cell._flatten_layers():
        part.autocast = False
    for variable in cell.variables:
        variable._autocast = False  # as in `check_variable`


def initial_states(cell: Any, batch_size: int) -> Nest:
    """Return the initial states of ``cell``, as a nest.

    ``get_initial_state`` receives ``inputs=None``, ``batch_size`` and ``dtype`` if it accepts them.
    """
    dtype = voltage_dtype(cell.compute_dtype)
    if not hasattr(cell, "get_initial_state"):
        return [ops.zeros((batch_size, size), dtype) for size in tree.flatten(cell.state_size)]
    options = {"inputs": None, "batch_size": batch_size, "dtype": dtype}
    states = cell.get_initial_state(**_accepted_options(cell.get_initial_state, options))
    states = list(states) if tree.is_nested(states) else [states]
    if isinstance(cell, SpikingCell):
        return states
    # Under a half-precision policy, Keras's cells return states in half precision.
    return tree.map_structure(lambda state: ops.cast(state, dtype), states)


def _accepted_options(function, options):
    """Return the ``options`` that ``function`` accepts as arguments."""
    parameters = inspect.signature(function).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return {name: value for name, value in options.items() if takes_all or name in parameters}


def shape_of(size: Any) -> tuple[int, ...]:
    """Return a size, an integer or an iterable of integers, as the shape of one step without the batch axis."""
    size = _as_integers(size)
    return (size,) if isinstance(size, int) else size


def _as_integers(size):
    """Return an integer, or a tuple of integers for a list (from JSON), a ``tf.TensorShape`` or any other iterable."""
    try:
        return tuple(map(operator.index, size)) if _is_iterable(size) else operator.index(size)
    except TypeError:
        raise TypeError(f"`size` and `state_size` must be an integer or a tuple of integers, got {size!r}.") from None


def _is_iterable(size):
    return hasattr(size, "__iter__")


def run_cell(cell: Any, inputs: Tensor, states: Nest, training: bool | None, *mask: Tensor) -> tuple[Tensor, Nest]:
    """Run ``cell`` over axis 1 of ``inputs``: by its ``call_sequence``, or step by step."""
    cell_class = type(cell) if getattr(cell, "runs_call_sequence", False) else SpikingCell
    return cell_class.call_sequence(cell, inputs, states, training, *mask)


class _CellStep:
    """A cell as a pure step: trainable variables are params, and non-trainable variables are part of the state."""

    def __init__(self, cell, training, states):
        self.structure = tree.map_structure(lambda _: 0, states)
        self.cell = weakref.ref(cell)  # the engine caches steps, which must not keep models alive
        public = ((name, value) for name, value in vars(cell).items() if not name.startswith("_"))
        # Compiled code contains these values as constants: a new value needs a new step.
        constants = tuple((name, value) for name, value in public if isinstance(value, (bool, int, float, str)))
        self.key = (id(cell), training, constants)
        self.options = _accepted_options(cell.call, {"training": training})

    def __eq__(self, other):
        return isinstance(other, _CellStep) and self.key == other.key and self.cell() is other.cell()

    def __hash__(self):
        return hash(self.key)

    def __call__(self, params, state, x):
        (trainable, dt), (states, non_trainable), (x, *mask) = params, state, x
        cell: Any = self.cell()
        with probe.scope(dt=dt[0] if dt else None):
            (outputs, new_states), new_values = cell.stateless_call(
                trainable, non_trainable, x, tree.pack_sequence_as(self.structure, states), **self.options
            )
        new_states = tree.flatten(new_states)
        return (held(mask[0], new_states, states) if mask else new_states, list(new_values)), outputs
