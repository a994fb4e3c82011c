"""MaxRatePooling: the spikes of the unit that has fired most."""

import keras
from keras import ops

from keras_snn.layers.time import TimeFold
from keras_snn.ops.spiking import voltage_dtype


@keras.saving.register_keras_serializable(package="keras_snn")
class MaxRatePooling(TimeFold):
    r"""Pool spike trains such that the rate that comes out is the largest of the rates that go in.

    .. math:: y_t = P(c_t) - P(c_{t - 1}), \qquad c_t = \sum_{s \le t} x_s

    with P a max pooling. A pooling of each step by itself would pass on every spike of every unit in the window, far
    more than the fastest unit has. Of spikes of one height come spikes of that height: the largest of several counts,
    each of which grows by one at most, does so too.

    Args:
        layer: Keras layer, the pooling P, such as ``keras.layers.MaxPooling2D(2)``.
        **kwargs: the usual arguments of a Keras layer, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: a tensor, time on axis 1.

    Input shape:
        ``(batch, time, ...)``, with the axes after time that the pooling takes.

    Output shape:
        ``(batch, time, ...)``, with the axes after time as the pooling makes them.

    Raises:
        ValueError: as in `TimeFold`.

    Example:
        Two spikes in one unit and one in the other are two, not three.

        >>> import keras
        >>> import numpy as np
        >>> from keras_snn.layers import MaxRatePooling
        >>> spikes = np.array([[[[1], [0]], [[0], [1]], [[1], [0]]]], dtype="float32")  # (1, 3 steps, 2 units, 1)
        >>> np.array(MaxRatePooling(keras.layers.MaxPooling1D(2))(spikes))[0, :, 0, 0].tolist()
        [1.0, 0.0, 1.0]

    References:
        Rueckauer, Lungu, Hu, Pfeiffer and Liu (2017), Conversion of continuous-valued deep networks to efficient
        event-driven networks for image classification. Frontiers in Neuroscience 11, section 2.2.4, gates the spikes
        by estimated rates in the same spirit.
    """

    def __init__(self, layer, **kwargs):
        super().__init__(layer, **kwargs)
        self.layer.autocast = False  # it pools counts, for which half precision is too coarse

    def call(self, inputs, training=None, mask=None):
        counts = ops.cumsum(ops.cast(inputs, voltage_dtype(self.compute_dtype)), axis=1)
        pooled = super().call(counts, training=training, mask=mask)
        before = ops.concatenate([ops.zeros_like(pooled[:, :1]), pooled[:, :-1]], axis=1)
        return ops.cast(pooled - before, self.compute_dtype)
