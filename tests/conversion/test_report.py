import json

import keras
import numpy as np
import pytest
from keras import ops
from keras.layers import Dense
from reference.batches import KINDS, in_batches

from keras_snn import set_dt
from keras_snn.activations import LIFRate
from keras_snn.conversion import convert, report

RNG = np.random.default_rng(0)
X = RNG.random((30, 4)).astype("float32")


def network(activation="relu"):
    hidden = [Dense(6, activation=activation, name=f"hidden_{i}") for i in range(2)]
    return keras.Sequential([keras.Input((4,)), *hidden, Dense(3)])


@pytest.mark.parametrize("batch_size", [7, 30])
def test_figures_equal_numpy(batch_size):
    model = network()
    spiking = convert(model, n_steps=20, calibration=X, percentile=90)
    result = report(model, spiking, X, batch_size=batch_size)
    assert (result.n_steps, result.n_samples, list(result.layers)) == (20, 30, ["hidden_0", "hidden_1"])
    for name, fit in result.layers.items():
        neurons = spiking.get_layer(f"{name}_spikes")
        activations = ops.convert_to_numpy(keras.Model(model.inputs[0], model.get_layer(name).output)(X))
        spikes = ops.convert_to_numpy(keras.Model(spiking.inputs[0], neurons.output)(X))
        rates = spikes.mean(axis=1) * neurons.threshold
        expected = {
            "scale": neurons.threshold,
            "activation": activations.mean(),
            "rate": rates.mean(),
            "correlation": np.corrcoef(activations.ravel(), rates.ravel())[0, 1],
            "error": np.sqrt(((activations - rates) ** 2).mean() / (activations**2).mean()),
            "clipped": (activations > neurons.threshold).mean(),
            "spikes_per_step": spikes.mean(),
        }
        for figure, value in expected.items():
            # rtol: float32 values, summed in float64 in another order.
            np.testing.assert_allclose(getattr(fit, figure), value, rtol=1e-4, err_msg=figure)
    assert 0 < result.layers["hidden_0"].clipped < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_data_in_batches(kind):
    model = network()
    spiking = convert(model, n_steps=5, calibration=in_batches(kind, X, X))
    of_arrays, of_batches = (report(model, spiking, x).to_dict() for x in (X, in_batches(kind, X, X, size=8)))
    for name, fit in of_arrays.pop("layers").items():
        assert fit.pop("name") == of_batches["layers"][name].pop("name")
        assert of_batches["layers"][name] == pytest.approx(fit, rel=1e-4)  # as in the test above
    del of_batches["layers"]
    assert of_batches == of_arrays


def test_more_steps_reduce_the_error():
    model = network()
    spiking = convert(model, n_steps=64, calibration=X, percentile=100)
    errors = [report(model, spiking, X, n_steps=n).layers["hidden_0"].error for n in (4, 64)]
    assert errors[1] < errors[0] / 4
    assert errors[1] < 0.03  # half a spike in 64, relative to activations of about 40 % of the max


@pytest.mark.parametrize(
    ("activation", "options"),
    [
        ("sigmoid", {"neuron": "spiking_activation", "scale_firing_rates": 1e5}),
        (LIFRate(), {"neuron": "lif", "synapse": 0.02}),
    ],
)
def test_other_neurons(activation, options):
    model = network(activation)
    if activation != "sigmoid":
        model.set_weights([10 * w for w in model.get_weights()])  # currents of several thresholds
    result = report(model, convert(model, n_steps=1000, dt=0.001, **options), X)
    fit = result.layers["hidden_0"]
    assert fit.correlation > 0.95
    np.testing.assert_allclose(fit.rate, fit.activation, rtol=0.2)  # LIF: intervals of a few steps of 1 ms
    assert result.layers["hidden_0"].scale == pytest.approx(1e-5 if activation == "sigmoid" else 1000)


@pytest.mark.parametrize(
    ("activation", "limit", "options"),
    [
        ("relu", 0.5, {"calibration": X, "percentile": 50}),
        ("relu", 0.5, {"calibration": X, "percentile": 50, "per": "channel"}),
        ("relu", np.inf, {"neuron": "spiking_activation", "scale_firing_rates": 10}),
        (LIFRate(), 1000 / 3, {"neuron": "lif", "dt": 0.001}),  # a spike, and two refractory steps of 1 ms
    ],
)
def test_the_clipped_fraction_of_every_kind_of_neuron(activation, limit, options):
    model = network(activation)
    model.set_weights([1000 * np.abs(w) for w in model.get_weights()])  # LIF: 500 Hz
    spiking = convert(model, n_steps=3, **options)
    result = report(model, spiking, X)
    for name, fit in result.layers.items():
        activations = ops.convert_to_numpy(keras.Model(model.inputs[0], model.get_layer(name).output)(X))
        threshold = getattr(spiking.get_layer(f"{name}_spikes"), "threshold", None)
        threshold = ops.convert_to_numpy(threshold) if activation == "relu" and limit < 1 else limit
        assert fit.clipped == (activations > threshold).mean()
        assert fit.clipped == pytest.approx(0.5 if limit < 1 else float(limit < 1000), abs=0.01)
    assert ("100.00%" in result.table()) == (options.get("neuron") == "lif")


def test_table_file_and_picture(tmp_path):
    model = network()
    result = report(model, convert(model, n_steps=5, calibration=X), X)
    table = str(result)
    assert "30 samples, 5 steps" in table
    assert table.splitlines()[1].split()[:2] == ["layer", "scale"]
    assert "<table>" in result._repr_html_()
    result.save(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == result.to_dict()
    figure = result.plot(tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 1000
    assert [axis.get_xlabel() for axis in figure.axes] == [
        "correlation of activation and rate",
        "relative error of the rates",
    ]
    assert [len(axis.patches) for axis in figure.axes] == [2, 2]


def test_a_layer_that_is_never_active_has_no_correlation():
    model = network()
    model.layers[0].set_weights([np.zeros((4, 6)), -np.ones(6)])
    fit = report(model, convert(model, n_steps=5, calibration=X), X).layers["hidden_0"]
    assert (fit.correlation, fit.error, fit.rate, fit.scale) == (None, None, 0, 1)


def shared(activation):
    """Return a model with a layer that is called twice, and a layer in a nested model."""
    twice = Dense(4, activation=activation, name="twice")
    inner = keras.Sequential([keras.Input((4,)), Dense(5, activation=activation, name="inner")])
    inputs = keras.Input((4,))
    return keras.Model(inputs, Dense(3)(inner(twice(twice(inputs)))))


@pytest.mark.parametrize(
    ("activation", "options"),
    [
        ("relu", {"calibration": X, "percentile": 90}),
        ("relu", {"calibration": X, "percentile": 90, "per": "channel"}),
        ("relu", {"neuron": "spiking_activation", "scale_firing_rates": 30}),
        (LIFRate(amplitude=0.1), {"neuron": "lif", "dt": 0.002}),
    ],
)
def test_loaded_and_cloned_models_have_the_same_report(activation, options, tmp_path):
    model = shared(activation)
    model.set_weights([3 * np.abs(w) for w in model.get_weights()])
    spiking = convert(model, n_steps=8, **options)
    names = ["twice", "twice (call 2)", "inner"]
    stands_for = {layer.name: layer.stands_for for layer in spiking.layers if getattr(layer, "stands_for", None)}
    assert {name: call for name, (call, _) in stands_for.items()} == dict(
        zip(["twice_spikes", "twice_call_2_spikes", "inner_spikes"], names, strict=True)
    )
    expected = report(model, spiking, X).to_dict()
    assert list(expected["layers"]) == names
    for name, (call, unit) in stands_for.items():
        assert expected["layers"][call]["scale"] == pytest.approx(np.mean(unit), rel=1e-12)
        if "calibration" in options:
            threshold = ops.convert_to_numpy(spiking.get_layer(name).threshold)
            np.testing.assert_allclose(unit, threshold, rtol=1e-7)  # the threshold is float32
            assert np.shape(unit) == (() if "per" not in options else threshold.shape)
        else:
            assert unit == pytest.approx(1 / 30 if activation == "relu" else 0.1 / 0.002)
    spiking.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    clone = keras.models.clone_model(spiking)
    clone.set_weights(spiking.get_weights())
    inputs = keras.Input((4,))
    for same_model in (loaded, clone, keras.Model(inputs, spiking(inputs))):
        assert report(model, same_model, X).to_dict() == expected
    assert {layer.name: layer.stands_for for layer in loaded.layers if hasattr(layer, "stands_for")} == stands_for


def test_the_scale_does_not_depend_on_a_later_dt():
    """The report uses the scale of the conversion, which is part of the weights. A new dt does not change it."""
    model = network(LIFRate())
    model.set_weights([10 * np.abs(w) for w in model.get_weights()])
    spiking = convert(model, n_steps=20, neuron="lif", dt=0.001)
    expected = report(model, spiking, X).to_dict()
    set_dt(spiking, 0.01)
    assert report(model, spiking, X).to_dict() == expected


@pytest.mark.parametrize("other", ["else", "hidden_0"])
def test_another_model_is_refused(other):
    """Models without a call of this name, and with a call of another shape, are refused."""
    spiking = convert(
        keras.Sequential([keras.Input((4,)), Dense(7, "relu", name=other), Dense(3)]), n_steps=5, calibration=X
    )
    with pytest.raises(ValueError, match=f"represent the calls '{other}', and '.*' has no such calls"):
        report(network(), spiking, X)


def test_a_model_that_was_not_converted_is_refused():
    with pytest.raises(ValueError, match="must be a result of keras_snn.convert; .* file of an earlier version"):
        report(network(), network(), X)
