"""Traces of states against NumPy loops, their spikes, and their figure."""

import functools
import json

import keras
import numpy as np
import pytest
from keras import ops
from matplotlib.figure import Figure
from reference import loops, neurons

from keras_snn import inspect, layers
from keras_snn.inspector import DtReport, Report, Trace, plots
from keras_snn.inspector.traces import most_active

N, T = 6, 8
DTS = [2.0**-4, 0.5]

inspect_states = functools.partial(inspect, states=True, verbose=0)


def integers(*shape, seed=0):
    return np.random.default_rng(seed).integers(-3, 4, size=shape).astype("float32")


def with_exact_weights(model):
    """Set weights for which all products and sums are exact, in any order."""
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(rng.integers(-8, 8, size=variable.shape) / 4)
    return model


def assert_equal(actual, expected):
    np.testing.assert_array_equal(actual, expected, strict=False)


def assert_spikes_of_examples(result):
    """Compare the spikes of the traces with the counts of the examples."""
    names = [name for name, trace in result.traces.items() if trace.spikes is not None]
    assert names == list(result.layers)
    for name in names:
        trace = result.traces[name]
        assert_equal(trace.spikes, result.examples.counts[name][:, :, trace.units])


def assert_lif(trace, **options):
    """Compare membrane and spikes of a LIF with a loop over the inputs of the trace."""
    loop = neurons.leaky(trace.inputs, leak=0.5, **options)
    assert_equal(trace.membrane, loop.v)
    assert_equal(trace.spikes, loop.s)


# Layers with exact weights


@pytest.fixture(scope="module")
def exact():
    """Return the model, its input and its report at two dt."""
    parts = [
        keras.layers.Dense(6),
        layers.Repeat(T),
        layers.SpikingActivation("relu", dt=0.25, name="first"),
        keras.layers.Rescaling(0.25),
        keras.layers.Dense(5),
        layers.LIF(reset="subtract", threshold=0.75, name="second"),
        layers.LeakyIntegrator(name="readout"),
        layers.LastStep(),
        keras.layers.Dense(3),
    ]
    model, x = with_exact_weights(keras.Sequential([keras.Input((4,)), *parts])), integers(N, 4)
    return model, x, inspect_states(model, x, dt=DTS, seed=3)


def twin(model, x, dt, seed=3):
    """Return inputs, membranes after each step, and spikes of the first two layers, with all units."""
    w, b, v, c = (ops.convert_to_numpy(value) for value in model.trainable_variables[:4])
    x = np.repeat((x @ w + b)[:, None], T, axis=1)
    start = loops.uniform_by_index(range(len(x)), (6,), 1009 * seed + 1)
    rates = np.maximum(x, 0)
    counts = loops.integrate_and_fire(rates, start, dt)[0]
    voltages = [loops.integrate_and_fire(rates[:, : t + 1], start, dt)[1] for t in range(T)]
    between = counts / dt / 4 @ v + c
    second = neurons.leaky(between, leak=0.5, reset_mode="subtract", threshold=0.75)
    return {"first": (x, np.stack(voltages, axis=1), counts), "second": (between, second.v, second.s)}


@pytest.mark.parametrize("dt", DTS)
def test_traces_equal_a_numpy_loop(exact, dt):
    model, x, report = exact
    traces = report[dt].traces
    assert list(traces) == ["first", "second", "readout"]
    for name, (inputs, membrane, spikes) in twin(model, x[:4], dt).items():
        trace, units = traces[name], traces[name].units
        assert_equal(units, most_active(spikes))
        assert trace.dt == dt
        assert_equal(trace.inputs, inputs[..., units])
        assert_equal(trace.membrane, membrane[..., units])
        assert_equal(trace.spikes, spikes[..., units])
        assert spikes[..., units].any()
        assert_equal(trace.threshold, np.full(trace.spikes.shape, {"first": 1, "second": 0.75}[name]))


def test_a_layer_without_spikes_has_a_trace_of_its_first_units(exact):
    trace = exact[2][DTS[0]].traces["readout"]
    assert_equal(trace.units, [0, 1, 2])
    assert (trace.spikes, trace.threshold) == (None, None)
    v = np.zeros((4, 3), "float32")
    for t in range(T):
        v = v + np.float32(0.5) * (trace.inputs[:, t] - v)
        assert_equal(trace.membrane[:, t], v)


def test_json_round_trip(exact):
    report = exact[2]
    loaded = Report.from_dict(json.loads(json.dumps(report.to_dict())))
    for dt in DTS:
        assert list(loaded[dt].traces) == list(report[dt].traces)
        for name, trace in report[dt].traces.items():
            restored = loaded[dt].traces[name]
            assert (restored.dt, list(restored.states)) == (trace.dt, list(trace.states))
            assert_equal(restored.units, trace.units)
            assert_equal(restored.spikes, trace.spikes)
            for values, expected in ((restored.inputs, trace.inputs), (restored.membrane, trace.membrane)):
                assert values.dtype == expected.dtype
                np.testing.assert_allclose(values, expected, rtol=1e-5)  # six digits
    old = report.to_dict()
    for result in old["results"]:
        del result["traces"]
    assert all(result.traces == {} for result in Report.from_dict(old))


def test_without_states_there_are_no_traces(exact):
    model, x, _ = exact
    (result,) = inspect_states(model, x, dt=0.5, states=False)
    assert result.traces == {}


# Any layer


@keras.saving.register_keras_serializable(package="test_traces")
class TwoThresholds(layers.SpikingNeuron):
    """A user's neuron with a threshold that depends on the input."""

    state_names = ("rest", "v")

    @staticmethod
    def step(p, state, x):
        rest, v = state
        v, spikes = p.fire(v + x, ops.where(x > 1, 2 * p.threshold, p.threshold))
        return (rest + 1, v), spikes


@pytest.mark.parametrize(
    "left_out",
    [
        {"noisy_lif", "oscillation_lif", "alternative_oscillation_lif", "plif", "synaptic"},
        pytest.param(set(), marks=pytest.mark.nightly("states and threshold come from the base class")),
    ],
    ids=["each mechanism", "all"],
)
def test_every_neuron(left_out):
    """All neurons, filters, cells of Keras, and learned thresholds out of bounds have traces."""
    inputs, tau = keras.Input((T, 4)), keras.initializers.Constant(0.002)
    all_layers = [
        layers.ALIF(beta=0.5, threshold=0.5),
        layers.ConductanceLIF(tau=2.0),
        layers.IF(refractory=2, learn="threshold", per="unit"),
        layers.Izhikevich(threshold=-66.0),
        layers.KLIF(k=2.0),
        layers.KLIF(k=2.0, variant="klif*", name="klif_star"),
        layers.LIF(return_sequences=False),
        layers.NoisyLIF(),
        layers.NoisyLIF(alpha=4.0, name="noisy_with_memory"),
        layers.OscillationLIF(),
        layers.AlternativeOscillationLIF(),
        layers.PLIF(),
        layers.RecurrentLIF(recurrent_initializer=keras.initializers.Constant(0.25)),
        layers.ResonateAndFire(4.0),
        layers.Synaptic(),
        layers.SpikingActivation("relu", dt=0.25),
        TwoThresholds(),
        layers.LeakyIntegrator(),
        layers.Lowpass(tau),
        layers.Alpha(tau),
        layers.RNN(keras.layers.LSTMCell(4), name="lstm"),
    ]
    by_class = {type(layer): layer for layer in all_layers}
    known = {cls for cls in vars(layers).values() if isinstance(cls, type) and issubclass(cls, layers.SpikingNeuron)}
    assert known - {layers.SpikingNeuron} <= set(by_class)
    assert left_out <= {layer.name for layer in all_layers}
    all_layers = [layer for layer in all_layers if layer.name not in left_out]
    model = keras.Model(inputs, [layer(inputs) for layer in all_layers])
    by_class[layers.IF].threshold.assign([0.5, 1, 2, -1])  # -1 is clamped to 0

    (result,) = inspect_states(model, integers(N, T, 4, seed=1))
    traces = result.traces
    assert set(traces) == {layer.name for layer in all_layers} - {"alpha"}  # its state has another shape
    assert_spikes_of_examples(result)
    for trace in traces.values():
        assert trace.inputs.shape == next(iter(trace.states.values())).shape == (4, T, 3)
        if trace.spikes is not None:
            assert trace.spikes.any()
            assert (trace.threshold is None) == (trace.membrane is None)
            if trace.membrane is not None:
                below = trace.membrane <= trace.threshold
                assert below[trace.spikes == 0].all()

    adaptation = traces["alif"].states["a"][:, :-1]
    # rtol: a product and a sum in float32
    np.testing.assert_allclose(traces["alif"].threshold[:, 1:], 0.5 + 0.5 * adaptation, rtol=1e-6)
    assert_equal(traces["alif"].threshold[:, 0], np.full((4, 3), 0.5))
    assert_equal(traces["klif"].threshold, np.ones((4, T, 3)))
    assert_equal(traces["klif_star"].threshold, np.full((4, T, 3), 0.5))  # of the unscaled membrane
    of_unit = np.array([0.5, 1, 2, 0])[traces["if"].units]
    assert_equal(traces["if"].threshold, np.broadcast_to(of_unit, (4, T, 3)))
    assert list(traces["if"].states) == ["v", "refractory"]
    assert list(traces["izhikevich"].states) == ["v", "u"]
    assert list(traces["lstm"].states) == ["0", "1"]
    assert traces["lstm"].membrane is None
    assert traces["resonate_and_fire"].membrane is None  # its states are the parts of a complex number
    trace_of_user = traces["two_thresholds"]
    assert_equal(trace_of_user.threshold, np.where(trace_of_user.inputs > 1, 2, 1))
    assert_lif(traces["lif"])


def test_shared_and_nested_layers():
    """Shared and nested layers have a trace for each call. The number of examples is no multiple of the batch size."""
    middle = keras.Input((T, 5), batch_size=3)
    nested = keras.Model(middle, layers.LIF(name="inside", v_reset=0.25)(keras.layers.Dense(4)(middle)))
    shared = layers.LIF(name="shared")
    inputs = keras.Input((4,), batch_size=3)
    x = shared(layers.Repeat(T)(keras.layers.Dense(5)(inputs)))
    x = nested(shared(keras.layers.Dense(5)(x)))
    model = with_exact_weights(keras.Model(inputs, layers.TemporalAveragePooling()(x)))

    (result,) = inspect_states(model, integers(N, 4, seed=2), batch_size=3)
    assert list(result.traces) == ["shared", "shared (call 2)", "inside"]
    assert_spikes_of_examples(result)
    for name, trace in result.traces.items():
        assert len(trace.spikes) == 4
        assert trace.spikes.any()
        assert_lif(trace, v_reset=0.25 if name == "inside" else 0)
    assert np.any(result.traces["shared"].inputs != result.traces["shared (call 2)"].inputs)


def test_masked_steps_hold_the_state():
    """Masked steps hold the state, with n_steps below the length of the data and a model that does not depend on dt."""
    model = keras.Sequential([keras.Input((T, 4)), keras.layers.Masking(), layers.LIF(name="lif")])
    x = np.abs(integers(N, T, 4))
    x[:2, 2:4] = 0
    with pytest.warns(UserWarning, match="depends on dt"):
        report = inspect_states(model, x, dt=[0.5, 1.0], n_steps=6, examples=2)
    assert [result.traces["lif"].dt for result in report] == [0.5, 1.0]
    trace = report[1.0].traces["lif"]
    assert trace.membrane.shape == (2, 6, 3)
    assert_spikes_of_examples(report[1.0])
    assert_equal(trace.membrane[:, 2:4], trace.membrane[:, [1, 1]])
    assert not trace.spikes[:, 2:4].any()
    assert trace.spikes[:, [0, 1, 4, 5]].any()


class Subclassed(keras.Model):
    """A model without a graph."""

    def __init__(self):
        super().__init__()
        self.parts = [keras.layers.Dense(3), layers.Repeat(T), layers.SpikingActivation("relu", dt=0.25, name="s")]

    def call(self, x):
        return functools.reduce(lambda x, part: part(x), self.parts, x)


def test_traces_of_a_subclassed_model_require_causal():
    model, x = Subclassed(), integers(N, 4)
    model(x)
    with pytest.raises(ValueError, match="cannot run over parts .* subclassed"):
        inspect_states(model, x)
    assert_spikes_of_examples(inspect_states(with_exact_weights(model), x, causal=True)[None])


@pytest.mark.parametrize(
    ("layer", "options", "match"),
    [
        (keras.layers.Bidirectional(layers.LIF()), {}, r"cannot run over parts of its time axis: the layer .* mixes"),
        (layers.LIF(), {"examples": 0}, "`examples` must be an integer of at least 1; got 0"),
    ],
)
def test_states_that_cannot_be_recorded_are_an_error(layer, options, match):
    model = keras.Sequential([keras.Input((T, 4)), layer])
    with pytest.raises(ValueError, match=match):
        inspect_states(model, integers(N, T, 4), **options)


# The units


def test_the_most_active_units_that_are_sometimes_silent():
    counts = np.zeros((2, 3, 7))
    counts[..., 0] = 5  # at every step
    counts[0, 0] = [5, 1, 0, 0, 1, -3, 0]
    counts[1, 1, [1, 4]] = 1
    assert_equal(most_active(counts), [1, 4, 5])  # 2, 2 and 3 spikes
    assert_equal(most_active(counts[..., [2, 0, 3, 4]]), [0, 1, 3])  # then the unit with a spike in each step
    assert_equal(most_active(counts[..., :2]), [0, 1])


# The figure


def made_by_hand(**traces):
    rng = np.random.default_rng(0)
    values = {
        "units": np.array([4, 7]),
        "inputs": rng.random((2, 6, 2)),
        "states": {"v": rng.random((2, 6, 2))},
        "spikes": rng.integers(-1, 4, (2, 6, 2)),
        "threshold": np.ones((2, 6, 2)),
        "dt": 0.25,
    }
    return DtReport(0.25, {}, {}, traces={name: Trace(**{**values, **changed}) for name, changed in traces.items()})


def labels(axis):
    return [line.get_label() for line in axis.lines]


@pytest.mark.backend_free
def test_figure():
    lstm = {"states": dict.fromkeys("01", np.zeros((2, 6, 2))), "inputs": None, "spikes": None, "threshold": None}
    result = made_by_hand(first={}, second=lstm)
    figure = result.plot_traces(sample=1)
    assert figure.get_suptitle() == "dt = 0.25 s, example 2"
    assert [panel.get_suptitle() for panel in figure.subfigs] == ["first", "second"]
    inputs, membrane, spikes = figure.subfigs[0].axes
    trace = result.traces["first"]
    assert [line.get_ydata().tolist() for line in inputs.lines] == trace.inputs[1].T.tolist()
    assert [line.get_ydata().tolist() for line in membrane.lines[:2]] == trace.membrane[1].T.tolist()
    assert list(membrane.lines[2].get_ydata()) == [1, 1]
    assert labels(membrane) == ["unit 4", "unit 7", "threshold"]
    assert [text.get_text() for text in inputs.get_legend().get_texts()] == labels(membrane)
    names = ["input", "membrane\nafter reset", "spikes\n(max 3)"]
    assert [axis.get_ylabel() for axis in (inputs, membrane, spikes)] == names
    assert [axis.get_xlabel() for axis in (inputs, membrane, spikes)] == ["", "", "time step"]
    (state,) = figure.subfigs[1].axes
    assert (state.get_ylabel(), state.get_xlabel(), labels(state)) == ("state 0", "time step", ["unit 4", "unit 7"])


@pytest.mark.backend_free
def test_figure_of_one_layer(tmp_path):
    result = made_by_hand(first={}, second={"spikes": None, "threshold": None})
    figure = result.plot_traces(tmp_path / "traces.png", layer="second")
    assert (tmp_path / "traces.png").stat().st_size > 0
    (panel,) = figure.subfigs
    assert [axis.get_ylabel() for axis in panel.axes] == ["input", "membrane"]
    with pytest.raises(ValueError, match="`layer` must be one of 'first', 'second'; got 'third'"):
        result.plot_traces(layer="third")
    with pytest.raises(ValueError, match="`sample` must be an integer from 0 to 1, the index of an example; got 2"):
        result.plot_traces(sample=2)
    with pytest.raises(ValueError, match="states=True"):
        made_by_hand().plot_traces()


@pytest.mark.backend_free
def test_a_varying_threshold_has_a_curve_for_each_unit():
    axis, threshold = Figure().subplots(), np.arange(6.0).reshape(3, 2)
    plots.trace(axis, np.zeros((3, 2)), units=[0, 1], threshold=threshold, names=[8, 9])
    assert labels(axis)[:3] == ["unit 8", "unit 9", "threshold"]
    assert [line.get_ydata().tolist() for line in axis.lines[2:]] == threshold.T.tolist()
    assert [line.get_color() for line in axis.lines[2:]] == [line.get_color() for line in axis.lines[:2]]


@pytest.mark.backend_free
def test_the_length_of_spike_ticks_is_proportional_to_the_spikes():
    axis = Figure().subplots()
    assert plots.spike_ticks(axis, np.array([[1, 0], [0, 0], [4, -2]]), names=[5, 6]) is axis
    ticks = [[segment.tolist() for segment in rows.get_segments()] for rows in axis.collections]
    assert ticks == [[[[1, 0], [1, 0.2]], [[3, 0], [3, 0.8]]], [[[3, 1], [3, 0.6]]]]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["5", "6"]
    assert (axis.get_ylabel(), axis.get_xlabel()) == ("spikes\n(max 4)", "time step")
