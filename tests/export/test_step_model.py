"""A model of one step gives, step by step, the outputs of the model."""

import keras
import numpy as np
import pytest
from contracts.test_exports import MAIN, images, model_of
from export.test_exporters import BACKEND, TIME, UNITS, data, dense, export_to, formats, spikes, spiking

from keras_snn import export
from keras_snn.layers import LIF, Lowpass, Repeat, SpikingActivation, TemporalAveragePooling
from keras_snn.ops.backend import exported

representative_and_all = pytest.mark.parametrize(
    "names",
    [["SpikingActivation", "RNN", "Synaptic"], pytest.param(list(MAIN), marks=pytest.mark.nightly("all layers"))],
    ids=["few", "all"],
)


def steps(run, step, x, restart=False):
    """Return the outputs of all time steps of ``x (batch, time, ...)``."""
    states, outputs = export.initial_states(step, len(x)), []
    for t in range(x.shape[1]):
        inputs = {"x": x[:, t], **states} | ({"restart": np.full(len(x), t == 0)} if restart else {})
        results = run(inputs)
        states = {name: np.asarray(results[f"new_{name}"]) for name in states}
        outputs.append(np.asarray(results["y"]))
    return np.stack(outputs, axis=1)


@representative_and_all
def test_the_output_after_all_steps_is_that_of_the_model(names):
    model = model_of([name for name in names if MAIN[name].has_time and name != "PlasticConnection"])
    step = export.step_model(model)
    x = images(3, seed=1)
    outputs = steps(step.predict_on_batch, step, x)[:, -1]
    # rtol: a mean is the sum of parts here. A missing spike changes it by a sixth of the range.
    np.testing.assert_allclose(outputs, spikes(model, x), rtol=1e-5, atol=1e-4)


@formats
def test_exported_spikes_over_all_steps(kind, tmp_path):
    model, x = spiking(), data(2)
    step = export.step_model(model)
    fixed = {"batch_size": 2} if (kind, BACKEND) == ("onnx", "jax") else {}
    result = export_to(tmp_path, step, kind, **fixed)
    if kind == "onnx":
        run, names = exported.onnx_runner(result.path), sorted(step.output)

        def named(inputs):
            return dict(zip(names, run([inputs[name] for name in sorted(inputs)]), strict=True))
    else:
        runners = {
            "litert": exported.litert_runner,
            "saved_model": lambda path: exported.saved_model_endpoints(path)["serve"],
        }
        named = runners[kind](result.path)
    expected = spikes(model, x)
    assert 0.1 < expected.mean() < 0.9
    np.testing.assert_array_equal(steps(named, step, x), expected)


def test_initial_states_have_the_values_of_the_layers():
    model = keras.Sequential(
        [keras.Input((None, UNITS)), Lowpass(0.1, level_initializer="ones"), SpikingActivation("relu", seed=0)]
    )
    step = export.step_model(model, batch_size=2)
    assert [tuple(tensor.shape) for tensor in step.inputs] == [(2, UNITS)] * 3
    states = export.initial_states(step, 2)
    np.testing.assert_array_equal(states["state_00"], np.ones((2, UNITS)))
    assert (states["state_01"] > 0).all()
    assert (states["state_01"][0] != states["state_01"][1]).all()


def test_a_model_that_creates_its_time_axis_restarts():
    model = keras.Sequential(
        [keras.Input((UNITS,)), dense(5), Repeat(TIME), LIF(tau=4.0), dense(3), TemporalAveragePooling()]
    )
    step, x = export.step_model(model), data(3)[:, 0]
    still = np.repeat(x[:, None], TIME, axis=1)
    for _ in range(2):  # the second presentation starts anew
        outputs = steps(step.predict_on_batch, step, still, restart=True)
    np.testing.assert_allclose(outputs[:, -1], spikes(model, x), rtol=1e-6)
    other = np.zeros_like(still)
    other[:, 0] = x  # later inputs are ignored: the first one is a state
    np.testing.assert_array_equal(steps(step.predict_on_batch, step, other, restart=True), outputs)


def test_several_inputs_outputs_and_stateful_layers():
    a, b = keras.Input((TIME, UNITS), batch_size=2, name="a"), keras.Input((TIME, 2), batch_size=2, name="b")
    x = LIF(stateful=True)(dense(3)(keras.layers.Concatenate()([a, b])))
    model = keras.Model({"a": a, "b": b}, [x, TemporalAveragePooling()(x)])
    step = export.step_model(model)
    assert sorted(step.output) == ["new_state_00", "new_state_01", "new_state_02", "y_0", "y_1"]
    x = {"a": data(2), "b": data(2, seed=2)[..., :2]}
    expected = [keras.ops.convert_to_numpy(y) for y in model(x)]
    states = export.initial_states(step, 2)
    for t in range(TIME):
        results = step.predict_on_batch({"x_0": x["a"][:, t], "x_1": x["b"][:, t], **states})
        states = {name: results[f"new_{name}"] for name in states}
        np.testing.assert_array_equal(results["y_0"], expected[0][:, t])
    np.testing.assert_allclose(results["y_1"], expected[1], rtol=1e-6)


def test_errors():
    with pytest.raises(TypeError, match="`model` must be a Keras model; got str"):
        export.step_model("model")
    with pytest.raises(ValueError, match="must be a built Sequential or functional model"):
        export.step_model(keras.Sequential([LIF()]))
    with pytest.raises(ValueError, match="mixes time steps"):
        export.step_model(keras.Sequential([keras.Input((TIME, UNITS)), keras.layers.Conv1D(3, 2), LIF()]))
    with pytest.raises(TypeError, match="must be a model from keras_snn.export.step_model"):
        export.initial_states(spiking())
    step = export.step_model(spiking())
    with pytest.raises(NotImplementedError, match="cannot be saved or cloned: save"):
        step.get_config()
