"""extend_time: the same weights, more steps."""

import keras
import numpy as np
import pytest
from reference.read_only import only_read

from keras_snn import inspect
from keras_snn.conversion import extend_time
from keras_snn.layers import LIF, NoisyLIF, Repeat, TemporalAveragePooling, TimeFold

backend_free = pytest.mark.backend_free

X = np.random.default_rng(0).uniform(0, 3, size=(12, 4)).astype("float32")
Y = np.arange(12) % 3


def sequential(**options):
    layers = [
        keras.layers.Dense(16),
        keras.layers.BatchNormalization(),
        Repeat(1),
        NoisyLIF(name="hidden", **options),
        keras.layers.Dense(3),
        NoisyLIF(name="out", **options),
        TemporalAveragePooling(),
    ]
    return keras.Sequential([keras.Input((4,)), *layers])


def functional(**options):
    x = inputs = keras.Input((4,))
    hidden = Repeat(1)(keras.layers.Dense(16)(x))
    hidden = NoisyLIF(name="hidden", **options)(hidden)
    branch = Repeat(1)(keras.layers.Dense(16)(x))
    x = keras.layers.Add()([hidden, NoisyLIF(**options)(branch)])
    x = TimeFold(keras.layers.BatchNormalization())(keras.layers.Dense(3)(x))
    return keras.Model(inputs, TemporalAveragePooling()(NoisyLIF(name="out", **options)(x)))


def nested(**options):
    x = inputs = keras.Input((4,))
    body = keras.Sequential([keras.Input((None, 16)), NoisyLIF(name="hidden", **options), keras.layers.Dense(16)])
    shared = NoisyLIF(name="out", **options)
    x = shared(body(body(Repeat(1)(keras.layers.Dense(16)(x)))))
    return keras.Model(inputs, TemporalAveragePooling()(shared(x)))


def layers_of(model, cls):
    return [layer for layer in model._flatten_layers() if isinstance(layer, cls)]


@pytest.mark.parametrize("build", [sequential, functional, nested])
def test_steps_and_neurons_change_and_weights_do_not(build, tmp_path):
    model = build()
    rng = np.random.default_rng(1)
    # Variances are positive. Kernels have both signs, so that some scores are between 0 and 1.
    draw = {1: lambda n: rng.uniform(0.1, 1, n), 2: lambda m, n: rng.normal(0, 0.5, (m, n))}
    weights = [draw[w.ndim](*w.shape).astype(w.dtype) for w in model.get_weights()]
    model.set_weights(weights)
    new = extend_time(model, 5, alpha=8, beta=0.25)
    assert type(new) is type(model)
    assert len(new.weights) == len(weights)
    for before, kept, extended in zip(weights, model.get_weights(), new.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, before)
        np.testing.assert_array_equal(extended, before)
    assert not {id(w) for w in new.weights} & {id(w) for w in model.weights}
    for each, n, alpha, beta in ((model, 1, None, 0.5), (new, 5, 8.0, 0.25)):
        assert {layer.n for layer in layers_of(each, Repeat)} == {n}
        assert {(layer.alpha, layer.beta) for layer in layers_of(each, NoisyLIF)} == {(alpha, beta)}
    assert len(layers_of(new, NoisyLIF)) == len(layers_of(model, NoisyLIF))  # shared layers stay shared
    scores = keras.ops.convert_to_numpy(new(X))
    np.testing.assert_allclose(5 * scores, np.round(5 * scores), atol=1e-5)  # multiples of 1 / 5
    assert np.any((scores > 0) & (scores < 1))
    new.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    for a, b in zip(restored.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert {layer.alpha for layer in layers_of(restored, NoisyLIF)} == {8.0}
    assert restored(X).shape == scores.shape


def test_one_step_without_memory_gives_the_outputs_of_the_model():
    model = sequential(seed=0)
    new = extend_time(model, 1, None)
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(m(X, training=False)) for m in (new, model)))


@backend_free
def test_an_extended_model_can_be_extended():
    model = extend_time(extend_time(sequential(), 5), 3, alpha=None)
    assert [layer.n for layer in layers_of(model, Repeat)] == [3]
    assert {layer.alpha for layer in layers_of(model, NoisyLIF)} == {None}


@backend_free
def test_other_options_do_not_change():
    model = sequential(noise="uniform", statistics="batch", tau=3.0, threshold=0.75)
    config = extend_time(model, 4).get_layer("hidden").get_config()
    names = ("noise", "statistics", "tau", "threshold", "alpha", "beta")
    assert [config[name] for name in names] == ["uniform", "batch", 3.0, 0.75, 4.0, 0.5]


def test_a_compiled_model_stays_compiled():
    model = sequential()
    model.compile("adam", "mse", metrics=["categorical_accuracy"], run_eagerly=True)
    y = keras.utils.to_categorical(Y, 3)
    model.fit(X, y, verbose=0)
    new = extend_time(model, 3)
    loss, accuracy = new.evaluate(X, y, verbose=0)
    assert new.run_eagerly
    assert np.isfinite(loss)
    assert 0 <= accuracy <= 1


def test_inspect_reports_the_accuracy_after_each_step():
    neurons = [Repeat(1), NoisyLIF(name="hidden"), TemporalAveragePooling()]
    model = extend_time(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), *neurons]), 4)
    (one_batch,) = inspect(model, X, Y, batch_size=12, examples=0)
    (three_batches,) = inspect(model, X, Y, batch_size=4, examples=0)
    assert list(one_batch.latency.steps) == [1, 2, 3, 4]
    np.testing.assert_array_equal(one_batch.latency.accuracy, three_batches.latency.accuracy)  # for any batch size
    assert one_batch.layers["hidden"].rate.mean == three_batches.layers["hidden"].rate.mean


@pytest.mark.parametrize("build", [sequential, nested])
def test_the_source_model_is_not_changed(build):
    """The source model is not changed, not even temporarily: another thread may train it."""
    model = build()
    model.compile("adam", "mse", metrics=["mae"])
    with only_read(model):
        new = extend_time(model, 3)
    assert new.compiled
    with pytest.raises(AssertionError, match="`compiled` of .* is set"), only_read(model):
        model.compiled = False


@backend_free
def test_errors():
    model = sequential()
    for n_steps in (0, 2.5, True):
        with pytest.raises(ValueError, match="`n_steps` must be an integer of at least 1"):
            extend_time(model, n_steps)
    with pytest.raises(ValueError, match="`alpha` must be a finite number of at least 2"):
        extend_time(model, 10, alpha=1.5)
    with pytest.raises(TypeError, match="`model` must be a Keras model; got 3"):
        extend_time(3, 10)
    with pytest.raises(ValueError, match="`model` must be built"):
        extend_time(keras.Sequential([keras.layers.Dense(3), Repeat(1), NoisyLIF()]), 10)
    with pytest.raises(ValueError, match="`model` has no Repeat layer"):
        extend_time(keras.Sequential([keras.Input((None, 4)), NoisyLIF()]), 10)
    with pytest.raises(ValueError, match="`model` has no NoisyLIF layer"):
        extend_time(keras.Sequential([keras.Input((4,)), Repeat(1), LIF()]), 10)


@backend_free
def test_a_subclassed_model_is_refused():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = sequential()

        def call(self, x):
            return self.inner(x)

    subclassed = Subclassed()
    subclassed(X)
    with pytest.raises(ValueError, match="Subclassed is a subclassed model"):
        extend_time(subclassed, 10)
    inputs = keras.Input((4,))
    with pytest.raises(ValueError, match="`model` has .*hidden.* inside another layer or a subclassed model"):
        extend_time(keras.Model(inputs, subclassed(inputs)), 10)


def test_an_adapted_normalization_does_not_change():
    normalization = keras.layers.Normalization()
    normalization.adapt(100 + 30 * X)
    layers = [normalization, keras.layers.Dense(3, name="current"), Repeat(1), NoisyLIF(), TemporalAveragePooling()]
    model = keras.Sequential([keras.Input((4,)), *layers])
    currents = [
        keras.ops.convert_to_numpy(keras.Model(m.inputs[0], m.get_layer("current").output)(100 + 30 * X))
        for m in (model, extend_time(model, 3))
    ]
    np.testing.assert_array_equal(*currents)


@backend_free
def test_an_unregistered_loss_leaves_the_model_uncompiled():
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), Repeat(1), NoisyLIF(), TemporalAveragePooling()]
    )

    def custom_loss(y, p):
        return keras.ops.mean((y - p) ** 2)

    model.compile("sgd", custom_loss)
    with pytest.warns(UserWarning, match="is not compiled"):
        new = extend_time(model, 3)
    assert model.compiled
    assert not new.compiled


@backend_free
def test_a_functional_model_with_its_own_call_is_refused():
    class Overridden(keras.Model):
        def __init__(self):
            inputs = keras.Input((4,))
            super().__init__(inputs, TemporalAveragePooling()(NoisyLIF()(Repeat(1)(keras.layers.Dense(3)(inputs)))))

        def call(self, x):
            return 2 * super().call(x)

    with pytest.raises(ValueError, match="Overridden is a subclassed model"):
        extend_time(Overridden(), 10)


def test_python_lambdas_are_reused():
    """Python lambdas are reused. Keras's restrictions for files do not apply, because no file is read."""
    inner = keras.Sequential([keras.Input((6,)), keras.layers.Lambda(lambda x: x + 1)])
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Lambda(lambda x: 2 * x, name="doubled"),
            keras.layers.Dense(6),
            Repeat(1),
            NoisyLIF(seed=0),
            TimeFold(keras.layers.Lambda(lambda x: 3 * x)),
            TimeFold(inner),
            TemporalAveragePooling(),
        ]
    )
    x = np.ones((2, 4), "float32")
    extended = extend_time(model, np.int64(1), alpha=None)
    np.testing.assert_array_equal(extended.predict(x, verbose=0), model.predict(x, verbose=0))
    assert extended.get_layer("doubled").function is model.get_layer("doubled").function
    assert extend_time(model, 5).predict(x, verbose=0).shape == (2, 6)
