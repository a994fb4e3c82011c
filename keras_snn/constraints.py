"""Constraints on the parameters of spiking layers."""

import keras
from keras import ops

from keras_snn import checks
from keras_snn.hints import Tensor
from keras_snn.ops.bounds import clip
from keras_snn.ops.precision import mean


@keras.saving.register_keras_serializable(package="keras_snn")
class Mean(keras.constraints.Constraint):
    r"""Replace every entry by the mean along an axis, so that the entries share one learned value.

    .. math:: w_i \leftarrow \frac{1}{N} \sum_{j=1}^{N} w_j

    where :math:`j` runs over ``axis``. For example, a ``Lowpass`` with ``tau_constraint=Mean()`` learns one time
    constant for all units.

    Args:
        axis: Integer or tuple of integers, the axes to average over. Negative axes count from the end. Default -1.

    Raises:
        ValueError: If ``axis`` is neither an integer nor a tuple of integers. When applied, if the weight does not have
            the axis.

    Example:

    ```python
    w = keras_snn.constraints.Mean(axis=0)(np.array([[1.0, 10.0], [3.0, 30.0]], dtype="float32"))
    np.array(w).tolist()  # [[2.0, 20.0], [2.0, 20.0]]
    ```
    """

    def __init__(self, axis: int | tuple[int, ...] = -1) -> None:
        self.axis = checks.axes("axis", axis)

    def __call__(self, w: Tensor) -> Tensor:
        w = ops.convert_to_tensor(w)
        axes = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        if not all(-w.ndim <= axis < w.ndim for axis in axes):
            raise ValueError(
                f"`axis` must exist in the weight, got {self.axis} and a weight of shape {tuple(w.shape)}."
            )
        return ops.broadcast_to(mean(w, self.axis, keepdims=True), w.shape)

    def get_config(self):
        return {"axis": list(self.axis) if isinstance(self.axis, tuple) else self.axis}


@keras.saving.register_keras_serializable(package="keras_snn")
class Clip(keras.constraints.Constraint):
    r"""Clip every entry to two bounds after each update by a Keras optimizer.

    .. math:: w_i \leftarrow \min(\max(w_i, \text{min\_value}), \text{max\_value})

    Other training loops ignore constraints. The bounds of a neuron's parameters hold in any loop, because the equations
    clamp the values; see ``SpikingNeuron.parameter_values``.

    Args:
        min_value: Number, the lower bound, or None. Default None.
        max_value: Number, the upper bound, or None. Default None.

    Raises:
        ValueError: If both are None, or the lower bound is above the upper bound.

    Example:

    ```python
    np.array(keras_snn.constraints.Clip(0.5, 5.0)(np.array([0.1, 2.0, 9.0], dtype="float32"))).tolist()
    # [0.5, 2.0, 5.0]
    ```
    """

    def __init__(self, min_value: float | None = None, max_value: float | None = None) -> None:
        if min_value is None and max_value is None:
            raise ValueError("`min_value` and `max_value` are both None: give at least one bound.")
        if min_value is not None and max_value is not None and min_value > max_value:
            raise ValueError(f"`min_value` must not be above `max_value`, got {min_value!r} and {max_value!r}.")
        self.min_value = min_value
        self.max_value = max_value

    def __call__(self, w: Tensor) -> Tensor:
        return clip(w, self.min_value, self.max_value)

    def holds(self, value: float) -> bool:
        """Return whether the number ``value`` is within the bounds."""
        return (self.min_value is None or value >= self.min_value) and (
            self.max_value is None or value <= self.max_value
        )

    def __str__(self):
        if self.max_value is None:
            return f"at least {self.min_value:g}"
        if self.min_value is None:
            return f"at most {self.max_value:g}"
        return f"between {self.min_value:g} and {self.max_value:g}"

    def get_config(self):
        return {"min_value": self.min_value, "max_value": self.max_value}
