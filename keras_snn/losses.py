"""Losses of spike trains."""

from typing import Any

import keras
from keras import ops

from keras_snn import checks
from keras_snn.hints import Tensor
from keras_snn.ops.superspike import van_rossum


class _MaskOf(keras.layers.Layer):
    """Return the mask of a tensor. Keras passes it to layers only, and has no public function for it."""

    def __init__(self) -> None:
        super().__init__(autocast=False, name="mask_of")
        self.supports_masking = True

    def __call__(self, tensor: Any) -> Any:
        return next(iter(super().__call__(tensor)), None)

    def call(self, inputs, mask=None):
        return () if mask is None else (mask,)

    def compute_mask(self, inputs, previous_mask):
        return None


_mask_of = _MaskOf()


@keras.saving.register_keras_serializable(package="keras_snn")
class VanRossum(keras.losses.Loss):
    r"""Van Rossum distance of spike trains: the squared difference of the trains after a smooth causal filter.

    .. math:: L = \frac{1}{2} \int_0^T \big[(\alpha * (s - \hat s))(t)\big]^2 dt

    The kernel :math:`\alpha` has area 1. It is ``exp(-t / tau) / tau``, or with ``tau_rise`` the double exponential
    ``(exp(-t / tau) - exp(-t / tau_rise)) / (tau - tau_rise)``. A missing or surplus spike costs ``1 / (4 tau)`` with
    the single exponential. A spike at the distance D from its target costs ``(1 - exp(-D / tau)) / (2 tau)``. There is
    therefore a gradient also where no spike is at its place.

    The loss of a sample is the mean over its trains. Keras then averages over the batch. If the outputs have a mask,
    only the steps that count enter, as if the others were not there.

    Args:
        tau: Number > 0, the decay time constant. Default 10.
        tau_rise: Number > 0, the rise time constant, or None for the single exponential. Default None.
        dt: Number > 0, the length of a time step in the unit of ``tau``. Default 1: time constants count steps.
        reduction: As in ``keras.losses.Loss``. Default "sum_over_batch_size".
        name: Name of the loss. Default "van_rossum".
        dtype: As in ``keras.losses.Loss``.

    Call arguments:
        y_true: Tensor ``(batch, time, ...)``, the target spikes, 0 or 1.
        y_pred: Tensor of the same shape, spikes of 0 or 1, as neurons give them. ``SpikingActivation`` gives spikes of
            1 / dt: multiply them by dt.
        sample_weight: Tensor ``(batch,)``, or None.

    Raises:
        ValueError: If a time constant is not positive, or if the shapes differ or have no time axis.

    Example:

    ```python
    target, late = np.zeros((1, 100, 1), "float32"), np.zeros((1, 100, 1), "float32")
    target[0, 20], late[0, 25] = 1, 1
    loss = keras_snn.losses.VanRossum(tau=10.0)
    round(float(loss(target, late)), 3)  # 0.02: (1 - exp(-0.5)) / 20
    float(loss(target, target))  # 0.0
    ```

    References: van Rossum 2001, Neural Computation 13, 751-763, doi:10.1162/089976601300014321; Zenke and Ganguli 2018,
    Neural Computation 30, 1514-1541, arXiv:1705.11146, equation 1 (double exponential). The filters are exact for
    inputs that are constant within a step.
    """

    def __init__(
        self,
        tau: float = 10.0,
        *,
        tau_rise: float | None = None,
        dt: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "van_rossum",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.tau = checks.number("tau", tau, above=0)
        self.tau_rise = None if tau_rise is None else checks.number("tau_rise", tau_rise, above=0)
        self.dt = checks.number("dt", dt, above=0)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        mask = _mask_of(y_pred)
        # In a pair, Keras does not see the mask. It would multiply it with the distances, which have no time axis.
        return super().__call__(y_true, y_pred if mask is None else (y_pred, mask), sample_weight)

    def call(self, y_true, y_pred):
        y_pred, mask = y_pred if isinstance(y_pred, tuple) else (y_pred, None)
        compatible = len(y_true.shape) == len(y_pred.shape) and all(
            m == n or None in (m, n) for m, n in zip(y_true.shape, y_pred.shape, strict=True)
        )
        if not compatible or len(y_pred.shape) < 2:
            raise ValueError(
                "`y_true` and `y_pred` must be spike trains of one shape (batch, time, ...), got "
                f"{tuple(y_true.shape)} and {tuple(y_pred.shape)}."
            )
        kernel = (self.tau,) if self.tau_rise is None else (self.tau_rise, self.tau)
        mask = None if mask is None else ops.cast(mask, "bool")
        distances = van_rossum(y_pred, y_true, kernel=kernel, dt=self.dt, mask=mask)
        return ops.mean(ops.reshape(distances, (ops.shape(distances)[0], -1)), axis=1)

    def get_config(self):
        return {**super().get_config(), "tau": self.tau, "tau_rise": self.tau_rise, "dt": self.dt}
