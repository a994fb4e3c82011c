"""The attacks of the publication, and the controls that it lacks."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_snn import robustness
from keras_snn.hints import Tensor
from keras_snn.robustness.evaluate import SURROGATES

#: The attacks of tables 3.3 to 3.7.
FOUR: dict[str, Callable] = {
    "FGSM": robustness.fgsm,
    "PGD-5": robustness.pgd,
    "BIM-5": robustness.bim,
    "MIM-5": robustness.mim,
}
#: The same and the attack of table 3.8.
FIVE: dict[str, Callable] = {**FOUR, "PGD-20": functools.partial(robustness.pgd, iterations=20)}

#: Names of the controls. The first three are PGD-5 with another gradient.
CONTROLS = ("expectation", "smooth", "surrogates", "Square", "random signs")


def controls(config: Mapping[str, Any], *, noisy: bool, folded: bool, spiking: bool, own: bool) -> dict[str, Callable]:
    """Return the controls that differ from PGD-5 for a source.

    Args:
        config: Configuration of the run.
        noisy: Whether the source draws noise.
        folded: Whether the source has oscillating membranes.
        spiking: Whether the source spikes.
        own: Whether the attacker may query the target, for Square.
    """
    surrogates = SURROGATES[: config["n_surrogates"]]  # the first is that of the neurons
    chosen = {
        "expectation": functools.partial(robustness.pgd, draws=config["n_draws"]) if noisy else None,
        "smooth": functools.partial(robustness.pgd, smooth=True) if folded else None,
        "surrogates": functools.partial(robustness.pgd, surrogates=surrogates) if spiking else None,
        "Square": functools.partial(square, n_queries=config["n_queries"]) if own and has_square(config) else None,
        "random signs": robustness.sign_noise,
    }
    return {name: attack for name, attack in chosen.items() if attack is not None}


def has_square(config: Mapping[str, Any]) -> bool:
    """Return whether Square runs: the configuration has queries, and the backend is not JAX."""
    return config["n_queries"] > 0 and keras.config.backend() != "jax"


def square(
    model: keras.Model, x: np.ndarray, y: np.ndarray, epsilon: float, *, n_queries: int, **options: Any
) -> np.ndarray:
    """Run the Square attack of ART, which sees the scores of ``model`` alone.

    Reference: Andriushchenko et al. 2020, ECCV, arXiv:1912.00049.
    """
    from art.attacks.evasion import SquareAttack

    del options
    classifier = robustness.as_art(model)
    attack = SquareAttack(classifier, eps=epsilon, max_iter=n_queries, batch_size=len(x), verbose=False)
    return attack.generate(x, y)


def crafted_once(attack: Callable) -> Callable:
    """Return ``attack`` for one source: a second target gets the same adversarial examples, from memory."""
    if attack is robustness.sign_noise or getattr(attack, "func", None) is square:
        return attack  # without a source
    found: dict[tuple, np.ndarray] = {}

    @functools.wraps(attack)
    def attack_once(model, x, y, epsilon, *, source=None, **options):
        key = epsilon, options.get("first", 0), len(x)
        if key not in found:
            found[key] = attack(model if source is None else source, x, y, epsilon, **options)
        return found[key]

    return attack_once


def accuracies(
    target: keras.Model,
    source: keras.Model,
    x: Tensor,
    y: Tensor,
    attacks: Mapping[str, Callable],
    config: Mapping[str, Any],
    *,
    seed: int,
) -> dict[str, Any]:
    """Return the numbers of correct predictions of ``target`` under attacks with the gradients of ``source``.

    Returns:
        Dict with "clean", "attacks" (by attack and epsilon in 255ths) and "notes". A result is a pair of the numbers of
        correct predictions and of images.
    """
    report = robustness.evaluate(
        target,
        x,
        y,
        attacks,
        [step / 255 for step in config["epsilons"]],
        source=None if source is target else source,
        batch_size=config["attack_batch"],
        seed=seed,
        verbose=0,
    )
    by_attack: dict[str, dict[str, list[int]]] = {name: {} for name in attacks}
    for result in report:
        by_attack[result.attack][str(round(255 * result.epsilon))] = [result.correct, len(x)]
    notes = [note for note in report.notes if "masking" in note]
    return {"clean": [report.clean.correct, len(x)], "attacks": by_attack, "notes": notes}


def adversarial_fit(model: keras.Model, epsilon: float, iterations: int, seed: int) -> Callable:
    """Return a function like ``model.fit`` that trains on PGD examples of each batch (Madry et al. 2018).

    The examples are made with the weights of the moment, batch normalization in inference mode. An incomplete last
    batch is left out.
    """

    def fit(
        x: Tensor,
        y: Tensor,
        *,
        batch_size: int,
        initial_epoch: int,
        epochs: int,
        callbacks: Sequence[keras.callbacks.Callback],
        verbose: int,
    ) -> None:
        del verbose
        log = keras.callbacks.CallbackList(callbacks, model=model)
        log.on_train_begin()
        for epoch in range(initial_epoch, epochs):
            log.on_epoch_begin(epoch)
            order = np.random.default_rng([seed, epoch]).permutation(len(x))
            figures: dict[str, float] = {}
            model.reset_metrics()
            for start in range(0, len(x) - batch_size + 1, batch_size):
                rows = order[start : start + batch_size]
                options: dict[str, Any] = {"seed": seed + 1 + start, "batch_size": batch_size, "verbose": 0}
                adversarial = robustness.pgd(
                    model, x[rows], y[rows], epsilon, iterations=iterations, step=2 * epsilon / iterations, **options
                )
                figures = model.train_on_batch(adversarial, y[rows], return_dict=True)
            log.on_epoch_end(epoch, figures)
        log.on_train_end()

    return fit
