"""The base of layers with states that change over time."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_snn import probe
from keras_snn.hints import Shape, Tensor
from keras_snn.layers.base.states import States
from keras_snn.layers.base.time_step import HasTimeStep
from keras_snn.layers.time.time_fold import check_mask
from keras_snn.ops import masks
from keras_snn.ops.precision import voltage_dtype


class SequenceLayer(States, HasTimeStep):
    """The base of ``SpikingLayer``, which runs a cell, and of ``SpikingNeuron``, which runs a step.

    A subclass overrides ``build_parts``, ``step_shapes``, ``initial_state`` and ``run``. The arguments are those of
    ``SpikingLayer``.
    """

    #: Whether the outputs are spikes.
    emits_spikes = True

    def __init__(
        self,
        dt: Any = None,
        *,
        return_sequences: bool = True,
        return_state: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        time_major: bool = False,
        go_backwards: bool = False,
        stands_for: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(dt=dt, **kwargs)
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.stateful = stateful
        self.unroll = unroll
        self.time_major = time_major
        self.go_backwards = go_backwards
        self.stands_for = _call_and_unit(stands_for)
        self.supports_masking = True

    def build_parts(self, shape: Shape) -> None:
        """Make the weights, and the cell if there is one, for inputs of shape ``(batch, time, ...)``."""
        raise NotImplementedError

    def run(
        self, inputs: Tensor, states: list[Tensor], training: bool | None, mask: Tensor = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the outputs ``(batch, time, ...)`` and the list of the last states.

        States are held where the bool tensor ``mask (batch, time)`` is False; outputs there are not used.
        """
        raise NotImplementedError

    def step_shapes(self, shape: Shape) -> tuple[Shape, Sequence[Shape]]:
        """Return the shape of one step's outputs and the list of state shapes, without the batch axis."""
        raise NotImplementedError

    @property
    def spike_unit(self) -> Tensor:
        """The factor that converts outputs to numbers of spikes: dt, because outputs are in Hz."""
        return self.dt

    def in_hertz(self, outputs: Tensor) -> Tensor:
        """Return the outputs as rates in Hz."""
        return outputs

    def build(self, input_shape):
        shape = self._check_shape(input_shape)
        self.build_parts(shape)
        _, self._state_shapes = self.step_shapes(shape)
        with probe.scope():  # an open scope numbers the random draws of calls; this one is not part of a call
            self._state_dtypes = [keras.backend.standardize_dtype(state.dtype) for state in self.initial_state(1)]
        if self.stateful:
            self.add_states([(shape[0], *units) for units in self._state_shapes], self._state_dtypes)
        self.input_spec = keras.layers.InputSpec(shape=(None, None, *shape[2:]))

    def call(self, inputs, training=None, initial_state=None, mask=None, inputs_mask=None):
        if training is None and keras.config.backend() == "torch":
            training = self._torch_mode()
        # Keras passes the mask as `inputs_mask` if `initial_state` is a tensor.
        mask = check_mask(self, inputs_mask if mask is None else mask, inputs.shape)
        batch_size = self._check_shape(inputs.shape)[0]
        # Half precision holds neither spikes of height 1 / dt nor sums of many spikes.
        x = self._along_time(ops.cast(inputs, voltage_dtype(self.compute_dtype)))
        if mask is not None:
            mask = self._along_time(mask)
            x = masks.only_counted(x, mask)
        if self.emits_spikes:
            x = probe.record_inputs(self, x)
        mask_arguments = () if mask is None else (mask,)
        slot = probe.slot(self)
        keeps_state = self.stateful and not (slot.is_open or probe.draws_by_index())
        if keeps_state and initial_state is None:
            x, states = self.start_from_states(x)
        else:
            states = slot.start(lambda: self._first_states(initial_state, x, batch_size))
        outputs, states = self.run(x, states, training, *mask_arguments)
        slot.end(states)
        outputs = ops.cast(outputs, self.output_dtype)
        if mask is not None:
            outputs = (masks.only_counted if self.emits_spikes else probe.hold_last)(outputs, mask)
        if keeps_state:
            self.keep_states(states)
        if self.emits_spikes:
            outputs = probe.record(self, outputs, *mask_arguments)
        if self.return_sequences:
            outputs = ops.swapaxes(outputs, 0, 1) if self.time_major else outputs
        else:
            # The outputs of an analog layer are already held at masked steps.
            outputs = (probe.hold_last(outputs, mask) if mask is not None and self.emits_spikes else outputs)[:, -1]
        return [outputs, *states] if self.return_state else outputs

    def _first_states(self, initial_state, x, batch_size):
        if initial_state is not None:
            return self._check_states(initial_state, batch_size)
        return self.initial_state(ops.shape(x)[0])

    @property
    def output_dtype(self) -> str:
        """The dtype of the outputs: the compute dtype, which holds 0/1 spikes and analog values."""
        return self.compute_dtype

    def _torch_mode(self):
        """Return whether this module and the outermost one are both in training mode.

        Keras does not make the layers of a functional model its submodules: ``train`` and ``eval`` do not reach them.
        """
        context = self._get_call_context()
        if not hasattr(context, "training"):  # `call` was called directly, and the line above made the context
            self._maybe_reset_call_context()
        return self.training and context.entry_layer.training

    def _check_shape(self, input_shape):
        """Return ``input_shape`` as ``(batch, time, ...)``, or raise ValueError for an invalid shape."""
        if len(input_shape) < 3:
            raise ValueError(
                f"{type(self).__name__} needs inputs (batch, time, ...) with at least one axis after time, got shape "
                f"{tuple(input_shape)}. To give still inputs a time axis, put keras_snn.layers.Repeat(n_steps) before "
                "it. A single unit has the shape (batch, time, 1)."
            )
        shape = self._batch_major(input_shape)
        if shape[1] == 0:
            raise ValueError(f"{type(self).__name__} needs at least one time step, got shape {tuple(input_shape)}.")
        return shape

    def known_units(self, shape: Shape) -> Shape:
        """Return the shape of one step, or raise ValueError if it has an unknown axis."""
        if None in shape[2:]:
            raise ValueError(
                f"{type(self).__name__} needs to know the size of every axis after time, got shape {tuple(shape)}."
            )
        return tuple(shape[2:])

    def _check_states(self, states, batch_size):
        """Return ``states`` as a list of tensors in the states' dtypes, or raise ValueError for other shapes."""
        states = list(states) if isinstance(states, (list, tuple)) else [states]
        shapes = [tuple(state.shape) for state in states]
        expected = [(batch_size, *units) for units in self._state_shapes]
        if len(shapes) != len(expected) or not all(map(_is_compatible, shapes, expected)):
            raise ValueError(f"`initial_state` of {self.name!r} must have the shapes {expected}, got {shapes}.")
        return [ops.cast(state, dtype) for state, dtype in zip(states, self._state_dtypes, strict=True)]

    def compute_mask(self, inputs, mask=None):
        if mask is not None and self.go_backwards:
            mask = ops.flip(mask, axis=0 if self.time_major else 1)
        mask = mask if self.return_sequences else None
        return [mask, *(None for _ in self._state_shapes)] if self.return_state else mask

    def compute_output_shape(self, input_shape):
        shape = self._check_shape(input_shape)
        size, states = self.step_shapes(shape)
        outputs = self._batch_major((*shape[:2], *size)) if self.return_sequences else (shape[0], *size)
        # A tuple, as in Keras's RNNs: `Bidirectional` adds two of them.
        return (outputs, *((shape[0], *units) for units in states)) if self.return_state else outputs

    def compute_output_spec(self, inputs, training=None, initial_state=None, mask=None, inputs_mask=None):
        check_mask(self, inputs_mask if mask is None else mask, inputs.shape)
        shapes = self.compute_output_shape(inputs.shape)
        if not self.return_state:
            return keras.KerasTensor(shapes, self.output_dtype)
        dtypes = [self.output_dtype, *self._state_dtypes]
        return [keras.KerasTensor(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]

    def _batch_major(self, shape):
        return (shape[1], shape[0], *shape[2:]) if self.time_major else tuple(shape)

    def _along_time(self, x):
        """Return ``x`` as ``(batch, time, ...)``, with the steps in the order of execution."""
        x = ops.swapaxes(x, 0, 1) if self.time_major else x
        return ops.flip(x, axis=1) if self.go_backwards else x

    def get_config(self):
        names = ("return_sequences", "return_state", "stateful", "unroll", "time_major", "go_backwards")
        config = {**super().get_config(), **{name: getattr(self, name) for name in names}}
        if self.stands_for is None:
            return {**config, "stands_for": None}
        call, unit = self.stands_for
        return {**config, "stands_for": [call, list(unit) if isinstance(unit, tuple) else unit]}


def _call_and_unit(value):
    """Return ``stands_for`` as a tuple of Python values: Keras neither tracks nor saves these as a dependency."""
    if value is None:
        return None
    call: Any
    unit: Any
    call, unit = value if isinstance(value, (tuple, list)) and len(value) == 2 else (None, None)
    if not isinstance(call, str) or np.ndim(unit) > 1 or not np.issubdtype(np.asarray(unit).dtype, np.number):
        raise ValueError(f"`stands_for` must be a pair (name of a call, number or numbers), or None, got {value!r}.")
    return call, tuple(map(float, unit)) if np.ndim(unit) else float(unit)


def _is_compatible(shape, expected):
    return len(shape) == len(expected) and all(m == n or None in (m, n) for m, n in zip(shape, expected, strict=True))
