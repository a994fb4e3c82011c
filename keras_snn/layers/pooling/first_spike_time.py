"""FirstSpikeTime: the time of the first spike."""

import keras
from keras import ops

from keras_snn import probe
from keras_snn.hints import Tensor
from keras_snn.layers.time.end_of_time import EndOfTime
from keras_snn.layers.time.time_fold import check_mask, check_time_axis
from keras_snn.ops import decoding, masks
from keras_snn.ops.precision import voltage_dtype


@keras.saving.register_keras_serializable(package="keras_snn")
class FirstSpikeTime(EndOfTime):
    r"""Return the step of the first spike of each unit.

    .. math:: y = \min \{t : x_t \ne 0\}, \text{ or } T \text{ without spikes}

    with the steps 0, ..., T - 1. With a mask, only valid steps are numbered, and T is their number. There is no
    gradient. A unit with a NaN at a valid step gives NaN.

    Outputs are float32 or wider under every dtype policy. Integers are exact only up to 2048 in float16, and up to 256
    in bfloat16.

    Args:
        **kwargs: Arguments of ``keras.layers.Layer``, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: Tensor ``(batch, time, ...)``.
        mask: Bool tensor ``(batch, time)``, True at valid steps. The outputs have no mask.

    Input shape:
        ``(batch, time, ...)``; batch and time may be unknown.

    Output shape:
        ``(batch, ...)``

    Raises:
        ValueError: If the time axis is missing or empty, or the mask does not have the shape ``(batch, time)``.

    Example:

    ```python
    spikes = np.array([[[0, 0], [0, 1], [0, 1]]], dtype="float32")  # (batch, time, units)
    np.array(keras_snn.layers.FirstSpikeTime()(spikes)).tolist()  # [[3.0, 1.0]]
    ```
    """

    def call(self, inputs, mask=None):
        check_time_axis(self, inputs.shape)
        mask = check_mask(self, mask, inputs.shape)
        times, slot = decoding.first_spike_time(inputs, mask), probe.slot()
        if slot.is_open:
            n = masks.n_steps(inputs, mask)
            earlier_times, earlier_n = slot.start(lambda: (ops.zeros_like(times), ops.zeros_like(n)))
            has_spiked = earlier_times < ops.cast(masks.along(earlier_n, times), times.dtype)  # False for NaN
            times = ops.where(has_spiked & ~ops.isnan(times), earlier_times, earlier_times + times)
            slot.end((times, earlier_n + n))
        return ops.cast(times, voltage_dtype(self.compute_dtype))

    def spec_dtype(self, inputs: Tensor) -> str:
        return voltage_dtype(self.compute_dtype)
