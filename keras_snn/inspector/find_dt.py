"""``find_dt``: raise dt until a spiking model reaches an accuracy."""

import numbers
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from keras_snn import checks, graph, text_table
from keras_snn.data.batches import Batches
from keras_snn.data.labels import classes
from keras_snn.hints import Nest
from keras_snn.inspector.anatomy import output_kind, outputs_by_name
from keras_snn.inspector.inputs import check_model
from keras_snn.inspector.sweep import inspect
from keras_snn.layers.base.time_step import check_dt


@dataclass(frozen=True)
class Try:
    """A dt, its accuracy, and whether the accuracy reaches the target."""

    dt: float
    accuracy: float
    reached: bool


class DtSearch:
    """The result of ``find_dt``.

    Attributes:
        dt: The smallest dt that reached the target, in seconds; None if no dt did.
        target: The accuracy to reach, minus the tolerance.
        tries: List of ``Try`` in the order of the runs.
        model: The model at ``dt``: ``model``, or the result of ``fit``; None if no dt reached the target.
    """

    def __init__(self, target: float):
        self.target = target
        self.tries: list[Try] = []
        self.dt: float | None = None
        self.model: keras.Model | None = None

    def table(self) -> str:
        """Return a text table with a row for each try."""
        rows = [("dt (s)", "accuracy", "reached", "")]
        for run in self.tries:
            reached, chosen = "yes" if run.reached else "no", "<- chosen" if run.dt == self.dt else ""
            rows.append((f"{run.dt:.4g}", f"{100 * run.accuracy:.2f}%", reached, chosen))
        return "\n".join([*text_table.plain(rows), f"target: {100 * self.target:.2f}%"])

    __str__ = __repr__ = table


def find_dt(
    model: keras.Model | None,
    x: Nest,
    y: Nest = None,
    *,
    target: float | keras.Model,
    tolerance: float = 0.0,
    start: float = 0.001,
    factor: float = 10,
    stop: float = 1.0,
    fit: Callable[[float], keras.Model] | None = None,
    bisect: int = 0,
    batch_size: int | None = None,
    seed: int = 0,
    verbose: bool = True,
) -> DtSearch:
    """Raise dt until the accuracy of a spiking model reaches a target, or dt exceeds ``stop``.

    A smaller dt gives fewer spikes and a shorter duration of the inference. dt is a hyperparameter: choose it on
    validation data, never on the data of the final test.

    If training does not depend on dt, as with ``spiking_aware_training=False``, the same model is inspected at each dt.
    Otherwise give ``fit``, which trains a model for each dt. If no layer depends on dt, as for neurons that count
    steps, only ``start`` is tried, with a warning.

    Args:
        model: A built Keras model, as for ``inspect``. Not used, and may be None, with ``fit``.
        x: Validation data as for Keras's ``evaluate``: an array ``(samples, ...)``, tensor or pandas object, or a nest
            of them for several inputs; or data in batches ``(x, y)``: a ``tf.data.Dataset``, ``keras.utils.PyDataset``
            or PyTorch ``DataLoader``, without shuffling, because initial voltages depend on a sample's position. A
            generator is refused: the data is read for every dt.
        y: Labels of arrays, as for ``inspect``; for a model with several outputs, a dict with the labels of one output.
            None for data in batches, which hold the labels.
        target: Accuracy to reach, in [0, 1]; or a Keras model whose accuracy on the same data is the target. For
            several outputs, it is the accuracy of the output in ``y``. Outputs with a time axis are averaged over time.
        tolerance: Number >= 0, the accepted distance below the target. Default 0.
        start: Number in seconds, the first dt. Default 0.001.
        factor: Number > 1, the ratio of successive dt. Default 10.
        stop: Number in seconds, the maximum dt. Default 1.
        fit: Function ``(dt) -> model`` that returns a model trained with this dt.
        bisect: Integer, the number of bisections, on a logarithmic scale, of the interval between the last dt that
            failed and the first that reached the target. Default 0.
        batch_size: Integer, for arrays. Default: about 128. Must be None for data in batches.
        seed: As in ``inspect``.
        verbose: Boolean, whether to print each try when it ends. Default True.

    Returns:
        A ``DtSearch`` with all tries.

    Raises:
        ValueError: For a target outside [0, 1], a negative ``tolerance`` or ``bisect``, ``factor`` <= 1, ``stop`` <
            ``start``, no labels or labels of several outputs, a target model without classifier output or with too few
            classes, or arguments that ``inspect`` refuses.
        TypeError: For a target that is neither a number nor a Keras model, a generator, or arguments that ``inspect``
            refuses.

    Example:

    ```python
    search = keras_snn.find_dt(spiking, x_val, y_val, target=ann, tolerance=0.005, bisect=2)
    keras_snn.set_dt(spiking, search.dt)
    ```

    References: steps 8 to 14 of Chaban's bachelor thesis on clothing recognition, which compares with the accuracy of
    the ANN on the training data.
    """
    start, stop = check_dt(start), check_dt(stop)
    if stop < start:
        raise ValueError(f"`stop` must be at least `start`, {start:g} s; got {stop:g}.")
    factor = checks.number("factor", factor, above=1)
    tolerance = checks.number("tolerance", tolerance, least=0)
    bisect = checks.integer("bisect", bisect, least=0)
    batch_size = checks.integer("batch_size", batch_size, least=1, optional=True)
    if fit is None:
        check_model(model)
    batches = Batches(x, y, batch_size=batch_size)
    batches.need_several_passes("find_dt")
    labels = batches.first(1).y
    if len(labels) != 1:
        got = f"the labels of {sorted(labels)}" if labels else "none"
        raise ValueError(
            f"`y` must hold the labels of one output, on which the accuracy is measured; got {got}. For a model with "
            "several outputs, give a dict with the labels of one output."
        )
    (output,) = labels
    if isinstance(target, keras.Model):
        target = accuracy_of(target, batches, output)
    is_number = isinstance(target, numbers.Real) and not isinstance(target, bool)
    if not (is_number and 0 <= target <= 1):
        raise (ValueError if is_number else TypeError)(
            f"`target` must be an accuracy in [0, 1], or a Keras model to match; got {target!r}."
        )
    inspected = model if fit is None else None
    if inspected is not None and any(
        getattr(layer, "spiking_aware_training", False) for layer in inspected._flatten_layers()
    ):
        warnings.warn(
            "The model was made with spiking_aware_training=True: its best weights depend on dt. The same weights are "
            "tried at every dt; give fit=... to train a model for each dt.",
            stacklevel=2,
        )
    if inspected is not None and not _reads_dt(inspected, batches):
        warnings.warn(
            f"No layer of the model {inspected.name!r} depends on dt: its neurons count steps. Only dt = {start:g} s "
            "is tried, because all dt have the same accuracy. Change the number of steps instead.",
            stacklevel=2,
        )
        stop = start
    search = DtSearch(target - tolerance)

    def attempt(dt):
        candidate = model if fit is None else fit(dt)
        report = inspect(candidate, x, y, dt=dt, batch_size=batch_size, examples=0, seed=seed, verbose=0)
        accuracy = report[dt].accuracies[output]
        search.tries.append(Try(dt, accuracy, accuracy >= search.target))
        if search.tries[-1].reached:
            search.dt, search.model = dt, candidate
        if verbose:
            print(search.table().splitlines()[len(search.tries) + 1], flush=True)  # below header and rule
        return search.tries[-1].reached

    # Powers of `factor`: repeated products accumulate rounding, 0.001 * 10 * 10 * 10 is not 1.
    n_tries = int(np.floor(np.log(stop / start) / np.log(factor) + 1e-9)) + 1
    for dt in (start * factor**k for k in range(n_tries)):
        if attempt(dt):
            break
    failed = [run.dt for run in search.tries if not run.reached]
    if search.dt is not None and failed:
        low = failed[-1]
        for _ in range(bisect):
            middle = float(np.sqrt(low * search.dt))
            if not attempt(middle):
                low = middle
    return search


def _reads_dt(model, batches):
    sample = batches.first(graph.static_batch_size(model) or 1).x
    return graph.TimeAxis(model, sample).reads_dt


def accuracy_of(model: keras.Model, batches: Batches, output: str) -> float:
    """Return the accuracy of a model without spikes. ``output`` names the output."""
    check_model(model)
    n_correct = sum(_count_correct(model, batch, output) for batch in batches)
    return float(n_correct / batches.n_samples)


def _count_correct(model, batch, output):
    outputs = outputs_by_name(model, model.predict(batch.x, batch_size=batch.n_samples, verbose=0))
    scores = outputs.get(output) if len(outputs) > 1 else next(iter(outputs.values()))
    if scores is None or output_kind(scores) == "other":
        raise ValueError(
            f"The model {model.name!r} must have an output (batch, classes) or (batch, time, classes), with at "
            f"least two classes{f', named {output!r}' if output else ''}; its outputs are "
            f"{', '.join(f'{name or model.name} {array.shape}' for name, array in outputs.items())}. Give another "
            "model, or its accuracy as a number."
        )
    scores = scores.mean(axis=1) if output_kind(scores) == "sequence" else scores
    (y,) = batch.y.values()
    return np.sum(scores.argmax(axis=-1) == classes(y, scores.shape[-1]))
