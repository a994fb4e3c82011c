"""Train a network with each kind of neuron, and attack it in the scenarios of the publication and with controls."""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_snn import layers, robustness
from keras_snn.experiments import images, training
from keras_snn.experiments.oscillation_defense import attacks, networks
from keras_snn.experiments.oscillation_defense.curves import threshold
from keras_snn.experiments.oscillation_defense.published import CONSTANTS, FUNCTIONS, SCENARIOS
from keras_snn.experiments.oscillation_defense.results import draw, table
from keras_snn.experiments.registry import ENTRIES
from keras_snn.experiments.spec import Experiment, Part

FIGURES = ("train_accuracy", "seconds", "clean", "attacked", "fits")

#: "quick" takes a network of a quarter of the width, one seed and some minutes on two cores. "standard" adds seeds, a
#: larger epsilon, the Square attack and adversarial training; it takes about two hours. "full" has the published
#: settings, for a GPU.
_QUICK = {
    "data": "sample",
    "epochs": 4,
    "batch_size": 50,
    "learning_rate": 5e-3,
    "width": 0.25,
    "n_steps": 4,
    "n_seeds": 1,
    "n_train": None,
    "n_test": None,
    "n_attacked": 500,
    "attack_batch": 125,
    "epsilons": [8],  # in 255ths
    "fit_epochs": 2,
    "fit_learning_rate": 5e-3,
    "n_draws": 10,
    "n_surrogates": 3,
    "n_queries": 0,
    "n_square": 125,
    "adversarial_training": False,
    "adversarial_iterations": 3,
}
_STANDARD = {
    **_QUICK,
    "data": "full",
    "epochs": 5,
    "n_seeds": 3,
    "n_train": 10_000,
    "epsilons": [8, 16],
    "fit_epochs": 3,
    "n_queries": 300,
    "adversarial_training": True,
}
PRESETS = {
    "quick": _QUICK,
    "standard": _STANDARD,
    "full": {
        **_STANDARD,
        "epochs": 100,
        "learning_rate": 1e-4,
        "width": 1.0,
        "n_steps": 8,
        "n_seeds": 1,
        "n_train": None,
        "n_attacked": 1000,
        "fit_learning_rate": 1e-3,
        "n_queries": 1000,
        "n_square": 1000,
        "n_surrogates": len(attacks.SURROGATES),
        "adversarial_iterations": 5,
    },
}

#: Settings for larger images and networks. "standard" on CIFAR-10 is the small network with one seed, more images and
#: more epochs: a middle setting between Fashion-MNIST and the published networks.
_SMALL = {"width": 0.0625, "n_train": 2000, "n_test": 500, "n_attacked": 100}
_MIDDLE = {"n_seeds": 1, "epochs": 8, "n_train": 20_000}
ADJUSTMENTS: dict[tuple[str, str], dict] = {
    ("quick", "cifar10"): {"n_train": 5000, "n_test": 1000},
    ("standard", "cifar10"): _MIDDLE,
    **{("quick", dataset): _SMALL for dataset in networks.DEEP},
    **{("standard", dataset): {**_MIDDLE, "width": 0.125} for dataset in networks.DEEP},
}


@dataclass(frozen=True)
class Kind:
    """One kind of training.

    Attributes:
        neuron: Function that returns a new neuron layer, given c and d; None for the network without spikes.
        adversarial: Whether the training is on PGD examples.
    """

    neuron: Callable | None
    adversarial: bool = False


def _lif(c: float, d: float) -> keras.layers.Layer:
    return networks.lif()


#: Kinds of training, by name.
KINDS = {
    "lif": Kind(_lif),
    "oscillation": Kind(lambda c, d: layers.OscillationLIF()),
    "alternative from scratch": Kind(lambda c, d: layers.AlternativeOscillationLIF(c=c, d=d)),
    "ann, adversarial training": Kind(None, adversarial=True),
    "lif, adversarial training": Kind(_lif, adversarial=True),
}


def parts(config: Mapping[str, Any]) -> list[str]:
    """Return the kinds of training: all, or those without adversarial training."""
    return [name for name, kind in KINDS.items() if config["adversarial_training"] or not kind.adversarial]


def load(config: Mapping[str, Any]) -> list:
    """Return the pairs (images, labels) for training and test.

    Raises:
        ImportError: If the Square attack shall run and ART is not installed.
    """
    if attacks.has_square(config) and importlib.util.find_spec("art") is None:
        raise ImportError("The Square attack needs adversarial-robustness-toolbox: pip install keras_snn[robustness]")
    return images.load_limited(config)


def train_part(part: Part) -> dict[str, Any]:
    """Train a network, and evaluate it under attack on random test images."""
    kind, config = KINDS[part.kind], part.config
    keras.utils.set_random_seed(part.seed)
    (x, y), _ = part.data
    c, d = _constants(part)
    neuron = kind.neuron
    model = networks.non_spiking(config) if neuron is None else networks.spiking(config, lambda: neuron(c, d))
    networks.compile_for(model, config, len(x))
    epoch_log = _EpochLog(part.folder, part.name)
    options: dict[str, Any] = {"verbose": part.verbose}
    if kind.adversarial:
        epsilon = config["epsilons"][0] / 255
        options["fit"] = attacks.adversarial_fit(model, epsilon, config["adversarial_iterations"], part.seed)
    epoch_log.fit(model, x, y, config, **options)
    test = _Test(part)
    if part.kind == "oscillation":
        results = _scenarios(part, model, test)
    elif part.kind == "alternative from scratch":
        results = {"clean": {part.kind: test.accuracy(model)}, "attacked": {}, "fits": {"f1": {"c": c, "d": d}}}
    else:
        row = "LIF benchmark" if part.kind == "lif" else part.kind
        controls = attacks.controls(config, noisy=False, folded=False, spiking=neuron is not None, own=True)
        attacked = {row: test.attack(row, model, model, {**attacks.FIVE, **controls})}
        results = {"clean": {row: test.accuracy(model)}, "attacked": attacked, "fits": {}}
    columns = epoch_log.columns()
    epoch_log.remove()
    return {**columns, **results}


def _constants(part):
    """Return c and d that this seed's network gave, else the published ones of VGG-16."""
    fitted = part.finished.get(f"oscillation, seed {part.seed}")
    return (fitted["fits"]["f1"]["c"], fitted["fits"]["f1"]["d"]) if fitted else CONSTANTS["VGG-16, CIFAR-10"]


def _scenarios(part, model, test):
    """Fit the alternative neurons, and attack the network in the five scenarios and with F2, F3 and F4."""
    config, (x, _) = part.config, part.data[0]
    nets, fits = {"oscillation": model, "LIF copy": robustness.swap_neurons(model, networks.lif)}, {}
    for function in FUNCTIONS:
        part.log(f"fit of {function}: {config['fit_epochs']} epochs")
        options = {"epochs": config["fit_epochs"], "learning_rate": config["fit_learning_rate"], "verbose": 0}
        history = keras.callbacks.History()
        net = robustness.fit_alternative(model, x, function=function, callbacks=[history], **options)
        by_epoch = [
            threshold(function, *map(float, pair)) for pair in zip(*map(history.history.get, "cd"), strict=True)
        ]
        (c, d), *_ = {(layer.c, layer.d) for layer in net.layers if isinstance(layer, layers.AlternativeOscillationLIF)}
        nets[function] = net
        fits[function] = {"c": c, "d": d, "threshold": threshold(function, c, d), "threshold_by_epoch": by_epoch}
    clean = {name: test.accuracy(net) for name, net in nets.items()}
    attacked, crafted = {}, {}
    for row, (source, target) in SCENARIOS.items():
        if source not in crafted:
            chosen = attacks.FOUR
            if source in ("oscillation", "LIF copy", "f1"):
                kinds = {"noisy": source == "oscillation", "folded": source != "LIF copy", "spiking": True}
                chosen = {**attacks.FIVE, **attacks.controls(config, **kinds, own=True)}
            crafted[source] = {name: attacks.crafted_once(attack) for name, attack in chosen.items()}
        own = {name: attack for name, attack in crafted[source].items() if name != "Square" or source == target}
        attacked[row] = test.attack(row, nets[target], nets[source], own)
    return {"clean": clean, "attacked": attacked, "fits": fits}


class _Test:
    """The test images of a part, and those that are attacked: a random choice, other ones for each seed."""

    def __init__(self, part: Part):
        self.part = part
        self.x, y = part.data[1]
        n_classes = int(max(y.max(), part.data[0][1].max())) + 1
        self.y = keras.utils.to_categorical(y, n_classes)
        self.rows = np.random.default_rng(part.seed).permutation(len(y))[: part.config["n_attacked"]]

    def accuracy(self, model):
        """Return the accuracy on all test images, without an attack."""
        options = {"batch_size": self.part.config["attack_batch"], "seed": self.part.seed, "verbose": 0}
        return robustness.evaluate(model, self.x, self.y, {}, [], **options).clean.accuracy

    def attack(self, row, target, source, attacks_by_name):
        """Return the numbers of correct predictions under each attack. Square, which is slow, runs on some images."""
        self.part.log(f"{row}: {', '.join(attacks_by_name)}")
        config, seed = self.part.config, self.part.seed
        others, square = dict(attacks_by_name), attacks_by_name.get("Square")
        others.pop("Square", None)
        found = attacks.accuracies(target, source, self.x[self.rows], self.y[self.rows], others, config, seed=seed)
        if square is not None:
            rows = self.rows[: config["n_square"]]
            by_square = attacks.accuracies(
                target, source, self.x[rows], self.y[rows], {"Square": square}, config, seed=seed
            )
            found["attacks"] |= by_square["attacks"]
        return found


class _EpochLog(training.EpochLog):
    """Log training accuracy and seconds alone: nothing is chosen on test images."""

    def figures(self, logs: Mapping[str, float]) -> dict[str, Any]:
        return {}


EXPERIMENT = Experiment(
    entry=ENTRIES["oscillation-defense"],
    presets=PRESETS,
    parts=parts,
    known_parts=lambda config: tuple(KINDS),
    adjustments=ADJUSTMENTS,
    load=load,
    train_part=train_part,
    figures=FIGURES,
    table=table,
    draw=draw,
)
