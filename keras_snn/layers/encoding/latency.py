"""Latency: values as the time of one spike."""

import keras

from keras_snn import checks
from keras_snn.layers.encoding.still_encoder import StillEncoder
from keras_snn.ops import decoding, encoding


@keras.saving.register_keras_serializable(package="keras_snn")
class Latency(StillEncoder):
    r"""Time-to-first-spike code: one spike a unit, the sooner the larger the value.

    The spike is at the step

    .. math::
        t = \mathrm{round}\big((T - 1)(1 - x)\big) \quad \text{or} \quad
        t = \mathrm{round}\big((T - 1) - \ln(a x + 1)\big), \quad a = e^{T - 1} - 1

    for the codes "linear" and "log": at step 0 for x = 1, at the last one for x = 0. The black background of an image
    therefore spikes too, unless ``silent_zero=True``. The logarithmic code gives the small values most of the steps.
    There is no gradient.

    Inside ``keras_snn.probe.scope(n_steps=k)`` the values are coded in k steps.

    Args:
        n_steps: int > 0, the number of time steps T. One step alone can hold no value.
        code: "linear" (the default) or "log".
        silent_zero: bool. True: the value 0, after clipping, gives no spike. Default False.
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
        ValueError: for arguments other than those above; for NaN and values outside [0, 1] in an
            eager call with ``clip=False``.

    Example:
        >>> import numpy as np
        >>> from keras_snn.layers import Latency
        >>> spikes = Latency(5)(np.array([[1.0, 0.5, 0.0]], dtype="float32"))
        >>> np.array(spikes)[0].T.astype(int).tolist()  # a row for each unit
        [[1, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 1]]
        >>> np.array(Latency(5).decode(spikes)).tolist()
        [[1.0, 0.5, 0.0]]
    """

    def __init__(self, n_steps, *, code="linear", silent_zero=False, clip=True, **kwargs):
        super().__init__(n_steps, clip=clip, **kwargs)
        self.code = checks.choice("code", code, encoding.LATENCY_CODES)
        self.silent_zero = silent_zero

    def encode(self, x, n_steps, steps):
        return encoding.latency(x, n_steps, self.code, silent_zero=self.silent_zero, steps=steps)

    def decode(self, spikes):
        """Return the values of the spikes ``(batch, time, ...)``, by the first spike of each unit.

        It is x up to ``0.5 / (T - 1)`` for the linear code; up to ``0.65 (x + 1 / (exp(T - 1) - 1))`` for the
        logarithmic one, whose values lie about a factor of e apart. A unit without a spike gives 0.
        """
        return decoding.latency(spikes, self.code)

    def get_config(self):
        return {**super().get_config(), "code": self.code, "silent_zero": self.silent_zero}
