"""Keras metrics between labels and a model's outputs, batch by batch."""

import itertools

import keras

from keras_snn.inspector.prober import number


class Metrics:
    """The metrics of an inspection, by name, with names that ``compile`` understands.

    Args:
        metrics: Metric, its name, a function ``(y_true, y_pred)``, or a list of these, for every output; or a dict of
            them from the outputs' names.
        outputs: Collection of the outputs' names; the only output of a model has the name "".

    Raises:
        ValueError: For a metric of an output that there is not, or one ``Metric`` for several outputs.
    """

    def __init__(self, metrics, outputs):
        self._metrics = {}
        named = metrics if isinstance(metrics, dict) else dict.fromkeys(outputs, metrics)
        for output, of_output in named.items():
            if output not in outputs:
                raise ValueError(f"`metrics` names the output {output!r}; the model has {sorted(outputs)}.")
            for source in of_output if isinstance(of_output, (list, tuple)) else [of_output]:
                self._add(output, source)

    def _add(self, output, source):
        metric = source if _is_accuracy(source) else keras.metrics.get(source)
        if isinstance(metric, keras.metrics.Metric):
            if any(metric is other for _, other in self._metrics.values()):
                raise ValueError(
                    f"The metric {metric.name!r} must not measure twice: it would mix up its sums. Use a dict from the "
                    "outputs' names to metrics, or the metric's name."
                )
            metric.reset_state()
        elif not _is_accuracy(source):
            metric = keras.metrics.MeanMetricWrapper(metric, name=getattr(metric, "__name__", str(source)))
        name = "_".join(filter(None, (output, source if isinstance(source, str) else metric.name)))
        again = (f"{name}_{k}" for k in itertools.count(1))  # as Keras names them in `evaluate`
        unique = next(other for other in itertools.chain([name], again) if other not in self._metrics)
        self._metrics[unique] = output, metric

    def update(self, labels, outputs):
        """Measure a batch, given dicts of its labels and outputs by the outputs' names."""
        for name, (output, metric) in self._metrics.items():
            if output not in labels:
                which = f"`y[{output!r}]`" if output else "`y`"
                raise ValueError(f"The metric {name!r} needs labels: give {which}.")
            if isinstance(metric, str):
                metric = _accuracy(labels[output], outputs[output])
                self._metrics[name] = output, metric
            metric.update_state(labels[output], outputs[output])

    def results(self):
        """Return a dict of numbers."""
        return {name: number(metric.result()) for name, (_, metric) in self._metrics.items()}


def _is_accuracy(source):
    return isinstance(source, str) and source.lower() in ("accuracy", "acc")


def _accuracy(y, outputs):
    """Return the metric that ``compile`` takes for "accuracy": the shapes of labels and outputs decide."""
    if outputs.shape[-1] == 1:
        return keras.metrics.BinaryAccuracy()
    if y.ndim < outputs.ndim or y.shape[-1] == 1:
        return keras.metrics.SparseCategoricalAccuracy()
    return keras.metrics.CategoricalAccuracy()
