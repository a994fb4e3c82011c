"""``find_dt``: raise dt until a spiking model reaches an accuracy."""

import numbers
import warnings
from dataclasses import dataclass

import keras
import numpy as np

from keras_snn import checks, graph
from keras_snn.data.batches import Batches
from keras_snn.data.labels import classes
from keras_snn.inspector.anatomy import named, output_kind
from keras_snn.inspector.inputs import check_model
from keras_snn.inspector.sweep import inspect
from keras_snn.layers.base.time_step import check_dt


@dataclass(frozen=True)
class Try:
    """A dt that was tried, its accuracy, and whether that reaches the target."""

    dt: float
    accuracy: float
    reached: bool


class DtSearch:
    """The result of ``find_dt``.

    Attributes:
        dt: The smallest dt tried that reached the target, seconds; None if none did.
        target: The accuracy to reach, the tolerance subtracted.
        tries: List of ``Try``, in the order in which they were made.
        model: The model of ``dt``: the one given, or what ``fit`` returned; None if none reached the target.
    """

    def __init__(self, target):
        self.target = target
        self.tries = []
        self.dt = None
        self.model = None

    def table(self):
        """Return a text table with a line for each try."""
        lines = ["   dt (s)  accuracy  reached"]
        for one in self.tries:
            chosen = "  <- chosen" if one.dt == self.dt else ""
            lines.append(f"{one.dt:9.4g}  {100 * one.accuracy:7.2f}%  {'yes' if one.reached else 'no':>7}{chosen}")
        return "\n".join([*lines, f"target: {100 * self.target:.2f}%"])

    __str__ = __repr__ = table


def find_dt(
    model,
    x,
    y=None,
    *,
    target,
    tolerance=0.0,
    start=0.001,
    factor=10,
    stop=1.0,
    fit=None,
    bisect=0,
    batch_size=None,
    seed=0,
    verbose=True,
):
    """Raise dt until the accuracy of a spiking model reaches a target, or dt passes ``stop``.

    The smaller dt, the fewer the spikes, and the shorter the time that the model stands for. dt is a choice like any
    other: make it on validation data, never on those of the final test.

    Where training does not depend on dt, as with ``spiking_aware_training=False``, the model stays as it is and only
    ``inspect`` runs again. Else give ``fit``, which trains anew for every dt. Where no layer depends on dt, as neurons
    that count steps, only ``start`` is tried, with a warning.

    Args:
        model: A built Keras model, as for ``inspect``; not used, and may be None, where ``fit`` is given.
        x: Validation data as for Keras's ``evaluate``: an array ``(samples, ...)``, tensor or pandas object, or a nest
            of them for several inputs; or data in batches ``(x, y)``: a ``tf.data.Dataset``, ``keras.utils.PyDataset``
            or PyTorch ``DataLoader``, without shuffling, since initial voltages depend on a sample's place. A generator
            is refused: the data is read for every dt.
        y: Labels of arrays, as for ``inspect``; for a model with several outputs, a dict with the labels of one. None
            for data in batches, which hold them.
        target: Accuracy to reach, in [0, 1]; or a Keras model whose accuracy on the same data is the target. Of several
            outputs, the one that ``y`` names is used. An output with a time axis is averaged over time.
        tolerance: Number >= 0, how far below the target is near enough. Default 0.
        start: Number in seconds, the first dt. Default 0.001.
        factor: Number > 1, from one dt to the next. Default 10.
        stop: Number in seconds, the largest dt. Default 1.
        fit: Callable ``(dt) -> model`` that returns a model trained with this dt.
        bisect: Integer, how often to halve, on a logarithmic scale, the interval between the last dt that failed and
            the first that did not. Default 0.
        batch_size: Integer, for arrays. Default: about 128. Must be None for data in batches.
        seed: As in ``inspect``.
        verbose: Boolean, print each try as it ends. Default True.

    Returns:
        A ``DtSearch``, with every try.

    Raises:
        ValueError: For a target outside [0, 1], a negative ``tolerance`` or ``bisect``, ``factor`` <= 1, ``stop`` <
            ``start``, no labels or labels of several outputs, a target model that is no classifier or has too few
            classes, or arguments that ``inspect`` refuses.
        TypeError: For a target that is neither a number nor a Keras model, a generator, or arguments that ``inspect``
            refuses.

    Example:

    ```python
    search = keras_snn.find_dt(spiking, x_val, y_val, target=plain, tolerance=0.005, bisect=2)
    keras_snn.set_dt(spiking, search.dt)
    ```

    References: the loop is that of Chaban's bachelor thesis on clothing recognition (steps 8 to 14), which compared
    with the plain network's accuracy on the training data.
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
        got = f"those of {sorted(labels)}" if labels else "none"
        raise ValueError(
            f"`y` must hold the labels of one output, on which the accuracy is measured; got {got}. For a model with "
            "several outputs, give a dict with the labels of one."
        )
    (output,) = labels
    if isinstance(target, keras.Model):
        target = _accuracy(target, batches, output)
    is_number = isinstance(target, numbers.Real) and not isinstance(target, bool)
    if not (is_number and 0 <= target <= 1):
        raise (ValueError if is_number else TypeError)(
            f"`target` must be an accuracy in [0, 1], or a Keras model to match; got {target!r}."
        )
    if fit is None and any(getattr(layer, "spiking_aware_training", False) for layer in model._flatten_layers()):
        warnings.warn(
            "The model was made with spiking_aware_training=True: its best weights depend on dt. They are tried as "
            "they are; give fit=... to train anew for every dt.",
            stacklevel=2,
        )
    sample = batches.first(graph.static_batch_size(model) or 1).x if fit is None else None
    if fit is None and not graph.TimeAxis(model, sample).reads_dt:
        warnings.warn(
            f"No layer of the model {model.name!r} depends on dt: its neurons count steps. Only dt = {start:g} s is "
            "tried, since all dt have the same accuracy. Change the number of steps instead.",
            stacklevel=2,
        )
        stop = start
    search = DtSearch(target - tolerance)

    def attempt(dt):
        tried = model if fit is None else fit(dt)
        accuracy = inspect(tried, x, y, dt=dt, batch_size=batch_size, examples=0, seed=seed, verbose=0)[dt].accuracies[
            output
        ]
        search.tries.append(Try(dt, accuracy, accuracy >= search.target))
        if search.tries[-1].reached:
            search.dt, search.model = dt, tried
        if verbose:
            print(search.table().splitlines()[len(search.tries)], flush=True)
        return search.tries[-1].reached

    # Powers, not products of products: 0.001 * 10 * 10 * 10 is not 1.
    n_tries = int(np.floor(np.log(stop / start) / np.log(factor) + 1e-9)) + 1
    for dt in (start * factor**k for k in range(n_tries)):
        if attempt(dt):
            break
    failed = [one.dt for one in search.tries if not one.reached]
    if search.dt is not None and failed:
        low = failed[-1]
        for _ in range(bisect):
            middle = float(np.sqrt(low * search.dt))
            if not attempt(middle):
                low = middle
    return search


def _accuracy(model, batches, output):
    """Return the accuracy of a model to match on the labels of the output of that name."""
    check_model(model)
    right = sum(_right_answers(model, batch, output) for batch in batches)
    return float(right / batches.n_samples)


def _right_answers(model, batch, output):
    outputs = named(model, model.predict(batch.x, batch_size=batch.n_samples, verbose=0))
    found = outputs.get(output) if len(outputs) > 1 else next(iter(outputs.values()))
    if found is None or output_kind(found) == "other":
        raise ValueError(
            f"The target model {model.name!r} must have an output (batch, classes) or (batch, time, classes), with at "
            f"least two classes{f', of the name {output!r}' if output else ''}; its outputs are "
            f"{', '.join(f'{name or model.name} {of.shape}' for name, of in outputs.items())}. Give another model, or "
            "its accuracy as a number."
        )
    answers = found.mean(axis=1) if output_kind(found) == "sequence" else found
    (y,) = batch.y.values()
    return np.sum(answers.argmax(axis=-1) == classes(y, answers.shape[-1]))
