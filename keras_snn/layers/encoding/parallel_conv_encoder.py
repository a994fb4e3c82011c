"""ParallelConvEncoder: learned encoding of images, by convolutions side by side."""

import keras
from keras import ops

from keras_snn import checks
from keras_snn.layers.base.arguments import Arguments


@keras.saving.register_keras_serializable(package="keras_snn")
class ParallelConvEncoder(Arguments, keras.layers.Layer):
    """Sum of several convolutions of the same image, each with a batch normalization of its own.

    ``y = sum_i BatchNormalization_i(Conv2D_i(x))``; no bias, stride 1, padding "same". A layer of neurons behind it
    turns the sum into spikes. Still images go through it once, before ``Repeat``: their sum is a constant current.
    Event frames go through it at each step, inside ``TimeFold``.

    The normalization has a momentum of 0.9 and an epsilon of 1e-5. Without training the sum is that of a single
    convolution; in training the branches are normalized separately.

    Args:
        filters: Integer, channels of each convolution, and of the sum.
        branches: Integer, number of convolutions. Default 3.
        kernel_size: Integer, height and width of the kernels. Default 3.
        **kwargs: The usual arguments of a Keras layer.

    Call arguments:
        inputs: Tensor ``(batch, height, width, channels)``.
        training: Boolean, as in ``keras.layers.BatchNormalization``.

    Input shape: ``(batch, height, width, channels)``. Output shape: ``(batch, height, width, filters)``.

    Raises:
        ValueError: If ``filters`` or ``branches`` is not a positive integer.

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

    #: Tools look at the layers inside.
    is_composite = True

    def __init__(self, filters, *, branches=3, kernel_size=3, **kwargs):
        super().__init__(**kwargs)
        self.filters = checks.integer("filters", filters, least=1)
        self.branches = checks.integer("branches", branches, least=1)
        self.kernel_size = checks.integer("kernel_size", kernel_size, least=1)
        # One convolution makes the channels of all branches, and the normalization is by channel anyway.
        self.conv = keras.layers.Conv2D(
            self.branches * self.filters,
            self.kernel_size,
            padding="same",
            use_bias=False,
            data_format="channels_last",
            kernel_initializer=_glorot_of_one_branch(self.branches),
            dtype=self.dtype_policy,
        )
        self.normalization = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.conv.build(input_shape)
        self.normalization.build((*input_shape[:-1], self.branches * self.filters))

    def call(self, inputs, training=None):
        x = self.normalization(self.conv(inputs), training=training)
        return ops.sum(ops.reshape(x, (*ops.shape(x)[:-1], self.branches, self.filters)), axis=-2)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        names = ("filters", "branches", "kernel_size")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _glorot_of_one_branch(branches):
    """Return an initializer of several kernels side by side, each drawn as if it were alone."""

    def initialize(shape, dtype=None):
        one = (*shape[:-1], shape[-1] // branches)
        return ops.concatenate([keras.initializers.GlorotUniform()(one, dtype) for _ in range(branches)], axis=-1)

    return initialize
