"""A wrapper that runs any cell over time."""

import keras

from keras_snn.layers.base.spiking_cell import check_cell
from keras_snn.layers.base.spiking_layer import SpikingLayer
from keras_snn.ops.precision import voltage_dtype


@keras.saving.register_keras_serializable(package="keras_snn")
class RNN(SpikingLayer):
    """Run a cell over time, of any rank, which ``keras.layers.RNN`` does not do.

    Args:
        cell: A ``SpikingCell``, or any Keras cell without dropout.
        **kwargs: As in ``SpikingLayer``, without ``dt``, which is the cell's.

    Example:

    ```python
    layer = keras_snn.layers.RNN(keras_snn.layers.LowpassCell((4, 4), 0.1))
    layer(keras.ops.ones((2, 10, 4, 4))).shape  # (2, 10, 4, 4)
    ```
    """

    def __init__(self, cell, **kwargs):
        check_cell(cell)
        super().__init__(dt=getattr(cell, "_dt", None), **kwargs)
        if voltage_dtype(self.compute_dtype) != voltage_dtype(cell.compute_dtype):
            raise ValueError(
                f"`dtype` must be that of the cell, which computes, got {self.dtype_policy.name!r} and a cell of "
                f"{cell.dtype_policy.name!r}. Give both the same."
            )
        self.cell = cell
        self.emits_spikes = getattr(cell, "emits_spikes", False)

    def build_cell(self, input_shape):
        return self.cell

    def get_config(self):
        config = super().get_config()
        del config["dt"]
        return {**config, "cell": keras.saving.serialize_keras_object(self.cell)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "cell": keras.saving.deserialize_keras_object(config["cell"])})
