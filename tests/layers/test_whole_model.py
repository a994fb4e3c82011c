import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_snn.layers import RNN, Alpha, Lowpass, LowpassCell, SpikingActivation, SpikingLayer
from keras_snn.layers.whole_model import reset_states, set_dt

X = np.random.default_rng(0).uniform(0.5, 2.0, (2, 4, 3)).astype("float32")
Y = np.zeros((2, 4, 1), "float32")
# With dt as a constant and with dt as a variable, XLA may round differently, by a few 1e-7.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def variable(value):
    return keras.Variable(value, dtype="float32", trainable=False, name="dt")


def value(dt):
    return dt if isinstance(dt, float) else float(dt.numpy())


def network(dt, dt_2=None):
    """Return two layers that depend on dt and a Dense. The weights are equal in every call."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((4, 3)),
            SpikingActivation("relu", dt=dt, seed=0),
            Lowpass(0.5, dt=dt if dt_2 is None else dt_2),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


@functools.cache
def expected(dt):
    """Return the outputs of a new network with this dt."""
    return ops.convert_to_numpy(network(dt)(X))


def assert_all_at(model, dt):
    """Check all functions that Keras compiles. The targets are 0: the loss is the mean square of the outputs."""
    np.testing.assert_allclose(model.predict(X, verbose=0), expected(dt), **CLOSE)
    np.testing.assert_allclose(model.predict_on_batch(X), expected(dt), **CLOSE)
    loss = pytest.approx(np.mean(expected(dt) ** 2), rel=1e-5)
    assert model.evaluate(X, Y, verbose=0) == loss
    assert model.test_on_batch(X, Y) == loss
    assert model.train_on_batch(X, Y) == loss
    assert model.fit(X, Y, shuffle=False, verbose=0).history["loss"] == [loss]


def test_a_new_number_is_used_in_compiled_code():
    model = network(0.25)
    assert_all_at(model, 0.25)
    functions = model.train_function, model.test_function, model.predict_function  # keeps the old functions alive
    set_dt(model, 0.5)
    assert [layer.dt for layer in model.layers[:2]] == [layer.cell.dt for layer in model.layers[:2]] == [0.5, 0.5]
    assert_all_at(model, 0.5)
    assert not np.allclose(expected(0.25), expected(0.5))
    assert not {"train_step", "test_step", "predict_step"} & set(vars(model))
    assert functions[0] is not model.train_function


def test_a_number_is_assigned_to_variables():
    dt = variable(0.25)
    model = network(dt)

    def assert_at(dt):
        np.testing.assert_allclose(model.predict_on_batch(X), expected(dt), **CLOSE)
        assert model.test_on_batch(X, Y) == pytest.approx(np.mean(expected(dt) ** 2), rel=1e-5)
        assert model.train_on_batch(X, Y) == pytest.approx(np.mean(expected(dt) ** 2), rel=1e-5)

    assert_at(0.25)
    functions = model.train_function, model.test_function, model.predict_function
    set_dt(model, 0.5)
    assert model.layers[0].dt is model.layers[1].dt is dt
    assert value(dt) == 0.5
    assert_at(0.5)
    assert functions == (model.train_function, model.test_function, model.predict_function)  # not compiled again


def test_a_variable_is_shared_by_all_layers():
    dt = variable(0.25)
    for model in (network(0.5), network(variable(0.5), variable(1.0)), network(0.5, variable(1.0))):
        model.predict(X, verbose=0)
        set_dt(model, dt)
        assert all(layer.dt is layer.cell.dt is dt for layer in model.layers[:2])
        np.testing.assert_allclose(model.predict(X, verbose=0), expected(0.25), **CLOSE)
    assert len({id(v) for v in model.variables}) == len(model.variables)
    dt.assign(0.5)
    np.testing.assert_allclose(model.predict(X, verbose=0), expected(0.5), **CLOSE)
    set_dt(model, 0.25)
    assert value(dt) == 0.25 and model.layers[0].dt is dt


@pytest.mark.tensorflow("tf.Variable")
def test_a_tensorflow_variable():
    import tensorflow as tf

    model, dt = network(0.5), tf.Variable(0.25)
    model.predict(X, verbose=0)
    set_dt(model, dt)
    np.testing.assert_allclose(model.predict(X, verbose=0), expected(0.25), **CLOSE)
    set_dt(model, 0.5)
    assert float(dt.numpy()) == 0.5
    np.testing.assert_allclose(model.predict(X, verbose=0), expected(0.5), **CLOSE)


@pytest.mark.parametrize("kind", ["number", "into a variable", "variable"])
def test_set_dt_in_the_middle_of_fit(kind):
    """Changes of dt after a batch and after an epoch are used in the next batch, and keep the weight updates."""
    after_batch, after_epoch = (0.5, 0.25), (1.0, 0.125)

    def setter(dts):
        def change(index, logs):
            set_dt(model, variable(dts[index]) if kind == "variable" else dts[index])

        return change

    spikes = SpikingActivation("relu", dt=variable(2.0) if kind == "into a variable" else 2.0)
    model = keras.Sequential([keras.Input((1, 1)), spikes, ReadsDt(spikes)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=setter(after_batch), on_epoch_end=setter(after_epoch))
    model.fit(np.zeros((2, 1, 1)), np.zeros((2, 1, 1)), batch_size=1, epochs=2, verbose=0, callbacks=[callback])
    w = 1.0
    for dt in (2.0, 0.5, 1.0, 0.5):  # dt of each batch
        w -= 0.1 * 2 * w * dt**2
    np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-6)
    assert value(spikes.dt) == 0.125


class ReadsDt(keras.layers.Layer):
    """``w * dt``, with the dt of a spiking layer and w = 1."""

    def __init__(self, source, **kwargs):
        super().__init__(**kwargs)
        self.source = source

    def build(self, input_shape):
        self.w = self.add_weight(shape=(), initializer="ones", name="w")

    def call(self, inputs):
        return 0 * inputs + self.w * ops.convert_to_tensor(self.source.dt)


class Subclassed(keras.Model):
    """A model with layers in a list, a wrapper and a nested model."""

    def __init__(self, inner, dt):
        super().__init__()
        self.listed = [Lowpass(0.5, dt=dt), RNN(LowpassCell(3, 0.5, dt=dt))]
        self.wrapped = keras.layers.TimeDistributed(Alpha(0.5, dt=dt))
        self.inner = inner

    def call(self, x):
        for layer in self.listed:
            x = layer(x)
        return self.inner(self.wrapped(x[:, None])[:, 0])


@pytest.mark.parametrize(
    "kind",
    ["number", pytest.param("variable", marks=pytest.mark.nightly("test_a_variable_is_shared_by_all_layers"))],
)
def test_nested_wrapped_and_subclassed(kind):
    inner = network(0.25)
    inner.predict(X, verbose=0)  # compiles the nested model
    model = Subclassed(inner, 0.25)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    before = model.predict(X, verbose=0)
    new = 0.5 if kind == "number" else variable(0.5)
    set_dt(model, new)
    cells = [layer.cell for layer in (*model.listed, model.wrapped.layer, *inner.layers[:2])]
    changed = [*model.listed, model.wrapped.layer, *inner.layers[:2], *cells]
    assert all(layer.dt is new for layer in changed) if kind == "variable" else {layer.dt for layer in changed} == {0.5}
    same_dt = Subclassed(network(0.5), 0.5)
    after = model.predict(X, verbose=0)
    np.testing.assert_allclose(after, ops.convert_to_numpy(same_dt(X)), **CLOSE)
    assert not np.allclose(before, after)
    np.testing.assert_allclose(inner.predict(X, verbose=0), expected(0.5), **CLOSE)


def test_a_custom_train_step_is_kept():
    model = network(0.25)
    original = model.train_step
    object.__setattr__(model, "train_step", lambda *args: original(*args))
    custom = model.train_step
    assert model.train_on_batch(X, Y) == pytest.approx(np.mean(expected(0.25) ** 2), rel=1e-5)
    set_dt(model, 0.5)
    assert model.train_on_batch(X, Y) == pytest.approx(np.mean(expected(0.5) ** 2), rel=1e-5)
    assert model.train_step is custom


def test_set_dt_refuses_invalid_values_and_changes_nothing():
    model = network(0.25, variable(0.5))
    for dt in (0, -0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match="positive, finite"):
            set_dt(model, dt)
    for dt in ("0.1", None, True, [0.1]):
        with pytest.raises(TypeError, match="number in seconds or a scalar variable"):
            set_dt(model, dt)
    with pytest.raises(ValueError, match="float scalar"):
        set_dt(model, keras.Variable([0.1, 0.2]))
    assert [value(layer.dt) for layer in model.layers[:2]] == [0.25, 0.5]


def test_set_dt_needs_a_layer_with_a_dt():
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.Dense(1)], name="plain")
    with pytest.raises(ValueError, match="`model` must contain a layer of keras_snn that has a dt; 'plain'"):
        set_dt(model, 0.1)


def test_set_dt_accepts_a_layer():
    layer = Lowpass(0.5, dt=0.25)
    set_dt(layer, 0.5)
    assert layer.dt == 0.5
    layer.build((2, 4, 3))
    set_dt(layer, 0.125)
    assert layer.dt == layer.cell.dt == 0.125


def stateful_network():
    """Return a model of stateful layers of this package and of Keras, some nested or wrapped, and a stateless layer."""
    inner = keras.Sequential(
        [
            keras.Input(batch_shape=(2, 4, 3)),
            keras.layers.LSTM(3, stateful=True, return_sequences=True),
            RNN(LowpassCell(3, 0.5, dt=0.1), stateful=True),
        ]
    )
    inputs = keras.Input(batch_shape=(2, 4, 3))
    x = Lowpass(0.5, dt=0.1)(inner(Alpha(0.5, dt=0.1, stateful=True, level_initializer="ones")(inputs)))
    x = keras.layers.Bidirectional(keras.layers.GRU(2, stateful=True, return_sequences=True))(x)
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


def test_reset_states_resets_every_stateful_layer():
    model = stateful_network()
    states = [v for layer in model._flatten_layers() for v in getattr(layer, "states", None) or ()]
    start, first = [ops.convert_to_numpy(v) for v in states], model.predict(X, verbose=0)
    assert len({id(v) for v in states}) == 6
    assert any(np.any(state != 0) for state in start)  # not all initial states are zeros
    for v in states:
        v.assign(np.full(v.shape, 7.0))
    assert not np.allclose(model.predict(X, verbose=0), first)
    reset_states(model)
    for v, state in zip(states, start, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(v), state)
    np.testing.assert_allclose(model.predict(X, verbose=0), first, **CLOSE)


@pytest.mark.parametrize("when", ["on_epoch_end", "on_epoch_begin", "on_train_batch_begin", "on_train_batch_end", None])
def test_reset_states_in_the_middle_of_fit(when):
    model = keras.Sequential(
        [
            keras.Input(batch_shape=(2, 4, 3)),
            Lowpass(0.5, dt=0.1, stateful=True),
            keras.layers.Dense(1, kernel_initializer="ones"),
        ]
    )
    model.layers[0].trainable = False  # its initial level has no gradient: Keras would warn
    model.compile(keras.optimizers.SGD(0.0), "mse")
    callbacks = [keras.callbacks.LambdaCallback(**{when: lambda index, logs: reset_states(model)})] if when else []
    # Two batches per epoch. Without a reset, a batch starts from the last states of the previous batch.
    x = np.tile(X, (2, 1, 1))
    fit = {"batch_size": 2, "epochs": 2, "shuffle": False, "verbose": 0}
    losses = model.fit(x, np.zeros((4, 4, 1)), callbacks=callbacks, **fit).history["loss"]

    level, decay, expected = np.zeros((2, 3)), np.exp(-0.1 / 0.5), []
    for batch in range(4):
        if (when or "").startswith("on_train") or ((when or "").startswith("on_epoch") and batch == 2):
            level = np.zeros((2, 3))
        outputs = []
        for t in range(4):
            level = decay * level + (1 - decay) * X[:, t]
            outputs.append(level.sum(axis=-1))
        expected.append(np.mean(np.square(outputs)))
    np.testing.assert_allclose(losses, np.reshape(expected, (2, 2)).mean(axis=1), rtol=1e-5)


def test_reset_states_keeps_the_weight_updates():
    """A reset keeps the updates of the weights, which JAX stores outside the variables during an epoch."""
    weights = []
    for resets in (False, True):
        keras.utils.set_random_seed(1)
        # States have no effect: with tau << dt, the filter has no memory.
        filtered = Lowpass(1e-6, dt=0.1, stateful=True)
        model = keras.Sequential([keras.Input(batch_shape=(2, 4, 3)), filtered, keras.layers.Dense(1)])
        filtered.trainable = False
        model.compile(keras.optimizers.SGD(0.1), "mse")
        reset = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: reset_states(model))
        x, y = np.tile(X, (3, 1, 1)), np.ones((6, 4, 1))
        model.fit(x, y, batch_size=2, shuffle=False, verbose=0, callbacks=[reset] if resets else [])
        weights.append(model.layers[-1].get_weights()[0])
    np.testing.assert_allclose(*weights, rtol=1e-6)


def test_reset_states_without_states():
    stateless = keras.Sequential([keras.Input((4, 3)), SpikingActivation("relu"), keras.layers.Dense(1)])
    reset_states(stateless)
    unbuilt = keras.Sequential([Lowpass(0.5, stateful=True), keras.layers.LSTM(2, stateful=True)])
    reset_states(unbuilt)
    unbuilt.build((2, 4, 3))
    reset_states(unbuilt)


def test_reset_states_calls_the_override_of_a_subclass():
    class Marked(SpikingLayer):
        def build_cell(self, input_shape):
            return LowpassCell(input_shape[2:], 0.5)

        def reset_states(self, states=None):
            super().reset_states(states)
            self.was_reset = True

    layer = Marked(stateful=True)
    layer.build((2, 4, 3))
    layer.was_reset = False
    reset_states(layer)
    assert layer.was_reset
