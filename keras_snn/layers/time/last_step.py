"""LastStep: the end of the time axis, by its last value."""

import keras
from keras import ops

from keras_snn import probe
from keras_snn.layers.time.end_of_time import EndOfTime
from keras_snn.layers.time.time_fold import check_time_axis
from keras_snn.ops.statistics import largest_over


@keras.saving.register_keras_serializable(package="keras_snn")
class LastStep(EndOfTime):
    """Return the value at the last time step.

    ``y = x[:, -1]``; with a mask, the value at the last step that counts, example by example. An example of which no
    step counts gives 0, as in `TemporalAveragePooling`.

    Args:
        **kwargs: the usual arguments of a Keras layer, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: a tensor, time on axis 1; integers stay integers.
        mask: bool tensor (batch, time), True at the steps that count. None is passed on: the time axis ends here.

    Input shape:
        ``(batch, time, ...)``; batch and time may be unknown.

    Output shape:
        ``(batch, ...)``

    Raises:
        ValueError: if the input has no time axis, or an empty one.

    Example:
        >>> import numpy as np
        >>> from keras_snn.layers.time import LastStep
        >>> x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype="float32")  # (batch, time)
        >>> np.array(LastStep()(x)).tolist()
        [3.0, 6.0]
        >>> np.array(LastStep()(x, mask=np.array([[True, True, False], [True, True, True]]))).tolist()
        [2.0, 6.0]
    """

    def call(self, inputs, mask=None):
        check_time_axis(self, inputs.shape)
        if mask is None:
            return probe.end_of_time(inputs, inputs[:, -1], probe.values_after)
        batch, time, *rest = ops.shape(inputs)
        valid = ops.cast(ops.reshape(mask, (batch, time)), "bool")
        steps = ops.arange(1, time + 1)
        last = largest_over(ops.where(valid, steps, 0), axis=1, keepdims=True)
        selected = ops.reshape(ops.equal(steps, last), (batch, time, *[1] * len(rest)))
        # One term of the sum is not zero, at most: it is exact in every dtype.
        return ops.cast(ops.sum(ops.where(selected, inputs, 0), axis=1), inputs.dtype)

    def compute_output_spec(self, inputs, mask=None):
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=inputs.dtype)
