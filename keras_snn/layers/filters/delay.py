"""Delay: learned delays of axons."""

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from keras_snn import checks
from keras_snn.constraints import Clip
from keras_snn.hints import Shape, Tensor
from keras_snn.layers.base.sequence_layer import SequenceLayer
from keras_snn.layers.base.spiking_neuron import PER
from keras_snn.ops.bounds import bounded
from keras_snn.ops.delay import delayed
from keras_snn.ops.precision import voltage_dtype


@keras.saving.register_keras_serializable(package="keras_snn")
class Delay(SequenceLayer):
    """Delay each channel by a learned number of time steps: the axonal delays of SLAYER.

    ``y_t = (1 - f) x_{t-n} + f x_{t-n-1}`` with ``n = floor(d)`` and ``f = d - n``, and x = 0 before the first step.

    The gradient with respect to d is the sum of the upstream gradient multiplied by ``x_{t-n-1} - x_{t-n}``. For spikes
    it only reaches one step far. A smooth kernel after the layer makes it reach further: the current and membrane of
    ``Synaptic``, the filter ``Alpha``, or the loss ``VanRossum`` with ``tau_rise``. A single exponential is not smooth:
    its gradient at whole steps favors longer delays, which split a spike.

    The weight ``delay`` counts steps. The equations clamp it to [0, ``max_delay``], in any training loop;
    ``delays()`` returns the clamped values. Between two integers a spike is split over two steps. With
    ``round_at_inference=True`` the outputs at inference are spikes again. Tools such as ``ModelEnergy`` count
    the outputs as analog values in both cases.

    Args:
        max_delay: Integer > 0, the upper bound of d, in steps. A stream keeps so many inputs.
        delay_initializer: Number from 0 to ``max_delay``, or an initializer. Default: uniform in [0, 1).
        round_at_inference: Boolean. True: outside training, d is rounded to the nearest integer. Default False.
        per: One delay per "layer", per "channel" (an entry of the last axis) or per "unit". Default "channel".
        **kwargs: ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ``time_major=False``,
            ``go_backwards=False``, as in ``SpikingLayer``; and the arguments of ``keras.layers.Layer``, such as
            ``trainable`` and ``name``.

    Call arguments:
        inputs: Tensor ``(batch, time, ...)`` with at least one axis after time.
        mask: As in ``SpikingLayer``, for an analog layer. Only steps that count are delayed, and counted as a delay.
        training: Boolean.
        initial_state: Tensor ``(batch, max_delay, ...)``, the inputs before the first step. Default: zeros.

    Input shape: ``(batch, time, ...)``. Output shape: the same, or ``(batch, ...)`` with ``return_sequences=False``;
    ``return_state=True`` adds the last ``max_delay`` inputs.

    Raises:
        ValueError: For a missing or empty time axis, or an argument out of range.

    Example:

    ```python
    spikes = np.zeros((1, 6, 1), dtype="float32")
    spikes[0, 1] = 1
    layer = keras_snn.layers.Delay(4, delay_initializer=2.5)
    np.array(layer(spikes))[0, :, 0].tolist()  # [0.0, 0.0, 0.0, 0.5, 0.5, 0.0]
    ```

    References: Shrestha and Orchard 2018, NeurIPS (SLAYER), arXiv:1810.08646. Their code shifts by whole steps, and
    their gradient is that of the filtered trace; it is equal here, because filter and shift commute.
    """

    emits_spikes = False
    changeable: ClassVar[tuple[str, ...]] = ("round_at_inference",)

    def __init__(
        self,
        max_delay: int,
        *,
        delay_initializer: Any = None,
        round_at_inference: bool = False,
        per: str = "channel",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_delay = checks.integer("max_delay", max_delay, least=1, meaning="the upper bound of the delays")
        self.delay_initializer = self._initializer(delay_initializer)
        self.round_at_inference = round_at_inference
        self.per = checks.choice("per", per, PER)

    def _initializer(self, value):
        if value is None:
            return keras.initializers.RandomUniform(0, 1)
        if isinstance(value, (dict, str)) or callable(value):
            return keras.initializers.get(value)
        value = checks.number("delay_initializer", value, least=0, most=self.max_delay)
        return keras.initializers.Constant(value)

    def build_parts(self, shape: Shape) -> None:
        self._units = self.known_units(shape)
        self.delay = self.add_weight(
            name="delay",
            shape={"layer": (), "channel": self._units[-1:], "unit": self._units}[self.per],
            initializer=self.delay_initializer,
            constraint=Clip(0.0, self.max_delay),
            dtype=voltage_dtype(self.variable_dtype),
        )

    def delays(self) -> Tensor:
        """Return the delays that the equations use, in steps: clamped to [0, ``max_delay``], not rounded."""
        return bounded(self.delay, 0, self.max_delay)

    def run(
        self, inputs: Tensor, states: list[Tensor], training: bool | None, mask: Tensor = None
    ) -> tuple[Tensor, list[Tensor]]:
        delay = self.delays()
        if self.round_at_inference and not training:
            delay = ops.round(delay)
        outputs, last = delayed(inputs, states[0], delay, mask=mask)
        return outputs, [last]

    def step_shapes(self, shape: Shape) -> tuple[Shape, Sequence[Shape]]:
        units = tuple(shape[2:])
        return units, [(self.max_delay, *units)]

    def initial_state(self, batch_size: int) -> list[Tensor]:
        return [ops.zeros((batch_size, self.max_delay, *self._units), voltage_dtype(self.compute_dtype))]

    def get_config(self):
        return {
            **super().get_config(),
            "max_delay": self.max_delay,
            "delay_initializer": keras.initializers.serialize(self.delay_initializer),
            "round_at_inference": self.round_at_inference,
            "per": self.per,
        }
