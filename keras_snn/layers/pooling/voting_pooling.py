"""VotingPooling: the mean over time and over the units of a class."""

from typing import Any

import keras

from keras_snn import checks
from keras_snn.layers.time import TemporalAveragePooling
from keras_snn.ops import decoding


@keras.saving.register_keras_serializable(package="keras_snn")
class VotingPooling(TemporalAveragePooling):
    r"""Average over time and over the units of each class.

    .. math:: y_c = \frac{1}{n T} \sum_t \sum_{k = 0}^{n - 1} x_{t, c n + k}

    with n units per class, which are contiguous in the last axis. For 0/1 spikes the class scores are in [0, 1]. Masks
    and float32 sums are as in ``TemporalAveragePooling``.

    Args:
        n_votes: Integer > 0, the number of units per class, n. Default 10.
        **kwargs: Arguments of ``keras.layers.Layer``, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: Tensor ``(batch, time, ...)``.
        mask: Bool tensor ``(batch, time)``, True at valid steps. The outputs have no mask.

    Input shape:
        ``(batch, time, ..., classes * n_votes)``; batch and time may be unknown.

    Output shape:
        ``(batch, ..., classes)``

    Raises:
        ValueError: If ``n_votes`` is not a positive integer or does not divide the number of units, the time axis is
            missing or empty, there is no axis after time, or the mask does not have the shape ``(batch, time)``.

    Example:

    ```python
    spikes = np.array([[[1, 1, 0, 0], [1, 0, 0, 0]]], dtype="float32")  # two steps, two votes for two classes
    np.array(keras_snn.layers.VotingPooling(2)(spikes)).tolist()  # [[0.75, 0.0]]
    ```

    References:
        Fang, Yu, Chen, Masquelier, Huang and Tian (2021), Incorporating learnable membrane time constant to enhance
        learning of spiking neural networks. ICCV, arXiv:2007.05785.
    """

    def __init__(self, n_votes: int = 10, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n_votes = checks.integer("n_votes", n_votes, least=1, meaning="the number of units per class")

    def build(self, input_shape):
        self.compute_output_shape(input_shape)

    def call(self, inputs, mask=None):
        self.compute_output_shape(inputs.shape)
        return super().call(decoding.vote(inputs, self.n_votes), mask=mask)

    def compute_output_shape(self, input_shape):
        batch, *axes = super().compute_output_shape(input_shape)
        if not axes:
            raise ValueError(
                f"VotingPooling {self.name!r} takes inputs of shape (batch, time, ..., classes * n_votes), got "
                f"{tuple(input_shape)}: there is no axis after time."
            )
        if axes[-1] is None or axes[-1] % self.n_votes:
            raise ValueError(
                f"VotingPooling {self.name!r} needs `n_votes` = {self.n_votes} units per class on the last axis, "
                f"got {axes[-1]} units. Give the previous layer a multiple of {self.n_votes} units."
            )
        return (batch, *axes[:-1], axes[-1] // self.n_votes)

    def get_config(self):
        return {**super().get_config(), "n_votes": self.n_votes}
