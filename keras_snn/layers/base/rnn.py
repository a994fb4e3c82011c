"""A wrapper that runs any cell over time."""

import keras

from keras_snn.layers.base.spiking_cell import SpikingCell
from keras_snn.layers.base.spiking_layer import SpikingLayer


@keras.saving.register_keras_serializable(package="keras_snn")
class RNN(SpikingLayer):
    """Run a cell over time, of any rank, which ``keras.layers.RNN`` does not do.

    Args:
        cell: A ``SpikingCell``.
        **kwargs: As in ``SpikingLayer``, without ``dt``, which is the cell's.

    Example:

    ```python
    layer = keras_snn.layers.RNN(keras_snn.layers.LowpassCell((4, 4), 0.1))
    layer(keras.ops.ones((2, 10, 4, 4))).shape  # (2, 10, 4, 4)
    ```
    """

    def __init__(self, cell, **kwargs):
        if not isinstance(cell, SpikingCell):
            raise TypeError(
                f"`cell` has to be a keras_snn.layers.SpikingCell; got {cell!r}. keras.layers.RNN runs other cells."
            )
        super().__init__(dt=cell._dt, **kwargs)
        self.cell = cell
        self.emits_spikes = cell.emits_spikes

    def build_cell(self, input_shape):
        return self.cell

    def get_config(self):
        config = super().get_config()
        del config["dt"]
        return {**config, "cell": keras.saving.serialize_keras_object(self.cell)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "cell": keras.saving.deserialize_keras_object(config["cell"])})
