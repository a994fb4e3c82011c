"""``evaluate``: the accuracy of a classifier under several attacks of several strengths."""

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
from keras_snn.robustness import attacks as methods
from keras_snn.robustness.gradients import input_gradient
from keras_snn.robustness.report import Accuracy, RobustnessReport
from keras_snn.surrogates import ATan, FastSigmoid, Rectangular, Sigmoid, Triangular

#: Surrogates of the attack "gradient, worst case": several shapes and widths.
SURROGATES = (ATan(1.0), ATan(3.0), Sigmoid(2.0), Sigmoid(8.0), FastSigmoid(2.0), Triangular(1.0), Rectangular(1.0))

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
    y: Any,
    attacks: Sequence[str] | Mapping[str, Callable] = ("random signs", "FGSM", "PGD"),
    epsilons: Sequence[float] = (2 / 255, 4 / 255, 8 / 255),
    *,
    source: keras.Model | None = None,
    loss: Any = None,
    batch_size: int = 128,
    seed: int = 0,
    path: str | None = None,
    verbose: str | int = "auto",
) -> RobustnessReport:
    """Return the accuracy of a classifier under attack.

    Noise in the model is drawn anew for each gradient and for the prediction.

    Args:
        model: Built Keras classifier with one input and one output ``(batch, classes)`` or ``(batch, time, classes)``.
        x: Array ``(samples, ...)``, in [0, 1] unless the attacks have another ``clip``.
        y: Labels ``(samples, ...)`` as the loss takes them.
        attacks: Names out of ``robustness.ATTACKS``, or a dict from a name to a function ``(model, x, y, epsilon, *,
            loss, source, seed, batch_size, verbose)``, such as ``functools.partial(robustness.pgd, iterations=20)``.
        epsilons: Sequence of numbers > 0, in units of ``x``.
        source: Keras model whose gradients are used instead (transfer attack). Default None.
        loss: As in ``robustness.pgd``.
        batch_size: Integer. Default 128.
        seed: Integer. Default 0.
        path: Path of a .json file. The report is saved there after each attack. If the file is from an interrupted
            call with equal arguments, the attacks in it are not repeated. Default None.
        verbose: As in ``keras.Model.evaluate``.

    Raises:
        ValueError: For an unknown attack or a number out of range.

    Example:

    ```python
    report = keras_snn.robustness.evaluate(model, x_test, y_test, ["FGSM", "PGD"], [4 / 255, 8 / 255])
    print(report)
    report.plot("robustness.png")
    ```
    """
    x, y = np.asarray(as_array(x), "float32"), np.asarray(as_array(y))
    n_samples = checks.arrays("x", x)
    functions = (
        attacks if isinstance(attacks, Mapping) else {checks.choice("attacks", a, ATTACKS): ATTACKS[a] for a in attacks}
    )
    epsilons = [checks.number("epsilons", epsilon, above=0) for epsilon in epsilons]
    seed = checks.integer("seed", seed, least=0)
    batch_size = min(checks.integer("batch_size", batch_size, least=1), n_samples)
    judge = input_gradient(model, loss, warn=False)
    config = {
        "model": model.name,
        "source": None if source is None else source.name,
        "seed": seed,
        "batch_size": batch_size,
        "backend": keras.config.backend(),
        "fingerprint": _fingerprint(x, y, model, source),
    }
    report = _begun(path, config)
    if report is None:
        clean = Accuracy("clean", 0.0, _n_correct(judge, x, y, 0, batch_size, seed), n_samples)
        report = RobustnessReport(clean, [], config, [] if source is None else [f"Gradients of {source.name!r}."])
    done = {(result.attack, result.epsilon) for result in report}
    settings = [(name, epsilon) for name in functions for epsilon in epsilons]
    steps = len(settings) * -(-n_samples // batch_size)
    bar = keras.utils.Progbar(steps, verbose=1 if verbose == "auto" else verbose, unit_name="batch")
    for name, epsilon in settings:
        options = {"source": source, "loss": loss, "seed": seed, "batch_size": batch_size, "verbose": 0}
        correct, masked = 0, False
        for start in range(0, n_samples, batch_size) if (name, epsilon) not in done else ():
            rows = slice(start, start + batch_size)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                if functions[name] is methods.sign_noise:
                    adversarial = methods.sign_noise(x[rows], epsilon, seed=seed + start)
                else:
                    adversarial = functions[name](model, x[rows], y[rows], epsilon, first=start, **options)
            masked = masked or any("gradient masking" in str(warning.message) for warning in caught)
            correct += _n_correct(judge, adversarial, y[rows], start, batch_size, seed + 1)
            bar.add(1)
        if (name, epsilon) in done:
            bar.add(-(-n_samples // batch_size))
            continue
        report.results.append(Accuracy(name, epsilon, correct, n_samples))
        if masked:
            note = (
                f"{name}: the gradient is zero for many samples (gradient masking), so it does not measure robustness."
            )
            report.notes.extend([note] if note not in report.notes else [])
        if path is not None:
            report.save(path)
    return report


def _n_correct(judge, x, y, first, batch_size, seed):
    correct = 0
    for start in range(0, len(x), batch_size):
        index = np.minimum(np.arange(start, start + batch_size), len(x) - 1)
        _, predicted = judge.evaluate(x[index], y[index], first + index, seed)
        n_rows = min(batch_size, len(x) - start)
        correct += int((predicted == methods.class_numbers(y[index]))[:n_rows].sum())
    return correct


def _fingerprint(x, y, model, source):
    digest = hashlib.sha256()
    for array in (x, y, *model.get_weights(), *(source.get_weights() if source is not None else ())):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _begun(path, config):
    """Return the report of an interrupted call with the same settings, or None."""
    if path is None or not pathlib.Path(path).is_file():
        return None
    try:
        report = RobustnessReport.load(path)
    except ValueError:
        return None
    return report if report.config == config else None
