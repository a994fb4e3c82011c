"""FGSM, BIM, MIM and PGD: adversarial examples for any Keras classifier.

References: Goodfellow et al. 2015, arXiv:1412.6572 (FGSM); Kurakin et al. 2017, arXiv:1607.02533 (BIM); Dong et al.
2018, CVPR, arXiv:1710.06081 (MIM); Madry et al. 2018, ICLR, arXiv:1706.06083 (PGD); Athalye et al. 2018, ICML,
arXiv:1802.00420 (expectation over noise, gradient masking).
"""

import math
import warnings
from typing import Any

import keras
import numpy as np

from keras_snn import checks
from keras_snn.data.arrays import as_array
from keras_snn.robustness.gradients import InputGradient, input_gradient

NORMS = (math.inf, 2)

#: Share of samples with a zero gradient above which an attack warns of gradient masking.
MASKED_SHARE = 0.1

_SMALLEST = 1e-12  # a masked gradient can be exactly zero


def fgsm(model: keras.Model, x: Any, y: Any, epsilon: float, **options: Any) -> np.ndarray:
    """Fast gradient sign method: one step of size ``epsilon`` along the sign of the gradient.

    Args, returns and errors: as in ``pgd``, without ``iterations``, ``step``, ``random_start`` and ``restarts``.
    """
    return _attack(model, x, y, epsilon, iterations=1, step=epsilon, **options)


def bim(
    model: keras.Model,
    x: Any,
    y: Any,
    epsilon: float,
    *,
    iterations: int = 5,
    step: float | None = None,
    **options: Any,
) -> np.ndarray:
    """Basic iterative method: ``iterations`` steps of ``epsilon / iterations``, each projected to the epsilon ball.

    Args, returns and errors: as in ``pgd``, without ``random_start`` and ``restarts``.
    """
    iterations = checks.integer("iterations", iterations, least=1)
    return _attack(
        model, x, y, epsilon, iterations=iterations, step=epsilon / iterations if step is None else step, **options
    )


def mim(
    model: keras.Model,
    x: Any,
    y: Any,
    epsilon: float,
    *,
    iterations: int = 5,
    step: float | None = None,
    decay: float = 1.0,
    **options: Any,
) -> np.ndarray:
    """Momentum iterative method: BIM along ``g_m = decay g_{m-1} + gradient / ||gradient||_1``.

    Args, returns and errors: as in ``pgd``, without ``random_start`` and ``restarts``.
    """
    iterations = checks.integer("iterations", iterations, least=1)
    step = epsilon / iterations if step is None else step
    decay = checks.number("decay", decay, least=0)
    return _attack(model, x, y, epsilon, iterations=iterations, step=step, decay=decay, **options)


def pgd(
    model: keras.Model,
    x: Any,
    y: Any,
    epsilon: float,
    *,
    iterations: int = 5,
    step: float | None = None,
    random_start: bool = True,
    restarts: int = 1,
    **options: Any,
) -> np.ndarray:
    """Projected gradient descent: steps from a random point of the epsilon ball, each projected to the ball.

    Args:
        model: Built Keras classifier with one input and one output ``(batch, classes)`` or ``(batch, time, classes)``.
        x: Array ``(samples, ...)``.
        y: Labels ``(samples, ...)`` as the loss takes them; the target labels with ``targeted=True``.
        epsilon: Number >= 0, the radius of the ball, in units of ``x``.
        iterations: Integer, number of gradient steps. Default 5.
        step: Number, the length of a step. Default: ``epsilon / 4``.
        random_start: Boolean. Default True.
        restarts: Integer. The attack runs so many times; a sample keeps the result with a wrong prediction, else the
            one with the highest loss. Default 1.
        targeted: Boolean. True: lower the loss of the labels ``y`` instead of raising it. Default False.
        norm: ``math.inf`` or 2. Default ``math.inf``.
        clip: Pair of numbers, the range of valid inputs, or None. Default (0, 1).
        loss: Keras loss, its name, or a function ``(y_true, y_pred) -> (batch, ...)``. Default: that of ``compile``.
        draws: Integer, number of gradients that are averaged in each step, each with new noise in the model
            (expectation over noise). Default 1.
        surrogates: Sequence of ``keras_snn.surrogates`` for the backward pass: the attack runs with each, and a sample
            keeps the worst result, as with restarts. Default: each neuron's own surrogate.
        smooth: Boolean. True: the backward pass of oscillating membranes and encoders has the derivative 1, see
            ``keras_snn.probe.scope``. Default False.
        source: Keras model whose gradients are used instead of those of ``model`` (transfer attack). Default None.
        batch_size: Integer. Default 128.
        seed: Integer, for random starts and the noise in the model. Default 0.
        first: Integer, the place of the first sample in the data: random numbers depend on it. A batch with
            ``first`` > 0 is filled up to ``batch_size``. Default 0.
        verbose: As in ``keras.Model.evaluate``. Default "auto": a progress bar.

    Returns:
        The adversarial examples, float32 array in the shape of ``x``.

    Raises:
        ValueError: For a number out of range, an unknown norm, or a model without a loss. With several runs, also for
            invalid labels, or a model that is not a classifier with at least two outputs.
    """
    step = epsilon / 4 if step is None else step
    return _attack(
        model, x, y, epsilon, iterations=iterations, step=step, random_start=random_start, restarts=restarts, **options
    )


def sign_noise(
    model: keras.Model | None,
    x: Any,
    y: Any,
    epsilon: float,
    *,
    clip: tuple[float, float] | None = (0.0, 1.0),
    seed: int = 0,
    first: int = 0,
    **options: Any,
) -> np.ndarray:
    """Return ``x`` plus ``epsilon`` with a random sign for each value: the baseline of an attack.

    Args and returns: as in ``pgd``. The model, ``y`` and other options have no effect.
    """
    del model, y, options
    x = np.asarray(as_array(x), "float32")
    epsilon = checks.number("epsilon", epsilon, least=0)
    seed = checks.integer("seed", seed, least=0)
    generators = (np.random.default_rng([seed, first + i]) for i in range(len(x)))
    signs = [rng.choice(np.array([-1, 1], "float32"), x.shape[1:]) for rng in generators]
    return _clipped(x + np.float32(epsilon) * np.reshape(signs, x.shape), clip)


def _attack(
    model,
    x,
    y,
    epsilon,
    *,
    iterations,
    step,
    decay=None,
    random_start=False,
    restarts=1,
    targeted=False,
    norm=math.inf,
    clip=(0.0, 1.0),
    loss=None,
    draws=1,
    surrogates=None,
    smooth=False,
    source=None,
    batch_size=128,
    seed=0,
    first=0,
    verbose="auto",
):
    x, y = np.asarray(as_array(x), "float32"), np.asarray(as_array(y))
    n_samples = checks.arrays("x", x)
    if len(y) != n_samples:
        raise ValueError(f"`y` must have a label for each of the {n_samples} samples of `x`; got {len(y)}.")
    epsilon = checks.number("epsilon", epsilon, least=0)
    step = checks.number("step", step, least=0)
    checks.choice("norm", norm, NORMS)
    numbers = {"iterations": iterations, "restarts": restarts, "draws": draws, "batch_size": batch_size}
    iterations, restarts, draws, batch_size = (checks.integer(k, v, least=1) for k, v in numbers.items())
    seed = checks.integer("seed", seed, least=0)
    backward = [None] if surrogates is None else list(surrogates)
    gradients = [input_gradient(source or model, loss, surrogate=s, smooth=smooth) for s in backward]
    runs = [gradient for gradient in gradients for _ in range(restarts)]
    judge = input_gradient(model, loss, warn=False) if len(runs) > 1 else None
    class_numbers = y if judge is None else judge.class_numbers(x, y)
    if first == 0:  # a later batch is filled up, so that it has the shape of the first
        batch_size = min(batch_size, n_samples)
    walk = _Walk(epsilon, step, iterations, decay, targeted, norm, clip, random_start, draws)
    starts = range(0, n_samples, batch_size)
    bar = keras.utils.Progbar(len(starts) * len(runs), verbose=1 if verbose == "auto" else verbose, unit_name="batch")
    adversarial, n_masked = np.empty_like(x), 0
    for start in starts:
        rows = np.arange(start, start + batch_size)
        index = np.minimum(rows, n_samples - 1)  # the last batch is filled up: one shape, one compilation
        n_rows = min(batch_size, n_samples - start)
        worst, worst_score = x[index], np.full(batch_size, -np.inf)
        for number, gradient in enumerate(runs):
            found, masked = walk.run(gradient, x[index], y[index], first + index, seed + 7919 * number)
            n_masked += masked[:n_rows].sum() / len(runs)
            if judge is not None:
                losses, predicted = judge.evaluate(found, y[index], first + index, seed)
                score = _score(losses, predicted, class_numbers[index], targeted)
                worst = np.where(_spread(score > worst_score, x), found, worst)
                worst_score = np.maximum(score, worst_score)
            else:
                worst = found
            bar.add(1)
        adversarial[start : start + n_rows] = worst[:n_rows]
    if n_masked > MASKED_SHARE * n_samples:
        warnings.warn(GradientMaskingWarning(n_masked / n_samples), stacklevel=3)
    return adversarial


class GradientMaskingWarning(UserWarning):
    """The gradient of an attack is zero for many samples.

    Attributes:
        share: Share of the samples, between 0 and 1.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        super().__init__(
            f"The gradient is zero for {share:.0%} of the samples: gradient masking. The attack then does not measure "
            "robustness. Try smooth=True, other `surrogates`, draws > 1, a transfer attack (`source`) or an attack "
            "without gradients."
        )


class _Walk:
    """The steps of an attack on one batch."""

    def __init__(self, epsilon, step, iterations, decay, targeted, norm, clip, random_start, draws):
        self.epsilon, self.step, self.iterations = np.float32(epsilon), np.float32(step), iterations
        self.decay, self.norm, self.clip = decay, norm, clip
        self.random_start, self.draws = random_start, draws
        self.sign = np.float32(-1 if targeted else 1)

    def run(self, gradient: InputGradient, x, y, index, seed) -> tuple[np.ndarray, np.ndarray]:
        """Return the adversarial examples, and whether the gradient of each sample was zero in all steps."""
        adversarial = _clipped(x + self._start(x, index, seed), self.clip) if self.random_start else x
        momentum, masked = np.zeros_like(x), np.ones(len(x), bool)
        for i in range(self.iterations):
            seeds = [_seed_of(seed, i * self.draws + draw) for draw in range(self.draws)]
            d_x = np.sum([gradient(adversarial, y, index, drawn)[0] for drawn in seeds], axis=0)
            d_x = self.sign * d_x / np.float32(self.draws)
            masked &= _norm(d_x, np.inf).ravel() == 0
            if self.decay is not None:
                momentum = np.float32(self.decay) * momentum + d_x / (_norm(d_x, 1) + np.float32(_SMALLEST))
                d_x = momentum
            adversarial = _clipped(adversarial + self.step * self._direction(d_x), self.clip)
            adversarial = _clipped(x + self._projected(adversarial - x), self.clip)
        return adversarial, masked

    def _direction(self, d_x):
        return np.sign(d_x) if self.norm == math.inf else d_x / (_norm(d_x, 2) + np.float32(_SMALLEST))

    def _projected(self, change):
        if self.norm == math.inf:
            return np.clip(change, -self.epsilon, self.epsilon)
        return change * np.minimum(1, self.epsilon / (_norm(change, 2) + np.float32(_SMALLEST)))

    def _start(self, x, index, seed):
        """Return a uniform draw from the ball for each sample, which depends on its index and the seed alone."""
        starts = [np.random.default_rng([seed, i]) for i in index]
        if self.norm == math.inf:
            return np.stack([rng.uniform(-1, 1, x.shape[1:]) for rng in starts]).astype("float32") * self.epsilon
        size = math.prod(x.shape[1:])
        points = np.stack([rng.normal(size=x.shape[1:]) for rng in starts])
        radii = np.array([rng.uniform() ** (1 / size) for rng in starts])
        points *= _spread(radii, points) / _norm(points, 2)
        return points.astype("float32") * self.epsilon


def _score(losses, predicted, class_numbers, targeted):
    """Return the success of an attack for each sample: the loss, plus infinity for success."""
    success = (predicted == class_numbers) == targeted
    return np.where(success, np.inf, -losses if targeted else losses)


def _seed_of(seed, number):
    return (seed * 100_003 + number) % 2**31


def _norm(x, order):
    flat = np.abs(x.reshape(len(x), -1))
    if order == 2:
        values = np.sqrt(np.square(flat).sum(axis=1))
    else:
        values = flat.sum(axis=1) if order == 1 else flat.max(axis=1)
    return _spread(values, x)


def _spread(values, like):
    return values.reshape(-1, *[1] * (like.ndim - 1))


def _clipped(x, clip):
    return x if clip is None else np.clip(x, np.float32(clip[0]), np.float32(clip[1]))
