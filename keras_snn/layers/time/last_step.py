"""LastStep: the value at the last time step."""

import keras

from keras_snn import probe
from keras_snn.hints import Tensor
from keras_snn.layers.time.end_of_time import EndOfTime
from keras_snn.layers.time.time_fold import check_mask, check_time_axis


@keras.saving.register_keras_serializable(package="keras_snn")
class LastStep(EndOfTime):
    """Return the value at the last time step.

    ``y = x[:, -1]``. With a mask, the value of each sample at its last valid step. A sample without valid steps gives
    0, as in ``TemporalAveragePooling``.

    Args:
        **kwargs: Arguments of ``keras.layers.Layer``, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: Tensor ``(batch, time, ...)``. The outputs have its dtype.
        mask: Bool tensor ``(batch, time)``, True at valid steps. The outputs have no mask.

    Input shape:
        ``(batch, time, ...)``; batch and time may be unknown.

    Output shape:
        ``(batch, ...)``

    Raises:
        ValueError: If the time axis is missing or empty, or the mask does not have the shape ``(batch, time)``.

    Example:

    ```python
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype="float32")  # (batch, time)
    np.array(keras_snn.layers.LastStep()(x)).tolist()  # [3.0, 6.0]
    np.array(keras_snn.layers.LastStep()(x, mask=np.array([[True, True, False], [True, True, True]]))).tolist()
    # [2.0, 6.0]
    ```
    """

    def call(self, inputs, mask=None):
        check_time_axis(self, inputs.shape)
        mask = check_mask(self, mask, inputs.shape)
        return inputs[:, -1] if mask is None else probe.hold_last(inputs, mask)[:, -1]

    def spec_dtype(self, inputs: Tensor) -> str:
        return inputs.dtype
