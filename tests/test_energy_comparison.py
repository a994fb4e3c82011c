"""The comparison of energies, from hand-made rows and from small models."""

import sys

import keras
import numpy as np
import pytest
from keras import layers

import keras_snn
from keras_snn import compare_energy, energy_comparison
from keras_snn.energy import NOT_MODELED, Work
from keras_snn.energy_comparison import EnergyComparison, EnergyRow


def row(name="SNN", bits=32, spiking=True, accuracy=0.75):
    """Return a network with 1,000 connections of analog inputs, and 400 synaptic operations if it is spiking."""
    operations = 400.0 if spiking else None
    work = {"first": Work(None, None, 1000, 1000), "last": Work(40.0, operations, 200, 200, neurons=2, runs=10)}
    return EnergyRow(name, bits, spiking, accuracy, work)


def comparison(*accuracies):
    kinds = [("SNN", 32, True), ("SNN", 8, True), ("ANN", 32, False), ("ANN", 8, False)]
    return EnergyComparison(
        [row(*kind, accuracy) for kind, accuracy in zip(kinds, accuracies, strict=True)], ["A note."]
    )


@pytest.mark.backend_free
def test_table():
    text = comparison(0.75, 0.745, 0.76, 0.7).table()
    operations, energies = text.split("\n\n")
    lines = [line.split() for line in operations.splitlines()[2:]]
    # Memory: 1400 x 4 + 20 x 8 bytes; with 8 bits 1400 x 1 + 20 x 8.
    assert lines == [
        ["SNN", "32", "bits", "75.00%", "+0.00", "1,000", "400", "20", "5.76"],
        ["SNN", "8", "bits", "74.50%", "-0.50", "1,000", "400", "20", "1.56"],
        ["ANN", "32", "bits", "76.00%", "+1.00", "3,000", "0", "20", "12.2"],
        ["ANN", "8", "bits", "70.00%", "-5.00", "3,000", "0", "20", "3.16"],
    ]
    lines = [line.split()[3:] for line in energies.splitlines()[2:6]]
    # 45nm: 1000 x 4.6 + 400 x 0.9 pJ; with 8 bits 1000 x 0.3 + 400 x 0.1 pJ. cpu: 1202 x 8.6 nJ.
    assert lines == [
        ["0.00496", "0.0396", "0.674", "-", "-"],
        ["0.00034", "0.0396", "0.674", "-", "-"],
        ["0.0138", "-", "-", "10.3", "0.361"],
        ["0.0009", "-", "-", "-", "-"],
    ]
    assert energies.splitlines()[6].startswith("Not of equal accuracy: ANN (8 bits). ")  # 1 point is equal
    assert NOT_MODELED in " ".join(text.splitlines())
    assert max(map(len, text.splitlines())) <= 110


@pytest.mark.backend_free
def test_dict_and_dataframe(monkeypatch):
    pytest.importorskip("pandas", reason="pandas is not installed")
    result = comparison(0.75, 0.75, None, 0.5)
    values = result.to_dict()
    assert (values["notes"][1], values["not_modeled"]) == ("A note.", NOT_MODELED)
    first, _, third, _ = values["rows"]
    assert (first["macs"], first["accumulates"], first["memory_traffic"], first["difference"]) == (1000, 400, 5760, 0)
    assert first["energy_45nm"] == pytest.approx(4.96e-9)
    assert (third["difference"], third["energy_loihi"]) == (None, None)
    frame = result.to_dataframe()
    assert frame["bits"].tolist() == [32, 8, 32, 8]
    assert frame["energy_cpu"].isna().tolist() == [True, True, False, True]
    assert "<caption>Energy of one inference</caption>" in result._repr_html_()
    assert NOT_MODELED in result._repr_html_()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        result.to_dataframe()


@pytest.mark.backend_free
def test_plot(tmp_path):
    figure = comparison(0.75, 0.75, 0.75, 0.75).plot(tmp_path / "energy.png")
    left, right = figure.axes
    assert [bar.get_height() for bars in left.containers for bar in bars][:3] == [1000, 400, 20]
    assert [label.get_text() for label in right.get_xticklabels()] == ["45nm", "loihi", "spinnaker2", "cpu", "gpu"]
    assert [len(bars) for bars in right.containers] == [3, 3, 3, 1]
    assert right.get_yscale() == "log"
    assert (tmp_path / "energy.png").read_bytes().startswith(b"\x89PNG")


def networks():
    """Return a spiking and a non-spiking model with the same weights."""
    dense = (
        [np.array([[1.1, 0.55, 1.1], [0.3, -0.001, 1.1]]), np.zeros(3)],
        [np.array([[1.0, 0], [0, 1], [0, 0]]), np.zeros(2)],
    )
    snn = [layers.Dense(3), keras_snn.Repeat(4), keras_snn.IF(), keras_snn.layers.TemporalAveragePooling()]
    models = {"SNN": [*snn, layers.Dense(2)], "ANN": [layers.Dense(3, activation="relu"), layers.Dense(2)]}
    models = {name: keras.Sequential([keras.Input((2,)), *parts]) for name, parts in models.items()}
    for model in models.values():
        model.set_weights([array for part in dense for array in part])
    return models


def test_two_models():
    models = networks()
    before = [model.get_weights() for model in models.values()]
    x, y = np.array([[1.0, 0], [0, 1]], "float32"), np.array([0, 1])
    snn, snn8, ann, ann8 = compare_energy(models, x, y).rows
    assert [row.label for row in (snn, snn8, ann, ann8)] == ["SNN", "SNN (8 bits)", "ANN", "ANN (8 bits)"]
    # Sample (1, 0): units 1 and 3 with input 1.1 spike at each of 4 steps, unit 2 with 0.55 at two. Sample (0, 1):
    # unit 1 with input 0.3 spikes at step 4, and unit 3 at each. Units 1 and 2 have one connection, unit 3 has none.
    assert (snn.macs, snn.accumulates, snn.neuron_updates) == (6, (4 + 2 + 1) / 2, 12)
    assert (ann.macs, ann.accumulates, ann.neuron_updates) == (6 + 2, 0, 3)
    assert (snn8.macs, ann8.macs) == (5, 5 + 2)  # -0.001 is rounded to 0
    assert (snn.accuracy, ann.accuracy, ann8.accuracy) == (0.5, 0.5, 0.5)
    for weights, model in zip(before, models.values(), strict=True):
        for old, new in zip(weights, model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)


def test_arguments_are_passed_to_inspect():
    parts = keras_snn.Repeat(5), keras_snn.SpikingActivation("relu"), keras_snn.layers.TemporalAveragePooling()
    model = keras.Sequential([keras.Input((3,)), *parts, layers.Dense(2, kernel_initializer="ones")])
    x = np.full((4, 3), 10, "float32")
    result = compare_energy({"a": model}, x, dt=0.1, n_steps=3, int8=False)
    assert result.rows[0].accumulates == 3 * 3 * 2  # a rate of 10 Hz at dt = 0.1 s is a spike at each of 3 steps
    assert (len(result.rows), result.rows[0].accuracy) == (1, None)
    (note,) = result.notes
    assert note.startswith("a: Saturated: all units of spiking_activation. Cause:")


def test_kernels_are_rounded_per_output_channel():
    rng = np.random.default_rng(0)
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(3, 3, name="conv")(inputs)
    x = layers.Conv2DTranspose(2, 2, name="transposed")(x)
    x = layers.DepthwiseConv2D(2, depth_multiplier=2, name="depthwise")(x)
    x = layers.SeparableConv2D(3, 2, name="separable")(x)
    x = keras_snn.TimeFold(layers.EinsumDense("abc,bcd->ad", output_shape=4, name="einsum"))(x)
    model = keras.Model(inputs, x)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    rounded = energy_comparison._rounded(model)
    # Kernel and the axes over which the largest weight of an output channel is taken.
    kernels = {
        "conv": {"kernel": (0, 1, 2)},
        "transposed": {"kernel": (0, 1, 3)},
        "depthwise": {"kernel": (0, 1)},
        "separable": {"depthwise_kernel": (0, 1), "pointwise_kernel": (0, 1, 2)},
        "einsum": {"kernel": (0, 1)},
    }
    old, new = ({layer.name: layer for layer in m._flatten_layers()} for m in (model, rounded))
    for layer, axes_by_name in kernels.items():
        for name, axes in axes_by_name.items():
            before, after = (keras.ops.convert_to_numpy(getattr(part[layer], name)) for part in (old, new))
            scale = np.abs(before).max(axis=axes, keepdims=True) / 127
            np.testing.assert_allclose(after, np.round(before / scale) * scale, rtol=1e-6)  # float32
            assert np.abs(after - before).max() > 0
        if getattr(old[layer], "bias", None) is not None:
            np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(part[layer].bias) for part in (old, new)))


@pytest.mark.backend_free
def test_bad_arguments_are_refused():
    model = networks()["ANN"]
    x = np.zeros((2, 2), "float32")
    with pytest.raises(TypeError, match="`models` must be a dict .*; got <Sequential"):
        compare_energy(model, x)
    with pytest.raises(ValueError, match="`models` must be a dict .*; got {}"):
        compare_energy({}, x)
    with pytest.raises(TypeError, match="Keras model; got int"):
        compare_energy({"a": 3}, x)
    with pytest.raises(TypeError, match="compare_energy runs the model on it more than once"):
        compare_energy({"a": model}, iter([(x, np.zeros(2))]))
    with pytest.raises(ValueError, match="labels of one output; got those of \\['a', 'b'\\]"):
        compare_energy({"a": model}, x, {"a": np.zeros(2), "b": np.zeros(2)})
    quantized = networks()["ANN"]
    quantized.layers[0].quantize("int8")
    with pytest.raises(ValueError, match="cannot be copied with 8-bit weights: its layers .* are quantized"):
        compare_energy({"a": quantized}, x)
    encoder = keras.Sequential([keras.Input((2,)), keras_snn.layers.Latency(5), layers.Dense(2)])
    with pytest.raises(ValueError, match="has encoders, but no spiking layer"):
        compare_energy({"a": encoder}, x)
