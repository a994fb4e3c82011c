"""The base of layers that remove the time axis."""

from typing import Any

import keras

from keras_snn.hints import Tensor
from keras_snn.layers.base.arguments import Arguments
from keras_snn.layers.time.time_fold import check_mask, check_time_axis


class EndOfTime(Arguments, keras.layers.Layer):
    """Base class of layers that reduce sequences ``(batch, time, ...)`` to values ``(batch, ...)``."""

    def __init__(self, **kwargs: Any) -> None:
        # Half precision holds neither spikes of height 1 / dt nor sums of many spikes.
        super().__init__(autocast=False, **kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        check_time_axis(self, input_shape)

    def compute_output_spec(self, inputs, mask=None):
        check_mask(self, mask, inputs.shape)
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.spec_dtype(inputs))

    def spec_dtype(self, inputs: Tensor) -> str:
        """Return the dtype of the outputs."""
        return self.compute_dtype

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        check_time_axis(self, input_shape)
        batch_size, _, *units = input_shape
        return (batch_size, *units)

    def get_config(self):
        # Keras's automatic config leaves out an `activity_regularizer` that is passed in **kwargs.
        return super().get_config()
