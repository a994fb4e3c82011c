"""LastStep: the end of the time axis, by its last value."""

import keras

from keras_snn import probe
from keras_snn.layers.time.end_of_time import EndOfTime
from keras_snn.layers.time.time_fold import check_mask, check_time_axis


@keras.saving.register_keras_serializable(package="keras_snn")
class LastStep(EndOfTime):
    """Return the value at the last time step.

    ``y = x[:, -1]``; with a mask, the value at the last step that counts, example by example. An example of which no
    step counts gives 0, as in `TemporalAveragePooling`.

    Args:
        **kwargs: Arguments of ``keras.layers.Layer``, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: A tensor, time on axis 1; integers stay integers.
        mask: Bool tensor (batch, time), True at the steps that count. None is passed on: the time axis ends here.

    Input shape:
        ``(batch, time, ...)``; batch and time may be unknown.

    Output shape:
        ``(batch, ...)``

    Raises:
        ValueError: If the input has no time axis, or an empty one; if the mask does not have the shape (batch, time).

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

    def spec_dtype(self, inputs):
        return inputs.dtype
