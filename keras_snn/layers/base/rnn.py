"""RNN: a layer that runs a cell over time."""

from typing import Any

import keras

from keras_snn.hints import Shape
from keras_snn.layers.base.spiking_cell import check_cell
from keras_snn.layers.base.spiking_layer import SpikingLayer
from keras_snn.ops.precision import voltage_dtype


@keras.saving.register_keras_serializable(package="keras_snn")
class RNN(SpikingLayer):
    """Run a cell over time: ``outputs_t, states_t = cell(x_t, states_{t-1})``.

    In contrast to ``keras.layers.RNN``, the cell's sizes can have any rank.

    Args:
        cell: A ``SpikingCell``, or any Keras cell without dropout.
        **kwargs: As in ``SpikingLayer``, without ``dt``: the cell has it.

    Call arguments, shapes and errors: as in ``SpikingLayer``. TypeError for a ``cell`` that is not a cell, and
    ValueError for a ``dtype`` other than that of the cell.

    Example:

    ```python
    layer = keras_snn.layers.RNN(keras_snn.layers.LowpassCell((4, 4), 0.1))
    layer(keras.ops.ones((2, 10, 4, 4))).shape  # (2, 10, 4, 4)
    ```
    """

    def __init__(self, cell: keras.layers.Layer, **kwargs: Any) -> None:
        check_cell(cell)
        super().__init__(dt=getattr(cell, "_dt", None), **kwargs)
        if voltage_dtype(self.compute_dtype) != voltage_dtype(cell.compute_dtype):
            raise ValueError(
                f"`dtype` must be that of the cell, got {self.dtype_policy.name!r} and a cell of "
                f"{cell.dtype_policy.name!r}. Give the same `dtype` to both."
            )
        self.cell = cell
        self.emits_spikes = getattr(cell, "emits_spikes", False)

    def build_cell(self, input_shape: Shape) -> keras.layers.Layer:
        return self.cell

    def get_config(self):
        config = super().get_config()
        del config["dt"]
        return {**config, "cell": keras.saving.serialize_keras_object(self.cell)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "cell": keras.saving.deserialize_keras_object(config["cell"])})
