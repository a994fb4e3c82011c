"""TemporalAveragePooling: the end of the time axis, by its mean."""

import keras
from keras import ops

from keras_snn import probe
from keras_snn.layers.time.end_of_time import EndOfTime
from keras_snn.layers.time.time_fold import check_mask, check_time_axis
from keras_snn.ops import masks
from keras_snn.ops.precision import voltage_dtype


@keras.saving.register_keras_serializable(package="keras_snn")
class TemporalAveragePooling(EndOfTime):
    r"""Average over time; a spike train becomes a firing rate.

    .. math:: y = \frac{\sum_t m_t x_t}{\max(\sum_t m_t, 1)}

    with the mask :math:`m_t`, which is 1 at every step if none comes. An example of which no step counts gives 0, and
    what stands at the masked steps does not matter, not even NaN. The sum is taken in float32 or wider under every
    dtype policy, since rates of many steps overflow float16, and the mean is returned in the layer's compute dtype.

    Args:
        **kwargs: the usual arguments of a Keras layer. An ``activity_regularizer`` here sees rates: see
            `keras_snn.regularizers` for why this trains better than one on the spikes.

    Call arguments:
        inputs: A tensor, time on axis 1.
        mask: Bool tensor (batch, time), True at the steps that count. None is passed on: the time axis ends here.

    Input shape:
        ``(batch, time, ...)``; batch and time may be unknown.

    Output shape:
        ``(batch, ...)``

    Raises:
        ValueError: If the input has no time axis, or an empty one; if the mask does not have the shape (batch, time).

    Example:

    Two spikes in ten steps of 0.01 s are 20 Hz.

    ```python
    spikes = np.zeros((1, 10, 3), dtype="float32")
    spikes[:, [2, 7]] = 1 / 0.01
    np.array(keras_snn.layers.TemporalAveragePooling()(spikes)).tolist()  # [[20.0, 20.0, 20.0]]
    ```
    """

    def call(self, inputs, mask=None):
        check_time_axis(self, inputs.shape)
        mask = check_mask(self, mask, inputs.shape)
        x = ops.cast(inputs, voltage_dtype(self.compute_dtype))
        total = ops.sum(x if mask is None else masks.only_counted(x, mask), axis=1)
        total, count = probe.slot().add_up((total, masks.n_steps(x, mask)))
        return ops.cast(masks.quotient(total, count), self.compute_dtype)
