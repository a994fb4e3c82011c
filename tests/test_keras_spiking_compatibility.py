"""Compatibility with scripts for KerasSpiking 0.3: names, arguments, defaults, and equations."""

import importlib
import inspect

import h5py
import keras
import numpy as np
import pytest
from keras import ops
from reference.autodiff import gradients

import keras_snn
from keras_snn import layers
from keras_snn.layers import (
    Alpha,
    AlphaCell,
    KerasSpikingCell,
    KerasSpikingLayer,
    Lowpass,
    LowpassCell,
    SpikingActivation,
    SpikingActivationCell,
)

RNG = np.random.default_rng(0)
TAIL = {
    "return_sequences": True,
    "return_state": False,
    "stateful": False,
    "unroll": False,
    "time_major": False,
}
ACTIVATION = {"dt": None, "seed": None, "spiking_aware_training": True}
FILTER = {
    "dt": None,
    "apply_during_training": True,
    "level_initializer": "zeros",
    "initial_level_constraint": None,
    "tau_constraint": None,
}
REQUIRED = inspect.Parameter.empty


def to_numpy(x):
    return ops.convert_to_numpy(x)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def signature(cls, stop):
    """Return the positional and the keyword-only arguments of ``cls``, including those of its bases."""
    positional, keyword_only = {}, {}
    for base in cls.__mro__[: cls.__mro__.index(stop)]:
        if "__init__" not in vars(base):
            continue
        for p in list(inspect.signature(base.__init__).parameters.values())[1:]:
            if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in {**positional, **keyword_only}:
                # Arguments of a base class go through **kwargs and are therefore keyword-only.
                (positional if base is owner(cls) else keyword_only)[p.name] = p.default
            elif p.kind is p.KEYWORD_ONLY:
                keyword_only.setdefault(p.name, p.default)
    return positional, keyword_only


def owner(cls):
    return next(base for base in cls.__mro__ if "__init__" in vars(base))


def test_names():
    for name in ("SpikingActivation", "Lowpass", "Alpha", "layers", "regularizers", "constraints", "callbacks"):
        assert hasattr(keras_snn, name)
    assert importlib.import_module("keras_snn.model_energy").ModelEnergy is keras_snn.ModelEnergy
    for name in ("SpikingActivation", "Lowpass", "Alpha"):
        assert hasattr(layers, name)
        assert getattr(keras_snn, f"{name}Cell") is getattr(layers, f"{name}Cell")
    assert keras_snn.default.dt == 0.001
    assert layers.KerasSpikingCell is layers.SpikingCell
    assert layers.KerasSpikingLayer is layers.SpikingLayer


@pytest.mark.parametrize(
    "cls, first, keywords",
    [
        (SpikingActivation, ["activation"], {**ACTIVATION, **TAIL}),
        (Lowpass, ["tau_initializer"], {**FILTER, "method": "sequential", **TAIL}),
        (Alpha, ["tau_initializer"], {**FILTER, "method": "sequential", **TAIL}),
        (SpikingActivationCell, ["size", "activation"], ACTIVATION),
        (LowpassCell, ["size", "tau_initializer"], {**FILTER, "method": "sequential"}),
        (AlphaCell, ["size", "tau_initializer"], {**FILTER, "method": "sequential"}),
    ],
)
def test_arguments_of_layers_and_cells(cls, first, keywords):
    is_cell = issubclass(cls, KerasSpikingCell)
    positional, keyword_only = signature(cls, KerasSpikingCell if is_cell else keras.layers.Layer)
    assert list(positional.items()) == [(name, REQUIRED) for name in first]
    keyword_only = {name: keyword_only[name] for name in keywords if name in keyword_only}
    assert list(keyword_only.items()) == list(keywords.items())


def test_arguments_of_the_bases():
    positional, _ = signature(KerasSpikingCell, keras.layers.Layer)
    assert list(positional.items()) == [
        ("size", REQUIRED),
        ("state_size", None),
        ("dt", None),
        ("always_use_inference", True),
    ]
    positional, keyword_only = signature(KerasSpikingLayer, keras.layers.Layer)
    assert positional == {"dt": None}
    ours = [("go_backwards", False), ("stands_for", None)]
    assert list(keyword_only.items()) == [*TAIL.items(), *ours]


@pytest.mark.parametrize("cls", [SpikingActivation, Lowpass, Alpha])
def test_arguments_of_a_call(cls):
    parameters = list(inspect.signature(cls.call).parameters.values())[1:]
    assert [(p.name, p.default) for p in parameters] == [
        ("inputs", REQUIRED),
        ("training", None),
        ("initial_state", None),
        ("mask", None),  # Keras passes these two
        ("inputs_mask", None),
    ]
    reset = list(inspect.signature(cls.reset_states).parameters.values())[1:]
    assert [(p.name, p.default) for p in reset] == [("states", None)]


def test_the_default_dt_is_read_when_a_layer_is_made(monkeypatch):
    earlier = [SpikingActivation("relu"), LowpassCell(3, 0.1)]
    monkeypatch.setattr(keras_snn.default, "dt", 0.25)
    assert [layer.dt for layer in earlier] == [0.001, 0.001]
    assert [SpikingActivation("relu").dt, Alpha(0.1).dt, AlphaCell(3, 0.1).dt] == [0.25] * 3
    assert earlier[0].get_config()["dt"] == 0.001
    earlier[0].build((2, 5, 3))
    assert earlier[0].cell.dt == 0.001


@pytest.mark.parametrize("dt", [0.0, -1.0])
@pytest.mark.parametrize("make", [lambda dt: SpikingActivation("relu", dt=dt), lambda dt: Lowpass(0.1, dt=dt)])
def test_dt_must_be_positive(make, dt):
    with pytest.raises(ValueError, match="`dt` must be a positive"):
        make(dt)


def test_the_equations_of_spiking_activation():
    # v += f(x) dt; n = floor(v); v -= n; output n / dt
    layer = SpikingActivation("linear", dt=0.25, return_state=True)
    x, v = 20 * normal(2, 30, 3), RNG.uniform(size=(2, 3)).astype("float32")
    outputs, last = layer(x, initial_state=v)
    voltage, expected = v.astype("float64"), []
    for t in range(30):
        voltage = voltage + x[:, t].astype("float64") * 0.25
        expected.append(np.floor(voltage) / 0.25)
        voltage = voltage - np.floor(voltage)
    np.testing.assert_array_equal(to_numpy(outputs), np.stack(expected, axis=1))
    np.testing.assert_allclose(to_numpy(last), voltage, atol=1e-5)  # 30 roundings of float32
    assert to_numpy(outputs).min() < 0 and to_numpy(outputs).max() > 1 / 0.25


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation, slope", [("relu", lambda x: x > 0), ("tanh", lambda x: 1 - np.tanh(x) ** 2)])
def test_the_gradient_is_that_of_the_activation_at_the_same_step(activation, slope, training):
    layer = SpikingActivation(activation, seed=0)
    x = normal(2, 4, 3)
    layer.build(x.shape)
    upstream = np.zeros_like(x)
    upstream[:, 2] = normal(2, 3)  # one step only: the gradient of the other steps must be zero
    (grad,) = gradients("eager", lambda x: ops.sum(ops.multiply(upstream, layer(x, training=training))), x)
    np.testing.assert_allclose(grad, slope(x) * upstream, rtol=1e-5, atol=1e-7)


def test_training_that_is_not_spiking_aware():
    layer = SpikingActivation("tanh", spiking_aware_training=False, return_state=True)
    x, v = normal(2, 4, 3), np.full((2, 3), 0.3, "float32")
    outputs, last = layer(x, training=True, initial_state=v)
    np.testing.assert_array_equal(to_numpy(outputs), to_numpy(ops.tanh(x)))
    np.testing.assert_array_equal(to_numpy(last), v)


def test_a_seed_fixes_the_initial_voltages():
    x = np.full((3, 6, 20), 400.0, "float32")
    calls = {seed: [to_numpy(SpikingActivation("relu", seed=seed)(x)) for _ in range(2)] for seed in (0, 1)}
    np.testing.assert_array_equal(*calls[0])
    assert not np.array_equal(calls[0][0], calls[1][0])
    assert not np.array_equal(calls[0][0][0], calls[0][0][1])  # each sample has a different voltage
    layer = SpikingActivation("relu")
    assert not np.array_equal(to_numpy(layer(x)), to_numpy(layer(x)))
    layer = SpikingActivation("relu", seed=0)
    np.testing.assert_array_equal(to_numpy(layer(x)), to_numpy(layer(x)))


def test_the_equations_of_lowpass():
    # a = exp(-dt / max(tau, 1e-8)); y_t = (1 - a) x_t + a y_{t-1}
    layer, x = Lowpass(0.01, level_initializer="ones"), normal(2, 5, 3)
    y, level, a = to_numpy(layer(x)), 1.0, np.exp(-0.1)
    assert [w.shape for w in layer.weights] == [(1, 3), (1, 3)]
    for t in range(5):
        level = (1 - a) * x[:, t] + a * level
        np.testing.assert_allclose(y[:, t], level, rtol=1e-5, atol=1e-6)  # float32


def test_the_equations_of_alpha():
    # state_t = A state_{t-1} + B x_t, from the initial state (0, initial_level)
    layer, x, tau, dt = Alpha(0.01, level_initializer="ones", return_state=True), normal(2, 5, 3), 0.01, 0.001
    y, last = (to_numpy(a) for a in layer(x))
    assert last.shape == (2, 2, 3)
    r, e = dt / tau, np.exp(-dt / tau)
    A = e * np.array([[1 - r, -r / tau], [dt, 1 + r]])
    B = np.array([e * r / tau, 1 - e * (1 + r)])
    state = np.stack([np.zeros((2, 3)), np.ones((2, 3))])
    for t in range(5):
        state = np.einsum("ij,jbu->ibu", A, state) + B[:, None, None] * x[:, t]
        np.testing.assert_allclose(y[:, t], state[1], rtol=1e-4, atol=1e-6)  # float32
    np.testing.assert_allclose(last, np.swapaxes(state, 0, 1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cls", [Lowpass, Alpha])
def test_filters_that_are_not_applied_during_training(cls):
    x = normal(2, 5, 3)
    layer = cls(0.01, apply_during_training=False)
    np.testing.assert_array_equal(to_numpy(layer(x, training=True)), x)
    assert not np.allclose(to_numpy(layer(x, training=False)), x, rtol=1e-3)
    assert layer.trainable_weights == []
    layer = cls(0.01)
    layer.build(x.shape)
    assert len(layer.trainable_weights) == 2


@pytest.mark.parametrize("tau", [0.02, keras.initializers.Constant(0.02), "ones"])
@pytest.mark.parametrize("cls", [Lowpass, Alpha])
def test_kinds_of_tau(cls, tau):
    layer = cls(tau)
    layer.build((2, 5, 3))
    np.testing.assert_allclose(to_numpy(layer.cell.tau), 1.0 if tau == "ones" else 0.02)


@pytest.mark.parametrize(
    "make",
    [
        lambda **o: SpikingActivation("relu", seed=0, **o),
        lambda **o: Lowpass(0.01, level_initializer="ones", **o),
        lambda **o: Alpha(0.01, level_initializer="ones", **o),
    ],
    ids=["SpikingActivation", "Lowpass", "Alpha"],
)
def test_reset_states_restores_the_initial_state(make):
    layer, x = make(stateful=True), 100 * normal(2, 5, 4, 3)
    layer.build(x.shape)
    start = to_numpy(layer.states[0])
    assert np.any(start != 0)
    layer(x)
    assert not np.array_equal(to_numpy(layer.states[0]), start)
    layer.reset_states()
    np.testing.assert_array_equal(to_numpy(layer.states[0]), start)
    layer.reset_states(states=[np.zeros_like(start)])
    np.testing.assert_array_equal(to_numpy(layer.states[0]), 0)
    time_major = make(time_major=True)
    # Tolerances: eager TensorFlow compiles only some of its loops with XLA, which rounds differently.
    np.testing.assert_allclose(
        to_numpy(time_major(np.swapaxes(x, 0, 1), training=False)),
        np.swapaxes(to_numpy(make()(x, training=False)), 0, 1),
        rtol=1e-5,
        atol=1e-4,
    )
    with pytest.raises(ValueError, match="static batch size"):
        make(stateful=True)(keras.Input((5, 3)))


@keras.saving.register_keras_serializable(package="tests")
class UserCell(KerasSpikingCell):
    """A cell as in scripts for KerasSpiking, with a weight and a separate training call."""

    def __init__(self, units, **kwargs):
        super().__init__(units, always_use_inference=False, **kwargs)

    def build(self, input_shape):
        super().build(input_shape)
        self.gain = self.add_weight(name="gain", shape=(self.size,), initializer="ones")

    def call_training(self, inputs, states):
        return inputs * self.gain, states

    def call_inference(self, inputs, states):
        voltage = states[0] + inputs * self.gain * self.dt
        spikes = ops.cast(voltage >= 1, inputs.dtype)
        return spikes / self.dt, [voltage - spikes]


class UserLayer(KerasSpikingLayer):
    def build_cell(self, input_shape):
        return UserCell(input_shape[-1], dt=self.dt)


def test_filter_weights_have_the_order_and_shapes_of_keras_spiking():
    f = Lowpass(0.1, dt=0.01)
    f.build((1, 1, 1))
    f.set_weights([np.array([[0.0]]), np.array([[0.05]])])  # Keras 3 only accepts arrays
    # 1 - exp(-n 0.01 / 0.05)
    np.testing.assert_allclose(to_numpy(f(np.ones((1, 3, 1), "float32")))[0, :, 0], [0.181, 0.330, 0.451], atol=5e-4)
    assert f.layer.cell.tau is f.cell.tau
    for cls, shape in ((Lowpass, (1, 4, 3)), (Alpha, (12,))):
        layer = cls(0.1)
        layer.build((2, 5, 4, 3))
        assert [w.name for w in layer.weights] == ["initial_level", "tau"]
        assert [w.shape for w in layer.weights] == [shape, shape]


def test_a_weight_file_of_keras_2_loads(tmp_path):
    # Keras 2's HDF5 layout: names in attributes, in the order of `layer.weights`.
    rng, path = np.random.default_rng(0), tmp_path / "weights.h5"
    model = keras.Sequential(
        [
            keras.Input((None, 4)),
            keras.layers.Dense(3, name="dense"),
            SpikingActivation("relu", name="spiking_activation"),
            Lowpass(0.1, dt=0.01, name="lowpass"),
            Alpha(0.1, dt=0.01, name="alpha"),
        ]
    )
    names = {
        "dense": {"dense/kernel": (4, 3), "dense/bias": (3,)},
        "spiking_activation": {},
        "lowpass": {"lowpass/lowpass_cell/initial_level": (1, 3), "lowpass/lowpass_cell/tau": (1, 3)},
        "alpha": {"alpha/alpha_cell/initial_level": (3,), "alpha/alpha_cell/tau": (3,)},
    }
    written = {}
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in names]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.15.0"
        for layer, weights in names.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{name}:0".encode() for name in weights]
            for name, shape in weights.items():
                written[name] = group[f"{name}:0"] = rng.uniform(0.05, 0.2, shape).astype("float32")
    model.load_weights(path)
    for name in ("lowpass", "alpha"):
        for weight in ("initial_level", "tau"):
            value = getattr(model.get_layer(name).layer.cell, weight)
            np.testing.assert_array_equal(to_numpy(value), written[f"{name}/{name}_cell/{weight}"])


class StatefulStart(KerasSpikingCell):
    """A cell whose initial states depend on batch size and dtype, as in KerasSpiking."""

    def __init__(self, size, **kwargs):
        super().__init__(size, state_size=size, **kwargs)

    def get_initial_state(self, inputs, batch_size, dtype):
        return ops.full((batch_size, *self.size), 0.5, dtype=dtype)

    def call_inference(self, inputs, states):
        (voltage,) = states
        voltage = voltage + inputs * self.dt
        spikes = ops.floor(voltage)
        return spikes / self.dt, (voltage - spikes,)


@pytest.mark.parametrize("size", [(3,), [3]])
def test_get_initial_state_of_a_user_receives_a_dtype(size):
    x = np.ones((2, 4, 3), "float32")
    for dtype in ("float32", "mixed_bfloat16"):
        y = to_numpy(ops.cast(layers.RNN(StatefulStart(size, dt=0.25, dtype=dtype), dtype=dtype)(x), "float32"))
        np.testing.assert_array_equal(y[0, :, 0], [0.0, 4.0, 0.0, 0.0])


@pytest.mark.tensorflow("tf.TensorShape and TensorFlow's operations")
def test_a_cell_written_with_tensorflow():
    import tensorflow as tf

    class Cell(StatefulStart):
        def get_initial_state(self, inputs=None, batch_size=None, dtype=None):
            return tf.fill((batch_size, *self.size), tf.cast(0.5, dtype))

        def call_inference(self, inputs, states):
            voltage = states[0] + inputs * self.dt
            spikes = tf.floor(voltage)
            return spikes / self.dt, (voltage - spikes,)

    x = np.ones((2, 4, 2, 3), "float32")
    layer = layers.RNN(Cell(tf.TensorShape((2, 3)), dt=0.25))
    assert layer.cell.size == (2, 3)
    np.testing.assert_array_equal(to_numpy(layer(x))[0, :, 0, 0], [0.0, 4.0, 0.0, 0.0])
    for cell in (SpikingActivationCell, LowpassCell, AlphaCell):
        cell = cell(tf.TensorShape((2, 3)), "relu" if cell is SpikingActivationCell else 0.1)
        assert layers.RNN(cell)(x).shape == x.shape and cell.get_config()["size"] == (2, 3)


@pytest.mark.backend_free
def test_statements_of_the_migration_page_about_keras(tmp_path):
    dense, x = keras.layers.Dense(2), np.zeros((2, 5, 8, 8, 3), "float32")
    model = keras.Sequential([keras.Input((10,)), dense])
    assert not hasattr(dense, "output_shape") and dense.output.shape == (None, 2)
    for error, refused in (
        ("extension", lambda: model.save(tmp_path / "folder")),
        ("Cannot convert '10' to a shape", lambda: keras.Input(10)),
        (r"must end in `.weights.h5`", lambda: model.save_weights(tmp_path / "name")),
        ("Kernel shape must have the same length", lambda: keras.layers.Conv2D(4, 3)(x)),
        ("`name` must be passed as a keyword", lambda: keras.layers.Layer().add_weight("name", (3,))),
    ):
        with pytest.raises(ValueError, match=error):
            refused()
    with pytest.raises(AttributeError, match="no attribute 'shape'"):
        dense.set_weights([[[0.0, 0.0]] * 10, [0.0, 0.0]])
    inputs = keras.Input((None, 3))
    distributed = keras.Model(inputs, keras.layers.TimeDistributed(keras.layers.Dense(2))(inputs))
    shapes = [distributed.predict(np.zeros((2, n_steps, 3)), verbose=0).shape for n_steps in (1, 5)]
    # If this fails, Keras has fixed the error: update the page. The other backends return (2, 5, 2).
    assert shapes == [(2, 1, 2), (2, 2, 2)]


class LSTMLayer(KerasSpikingLayer):
    def build_cell(self, input_shape):
        return keras.layers.LSTMCell(input_shape[-1], seed=0)


def test_build_cell_may_return_a_keras_cell():
    layer, x = LSTMLayer(), normal(2, 5, 3)
    assert layer.emits_spikes
    y = to_numpy(layer(x))
    assert not layer.emits_spikes
    theirs = keras.layers.RNN(keras.layers.LSTMCell(3), return_sequences=True)
    theirs.build(x.shape)
    theirs.set_weights(layer.get_weights())
    np.testing.assert_allclose(y, to_numpy(theirs(x)), rtol=1e-5, atol=1e-6)  # XLA's activations round differently


def test_names_of_the_regularizers():
    from keras_snn.regularizers import L1, L1L2, L2, Percentile, RangedRegularizer

    assert (RangedRegularizer((1, 2)).minimum, RangedRegularizer((1, 2)).maximum) == (1, 2)
    assert L2(target=3.0).minimum == L2(target=3.0).maximum == 3
    assert all(isinstance(r, L1L2) for r in (L1(), L2(), Percentile(l1=0.1)))
    x = np.array([3.0], "float32")
    assert float(L1(0.5, l2=0.25)(x)) == float(L2(0.25, l1=0.5)(x)) == 3.75
    config = {"target": (1, 2), "regularizer": {"class_name": "L1L2", "config": {"l1": 1.0, "l2": 0.0}}}
    assert float(RangedRegularizer.from_config(config)(x)) == 1.0
    for cls in (L1, L2, L1L2):
        restored = cls.from_config({"l1": 0.5, "l2": 0.25, "target": 1.0})  # KerasSpiking's config
        assert float(restored(x)) == 2.0
        assert cls.from_config(restored.get_config()).get_config() == restored.get_config()


def test_a_users_cell_and_layer():
    layer, x = UserLayer(dt=0.5), np.ones((2, 4, 3), "float32")
    np.testing.assert_array_equal(to_numpy(layer(x, training=True)), x)
    inference = to_numpy(layer(x, training=False))
    np.testing.assert_array_equal(inference[0, :, 0], [0.0, 2.0, 0.0, 2.0])
    assert [w.name for w in layer.trainable_weights] == ["gain"]
    (state,) = layer.cell.get_initial_state(batch_size=2)
    np.testing.assert_array_equal(to_numpy(state), np.zeros((2, 3)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: SpikingActivationCell(3, "relu", seed=0, dt=0.25),
        lambda: LowpassCell(3, 0.5, dt=0.25),
        lambda: AlphaCell(3, 0.5, dt=0.25),
        lambda: UserCell(3, dt=0.25),
    ],
    ids=["SpikingActivationCell", "LowpassCell", "AlphaCell", "UserCell"],
)
def test_cells_in_the_rnn_of_keras(make):
    x = np.abs(normal(2, 5, 3))
    expected = to_numpy(layers.RNN(make())(x, training=False))
    y = keras.layers.RNN(make(), return_sequences=True)(x, training=False)
    # Tolerances: a step at a time and all steps at once round differently.
    np.testing.assert_allclose(to_numpy(y), expected, rtol=1e-5, atol=1e-5)


def test_a_users_cell_trains():
    layer, x = UserLayer(dt=0.5), normal(4, 3, 3)
    model = keras.Sequential([keras.Input((3, 3)), layer])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(x, 2 * x, verbose=0)
    # The gradient of mean((g x - 2 x)^2) is 2 (g - 2) mean(x^2), divided by the number of units, 3.
    expected = 1 + 0.1 * 2 * (x**2).mean(axis=(0, 1)) / 3
    np.testing.assert_allclose(to_numpy(layer.cell.gain), expected, rtol=1e-5)
