"""FirstSpikeTime: the end of the time axis, by the time of the first spike."""

import keras
from keras import ops

from keras_snn import probe
from keras_snn.layers.time.end_of_time import EndOfTime
from keras_snn.layers.time.time_fold import check_time_axis
from keras_snn.ops import decoding


@keras.saving.register_keras_serializable(package="keras_snn")
class FirstSpikeTime(EndOfTime):
    r"""Return the step of the first spike of each unit.

    .. math:: y = \min \{t : x_t \ne 0\}, \text{ or } T \text{ where there is none}

    of the steps 0, ..., T - 1; with a mask, spikes at the steps that do not count are none. There is no gradient. A
    unit with a NaN at a step that counts gives NaN.

    Steps are returned in the layer's compute dtype; float16 is exact up to 2048 of them, bfloat16 up to 256.

    Args:
        **kwargs: the usual arguments of a Keras layer, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: a tensor, time on axis 1.
        mask: bool tensor (batch, time), True at the steps that count. None is passed on: the time axis ends here.

    Input shape:
        ``(batch, time, ...)``; batch and time may be unknown.

    Output shape:
        ``(batch, ...)``

    Raises:
        ValueError: if the input has no time axis, or an empty one.

    Example:
        >>> import numpy as np
        >>> from keras_snn.layers import FirstSpikeTime
        >>> spikes = np.array([[[0, 0], [0, 1], [0, 1]]], dtype="float32")  # (batch, time, units)
        >>> np.array(FirstSpikeTime()(spikes)).tolist()
        [[3.0, 1.0]]
    """

    def call(self, inputs, mask=None):
        check_time_axis(self, inputs.shape)
        if mask is not None:
            batch, time, *rest = ops.shape(inputs)
            mask = ops.cast(ops.reshape(mask, (batch, time, *[1] * len(rest))), "bool")
            inputs = ops.where(mask, inputs, 0)
        times = ops.cast(decoding.first_spike_time(inputs), self.compute_dtype)
        if mask is not None:
            return times
        return probe.end_of_time(inputs, times, lambda _, steps: [ops.minimum(times, k) for k in steps])
