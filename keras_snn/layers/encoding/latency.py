"""Latency: values as the time of one spike."""

from typing import Any

import keras

from keras_snn import checks
from keras_snn.hints import Tensor
from keras_snn.layers.encoding.still_encoder import StillEncoder
from keras_snn.ops import decoding, encoding


@keras.saving.register_keras_serializable(package="keras_snn")
class Latency(StillEncoder):
    r"""Time-to-first-spike code: one spike per unit, earlier for larger values.

    The spike is at the step

    .. math::
        t = \mathrm{round}\big((T - 1)(1 - x)\big) \quad \text{or} \quad
        t = \mathrm{round}\big((T - 1) - \ln(a x + 1)\big), \quad a = e^{T - 1} - 1

    for the codes "linear" and "log": step 0 for x = 1, the last step for x = 0. The black background of an image
    therefore spikes too, unless ``silent_zero=True``. The logarithmic code uses most of the steps for small values.
    There is no gradient.

    Inside ``keras_snn.probe.scope(n_steps=k)`` the values are encoded in k steps.

    Args:
        n_steps: Integer > 0, the number of time steps T. With one step, all values give the same spike.
        code: "linear" or "log". Default "linear".
        silent_zero: Boolean. True: the value 0, after clipping, gives no spike. Default False.
        **kwargs: ``clip=True`` (values outside [0, 1] are clipped; with False they raise an error), as in
            ``StillEncoder``; and the arguments of ``keras.layers.Layer``, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: Tensor ``(batch, ...)`` with values in [0, 1].

    Input shape:
        ``(batch, ...)``

    Output shape:
        ``(batch, n_steps, ...)``, 0 or 1.

    Raises:
        ValueError: For arguments other than those above; for NaN and values outside [0, 1] in an eager call with
            ``clip=False``.

    Example:

    ```python
    spikes = keras_snn.layers.Latency(5)(np.array([[1.0, 0.5, 0.0]], dtype="float32"))
    np.array(spikes)[0].T.astype(int).tolist()
    # [[1, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 1]]: one row per unit
    np.array(keras_snn.layers.Latency(5).decode(spikes)).tolist()  # [[1.0, 0.5, 0.0]]
    ```
    """

    def __init__(self, n_steps: int, *, code: str = "linear", silent_zero: bool = False, **kwargs: Any) -> None:
        super().__init__(n_steps, **kwargs)
        self.code = checks.choice("code", code, encoding.LATENCY_CODES)
        self.silent_zero = silent_zero

    def encode(self, x: Tensor, n_steps: int, steps: Tensor) -> Tensor:
        return encoding.latency(x, n_steps, self.code, silent_zero=self.silent_zero, steps=steps)

    def decode(self, spikes: Tensor) -> Tensor:
        """Return the values ``(batch, ...)`` of the spikes ``(batch, time, ...)``, from the first spike of each unit.

        The error is at most ``0.5 / (T - 1)`` for the linear code, and ``0.65 (x + 1 / (exp(T - 1) - 1))`` for the
        logarithmic code, whose values differ by a factor of about e. A unit without spikes gives 0.
        """
        return decoding.latency(spikes, self.code)

    def get_config(self):
        return {**super().get_config(), "code": self.code, "silent_zero": self.silent_zero}
