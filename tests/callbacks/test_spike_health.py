"""SpikeHealth: shares, rates and gradients of spiking layers after each epoch."""

import csv
import json

import keras
import numpy as np
import pytest
from keras import ops

import keras_snn
from keras_snn.callbacks import RatePlot, SpikeHealth
from keras_snn.layers import IF, KLIF, LIF, Repeat, SpikingActivation, TemporalAveragePooling
from keras_snn.ops.backend import gradient


def classifier(scale=1.0, jit_compile=False, **options):
    """Return a network of two spiking layers on four features. Most tests do without XLA, whose compiler is slow.

    The weights do not depend on the backend.
    """
    model = keras.Sequential([
        keras.Input((4,)),
        Repeat(6),
        keras.layers.Dense(8),
        LIF(name="hidden", **options),
        keras.layers.Dense(3),
        KLIF(name="out"),
        TemporalAveragePooling(),
    ])  # fmt: skip
    rng = np.random.default_rng(0)
    model.layers[1].set_weights([scale * rng.uniform(-2, 4, (4, 8)), np.zeros(8)])
    model.layers[3].set_weights([scale * rng.uniform(-2, 4, (8, 3)), np.zeros(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, jit_compile=jit_compile)
    return model


def texts(caught):
    """Return the messages of UserWarnings. NumPy's deprecation warnings about PyTorch's tensors are left out."""
    return [str(warning.message) for warning in caught if warning.category is UserWarning]


def data(n=24):
    rng = np.random.default_rng(0)
    return rng.random((n, 4)), rng.integers(3, size=n)


def test_values_by_hand():
    """Five steps of an integrator that spikes above 1: inputs of 0, 0.6 and 1.25 give 0, 2 and 5 spikes."""
    model = keras.Sequential([keras.Input((5, 3)), IF(name="if")])
    x = np.tile([0.0, 0.6, 1.25], (2, 5, 1))
    values = SpikeHealth(x).measure(model)["if"]
    assert values == {"silent": 1 / 3, "saturated": 1 / 3, "rate": pytest.approx(1000 * 7 / 15)}  # dt is 1 ms


def test_values_equal_those_of_inspect():
    model = classifier()
    x, y = data()
    values = SpikeHealth(x, y).measure(model)
    (report,) = keras_snn.inspect(model, x.astype("float32"), verbose=0)
    assert values.keys() == report.layers.keys()
    for name, layer in report.layers.items():
        expected = {"silent": layer.silent, "saturated": layer.saturated, "rate": pytest.approx(layer.rate.mean)}
        assert {key: values[name][key] for key in expected} == expected
    assert 0 < values["hidden"]["rate"] < 1000


def test_gradient_norm_equals_the_gradient_by_the_layers_inputs():
    """The part of the model that starts at the layer has these inputs as its input."""
    model = classifier()
    x, y = data()
    values = SpikeHealth(x, y).measure(model)
    for name in ("hidden", "out"):
        start = [layer.name for layer in model.layers].index(name)
        h = ops.convert_to_tensor(x.astype("float32"))
        for layer in model.layers[:start]:
            h = layer(h)

        def loss(h, rest=model.layers[start:]):
            for layer in rest:
                h = layer(h, training=False) if layer is rest[0] else layer(h)
            return ops.mean(keras.losses.sparse_categorical_crossentropy(y, h, from_logits=True)), []

        expected = np.linalg.norm(ops.convert_to_numpy(gradient(loss, h, [])[0]))
        assert expected > 0
        assert values[name]["gradient_norm"] == pytest.approx(expected, rel=1e-5)  # sums of float32 in another order


def test_regularizers_are_part_of_the_loss():
    model = keras.Sequential([
        keras.Input((5, 3)),
        IF(name="if", activity_regularizer=keras.regularizers.L2(0.1)),
    ])  # fmt: skip
    model.compile("sgd", lambda y, outputs: 0 * ops.sum(outputs))
    x = np.full((2, 5, 3), 0.5)
    assert SpikeHealth(x, np.zeros(2)).measure(model)["if"]["gradient_norm"] > 0


def test_logs_reach_the_history_and_later_callbacks(tmp_path):
    model = classifier(jit_compile="auto")
    x, y = data()
    callbacks = [SpikeHealth(x[:8], y[:8], warn_above=1.0), keras.callbacks.CSVLogger(tmp_path / "log.csv")]
    history = model.fit(x, y, epochs=2, batch_size=8, verbose=0, callbacks=callbacks).history
    names = {
        f"{layer}_{quantity}"
        for layer in ("hidden", "out")
        for quantity in ("silent", "saturated", "rate", "gradient_norm")
    }
    assert names <= history.keys()
    assert len(history["out_gradient_norm"]) == 2
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["hidden_rate"]) for row in rows] == history["hidden_rate"]
    assert history["hidden_rate"][-1] == SpikeHealth(x[:8]).measure(model)["hidden"]["rate"]


@pytest.mark.tensorflow("TensorBoard files are written and read by TensorFlow")
def test_tensorboard_logs_the_values(tmp_path):
    import tensorflow as tf

    model = classifier()
    x, y = data(8)
    callbacks = [SpikeHealth(x, warn_above=1.0), keras.callbacks.TensorBoard(tmp_path)]
    model.fit(x, y, verbose=0, callbacks=callbacks)
    (file,) = (tmp_path / "train").glob("events*")
    tags = {value.tag for event in tf.compat.v1.train.summary_iterator(str(file)) for value in event.summary.value}
    assert {"epoch_hidden_silent", "epoch_hidden_saturated", "epoch_hidden_rate", "epoch_out_rate"} <= tags


def test_training_does_not_change():
    """Weights, moving averages, seed generators and states are those of a training without the callback."""

    def train(callbacks):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([
            keras.Input((4,), batch_size=8),
            Repeat(5),
            keras.layers.Dense(6),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.Dropout(0.2),
            SpikingActivation("relu", dt=0.5, seed=None),
            LIF(stateful=True),
            TemporalAveragePooling(),
            keras.layers.Dense(3),
        ])  # fmt: skip
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(*data(), epochs=2, batch_size=8, verbose=0, shuffle=False, callbacks=callbacks)
        return [ops.convert_to_numpy(variable) for variable in model.variables]

    x, y = data(8)
    with_callback = train([SpikeHealth(x, y, warn_above=1.0)])
    for a, b in zip(train([]), with_callback, strict=True):
        np.testing.assert_array_equal(a, b)


def test_silent_layer_is_reported_once_and_the_remedy_works():
    model = classifier(scale=0.001, threshold=5.0)
    x, y = data()
    with pytest.warns(UserWarning) as caught:
        model.fit(x, y, epochs=3, batch_size=8, verbose=0, callbacks=[SpikeHealth(x, y)])
    messages = texts(caught)
    assert len([message for message in messages if "'hidden'" in message]) == 1
    assert messages[0].startswith("Epoch 1: 100% of the units of 'hidden' are silent (no spike in the sample).")
    assert "lower `threshold`" in messages[0]
    assert SpikeHealth(x).measure(classifier(threshold=1.0))["hidden"]["silent"] < 0.9


def test_saturated_layer_is_reported():
    model = classifier(threshold=1e-3)
    model.layers[1].set_weights([np.ones((4, 8)), np.ones(8)])
    x, y = data()
    with pytest.warns(UserWarning) as caught:
        model.fit(x, y, verbose=0, callbacks=[SpikeHealth(x, warn_above=1.0)])
    message = texts(caught)[0]
    assert message.startswith("Epoch 1: 100% of the units of 'hidden' are saturated (a spike at every step")
    assert "higher `threshold`" in message


def test_zero_gradient_is_reported_and_training_can_stop():
    x, y = data()
    model = keras.Sequential([
        keras.Input((4,)),
        Repeat(5),
        keras.layers.Dense(8, kernel_initializer="ones"),
        LIF(name="hidden", surrogate=keras_snn.surrogates.Rectangular(1e6)),
        TemporalAveragePooling(),
        keras.layers.Dense(3),
    ])  # fmt: skip
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.warns(UserWarning, match="by the inputs of 'hidden' is zero.* wider `surrogate`"):
        history = model.fit(x, y, epochs=5, verbose=0, callbacks=[SpikeHealth(x, y, warn_above=1.0, stop=True)])
    assert history.epoch == [0]


def test_values_that_are_not_finite_are_reported():
    model = classifier()
    model.layers[1].bias.assign(np.full(8, np.nan))
    x, y = data()
    health = SpikeHealth(x, y)
    with pytest.warns(UserWarning) as caught:
        model.fit(x, y, verbose=0, callbacks=[health])
    assert "Inputs, spikes or gradients of 'hidden' are not finite. Remedies: a smaller learning" in texts(caught)[0]
    assert np.isnan(health.measure(model)["hidden"]["silent"])


def test_several_inputs_outputs_and_calls():
    a, b = keras.Input((5, 3), name="a"), keras.Input((5, 3), name="b")
    lif = LIF(name="lif")
    outputs = {"sum": keras.layers.Dense(2)(lif(a)), "other": keras.layers.Dense(1)(lif(b))}
    model = keras.Model({"a": a, "b": b}, outputs)
    model.compile("sgd", {"sum": "mse", "other": "mse"})
    x = {"a": np.full((2, 5, 3), 3.0), "b": np.zeros((2, 5, 3))}
    y = {"sum": np.ones((2, 5, 2)), "other": np.ones((2, 5, 1))}
    values = SpikeHealth(x, y).measure(model)
    assert list(values) == ["lif", "lif (call 2)"]
    assert [row["silent"] for row in values.values()] == [0, 1]
    assert values["lif"]["gradient_norm"] != values["lif (call 2)"]["gradient_norm"] != 0


def test_masked_steps_do_not_count():
    """Only the first three of five steps count: a unit that spikes in these is saturated."""
    model = keras.Sequential([keras.Input((5, 2)), keras.layers.Masking(), IF(name="if")])
    x = np.zeros((1, 5, 2))
    x[:, :3] = [1.25, 0.4]
    values = SpikeHealth(x).measure(model)["if"]
    assert values == {"silent": 0, "saturated": 0.5, "rate": pytest.approx(1000 * 4 / 6)}


def test_a_variable_dt_is_read_in_each_epoch():
    dt = keras.Variable(0.01, trainable=False)
    model = keras.Sequential([keras.Input((10, 1)), SpikingActivation("relu", dt=dt, seed=0, name="s")])
    health = SpikeHealth(np.full((1, 10, 1), 5.0))
    health.measure(model)
    dt.assign(0.2)
    assert health.measure(model)["s"] == {"silent": 0, "saturated": 1, "rate": pytest.approx(5)}  # one spike per step


@pytest.mark.parametrize("y", [None, {"out": np.array([1, 0])}])
def test_configuration_through_json(y):
    health = SpikeHealth({"a": np.array([[0.5], [1.0]])}, y, warn_above=0.7, stop=True)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(health)))
    copy = keras.saving.deserialize_keras_object(config)
    np.testing.assert_array_equal(copy.x["a"], health.x["a"])
    assert (copy.warn_above, copy.stop) == (0.7, True)
    assert copy.y is None if y is None else copy.y["out"].tolist() == [1, 0]


def test_errors():
    x, y = data()
    with pytest.raises(ValueError, match="`y` must have a label for each of the 24 samples of `x`; got 3"):
        SpikeHealth(x, y[:3])
    with pytest.raises(ValueError, match="warn_above"):
        SpikeHealth(x, warn_above=0)
    without_spikes = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="calls no spiking layer"):
        SpikeHealth(x).measure(without_spikes)
    with pytest.raises(ValueError, match=r"cannot run on arrays of the shapes \[\(24, 2\)\]"):
        SpikeHealth(x[:, :2]).measure(classifier())


def test_inspect_uses_the_same_words():
    model = classifier(scale=0.001, threshold=5.0)
    report = keras_snn.inspect(model, data()[0].astype("float32"), verbose=0)
    (note,) = [note for note in report[None].notes if note.startswith("Silent: all units of hidden")]
    with pytest.warns(UserWarning, match="silent") as caught:
        model.fit(*data(), verbose=0, callbacks=[SpikeHealth(data()[0])])
    assert note.partition("Causes")[2] == texts(caught)[0].partition("Causes")[2]


def test_rate_plot(tmp_path):
    model = classifier()
    x, y = data()
    path = tmp_path / "rates.png"
    plot = RatePlot(path)
    callbacks = [SpikeHealth(x, warn_above=1.0), plot]
    model.fit(x, y, epochs=3, verbose=0, callbacks=callbacks)
    assert path.read_bytes().startswith(b"\x89PNG")
    path.unlink()
    history = model.fit(x, y, epochs=3, initial_epoch=1, verbose=0, callbacks=callbacks).history
    assert path.exists()
    assert [rates["out_rate"] for _, rates in sorted(plot._rates.items())][1:] == history["out_rate"]
    copy = keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(plot))))
    assert (copy.path, copy.names) == (str(path), None)


def test_rate_plot_without_rates(tmp_path):
    x, y = data()
    with pytest.raises(ValueError, match=r"hold a rate; they hold \['loss'\].*Place RatePlot after SpikeHealth"):
        classifier().fit(x, y, verbose=0, callbacks=[RatePlot(tmp_path / "rates.png")])
