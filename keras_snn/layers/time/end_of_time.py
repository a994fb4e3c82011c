"""What the layers that end the time axis have in common."""

import keras

from keras_snn.layers.time.time_fold import check_time_axis


class EndOfTime(keras.layers.Layer):
    """Plumbing of the layers that make values ``(batch, ...)`` of sequences ``(batch, time, ...)``."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        check_time_axis(self, input_shape)

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        check_time_axis(self, input_shape)
        batch, _, *rest = input_shape
        return (batch, *rest)

    def get_config(self):
        # Keras's automatic config has no place for an activity_regularizer among the keyword arguments.
        return super().get_config()
