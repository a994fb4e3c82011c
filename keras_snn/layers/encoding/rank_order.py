"""RankOrder: values as the order of spikes."""

import keras

from keras_snn.layers.encoding.still_encoder import StillEncoder
from keras_snn.ops import decoding, encoding


@keras.saving.register_keras_serializable(package="keras_snn")
class RankOrder(StillEncoder):
    r"""Rank order code: one spike a unit, in the descending order of the values of a sample.

    The unit of rank r = 0, ..., N - 1 among the N units of its sample spikes at step
    :math:`\lfloor r T / N \rfloor`; of two equal values, the one of the lower index (in C order) comes first. With
    fewer steps than units, neighbors in the order share a step. Only the order of the values is coded: units of
    the value 0 spike too, as the last ones. There is no gradient.

    Inside ``keras_snn.probe.scope(n_steps=k)`` the order is coded in k steps.

    Args:
        n_steps: int > 0, the number of time steps T.
        clip: bool. True (the default): values outside [0, 1] are clipped, and those clipped to the same bound are
            equal. NaN is ranked as 0, and gives NaN instead of spikes. False: NaN and values outside [0, 1] raise an
            error in an eager call, and are treated as NaN in compiled code.
        **kwargs: the usual arguments of a Keras layer, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: a tensor with values in [0, 1].

    Input shape:
        ``(batch, ...)``

    Output shape:
        ``(batch, n_steps, ...)``, 0 or 1.

    Raises:
        ValueError: if ``n_steps`` is not a positive int; for NaN and values outside [0, 1] in an
            eager call with ``clip=False``.

    Example:
        >>> import numpy as np
        >>> from keras_snn.layers import RankOrder
        >>> spikes = RankOrder(4)(np.array([[0.2, 0.9, 0.3, 0.8]], dtype="float32"))
        >>> np.array(spikes)[0].argmax(axis=0).tolist()  # the step of each unit's spike
        [3, 0, 2, 1]
        >>> np.array(RankOrder(4).decode(spikes)).tolist()
        [[0.25, 1.0, 0.5, 0.75]]

    References:
        Thorpe and Gautrais (1998), Rank order coding. Computational Neuroscience: Trends in Research, 113-118,
        doi:10.1007/978-1-4615-4831-7_19. There the order alone counts; the even spread over the steps is ours.
    """

    def encode(self, x, n_steps, steps):
        return encoding.rank_order(x, n_steps, steps=steps)

    def decode(self, spikes):
        """Return the relative rank of each unit of the spikes ``(batch, time, ...)``: 1 for the largest value.

        For rank r of N it is ``1 - r / N``, or less than ``1 / T`` above it. A unit without a spike gives 0.
        """
        return decoding.rank_order(spikes)
