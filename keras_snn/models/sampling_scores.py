"""Layers that score the pixels of an image without learning: the baselines of ``SpikingSampler``."""

from typing import Any

import keras
from keras import ops

from keras_snn import checks


class _Scores(keras.layers.Layer):
    """Base class: one score for each pixel, or one for each channel of a pixel."""

    def __init__(self, per_channel: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.per_channel = bool(per_channel)

    def compute_output_shape(self, input_shape):
        return input_shape if self.per_channel else (*input_shape[:-1], 1)

    def _of_pixels(self, scores):
        return scores if self.per_channel else ops.mean(scores, axis=-1, keepdims=True)

    def get_config(self):
        return {**super().get_config(), "per_channel": self.per_channel}


@keras.saving.register_keras_serializable(package="keras_snn")
class RandomScores(_Scores):
    """Uniform random scores, new ones in each call.

    Args:
        per_channel: Boolean. True: a score for each channel, else one for each pixel. Default False.
        seed: Integer, or None for the global seed of Keras. Default None.
        **kwargs: Arguments of ``keras.layers.Layer``.

    Input shape:
        ``(batch, ..., height, width, channels)``

    Output shape:
        The same, with one channel unless ``per_channel``.

    Example:

    ```python
    keras_snn.models.RandomScores(seed=0)(np.zeros((2, 4, 4, 3))).shape  # (2, 4, 4, 1)
    ```
    """

    def __init__(self, per_channel: bool = False, *, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(per_channel, **kwargs)
        self.seed = checks.seed(seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    def call(self, inputs):
        shape = ops.shape(inputs)
        shape = shape if self.per_channel else (*shape[:-1], 1)
        return keras.random.uniform(shape, dtype=self.compute_dtype, seed=self.seed_generator)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable(package="keras_snn")
class BrightnessScores(_Scores):
    """The values of the pixels, averaged over the channels unless ``per_channel``.

    Args, shapes: as in ``RandomScores``, without ``seed``.

    Example:

    ```python
    keras_snn.models.BrightnessScores()(np.zeros((2, 4, 4, 3))).shape  # (2, 4, 4, 1)
    ```
    """

    def call(self, inputs):
        return self._of_pixels(inputs)


@keras.saving.register_keras_serializable(package="keras_snn")
class GradientScores(_Scores):
    """The size of the local gradient, by central differences, with zeros around the image.

    Args, shapes: as in ``RandomScores``, without ``seed``.

    Example:

    ```python
    keras_snn.models.GradientScores()(np.zeros((2, 4, 4, 3))).shape  # (2, 4, 4, 1)
    ```
    """

    def call(self, inputs):
        rank = len(inputs.shape)
        squares = [ops.square(self._difference(inputs, axis)) for axis in (rank - 3, rank - 2)]
        return self._of_pixels(ops.sqrt(squares[0] + squares[1]))

    @staticmethod
    def _difference(x, axis):
        n = x.shape[axis]
        padding = [(0, 0)] * len(x.shape)
        padding[axis] = (1, 1)
        padded = ops.pad(x, padding)
        before, after = ([slice(None)] * len(x.shape) for _ in range(2))
        before[axis], after[axis] = slice(0, n), slice(2, n + 2)
        return (padded[tuple(after)] - padded[tuple(before)]) / 2
