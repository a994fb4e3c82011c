"""Phase: values as the bits of a binary number."""

from typing import Any

import keras

from keras_snn import checks
from keras_snn.hints import Tensor
from keras_snn.layers.encoding.still_encoder import StillEncoder
from keras_snn.ops import decoding, encoding


@keras.saving.register_keras_serializable(package="keras_snn")
class Phase(StillEncoder):
    r"""Weighted phases: a spike at step t has the weight :math:`2^{-(1 + t \bmod \text{bits})}`.

    The spikes of a period of ``bits`` steps are the binary digits of

    .. math:: \min(x, 1 - 2^{-\text{bits}}) = 0.b_0 b_1 b_2 ..., \quad s_t = b_{t \bmod \text{bits}}

    with the most significant digit first; further digits are cut off. The pixels p / 255 of an 8-bit image give the
    digits of p. All periods are equal. The value 0 gives no spike. There is no gradient.

    Inside ``keras_snn.probe.scope(n_steps=k)`` there are k steps. k must be a multiple of ``bits`` too.

    Args:
        n_steps: Integer > 0, the number of time steps T, a multiple of ``bits``.
        bits: Integer from 1 to 24, the steps of one period. Default 8.
        **kwargs: ``clip=True`` (values outside [0, 1] are clipped; with False they raise an error), as in
            ``StillEncoder``; and the arguments of ``keras.layers.Layer``, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: Tensor ``(batch, ...)`` with values in [0, 1].

    Input shape:
        ``(batch, ...)``

    Output shape:
        ``(batch, n_steps, ...)``, 0 or 1.

    Raises:
        ValueError: For arguments outside the ranges above, or ``n_steps`` that is not a multiple of ``bits``; for NaN
            and values outside [0, 1] in an eager call with ``clip=False``.

    Example:

    ```python
    spikes = keras_snn.layers.Phase(8)(np.array([[192 / 256]], dtype="float32"))
    np.array(spikes)[0, :, 0].astype(int).tolist()  # [1, 1, 0, 0, 0, 0, 0, 0]
    np.array(keras_snn.layers.Phase(8).decode(spikes)).tolist()  # [[0.75]]
    ```

    References:
        Kim, Kim, Huh, Lee and Choi (2018), Deep neural networks with weighted spikes. Neurocomputing 311, 373-386,
        doi:10.1016/j.neucom.2018.05.087.
    """

    def __init__(self, n_steps: int, *, bits: int = 8, **kwargs: Any) -> None:
        super().__init__(n_steps, **kwargs)
        meaning = "the steps of one period; float32 has 24 binary digits"
        self.bits = checks.integer("bits", bits, least=1, most=24, meaning=meaning)
        encoding.check_periods(self.n_steps, self.bits)

    def encode(self, x: Tensor, n_steps: int, steps: Tensor) -> Tensor:
        return encoding.phase(x, n_steps, self.bits, steps=steps)

    def decode(self, spikes: Tensor) -> Tensor:
        """Return the values ``(batch, ...)`` of the spikes ``(batch, time, ...)``: the mean weighted sum of a period.

        They are below x by less than ``2^-bits``, and by ``2^-bits`` at x = 1.
        """
        return decoding.phase(spikes, self.bits)

    def get_config(self):
        return {**super().get_config(), "bits": self.bits}
