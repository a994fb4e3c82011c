"""The scenarios of the oscillation defense, with a small network and a small synthetic image set."""

import copy
import functools
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from reference.images import bars

from keras_snn import layers, robustness
from keras_snn.experiments import images
from keras_snn.experiments.oscillation_defense import EXPERIMENT, OBFUSCATED, attacks, curves, experiment, table
from keras_snn.experiments.oscillation_defense.checks import Share, difference, share, verdict
from keras_snn.experiments.oscillation_defense.networks import BUILDERS, non_spiking
from keras_snn.experiments.oscillation_defense.published import PUBLISHED, ROWS, SCENARIOS
from keras_snn.experiments.spec import configuration
from keras_snn.ops.neurons import OSCILLATIONS

pytestmark = pytest.mark.backend_free

ROOT = Path(__file__).parents[2]
TINY = {
    **{"n_steps": 2, "batch_size": 20, "n_train": 60, "n_test": 20, "n_attacked": 10, "attack_batch": 10},
    **{"epsilons": [8, 16], "fit_epochs": 1, "n_draws": 2, "n_surrogates": 1, "adversarial_iterations": 1},
}


def small_net(neuron=None, *, width=1.0, n_steps=2):
    """Return a network with one layer of neurons, which compiles faster than five layers."""
    x = inputs = keras.Input((28, 28, 1))
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(x))
    x = layers.Repeat(n_steps)(keras.layers.Dense(10)(x))
    return keras.Model(inputs, layers.TemporalAveragePooling()(neuron()(x)))


@pytest.fixture(autouse=True, scope="module")
def tiny():
    """Reduce the network, the data and the attacks of the quick preset, so that it runs in seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "load", lambda *_: bars(70, 30))
        patch.setitem(BUILDERS, "fashion_mnist", small_net)
        patch.setattr(attacks, "FOUR", {"PGD-5": functools.partial(robustness.pgd, iterations=2)})
        patch.setattr(attacks, "FIVE", attacks.FOUR)
        patch.setattr(experiment, "FUNCTIONS", ("f1",))
        patch.setattr(experiment, "SCENARIOS", {f"scenario {k}": SCENARIOS[f"scenario {k}"] for k in (1, 5, 3)})
        patch.setitem(experiment.PRESETS, "quick", {**experiment.PRESETS["quick"], **TINY})
        yield


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    kinds = ["oscillation", "alternative from scratch", "ann, adversarial training"]
    return EXPERIMENT.run(epochs=1, only=kinds, seed=3, out=out, verbose=False), out


def test_each_row_has_the_counts_of_its_attacks(found):
    found, out = found
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(found))
    oscillation, scratch, ann = (part for part in found["parts"].values())
    rows = {**oscillation["attacked"], **ann["attacked"]}
    assert {row: list(results["attacks"]) for row, results in rows.items()} == {
        "scenario 1": ["PGD-5", "expectation", "smooth", "surrogates", "random signs"],
        "scenario 5": ["PGD-5", "expectation", "smooth", "surrogates", "random signs"],
        "scenario 3": ["PGD-5", "surrogates", "random signs"],
        "ann, adversarial training": ["PGD-5", "random signs"],
    }
    for row in rows.values():
        for counts in row["attacks"].values():
            assert list(counts) == ["8", "16"]
            assert all(0 <= correct <= n == 10 for correct, n in counts.values())
    assert list(oscillation["clean"]) == ["oscillation", "LIF copy", "f1"]
    assert len(oscillation["fits"]["f1"]["threshold_by_epoch"]) == 1
    # The neuron trained from scratch has the fitted constants.
    assert scratch["fits"]["f1"] == {name: oscillation["fits"]["f1"][name] for name in "cd"}
    assert not list((out / "begun").iterdir())
    for picture in ("accuracy", "learning", "gradients"):
        assert (out / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_scenarios_of_one_target_have_the_same_clean_accuracy(found):
    rows = found[0]["parts"]["oscillation, seed 3"]["attacked"]
    assert rows["scenario 1"]["clean"] == rows["scenario 3"]["clean"]
    assert rows["scenario 1"]["attacks"]["random signs"] == rows["scenario 3"]["attacks"]["random signs"]


def test_controls_of_a_source():
    config = {"n_surrogates": 2, "n_draws": 3, "n_queries": 4}

    def names(**options):
        return list(
            attacks.controls(config, **{"noisy": False, "folded": False, "spiking": True, "own": False, **options})
        )

    assert names(noisy=True, folded=True) == ["expectation", "smooth", "surrogates", "random signs"]
    assert names(folded=True) == ["smooth", "surrogates", "random signs"]
    square = ["Square"] if keras.config.backend() != "jax" else []  # the toolbox has no classifier there
    assert names(spiking=False, own=True) == [*square, "random signs"]
    chosen = attacks.controls(config, noisy=True, folded=True, spiking=True, own=True)
    assert chosen["expectation"].keywords == {"draws": 3}
    assert chosen["surrogates"].keywords == {"surrogates": attacks.SURROGATES[:2]}
    assert [chosen[name].keywords for name in square] == [{"n_queries": 4} for _ in square]


def test_the_table(found):
    found = copy.deepcopy(found[0])
    row = found["parts"]["oscillation, seed 3"]["attacked"]["scenario 5"]
    row["attacks"]["PGD-5"]["8"] = [4, 10]
    row["notes"] = ["PGD-5: gradient masking"]
    lines = table(found).splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("scenario 5") and "40.0 ± 15.5" in line)
    assert "noise on F1" in lines[place]
    assert [re.split("  +", line)[1:5] for line in lines[place + 1 : place + 3]] == [
        ["published, VGG-16, CIFAR-10", "87.38", "28.4", "12.1"],
        ["published, ResNet-18, CIFAR-10", "92.35", "42.1", "19.2"],
    ]
    assert "scenario 5: PGD-5: gradient masking" in lines
    text = " ".join(lines)
    assert OBFUSCATED in text
    assert "Square was not run with this preset." in text
    found["config"]["n_queries"] = 5
    found["versions"]["backend"] = "jax"
    assert "Square was not run: adversarial-robustness-toolbox" in " ".join(table(found).split())


def test_verdicts_depend_on_the_standard_error():
    first, second = Share([80, 70], [100, 100]), Share([60, 60], [100, 100])
    gap, error = difference(first, second)
    assert gap == pytest.approx(0.15)
    # Over images: sqrt(0.75 * 0.25 / 200 + 0.6 * 0.4 / 200) = 0.046. Over seeds: std(0.2, 0.1) / sqrt(2) = 0.05.
    assert error == pytest.approx(0.05)
    assert difference(Share([75], [100]), Share([60], [100]))[1] == pytest.approx(np.sqrt(0.4275 / 100))
    assert [verdict(gap, 0.05) for gap in (0.06, 0.04, -0.06)] == [
        "holds",
        "within the standard error",
        "does not hold",
    ]


def test_accuracies_of_several_seeds(found):
    found = copy.deepcopy(found[0])
    found["parts"]["oscillation, seed 4"] = copy.deepcopy(found["parts"]["oscillation, seed 3"])
    for seed, correct in ((3, 2), (4, 6)):
        found["parts"][f"oscillation, seed {seed}"]["attacked"]["scenario 1"]["attacks"]["PGD-5"]["16"] = [correct, 10]
    assert share(found, "scenario 1", "PGD-5", 16) == Share((2, 6), (10, 10))
    assert share(found, "scenario 1", "PGD-5", 16).mean == pytest.approx(0.4)
    assert share(found, "scenario 1", "Square", 16) is None
    assert share(found, "LIF benchmark", "clean", 16) is None


def test_examples_of_a_source_are_crafted_once():
    calls = []

    def attack(model, x, y, epsilon, **options):
        calls.append(model)
        return x + epsilon

    once = attacks.crafted_once(attack)
    x = np.zeros((2, 1))
    first = once("target", x, x, 0.5, source="source", first=0)
    assert once("other target", x, x, 0.5, source="source", first=0) is first
    once("source", x, x, 0.5, first=2)
    assert calls == ["source", "source"]
    assert attacks.crafted_once(robustness.sign_noise) is robustness.sign_noise


@pytest.mark.parametrize("function", list(OSCILLATIONS))
def test_the_derivatives_of_figure_3_4(function):
    """The derivatives equal finite differences of the function."""
    h = np.linspace(-1, 2, 301)
    c, d = 0.3, -0.2
    slope = np.gradient(curves.oscillation(function, h, c, d), h)
    np.testing.assert_allclose(curves.oscillation_derivative(function, h, c)[1:-1], slope[1:-1], atol=2e-2)


@pytest.mark.every_backend
def test_the_derivatives_of_figure_3_2():
    h = np.array([-1.0, 0.5, 1.0])
    # The derivative of ATan(3) is 3 / (2 (1 + (1.5 pi u)^2)). Below zero, the fold has the slope -0.03.
    expected = [-0.03 * 1.5 / (1 + (1.5 * np.pi * (0.03 * 1.2 - 1)) ** 2), 1.5 / (1 + (1.5 * np.pi * -0.7) ** 2)]
    np.testing.assert_allclose(curves.noisy_derivative(h, -0.2)[:2], expected, rtol=1e-5)
    np.testing.assert_allclose(curves.noisy_derivative(h, 0.0)[2], 1.5)
    c, d = -0.1441, -0.1762
    np.testing.assert_allclose(
        curves.alternative_derivative("f1", h, c, d)[1],
        1.5 / (1 + (1.5 * np.pi * (0.5 + np.sin(0.5 + c) + d - 1)) ** 2) * (1 + np.cos(0.5 + c)),
        rtol=1e-5,
    )


def test_the_threshold_of_the_published_constants():
    assert curves.threshold("f1", -0.1441, -0.1762) == pytest.approx(0.672, abs=1e-3)
    assert curves.threshold("f1", -0.1564, -0.1687) == pytest.approx(0.674, abs=1e-3)
    assert curves.threshold("f1", 0.0, -9.0) is None


def test_the_scores_of_the_non_spiking_network_are_not_rectified():
    model = non_spiking({"dataset": "cifar10", "width": 0.02, "n_steps": 4})
    assert model.input_shape == (None, 32, 32, 3)
    assert sum(isinstance(layer, keras.layers.ReLU) for layer in model.layers) == 4
    x = np.random.default_rng(0).uniform(size=(4, 32, 32, 3)).astype("float32")
    assert keras.ops.convert_to_numpy(model(x)).min() < 0


def test_adversarial_training_resumes_at_an_epoch_with_pgd_examples(monkeypatch):
    batches = []
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    monkeypatch.setattr(robustness, "pgd", lambda model, x, *_, **__: x + 1)
    monkeypatch.setattr(model, "train_on_batch", lambda x, y, **_: batches.append(x) or {"loss": 1.0})
    fit = attacks.adversarial_fit(model, 0.1, 2, seed=0)
    x = np.zeros((5, 2), "float32")
    fit(x, np.zeros((5, 3)), batch_size=2, initial_epoch=1, epochs=3, callbacks=[], verbose=0)
    assert len(batches) == 4  # two epochs of two full batches
    assert all((batch == 1).all() for batch in batches)


def test_the_full_preset_has_the_published_settings():
    for dataset in ("cifar10_vgg16", "cifar10_resnet18", "cifar100_resnet18"):
        config = configuration(EXPERIMENT, preset="full", dataset=dataset)
        names = ("epochs", "batch_size", "learning_rate", "n_steps", "n_attacked", "width")
        assert [config[name] for name in names] == [100, 50, 1e-4, 8, 1000, 1.0]
    assert list(EXPERIMENT.parts(config)) == list(experiment.KINDS)
    assert all(row in ROWS for rows in PUBLISHED.values() for row in rows)


def test_every_text_on_the_study_mentions_obfuscated_gradients():
    texts = [ROOT / "README.rst", ROOT / "docs" / "studies" / "oscillation_defense.rst"]
    texts.append(ROOT / "notebooks" / "07_oscillation_defense.ipynb")
    for path in texts:
        assert re.search(r"obfuscated\s+gradients", path.read_text(encoding="utf-8")), path
