"""Phase: values as the bits of a binary number."""

import keras

from keras_snn import checks
from keras_snn.layers.encoding.still_encoder import StillEncoder
from keras_snn.ops import decoding, encoding


@keras.saving.register_keras_serializable(package="keras_snn")
class Phase(StillEncoder):
    r"""Weighted phases: a spike at step t stands for :math:`2^{-(1 + t \bmod \text{bits})}`.

    The spikes of a period of ``bits`` steps are the binary digits of

    .. math:: \min(x, 1 - 2^{-\text{bits}}) = 0.b_0 b_1 b_2 ..., \quad s_t = b_{t \bmod \text{bits}}

    the most significant one first, and the rest is cut off. The pixels p / 255 of an image of 8 bits get the digits of
    p. Every period is the same. The value 0 gives no spike. There is no gradient.

    Inside ``keras_snn.probe.scope(n_steps=k)`` there are k steps, which have to be whole periods too.

    Args:
        n_steps: int > 0, the number of time steps T, a multiple of ``bits``.
        bits: int from 1 to 24, the steps of one period. Default 8.
        clip: bool. True (the default): values outside [0, 1] are clipped, so scale images to [0, 1] first. NaN gives
            NaN instead of spikes. False: NaN and values outside [0, 1] raise an error in an eager call, and give NaN
            instead of spikes in compiled code.
        **kwargs: the usual arguments of a Keras layer, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: a tensor with values in [0, 1].

    Input shape:
        ``(batch, ...)``

    Output shape:
        ``(batch, n_steps, ...)``, 0 or 1.

    Raises:
        ValueError: for arguments outside the ranges above, or ``n_steps`` that is not a multiple of ``bits``; for NaN
            and values outside [0, 1] in an eager call with ``clip=False``.

    Example:
        >>> import numpy as np
        >>> from keras_snn.layers import Phase
        >>> spikes = Phase(8)(np.array([[192 / 256]], dtype="float32"))
        >>> np.array(spikes)[0, :, 0].astype(int).tolist()
        [1, 1, 0, 0, 0, 0, 0, 0]
        >>> np.array(Phase(8).decode(spikes)).tolist()
        [[0.75]]

    References:
        Kim, Kim, Huh, Lee and Choi (2018), Deep neural networks with weighted spikes. Neurocomputing 311, 373-386,
        doi:10.1016/j.neucom.2018.05.087.
    """

    def __init__(self, n_steps, *, bits=8, clip=True, **kwargs):
        super().__init__(n_steps, clip=clip, **kwargs)
        meaning = "the steps of one period; float32 has 24 binary digits"
        self.bits = checks.integer("bits", bits, least=1, most=24, meaning=meaning)
        encoding.check_periods(self.n_steps, self.bits)

    def encode(self, x, n_steps, steps):
        return encoding.phase(x, n_steps, self.bits, steps=steps)

    def decode(self, spikes):
        """Return the values of the spikes ``(batch, time, ...)``: the mean over the periods of the sum of the weights.

        It is x or up to ``2^-bits`` less; that much only at x = 1.
        """
        return decoding.phase(spikes, self.bits)

    def get_config(self):
        return {**super().get_config(), "bits": self.bits}
