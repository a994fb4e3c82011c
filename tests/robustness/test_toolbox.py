"""A spiking model in adversarial-robustness-toolbox."""

import keras
import numpy as np
import pytest
from reference.autodiff import BACKEND

from keras_snn import layers, robustness

X = np.random.default_rng(0).random((12, 10, 10, 1)).astype("float32")
Y = np.arange(12) % 3


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    parts = [keras.layers.Flatten(), keras.layers.Dense(16), layers.Repeat(4), layers.LIF(threshold=0.2)]
    model = keras.Sequential([keras.Input((10, 10, 1)), *parts, keras.layers.Dense(3), layers.TemporalAveragePooling()])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.mark.skipif(BACKEND == "jax", reason="the toolbox has no classifier for JAX")
def test_attacks_of_the_toolbox_run(model):
    evasion = pytest.importorskip("art.attacks.evasion")
    classifier = robustness.as_art(model)
    np.testing.assert_allclose(classifier.predict(X), model.predict(X, verbose=0), atol=1e-6)
    square = evasion.SquareAttack(classifier, eps=0.3, max_iter=20, verbose=False)
    attacked = square.generate(X, Y)
    assert abs(attacked - X).max() <= 0.3 + 1e-6
    correct = [(model.predict(x, verbose=0).argmax(1) == Y).sum() for x in (attacked, X)]
    assert correct[0] <= correct[1]
    gradient = evasion.FastGradientMethod(classifier, eps=0.1).generate(X, Y)
    # The sign of a gradient near zero is undefined.
    assert (abs(gradient - robustness.fgsm(model, X, Y, 0.1, verbose=0)) > 1e-5).mean() < 0.02


@pytest.mark.jax("the error on JAX")
def test_jax_is_refused(model):
    with pytest.raises(ValueError, match="`as_art` must run on TensorFlow or PyTorch"):
        robustness.as_art(model)
