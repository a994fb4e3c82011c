"""The base of layers that run a cell over time."""

import functools
import warnings
import weakref
from types import SimpleNamespace

import keras
from keras import tree

from keras_snn.layers.base.sequence_layer import SequenceLayer
from keras_snn.layers.base.spiking_cell import (
    SpikingCell,
    check_cell,
    initial_states,
    keep_wide,
    run_cell,
    same_argument,
    shape_of,
)
from keras_snn.layers.base.time_step import layers_with_dt
from keras_snn.ops.precision import voltage_dtype


@keras.saving.register_keras_serializable(package="keras_snn")
class SpikingLayer(SequenceLayer):
    """A layer that runs a cell over time; the class to subclass. Override ``build_cell(input_shape)``.

    ``build_cell`` returns a ``SpikingCell``, or any Keras cell without dropout, such as ``keras.layers.LSTMCell``. The
    outputs of a Keras cell do not count as spikes, unless its attribute ``emits_spikes`` is True. Outputs that are
    spikes are float32 under half-precision policies, which do not hold heights of 1 / dt; others have the compute
    dtype.

    Args:
        dt: Number in seconds, or a scalar variable that layers share: ``keras.Variable`` (made non-trainable) or, on
            TensorFlow, ``tf.Variable``. Default: ``keras_snn.default.dt`` when the layer is made.
        return_sequences: Boolean, return the outputs of all steps rather than of the last one.
        return_state: Boolean, return the last states as well.
        stateful: Boolean, start each call from the states in which the last one ended. Needs a static batch size; begin
            the model with ``keras.Input(..., batch_size=n)``, and it is built before anything is compiled. States are
            not weights and are not saved: a loaded model starts from its initial states.
        unroll: Boolean, accepted for compatibility; the loop is compiled either way.
        time_major: Boolean, inputs and outputs are ``(time, batch, ...)``.
        go_backwards: Boolean, run from the last step to the first; the outputs are in that order, as
            ``keras.layers.Bidirectional`` expects. Default False.
        stands_for: Pair ``(call, unit)``, or None. In a converted model, the activation that the outputs stand for: the
            name of the call in the plain model, and the activation that an output of 1 stands for, a number or a
            sequence of numbers along the last axis. ``keras_snn.convert`` sets it for ``conversion.report``; it does
            not change the outputs. Default None.

    Call arguments:
        inputs: Tensor ``(batch, time, ...)`` with at least one axis after time.
        mask: Bool tensor ``(batch, time)``, or ``(time, batch)`` with ``time_major=True``; True at the steps that
            count. At the others every state is held; a spiking layer gives zeros there, an analog one its last output
            (zeros before the first step that counts). With ``return_sequences=False`` the output is that of the last
            step that counts, or zeros. Padding before, after or between these steps therefore does not change the
            results. ``keras.layers.Masking`` and ``keras.layers.Embedding`` make masks.
        training: Boolean. Without it, on PyTorch, ``train()`` and ``eval()`` count, of the layer and of the model.
        initial_state: Tensor or list of tensors ``(batch, ...)``; default: the cell's initial states.

    Input shape: ``(batch, time, ...)``. Output shape: ``(batch, time, ...)``, or ``(batch, ...)`` with
    ``return_sequences=False``; with ``return_state=True`` a list of that and the states.

    Raises:
        ValueError: For a missing or empty time axis, a mask or an initial state of another shape, a Keras cell with
            dropout, ``stateful=True`` without a static batch size, or a batch of another size in a stateful layer.
        TypeError: If ``build_cell`` does not return a cell.
    """

    def __init__(self, dt=None, **kwargs):
        super().__init__(dt=dt, **kwargs)
        self.cell = None

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name in type(self).changeable and getattr(self, "cell", None) is not None:
            # All cells of a stack have the layer's dt.
            parts = layers_with_dt(self.cell) if name == "dt" else [self.cell]
            for part in parts:
                if hasattr(part, name) and not same_argument(part, self, name):
                    setattr(part, name, value)

    def build_cell(self, input_shape):
        """Return the cell for inputs of shape ``(batch, time, ...)``."""
        raise NotImplementedError(f"{type(self).__name__} must override `build_cell(input_shape)`.")

    def build_parts(self, shape):
        if self.cell is None:
            self.known_units(shape)
            self.cell = check_cell(self.build_cell(shape))
            self.emits_spikes = self.emits_spikes and getattr(self.cell, "emits_spikes", False)
        for part in self.cell._flatten_layers():
            if isinstance(part, SpikingCell):
                part.owner = weakref.ref(self)
        if not self.trainable:
            self.cell.trainable = False
        if not self.cell.built:
            self.cell.build((shape[0], *shape[2:]))
            self.cell.built = True
        if not isinstance(self.cell, SpikingCell):
            keep_wide(self.cell)
        if self.emits_spikes and self.compute_dtype == "float16":
            self._check_height()

    def _check_height(self):
        """Warn where a layer behind this one makes infinity of a spike."""
        if isinstance(self._dt, float) and 1 / self._dt > 65504:
            warnings.warn(
                f"A spike of {self.name!r} is 1 / dt = {1 / self._dt:g} high (dt={self._dt:g}), which is infinite in "
                f"the float16 of {self.dtype_policy.name!r}. The outputs are float32, but a layer behind it that "
                "computes in float16 overflows: average over time first, or use mixed_bfloat16 or a larger dt.",
                stacklevel=2,
            )

    def run(self, inputs, states, training, *mask):
        outputs, states = run_cell(self.cell, inputs, self._pack_states(states), training, *mask)
        return outputs, tree.flatten(states)

    @property
    def output_dtype(self):
        """The dtype of the outputs: spikes of height 1 / dt, and their sum over time, do not fit in half precision."""
        return voltage_dtype(self.compute_dtype) if self.emits_spikes else self.compute_dtype

    def step_shapes(self, shape):
        cell = self.cell or check_cell(self.build_cell(shape))
        if isinstance(cell, SpikingCell):
            states = cell.state_shapes
        else:
            states = [tuple(state.shape)[1:] for state in tree.flatten(initial_states(cell, 1))]
        output_size = getattr(cell, "output_size", None)
        return states[0] if output_size is None else shape_of(output_size), states

    def initial_state(self, batch_size):
        states = initial_states(self.cell, batch_size)
        # In a function: Keras would track a nest.
        self._pack_states = functools.partial(tree.pack_sequence_as, tree.map_structure(lambda _: 0, states))
        return tree.flatten(states)

    @property
    def layer(self):
        """``cell``, ``states`` and ``reset_states``, under the name of the RNN inside KerasSpiking's layers."""
        # Not the layer itself: Keras walks over attributes at loading, and would recurse without end.
        return SimpleNamespace(cell=self.cell, states=self.states, reset_states=self.reset_states)


KerasSpikingLayer = SpikingLayer
