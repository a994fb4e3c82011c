import functools
import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_snn.callbacks import DtScheduler
from keras_snn.layers import Lowpass, SpikingActivation, TemporalAveragePooling

# Keras logs running means in float32. With a constant dt, XLA may round the losses differently.
CLOSE = {"rtol": 1e-5}
DTS = (1.0, 0.5, 0.25)
X = np.random.default_rng(0).uniform(0.5, 2.0, (2, 4, 3)).astype("float32")
Y = np.zeros((2, 1), "float32")


def cycle(step):
    return DTS[step % len(DTS)]


def variable(value=1.0):
    return keras.Variable(value, dtype="float32", name="dt")


def network(dt, jit_compile="auto"):
    """Return two layers that depend on dt and a Dense. The weights are equal in every call."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((4, 3)),
            SpikingActivation("relu", dt=dt, seed=0, name="spikes"),
            Lowpass(0.5, dt=dt, name="filter"),
            TemporalAveragePooling(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=jit_compile)
    return model


@functools.cache
def network_loss(dt):
    """Return the loss of a model with a constant dt, for targets of 0."""
    return np.mean(np.square(ops.convert_to_numpy(network(dt)(X))))


class ReadsDt(keras.layers.Layer):
    """``w * dt``, with the dt of a spiking layer and w = 1."""

    def __init__(self, source, **kwargs):
        super().__init__(**kwargs)
        self.source = source

    def build(self, input_shape):
        self.w = self.add_weight(shape=(), initializer="ones", name="w")

    def call(self, inputs):
        return 0 * inputs + self.w * ops.convert_to_tensor(self.source.dt)


def reader(dt, learning_rate=0.0, **kwargs):
    """Return a model whose loss is dt^2 for targets of 0."""
    spikes = SpikingActivation("relu", dt=dt, name="spikes")
    model = keras.Sequential([keras.Input((1, 1)), spikes, ReadsDt(spikes)])
    model.compile(keras.optimizers.SGD(learning_rate), "mse", **kwargs)
    return model


@functools.cache
def compiled_reader():
    return reader(variable())


def shared_reader(value=1.0):
    """Return a reader and its dt, set to ``value``. Tests share the model, which is compiled once."""
    model = compiled_reader()
    dt = model.layers[0].dt
    dt.assign(value)
    return model, dt


def zeros(n):
    return np.zeros((n, 1, 1), "float32"), np.zeros((n, 1, 1), "float32")


def stream(n_batches):
    """Yield batches. Their number is unknown to Keras."""
    for _ in range(n_batches):
        yield zeros(1)


class Losses(keras.callbacks.Callback):
    """Record the logged loss of every batch; raise KeyboardInterrupt after ``interrupt_after`` batches."""

    def __init__(self, interrupt_after=None):
        super().__init__()
        self.losses = []
        self.interrupt_after = interrupt_after

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])
        if len(self.losses) == self.interrupt_after:
            raise KeyboardInterrupt


class Recorder:
    """A schedule that records its calls."""

    def __init__(self, schedule=cycle):
        self.schedule = schedule
        self.steps = []

    def __call__(self, step):
        self.steps.append(step)
        return self.schedule(step)


def running_means(losses, n_steps):
    """Return the losses that Keras logs: means over the batches of an epoch so far."""
    return np.concatenate([np.cumsum(epoch) / np.arange(1, n_steps + 1) for epoch in np.reshape(losses, (-1, n_steps))])


def value(dt):
    return float(dt.numpy())


JIT = [True, False] if keras.config.backend() == "tensorflow" else ["auto"]


@pytest.mark.parametrize("jit_compile", JIT)
def test_dt_changes_inside_a_compiled_fit(jit_compile):
    dt = variable()
    losses, n_steps = Losses(), 4
    x, y = np.tile(X, (n_steps, 1, 1)), np.tile(Y, (n_steps, 1))
    model = network(dt, jit_compile)
    fit = {"batch_size": 2, "epochs": 2, "shuffle": False, "verbose": 0}
    model.fit(x, y, callbacks=[DtScheduler(dt, cycle), losses], **fit)
    expected = [network_loss(cycle(step)) for step in range(2 * n_steps)]
    np.testing.assert_allclose(losses.losses, running_means(expected, n_steps), **CLOSE)
    assert np.ptp(expected) > 0.1 * np.max(expected)
    assert value(dt) == cycle(2 * n_steps - 1)  # the last value stays
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), expected[-1], **CLOSE)


@pytest.mark.tensorflow("tf.Variable")
def test_a_tensorflow_variable():
    import tensorflow as tf

    dt = tf.Variable(1.0)
    losses = Losses()
    x, y = np.tile(X, (4, 1, 1)), np.tile(Y, (4, 1))
    network(dt).fit(x, y, batch_size=2, shuffle=False, verbose=0, callbacks=[DtScheduler(dt, cycle), losses])
    expected = [network_loss(cycle(step)) for step in range(4)]
    np.testing.assert_allclose(losses.losses, running_means(expected, 4), **CLOSE)
    assert value(dt) == cycle(3)


def test_a_keras_schedule():
    (model, dt), losses = shared_reader(), Losses()
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, decay_steps=2, decay_rate=0.25)
    model.fit(*zeros(3), batch_size=1, epochs=2, verbose=0, callbacks=[DtScheduler(dt, schedule), losses])
    expected = (0.5 * 0.25 ** (np.arange(6) / 2)) ** 2
    np.testing.assert_allclose(losses.losses, running_means(expected, 3), **CLOSE)
    np.testing.assert_allclose(value(dt), 0.5 * 0.25 ** (5 / 2), **CLOSE)


def test_a_schedule_may_return_any_kind_of_number():
    (model, dt), losses = shared_reader(), Losses()
    numbers = [np.float32(0.5), np.array(0.25), ops.convert_to_tensor(0.75), 2]
    callbacks = [DtScheduler(dt, lambda step: numbers[step]), losses]
    model.fit(*zeros(4), batch_size=1, verbose=0, callbacks=callbacks)
    np.testing.assert_allclose(losses.losses, running_means([0.5**2, 0.25**2, 0.75**2, 2**2], 4), **CLOSE)
    assert value(dt) == 2.0


def test_changes_of_dt_keep_the_weight_updates():
    """A change of dt keeps the updates of the weights, which JAX stores outside the variables during an epoch."""
    dt, n_steps = variable(), 6
    model, by_hand = reader(dt, learning_rate=0.1), reader(dt, learning_rate=0.1)
    model.fit(*zeros(n_steps), batch_size=1, verbose=0, callbacks=[DtScheduler(dt, cycle)])
    for step in range(n_steps):
        dt.assign(cycle(step))
        by_hand.train_on_batch(*zeros(1))
    expected = np.prod([1 - 2 * 0.1 * cycle(step) ** 2 for step in range(n_steps)])
    np.testing.assert_allclose(model.get_weights()[0], expected, **CLOSE)
    np.testing.assert_allclose(by_hand.get_weights()[0], expected, **CLOSE)


def test_a_fit_resumes_at_the_next_epoch():
    fit = {"batch_size": 1, "epochs": 3, "verbose": 0}
    (model, dt), uninterrupted, schedule = shared_reader(), Losses(), Recorder(lambda step: 1 / (1 + step))
    model.fit(*zeros(4), callbacks=[DtScheduler(dt, schedule), uninterrupted], **fit)
    expected = running_means([1 / (1 + step) ** 2 for step in range(12)], 4)
    np.testing.assert_allclose(uninterrupted.losses, expected, **CLOSE)
    assert schedule.steps == list(range(12))

    first, second, schedule = Losses(interrupt_after=4), Losses(), Recorder(schedule.schedule)
    dt.assign(1.0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*zeros(4), callbacks=[DtScheduler(dt, schedule), first], **fit)
    dt.assign(0.9)  # a change between the fits has no effect
    model.fit(*zeros(4), callbacks=[DtScheduler(dt, schedule), second], initial_epoch=1, **fit)
    assert schedule.steps == list(range(12))
    assert first.losses + second.losses == uninterrupted.losses


def test_a_fit_interrupted_within_an_epoch_repeats_that_epoch():
    (model, dt), schedule = shared_reader(), Recorder()
    callback = DtScheduler(dt, schedule)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*zeros(3), batch_size=1, epochs=3, verbose=0, callbacks=[callback, Losses(interrupt_after=5)])
    assert schedule.steps == [0, 1, 2, 3, 4]
    model.fit(*zeros(3), batch_size=1, epochs=3, initial_epoch=1, verbose=0, callbacks=[callback])
    assert schedule.steps[5:] == list(range(3, 9))


def test_steps_per_epoch_sets_the_step():
    (model, dt), schedule = shared_reader(), Recorder()
    endless = (zeros(1) for _ in iter(int, 1))
    fit = {"steps_per_epoch": 3, "epochs": 4, "initial_epoch": 2, "shuffle": False, "verbose": 0}
    model.fit(endless, callbacks=[DtScheduler(dt, schedule)], **fit)
    assert schedule.steps == list(range(6, 12))


@pytest.mark.filterwarnings("ignore:.*input ran out of data")  # Keras's warning at the end of a generator
def test_batches_of_unknown_number_are_counted():
    (model, dt), schedule = shared_reader(), Recorder()
    callback = DtScheduler(dt, schedule)

    def fit(n_batches, epoch, callback):
        """Train one epoch; return the steps of its batches."""
        schedule.steps.clear()
        model.fit(
            stream(n_batches), epochs=epoch + 1, initial_epoch=epoch, shuffle=False, verbose=0, callbacks=[callback]
        )
        # TensorFlow and JAX begin one more batch to detect the end.
        assert len(schedule.steps) in (n_batches, n_batches + 1)
        return schedule.steps[:n_batches]

    assert fit(3, 0, callback) == [0, 1, 2]
    assert fit(5, 1, callback) == [3, 4, 5, 6, 7]
    assert fit(1, 2, callback) == [8]
    assert fit(2, 1, callback) == [3, 4]  # the second epoch again
    assert fit(1, 2, callback) == [5]
    with pytest.raises(ValueError, match=r"known to resume at epoch 1; got None\. Pass `steps_per_epoch` to fit"):
        fit(1, 1, DtScheduler(dt, schedule))


def test_steps_per_execution():
    dt, schedule = variable(), Recorder(lambda step: 1 / (1 + step))
    if keras.config.backend() == "torch":
        with pytest.raises(ValueError, match="steps_per_execution"):
            reader(dt, steps_per_execution=2).fit(*zeros(4), batch_size=1, callbacks=[DtScheduler(dt, schedule)])
        return
    model, losses = reader(dt, steps_per_execution=2), Losses()
    model.fit(*zeros(4), batch_size=1, epochs=2, verbose=0, callbacks=[DtScheduler(dt, schedule), losses])
    assert schedule.steps == [0, 2, 4, 6]
    executed = [1 / (1 + step) ** 2 for step in (0, 0, 2, 2, 4, 4, 6, 6)]
    np.testing.assert_allclose(losses.losses, running_means(executed, 4)[1::2], **CLOSE)


def test_validation_runs_at_the_last_dt_of_the_epoch():
    model, dt = shared_reader()
    fit = {"batch_size": 1, "epochs": 2, "validation_data": zeros(2), "verbose": 0}
    history = model.fit(*zeros(2), callbacks=[DtScheduler(dt, cycle)], **fit).history
    np.testing.assert_allclose(history["val_loss"], [cycle(1) ** 2, cycle(3) ** 2], **CLOSE)


def test_verbose_prints_only_changes_of_dt(capsys):
    model, dt = shared_reader(0.5)
    fit = {"batch_size": 1, "epochs": 2, "verbose": 0}
    schedule = lambda step: (0.5, 0.5, 0.1, 0.1, 0.1, 0.2)[step]  # noqa: E731
    model.fit(*zeros(3), callbacks=[DtScheduler(dt, schedule)], **fit)
    assert capsys.readouterr().out == ""
    dt.assign(0.5)
    model.fit(*zeros(3), callbacks=[DtScheduler(dt, schedule, verbose=True)], **fit)
    assert capsys.readouterr().out.split("\n") == ["", "Step 2: dt = 0.1 s", "", "Step 5: dt = 0.2 s", ""]


@pytest.mark.jax("only JAX stores the values of variables elsewhere")
def test_only_changes_of_dt_sync_the_state(monkeypatch):
    dt = variable()
    model, syncs = reader(dt), []
    original = type(model).jax_state_sync
    monkeypatch.setattr(type(model), "jax_state_sync", lambda self: [syncs.append(1), original(self)][1])

    def count(schedule, n_steps):
        syncs.clear()
        model.fit(*zeros(n_steps), batch_size=1, verbose=0, callbacks=[DtScheduler(dt, schedule)])
        return len(syncs)

    assert count(lambda step: 1.0, 2) == count(lambda step: 1.0, 20)
    assert count(cycle, 20) >= count(lambda step: 1.0, 20) + 19


def test_a_change_from_outside_is_overruled_at_the_next_epoch():
    model, dt = shared_reader(0.5)
    assign_dt = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: dt.assign(0.1))
    callbacks = [DtScheduler(dt, lambda step: 0.5), assign_dt]
    history = model.fit(*zeros(2), batch_size=1, epochs=2, verbose=0, callbacks=callbacks).history
    np.testing.assert_allclose(history["loss"], [0.25, 0.25], **CLOSE)


def test_a_custom_training_loop():
    (model, dt), schedule = shared_reader(), Recorder()
    callbacks = keras.callbacks.CallbackList([DtScheduler(dt, schedule)], model=model)
    callbacks.on_train_begin()
    for epoch in range(2):
        callbacks.on_epoch_begin(epoch)
        for batch in range(3):
            callbacks.on_train_batch_begin(batch)
            loss = model.train_on_batch(*zeros(1))
            callbacks.on_train_batch_end(batch, {"loss": loss})
            assert loss == pytest.approx(cycle(3 * epoch + batch) ** 2, rel=1e-5)
        callbacks.on_epoch_end(epoch)
    callbacks.on_train_end()
    assert schedule.steps == list(range(6))


def test_dt_must_be_a_variable():
    for dt in (0.001, None, np.array(0.1), ops.convert_to_tensor(0.1)):
        with pytest.raises(TypeError, match=r"`dt` must be a variable.*Make one with `dt = keras\.Variable"):
            DtScheduler(dt, cycle)
    with pytest.raises(ValueError, match="float scalar"):
        DtScheduler(keras.Variable([0.1, 0.2]), cycle)
    with pytest.raises(ValueError, match="positive"):
        DtScheduler(variable(0.0), cycle)


def test_dt_becomes_non_trainable():
    dt = variable()
    assert dt.trainable
    DtScheduler(dt, cycle)
    assert not dt.trainable


def test_the_scheduler_must_be_callable():
    with pytest.raises(TypeError, match="`scheduler` must be a learning-rate schedule or a callable"):
        DtScheduler(variable(), 0.1)


@pytest.mark.parametrize(
    "invalid, error",
    [
        (0, ValueError),
        (-0.1, ValueError),
        (math.nan, ValueError),
        (np.float32(np.inf), ValueError),
        (1e-60, ValueError),  # 0 in float32
        ("0.1", TypeError),
        (None, TypeError),
        (True, TypeError),
        ([0.1], TypeError),
    ],
)
def test_invalid_values_of_dt_are_refused(invalid, error):
    model, dt = shared_reader(0.5)
    callback = DtScheduler(dt, lambda step: 0.25 if step < 2 else invalid)
    with pytest.raises(error, match=r"`scheduler` returned .* for step 2\. `dt` must be a"):
        model.fit(*zeros(4), batch_size=1, verbose=0, callbacks=[callback])
    assert value(dt) == 0.25


def test_a_dt_that_no_layer_of_the_model_has_is_refused(tmp_path):
    dt = variable()
    clone = keras.models.clone_model(network(dt))
    clone.compile(keras.optimizers.SGD(0.0), "mse")
    with pytest.raises(ValueError, match=r"variable that a layer of .* holds.*`model.get_layer\(name\).dt`"):
        clone.fit(X, Y, verbose=0, callbacks=[DtScheduler(dt, cycle)])
    dt_of_clone = clone.get_layer("spikes").dt
    clone.fit(X, Y, verbose=0, callbacks=[DtScheduler(dt_of_clone, lambda step: 0.5)])
    assert (value(dt_of_clone), value(dt)) == (0.5, 1.0)


def test_an_unbuilt_model():
    dt = variable()

    class Late(keras.Model):
        """A model that creates its layers in ``build``."""

        def build(self, input_shape):
            self.spikes = SpikingActivation("relu", dt=dt)
            self.dense = keras.layers.Dense(1)
            self.built = True

        def call(self, inputs):
            return self.dense(self.spikes(inputs))

    model = Late()
    model.compile("sgd", "mse")
    model.fit(X, np.zeros((2, 4, 1)), verbose=0, callbacks=[DtScheduler(dt, lambda step: 0.5)])
    assert value(dt) == 0.5
