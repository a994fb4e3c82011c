"""Resonance: values as bursts of spikes at one period."""

from typing import Any

import keras

from keras_snn import checks
from keras_snn.hints import Tensor
from keras_snn.layers.encoding.still_encoder import StillEncoder
from keras_snn.ops import decoding, encoding


@keras.saving.register_keras_serializable(package="keras_snn")
class Resonance(StillEncoder):
    r"""Burst code: a train of spikes at a fixed period, which brings a receiver of this period into resonance.

    With the period P and the longest burst of K spikes, the value x gives q + 1 spikes at the steps
    :math:`0, P, 2 P, ...`, where

    .. math:: q = \mathrm{round}\big((K - 1) x\big)

    For q = 0 there is no spike: no value is encoded as a single spike, which dies away in the receiver. The receiver is
    ``ResonateAndFire`` with the same period. There is no gradient.

    Inside ``keras_snn.probe.scope(n_steps=k)`` there are k steps, equal to the first k of a longer run.

    Args:
        n_steps: Integer, the number of time steps T, at least ``(max_spikes - 1) period + 1``.
        period: Integer > 0, P, in steps. Default 8.
        max_spikes: Integer > 1, K. Default: as many as ``n_steps`` allow.
        **kwargs: ``clip=True`` (values outside [0, 1] are clipped; with False they raise an error), as in
            ``StillEncoder``; and the arguments of ``keras.layers.Layer``, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: Tensor ``(batch, ...)`` with values in [0, 1].

    Input shape:
        ``(batch, ...)``

    Output shape:
        ``(batch, n_steps, ...)``, 0 or 1.

    Raises:
        ValueError: For arguments outside the ranges above; for NaN and values outside [0, 1] in an eager call with
            ``clip=False``.

    Example:

    ```python
    layer = keras_snn.layers.Resonance(7, period=3, max_spikes=3)
    spikes = layer(np.array([[1.0, 0.5, 0.0]], dtype="float32"))
    np.array(spikes)[0].T.astype(int).tolist()
    # [[1, 0, 0, 1, 0, 0, 1], [1, 0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]]: one row per unit
    np.array(layer.decode(spikes)).tolist()  # [[1.0, 0.5, 0.0]]
    ```

    References: Izhikevich 2001, Neural Networks 14, 883-894, doi:10.1016/S0893-6080(01)00078-8, for bursts and their
    receiver; the assignment of values to bursts is that of this package.
    """

    def __init__(self, n_steps: int, *, period: int = 8, max_spikes: int | None = None, **kwargs: Any) -> None:
        super().__init__(n_steps, **kwargs)
        self.period = checks.integer("period", period, least=1, meaning="the steps between two spikes of a burst")
        longest = (self.n_steps - 1) // self.period + 1
        meaning = f"the spikes of the longest burst: {longest} fit {self.n_steps} steps with period={self.period}"
        max_spikes = longest if max_spikes is None else max_spikes
        self.max_spikes = checks.integer("max_spikes", max_spikes, least=2, most=longest, meaning=meaning)

    def encode(self, x: Tensor, n_steps: int, steps: Tensor) -> Tensor:
        return encoding.resonance(x, self.n_steps, self.period, self.max_spikes, steps=steps)

    def decode(self, spikes: Tensor) -> Tensor:
        """Return the values ``(batch, ...)`` of the spikes ``(batch, time, ...)``, from their number.

        The error is at most ``0.5 / (max_spikes - 1)``. A unit with fewer than two spikes gives 0.
        """
        return decoding.resonance(spikes, self.max_spikes)

    def get_config(self):
        return {**super().get_config(), "period": self.period, "max_spikes": self.max_spikes}
