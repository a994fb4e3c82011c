"""Constraints on the parameters of spiking layers."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_snn")
class Mean(keras.constraints.Constraint):
    r"""Replace every entry by the mean along an axis, so that the entries share one learned value.

    .. math:: w_i \leftarrow \frac{1}{N} \sum_{j=1}^{N} w_j

    with :math:`j` running over ``axis``. A `Lowpass` with ``tau_constraint=Mean()`` learns one time constant for all
    its units, for example.

    Args:
        axis: int or tuple of ints, the axis or axes to average over, negative ones counted from the end. Default -1.

    Raises:
        TypeError: if ``axis`` is neither an int nor a tuple of ints.
        ValueError: when applied, if the weight does not have the axis.

    Example:
        >>> import numpy as np
        >>> from keras_snn.constraints import Mean
        >>> w = Mean(axis=0)(np.array([[1.0, 10.0], [3.0, 30.0]], dtype="float32"))
        >>> np.array(w).tolist()
        [[2.0, 20.0], [2.0, 20.0]]
    """

    def __init__(self, axis=-1):
        # A config that went through JSON brings a list.
        self.axis = tuple(axis) if isinstance(axis, list) else axis
        axes = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        if not axes or not all(isinstance(a, int) for a in axes):
            raise TypeError(f"`axis` must be an int or a tuple of ints, received {axis!r}.")

    def __call__(self, w):
        w = ops.convert_to_tensor(w)
        axes = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        if not all(-w.ndim <= a < w.ndim for a in axes):
            raise ValueError(f"`axis` {self.axis} does not exist in a weight of shape {tuple(w.shape)}.")
        return ops.broadcast_to(ops.mean(w, axis=self.axis, keepdims=True), w.shape)

    def get_config(self):
        return {"axis": list(self.axis) if isinstance(self.axis, tuple) else self.axis}
