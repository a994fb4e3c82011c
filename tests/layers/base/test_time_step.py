import functools
import importlib.util
import itertools
import json
import math
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_snn
from keras_snn import probe
from keras_snn.config import default
from keras_snn.layers import RNN, Alpha, Lowpass, LowpassCell, SpikingActivation, SpikingActivationCell, SpikingCell

LAYERS = [
    lambda dt: SpikingActivation("relu", dt=dt),
    lambda dt: Lowpass(0.1, dt=dt),
    lambda dt: Alpha(0.1, dt=dt),
    lambda dt: SpikingActivationCell(3, "relu", dt=dt),
    lambda dt: LowpassCell(3, 0.1, dt=dt),
]
X = np.random.default_rng(0).uniform(0.5, 2.0, (2, 4, 3)).astype("float32")
Y = np.zeros((2, 4, 1), "float32")
# With dt as a constant and with dt as a variable, XLA may round differently, by a few 1e-7.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def variable(value=0.25, **kwargs):
    return keras.Variable(value, dtype="float32", name="dt", **kwargs)


def network(dt, dt_2=None):
    """Return two layers that depend on dt and a Dense. The weights are equal in every call."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((4, 3)),
            SpikingActivation("relu", dt=dt, seed=0, name="spikes"),
            Lowpass(0.5, dt=dt if dt_2 is None else dt_2, name="filter"),
            keras.layers.Dense(1, name="dense"),
        ]
    )
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


@functools.cache
def expected(dt, dt_2=None):
    """Return the outputs of a network with numbers in place of variables."""
    return call(network(dt, dt_2))


def predict(model):
    return model.predict(X, verbose=0)


def call(model):
    """Call a model eagerly, without compiling it."""
    return keras.ops.convert_to_numpy(model(X))


def test_a_number_out_of_range_is_refused():
    for make, dt in itertools.product(LAYERS, [0, 0.0, -0.001, -math.inf, math.inf, math.nan, np.float32(0)]):
        with pytest.raises(ValueError, match="`dt` must be a positive, finite number of seconds"):
            make(dt)


def test_values_other_than_numbers_are_refused():
    for make, dt in itertools.product(LAYERS, ["0.001", True, [0.001], (0.001,), np.array([0.001]), 1j]):
        with pytest.raises(TypeError, match="`dt` must be a number in seconds or a scalar variable"):
            make(dt)


def test_a_variable_must_be_a_float_scalar():
    values = [([0.1, 0.2], "float32"), ([0.1], "float32"), (1, "int32"), (True, "bool")]
    for make, (value, dtype) in itertools.product(LAYERS, values):
        dt = keras.Variable(value, dtype=dtype, trainable=False)
        with pytest.raises(ValueError, match="A variable `dt` must be a float scalar"):
            make(dt)


def test_a_variable_out_of_range_is_refused():
    for make, value in itertools.product(LAYERS, [0.0, -1.0, math.nan, math.inf]):
        with pytest.raises(ValueError, match="positive, finite"):
            make(variable(value))


def test_a_tensorflow_variable_on_another_backend_is_refused():
    if keras.config.backend() == "tensorflow":
        pytest.skip("allowed on TensorFlow")
    tf = pytest.importorskip("tensorflow")
    with pytest.raises(TypeError, match=r"keras\.Variable.*on the TensorFlow backend only"):
        SpikingActivation("relu", dt=tf.Variable(0.1))


def test_a_refused_dt_keeps_the_old_one():
    layer = SpikingActivation("relu", dt=0.1)
    with pytest.raises(ValueError):
        layer.dt = -1
    assert layer.dt == 0.1


def test_numbers_of_all_kinds():
    for make, dt in itertools.product(LAYERS, [1, 0.5, np.float32(0.5), np.float64(0.5), np.int64(1)]):
        layer = make(dt)
        assert type(layer.dt) is float and layer.dt == dt
        assert type(layer.get_config()["dt"]) is float
        assert type(layer).from_config(json.loads(json.dumps(layer.get_config()))).dt == dt


def test_the_default_is_read_at_construction(monkeypatch):
    assert default is keras_snn.config.default
    before = [make(None) for make in LAYERS]
    monkeypatch.setattr(default, "dt", 0.125)
    after = [make(None) for make in LAYERS]
    monkeypatch.setattr(default, "dt", 0.5)
    for old, new in zip(before, after, strict=True):
        assert (old.dt, new.dt) == (0.001, 0.125)
        assert type(new).from_config(new.get_config()).dt == 0.125
    monkeypatch.setattr(default, "dt", -1)
    for make in LAYERS:
        with pytest.raises(ValueError, match="positive"):
            make(None)


def test_a_new_default_does_not_change_existing_layers(monkeypatch):
    layer = SpikingActivation("relu")
    monkeypatch.setattr(default, "dt", 0.5)
    layer.build((2, 4, 3))
    assert layer.cell.dt == layer.dt == 0.001


def spike_height(layer):
    """Return the height of a spike, 1 / dt."""
    outputs = keras.ops.convert_to_numpy(layer(np.full((1, 8, 1), 2.0, "float32")))
    return np.unique(outputs[outputs > 0]).min()


@pytest.mark.parametrize("kind", ["number", "variable"])
def test_a_scope_overrides_dt(kind):
    layer = SpikingActivation("relu", dt=variable(0.125) if kind == "variable" else 0.125)
    assert spike_height(layer) == 8.0
    with probe.scope(dt=0.0625):
        assert layer.dt == layer.cell.dt == 0.0625
        assert spike_height(layer) == 16.0
        with probe.scope(dt=keras.ops.convert_to_tensor(0.5)):
            assert spike_height(layer) == 2.0
        with probe.scope():  # without dt, the layer's dt is used
            assert spike_height(layer) == 8.0
        assert spike_height(layer) == 16.0
        config = layer.get_config()["dt"]  # the dt of the layer
        assert (config["value"] if kind == "variable" else config) == 0.125
    assert spike_height(layer) == 8.0


def test_a_variable_is_configuration_and_not_a_weight():
    for make in LAYERS:
        dt = variable(trainable=True)
        layer, with_number = make(dt), make(0.25)
        for each in (layer, with_number):
            each.build((2, 3) if isinstance(each, SpikingCell) else (2, 4, 3))
        assert layer.dt is dt
        assert dt.trainable is False
        for name in ("weights", "trainable_weights", "non_trainable_weights", "trainable_variables"):
            assert all(v is not dt for v in getattr(layer, name))
            assert len(getattr(layer, name)) == len(getattr(with_number, name))
        layer.trainable = False
        layer.trainable = True
        assert dt.trainable is False


def test_set_weights_between_numbers_and_variables():
    models = [network(0.25), network(variable()), network(variable(), variable()), network(0.25, variable(0.5))]
    for source in models:
        values = [np.random.default_rng(0).uniform(0.1, 1.0, w.shape) for w in source.weights]
        source.set_weights(values)
        for target in models:
            target.set_weights(source.get_weights())
            for value, weight in zip(values, target.get_weights(), strict=True):
                np.testing.assert_array_equal(weight, value.astype("float32"))


def test_weight_files_are_loaded_between_numbers_and_variables(tmp_path):
    source, targets = network(variable()), (network(0.25), network(variable(0.5)))
    source.set_weights([w + 1 for w in source.get_weights()])
    source.save_weights(tmp_path / "m.weights.h5")
    for target in targets:
        target.load_weights(tmp_path / "m.weights.h5")
        np.testing.assert_array_equal(target.get_weights()[2], source.get_weights()[2])
    assert float(targets[1].layers[0].dt.numpy()) == 0.5


@pytest.mark.torch("only PyTorch has a state_dict")
def test_state_dicts_are_loaded_between_numbers_and_variables():
    models = []
    for dt in (0.25, variable()):
        keras.utils.clear_session()  # Keras names the entries by the paths of the variables
        models.append(network(dt))
    for source, target in (models, models[::-1]):
        source.set_weights([w + 1 for w in source.get_weights()])
        target.load_state_dict(source.state_dict())
        for a, b in zip(source.get_weights(), target.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_change_reaches_all_layers_in_compiled_code():
    dt = variable(0.25)
    model = network(dt)
    assert model.layers[0].dt is model.layers[1].dt is dt
    assert model.layers[0].cell.dt is model.layers[1].cell.dt is dt
    for value in (0.25, 0.5, 1.0):
        dt.assign(value)
        np.testing.assert_allclose(predict(model), expected(value), **CLOSE)
        loss = pytest.approx(np.mean(expected(value) ** 2), rel=1e-5)  # the targets are 0
        assert model.test_on_batch(X, Y) == loss
        assert model.fit(X, Y, shuffle=False, verbose=0).history["loss"] == [loss]
    assert not np.allclose(expected(0.25), expected(0.5)) and not np.allclose(expected(0.5), expected(1.0))


def test_two_variables_are_independent():
    slow, fast = variable(0.5), variable(0.25)
    model = network(fast, slow)
    np.testing.assert_allclose(predict(model), expected(0.25, 0.5), **CLOSE)
    slow.assign(0.25)
    np.testing.assert_allclose(predict(model), expected(0.25), **CLOSE)
    assert not np.allclose(expected(0.25, 0.5), expected(0.25))


@keras.saving.register_keras_serializable(package="test_time_step")
class Charge(SpikingCell):
    """A cell without `call_sequence`, which runs step by step."""

    def call_inference(self, inputs, states):
        voltage = states[0] + inputs * self.dt
        return voltage, [voltage]


def charge_network(dt):
    model = keras.Sequential([keras.Input((4, 3)), RNN(Charge(3, dt=dt)), keras.layers.Dense(1)])
    model.layers[1].set_weights([np.ones((3, 1)), np.zeros(1)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


def test_a_users_cell(tmp_path):
    dt = variable(0.25)
    model = charge_network(dt)
    for value in (0.25, 0.5):
        dt.assign(value)
        charge = value * np.cumsum(X, axis=1).sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(predict(model), charge, **CLOSE)
        assert model.fit(X, Y, shuffle=False, verbose=0).history["loss"][0] == pytest.approx(
            np.mean(charge**2), rel=1e-5
        )
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(call(restored), charge, **CLOSE)
    assert restored.layers[0].dt is restored.layers[0].cell.dt is not dt
    restored.layers[0].dt.assign(0.125)
    np.testing.assert_allclose(call(restored), charge / 4, **CLOSE)


@keras.saving.register_keras_serializable(package="test_time_step")
class Composite(keras.layers.Layer):
    """A layer that creates its layers in ``build``: inside a graph, in ``fit`` on TensorFlow."""

    def __init__(self, make_dt):
        super().__init__()
        self.make_dt = make_dt

    def build(self, input_shape):
        self.spikes = SpikingActivation("relu", dt=self.make_dt(), seed=0)
        self.dense = keras.layers.Dense(1, kernel_initializer="ones")
        self.built = True

    def call(self, inputs):
        return self.dense(self.spikes(inputs))


def test_a_layer_that_is_created_in_build():
    dt = variable(0.25)
    models = []
    for make_dt in (lambda: dt, lambda: 0.25):
        models.append(keras.Sequential([Composite(make_dt)]))
        models[-1].compile(keras.optimizers.SGD(0.0), "mse")
    losses = [model.fit(X, Y, epochs=2, shuffle=False, verbose=0).history["loss"] for model in models]
    np.testing.assert_allclose(losses[0], losses[1], **CLOSE)
    assert models[0].layers[0].spikes.dt is dt


def test_a_saved_model_reloads_with_sharing(tmp_path):
    dt, second_dt = variable(0.25), variable(0.5)
    model = network(dt)
    model.save(tmp_path / "shared.keras")
    network(dt, second_dt).save(tmp_path / "two.keras")
    restored, second = (keras.saving.load_model(tmp_path / "shared.keras") for _ in range(2))
    np.testing.assert_allclose(call(restored), expected(0.25), **CLOSE)
    new = restored.layers[0].dt
    assert isinstance(new, keras.Variable) and new is restored.layers[1].dt and new is not dt
    assert new.trainable is False and float(new.numpy()) == 0.25
    assert new is not second.layers[0].dt is second.layers[1].dt
    new.assign(0.5)
    assert float(dt.numpy()) == float(second.layers[0].dt.numpy()) == 0.25
    np.testing.assert_allclose(call(restored), expected(0.5), **CLOSE)
    separate = keras.saving.load_model(tmp_path / "two.keras")
    assert separate.layers[0].dt is not separate.layers[1].dt
    assert [float(layer.dt.numpy()) for layer in separate.layers[:2]] == [0.25, 0.5]


def test_a_reloaded_model_saves_and_reloads_again(tmp_path):
    path = tmp_path / "model.keras"
    network(variable(0.25)).save(path)
    restored = keras.saving.load_model(path)
    restored.layers[0].dt.assign(0.5)
    restored.save(path)
    reloaded = keras.saving.load_model(path)
    assert reloaded.layers[0].dt is reloaded.layers[1].dt is not restored.layers[0].dt
    assert float(reloaded.layers[1].dt.numpy()) == 0.5


def nested_network(dt):
    """Return a model with layers of equal names in two nested models, and a wrapped cell. All share dt."""
    block = lambda: keras.Sequential([keras.Input((4, 3)), Lowpass(0.5, dt=dt, name="filter")])  # noqa: E731
    inputs = keras.Input((4, 3))
    outputs = RNN(LowpassCell(3, 0.5, dt=dt))(block()(block()(inputs)))
    return keras.Model(inputs, outputs)


def time_steps(model):
    return [layer.dt for layer in model._flatten_layers() if hasattr(layer, "dt")]


def test_nested_layers_of_equal_names_share_dt_after_loading_and_cloning(tmp_path):
    model = nested_network(variable(0.25))
    assert len(time_steps(model)) == 6
    model.save(tmp_path / "model.keras")
    loaded = [keras.saving.load_model(tmp_path / "model.keras") for _ in range(2)]
    clones = [keras.models.clone_model(model) for _ in range(2)]
    variables = {id(dt): dt for each in (model, *loaded, *clones) for dt in time_steps(each)}
    assert len(variables) == 5  # one per model
    for each in (*loaded, *clones):
        assert len({id(dt) for dt in time_steps(each)}) == 1
        np.testing.assert_allclose(call(each), call(model), **CLOSE)


def test_a_clone_has_a_new_variable():
    dt = variable(0.25)
    model = network(dt)
    clone, second = keras.models.clone_model(model), keras.models.clone_model(model)
    dt_of_clone = clone.layers[0].dt
    assert dt_of_clone is clone.layers[1].dt and dt_of_clone is not dt and dt_of_clone is not second.layers[0].dt
    assert second.layers[0].dt is second.layers[1].dt
    clone.set_weights(model.get_weights())
    dt_of_clone.assign(0.5)
    assert float(dt.numpy()) == float(second.layers[0].dt.numpy()) == 0.25
    np.testing.assert_allclose(call(clone), expected(0.5), **CLOSE)
    np.testing.assert_allclose(call(model), expected(0.25), **CLOSE)


def test_a_number_and_a_variable_can_replace_each_other():
    layer = SpikingActivation("relu", dt=0.125)
    layer.build((1, 8, 1))
    dt = variable(0.25)
    layer.dt = dt
    assert layer.cell.dt is dt and spike_height(layer) == 4.0
    layer.dt = 0.5
    assert layer.cell.dt == 0.5 and spike_height(layer) == 2.0
    assert all(v is not dt for v in layer.variables)


RELOAD = """
import json, sys
import keras, numpy as np
import keras_snn.layers
model = keras.saving.load_model(sys.argv[1])
x = np.asarray(json.loads(sys.argv[2]), "float32")
first, second = model.layers[:2]
report = {"backend": keras.config.backend(), "dt": float(first.dt.numpy()), "shared": first.dt is second.dt}
report["before"] = keras.ops.convert_to_numpy(model(x)).tolist()
first.dt.assign(0.5)
report["after"] = keras.ops.convert_to_numpy(model(x)).tolist()
print("REPORT" + json.dumps(report))
"""


def test_a_file_reloads_on_another_backend(tmp_path):
    order = ["tensorflow", "jax", "torch", "tensorflow"]
    backend = order[order.index(keras.config.backend()) + 1]
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    dt = variable(0.25)
    layers = [keras.Input((4, 3)), Lowpass(0.5, dt=dt), Alpha(0.5, dt=dt), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.save(tmp_path / "model.keras")
    root = str(pathlib.Path(keras_snn.__file__).parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    run = subprocess.run(
        [sys.executable, "-c", RELOAD, tmp_path / "model.keras", json.dumps(X.tolist())],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout.split("REPORT")[1])
    assert (report["backend"], report["dt"], report["shared"]) == (backend, 0.25, True)
    # Tolerances: exponentials and sums of the backends differ in the last bits.
    np.testing.assert_allclose(report["before"], call(model), rtol=1e-4, atol=1e-6)
    dt.assign(0.5)
    np.testing.assert_allclose(report["after"], call(model), rtol=1e-4, atol=1e-6)
    assert not np.allclose(report["before"], report["after"], rtol=1e-2)


@pytest.mark.tensorflow("tf.Variable")
def test_a_tensorflow_variable(tmp_path):
    import tensorflow as tf

    dt = tf.Variable(0.25)
    model = network(dt)
    assert model.layers[0].dt is model.layers[1].dt is dt
    assert len(model.weights) == len(network(0.25).weights)
    for value in (0.25, 0.5):
        dt.assign(value)
        np.testing.assert_allclose(predict(model), expected(value), **CLOSE)
        loss = model.fit(X, Y, shuffle=False, verbose=0).history["loss"]
        assert loss == [pytest.approx(np.mean(expected(value) ** 2), rel=1e-5)]
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    new = restored.layers[0].dt
    assert isinstance(new, keras.Variable) and new is restored.layers[1].dt and float(new.numpy()) == 0.5
    np.testing.assert_allclose(call(restored), expected(0.5), **CLOSE)
    with pytest.raises(ValueError, match="float scalar"):
        SpikingActivation("relu", dt=tf.Variable([0.1]))
    with pytest.raises(ValueError, match="positive"):
        SpikingActivation("relu", dt=tf.Variable(0.0))
