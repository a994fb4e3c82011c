"""The base of layers that run a state over time."""

import keras
from keras import ops

from keras_snn import probe
from keras_snn.layers.base.time_step import HasTimeStep


class SequenceLayer(HasTimeStep):
    """The plumbing of ``SpikingLayer``, which runs a cell, and of ``SpikingNeuron``, which runs a step.

    A subclass makes its parts in ``build_parts``, says the shapes of its states and outputs, and runs in ``run``. The
    arguments are those of ``SpikingLayer``.
    """

    #: Whether the outputs are spikes, for the tools that look at them.
    emits_spikes = True

    def __init__(
        self,
        dt=None,
        *,
        return_sequences=True,
        return_state=False,
        stateful=False,
        unroll=False,
        time_major=False,
        **kwargs,
    ):
        super().__init__(dt=dt, **kwargs)
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.stateful = stateful
        self.unroll = unroll
        self.time_major = time_major
        self.states = None
        self.supports_masking = True

    def build_parts(self, shape):
        """Make weights and whatever else the layer needs for inputs of shape ``(batch, time, ...)``."""
        raise NotImplementedError

    def run(self, inputs, states, training):
        """Return the outputs ``(batch, time, ...)`` and the list of the last states."""
        raise NotImplementedError

    def step_shapes(self, shape):
        """Return the shape of one step's outputs, and the list of those of the states, without the batch axis."""
        raise NotImplementedError

    def initial_state(self, batch_size):
        """Return the list of the states before the first step."""
        raise NotImplementedError

    @property
    def spike_unit(self):
        """What the outputs are multiplied by to get numbers of spikes: dt, as they are in Hz."""
        return self.dt

    def in_hertz(self, outputs):
        """Return the outputs as rates in Hz."""
        return outputs

    def build(self, input_shape):
        shape = self._check_shape(input_shape)
        if self.stateful and shape[0] is None:
            raise ValueError(
                f"{type(self).__name__} with stateful=True needs a static batch size; got shape {tuple(input_shape)}. "
                "Give it with keras.Input(..., batch_size=n)."
            )
        self.build_parts(shape)
        _, self._state_shapes = self.step_shapes(shape)
        with probe.scope():  # an open scope counts the draws of calls alone
            self._state_dtypes = [keras.backend.standardize_dtype(s.dtype) for s in self.initial_state(1)]
        if self.stateful:
            # By initializers: what is assigned here is lost where Keras builds the model symbolically, in `fit`.
            self.states = [
                self.add_weight(
                    (shape[0], *units),
                    initializer=lambda shape, dtype, i=i: ops.copy(self.initial_state(shape[0])[i]),
                    dtype=dtype,
                    trainable=False,
                    name="state",
                )
                for i, (units, dtype) in enumerate(zip(self._state_shapes, self._state_dtypes, strict=True))
            ]
        self.input_spec = keras.layers.InputSpec(shape=(None, None, *shape[2:]))

    def call(self, inputs, training=None, initial_state=None):
        if training is None and keras.config.backend() == "torch":
            training = self._torch_mode()
        batch_size = self._check_shape(inputs.shape)[0]
        x = self._swap_if_time_major(ops.cast(inputs, self.compute_dtype))
        keeps_state = self.stateful and not probe.draws_by_index()
        if initial_state is not None:
            states = self._check_states(initial_state, batch_size)
        elif keeps_state:
            # Copied, since PyTorch needs the old values in the backward pass.
            states = self._check_states([ops.copy(state) for state in self.states], batch_size)
        else:
            states = self.initial_state(ops.shape(x)[0])
        outputs, states = self.run(x, states, training)
        outputs = ops.cast(outputs, self.compute_dtype)
        if keeps_state:
            for variable, value in zip(self.states, states, strict=True):
                variable.assign(value)
        if self.emits_spikes:
            outputs = probe.record(self, outputs)
        if self.return_sequences:
            outputs = self._swap_if_time_major(outputs)
        else:
            outputs = probe.end_of_time(outputs, outputs[:, -1], probe.values_after)
        return [outputs, *states] if self.return_state else outputs

    def _torch_mode(self):
        """Return whether this module is in training mode, and the outermost one too.

        Keras does not make the layers of a functional model its submodules: ``train`` and ``eval`` do not reach them.
        """
        context = self._get_call_context()
        if not hasattr(context, "training"):  # made by asking, as nothing but `call` was called
            self._maybe_reset_call_context()
        return self.training and context.entry_layer.training

    def _check_shape(self, input_shape):
        """Return (batch, time, ...) if the inputs can have the shape ``input_shape``, else raise an error."""
        if len(input_shape) < 3:
            raise ValueError(
                f"{type(self).__name__} needs inputs (batch, time, ...) with at least one axis after time; got shape "
                f"{tuple(input_shape)}. Put keras_snn.layers.Repeat(n_steps) before it to give still inputs a time "
                "axis; a single unit has the shape (batch, time, 1)."
            )
        shape = self._batch_major(input_shape)
        if shape[1] == 0:
            raise ValueError(f"{type(self).__name__} needs at least one time step; got shape {tuple(input_shape)}.")
        return shape

    def known_units(self, shape):
        """Return the shape of one step, or raise an error if an axis of it is unknown."""
        if None in shape[2:]:
            raise ValueError(
                f"{type(self).__name__} needs to know the size of every axis after time; got shape {tuple(shape)}."
            )
        return tuple(shape[2:])

    def _check_states(self, states, batch_size):
        """Return ``states`` as tensors that the cell can start from, or raise an error."""
        states = list(states) if isinstance(states, (list, tuple)) else [states]
        shapes = [tuple(state.shape) for state in states]
        expected = [(batch_size, *units) for units in self._state_shapes]
        if len(shapes) != len(expected) or not all(map(_compatible, shapes, expected)):
            raise ValueError(
                f"{self.name!r} needs an `initial_state` of the shapes {expected} for these inputs; got {shapes}. A "
                "stateful layer keeps the batch size that it was built with."
            )
        return [ops.cast(state, dtype) for state, dtype in zip(states, self._state_dtypes, strict=True)]

    def reset_states(self, states=None):
        """Go back to the initial state, or to ``states``, of a stateful layer."""
        if not self.stateful:
            raise AttributeError(f"{self.name!r} has no states to reset: it is not stateful.")
        if self.states is None:
            raise ValueError(f"{self.name!r} has no states yet: build or call it first.")
        if states is None:
            states = self.initial_state(self.states[0].shape[0])
        states = states if isinstance(states, (list, tuple)) else [states]
        if len(states) != len(self.states):
            raise ValueError(f"`states` needs {len(self.states)} values for {self.name!r}; got {len(states)}.")
        for variable, value in zip(self.states, states, strict=True):
            variable.assign(value)

    reset_state = reset_states

    def compute_mask(self, inputs, mask=None):
        mask = mask if self.return_sequences else None
        return [mask, *(None for _ in self._state_shapes)] if self.return_state else mask

    def compute_output_shape(self, input_shape):
        shape = self._check_shape(input_shape)
        size, states = self.step_shapes(shape)
        outputs = self._batch_major((*shape[:2], *size)) if self.return_sequences else (shape[0], *size)
        return [outputs, *((shape[0], *units) for units in states)] if self.return_state else outputs

    def compute_output_spec(self, inputs, training=None, initial_state=None):
        shapes = self.compute_output_shape(inputs.shape)
        if not self.return_state:
            return keras.KerasTensor(shapes, self.compute_dtype)
        dtypes = [self.compute_dtype, *self._state_dtypes]
        return [keras.KerasTensor(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]

    def _batch_major(self, shape):
        return (shape[1], shape[0], *shape[2:]) if self.time_major else tuple(shape)

    def _swap_if_time_major(self, x):
        return ops.swapaxes(x, 0, 1) if self.time_major else x

    def get_config(self):
        names = ("return_sequences", "return_state", "stateful", "unroll", "time_major")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _compatible(shape, expected):
    return len(shape) == len(expected) and all(m == n or None in (m, n) for m, n in zip(shape, expected, strict=True))
