"""Delta: changes of a signal as spikes."""

from typing import Any

import keras
from keras import ops

from keras_snn import checks, probe
from keras_snn.hints import Tensor
from keras_snn.layers.base.arguments import Arguments
from keras_snn.layers.time.time_fold import check_mask, check_time_axis
from keras_snn.ops import decoding, encoding, masks
from keras_snn.ops.precision import voltage_dtype


@keras.saving.register_keras_serializable(package="keras_snn")
class Delta(Arguments, keras.layers.Layer):
    r"""Send-on-delta code: a spike each time the signal has changed by a threshold.

    With the reference r, which starts at the first value of the signal, :math:`r_0 = x_0`:

    .. math::
        s_t &= +1 \text{ if } x_t - r_t \ge \theta, \quad -1 \text{ if } x_t - r_t \le -\theta, \quad 0 \text{ else} \\
        r_{t+1} &= r_t + \theta s_t

    There is at most one spike per step: if the signal changes by more than :math:`\theta` in a step, the reference
    follows it over several steps (slew-rate limit). The first step never has a spike. There is no gradient.

    A value that is not finite makes the spikes of its unit NaN from that step on.

    Args:
        threshold: Float > 0, in the unit of the signal.
        off_spikes: Boolean. True: a decrease gives the spike -1. False: a decrease moves the reference without a spike,
            and the spikes are 0 or 1. Default True.
        **kwargs: Arguments of ``keras.layers.Layer``, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: Tensor ``(batch, time, ...)``.
        mask: Bool tensor ``(batch, time)``, True at valid steps. At masked steps the reference is held and there is no
            spike; r_0 is the value at the first valid step. The mask is passed on.

    Input shape:
        ``(batch, time, ...)`` with at least one axis after time; batch and time may be unknown.

    Output shape:
        ``(batch, time, ...)``, -1, 0 or 1.

    Raises:
        ValueError: If ``threshold`` is not positive, the time axis is missing or empty, or the mask does not have the
            shape ``(batch, time)``.

    Example:

    ```python
    signal = np.array([0.5, 0.5, 0.7, 1.1, 1.0, 0.5]).reshape(1, 6, 1)
    layer = keras_snn.layers.Delta(0.25)
    spikes = layer(signal)
    np.array(spikes)[0, :, 0].astype(int).tolist()  # [0, 0, 0, 1, 1, -1]
    np.array(layer.decode(spikes, signal[:, 0]))[0, :, 0].tolist()  # [0.5, 0.5, 0.5, 0.75, 1.0, 0.75]
    ```

    References:
        Miskowicz (2006), Send-on-delta concept: an event-based data reporting strategy. Sensors 6, 49-63,
        doi:10.3390/s6010049.
    """

    def __init__(self, threshold: float, *, off_spikes: bool = True, **kwargs: Any) -> None:
        # Half precision would round the signal.
        super().__init__(autocast=False, **kwargs)
        self.threshold = checks.number("threshold", threshold, above=0)
        self.off_spikes = off_spikes
        self.supports_masking = True

    def build(self, input_shape):
        self._check_shape(input_shape)

    def call(self, inputs, mask=None):
        self._check_shape(inputs.shape)
        mask = check_mask(self, mask, inputs.shape)
        x = ops.cast(inputs, voltage_dtype(self.compute_dtype))
        x = x if mask is None else masks.only_counted(x, mask)
        slot = probe.slot()
        first_value, started, reference = self._start_values(slot, x, mask)
        spikes, reference = encoding.continued_delta(x, self.threshold, first_value, reference, mask=mask)
        slot.end((first_value, started, reference))
        if not self.off_spikes:
            spikes = ops.where(spikes == -1, 0, spikes)
        spikes = ops.cast(spikes, self.compute_dtype)
        return spikes if mask is None else masks.only_counted(spikes, mask)

    def _start_values(self, slot, x, mask):
        """Return the first valid value, whether there is one ``(batch,)``, and the reference relative to it."""
        first_value, zeros = encoding.first_value(x, mask), ops.zeros_like(x[:, 0])
        starts = ops.ones((ops.shape(x)[0],), "bool") if mask is None else ops.any(mask, axis=1)
        if not slot.is_open:
            return first_value, starts, zeros
        earlier_value, started, reference = slot.start(lambda: (first_value, ops.zeros_like(starts), zeros))
        first_value = ops.where(masks.along(started, first_value), earlier_value, first_value)
        return first_value, ops.logical_or(started, starts), reference

    def decode(self, spikes: Tensor, initial: Tensor) -> Tensor:
        """Return the signal ``(batch, time, ...)``: ``initial`` plus ``threshold`` times the sum of the spikes so far.

        With the first value of the signal as ``initial (batch, ...)`` this is the reference after each step. If the
        signal never changes by more than one threshold in a step, the error is below one threshold.

        Raises:
            ValueError: If ``off_spikes`` is False: the decreases are unknown.
        """
        if not self.off_spikes:
            raise ValueError("`decode` needs the decreases of the signal too. Make the layer with off_spikes=True.")
        return decoding.delta(spikes, initial, self.threshold)

    def _check_shape(self, shape):
        check_time_axis(self, shape)
        if len(shape) < 3:
            raise ValueError(
                f"Delta {self.name!r} takes inputs of shape (batch, time, ...) with at least one axis after time, "
                f"got {tuple(shape)}. A single signal has the shape (batch, time, 1)."
            )

    def compute_output_shape(self, input_shape):
        self._check_shape(input_shape)
        return tuple(input_shape)

    def compute_output_spec(self, inputs, mask=None):
        check_mask(self, mask, inputs.shape)
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "threshold": self.threshold, "off_spikes": self.off_spikes}
