"""ParallelConvEncoder: learned encoding of images by parallel convolutions."""

from typing import Any

import keras
from keras import ops

from keras_snn import checks
from keras_snn.layers.base.arguments import Arguments


@keras.saving.register_keras_serializable(package="keras_snn")
class ParallelConvEncoder(Arguments, keras.layers.Layer):
    """Sum of several convolutions of the same image, each with a batch normalization.

    ``y = sum_i BatchNormalization_i(Conv2D_i(x))``, without bias, with stride 1 and padding "same". A layer of neurons
    after it converts the sum to spikes. For still images, put it before ``Repeat``: it runs once, and the sum is a
    constant current. For event frames, put it inside ``TimeFold``: it runs at each step.

    The normalization has a momentum of 0.9 and an epsilon of 1e-5. In inference the sum equals a single convolution. In
    training each branch is normalized separately.

    Args:
        filters: Integer > 0, the number of channels of each convolution and of the sum.
        branches: Integer > 0, the number of convolutions. Default 3.
        kernel_size: Integer > 0, height and width of the kernels. Default 3.
        **kwargs: Arguments of ``keras.layers.Layer``, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: Tensor ``(batch, height, width, channels)``.
        training: Boolean, as in ``keras.layers.BatchNormalization``.

    Input shape: ``(batch, height, width, channels)``. Output shape: ``(batch, height, width, filters)``.

    Raises:
        ValueError: If ``filters``, ``branches`` or ``kernel_size`` is not a positive integer.

    Example:

    ```python
    keras.Sequential([
        keras_snn.layers.ParallelConvEncoder(16),
        keras_snn.layers.Repeat(4),
        keras_snn.layers.KLIF(),
    ])
    ```

    References: Jiang and Zhang 2023, arXiv:2302.09238, the coding layer of figure 3.
    """

    #: Tools read the inner layers instead of this one.
    is_composite = True

    def __init__(self, filters: int, *, branches: int = 3, kernel_size: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = checks.integer("filters", filters, least=1)
        self.branches = checks.integer("branches", branches, least=1)
        self.kernel_size = checks.integer("kernel_size", kernel_size, least=1)
        # One convolution computes the channels of all branches: the normalization is per channel.
        self.conv = keras.layers.Conv2D(
            int(branches) * int(filters),
            self.kernel_size,
            padding="same",
            use_bias=False,
            data_format="channels_last",
            kernel_initializer=_glorot_per_branch(self.branches),
            dtype=self.dtype_policy,
        )
        self.normalization = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.conv.build(input_shape)
        self.normalization.build((*input_shape[:-1], self.conv.filters))

    def call(self, inputs, training=None):
        x = self.normalization(self.conv(inputs), training=training)
        return ops.sum(ops.reshape(x, (*ops.shape(x)[:-1], self.branches, self.filters)), axis=-2)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        names = ("filters", "branches", "kernel_size")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _glorot_per_branch(branches):
    """Return an initializer that draws the kernel of each branch separately and concatenates them."""

    def initialize(shape, dtype=None):
        branch_shape = (*shape[:-1], shape[-1] // branches)
        kernels = [keras.initializers.GlorotUniform()(branch_shape, dtype) for _ in range(branches)]
        return ops.concatenate(kernels, axis=-1)

    return initialize
