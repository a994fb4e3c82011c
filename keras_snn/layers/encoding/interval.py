"""Interval: values as the time between spikes."""

from typing import Any

import keras

from keras_snn import checks
from keras_snn.hints import Tensor
from keras_snn.layers.encoding.still_encoder import StillEncoder
from keras_snn.ops import decoding, encoding


@keras.saving.register_keras_serializable(package="keras_snn")
class Interval(StillEncoder):
    r"""Inter-spike interval code: regular spikes, with shorter intervals for larger values.

    The interval between two spikes, in steps, is

    .. math:: i = \text{shortest} + \mathrm{round}\big((\text{longest} - \text{shortest})(1 - x)\big)

    and the spikes are at the steps :math:`i - 1, 2 i - 1, 3 i - 1, ...`: the first one comes after one interval. The
    value 0 gives the fewest spikes, but at least one: with the default ``longest``, one at the last step. There is no
    gradient.

    Inside ``keras_snn.probe.scope(n_steps=k)`` there are k steps, equal to the first k of a longer run.

    Args:
        n_steps: Integer > 1, the number of time steps T.
        shortest: Integer > 0, the interval for x = 1, in steps. Default 1, a spike at every step.
        longest: Integer from ``shortest + 1`` to ``n_steps``, the interval for x = 0, in steps. Default: ``n_steps``,
            one spike at the last step.
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
    layer = keras_snn.layers.Interval(6, shortest=2, longest=4)
    spikes = layer(np.array([[1.0, 0.5, 0.0]], dtype="float32"))
    np.array(spikes)[0].T.astype(int).tolist()
    # [[0, 1, 0, 1, 0, 1], [0, 0, 1, 0, 0, 1], [0, 0, 0, 1, 0, 0]]: one row per unit
    np.array(layer.decode(spikes)).tolist()  # [[1.0, 0.5, 0.0]]
    ```
    """

    def __init__(self, n_steps: int, *, shortest: int = 1, longest: int | None = None, **kwargs: Any) -> None:
        super().__init__(n_steps, **kwargs)
        self.shortest = checks.integer("shortest", shortest, least=1, meaning="the interval for x = 1, in steps")
        longest = self.n_steps if longest is None else longest
        meaning = "the interval for x = 0, from `shortest + 1` to `n_steps`"
        self.longest = checks.integer("longest", longest, least=shortest + 1, most=self.n_steps, meaning=meaning)

    def encode(self, x: Tensor, n_steps: int, steps: Tensor) -> Tensor:
        return encoding.interval(x, n_steps, self.shortest, self.longest, steps=steps)

    def decode(self, spikes: Tensor) -> Tensor:
        """Return the values ``(batch, ...)`` of the spikes ``(batch, time, ...)``, from their mean interval.

        The error is at most ``0.5 / (longest - shortest)``. For a single spike, the time before it counts as the
        interval. A unit without spikes gives 0.
        """
        return decoding.interval(spikes, self.shortest, self.longest)

    def get_config(self):
        return {**super().get_config(), "shortest": self.shortest, "longest": self.longest}
