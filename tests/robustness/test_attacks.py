"""Attacks, against hand-computed values, bounds, each other, and an independent implementation."""

import math

import keras
import numpy as np
import pytest
from reference.autodiff import BACKEND

import keras_snn
from keras_snn import layers, robustness
from keras_snn.robustness.gradients import input_gradient
from keras_snn.surrogates import ATan, Sigmoid

RNG = np.random.default_rng(0)
X = RNG.random((10, 4, 4, 1)).astype("float32")
Y = RNG.integers(3, size=10)
EPSILON = 0.1
QUIET = {"verbose": 0, "batch_size": 4}  # 10 samples: the last batch is padded
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def compiled(*parts):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), *parts])
    model.compile("sgd", LOSS)
    return model


@pytest.fixture(scope="module")
def smooth_model():
    return compiled(keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(3))


@pytest.fixture(scope="module")
def noisy_model():
    dense = [keras.layers.Dense(n, kernel_initializer=keras.initializers.RandomNormal(0, 1, seed=n)) for n in (16, 3)]
    return compiled(
        dense[0],
        layers.Repeat(4),
        layers.OscillationLIF(),
        dense[1],
        layers.TemporalAveragePooling(),
    )


ATTACKS = {
    "fgsm": robustness.fgsm,
    "bim": robustness.bim,
    "mim": robustness.mim,
    "pgd": robustness.pgd,
}


@pytest.mark.parametrize("norm", [math.inf, 2])
def test_examples_are_in_the_ball_and_in_range(smooth_model, norm):
    for attack in ATTACKS.values():
        change = attack(smooth_model, X, Y, EPSILON, norm=norm, **QUIET) - X
        assert change.dtype == "float32"
        sizes = np.abs(change).reshape(10, -1)
        size = sizes.max(axis=1) if norm == math.inf else np.sqrt((sizes**2).sum(axis=1))
        assert (size <= EPSILON + 1e-6).all()  # float32 rounding of numbers up to 1
        assert (size > EPSILON / 2).all()
        assert (X + change >= 0).all()
        assert (X + change <= 1).all()
    free = robustness.fgsm(smooth_model, X, Y, 2.0, clip=None, norm=norm, **QUIET)
    assert free.min() < 0


@pytest.mark.parametrize("targeted", [False, True])
def test_a_linear_classifier_by_hand(targeted):
    model = compiled(keras.layers.Dense(3))
    kernel, bias = model.get_weights()
    flat = X.reshape(10, -1).astype("float64")
    logits = flat @ kernel + bias
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    d_x = (p / p.sum(axis=1, keepdims=True) - np.eye(3)[Y]) @ kernel.T * (-1 if targeted else 1)
    options = {"targeted": targeted, "clip": None, **QUIET}
    attacked = robustness.fgsm(model, X, Y, EPSILON, **options).reshape(10, -1)
    np.testing.assert_allclose(attacked, flat + EPSILON * np.sign(d_x), atol=1e-6)  # float32 rounding of numbers near 1
    attacked = robustness.fgsm(model, X, Y, EPSILON, norm=2, **options).reshape(10, -1)
    np.testing.assert_allclose(attacked, flat + EPSILON * d_x / np.linalg.norm(d_x, axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("norm", [math.inf, 2])
def test_relations_between_the_attacks(smooth_model, norm):
    options = {"norm": norm, **QUIET}

    def equal(a, b):
        np.testing.assert_allclose(a, b, atol=2e-7)  # MIM divides by the L1 norm first

    bim = robustness.bim(smooth_model, X, Y, EPSILON, iterations=3, **options)
    equal(
        robustness.bim(smooth_model, X, Y, EPSILON, iterations=1, **options),
        robustness.fgsm(smooth_model, X, Y, EPSILON, **options),
    )
    equal(robustness.mim(smooth_model, X, Y, EPSILON, iterations=3, decay=0, **options), bim)
    step = EPSILON / 3
    equal(
        robustness.pgd(smooth_model, X, Y, EPSILON, iterations=3, step=step, random_start=False, **options),
        bim,
    )
    starts = [robustness.pgd(smooth_model, X, Y, EPSILON, step=0, seed=seed, **options) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(starts[0], starts[1])
    assert (starts[0] != starts[2]).all(axis=None) or (starts[0] != starts[2]).mean() > 0.5  # clipped values are equal


def test_attacks_increase_the_loss_and_targeted_attacks_decrease_it(smooth_model):
    def loss(x, y):
        logits = smooth_model.predict(x, verbose=0)
        return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(10), y]))

    target = (Y + 1) % 3
    for attack in ATTACKS.values():
        assert loss(attack(smooth_model, X, Y, EPSILON, **QUIET), Y) > loss(X, Y) + 0.05
        assert loss(attack(smooth_model, X, target, EPSILON, targeted=True, **QUIET), target) < loss(X, target) - 0.05


def test_all_batches_and_iterations_use_one_compiled_function():
    model = compiled(keras.layers.Dense(3))
    robustness.pgd(model, X, Y, EPSILON, iterations=4, **QUIET)
    robustness.mim(model, X, Y, 2 * EPSILON, iterations=3, **QUIET)
    gradient = input_gradient(model, None)
    # PyTorch does not compile: each call for the three batches is counted.
    assert gradient.n_traces == (1 if BACKEND != "torch" else 3 * (4 + 3))


def test_noise_only_depends_on_sample_and_seed(noisy_model):
    runs = [
        robustness.bim(noisy_model, X, Y, EPSILON, norm=2, batch_size=size, seed=seed, verbose=0)
        for size, seed in ((4, 0), (10, 0), (10, 1))
    ]
    np.testing.assert_allclose(runs[0], runs[1], atol=1e-6)  # matmuls with another batch size
    assert abs(runs[0] - runs[2]).max() > 1e-3


def test_the_gradient_is_averaged_over_draws(noisy_model):
    gradient = input_gradient(noisy_model, None)
    index = np.arange(10)
    draws = [gradient(X, Y, index, seed)[0] for seed in range(3)]
    assert abs(draws[0] - draws[1]).max() > 1e-4
    attacked = robustness.fgsm(noisy_model, X, Y, EPSILON, norm=2, clip=None, draws=3, batch_size=10, verbose=0)
    mean = sum(draws) / 3
    length = np.sqrt((mean**2).sum(axis=(1, 2, 3), keepdims=True))
    np.testing.assert_allclose(attacked, X + EPSILON * mean / length, atol=1e-6)


def test_the_worst_case_is_at_least_as_strong_as_its_first_attack(noisy_model):
    judge = input_gradient(noisy_model, None)
    index = np.arange(10)

    def losses(x):
        _, loss, predicted = judge(x, Y, index, 0)
        return np.where(predicted != Y, np.inf, loss)

    options = {"batch_size": 10, "verbose": 0}
    singles = [robustness.bim(noisy_model, X, Y, EPSILON, surrogates=[s], **options) for s in (ATan(1.0), Sigmoid(8.0))]
    worst = robustness.bim(noisy_model, X, Y, EPSILON, surrogates=[ATan(1.0), Sigmoid(8.0)], **options)
    assert abs(singles[0] - singles[1]).max() > 1e-3
    # Only the first attack has the same seed in both calls.
    assert (losses(worst) >= losses(singles[0])).all()


def test_a_transfer_attack_uses_the_gradients_of_its_source(smooth_model):
    source = compiled(keras.layers.Dense(3))
    attacked = robustness.fgsm(smooth_model, X, Y, EPSILON, source=source, **QUIET)
    np.testing.assert_array_equal(attacked, robustness.fgsm(source, X, Y, EPSILON, **QUIET))


def test_masked_gradients_are_reported():
    model = compiled(layers.Latency(4), keras.layers.Dense(3), layers.TemporalAveragePooling())
    with pytest.warns(UserWarning) as warned:
        attacked = robustness.fgsm(model, X, Y, EPSILON, **QUIET)
    texts = [str(warning.message) for warning in warned]
    assert any("No gradient passes the encoders" in text and "smooth=True" in text for text in texts)
    assert any("zero for 100% of the samples: gradient masking" in text for text in texts)
    np.testing.assert_array_equal(attacked, X)
    smooth = robustness.fgsm(model, X, Y, EPSILON, smooth=True, **QUIET)
    assert abs(smooth - X).max() == pytest.approx(EPSILON, abs=1e-6)


def test_the_gradient_through_time_equals_finite_differences():
    keras.utils.set_random_seed(0)
    # A smooth network over time: a leaky membrane and tanh, without spikes.
    parts = [keras.layers.Dense(6), layers.Repeat(5), layers.LeakyIntegrator(3.0), keras.layers.Activation("tanh")]
    model = compiled(*parts, keras.layers.Dense(3), layers.TemporalAveragePooling())
    gradient = input_gradient(model, None)
    d_x = gradient(X, Y, np.arange(10), 0)[0]
    direction = RNG.normal(size=X.shape).astype("float32")
    step = 1e-2
    ends = [gradient(X + sign * step * direction, Y, np.arange(10), 0)[1] for sign in (1, -1)]
    expected = (ends[0] - ends[1]) / (2 * step)
    # atol: step^2 times the third derivative of a tanh network, plus the float32 rounding of losses near 1 over 0.02.
    np.testing.assert_allclose((d_x * direction).sum(axis=(1, 2, 3)), expected, atol=2e-3)


def test_random_signs():
    noisy = robustness.sign_noise(None, X, Y, EPSILON, clip=None, seed=1)
    np.testing.assert_allclose(np.abs(noisy - X), EPSILON, atol=1e-7)
    assert 0.3 < (noisy > X).mean() < 0.7  # five standard deviations of 160 signs
    assert robustness.sign_noise(None, X, Y, 1.0).min() == 0


@pytest.mark.torch("the toolbox runs on PyTorch and TensorFlow; its MIM fails on TensorFlow")
@pytest.mark.parametrize("norm", [math.inf, 2])
def test_equals_adversarial_robustness_toolbox(smooth_model, norm):
    evasion = pytest.importorskip("art.attacks.evasion")
    from art.estimators.classification import PyTorchClassifier
    from torch.nn import CrossEntropyLoss

    classifier = PyTorchClassifier(
        smooth_model, CrossEntropyLoss(), (4, 4, 1), 3, clip_values=(0, 1), device_type="cpu"
    )
    theirs = {"norm": norm, "eps": EPSILON, "eps_step": EPSILON / 5, "max_iter": 5, "verbose": False}
    quarter = {**theirs, "eps_step": EPSILON / 4, "num_random_init": 0}
    pairs = [
        (evasion.FastGradientMethod(classifier, norm=norm, eps=EPSILON), "fgsm", {}),
        (evasion.ProjectedGradientDescentNumpy(classifier, **theirs, num_random_init=0), "bim", {}),
        (evasion.MomentumIterativeMethod(classifier, **theirs, decay=1.0), "mim", {}),
        (evasion.ProjectedGradientDescentNumpy(classifier, **quarter), "pgd", {"random_start": False}),
    ]
    for toolbox, name, options in pairs:
        ours = ATTACKS[name](smooth_model, X, Y, EPSILON, norm=norm, **options, **QUIET)
        # atol: float32 rounding of numbers near 1. No gradient is near zero, where its sign would be undefined.
        np.testing.assert_allclose(ours, toolbox.generate(X, Y), atol=1e-6)


@pytest.mark.backend_free
def test_bad_arguments(smooth_model):
    for options, message in [
        ({"norm": 1}, "`norm` must be one of"),
        ({"draws": 0}, "`draws` must be an integer of at least 1"),
        ({"epsilon": -1}, "`epsilon` must be"),
        ({"y": Y[:3]}, "`y` must have a label for each of the 10 samples"),
    ]:
        arguments = {"x": X, "y": Y, "epsilon": EPSILON, "verbose": 0, **options}
        with pytest.raises(ValueError, match=message):
            robustness.fgsm(smooth_model, **arguments)
    uncompiled = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="`loss` must be given"):
        robustness.fgsm(uncompiled, X[:, :, 0, 0], Y, EPSILON, verbose=0)
    assert robustness.fgsm(uncompiled, X[:, :, 0, 0], Y, EPSILON, loss=LOSS, verbose=0).shape == (10, 4)


@pytest.mark.backend_free
def test_the_model_is_not_changed(noisy_model):
    before = [np.array(w) for w in noisy_model.get_weights()]
    robustness.pgd(noisy_model, X, Y, EPSILON, **QUIET)
    for old, new in zip(before, noisy_model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert keras_snn.probe.current() is None
