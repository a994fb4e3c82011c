"""RankOrder: values as the order of spikes."""

import keras

from keras_snn.hints import Tensor
from keras_snn.layers.encoding.still_encoder import StillEncoder
from keras_snn.ops import decoding, encoding


@keras.saving.register_keras_serializable(package="keras_snn")
class RankOrder(StillEncoder):
    r"""Rank order code: one spike per unit, in descending order of the values of a sample.

    The unit of rank r = 0, ..., N - 1 among the N units of its sample spikes at step
    :math:`\lfloor r T / N \rfloor`. Of two equal values, the one with the lower index (in C order) comes first. With
    fewer steps than units, neighbors in the order share a step. Only the order of the values is encoded: units with
    the value 0 spike too, as the last ones. There is no gradient.

    Values clipped to the same bound are equal. NaN is ranked as 0 and gives NaN instead of spikes.

    Inside ``keras_snn.probe.scope(n_steps=k)`` the order is encoded in k steps.

    Args:
        n_steps: Integer > 0, the number of time steps T.
        **kwargs: ``clip=True`` (values outside [0, 1] are clipped; with False they raise an error), as in
            ``StillEncoder``; and the arguments of ``keras.layers.Layer``, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: Tensor ``(batch, ...)`` with values in [0, 1].

    Input shape:
        ``(batch, ...)``

    Output shape:
        ``(batch, n_steps, ...)``, 0 or 1.

    Raises:
        ValueError: If ``n_steps`` is not a positive int; for NaN and values outside [0, 1] in an eager call with
            ``clip=False``.

    Example:

    ```python
    spikes = keras_snn.layers.RankOrder(4)(np.array([[0.2, 0.9, 0.3, 0.8]], dtype="float32"))
    np.array(spikes)[0].argmax(axis=0).tolist()  # [3, 0, 2, 1]: the step of each unit's spike
    np.array(keras_snn.layers.RankOrder(4).decode(spikes)).tolist()  # [[0.25, 1.0, 0.5, 0.75]]
    ```

    References:
        Thorpe and Gautrais (1998), Rank order coding. Computational Neuroscience: Trends in Research, 113-118,
        doi:10.1007/978-1-4615-4831-7_19. There only the order counts. This layer spreads the spikes evenly over the
        steps.
    """

    def encode(self, x: Tensor, n_steps: int, steps: Tensor) -> Tensor:
        return encoding.rank_order(x, n_steps, steps=steps)

    def decode(self, spikes: Tensor) -> Tensor:
        """Return the relative rank ``(batch, ...)`` of each unit from the spikes ``(batch, time, ...)``.

        The largest value gives 1. Rank r of N gives a value from ``1 - r / N`` to less than ``1 / T`` above it. A unit
        without a spike gives 0.
        """
        return decoding.rank_order(spikes)
