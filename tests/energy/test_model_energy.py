"""ModelEnergy, against hand-computed values."""

import keras
import numpy as np
import pytest
from reference.batches import KINDS, in_batches

import keras_snn
from keras_snn import ModelEnergy, layers
from keras_snn.energy import DEVICES
from keras_snn.energy.statistics import Node


def network():
    return keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(name="flat"),
            keras.layers.Dense(128, name="hidden"),
            layers.Repeat(10, name="repeat"),
            layers.SpikingActivation("relu", name="spikes"),
            layers.TemporalAveragePooling(name="mean"),
            keras.layers.Dense(10, activation="relu", name="out"),
        ]
    )


def images(n=300):
    return np.random.default_rng(0).random((n, 28, 28), dtype="float32")


@pytest.mark.backend_free
def test_counts_by_hand():
    rows = ModelEnergy(network()).rows
    assert {
        name: (row["connections"], row["neurons"], row["params"], row["spiking"]) for name, row in rows.items()
    } == {
        "flat": (0, 0, 0, True),
        "hidden": (784 * 128, 0, 785 * 128, True),
        "repeat": (0, 0, 0, True),
        "spikes": (0, 128, 0, True),  # per step, for any number of steps
        "mean": (0, 0, 0, True),
        "out": (1280, 10, 1290, False),  # a relu does not spike
    }
    assert rows["hidden"]["output_shape"] == (None, 128)


def test_energy_by_hand():
    model, x = network(), images()
    energy = ModelEnergy(model, x)
    # A non-spiking device does each operation once, for any number of steps.
    assert energy.layer_energy("hidden", "cpu", 10, dt=0.5) == pytest.approx((8.6e-9 * 784 * 128, 0))
    assert energy.layer_energy(model.get_layer("out"), "gpu") == pytest.approx((0.3e-9 * 1280, 0.3e-9 * 10))
    assert energy.total_energy("arm") == pytest.approx(0.9e-9 * (784 * 128 + 128 + 1280 + 10))
    # rel: a float32 mean
    rate = energy.rows["hidden"]["rate"]
    assert rate == pytest.approx(x.mean(), rel=1e-5)
    synop, neuron = energy.layer_energy("hidden", "loihi", timesteps_per_inference=10, dt=0.01)
    assert synop == pytest.approx(27.1e-12 * 784 * 128 * rate * 0.01 * 10)
    assert neuron == 0
    assert energy.layer_energy("spikes", "spinnaker", 10, dt=0.01) == pytest.approx((0, 26e-9 * 128 * 10))
    by_default = energy.layer_energy("hidden", "spinnaker2")
    assert by_default == energy.layer_energy("hidden", "SpiNNaker2", 1, dt=keras_snn.default.dt)


def test_rates_are_means_over_all_data():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")])
    x = np.random.default_rng(1).normal(size=(300, 4)).astype("float32")
    rows = ModelEnergy(model, x).rows
    first = keras.ops.convert_to_numpy(model.layers[0](x))
    # rel: float32 sums in another order
    assert rows["a"]["rate"] == pytest.approx(np.abs(x).mean(), rel=1e-5)
    assert rows["b"]["rate"] == pytest.approx(np.abs(first).mean(), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_data_in_batches(kind):
    """All kinds of data give the same spikes, which only depend on the position of a sample in the data."""
    parts = [layers.Repeat(10), layers.SpikingActivation("relu", name="s"), layers.TemporalAveragePooling()]
    model = keras.Sequential([keras.Input((4,)), *parts, keras.layers.Dense(2, name="d")])
    x, y = np.random.default_rng(1).random((30, 4), dtype="float32") * 500, np.arange(30)
    of_arrays = ModelEnergy(model, x, inputs="analog")
    of_batches = ModelEnergy(model, in_batches(kind, x, y, size=8), inputs="analog")
    assert of_batches.rows["d"]["work"] == of_arrays.rows["d"]["work"]
    for name, row in of_arrays.rows.items():
        # rel: a float32 sum of each batch
        assert of_batches.rows[name]["rate"] == pytest.approx(row["rate"], rel=1e-6)
    assert of_arrays.rows["d"]["rate"] > 0


@pytest.mark.backend_free
def test_a_leading_unknown_axis_is_time():
    model = keras.Sequential([keras.Input((None, 6)), keras.layers.Dense(4, activation="relu", name="d")])
    rows = ModelEnergy(model).rows
    assert (rows["d"]["connections"], rows["d"]["neurons"]) == (24, 4)


@pytest.mark.backend_free
def test_shared_and_nested_layers_count_at_every_call():
    shared = keras.layers.Dense(4, name="shared")
    inner = keras.Sequential([keras.Input((4,)), shared, keras.layers.Activation("tanh", name="tanh")])
    inputs = keras.Input((4,))
    folded = layers.TimeFold(keras.layers.Dense(3, name="folded"))
    model = keras.Model(inputs, folded(layers.Repeat(5)(shared(inner(inputs)))))
    energy = ModelEnergy(model)
    assert [name for name in energy.rows if name.startswith("shared")] == ["shared", "shared (call 2)"]
    assert [energy.rows[n]["params"] for n in ("shared", "shared (call 2)")] == [20, 0]
    assert energy.layer_energy(shared, "cpu") == pytest.approx((2 * 16 * 8.6e-9, 0))
    assert energy.rows["folded"]["connections"] == 12
    assert energy.rows["tanh"]["neurons"] == 4


def test_the_model_is_not_changed():
    model = keras.Sequential(
        [
            keras.Input(batch_shape=(2, 5, 3)),
            layers.SpikingActivation("relu", stateful=True, seed=0),
            keras.layers.Dropout(0.5),
        ]
    )
    x = np.ones((2, 5, 3), "float32")
    model(x)
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in model.variables]
    ModelEnergy(model, x)
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)
    assert all("call" not in vars(layer) for layer in model._flatten_layers())


def test_summary(capsys):
    energy = ModelEnergy(network(), images(10))
    columns = ("name", "output_shape", "connections", "rate", "energy cpu", "synop_energy loihi", "neuron_energy loihi")
    energy.summary(columns, timesteps_per_inference=10, dt=0.01, line_length=140)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "name",
        "output_shape",
        "connections",
        "rate",
        "energy",
        "cpu",
        "synop_energy",
        "loihi",
        "neuron_energy",
        "loihi",
    ]
    assert lines[3].split()[:4] == ["hidden", "(None,", "128)", "100,352"]
    assert lines[-4].startswith("Total energy per inference [cpu]: 8.752e-04 J")
    assert lines[-3].startswith("Total energy per inference [loihi]: ")
    assert lines[-2].startswith("Estimates: ")
    assert lines[-1].startswith("Warning: the energy on the spiking device 'loihi'") and lines[-1].endswith("out.")
    assert "Warning" not in energy.summary_string(columns, print_warnings=False)
    assert energy.summary_string().splitlines()[0].split() == [
        *("name", "output_shape", "params", "connections", "neurons", "energy", "cpu")
    ]


@pytest.mark.backend_free
def test_unknown_layers_are_named():
    model = keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(2, name="cells")])
    with pytest.warns(UserWarning, match=r"not known: cells \(LSTM\). Register"):
        energy = ModelEnergy(model)
    assert "not known: cells (LSTM)." in energy.summary_string()
    with pytest.warns(UserWarning, match="not known: cells"):
        assert ModelEnergy.compute_layer_stats(model.get_layer("cells"))["connections"] == 0

    @ModelEnergy.register_layer(keras.layers.LSTM)
    def lstm(node):
        n_inputs, n_units = node.input_shapes[-1], node.output_shapes[-1]
        return {"connections": 4 * n_units * (n_inputs + n_units), "neurons": n_units}

    try:
        energy = ModelEnergy(model)
        assert "Warning" not in energy.summary_string()
        assert energy.rows["cells"]["connections"] == 4 * 2 * 5
        stats = ModelEnergy.compute_layer_stats(model.get_layer("cells"))
        assert stats == {"connections": 40, "neurons": 2, "spiking": True}
        with pytest.warns(UserWarning, match="LSTM is already registered"):
            ModelEnergy.register_layer(keras.layers.LSTM)(lambda node: {"conections": 1})
        with pytest.raises(ValueError, match=r"LSTM must return a dict with keys out of .*; got 'conections'"):
            ModelEnergy(model)
    finally:
        del ModelEnergy.layer_stats_computers[keras.layers.LSTM]


@pytest.mark.backend_free
def test_a_new_device():
    ModelEnergy.register_device("MyChip", 1e-12, 2e-12, spiking=False)
    try:
        energy = ModelEnergy(network())
        assert energy.total_energy("mychip") == energy.total_energy("MyChip")
        assert energy.layer_energy("out", "MYCHIP") == pytest.approx((1280e-12, 20e-12))
        assert ModelEnergy.devices["mychip"]["energy_per_synop"] == 1e-12
        costs = {"energy_per_neuron": 0, "spiking": True, "energy_per_mac": 5e-12}
        with pytest.warns(UserWarning, match="'MYCHIP' is already registered"):
            ModelEnergy.register_device(device_name="MYCHIP", energy_per_synop=1e-12, **costs)
        assert ModelEnergy.devices["mychip"] == {"energy_per_synop": 1e-12, **costs}
    finally:
        del DEVICES["mychip"]


def test_a_subclassed_model_needs_data():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__(name="own")
            self.dense = keras.layers.Dense(3)

        def call(self, x):
            return self.dense(x)

    model = Subclassed()
    with pytest.raises(ValueError, match="'own' is not built"):
        ModelEnergy(model)
    x = np.ones((2, 4), "float32")
    model(x)
    with pytest.raises(ValueError, match="'own' does not show"):
        ModelEnergy(model)
    assert ModelEnergy(model, x).total_energy("cpu") == pytest.approx(12 * 8.6e-9)


@pytest.mark.backend_free
def test_bad_arguments_are_refused():
    energy = ModelEnergy(network())
    with pytest.raises(ValueError, match="one of .*'cpu'.*; got 'abacus'"):
        energy.total_energy("abacus")
    with pytest.raises(ValueError, match="'loihi' depends on the rates"):
        energy.total_energy("loihi")
    with pytest.raises(ValueError, match="'rate' needs"):
        energy.summary_string(("name", "rate"))
    with pytest.raises(ValueError, match="got 'colour'"):
        energy.summary_string(("name", "colour"))
    with pytest.raises(ValueError, match="its name; got 'nobody'"):
        energy.layer_energy("nobody", "cpu")
    with pytest.raises(TypeError, match="Keras model; got int"):
        ModelEnergy(3)
    with pytest.raises(TypeError, match="`example_data` must be an array"):
        ModelEnergy(network(), [[1.0, 2.0]])
    with pytest.raises(ValueError, match="`example_data` is empty"):
        ModelEnergy(network(), images(0))
    with pytest.raises(ValueError, match="`timesteps_per_inference` must be an integer of at least 1"):
        energy.total_energy("cpu", -1)
    with pytest.raises(ValueError, match="dt.* got -1"):
        energy.total_energy("cpu", dt=-1)
    with pytest.raises(ValueError, match="`columns` must hold at least one name"):
        energy.summary(columns=())
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, name="d")])
    with pytest.raises(ValueError, match="Several layers of .* have the name 'd'"):
        ModelEnergy(keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, name="d"), inner])).layer_energy(
            "d", "cpu"
        )
    try:
        DEVICES["Chip"] = {"energy_per_synop": 1e-12, "spiking": False}
        with pytest.raises(ValueError, match="'chip' lacks 'energy_per_neuron'"):
            energy.total_energy("chip")
        DEVICES["Chip"]["energy_per_neuron"] = 0
        assert energy.layer_energy("out", "chip") == (pytest.approx(1280e-12), 0)
    finally:
        del DEVICES["Chip"]


# Time


def all_firing(layer):
    """Return a model in which each of 32 neurons spikes at each of 16 steps, and its input."""
    parts = layers.IF(threshold=0.5), layer, layers.TemporalAveragePooling()
    return keras.Sequential([keras.Input((16, 32)), *parts]), np.ones((3, 16, 32), "float32")


@pytest.mark.parametrize("wrap", [lambda layer: layer, layers.TimeFold, keras.layers.TimeDistributed])
def test_connections_and_rates_are_per_step(wrap):
    model, x = all_firing(wrap(keras.layers.Dense(10, name="dense")))
    for inputs in ("rates", "analog"):
        energy = ModelEnergy(model, x, inputs=inputs)
        assert energy.n_steps == 16
        assert energy.rows["dense"]["connections"] == 320
        assert energy.rows["dense"]["rate"] == pytest.approx(1 / 0.001)  # dt in float32
        for steps, expected in ((1, 320), (16, 5120), (None, 5120), (32, 10240)):
            assert energy.layer_energy("dense", "loihi", steps)[0] == pytest.approx(27.1e-12 * expected, rel=1e-6)
    assert energy.rows["dense"]["work"].operations == 5120


@pytest.mark.backend_free
def test_time_distributed_marks_time():
    inputs = keras.Input((28, 28))
    energy = ModelEnergy(keras.Model(inputs, keras.layers.TimeDistributed(keras.layers.ReLU())(inputs)))
    assert (len(energy.rows), energy.n_steps) == (1, 28)
    assert energy.total_energy("cpu") == pytest.approx(28 * 8.6e-9)
    inputs = keras.Input((None, 4))
    outputs = keras.layers.TimeDistributed(keras.layers.Dense(3))(inputs)
    x = np.ones((2, 10, 4), "float32")
    x[:, 0] = 0
    energy = ModelEnergy(keras.Model(inputs, outputs), x)
    # 12 connections, a rate of 0.9 Hz, 10 steps of 1 s
    assert energy.total_energy("loihi", 10, 1) == pytest.approx(27.1e-12 * 12 * 0.9 * 10)
    assert energy.total_energy("loihi", None, 1) == energy.total_energy("loihi", 10, 1)


@pytest.mark.backend_free
def test_a_time_axis_of_unknown_length():
    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, keras.layers.Dense(3, name="d")(keras.layers.ReLU(name="r")(inputs)))
    energy = ModelEnergy(model, inputs="analog")
    assert (energy.n_steps, energy.rows["d"]["output_shape"]) == (None, (None, None, 3))
    assert energy.total_energy("loihi", 5) == pytest.approx(5 * (27.1e-12 * 12 + 81e-12 * 4))
    with pytest.raises(ValueError, match="unknown. Give `timesteps_per_inference`"):
        energy.total_energy("loihi", None)
    assert ModelEnergy(model, np.ones((1, 6, 4), "float32")).n_steps == 6
    with pytest.raises(ValueError, match=r"\(None, None, None, 5\): only the batch axis and axis 1"):
        ModelEnergy(keras.Sequential([keras.Input((None, None, 5)), keras.layers.Dense(20)]))


@pytest.mark.backend_free
def test_an_image_whose_height_is_the_number_of_steps_has_no_time():
    parts = keras.layers.Conv2D(2, 3, name="c"), layers.Repeat(8), layers.IF()
    energy = ModelEnergy(keras.Sequential([keras.Input((8, 8, 1)), *parts]))
    assert energy.rows["c"]["connections"] == 6 * 6 * 9 * 2
    assert energy._calls["c"].call.runs == 1


# Spikes and analog inputs


@pytest.mark.backend_free
def test_analog_inputs_cost_multiply_accumulates_at_any_dt():
    parts = keras.layers.Dense(50, name="dense"), layers.Repeat(4), layers.IF()
    model = keras.Sequential([keras.Input((100,)), *parts])
    energy = ModelEnergy(model, np.full((2, 100), 0.5, "float32"), inputs="analog")
    for dt in (1e-3, 1e-2, None):
        assert energy.layer_energy("dense", "loihi", None, dt) == pytest.approx((27.1e-12 * 5000, 0))
        assert energy.layer_energy("dense", "45nm", 4, dt) == pytest.approx((4.6e-12 * 20000, 0))


@pytest.mark.backend_free
def test_rates_use_the_dt_of_the_spiking_layer():
    inputs = keras.Input((10, 3))
    first = layers.IF(threshold=0.5, dt=0.01)(inputs)
    second = layers.IF(threshold=0.5, dt=0.1)(inputs)
    dense = [keras.layers.Dense(2, name=name) for name in "ab"]
    x = np.ones((2, 10, 3), "float32")
    model = keras.Model(inputs, [dense[0](first), dense[1](second)])
    for kind in ("rates", "analog"):
        energy = ModelEnergy(model, x, inputs=kind)
        assert [energy.rows[name]["rate"] for name in "ab"] == pytest.approx([100, 10])  # dt in float32
        for name in "ab":
            # At the layer's dt, each of 3 units sends a spike at each of 10 steps to 2 units.
            assert energy.layer_energy(name, "loihi", 10)[0] == pytest.approx(27.1e-12 * 60)
        # "rates": rate * dt grows with dt. "analog": the spikes of an IF do not depend on dt.
        expected = {"rates": 120, "analog": 60}[kind]
        assert energy.layer_energy("a", "loihi", 10, dt=0.02)[0] == pytest.approx(27.1e-12 * expected)
    summed = keras.Model(inputs, dense[0](keras.layers.add([first, second])))
    energy = ModelEnergy(summed, x, inputs="analog")
    assert energy._calls["a"].mixed
    assert energy.layer_energy("a", "45nm", None)[0] == pytest.approx(4.6e-12 * 60)


def reached_by_spikes(*between, end=None):
    """Return the operations of the last layer of a model. All 4 neurons before it spike at all 6 steps."""
    ends = [] if end is None else [end]
    parts = layers.IF(threshold=0.5), *between, *ends, keras.layers.Dense(2, name="last")
    model = keras.Sequential([keras.Input((6, 4)), *parts])
    return ModelEnergy(model, np.ones((1, 6, 4), "float32"), inputs="analog").rows["last"]["work"].operations


@pytest.mark.backend_free
def test_layers_that_receive_spikes():
    assert reached_by_spikes() == 6 * 4 * 2
    assert reached_by_spikes(keras.layers.Activation("relu"), keras.layers.Dropout(0.5)) == 48
    assert reached_by_spikes(end=layers.TemporalAveragePooling()) == 48  # the mean contains all spikes
    assert reached_by_spikes(end=keras.layers.GlobalAveragePooling1D()) == 48
    assert reached_by_spikes(end=layers.LastStep()) == 8  # spikes of one step
    for analog in (
        keras.layers.Dense(4, kernel_initializer="zeros"),
        keras.layers.Activation("sigmoid"),
        keras.layers.BatchNormalization(),
        layers.Lowpass(0.1),
        layers.LeakyIntegrator(),
    ):
        assert reached_by_spikes(analog) is None
    assert reached_by_spikes(end=layers.FirstSpikeTime()) is None
    encoded = [keras.Input((4,)), layers.Latency(5), keras.layers.Dense(2, name="last"), layers.IF(dt=0.5)]
    energy = ModelEnergy(keras.Sequential(encoded), np.ones((1, 4), "float32"), inputs="analog")
    assert energy.rows["last"]["work"].operations == 4 * 2  # one spike per value
    assert energy.rows["last"]["rate"] == pytest.approx(1 / (5 * 0.5))
    # The spikes of an encoder count too if the neurons have spikes of another height, or if there are no neurons.
    for neurons in ([layers.SpikingActivation("relu")], []):
        energy = ModelEnergy(keras.Sequential([*encoded[:3], *neurons]), np.ones((1, 4), "float32"), inputs="analog")
        assert energy.rows["last"]["work"].operations == 4 * 2


def operations_after(*parts, time=5, units=6):
    """Return operations and connections of a Dense(2) after neurons that spike at every step."""
    inputs = keras.Input((units,))
    x = layers.IF(threshold=0.5, name="spikes")(layers.Repeat(time)(inputs))
    for part in parts:
        x = part(x)
    model = keras.Model(inputs, keras.layers.Dense(2, name="last")(x))
    energy = ModelEnergy(model, np.ones((1, units), "float32"), inputs="analog")
    assert energy.rows["spikes"]["work"].runs == time
    return energy.rows["last"]["work"].operations, energy.rows["last"]["connections"]


@pytest.mark.backend_free
def test_a_spike_is_counted_once_on_every_path():
    ends = [layers.TemporalAveragePooling(), layers.LastStep()]
    for expected, parts in (
        ((60, 60), [keras.layers.Flatten()]),
        ((60, 12), [lambda z: keras.ops.sum(z, axis=1)]),
        ((12, 12), [lambda z: z[:, 0]]),
        ((72, 24), [lambda z: keras.layers.concatenate([end(z) for end in ends])]),
        ((60, 12), [keras.layers.Rescaling(1 / 255)]),
        ((60, 12), [keras.layers.Rescaling(0.5), layers.TemporalAveragePooling()]),
        ((60, 12), [layers.TimeFold(keras.layers.ReLU(max_value=0.5))]),
        ((60, 12), [layers.TemporalAveragePooling(), keras.layers.Reshape((1, 6))]),
    ):
        assert operations_after(*parts) == expected
    # After the end of the time axis, an axis of the same length is not time.
    assert operations_after(layers.TemporalAveragePooling(), keras.layers.Reshape((6, 1)), time=6) == (72, 12)


@pytest.mark.backend_free
def test_spikes_mixed_with_other_signals_count_as_analog():
    inputs = keras.Input((6,))
    analog, spikes = keras.layers.Dense(6)(inputs), layers.IF(threshold=0.5)(layers.Repeat(5)(inputs))
    analog_in_time = keras.layers.Dense(6)(layers.Repeat(5)(inputs))
    for mixture in (
        keras.layers.add([spikes, analog_in_time]),
        keras.layers.concatenate([spikes, analog_in_time]),
        keras.layers.multiply([spikes, analog_in_time]),
        1 - spikes,
        keras.layers.concatenate([layers.TemporalAveragePooling()(spikes), analog]),
        keras.layers.concatenate([layers.TemporalAveragePooling()(spikes), inputs]),
    ):
        model = keras.Model(inputs, keras.layers.Dense(2, name="last")(mixture))
        energy = ModelEnergy(model, np.ones((1, 6), "float32"), inputs="analog")
        assert energy._calls["last"].mixed and energy.rows["last"]["work"].operations is None


@pytest.mark.backend_free
def test_each_call_has_its_number_of_steps():
    first, second = layers.IF(threshold=0.5, name="first"), layers.IF(threshold=0.5, name="second")
    between = layers.TemporalAveragePooling(), keras.layers.Dense(3, name="dense"), layers.Repeat(6)
    for parts, runs in (
        ((layers.Repeat(4), first, *between, second), (4, 1, 6)),
        ((layers.Repeat(6), first, *between[:2], layers.Repeat(4), second), (6, 1, 4)),
        ((layers.Repeat(4), first, keras.layers.UpSampling1D(2), between[1], second), (4, 8, 8)),
        ((layers.Repeat(4), first, keras.layers.AveragePooling1D(2), between[1], second), (4, 2, 2)),
    ):
        rows = ModelEnergy(keras.Sequential([keras.Input((5,)), *parts])).rows
        assert tuple(rows[name]["work"].runs for name in ("first", "dense", "second")) == runs
    pixels = keras.layers.TimeDistributed(keras.layers.Dense(2, name="pixels")), keras.layers.Flatten()
    row = ModelEnergy(keras.Sequential([keras.Input((7, 6)), *pixels, layers.Repeat(7), layers.IF()])).rows["pixels"]
    assert (row["connections"], row["work"].runs) == (7 * 12, 1)


@pytest.mark.backend_free
def test_nested_wrappers_and_bidirectional_layers():
    dense = keras.layers.Dense(2, name="dense")
    works = []
    for wrapped in (
        dense,
        layers.TimeFold(layers.TimeFold(dense)),
        layers.TimeFold(keras.layers.TimeDistributed(dense)),
    ):
        parts = layers.IF(threshold=0.5), wrapped, layers.TemporalAveragePooling()
        model = keras.Sequential([keras.Input((5, 3, 6)), *parts])
        works.append(ModelEnergy(model, np.ones((2, 5, 3, 6), "float32"), inputs="analog").rows["dense"]["work"])
    assert works[0] == works[1] == works[2]
    assert (works[0].operations, works[0].connections, works[0].runs) == (5 * 36, 36, 5)
    bidirectional = keras.layers.Bidirectional(layers.IF(threshold=0.5, return_sequences=False, name="if"))
    energy = ModelEnergy(keras.Sequential([keras.Input((5, 6)), keras.layers.Dense(4, name="dense"), bidirectional]))
    assert energy.n_steps == 5
    assert (energy.rows["dense"]["connections"], energy.rows["dense"]["work"].runs) == (24, 5)
    assert sum(row["neurons"] for row in energy.rows.values()) == 8


@pytest.mark.backend_free
def test_each_layer_has_its_own_mask():
    def branch(name):
        inputs = keras.Input((None, 3))
        x = layers.TemporalAveragePooling()(layers.IF(threshold=0.5)(keras.layers.Masking()(inputs)))
        return inputs, keras.layers.Dense(1, name=name)(x)

    (a, out_a), (b, out_b) = branch("a"), branch("b")
    x = np.ones((2, 5, 3), "float32")
    short = x * (np.arange(5) < 2)[:, None]
    rows = ModelEnergy(keras.Model([a, b], [out_a, out_b]), [short, x], inputs="analog").rows
    assert (rows["a"]["work"].operations, rows["b"]["work"].operations) == (6, 15)


def test_numbers_of_spikes_above_int32():
    model = keras.Sequential(
        [keras.Input((10, 400, 1)), layers.SpikingActivation("relu", dt=1.0), keras.layers.Dense(1)]
    )
    energy = ModelEnergy(model, np.full((2, 10, 400, 1), 1e6, "float32"), inputs="analog")
    assert list(energy.rows.values())[-1]["work"].operations == 4e9


@pytest.mark.backend_free
def test_a_users_call_attribute_is_kept():
    model = network()
    layer = model.get_layer("out")
    layer.call = custom_call = lambda x, training=None: x[:, :10]
    ModelEnergy(model, images(2))
    assert vars(layer)["call"] is custom_call


@pytest.mark.backend_free
def test_zero_weights_have_no_operations():
    model, x = all_firing(keras.layers.Dense(10, use_bias=False, name="dense"))
    kernel = np.zeros((32, 10), "float32")
    kernel[:, 0] = 1
    model.get_layer("dense").kernel.assign(kernel)
    for inputs in ("rates", "analog"):
        energy = ModelEnergy(model, x, inputs=inputs)
        assert energy.layer_energy("dense", "loihi", 16)[0] == pytest.approx(27.1e-12 * 512, rel=1e-6)
    assert "32 of 320" in energy.summary_string()


# Nested, wrapped, quantized and rematerialized layers


@pytest.mark.backend_free
def test_statistics_of_single_layers():
    for shape in ((None, 10), (5, 10)):
        layer = keras.layers.TimeDistributed(keras.layers.Dense(5, "relu"))
        layer(keras.Input(shape))
        expected = {"connections": 50, "neurons": 5, "spiking": False}
        assert ModelEnergy.compute_layer_stats(layer) == expected
        assert ModelEnergy.compute_layer_stats(layer.layer, Node(layer.layer, (None, 10), (None, 5))) == expected
    dense = keras.layers.Dense(20)
    with pytest.raises(ValueError, match="was never called"):
        ModelEnergy.compute_layer_stats(dense)
    dense(keras.Input((None, None, 5)))
    with pytest.raises(ValueError, match="sizes of the layer .* unknown"):
        ModelEnergy.compute_layer_stats(dense)
    with pytest.raises(ValueError, match="must be a Keras layer; got int"):
        ModelEnergy.compute_layer_stats(3)


@pytest.mark.backend_free
def test_a_registered_function_gets_one_shape_for_one_tensor():
    @ModelEnergy.register_layer(keras.layers.UpSampling2D)
    def up(node):
        return {"connections": np.prod(node.output_shapes[1:])}

    try:
        layer = keras.layers.UpSampling2D()
        model = keras.Sequential([keras.Input((4, 4, 3)), layer])
        assert ModelEnergy.compute_layer_stats(layer)["connections"] == 192
        assert ModelEnergy(model).layer_stats[layer]["connections"] == 192
    finally:
        del ModelEnergy.layer_stats_computers[keras.layers.UpSampling2D]


@pytest.mark.backend_free
def test_every_layer_of_a_model_has_statistics():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="deep")], name="inner")
    inputs = keras.Input((4,))
    dense = keras.layers.Dense(4, "relu")
    model = keras.Model(inputs, inner(dense(dense(inputs))))
    energy = ModelEnergy(model, np.ones((2, 4), "float32"))
    assert energy.layer_stats[dense] == {"connections": 32, "neurons": 8, "spiking": False}
    assert energy.layer_energy(model.layers[0], "cpu") == (0, 0)
    assert energy.layer_energy(inner, "cpu") == energy.layer_energy("deep", "cpu") == pytest.approx((12 * 8.6e-9, 0))
    assert sum(sum(energy.layer_energy(layer, "loihi", 3)) for layer in model.layers) == pytest.approx(
        energy.total_energy("loihi", 3)
    )
    assert energy.layer_rates[dense] > 0


def test_quantized_and_rematerialized_layers_are_counted():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")])
    model.quantize("int8", filters=lambda layer: isinstance(layer, keras.layers.Dense))
    with keras.RematScope(mode="full"):
        remat = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")])
    for each_model in (model, remat):
        energy = ModelEnergy(each_model, np.ones((2, 4), "float32"))
        assert {name: row["dense_connections"] for name, row in energy.rows.items()} == {"a": 12, "b": 6}
        assert energy.rows["b"]["rate"] > 0
