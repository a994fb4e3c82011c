"""Keras metrics between labels and a model's outputs, batch by batch."""

import itertools

import keras

from keras_snn.ops.precision import to_float


class Metrics:
    """Keras metrics by name. Names mean the same as in ``compile``.

    Args:
        metrics: Metric, its name, a function ``(y_true, y_pred)``, or a list of these, for every output; or a dict of
            them from the outputs' names.
        outputs: Collection of the outputs' names; the only output of a model has the name "".

    Raises:
        ValueError: For a metric of an unknown output, or one ``Metric`` object that is given more than once.
    """

    def __init__(self, metrics, outputs):
        self._metrics = {}
        by_output = metrics if isinstance(metrics, dict) else dict.fromkeys(outputs, metrics)
        for output, of_output in by_output.items():
            if output not in outputs:
                raise ValueError(
                    f"The keys of `metrics` must be outputs of the model: {sorted(outputs)}; got {output!r}."
                )
            for source in of_output if isinstance(of_output, (list, tuple)) else [of_output]:
                self._add(output, source)

    def _add(self, output, source):
        metric = source if _is_accuracy(source) else keras.metrics.get(source)
        if isinstance(metric, keras.metrics.Metric):
            if any(metric is other for _, other in self._metrics.values()):
                raise ValueError(
                    f"The metric {metric.name!r} must be given only once: it has one set of sums. Give one object "
                    "for each output in a dict, or the metric's name."
                )
            metric.reset_state()
        elif not _is_accuracy(source):
            metric = keras.metrics.MeanMetricWrapper(metric, name=getattr(metric, "__name__", str(source)))
        name = "_".join(filter(None, (output, source if isinstance(source, str) else metric.name)))
        again = (f"{name}_{k}" for k in itertools.count(1))  # Keras's names in `evaluate`
        unique = next(other for other in itertools.chain([name], again) if other not in self._metrics)
        self._metrics[unique] = output, metric

    def update(self, labels, outputs):
        """Add a batch. ``labels`` and ``outputs`` are dicts by the outputs' names."""
        for name, (output, metric) in self._metrics.items():
            if output not in labels:
                which = f"`y[{output!r}]`" if output else "`y`"
                raise ValueError(f"The metric {name!r} needs labels: give {which}.")
            if isinstance(metric, str):
                metric = _accuracy(labels[output], outputs[output])
                self._metrics[name] = output, metric
            metric.update_state(labels[output], outputs[output])

    def results(self):
        """Return a dict from each metric's name to its value, a float."""
        return {name: to_float(metric.result()) for name, (_, metric) in self._metrics.items()}


def _is_accuracy(source):
    return isinstance(source, str) and source.lower() in ("accuracy", "acc")


def _accuracy(y, outputs):
    """Return the metric for "accuracy", chosen by the shapes of labels and outputs as in ``compile``."""
    if outputs.shape[-1] == 1:
        return keras.metrics.BinaryAccuracy()
    if y.ndim < outputs.ndim or y.shape[-1] == 1:
        return keras.metrics.SparseCategoricalAccuracy()
    return keras.metrics.CategoricalAccuracy()
