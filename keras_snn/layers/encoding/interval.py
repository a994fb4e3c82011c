"""Interval: values as the time between spikes."""

import keras

from keras_snn import checks
from keras_snn.layers.encoding.still_encoder import StillEncoder
from keras_snn.ops import decoding, encoding


@keras.saving.register_keras_serializable(package="keras_snn")
class Interval(StillEncoder):
    r"""Inter-spike interval code: regular spikes, the closer to each other the larger the value.

    The interval between two spikes, in steps, is

    .. math:: i = \text{shortest} + \mathrm{round}\big((\text{longest} - \text{shortest})(1 - x)\big)

    and the spikes are at the steps :math:`i - 1, 2 i - 1, 3 i - 1, ...`: the first one when one interval is over. The
    value 0 gives the fewest spikes, but never none: with the default ``longest``, one at the last step. There is no
    gradient.

    Inside ``keras_snn.probe.scope(n_steps=k)`` there are k steps, which are the first k of a longer run.

    Args:
        n_steps: int > 1, the number of time steps T.
        shortest: int > 0, the interval for x = 1, in steps. Default 1, a spike at every step.
        longest: int from ``shortest + 1`` to ``n_steps``, the interval for x = 0. Default: ``n_steps``, one spike at
            the last step.
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
        ValueError: for arguments outside the ranges above; for NaN and values outside [0, 1] in an
            eager call with ``clip=False``.

    Example:
        >>> import numpy as np
        >>> from keras_snn.layers import Interval
        >>> layer = Interval(6, shortest=2, longest=4)
        >>> spikes = layer(np.array([[1.0, 0.5, 0.0]], dtype="float32"))
        >>> np.array(spikes)[0].T.astype(int).tolist()  # a row for each unit
        [[0, 1, 0, 1, 0, 1], [0, 0, 1, 0, 0, 1], [0, 0, 0, 1, 0, 0]]
        >>> np.array(layer.decode(spikes)).tolist()
        [[1.0, 0.5, 0.0]]
    """

    def __init__(self, n_steps, *, shortest=1, longest=None, clip=True, **kwargs):
        super().__init__(n_steps, clip=clip, **kwargs)
        self.shortest = checks.integer("shortest", shortest, least=1, meaning="the interval for x = 1, in steps")
        longest = self.n_steps if longest is None else longest
        limits = {"least": self.shortest + 1, "most": self.n_steps}
        meaning = "the interval for x = 0, from `shortest + 1` to `n_steps`"
        self.longest = checks.integer("longest", longest, **limits, meaning=meaning)

    def encode(self, x, n_steps, steps):
        return encoding.interval(x, n_steps, self.shortest, self.longest, steps=steps)

    def decode(self, spikes):
        """Return the values of the spikes ``(batch, time, ...)``, by their mean interval.

        It is x up to ``0.5 / (longest - shortest)``. One spike alone gives the value of the time before it, and a unit
        without a spike 0.
        """
        return decoding.interval(spikes, self.shortest, self.longest)

    def get_config(self):
        return {**super().get_config(), "shortest": self.shortest, "longest": self.longest}
