"""TopKMask: ones at the largest values of each sample."""

import math
from typing import Any

import keras
from keras import ops

from keras_snn import checks, probe, surrogates
from keras_snn.ops import top_k


@keras.saving.register_keras_serializable(package="keras_snn")
class TopKMask(keras.layers.Layer):
    r"""Return 1 at the largest values of each sample, and 0 elsewhere.

    .. math:: m = 1[u > \theta], \quad \frac{\partial m}{\partial u} = g'(u - \theta)

    The threshold :math:`\theta` of a sample lies midway between its N-th and its next largest value, N = ``round(rate *
    n)`` of n values. Of equal values at the border, the first ones get a 1: there are exactly N ones. g is the
    surrogate; the threshold has no gradient.

    Args:
        rate: Number in (0, 1], the share of ones.
        percentile: Boolean. True: the threshold is the percentile ``100 (1 - rate)``, interpolated linearly, as in the
            code of the publication. There are then ``n - 1 - floor((1 - rate) (n - 1))`` ones, fewer with equal values.
            Default False.
        surrogate: Name, ``keras_snn.surrogates.Surrogate`` or its config. Default "atan" (slope 2).
        **kwargs: Arguments of ``keras.layers.Layer``, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: Float tensor ``(batch, ...)``.

    Input and output shape:
        ``(batch, ...)``; all axes but the batch must be known.

    Raises:
        TypeError: If ``rate`` is not a number.
        ValueError: If ``rate`` is out of range, or gives no ones for this shape.

    Example:

    ```python
    mask = keras_snn.layers.TopKMask(0.5)
    np.array(mask(np.array([[0.1, 0.7, 0.7, 0.7]]))).tolist()  # [[0.0, 1.0, 1.0, 0.0]]
    ```

    Reference: Jiang 2022, PhD thesis, University of Canterbury, chapter 5 and appendix D; Jiang and Zhang 2022,
    arXiv:2211.04166.
    """

    def __init__(self, rate: float, *, percentile: bool = False, surrogate: Any = "atan", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = checks.number("rate", rate, above=0, most=1)
        self.percentile = bool(percentile)
        self.surrogate = surrogates.get(surrogate)

    def n_ones(self, n: int) -> int:
        """Return the number of ones among n values."""
        if self.percentile:
            return n - 1 - top_k.percentile_place(n, 1 - self.rate)[0]
        return round(self.rate * n)

    def build(self, input_shape):
        if None in input_shape[1:]:
            raise ValueError(
                f"TopKMask {self.name!r} takes inputs (batch, ...) with known axes after the batch; got "
                f"{tuple(input_shape)}."
            )
        n = math.prod(input_shape[1:])
        if n and self.n_ones(n) < 1:
            raise ValueError(f"`rate` must give at least one of the {n} values; got {self.rate:g}. Raise it.")

    def call(self, inputs):
        surrogate = probe.surrogate(self.surrogate)
        n = int(math.prod(inputs.shape[1:]))  # TorchScript's trace has tensors as sizes
        if not n:
            return inputs  # no values
        values = ops.reshape(inputs, (-1, n))
        if self.percentile:
            mask = surrogate(values - top_k.percentile(values, 1 - self.rate))
        else:
            exact, threshold = top_k.top_k_mask(values, self.n_ones(n))
            spikes = surrogate(values - threshold)  # differ from the mask at equal values alone
            mask = spikes + ops.stop_gradient(exact - spikes)
        return ops.reshape(mask, (-1, *inputs.shape[1:]))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        surrogate = surrogates.serialize(self.surrogate)
        return {**super().get_config(), "rate": self.rate, "percentile": self.percentile, "surrogate": surrogate}
