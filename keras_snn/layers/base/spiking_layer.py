"""The base of layers that run a cell over time."""

import functools
import warnings
import weakref
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import keras
from keras import tree

from keras_snn.hints import Shape, Tensor
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
    """Base class of layers that run a cell over time: ``outputs_t, states_t = cell(x_t, states_{t-1})``.

    Override ``build_cell(input_shape)``. It returns a ``SpikingCell``, or any Keras cell without dropout, such as
    ``keras.layers.LSTMCell``. The outputs of a Keras cell count as spikes only if its attribute ``emits_spikes`` is
    True. Spikes are float32 under half-precision policies, because half precision does not hold heights of 1 / dt.
    Other outputs have the compute dtype.

    Args:
        dt: Number in seconds, or a scalar variable that layers share: ``keras.Variable`` (made non-trainable) or, on
            TensorFlow, ``tf.Variable``. Default: ``keras_snn.default.dt`` when the layer is made.
        return_sequences: Boolean. True: return the outputs of all steps. False: return those of the last step. Default
            True.
        return_state: Boolean, return the last states too. Default False.
        stateful: Boolean, start each call from the last states of the previous call. Requires a static batch size: give
            the model ``keras.Input(..., batch_size=n)``, which also builds it before compilation. States are not
            weights and are not saved: a loaded model starts from its initial states. Default False.
        unroll: Boolean, accepted for compatibility. The loop is compiled in both cases. Default False.
        time_major: Boolean, inputs and outputs are ``(time, batch, ...)``. Default False.
        go_backwards: Boolean, run from the last step to the first. The outputs are in that order, as
            ``keras.layers.Bidirectional`` expects. Default False.
        stands_for: Pair ``(call, unit)``, or None. In a converted model: the name of the call in the source model whose
            activation the outputs represent, and the activation of an output of 1, a number or a sequence of numbers
            along the last axis. ``keras_snn.convert`` sets it for ``conversion.report``. It does not change the
            outputs. Default None.
        **kwargs: Arguments of ``keras.layers.Layer``, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: Tensor ``(batch, time, ...)`` with at least one axis after time.
        mask: Bool tensor ``(batch, time)``, or ``(time, batch)`` with ``time_major=True``, True at valid steps. At
            masked steps all states are held. A spiking layer gives zeros there. An analog layer gives its last output,
            or zeros before the first valid step. With ``return_sequences=False`` the output is that of the last valid
            step, or zeros without valid steps. Padding before, after or between valid steps therefore does not change
            the results. ``keras.layers.Masking`` and ``keras.layers.Embedding`` create masks.
        training: Boolean. On PyTorch the default follows ``train()`` and ``eval()`` of the layer and of the model.
        initial_state: Tensor or list of tensors ``(batch, ...)``. Default: the initial states of the cell.

    Input shape: ``(batch, time, ...)``. Output shape: ``(batch, time, ...)``, or ``(batch, ...)`` with
    ``return_sequences=False``; with ``return_state=True`` a list of the outputs and the states.

    Raises:
        ValueError: For a missing or empty time axis, a mask or an initial state of another shape, a Keras cell with
            dropout, ``stateful=True`` without a static batch size, or a batch of another size in a stateful layer.
        TypeError: If ``build_cell`` does not return a cell.

    Example:

    ```python
    @keras.saving.register_keras_serializable(package="my_layers")
    class Smooth(keras_snn.layers.SpikingLayer):
        def build_cell(self, input_shape):
            return keras_snn.layers.LowpassCell(input_shape[2:], 0.1, dt=self.dt)

    Smooth(dt=0.01)(keras.ops.ones((2, 10, 4))).shape  # (2, 10, 4)
    ```
    """

    def __init__(self, dt: Any = None, **kwargs: Any) -> None:
        super().__init__(dt=dt, **kwargs)
        self.cell: Any = None

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name in type(self).changeable and getattr(self, "cell", None) is not None:
            # All cells of a stack have the same dt as the layer.
            parts = layers_with_dt(self.cell) if name == "dt" else [self.cell]
            for part in parts:
                if hasattr(part, name) and not same_argument(part, self, name):
                    setattr(part, name, value)

    def build_cell(self, input_shape: Shape) -> Any:
        """Return the cell for inputs of shape ``(batch, time, ...)``."""
        raise NotImplementedError(f"{type(self).__name__} must override `build_cell(input_shape)`.")

    def build_parts(self, shape: Shape) -> None:
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
        """Warn if a spike overflows float16 in the layers after this one."""
        if isinstance(self._dt, float) and 1 / self._dt > 65504:
            warnings.warn(
                f"A spike of {self.name!r} is 1 / dt = {1 / self._dt:g} high (dt={self._dt:g}), which is infinite in "
                f"the float16 of {self.dtype_policy.name!r}. The outputs are float32, but they overflow in a "
                "later layer that computes in float16. Average over time first, or use mixed_bfloat16 or a larger dt.",
                stacklevel=2,
            )

    def run(
        self, inputs: Tensor, states: list[Tensor], training: bool | None, mask: Tensor = None
    ) -> tuple[Tensor, list[Tensor]]:
        mask_arguments = () if mask is None else (mask,)  # a user's `call_sequence` may take no mask
        outputs, states = run_cell(self.cell, inputs, self._pack_states(states), training, *mask_arguments)
        return outputs, tree.flatten(states)

    @property
    def output_dtype(self) -> str:
        """The dtype of the outputs. Half precision does not hold spikes of height 1 / dt, or their sum over time."""
        return voltage_dtype(self.compute_dtype) if self.emits_spikes else self.compute_dtype

    def step_shapes(self, shape: Shape) -> tuple[Shape, Sequence[Shape]]:
        cell = self.cell or check_cell(self.build_cell(shape))
        if isinstance(cell, SpikingCell):
            states = cell.state_shapes
        else:
            states = [tuple(state.shape)[1:] for state in tree.flatten(initial_states(cell, 1))]
        output_size = getattr(cell, "output_size", None)
        return states[0] if output_size is None else shape_of(output_size), states

    def initial_state(self, batch_size: int) -> list[Tensor]:
        states = initial_states(self.cell, batch_size)
        # A function, because Keras tracks nests that are attributes.
        self._pack_states = functools.partial(tree.pack_sequence_as, tree.map_structure(lambda _: 0, states))
        return tree.flatten(states)

    @property
    def layer(self) -> SimpleNamespace:
        """``cell``, ``states`` and ``reset_states``: in KerasSpiking, ``layer`` is the RNN inside a layer."""
        # Not the layer itself: Keras visits attributes at loading, and would recurse without end.
        return SimpleNamespace(cell=self.cell, states=self.states, reset_states=self.reset_states)


KerasSpikingLayer = SpikingLayer
