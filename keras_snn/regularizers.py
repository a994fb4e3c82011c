"""Regularizers that keep activities, such as firing rates, at a target or within a range.

As the ``activity_regularizer`` of a spiking layer that returns sequences, a regularizer receives ``(batch, time, ...)``
values. The penalty is the sum over all elements, which Keras divides by the batch size.

A spike train is 0 or 1 / dt at each step: at ``dt=0.01`` it is 0 or 100 Hz, never within ``target=(10, 20)``. A penalty
on each step therefore cannot reach 0. Penalize the rate averaged over time instead, which trains better, in one of two
ways::

    Dense(128, ...), SpikingActivation("relu", dt=0.01, activity_regularizer=L2(1e-4, target=(10, 20), time_axis=1))
    TemporalAveragePooling(activity_regularizer=L2(1e-4, target=(10, 20)))

All penalties are computed in float32, or in float64 for float64 values. Sums of float16 activities cannot overflow.
"""

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_snn import checks
from keras_snn.hints import Tensor
from keras_snn.ops.precision import mean, wide


def _target_value(name, value):
    """Return a target as a float, or as an array with at least one axis."""
    target = np.asarray(value)
    if target.dtype.kind not in "iuf":
        raise TypeError(f"`{name}` must be a number or a numeric array, got {value!r}.")
    return target if target.ndim else float(target)


def _penalty(l1, l2):
    if l1 == 0 and l2 == 0:
        warnings.warn("l1 and l2 are both 0: this regularizer has no effect. Set at least one.", stacklevel=3)
    return keras.regularizers.L1L2(l1=l1, l2=l2)


def _check_axes(name, axes, x):
    if not all(-x.ndim <= axis < x.ndim for axis in axes):
        raise ValueError(f"`{name}` must exist in the activity, got {axes} and the shape {tuple(x.shape)}.")


@keras.saving.register_keras_serializable(package="keras_snn")
class RangedRegularizer(keras.regularizers.Regularizer):
    r"""Penalize the distance to a target value or to a target range.

    The error of a value :math:`x` is

    .. math::

        e = x - t \quad \text{(a target value } t \text{)}, \qquad
        e = \max(t_{min} - x, 0) + \max(x - t_{max}, 0) \quad \text{(a range)}

    and the penalty is ``regularizer(e)``, by default :math:`0.01 \sum e^2`. With ``time_axis``, :math:`x` is the
    activity averaged over that axis: a rate if the activity is a spike train.

    As the ``activity_regularizer`` of a layer that returns sequences it receives ``(batch, time, ...)`` values. The
    penalty is the sum over all of them, which Keras divides by the batch size. Without ``time_axis`` it penalizes each
    step. A spike train, which is 0 or 1 / dt at each step, can never be within a range between the two. To control
    rates, set ``time_axis=1``, or put the regularizer on a ``TemporalAveragePooling`` layer. This trains better. Keras
    does not pass masks to regularizers: for padded sequences use ``TemporalAveragePooling``, which averages over valid
    steps.

    The penalty is computed in float32 under every dtype policy, and in float64 for float64 activities.

    Args:
        target: Number, array, or range ``(min, max)`` as a tuple or list of two numbers or arrays, in the unit of the
            activity (Hz for spikes of height 1 / dt). Arrays broadcast against the activity, after the average over
            time. To give one target per unit, pass a NumPy array: a tuple or list is a range. Default 0.
        regularizer: The function of the error: a Keras regularizer, its name or config, or any function of one tensor
            that returns a scalar. To save the model, the function must be registered with Keras. Default None:
            ``keras.regularizers.L1L2(l2=0.01)``.
        time_axis: Integer, or None. The axis over which the activity is averaged first; it is 1 in this package. None:
            each element of the activity is penalized. Default None.

    Raises:
        ValueError: If a range does not have two values or has min > max, or ``time_axis`` is neither None nor an
            integer. When called, if the activity does not have ``time_axis``.
        TypeError: If ``target`` is not numeric.

    Example:

    ```python
    regularizer = keras_snn.regularizers.RangedRegularizer(target=(10, 20), regularizer="l1")  # 0.01 per Hz
    round(float(regularizer(np.array([5.0, 15.0, 30.0], dtype="float32"))), 4)  # 0.15: 5 Hz below, 10 Hz above
    ```
    """

    def __init__(self, target: Any = 0, regularizer: Any = None, *, time_axis: int | None = None) -> None:
        if isinstance(target, tuple | list):
            if len(target) != 2:
                raise ValueError(
                    f"`target` as a range must have two values (min, max), got {len(target)}: {target!r}. "
                    "Pass one target per unit as a NumPy array."
                )
            low, high = (_target_value("target", value) for value in target)
            if np.any(np.greater(low, high)):
                raise ValueError(f"`target` as a range (min, max) must have min <= max, got {target!r}.")
            self.target = (low, high)
        else:
            self.target = _target_value("target", target)
        self.regularizer = keras.regularizers.get(regularizer) or keras.regularizers.L1L2(l2=0.01)
        self.time_axis = checks.integer("time_axis", time_axis, optional=True)

    def __call__(self, x: Tensor) -> Tensor:
        x = self._observed_values(x)
        if isinstance(self.target, tuple):
            low, high = (ops.convert_to_tensor(bound, dtype=x.dtype) for bound in self.target)
            return self.regularizer(ops.relu(low - x) + ops.relu(x - high))
        return self.regularizer(x - ops.convert_to_tensor(self.target, dtype=x.dtype))

    @property
    def minimum(self) -> Any:
        """The minimum of the target range, or the target value."""
        return self.target[0] if isinstance(self.target, tuple) else self.target

    @property
    def maximum(self) -> Any:
        """The maximum of the target range, or the target value."""
        return self.target[1] if isinstance(self.target, tuple) else self.target

    def _observed_values(self, x):
        """Return the values to compare with the target."""
        x = wide(x)
        if self.time_axis is None:
            return x
        _check_axes("time_axis", (self.time_axis,), x)
        return mean(x, self.time_axis)

    def get_config(self):
        target = list(self.target) if isinstance(self.target, tuple) else self.target
        return {
            "target": keras.saving.serialize_keras_object(target),
            "regularizer": keras.regularizers.serialize(self.regularizer),
            "time_axis": self.time_axis,
        }

    @classmethod
    def from_config(cls, config):
        deserialize = keras.saving.deserialize_keras_object
        return cls(**{name: value if name == "regularizer" else deserialize(value) for name, value in config.items()})


@keras.saving.register_keras_serializable(package="keras_snn")
class L1L2(RangedRegularizer):
    r"""L1 and L2 penalties on the distance to a target value or range.

    .. math:: l_1 \sum |e| + l_2 \sum e^2

    with the error :math:`e` of ``RangedRegularizer``. As an ``activity_regularizer`` on sequences it penalizes each
    step without ``time_axis``. Rates averaged over time train better; see ``RangedRegularizer``.

    Args:
        l1: Float >= 0, the factor of the L1 penalty. Default 0.
        l2: Float >= 0, the factor of the L2 penalty. Default 0.
        target: Number, array or range ``(min, max)``, as in ``RangedRegularizer``. Default 0.
        time_axis: Integer, or None. The axis over which the activity is averaged first. Default None.

    Raises:
        ValueError: If a factor is negative or not finite, or the target is invalid (see ``RangedRegularizer``).

    Warns:
        UserWarning: If both factors are 0.

    Example:

    ```python
    float(keras_snn.regularizers.L1L2(l1=0.5, l2=0.25, target=1.0)(np.array([3.0], dtype="float32")))
    # 2.0: 0.5 * 2 + 0.25 * 4
    ```
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0, target: Any = 0, *, time_axis: int | None = None) -> None:
        super().__init__(target, _penalty(l1, l2), time_axis=time_axis)
        self.l1 = self.regularizer.l1
        self.l2 = self.regularizer.l2

    def get_config(self):
        config = super().get_config()
        del config["regularizer"]
        return {"l1": self.l1, "l2": self.l2, **config}


@keras.saving.register_keras_serializable(package="keras_snn")
class L1(L1L2):
    r"""L1 penalty :math:`l_1 \sum |e|` on the distance to a target value or range.

    The error :math:`e` is that of ``RangedRegularizer``. As an ``activity_regularizer`` on sequences it penalizes each
    step without ``time_axis``. Rates averaged over time train better; see ``RangedRegularizer``.

    Args:
        l1: Float >= 0, the factor of the penalty. Default 0.01.
        target: Number, array or range ``(min, max)``, as in ``RangedRegularizer``. Default 0.
        l2: Float >= 0, the factor of an L2 penalty on the same distance. Default 0.
        time_axis: Integer, or None. The axis over which the activity is averaged first. Default None.

    Raises:
        ValueError: If a factor is negative or not finite, or the target is invalid (see ``RangedRegularizer``).

    Warns:
        UserWarning: If both factors are 0.

    Example:

    ```python
    float(keras_snn.regularizers.L1(0.5, target=(10, 20))(np.array([8.0, 15.0, 24.0], dtype="float32")))
    # 3.0: 0.5 * (2 + 0 + 4)
    ```
    """

    def __init__(self, l1: float = 0.01, target: Any = 0, *, l2: float = 0.0, time_axis: int | None = None) -> None:
        super().__init__(l1, l2, target, time_axis=time_axis)


@keras.saving.register_keras_serializable(package="keras_snn")
class L2(L1L2):
    r"""L2 penalty :math:`l_2 \sum e^2` on the distance to a target value or range.

    The error :math:`e` is that of ``RangedRegularizer``. As an ``activity_regularizer`` on sequences it penalizes each
    step without ``time_axis``. Rates averaged over time train better; see ``RangedRegularizer``.

    Args:
        l2: Float >= 0, the factor of the penalty. Default 0.01.
        target: Number, array or range ``(min, max)``, as in ``RangedRegularizer``. Default 0.
        l1: Float >= 0, the factor of an L1 penalty on the same distance. Default 0.
        time_axis: Integer, or None. The axis over which the activity is averaged first. Default None.

    Raises:
        ValueError: If a factor is negative or not finite, or the target is invalid (see ``RangedRegularizer``).

    Warns:
        UserWarning: If both factors are 0.

    Example:

    One sample with one spike in ten steps of dt = 0.01 s: the mean rate is 10 Hz, which is within the range.

    ```python
    spikes = np.zeros((1, 10, 1), dtype="float32")
    spikes[0, 3, 0] = 100.0
    float(keras_snn.regularizers.L2(1.0, target=(10, 20), time_axis=1)(spikes))  # 0.0
    float(keras_snn.regularizers.L2(1.0, target=(10, 20))(spikes))
    # 7300.0: nine silent steps and one of 100 Hz: 9 * 10^2 + 80^2
    ```
    """

    def __init__(self, l2: float = 0.01, target: Any = 0, *, l1: float = 0.0, time_axis: int | None = None) -> None:
        super().__init__(l1, l2, target, time_axis=time_axis)


@keras.saving.register_keras_serializable(package="keras_snn")
class Percentile(L1L2):
    r"""L1 and L2 penalties on a percentile of the activity, for example on the highest rate in the batch.

    .. math:: l_1 \sum |e(p)| + l_2 \sum e(p)^2, \qquad p = (1 - w) \, x_{(k)} + w \, x_{(k+1)}

    where :math:`x_{(0)} \le \dots \le x_{(N-1)}` are the values along ``axis``, :math:`k + w = (N - 1) q / 100` with
    :math:`k` an integer and :math:`0 \le w < 1` (linear interpolation), and :math:`e` is the error of
    ``RangedRegularizer``. :math:`q = 100` is the maximum. The gradient flows only to the values that determine
    :math:`p`.

    With ``time_axis`` the activity is averaged over time first, and ``axis`` refers to the remaining axes. Keras
    divides the penalty by the batch size even if ``axis`` contains the batch axis: scale the factors accordingly. Rates
    averaged over time train better than single steps; see ``RangedRegularizer``.

    Args:
        percentile: Float in [0, 100], the q above. Default 100.
        axis: Integer or tuple of integers, the axes over which the percentile is computed. Default 0, the batch.
        target: Number, array or range ``(min, max)``, as in ``RangedRegularizer``; an array broadcasts against the
            percentiles. Default 0.
        l1: Float >= 0, the factor of the L1 penalty. Default 0.
        l2: Float >= 0, the factor of the L2 penalty. Default 0.
        time_axis: Integer, or None. The axis over which the activity is averaged first. Default None.

    Raises:
        ValueError: If ``percentile`` is outside [0, 100], a factor is negative or not finite, the target is invalid,
            or ``axis`` is neither an integer nor a tuple of integers. When called, if the activity does not have
            ``axis``.

    Warns:
        UserWarning: If both factors are 0.

    Example:

    ```python
    rates = np.array([[1.0, 50.0], [3.0, 150.0]], dtype="float32")  # (batch, units)
    float(keras_snn.regularizers.Percentile(100, target=(0, 100), l1=1.0)(rates))
    # 50.0: 3 is within the range, 150 is 50 above it
    float(keras_snn.regularizers.Percentile(50, l1=1.0)(rates))  # 102.0: medians over the batch: 2 and 100
    ```
    """

    def __init__(
        self,
        percentile: float = 100,
        axis: int | tuple[int, ...] = 0,
        target: Any = 0,
        l1: float = 0.0,
        l2: float = 0.0,
        *,
        time_axis: int | None = None,
    ) -> None:
        super().__init__(l1, l2, target, time_axis=time_axis)
        if not 0 <= percentile <= 100:
            raise ValueError(f"`percentile` must be within [0, 100], got {percentile!r}.")
        self.axis = checks.axes("axis", axis)
        self.percentile = float(percentile)

    @property
    def _axes(self):
        return self.axis if isinstance(self.axis, tuple) else (self.axis,)

    def _observed_values(self, x):
        x = super()._observed_values(x)
        _check_axes("axis", self._axes, x)
        if self.percentile == 100:
            return ops.max(x, axis=self._axes)
        x = ops.moveaxis(x, self._axes, tuple(range(len(self._axes))))
        # Not ops.quantile: on PyTorch it fails for more than 2**24 elements, which a convolution's activity can have.
        x = ops.sort(ops.reshape(x, (-1, *ops.shape(x)[len(self._axes) :])), axis=0)
        position = ops.cast(ops.shape(x)[0] - 1, x.dtype) * (self.percentile / 100)
        lower = ops.floor(position)
        weight = position - lower
        low = ops.take(x, ops.cast(lower, "int32"), axis=0)
        high = ops.take(x, ops.cast(ops.ceil(position), "int32"), axis=0)
        return low + weight * (high - low)

    def get_config(self):
        axis = list(self.axis) if isinstance(self.axis, tuple) else self.axis
        return {"percentile": self.percentile, "axis": axis, **super().get_config()}
