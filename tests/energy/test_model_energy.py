"""The table of energies against hand counts."""

import keras
import numpy as np
import pytest

import keras_snn
from keras_snn import ModelEnergy, layers
from keras_snn.energy import DEVICES


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
        "flat": (0, 0, 0, False),
        "hidden": (784 * 128, 0, 785 * 128, False),
        "repeat": (0, 0, 0, False),
        "spikes": (0, 128, 0, True),  # of one step, however many Repeat makes
        "mean": (0, 0, 0, False),
        "out": (1280, 10, 1290, False),
    }
    assert rows["hidden"]["output_shape"] == (None, 128)


def test_energy_by_hand():
    model, x = network(), images()
    energy = ModelEnergy(model, x)
    # A device without spikes does each operation once, whatever the steps.
    assert energy.layer_energy("hidden", "cpu", 10, dt=0.5) == pytest.approx((8.6e-9 * 784 * 128, 0))
    assert energy.layer_energy(model.get_layer("out"), "gpu") == pytest.approx((0.3e-9 * 1280, 0.3e-9 * 10))
    assert energy.total_energy("arm") == pytest.approx(0.9e-9 * (784 * 128 + 128 + 1280 + 10))
    # rel: a mean of float32
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


def test_the_model_is_left_as_it_was():
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
    assert lines[-3].startswith("Total energy per inference [cpu]: 8.752e-04 J")
    assert lines[-2].startswith("Total energy per inference [loihi]: ")
    assert lines[-1].startswith("Warning: Energy on the spiking device 'loihi'") and lines[-1].endswith("out.")
    assert "Warning" not in energy.summary_string(columns, print_warnings=False)
    assert energy.summary_string().splitlines()[0].split() == [
        *("name", "output_shape", "params", "connections", "neurons", "energy", "cpu")
    ]


@pytest.mark.backend_free
def test_a_layer_that_is_not_known_is_named():
    model = keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(2, name="cells")])
    assert "not known: cells (LSTM)." in ModelEnergy(model).summary_string()

    @ModelEnergy.register_layer(keras.layers.LSTM)
    def lstm(node):
        n_inputs, n_units = node.input_shapes[0][-1], node.output_shapes[0][-1]
        return {"connections": 4 * n_units * (n_inputs + n_units), "neurons": n_units}

    try:
        energy = ModelEnergy(model)
        assert "Warning" not in energy.summary_string()
        assert energy.rows["cells"]["connections"] == 4 * 2 * 5
        stats = ModelEnergy.compute_layer_stats(model.get_layer("cells"))
        assert stats == {"connections": 40, "neurons": 2, "spiking": False}
    finally:
        del ModelEnergy.layer_stats[keras.layers.LSTM]


@pytest.mark.backend_free
def test_a_new_device():
    ModelEnergy.register_device("MyChip", 1e-12, 2e-12, spiking=False)
    try:
        energy = ModelEnergy(network())
        assert energy.total_energy("mychip") == energy.total_energy("MyChip")
        assert energy.layer_energy("out", "MYCHIP") == pytest.approx((1280e-12, 20e-12))
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
    with pytest.raises(ValueError, match="'own' does not tell"):
        ModelEnergy(model)
    assert ModelEnergy(model, x).total_energy("cpu") == pytest.approx(12 * 8.6e-9)


@pytest.mark.backend_free
def test_bad_arguments_are_errors_that_say_so():
    energy = ModelEnergy(network())
    with pytest.raises(ValueError, match="one of .*'cpu'.*; got 'abacus'"):
        energy.total_energy("abacus")
    with pytest.raises(ValueError, match="'loihi' depends on the rates"):
        energy.total_energy("loihi")
    with pytest.raises(ValueError, match="'rate' needs"):
        energy.summary_string(("name", "rate"))
    with pytest.raises(ValueError, match="got 'colour'"):
        energy.summary_string(("name", "colour"))
    with pytest.raises(ValueError, match="calls; got 'nobody'"):
        energy.layer_energy("nobody", "cpu")
    with pytest.raises(TypeError, match="Keras model; got int"):
        ModelEnergy(3)
