"""Metrics of a model's output spikes."""

import math
from typing import Any

import keras
from keras import ops

from keras_snn import checks
from keras_snn.hints import Tensor
from keras_snn.ops import masks


class _SpikeMetric(keras.metrics.Mean):
    def __init__(self, name: str, height: float, dtype: Any) -> None:
        super().__init__(name=name, dtype=dtype)
        self.height = checks.number("height", height, above=0)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add the samples of a batch. ``y_pred`` are spikes ``(batch, time, ...)``; ``y_true`` is not used."""
        del y_true
        y_pred = ops.convert_to_tensor(y_pred)
        if len(y_pred.shape) < 2:
            raise ValueError(f"`y_pred` must be spikes (batch, time, ...), got {tuple(y_pred.shape)}.")
        mask = masks.mask_of(y_pred)
        spikes = ops.cast(y_pred, self.dtype)
        if mask is not None:
            mask = ops.cast(mask, "bool")
            spikes = masks.only_counted(spikes, mask)
        counts = ops.sum(spikes, axis=tuple(range(1, len(y_pred.shape)))) / self.height
        super().update_state(self._of_counts(counts, y_pred, mask), sample_weight)

    def _of_counts(self, counts: Tensor, spikes: Tensor, mask: Tensor | None) -> Tensor:
        """Return the values of the samples ``(batch,)`` for their numbers of spikes."""
        raise NotImplementedError

    def get_config(self):
        return {**super().get_config(), "height": self.height}


@keras.saving.register_keras_serializable(package="keras_snn")
class SpikeCount(_SpikeMetric):
    """Number of output spikes of a sample: the sum over all units and steps, averaged over the samples.

    Negative spikes of ``SpikingActivation`` are subtracted, as in ``inspect``. If the outputs have a mask, only the
    steps that count enter. In ``fit`` on JAX, Keras passes no mask to metrics, and all steps enter.

    Args:
        height: Number > 0, the height of a spike: 1 for neurons, 1 / dt for ``SpikingActivation``. Default 1.
        name: Name of the metric. Default "spike_count".
        dtype: As in ``keras.metrics.Metric``.

    Raises:
        ValueError: If ``height`` is not positive, or if the outputs have no time axis.

    Example:

    ```python
    metric = keras_snn.metrics.SpikeCount()
    metric.update_state(None, np.ones((4, 10, 2)))
    float(metric.result())  # 20.0
    ```
    """

    def __init__(self, *, height: float = 1.0, name: str = "spike_count", dtype: Any = None) -> None:
        super().__init__(name, height, dtype)

    def _of_counts(self, counts, spikes, mask):
        return counts


@keras.saving.register_keras_serializable(package="keras_snn")
class SpikeRate(_SpikeMetric):
    """Firing rate of the outputs: spikes per unit and step, or Hz if ``dt`` is given, averaged over the samples.

    Negative spikes of ``SpikingActivation`` are subtracted, as in ``inspect``. If the outputs have a mask, only the
    steps that count enter. In ``fit`` on JAX, Keras passes no mask to metrics, and all steps enter.

    Args:
        dt: Number > 0, seconds per step, or None: the rate is then per step. Default None.
        height: Number > 0, the height of a spike: 1 for neurons, 1 / dt for ``SpikingActivation``. Default 1.
        name: Name of the metric. Default "spike_rate".
        dtype: As in ``keras.metrics.Metric``.

    Raises:
        ValueError: If ``dt`` or ``height`` is not positive, or if the outputs have no time axis.

    Example:

    ```python
    spikes = np.zeros((4, 10, 2))
    spikes[:, ::5] = 1  # two spikes in ten steps
    metric = keras_snn.metrics.SpikeRate(dt=0.01)
    metric.update_state(None, spikes)
    round(float(metric.result()), 3)  # 20.0: Hz
    ```
    """

    def __init__(
        self, *, dt: float | None = None, height: float = 1.0, name: str = "spike_rate", dtype: Any = None
    ) -> None:
        super().__init__(name, height, dtype)
        self.dt = None if dt is None else checks.number("dt", dt, above=0)

    def _of_counts(self, counts, spikes, mask):
        n_units = math.prod(spikes.shape[2:])
        n_steps = ops.cast(masks.n_steps(spikes, mask), counts.dtype)
        return counts / (ops.maximum(n_steps, 1) * n_units * (self.dt or 1.0))

    def get_config(self):
        return {**super().get_config(), "dt": self.dt}
