"""Losses of spike trains."""

from typing import Any

import keras
from keras import ops

from keras_snn import checks
from keras_snn.hints import Tensor
from keras_snn.ops import masks
from keras_snn.ops.superspike import van_rossum


class _SpikeTrainLoss(keras.losses.Loss):
    """A loss of spike trains ``(batch, time, ...)``. Masked steps do not count."""

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        mask = masks.mask_of(y_pred)
        # In a pair, Keras does not see the mask. It would multiply it with the losses, which have no time axis.
        return super().__call__(y_true, y_pred if mask is None else (y_pred, mask), sample_weight)

    def call(self, y_true, y_pred):
        y_pred, mask = y_pred if isinstance(y_pred, tuple) else (y_pred, None)
        return self._compare(y_true, y_pred, None if mask is None else ops.cast(mask, "bool"))

    def _compare(self, y_true: Tensor, y_pred: Tensor, mask: Tensor | None) -> Tensor:
        """Return the loss of each sample, ``(batch,)``."""
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="keras_snn")
class VanRossum(_SpikeTrainLoss):
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

    def _compare(self, y_true, y_pred, mask):
        compatible = len(y_true.shape) == len(y_pred.shape) and all(
            m == n or None in (m, n) for m, n in zip(y_true.shape, y_pred.shape, strict=True)
        )
        if not compatible or len(y_pred.shape) < 2:
            raise ValueError(
                "`y_true` and `y_pred` must be spike trains of one shape (batch, time, ...), got "
                f"{tuple(y_true.shape)} and {tuple(y_pred.shape)}."
            )
        kernel = (self.tau,) if self.tau_rise is None else (self.tau_rise, self.tau)
        distances = van_rossum(y_pred, y_true, kernel=kernel, dt=self.dt, mask=mask)
        return ops.mean(ops.reshape(distances, (ops.shape(distances)[0], -1)), axis=1)

    def get_config(self):
        return {**super().get_config(), "tau": self.tau, "tau_rise": self.tau_rise, "dt": self.dt}


class _SpikeCountLoss(_SpikeTrainLoss):
    def _compare(self, y_true, y_pred, mask):
        if len(y_pred.shape) != 3:
            raise ValueError(f"`y_pred` must be spikes (batch, time, classes), got {tuple(y_pred.shape)}.")
        if len(y_true.shape) > 2 or (len(y_true.shape) == 2 and y_true.shape[1] not in (1, None)):
            raise ValueError(
                f"`y_true` must be integer labels (batch,) or (batch, 1), got {tuple(y_true.shape)}. From one-hot "
                "targets, take `argmax(axis=1)`."
            )
        labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        counts = ops.sum(y_pred if mask is None else masks.only_counted(y_pred, mask), axis=1)
        return self._of_counts(labels, counts, ops.cast(masks.n_steps(y_pred, mask), counts.dtype))

    def _of_counts(self, labels: Tensor, counts: Tensor, n_steps: Tensor) -> Tensor:
        """Return the losses ``(batch,)`` for the labels, the counts ``(batch, classes)`` and the numbers of steps."""
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="keras_snn")
class SpikeCountCrossEntropy(_SpikeCountLoss):
    r"""Cross-entropy of the spike counts: the counts of a sample over time are the logits of its class.

    .. math:: L = -\log \frac{e^{n_y}}{\sum_c e^{n_c}}, \quad n_c = \sum_t s_c(t)

    The neuron of the correct class learns to fire at all steps, the others learn to be silent. If the outputs have a
    mask, only the steps that count enter.

    Args:
        reduction: As in ``keras.losses.Loss``. Default "sum_over_batch_size".
        name: Name of the loss. Default "spike_count_cross_entropy".
        dtype: As in ``keras.losses.Loss``.

    Call arguments:
        y_true: Integer labels ``(batch,)`` or ``(batch, 1)``.
        y_pred: Tensor ``(batch, time, classes)``, spikes of 0 or 1, as neurons give them. ``SpikingActivation`` gives
            spikes of 1 / dt: multiply them by dt.
        sample_weight: Tensor ``(batch,)``, or None.

    Raises:
        ValueError: If the outputs have no axes of time and classes, or the targets are not labels.

    Example:

    ```python
    spikes = np.zeros((1, 10, 3), "float32")
    spikes[0, :4, 2] = 1  # 0, 0 and 4 spikes
    loss = keras_snn.losses.SpikeCountCrossEntropy()
    round(float(loss(np.array([2]), spikes)), 3)  # 0.036: log(1 + 2 exp(-4))
    ```

    Source: ``ce_count_loss`` of snnTorch.
    """

    def __init__(
        self,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str = "spike_count_cross_entropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def _of_counts(self, labels, counts, n_steps):
        return keras.losses.sparse_categorical_crossentropy(labels, counts, from_logits=True)


@keras.saving.register_keras_serializable(package="keras_snn")
class SpikeCountMSE(_SpikeCountLoss):
    r"""Squared difference of the spike counts from targets: a share of the steps for each class.

    .. math:: L = \frac{1}{C T} \sum_c (n_c - r_c T)^2, \quad n_c = \sum_t s_c(t)

    :math:`r_c` is ``correct_rate`` for the class of the sample and ``incorrect_rate`` for the C - 1 others; T is the
    number of steps. If the outputs have a mask, only the steps that count enter.

    Args:
        correct_rate: Number in [0, 1], the target of the correct class in spikes per step. Default 1.
        incorrect_rate: Number in [0, 1], the target of the other classes. Default 0.
        reduction: As in ``keras.losses.Loss``. Default "sum_over_batch_size".
        name: Name of the loss. Default "spike_count_mse".
        dtype: As in ``keras.losses.Loss``.

    Call arguments: as in ``SpikeCountCrossEntropy``.

    Raises:
        ValueError: If a rate is out of range, the outputs have no axes of time and classes, or the targets are not
            labels.

    Example:

    ```python
    spikes = np.zeros((1, 10, 2), "float32")
    spikes[0, :4, 1] = 1  # 0 and 4 spikes
    loss = keras_snn.losses.SpikeCountMSE(correct_rate=0.8, incorrect_rate=0.2)
    round(float(loss(np.array([1]), spikes)), 6)  # 1.0: ((0 - 2)^2 + (4 - 8)^2) / 20
    ```

    Source: ``mse_count_loss`` of snnTorch, which rounds :math:`r_c T` down.
    """

    def __init__(
        self,
        correct_rate: float = 1.0,
        incorrect_rate: float = 0.0,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str = "spike_count_mse",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.correct_rate = checks.number("correct_rate", correct_rate, least=0, most=1)
        self.incorrect_rate = checks.number("incorrect_rate", incorrect_rate, least=0, most=1)

    def _of_counts(self, labels, counts, n_steps):
        correct = ops.one_hot(labels, counts.shape[1], dtype=counts.dtype)
        rates = self.incorrect_rate + (self.correct_rate - self.incorrect_rate) * correct
        errors = ops.mean(ops.square(counts - rates * n_steps[:, None]), axis=1)
        return errors / ops.maximum(n_steps, 1)

    def get_config(self):
        return {**super().get_config(), "correct_rate": self.correct_rate, "incorrect_rate": self.incorrect_rate}
