"""Conversion of unusual models: the outputs of the converted model are compared with those of the ANN.

Spiking activations with a large dt are exact to 1e-4, as in test_convert.py. Integrate-and-fire neurons are exact to
some spikes in 256.
"""

import keras
import numpy as np
import pytest
from keras import ops
from keras.layers import (
    Activation,
    Add,
    AveragePooling1D,
    BatchNormalization,
    Concatenate,
    Conv1D,
    Conv2D,
    Cropping1D,
    Dense,
    Flatten,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    Normalization,
    ReLU,
    Rescaling,
    Reshape,
    UpSampling1D,
    ZeroPadding1D,
)

import keras_snn
from keras_snn.conversion import convert

RNG = np.random.default_rng(0)
X = RNG.random((12, 8)).astype("float32")
BOTH = ("layer", "channel")

pytestmark = pytest.mark.backend_free


def outputs_of(model, x):
    return [ops.convert_to_numpy(y) for y in keras.tree.flatten(model(x, training=False))]


def check(model, x=X, *, per=("channel",)):
    spiking = convert(model, n_steps=2, neuron="spiking_activation", dt=1e6)
    for a, b in zip(outputs_of(model, x), outputs_of(spiking, x), strict=True):
        assert np.abs(a - b).max() < 1e-4 * np.abs(a).max()
    for scale in per:
        spiking = convert(model, n_steps=256, calibration=x, percentile=100, per=scale)
        for a, b in zip(outputs_of(model, x), outputs_of(spiking, x), strict=True):
            assert np.abs(a - b).max() < 0.03 * np.abs(a).max(), scale
    return spiking


def test_an_adapted_normalization(tmp_path):
    normalization = Normalization()
    normalization.adapt(x := 100 + 30 * X)
    spiking = check(keras.Sequential([keras.Input((8,)), normalization, Dense(6, activation="relu"), Dense(3)]), x)
    spiking.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(outputs_of(spiking, x)[0], outputs_of(loaded, x)[0])


def test_a_renormalized_batch_normalization():
    model = keras.Sequential([keras.Input((8,)), Dense(6), BatchNormalization(renorm=True), ReLU(), Dense(3)])
    norm = model.layers[1]
    norm.moving_mean.assign(RNG.random(6))
    norm.moving_variance.assign(RNG.uniform(0.5, 2, 6))
    check(model)


def test_low_rank_updates_are_part_of_the_weights():
    model = keras.Sequential([keras.Input((8,)), Dense(6, activation="relu"), Dense(5, activation="relu"), Dense(3)])
    for layer in model.layers:
        layer.enable_lora(2)
        layer.lora_kernel_b.assign(RNG.normal(size=layer.lora_kernel_b.shape))
    check(model)


@pytest.mark.parametrize("pooling", [AveragePooling1D(2, data_format="channels_first"), Flatten("channels_first")])
def test_thresholds_per_channel_before_layers_with_channels_first(pooling):
    x = RNG.random((12, 8, 3)).astype("float32")
    hidden = Conv1D(4, 3, activation="relu", bias_initializer=keras.initializers.Constant([0, 1, 3, 10]))
    check(keras.Sequential([keras.Input((8, 3)), hidden, pooling, Reshape((-1,)), Dense(3)]), x, per=BOTH)


def test_batch_normalization_with_channels_first():
    x = RNG.random((12, 8, 3)).astype("float32")
    parts = [Reshape((3, 8)), BatchNormalization(axis=1), ReLU(), Flatten(), Dense(3)]
    check(keras.Sequential([keras.Input((8, 3)), Conv1D(3, 3, padding="same"), *parts]), x, per=BOTH)


@pytest.mark.parametrize("length", [4, 256, 1])  # 256 is the number of steps
def test_an_addition_of_different_ranks(length):
    inputs = keras.Input((8,))
    gate = Dense(5, activation="relu")(inputs)
    rows = Dense(5, activation="relu")(Reshape((length, 2))(Dense(2 * length)(inputs)))
    summed = Dense(3, activation="relu")(Add()([rows, gate]))
    check(keras.Model(inputs, Dense(3)(Flatten()(summed))), per=BOTH if length == 4 else ("channel",))


def test_a_functional_model_with_its_own_call_is_refused():
    class Overridden(keras.Model):
        def __init__(self):
            inputs = keras.Input((8,))
            super().__init__(inputs, Dense(3)(Dense(4, activation="relu")(inputs)))

        def call(self, x):
            return 2 * super().call(x)

    with pytest.raises(
        TypeError, match="`model` must be a Sequential or functional Keras model that is built; got Overridden"
    ):
        convert(Overridden(), n_steps=2, calibration=X)
    inputs = keras.Input((8,))
    with pytest.raises(ValueError, match=r"\(Overridden\): it is a subclassed model; write it as a functional one"):
        convert(keras.Model(inputs, Dense(2)(Overridden()(inputs))), n_steps=2, calibration=X)


def block(name, n_in=8, n_out=8):
    return keras.Sequential([keras.Input((n_in,)), Dense(n_out, activation="relu", name="same")], name=name)


@pytest.mark.every_backend
def test_nested_models():
    inputs = keras.Input((8,))
    twice, inner = block("twice"), block("inner")
    outer_inputs = keras.Input((8,))
    outer = keras.Model(outer_inputs, [Dense(8)(inner(Rescaling(0.5)(outer_inputs))), outer_inputs], name="outer")
    x = twice(twice(Rescaling(2.0)(inputs)))
    x = Add()(outer(x))
    check(keras.Model(inputs, Dense(3, activation="softmax")(block("last")(x))), per=BOTH)


def test_a_sequential_model_of_nested_models():
    check(
        keras.Sequential(
            [keras.Input((8,)), Rescaling(2.0), block("one"), block("two"), block("three", 8, 3), Dense(2)]
        )
    )


def test_names_of_the_converter_do_not_collide_with_names_of_the_user():
    inputs, second = keras.Input((8,)), keras.Input((8,))
    shared, relu = Dense(6, name="dense"), ReLU(name="relu")
    a, b = relu(shared(inputs)), relu(shared(second))
    c = Dense(6, activation="relu", name="dense_2")(Add(name="repeat")([a, b]))
    c = Rescaling(2.0, name="in_activations")(c)
    softmax = Activation("softmax", name="mean_over_time")
    model = keras.Model([inputs, second], [softmax(Dense(3, name="dense_call_2")(c)), softmax(c), a])
    check(model, [X, X[::-1].copy()], per=())
    convert(model, n_steps=4, calibration=[X, X])


def test_the_same_output_under_two_names():
    inputs = keras.Input((8,))
    y = Dense(2)(Dense(4, activation="relu")(inputs))
    check(keras.Model(inputs, {"a": y, "b": y}))


def test_losses_and_metrics_by_the_names_of_outputs():
    inputs = keras.Input((8,))
    hidden = Dense(6, activation="relu")(inputs)
    outputs = [
        Dense(3, activation="softmax", name="kind")(hidden),
        Dense(1, name="size")(hidden),
        Dense(1, name="plain")(inputs),
    ]
    model = keras.Model(inputs, outputs)
    losses = {"kind": "sparse_categorical_crossentropy", "size": "mse", "plain": "mse"}
    model.compile("sgd", losses, metrics={"kind": ["accuracy"]})
    spiking = convert(model, n_steps=64, calibration=X)
    assert spiking.output_names == model.output_names
    y = {"kind": np.zeros(12), "size": np.ones((12, 1)), "plain": np.ones((12, 1))}
    losses = [m.evaluate(X, y, verbose=0, return_dict=True)["loss"] for m in (model, spiking)]
    assert abs(losses[0] - losses[1]) < 0.1 * losses[0]  # rates over 64 steps


def test_an_unregistered_loss_leaves_the_model_uncompiled():
    model = keras.Sequential([keras.Input((8,)), Dense(4, activation="relu"), Dense(2)])

    def custom_loss(y, p):
        return ops.mean((y - p) ** 2)

    model.compile("sgd", custom_loss)
    with pytest.warns(UserWarning, match="is not compiled, because the loss, .* Call its `compile`"):
        spiking = convert(model, n_steps=4, calibration=X)
    assert not spiking.compiled
    assert model.compiled
    assert outputs_of(spiking, X)[0].shape == (12, 2)


def test_dtypes_are_those_of_the_source_layers():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = keras.Sequential(
            [keras.Input((8,)), Dense(6, activation="relu"), Dense(2), Activation("softmax", dtype="float32")]
        )
        spiking = convert(model, n_steps=64, calibration=X)
    finally:
        keras.config.set_dtype_policy("float32")
    assert spiking.outputs[0].dtype == model.outputs[0].dtype == "float32"
    assert spiking.get_layer("dense_spikes").compute_dtype == "float16"
    assert np.abs(outputs_of(model, X)[0] - outputs_of(spiking, X)[0]).max() < 0.02  # 64 steps in float16


def test_max_pooling_counts_many_steps_in_half_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")  # in bfloat16, 256 + 1 is 256
    try:
        parts = [Dense(6, activation="relu"), keras.layers.MaxPooling1D(2, name="largest"), Flatten(), Dense(2)]
        model = keras.Sequential([keras.Input((4, 2)), *parts])
        x = np.ones((3, 4, 2), "float32")
        model.layers[0].set_weights([np.ones((2, 6)), np.zeros(6)])
        spiking = convert(model, n_steps=600, calibration=x)
    finally:
        keras.config.set_dtype_policy("float32")
    pooled = keras.Model(spiking.inputs[0], spiking.get_layer("largest_over_time").output)(x)
    pooled = ops.convert_to_numpy(ops.cast(pooled, "float32"))
    assert set(np.unique(pooled)) <= {0.0, 1.0}
    assert pooled.sum(axis=1).min() > 500


def test_the_converted_model_has_no_regularizers_and_constraints():
    options = {
        "kernel_regularizer": "l2",
        "kernel_constraint": keras.constraints.MaxNorm(0.1),
        "bias_regularizer": "l1",
    }
    hidden = Dense(6, activation="relu", activity_regularizer="l2", **options)
    model = keras.Sequential([keras.Input((8,)), hidden, Dense(3, **options)])
    spiking = convert(model, n_steps=4, calibration=100 * X)
    for layer in spiking._flatten_layers():
        assert getattr(layer, "kernel_regularizer", None) is getattr(layer, "kernel_constraint", None) is None
    spiking(X)
    assert not spiking.losses
    assert model.losses


@pytest.mark.parametrize("per", ["layer", "channel"])
def test_scales_pass_through_paddings_and_concatenations(per):
    """Scales pass through paddings and concatenations to the next weights: inputs of synapses are 0 or 1."""
    inputs = keras.Input((8, 2))
    a = ZeroPadding1D(1)(UpSampling1D(2)(Conv1D(3, 3, padding="same", activation="relu")(inputs)))
    b = Cropping1D((0, 6))(ZeroPadding1D(4)(Conv1D(4, 1, activation="relu")(UpSampling1D(2)(inputs))))
    model = keras.Model(
        inputs, Dense(2)(GlobalAveragePooling1D()(Conv1D(5, 3, activation="relu", name="joint")(Concatenate()([a, b]))))
    )
    x = RNG.random((6, 8, 2)).astype("float32")
    spiking = convert(model, n_steps=16, calibration=x, per=per)
    assert not any(isinstance(layer, Rescaling) for layer in spiking.layers)
    joint = keras.Model(spiking.inputs[0], spiking.get_layer("joint_over_time").input)
    assert set(np.unique(ops.convert_to_numpy(joint(x)))) == {0.0, 1.0}


def test_augmentation_layers_are_removed():
    x = RNG.random((4, 8, 8, 1)).astype("float32")
    parts = [keras.layers.RandomFlip(), keras.layers.RandomRotation(0.1), Conv2D(3, 3, activation="relu")]
    check(keras.Sequential([keras.Input((8, 8, 1)), *parts, GlobalAveragePooling2D(), Dense(2)]), x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda x: Dense(2)(Dense(4, activation=lambda v: v * v)(x)),
            "replace relu, not '.*<lambda>'.* activation='relu'",
        ),
        (lambda x: ops.relu(Dense(2)(x)), r"\(Relu\): write it as keras.layers.ReLU\(\)"),
        (lambda x: Dense(2, activation="relu")(x) / 2.0, r"\(TrueDivide\): this operation cannot be converted"),
        (
            lambda x: DataDependent()(Dense(2, activation="relu")(x)),
            r"\(DataDependent\): replace it with layers that can be",
        ),
    ],
)
def test_unsupported_parts_are_refused_by_name(make, message):
    inputs = keras.Input((8,))
    with pytest.raises(ValueError, match=message):
        convert(keras.Model(inputs, make(inputs)), n_steps=2, calibration=X)


class DataDependent(keras.layers.Layer):
    """A layer that cannot compute its output shape without values."""

    def call(self, x):
        return x[:, :1] + float(np.ones(1)[0])


def test_quantized_layers_are_refused_by_name():
    model = keras.Sequential([keras.Input((8,)), Dense(4, activation="relu", name="small"), Dense(2)])
    model.get_layer("small").quantize("int8")
    with pytest.raises(ValueError, match=r"'small' \(Dense\): it is quantized \(int8\); convert the model before"):
        convert(model, n_steps=2, calibration=X)


def test_unknown_sizes_are_refused_by_name():
    model = keras.Sequential([keras.Input((None, 3)), Conv1D(4, 3, activation="relu", name="open"), Dense(2)])
    with pytest.raises(ValueError, match=r"'open' \(Conv1D\): its neurons have the shape \(None, 4\)"):
        convert(model, n_steps=2, calibration=X[..., None].repeat(3, axis=2))


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        (X[:0], "ValueError: `calibration` is empty"),
        (np.where(X > 0.99, np.nan, X), "ValueError: .*must give finite activations; those of 'dense' are not"),
        ([X, X], "ValueError: .*an array of samples for each of the 1 inputs .* got 2, of samples with the shapes"),
        (list(X[0]), "TypeError: `calibration` must be an array"),
        (np.float32(3), "TypeError: `calibration` must be an array"),
    ],
)
def test_calibration_data(calibration, message):
    model = keras.Sequential([keras.Input((8,)), Dense(4, activation="relu"), Dense(2)])
    kind, _, message = message.partition(": ")
    with pytest.raises({"ValueError": ValueError, "TypeError": TypeError}[kind], match=message):
        convert(model, n_steps=2, calibration=calibration)


def test_numbers_of_steps_and_batches():
    model = keras.Sequential([keras.Input((8,)), Dense(4, activation="relu"), Dense(2)])
    assert convert(model, n_steps=np.int64(3), calibration=X).get_layer("repeat").n == 3
    for n_steps in (0, 2.0, None):
        with pytest.raises(ValueError, match="`n_steps` must be an integer of at least 1; got"):
            convert(model, n_steps=n_steps, calibration=X)
    with pytest.raises(ValueError, match="`batch_size` must be an integer of at least 1 or None; got 0"):
        convert(model, n_steps=2, calibration=X, batch_size=0)


def test_relu_of_keras_ops_is_relu():
    model = keras.Sequential([keras.Input((8,)), Dense(4, activation=ops.relu), Dense(2)])
    assert isinstance(convert(model, n_steps=2, calibration=X).get_layer("dense_spikes"), keras_snn.layers.IF)


def masking():
    return keras.Input((6, 3)), keras.layers.Masking(0.0)


def embedding():
    return keras.Input((6,), dtype="int32"), keras.layers.Embedding(9, 3, mask_zero=True)


@pytest.mark.parametrize("make", [masking, embedding])
def test_a_model_with_a_mask_is_refused_by_name(make):
    """A model with a mask is refused by name: its mask is over an axis of the sample, not over time steps."""
    inputs, layer = make()
    model = keras.Model(inputs, Dense(2)(GlobalAveragePooling1D()(Dense(4, "relu")(layer(inputs)))))
    with pytest.raises(ValueError, match=rf"'{layer.name}' \({type(layer).__name__}\): masks are not converted"):
        convert(model, n_steps=4, neuron="spiking_activation")
