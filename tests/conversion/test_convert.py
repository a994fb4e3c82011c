"""Converted models: outputs, saving and training, and models that are refused."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.layers import (
    ELU,
    LSTM,
    Activation,
    Add,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    LayerNormalization,
    LeakyReLU,
    MaxPooling2D,
    Multiply,
    ReLU,
    Reshape,
    SeparableConv2D,
    Softmax,
    UpSampling2D,
    ZeroPadding2D,
)
from reference.read_only import only_read

import keras_snn
from keras_snn import activations, layers
from keras_snn.conversion import convert

backend_free = pytest.mark.backend_free

RNG = np.random.default_rng(0)
IMAGES = RNG.random((12, 8, 8, 2)).astype("float32")


def randomize(model):
    """Set the statistics and weights of normalizations as after training."""
    rng = np.random.default_rng(1)
    for layer in model._flatten_layers():
        if isinstance(layer, BatchNormalization):
            signs = [(0.5, 1.5)] * layer.scale + [(-0.2, 0.2)] * layer.center + [(-0.2, 0.2), (0.5, 1.5)]
            layer.set_weights([rng.uniform(*s, w.shape) for s, w in zip(signs, layer.get_weights(), strict=True)])
    return model


def residual():
    inputs = keras.Input((8, 8, 2), name="image")
    x = Conv2D(4, 3, padding="same", use_bias=False)(inputs)
    first = Activation("relu", name="first")(BatchNormalization()(x))
    x = Conv2D(4, 3, padding="same", activation="relu", name="second")(first)
    x = BatchNormalization(scale=False)(SeparableConv2D(4, 3, padding="same")(x))
    x = Dropout(0.3)(ReLU(name="sum")(Add()([first, x])))
    x = BatchNormalization()(DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)(x))
    x = AveragePooling2D(2)(ReLU()(x))
    x = Dense(16, activation="relu")(Flatten()(x))
    return keras.Model(inputs, Dense(5, activation="softmax")(x), name="residual")


def shallow():
    inputs = keras.Input((8, 8, 2))
    x = Activation("relu", name="first")(BatchNormalization()(Conv2D(3, 3, use_bias=False)(inputs)))
    x = Dropout(0.3)(AveragePooling2D(2)(x))
    return keras.Model(inputs, Dense(5, activation="softmax")(Flatten()(x)))


def branched():
    inputs = keras.Input((8, 8, 2))
    a = Conv2D(3, 3, padding="same", activation="relu")(inputs)
    b = Conv2D(5, 1, activation="relu")(inputs)
    x = Concatenate()([MaxPooling2D(2)(a), MaxPooling2D(2)(b)])
    x = ZeroPadding2D(1)(UpSampling2D(2)(x))
    x = Conv2DTranspose(4, 3, strides=2, padding="same")(x)
    x = ReLU()(BatchNormalization()(x))
    x = Concatenate()([GlobalMaxPooling2D()(x), GlobalAveragePooling2D()(x)])
    return keras.Model(inputs, Dense(3)(x))


def nested():
    block = keras.Sequential([Conv2D(3, 3, activation="relu"), BatchNormalization()], name="block")
    shared = Dense(6, activation="relu", name="shared")
    inputs = keras.Input((8, 8, 2))
    x = Reshape((-1,))(block(inputs))
    x = shared(Dense(6, activation="relu", name="same")(x))
    return keras.Model(inputs, {"a": Dense(4, name="a")(shared(x)), "b": Activation("softmax", name="b")(x)})


def sequential():
    return keras.Sequential(
        [keras.Input((8, 8, 2)), Reshape((64, 2)), Conv1D(4, 5, strides=2), ReLU(6.0), Flatten(), Dense(3)]
    )


MODELS = {make.__name__: make for make in (residual, branched, nested, sequential)}


def error_of(model, spiking, x=IMAGES):
    analog, rates = (keras.tree.map_structure(ops.convert_to_numpy, m(x, training=False)) for m in (model, spiking))
    keras.tree.assert_same_structure(analog, rates)
    pairs = zip(keras.tree.flatten(analog), keras.tree.flatten(rates), strict=True)
    return max(np.abs(a - b).max() / np.abs(a).max() for a, b in pairs)


@pytest.mark.parametrize(
    ("name", "per"),
    [
        *((name, "layer") for name in MODELS),
        pytest.param("residual", "channel", marks=backend_free),
        *(
            pytest.param(name, "channel", marks=pytest.mark.nightly("the same for other models"))
            for name in MODELS
            if name != "residual"
        ),
    ],
)
def test_rates_of_integrate_and_fire_neurons_approach_the_activations(name, per):
    model = randomize(MODELS[name]())
    # The count of each unit is exact to one spike in T, plus errors from spikes that are too early or too late.
    errors = {
        n: error_of(model, convert(model, n_steps=n, calibration=IMAGES, percentile=100, per=per))
        for n in ((8, 512) if per == "layer" else (512,))
    }
    assert errors[512] < 0.02
    if per == "layer":
        assert errors[512] < errors[8]


@pytest.mark.parametrize("name", MODELS)
def test_spiking_activations_are_exact_in_the_limit_of_long_steps(name):
    model = randomize(MODELS[name]())
    # rate * dt is at least 1e5, and at most one spike is lost: an error of 1e-5 in each of three layers.
    assert error_of(model, convert(model, n_steps=2, neuron="spiking_activation", dt=1e6)) < 1e-4


def test_any_activation_function_converts_to_spiking_activations():
    x = RNG.normal(size=(20, 6)).astype("float32")
    hidden = [LeakyReLU(0.3), Activation("sigmoid"), ELU(0.5), Activation("softplus"), Activation("tanh")]
    model = keras.Sequential([keras.Input((6,)), *(part for f in hidden for part in (Dense(7), f)), Dense(3)])
    options = {"neuron": "spiking_activation", "dt": 0.001}
    errors = [error_of(model, convert(model, n_steps=4, scale_firing_rates=s, **options), x) for s in (1e3, 1e5, 1e8)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3  # one spike in 1e5


def test_lif_neurons_have_the_rates_of_their_activation():
    """LIF neurons have the rates of LIFRate, to within rounding.

    Intervals between spikes are rounded up to whole steps: 3 % at the highest rate, 31 steps of 0.1 ms.
    """
    x = RNG.uniform(2, 20, size=(20, 6)).astype("float32")
    rate = activations.LIFRate(amplitude=0.01)
    model = keras.Sequential([keras.Input((6,)), Dense(9, activation=rate, kernel_initializer="identity"), Dense(3)])
    assert error_of(model, convert(model, n_steps=20_000, neuron="lif", dt=1e-4), x) < 0.035
    assert error_of(model, convert(model, n_steps=2000, neuron="lif", dt=1e-3), x) > 0.1  # 3 steps


@pytest.mark.parametrize("neuron", ["spiking_activation", "lif"])
def test_a_synapse_reduces_the_error_of_the_next_layer(neuron):
    """A synapse smooths the input of nonlinear neurons, whose rate does not only depend on the mean of their input."""
    rng = np.random.default_rng(3)
    function = {"spiking_activation": "relu", "lif": activations.LIFRate(amplitude=0.1)}[neuron]
    hidden = [Dense(20, activation=function, name=name) for name in ("one", "two")]
    model = keras.Sequential([keras.Input((6,)), *hidden, Dense(3)])
    model.set_weights([rng.normal(0, w.shape[0] ** -0.5, w.shape) for w in model.get_weights()])
    x = rng.normal(0, 4, size=(20, 6)).astype("float32")
    errors = []
    for synapse in (None, 0.05):
        spiking = convert(model, n_steps=2000, neuron=neuron, synapse=synapse, dt=0.001)
        errors.append(keras_snn.conversion.report(model, spiking, x).layers["two"].error)
    assert errors[1] < 0.7 * errors[0]


def test_counts_by_hand():
    """The threshold is the max activation, 2. The next weights are multiplied by it."""
    model = keras.Sequential([keras.Input((2,)), Dense(2, activation="relu", name="hidden"), Dense(1, name="sum")])
    model.layers[0].set_weights([np.eye(2), np.zeros(2)])
    model.layers[1].set_weights([np.array([[1.0], [10.0]]), np.array([0.25])])
    x = np.array([[2.0, 1.0], [0.5, -3.0]], "float32")
    spiking = convert(model, n_steps=4, calibration=x, percentile=100, initial_potential=0)
    neurons = spiking.get_layer("hidden_spikes")
    assert (neurons.threshold, neurons.reset) == (2.0, "subtract")
    # Membranes rise by 2, 1 and 0.5 per step. They exceed 2 at the steps 2, 3, 4; at step 3; and never.
    spikes = ops.convert_to_numpy(keras.Model(spiking.inputs[0], neurons.output)(x))
    np.testing.assert_array_equal(spikes[..., 0], [[0, 1, 1, 1], [0, 0, 0, 0]])
    np.testing.assert_array_equal(spikes[..., 1], [[0, 0, 1, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(spiking.get_layer("sum_over_time").layer.kernel, [[2.0], [20.0]])
    np.testing.assert_allclose(ops.convert_to_numpy(spiking(x))[:, 0], [(3 * 2 + 20) / 4 + 0.25, 0.25])
    half = convert(model, n_steps=4, calibration=x, percentile=100)
    half = ops.convert_to_numpy(keras.Model(half.inputs[0], half.get_layer("hidden_spikes").output)(x))
    np.testing.assert_array_equal(half.sum(axis=1), [[4, 2], [1, 0]])  # 0.5 / 2 is one spike in four steps


@backend_free
def test_the_threshold_for_relu6_is_at_most_six():
    model = keras.Sequential([keras.Input((1,)), Dense(1, activation="relu6", kernel_initializer="ones"), Dense(1)])
    x = np.array([[9.0], [3.0]], "float32")
    assert convert(model, n_steps=2, calibration=x, percentile=100).layers[3].threshold == 6.0


@backend_free
def test_layers_before_the_first_neurons_run_once_without_time():
    model = residual()
    spiking = convert(model, n_steps=5, calibration=IMAGES)
    kinds = [type(layer).__name__ for layer in spiking.layers[:4]]
    assert kinds == ["InputLayer", "Conv2D", "Repeat", "IF"]
    assert not any(isinstance(layer, (BatchNormalization, Dropout)) for layer in spiking._flatten_layers())


def test_a_normalization_that_cannot_be_folded_runs_at_every_step():
    model = randomize(
        keras.Sequential([keras.Input((4,)), Dense(6, activation="relu"), BatchNormalization(), Dense(3)])
    )
    x = RNG.random((10, 4)).astype("float32")
    spiking = convert(model, n_steps=400, calibration=x, percentile=100)
    assert any(isinstance(layer, BatchNormalization) for layer in spiking._flatten_layers())
    assert error_of(model, spiking, x) < 0.02  # as in the test of integrate-and-fire neurons


PER_CHANNEL = pytest.param({"per": "channel"}, marks=pytest.mark.nightly("other thresholds in the same layers"))


@pytest.mark.parametrize("options", [{}, PER_CHANNEL, {"neuron": "spiking_activation", "scale_firing_rates": 9}])
def test_a_converted_model_is_saved_trained_and_inspected(options, tmp_path):
    model = randomize(shallow())
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    before = [w.copy() for w in model.get_weights()]
    spiking = convert(model, n_steps=4, calibration=IMAGES, **options)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [len(layer._inbound_nodes) for layer in model.layers] == [1] * len(model.layers)  # no new calls
    spiking.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    if not options.get("neuron"):  # spiking activations start from random voltages
        np.testing.assert_array_equal(*(ops.convert_to_numpy(m(IMAGES)) for m in (spiking, loaded)))
    labels = RNG.integers(5, size=len(IMAGES))
    if not options:  # compilation takes seconds
        assert np.isfinite(loaded.evaluate(IMAGES, labels, verbose=0)).all()
        weights = [w.copy() for w in loaded.get_weights()]
        loaded.fit(IMAGES, labels, verbose=0)
        assert any(np.any(a != b) for a, b in zip(weights, loaded.get_weights(), strict=True))
    (result,) = keras_snn.inspect(spiking, IMAGES, labels, n_steps=2, examples=0)
    assert next(iter(result.layers)) == "first_spikes"


@backend_free
def test_the_source_model_is_not_changed():
    model = nested()
    model.compile("adam", "mse")
    with only_read(model):
        assert convert(model, n_steps=2, neuron="spiking_activation").compiled


def test_the_inspector_counts_one_event_per_spike():
    """Inputs of synapses are 0 or 1, so that the operations of a spike equal its fan-out."""
    model = keras.Sequential([keras.Input((3,)), Dense(4, activation="relu"), Dense(7)])
    x = RNG.random((6, 3)).astype("float32")
    (result,) = keras_snn.inspect(convert(model, n_steps=10, calibration=x), x, examples=0)
    (layer,) = result.layers.values()
    spikes = layer.per_unit.sum() * layer.dt * 10
    np.testing.assert_allclose(result.synaptic_operations, 7 * spikes, rtol=1e-5)  # float32 sums


@backend_free
def test_all_unsupported_layers_are_listed_before_anything_is_built():
    inputs = keras.Input((5, 3))
    x = LSTM(4, name="memory")(inputs)
    y = LayerNormalization(name="norm")(Dense(4, activation="softmax", name="attention")(x))
    y = Dense(4, activation="tanh", name="signed")(Multiply(name="product")([x, y]))
    model = keras.Model(inputs, Dense(2)(y))
    with pytest.raises(ValueError, match="Nothing was built") as caught:
        convert(model, n_steps=4, calibration=np.zeros((1, 5, 3)))
    lines = str(caught.value).splitlines()[1:]
    for name, reason in (
        ("memory", "LSTM"),
        ("norm", "LayerNormalization"),
        ("product", "remove it or use Add"),
        ("attention", "'softmax' depends on several units"),
        ("signed", "neuron='spiking_activation'"),
    ):
        assert any(f"'{name}'" in line and reason in line for line in lines), name
    assert len(lines) == 5


@backend_free
@pytest.mark.parametrize(
    ("make", "neuron", "message"),
    [
        (lambda: [Dense(2, activation="relu")], "if", "that neurons could replace"),
        (lambda: [Dense(2, activation="relu"), Dense(2)], "lif", "soft_lif"),
        (lambda: [Dense(2), LeakyReLU(), Dense(2)], "if", "'LeakyReLU'"),
        (lambda: [Dense(2), Softmax(), Dense(2)], "spiking_activation", "only be the last of the model"),
        (lambda: [layers.Repeat(2), layers.LIF(), Dense(2)], "if", "is a layer of keras_snn"),
    ],
)
def test_activations_that_a_kind_of_neuron_refuses(make, neuron, message):
    model = keras.Sequential([keras.Input((3,)), *make()])
    with pytest.raises(ValueError, match=message):
        convert(model, n_steps=2, neuron=neuron, calibration=np.zeros((1, 3)))


@backend_free
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "`calibration` is needed"),
        ({"neuron": "izhikevich"}, "`neuron` must be one of"),
        ({"percentile": 0}, "`percentile`"),
        ({"per": "unit"}, "`per`"),
        ({"initial_potential": 1}, "`initial_potential`"),
        ({"scale_firing_rates": 0}, "`scale_firing_rates` must be a finite number above 0"),
        ({"synapse": 0, "neuron": "lif"}, "`synapse` must be a time constant"),
        ({"synapse": 0.1}, "would only delay"),
        ({"scale_firing_rates": 2}, "is for neuron='spiking_activation'"),
    ],
)
def test_arguments(options, message):
    model = keras.Sequential([keras.Input((3,)), Dense(2, activation="relu"), Dense(2)])
    calibration = {"calibration": np.zeros((1, 3))} if options else {}
    with pytest.raises(ValueError, match=message):
        convert(model, n_steps=2, **calibration, **options)


@backend_free
def test_a_subclassed_model_is_refused():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(TypeError, match="functional"):
        convert(Subclassed(), n_steps=2, calibration=np.zeros((1, 3)))
