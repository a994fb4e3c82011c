"""``evaluate``: the accuracy of a classifier under several attacks of several strengths."""

import dataclasses
import functools
import hashlib
import pathlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_snn import checks
from keras_snn.data.arrays import as_array
from keras_snn.data.batches import Batch, Batches
from keras_snn.robustness import attacks as methods
from keras_snn.robustness.gradients import InputGradient, input_gradient
from keras_snn.robustness.report import Accuracy, RobustnessReport
from keras_snn.surrogates import ATan, FastSigmoid, Rectangular, Sigmoid, Triangular

#: Surrogates of the attack "gradient, worst case": several shapes and widths.
SURROGATES = (ATan(3.0), ATan(1.0), Triangular(1.0), Sigmoid(2.0), Sigmoid(8.0), FastSigmoid(2.0), Rectangular(1.0))

#: The attacks that `evaluate` knows by name.
ATTACKS: dict[str, Callable] = {
    "random signs": methods.sign_noise,
    "FGSM": methods.fgsm,
    "BIM": methods.bim,
    "MIM": methods.mim,
    "PGD": methods.pgd,
    "PGD, expectation over noise": functools.partial(methods.pgd, draws=10),
    "PGD, smooth backward": functools.partial(methods.pgd, smooth=True),
    "gradient, worst case": functools.partial(methods.pgd, surrogates=SURROGATES),
}


def evaluate(
    model: keras.Model,
    x: Any,
    y: Any = None,
    attacks: Sequence[str] | Mapping[str, Callable] = ("random signs", "FGSM", "PGD"),
    epsilons: Sequence[float] = (2 / 255, 4 / 255, 8 / 255),
    *,
    source: keras.Model | None = None,
    loss: Any = None,
    batch_size: int | None = None,
    seed: int = 0,
    path: str | None = None,
    verbose: str | int = "auto",
) -> RobustnessReport:
    """Return the accuracy of a classifier under attack.

    The data are read once, one batch at a time: memory does not grow with their number. Noise in the model is drawn
    anew for each gradient and for the prediction.

    Args:
        model: Built Keras classifier with one input and one output ``(batch, classes)`` or ``(batch, time, classes)``.
        x: Array ``(samples, ...)``, in [0, 1] unless the attacks have another ``clip``; or data in batches ``(x, y)``:
            a ``tf.data.Dataset``, a ``keras.utils.PyDataset``, a PyTorch ``DataLoader`` or a generator.
        y: Labels ``(samples, ...)`` as the loss takes them: class numbers or one-hot rows. None for data in batches.
        attacks: Names out of ``robustness.ATTACKS``, or a dict from a name to a function ``(model, x, y, epsilon,
            **options)`` that returns an array like ``x``, such as ``functools.partial(robustness.pgd, iterations=20)``.
            The options are ``source``, ``loss``, ``seed``, ``batch_size``, ``first`` and ``verbose`` of
            ``robustness.pgd``.
        epsilons: Sequence of numbers > 0, in units of ``x``.
        source: Keras model whose gradients are used instead (transfer attack). Default None.
        loss: As in ``robustness.pgd``.
        batch_size: Integer. Default: about 128. Must be None for data in batches.
        seed: Integer. Default 0.
        path: Path of a .json file. The report is saved there after each batch. If the file is from an interrupted call
            with the same model, arrays and settings, finished batches of each attack are not repeated. Data in batches
            begin anew. Default None.
        verbose: As in ``keras.Model.evaluate``.

    Raises:
        ValueError: For an unknown attack, a number out of range, invalid labels, data without labels, or a model that
            is not a classifier with at least two outputs.

    Example:

    ```python
    report = keras_snn.robustness.evaluate(model, x_test, y_test, ["FGSM", "PGD"], [4 / 255, 8 / 255])
    print(report)
    report.plot("robustness.png")
    ```
    """
    functions = (
        attacks if isinstance(attacks, Mapping) else {checks.choice("attacks", a, ATTACKS): ATTACKS[a] for a in attacks}
    )
    epsilons = [checks.number("epsilons", epsilon, above=0) for epsilon in epsilons]
    seed = checks.integer("seed", seed, least=0)
    batches = Batches(x, y, batch_size=batch_size)
    judge = input_gradient(model, loss, warn=False)
    config = {
        "model": model.name,
        "source": None if source is None else source.name,
        "seed": seed,
        "batch_size": batch_size,
        "backend": keras.config.backend(),
        "fingerprint": None if batches.in_batches else _fingerprint(x, y, model, source),
    }
    settings = [("clean", 0.0), *((name, epsilon) for name in functions for epsilon in epsilons)]
    results = {(r.attack, r.epsilon): r for r in _stored(path, config)}
    for setting in settings:
        results.setdefault(setting, Accuracy(*setting, 0, 0))
    options: dict[str, Any] = {"source": source, "loss": loss, "seed": seed, "verbose": 0}
    n_settings = None if batches.n_batches is None else batches.n_batches * len(settings)
    bar = keras.utils.Progbar(n_settings, verbose=1 if verbose == "auto" else verbose, unit_name="attack")
    n_rows, registry = 0, {}
    for batch in batches:
        n_rows = max(n_rows, batch.n_samples)
        if "" not in batch.y:
            raise ValueError("`y` must be given, or `x` must give batches (x, y); got data without labels.")
        class_numbers = judge.class_numbers(batch.x, batch.y[""])
        for setting in settings:
            name, epsilon = setting
            bar.add(1)
            if results[setting].n_samples > batch.start:
                continue
            share, adversarial = 0.0, np.asarray(batch.x, "float32")
            if name != "clean":
                options |= {"batch_size": n_rows, "first": batch.start}
                arguments = model, adversarial, batch.y[""], epsilon
                share, adversarial = _attacked(functions[name], arguments, options, registry)
            predicted = _predicted(judge, batch, adversarial, n_rows, seed if name == "clean" else seed + 1)
            results[setting] = _sum(results[setting], int((predicted == class_numbers).sum()), batch.n_samples, share)
            if path is not None:
                _report(results, [key for key, result in results.items() if result.n_samples], config).save(path)
    return _report(results, settings, config)


def _attacked(function, arguments, options, registry):
    """Return the share of samples with a zero gradient if the attack warns of it, else 0, and its result."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", methods.GradientMaskingWarning)
        adversarial = function(*arguments, **options)
    shares = [0.0]
    for warning in caught:
        if isinstance(warning.message, methods.GradientMaskingWarning):
            shares.append(warning.message.share)
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno, registry=registry
            )
    return max(shares), adversarial


def _predicted(judge: InputGradient, batch: Batch, x: np.ndarray, n_rows: int, seed: int) -> np.ndarray:
    """Return the predicted classes. A small batch is filled up to ``n_rows`` samples: one shape, one compilation."""
    index = np.minimum(np.arange(n_rows), batch.n_samples - 1)
    return judge.evaluate(x[index], batch.y[""][index], batch.start + index, seed)[1][: batch.n_samples]


def _sum(result, correct, n_samples, masked):
    n = result.n_samples + n_samples
    masked = (result.masked * result.n_samples + masked * n_samples) / n
    return dataclasses.replace(result, correct=result.correct + correct, n_samples=n, masked=masked)


def _report(results, settings, config):
    clean, *others = (results[setting] for setting in settings)
    return RobustnessReport(clean, others, config)


def _fingerprint(x, y, model, source):
    digest = hashlib.sha256()
    data = (as_array(values) for values in (x, y) if values is not None)
    weights = (*model.get_weights(), *(source.get_weights() if source is not None else ()))
    for array in (*data, *weights):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _stored(path, config):
    """Return the results in the file of an interrupted call with the same settings."""
    if path is None or config["fingerprint"] is None or not pathlib.Path(path).is_file():
        return []
    try:
        report = RobustnessReport.load(path)
    except ValueError:
        return []
    return [report.clean, *report] if report.config == config else []
