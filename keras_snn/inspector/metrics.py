"""Evaluate Keras metrics on labels and a model's outputs, batch by batch."""

import itertools
from collections.abc import Collection
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_snn.hints import Nest
from keras_snn.ops.precision import to_float


class Metrics:
    """Keras metrics by name. Names mean the same as in ``compile``.

    Args:
        metrics: Metric, its name, a function ``(y_true, y_pred)``, or a list of these, for every output; or a dict from
            the name of each output to one of these.
        outputs: Collection of the names of the outputs; a single output has the name "".

    Raises:
        ValueError: For a metric of an unknown output, or a ``Metric`` object that is given more than once.
    """

    def __init__(self, metrics: Any, outputs: Collection[str]):
        self._metrics = {}
        by_output = metrics if isinstance(metrics, dict) else dict.fromkeys(outputs, metrics)
        for output, sources in by_output.items():
            if output not in outputs:
                raise ValueError(
                    f"The keys of `metrics` must be outputs of the model: {sorted(outputs)}; got {output!r}."
                )
            for source in sources if isinstance(sources, (list, tuple)) else [sources]:
                self._add(output, source)

    def _add(self, output, source):
        metric = source if _is_accuracy(source) else keras.metrics.get(source)
        if isinstance(metric, keras.metrics.Metric):
            if any(metric is other for _, other in self._metrics.values()):
                raise ValueError(
                    f"The metric {metric.name!r} must be given only once: its sums belong to one output. Give a "
                    "dict with an object for each output, or the metric's name."
                )
            metric.reset_state()
        elif not _is_accuracy(source):
            metric = keras.metrics.MeanMetricWrapper(metric, name=getattr(metric, "__name__", str(source)))
        name = "_".join(filter(None, (output, source if isinstance(source, str) else metric.name)))
        numbered = (f"{name}_{k}" for k in itertools.count(1))  # as in Keras's `evaluate`
        unique = next(key for key in itertools.chain([name], numbered) if key not in self._metrics)
        self._metrics[unique] = output, metric

    def __bool__(self):
        return bool(self._metrics)

    def update(self, sums: dict[str, list], labels: dict[str, Nest], outputs: dict[str, Nest]) -> dict[str, list]:
        """Add a batch to one of several runs; return the new sums of the run.

        Args:
            sums: Dict from the name of each metric to the list of its sums in this run; {} for a new run.
            labels: Dict from the name of each output to its labels.
            outputs: Dict from the name of each output to its values.
        """
        sums = dict(sums)
        for name, (output, metric) in self._metrics.items():
            if output not in labels:
                argument = f"`y[{output!r}]`" if output else "`y`"
                raise ValueError(f"The metric {name!r} needs labels: give {argument}.")
            if isinstance(metric, str):
                metric = _accuracy(labels[output], outputs[output])
                self._metrics[name] = output, metric
            _set_sums(metric, sums.get(name))
            metric.update_state(labels[output], outputs[output])
            sums[name] = [np.array(ops.convert_to_numpy(variable)) for variable in metric.variables]
        return sums

    def results(self, sums: dict[str, list]) -> dict[str, float]:
        """Return a dict from the name of each metric to its value in a run."""
        values = {}
        for name, (_, metric) in self._metrics.items():
            _set_sums(metric, sums.get(name))
            values[name] = to_float(metric.result())
        return values


def _set_sums(metric, sums):
    """Set the sums of a metric; None resets them for a new run."""
    if sums is None:
        metric.reset_state()
    else:
        for variable, value in zip(metric.variables, sums, strict=True):
            variable.assign(value)


def _is_accuracy(source):
    return isinstance(source, str) and source.lower() in ("accuracy", "acc")


def _accuracy(y, outputs):
    """Return the metric for "accuracy", chosen by the shapes of labels and outputs, as in ``compile``."""
    if outputs.shape[-1] == 1:
        return keras.metrics.BinaryAccuracy()
    if y.ndim < outputs.ndim or y.shape[-1] == 1:
        return keras.metrics.SparseCategoricalAccuracy()
    return keras.metrics.CategoricalAccuracy()
