"""TemporalAveragePooling: the mean over time."""

import keras
from keras import ops

from keras_snn import probe
from keras_snn.layers.time.end_of_time import EndOfTime
from keras_snn.layers.time.time_fold import check_mask, check_time_axis
from keras_snn.ops import masks
from keras_snn.ops.precision import voltage_dtype


@keras.saving.register_keras_serializable(package="keras_snn")
class TemporalAveragePooling(EndOfTime):
    r"""Average over time. The average of a spike train is a firing rate.

    .. math:: y = \frac{\sum_t m_t x_t}{\max(\sum_t m_t, 1)}

    with the mask :math:`m_t`, which is 1 at each step without a mask. A sample without valid steps gives 0. Values at
    masked steps have no effect, even NaN. The sum is computed in float32 or wider under every dtype policy, because
    sums of rates can overflow float16. The mean has the compute dtype of the layer.

    Args:
        **kwargs: Arguments of ``keras.layers.Layer``, such as ``name`` and ``dtype``. An ``activity_regularizer``
            receives rates, which trains better than a penalty on spikes; see ``keras_snn.regularizers``.

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
