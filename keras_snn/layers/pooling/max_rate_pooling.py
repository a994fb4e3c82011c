"""MaxRatePooling: max pooling of firing rates."""

from typing import Any

import keras
from keras import ops

from keras_snn import probe
from keras_snn.hints import Tensor
from keras_snn.layers.base.states import States
from keras_snn.layers.time import TimeFold
from keras_snn.layers.time.time_fold import check_mask
from keras_snn.ops import masks
from keras_snn.ops.backend import cumsum
from keras_snn.ops.precision import voltage_dtype


@keras.saving.register_keras_serializable(package="keras_snn")
class MaxRatePooling(States, TimeFold):
    r"""Pool spike trains so that the output rate is the maximum of the input rates.

    .. math:: y_t = P(c_t) - P(c_{t - 1}), \qquad c_t = \sum_{s \le t} x_s

    with a max pooling P of the cumulative spike counts :math:`c_t`. Max pooling of each step would pass on the spikes
    of all units in the window, which are more than those of the most active unit. If all spikes have the same height,
    so have the outputs: counts that grow by at most one spike per step have a maximum that does so too.

    Args:
        layer: Keras layer, the pooling P, such as ``keras.layers.MaxPooling2D(2)``.
        stateful: Boolean, start each call from the counts at the end of the previous call. Requires a static batch
            size. Default False.
        **kwargs: Arguments of ``keras.layers.Layer``, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: Tensor ``(batch, time, ...)``.
        mask: Bool tensor ``(batch, time)``, True at valid steps. At masked steps spikes are not counted, and there are
            no output spikes. The mask is passed on.

    Input shape:
        ``(batch, time, ...)``, with the axes after time that the pooling requires.

    Output shape:
        ``(batch, time, ...)``, with the axes after time of the pooling's outputs.

    Raises:
        ValueError: As in ``TimeFold``; also for ``stateful=True`` without a static batch size.

    Example:

    Two spikes of one unit and one of another give two spikes, not three.

    ```python
    spikes = np.array([[[[1], [0]], [[0], [1]], [[1], [0]]]], dtype="float32")  # (1, 3 steps, 2 units, 1)
    np.array(keras_snn.layers.MaxRatePooling(keras.layers.MaxPooling1D(2))(spikes))[0, :, 0, 0].tolist()
    # [1.0, 0.0, 1.0]
    ```

    References:
        Rueckauer, Lungu, Hu, Pfeiffer and Liu (2017), Conversion of continuous-valued deep networks to efficient
        event-driven networks for image classification. Frontiers in Neuroscience 11:682, section 2.2.4,
        doi:10.3389/fnins.2017.00682. There a gate passes the spikes of the unit with the maximum estimated rate.
    """

    def __init__(self, layer: keras.layers.Layer, *, stateful: bool = False, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        self.layer.autocast = False  # half precision cannot hold spike counts exactly
        self.stateful = stateful

    def build(self, input_shape):
        super().build(input_shape)
        if self.stateful:
            self._units = tuple(input_shape[2:])
            self.add_states([(input_shape[0], *self._units)], [voltage_dtype(self.compute_dtype)])

    def initial_state(self, batch_size: int) -> list[Tensor]:
        return [ops.zeros((batch_size, *self._units), voltage_dtype(self.compute_dtype))]

    def call(self, inputs, training=None, mask=None):
        mask = check_mask(self, mask, inputs.shape)
        x = ops.cast(inputs, voltage_dtype(self.compute_dtype))
        if mask is not None:
            x = masks.only_counted(x, mask)
        slot = probe.slot()
        if self.stateful and not (slot.is_open or probe.draws_by_index()):
            x, (start,) = self.start_from_states(x)
            start = ops.expand_dims(start, 1)
            counts = start + cumsum(x)
            self.keep_states([counts[:, -1]])
            pooled, first = (TimeFold.call(self, values, training=training) for values in (counts, start))
        else:
            counts = cumsum(x)
            if slot.is_open:
                counts = counts + ops.expand_dims(slot.start(lambda: ops.zeros_like(x[:, 0])), 1)
                slot.end(counts[:, -1])
            pooled, slot = super().call(counts, training=training), probe.slot()
            # The last pooled counts are kept: pooling the last counts again would be a second call of the pooling.
            first = ops.expand_dims(slot.start(lambda: ops.zeros_like(pooled[:, 0])), 1)
            slot.end(pooled[:, -1])
        return ops.cast(pooled - ops.concatenate([first, pooled[:, :-1]], axis=1), inputs.dtype)

    def compute_output_spec(self, inputs, training=None, mask=None):
        check_mask(self, mask, inputs.shape)
        spec = super().compute_output_spec(inputs)
        return keras.KerasTensor(spec.shape, inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "stateful": self.stateful}
