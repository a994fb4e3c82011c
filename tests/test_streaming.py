"""Models over parts of the time axis give the outputs of one run, for every layer, mask and kind of model."""

import os
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

import keras_snn
from keras_snn import layers, probe, streaming

DENSE, POOL = keras.layers.Dense, layers.TemporalAveragePooling
T, UNITS = 12, 6
RNG = np.random.default_rng(0)
X = RNG.normal(0.5, 1.0, size=(4, T, UNITS)).astype("float32")
#: For averages over time: XLA multiplies by the reciprocal of the number of steps, and adds in another order.
CLOSE = {"rtol": 1e-6, "atol": 1e-6}


class LSTMCells(layers.SpikingLayer):
    """A Keras cell in this package's engine."""

    def build_cell(self, input_shape):
        return keras.layers.LSTMCell(UNITS)


TIMED = {
    "LIF": lambda: layers.LIF(threshold=0.4),
    "LIF refractory": lambda: layers.LIF(threshold=0.3, refractory=2),
    "IF": lambda: layers.IF(threshold=0.7, reset="subtract"),
    "KLIF": lambda: layers.KLIF(threshold=0.4),
    "PLIF": lambda: layers.PLIF(threshold=0.4),
    "ALIF": lambda: layers.ALIF(threshold=0.3),
    "Synaptic": lambda: layers.Synaptic(threshold=0.5),
    "Izhikevich": lambda: layers.Izhikevich(),
    "ConductanceLIF": lambda: layers.ConductanceLIF(tau=1.0),
    "RecurrentLIF": lambda: layers.RecurrentLIF(threshold=0.3),
    "ResonateAndFire": lambda: layers.ResonateAndFire(3.0, threshold=0.5),
    "LeakyIntegrator": lambda: layers.LeakyIntegrator(),
    "NoisyLIF": lambda: layers.NoisyLIF(alpha=4.0, seed=1),
    "NoisyLIF without memory": lambda: layers.NoisyLIF(seed=1),
    "SpikingActivation": lambda: layers.SpikingActivation("relu", dt=0.3, seed=1),
    "Lowpass": lambda: layers.Lowpass(0.3, dt=0.1),
    "Alpha": lambda: layers.Alpha(0.3, dt=0.1),
    "RNN": lambda: layers.RNN(layers.LowpassCell(UNITS, 0.2, dt=0.1)),
    "LSTM cells": lambda: LSTMCells(),
    "Delta": lambda: layers.Delta(0.3),
    "Delay": lambda: layers.Delay(3, delay_initializer=1.25),
    "MaxRatePooling": lambda: layers.MaxRatePooling(keras.layers.MaxPooling1D(2)),
    "TimeFold": lambda: layers.TimeFold(DENSE(3, activation="relu")),
    "LIF, last output": lambda: layers.LIF(threshold=0.4, return_sequences=False),
    "Lowpass, last output": lambda: layers.Lowpass(0.3, dt=0.1, return_sequences=False),
    "LastStep": lambda: layers.LastStep(),
    "TemporalAveragePooling": lambda: POOL(),
    "VotingPooling": lambda: layers.VotingPooling(2),
    "FirstSpikeTime": lambda: layers.FirstSpikeTime(),
}
#: Neurons that only have other equations than LIF, Izhikevich or NoisyLIF.
OTHER_EQUATIONS = ("IF", "KLIF", "PLIF", "ALIF", "Synaptic", "ConductanceLIF", "ResonateAndFire", "LeakyIntegrator")
CREATED = {
    "Repeat": lambda: layers.Repeat(T),
    "Poisson": lambda: layers.Poisson(T, seed=3),
    "Latency": lambda: layers.Latency(T),
    "Phase": lambda: layers.Phase(T, bits=4),
    "Population": lambda: layers.Population(T, 4),
    "RankOrder": lambda: layers.RankOrder(T),
    "Interval": lambda: layers.Interval(T),
    "Resonance": lambda: layers.Resonance(T, period=2),
}


def network(make, shape=(T, UNITS)):
    """Return the input, and the output of each layer by name."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input(shape)
    outputs = {}
    for name, layer in make.items():
        x = inputs
        if name == "MaxRatePooling":
            x = layers.TimeFold(keras.layers.Reshape((UNITS, 1)))(layers.IF(threshold=0.5)(x))
        if name == "FirstSpikeTime":
            x = layers.IF(threshold=2.0)(x)
        outputs[name] = layer()(x)
    return inputs, outputs


@pytest.fixture(
    scope="module",
    params=[
        pytest.param([name for name in TIMED if name not in OTHER_EQUATIONS], id="each mechanism"),
        pytest.param(list(TIMED), marks=pytest.mark.nightly("the base class of neurons has this code"), id="all"),
    ],
)
def timed(request):
    inputs, outputs = network({name: TIMED[name] for name in request.param})
    shared = layers.LIF(threshold=0.4)
    outputs["shared"] = shared(DENSE(UNITS)(shared(inputs)))
    inner = keras.Sequential([keras.Input((T, UNITS)), DENSE(4), layers.LIF(threshold=0.2), POOL(), DENSE(3)])
    outputs["nested"] = inner(inputs)
    # Layers after the end of the time axis run without time.
    outputs["after"] = DENSE(2, activation="tanh")(keras.layers.concatenate([outputs["LastStep"], outputs["nested"]]))
    return keras.Model(inputs, outputs)


@pytest.fixture(scope="module")
def created():
    inputs, outputs = network(CREATED, (UNITS,))
    outputs = {name: layers.LIF(threshold=0.5)(x) if name == "Repeat" else x for name, x in outputs.items()}
    return keras.Model(inputs, {**outputs, "mean": POOL()(outputs["Poisson"])})


def assert_same(results, expected):
    assert results.keys() == expected.keys()
    for name, values in expected.items():
        averages = name in ("TemporalAveragePooling", "VotingPooling", "nested", "after", "mean")
        # A matmul with another number of rows may round differently in the last bit.
        matmul = name in ("TimeFold", "LSTM cells", "RecurrentLIF", "RNN", "Lowpass", "Alpha")
        options = CLOSE if averages or matmul or "Lowpass" in name else {"rtol": 0, "atol": 0}
        np.testing.assert_allclose(results[name], values, **options, err_msg=name)
        assert results[name].dtype == values.dtype


def test_predict_gives_the_outputs_of_a_whole_run(timed):
    # A subset: compilation of all layers takes half a minute. The streams below test every layer.
    names = ("MaxRatePooling", "LSTM cells", "LIF, last output", "shared", "nested", "after")
    model = keras.Model(timed.input, {name: timed.output[name] for name in names})
    before = [np.array(w) for w in model.get_weights()]
    if keras.config.backend() == "torch":
        model.train()
    for _ in range(2):  # the second call reuses the compiled function
        assert_same(keras_snn.predict(model, X, steps_at_once=5, verbose=0), after(model, X))
    assert keras.config.backend() != "torch" or model.training
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_an_interrupted_prediction_leaves_the_weights(monkeypatch):
    model = sequential(DENSE(3), layers.LIF(threshold=0.4))
    before = model.get_weights()

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(streaming._InParts, "predict_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        keras_snn.predict(model, X, steps_at_once=5, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_threads_predict_with_one_model():
    model = sequential(DENSE(3), layers.LIF(threshold=0.4), POOL())
    xs, results = (X, X[::-1].copy()), [[], []]

    def run(k):
        for _ in range(3):
            results[k].append(keras_snn.predict(model, xs[k], steps_at_once=5, batch_size=1, verbose=0))

    threads = [threading.Thread(target=run, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = model.predict(X, verbose=0)
    for k, expected in enumerate((whole, whole[::-1])):
        assert len(results[k]) == 3
        for y in results[k]:
            np.testing.assert_allclose(y, expected, **CLOSE)


def test_time_that_the_model_creates(created):
    x = RNG.uniform(size=(4, UNITS)).astype("float32")
    whole = created.predict(x, verbose=0)
    assert_same(keras_snn.predict(created, x, steps_at_once=5, verbose=0), whole)
    live = keras_snn.stream(created, 4)
    live.start(x)
    steps = [live.step() for _ in range(T)]
    results = {name: np.stack([step[name] for step in steps], axis=1) for name in whole if name != "mean"}
    assert_same({**results, "mean": steps[-1]["mean"]}, whole)


def test_a_data_frame(created):
    x = RNG.uniform(size=(4, UNITS)).astype("float32")
    frame = pytest.importorskip("pandas").DataFrame(x)
    results = keras_snn.predict(created, frame, steps_at_once=5, verbose=0)
    assert_same(results, keras_snn.predict(created, x, steps_at_once=5, verbose=0))


@pytest.fixture(scope="module")
def live(timed):
    return keras_snn.stream(timed, 4)


def test_a_stream_gives_the_output_after_each_part(timed, live):
    live.reset()
    parts = [live.step(X[:, t : t + 4]) for t in range(0, T, 4)]
    for i, outputs in enumerate(parts):
        expected = after(timed, X[:, : 4 * i + 4])
        assert_same(outputs, {name: y if ended(name) else y[:, -4:] for name, y in expected.items()})


def test_one_step():
    model = keras.Sequential([keras.Input((T, UNITS)), layers.LIF(threshold=0.4), DENSE(3)])
    whole, live = model.predict(X, verbose=0), keras_snn.stream(model, 4)
    for t in range(T):
        np.testing.assert_allclose(live.step(X[:, t]), whole[:, t], **CLOSE)  # a matmul with another number of rows


def ended(name):
    return "last" in name.lower() or name in (
        "TemporalAveragePooling",
        "VotingPooling",
        "FirstSpikeTime",
        "nested",
        "after",
    )


def after(model, x):
    """Return the outputs of one run over the steps of ``x``."""
    with streaming.graph.time_axis.any_length(model):
        outputs = model(x, training=False)
    return {name: ops.convert_to_numpy(y) for name, y in outputs.items()}


def test_a_mask_holds_a_stream(timed, live):
    mask = RNG.uniform(size=(4, T)) < 0.6
    mask[0, 5:] = False  # ends early
    mask[1, :6] = False  # begins late
    mask[2] = False  # has no input at all
    x = np.where(mask[..., None], X, np.nan).astype("float32")
    live.reset()
    parts = [live.step(x[:, t : t + 6], mask=mask[:, t : t + 6]) for t in (0, 6)]
    for row in range(4):
        if not mask[row].any():
            assert all((y[row] == 0).all() for y in parts[-1].values())
            continue
        # The sequence without padding, at the same row: random draws depend on the row.
        expected = after(timed, np.repeat(X[row : row + 1, mask[row]], 4, axis=0))
        results = {name: parts[-1][name][row] for name in expected if ended(name)}
        for name in expected.keys() - results.keys():
            results[name] = np.concatenate([part[name] for part in parts], axis=1)[row, mask[row]]
        assert_same({name: results[name] for name in expected}, {name: y[row] for name, y in expected.items()})


def test_single_streams_can_be_reset(timed, live):
    live.reset()
    live.step(X[:, :4])
    live.reset(1)
    live.reset(np.array([False, False, False, True]))
    mixed = live.step(X[:, 4:8])
    whole, restarted = after(timed, X[:, :8]), after(timed, X[:, 4:8])
    for rows, outputs in (([0, 2], whole), ([1, 3], restarted)):
        expected = {name: (y if ended(name) else y[:, -4:])[rows] for name, y in outputs.items()}
        assert_same({name: y[rows] for name, y in mixed.items()}, expected)


def test_start_sets_single_streams(created):
    x, other = RNG.uniform(size=(2, 4, UNITS)).astype("float32")
    live = keras_snn.stream(created, 4)
    live.start(x)
    live.step()
    live.start(other, which=[2])
    second = live.step()["Latency"]
    codes = [created.predict(values, verbose=0)["Latency"] for values in (x, other)]
    np.testing.assert_array_equal(second[[0, 1, 3]], codes[0][[0, 1, 3], 1])
    np.testing.assert_array_equal(second[2], codes[1][2, 0])


def test_masks_that_layers_of_the_model_make():
    keras.utils.set_random_seed(0)
    x = np.where(RNG.uniform(size=(4, T, 1)) < 0.6, X, 0).astype("float32")
    x[2] = 0
    ends = {"mean": POOL(), "time": layers.FirstSpikeTime(), "last": layers.LastStep()}
    inputs = keras.Input((None, UNITS))
    spikes = layers.NoisyLIF(threshold=0.4, seed=0)(keras.layers.Masking(0.0)(inputs))
    model = keras.Model(inputs, {**{name: end(spikes) for name, end in ends.items()}, "spikes": spikes})
    results = keras_snn.predict(model, x, steps_at_once=5, verbose=0)
    for name, values in model.predict(x, verbose=0).items():
        np.testing.assert_allclose(results[name], values, **(CLOSE if name == "mean" else {"rtol": 0, "atol": 0}))


def test_predict_does_not_change_the_states_of_stateful_layers():
    model = keras.Sequential([keras.Input((T, UNITS), batch_size=4), layers.LIF(threshold=0.4, stateful=True)])
    model.predict(X, batch_size=4, verbose=0)
    states = [ops.convert_to_numpy(ops.copy(state)) for state in model.layers[0].states]
    outputs = keras_snn.predict(model, X, steps_at_once=5, batch_size=4, verbose=0)
    fresh = layers.LIF(threshold=0.4)
    np.testing.assert_array_equal(outputs, ops.convert_to_numpy(fresh(X)))
    for old, new in zip(states, model.layers[0].states, strict=True):
        np.testing.assert_array_equal(old, ops.convert_to_numpy(new))


class Subclassed(keras.Model):
    """A causal model without a graph."""

    def __init__(self):
        super().__init__()
        self.first, self.spikes, self.pool, self.last = DENSE(5), layers.LIF(threshold=0.3), POOL(), DENSE(3)

    def call(self, x):
        return self.last(self.pool(ops.tanh(self.spikes(self.first(x)))))


def test_streams_and_predict_use_the_current_weights_in_a_fit():
    model, results = sequential(DENSE(3), layers.LeakyIntegrator(), POOL()), []
    model.compile(keras.optimizers.SGD(0.1), "mse")
    live = keras_snn.stream(model, 4)

    def record_outputs(batch, logs):
        live.reset()
        results.append((keras_snn.predict(model, X, steps_at_once=5, verbose=0), live.step(X)))

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=record_outputs)
    model.fit(X, np.ones((4, 3)), epochs=2, batch_size=2, verbose=0, callbacks=[callback])
    for y in results[-1]:
        np.testing.assert_allclose(y, model.predict(X, verbose=0), **CLOSE)
    assert np.abs(results[0][0] - results[-1][0]).max() > 1e-4


def test_rematerialized_layers():
    with keras.RematScope(mode="full"):
        model = sequential(DENSE(3), layers.LIF(threshold=0.4), POOL())
    whole = ops.convert_to_numpy(model(X, training=False))
    live = keras_snn.stream(model, 4)
    live.step(X[:, :7])
    np.testing.assert_allclose(live.step(X[:, 7:]), whole, **CLOSE)


def test_a_subclassed_model_requires_causal():
    model = Subclassed()
    model(X)
    with pytest.raises(ValueError, match=r"graph of .* cannot be read: it is a subclassed model. Pass causal=True"):
        keras_snn.stream(model)
    with pytest.raises(ValueError, match=r"cannot run over parts of its time axis: .* pass causal=True"):
        keras_snn.predict(model, X, steps_at_once=4, verbose=0)
    whole = model.predict(X, verbose=0)
    np.testing.assert_array_equal(keras_snn.predict(model, X, verbose=0), whole)
    np.testing.assert_allclose(keras_snn.predict(model, X, steps_at_once=5, causal=True, verbose=0), whole, **CLOSE)
    live = keras_snn.stream(model, 4, causal=True)
    live.step(X[:, :7])
    np.testing.assert_allclose(live.step(X[:, 7:]), whole, **CLOSE)


def sequential(*parts, shape=(T, UNITS)):
    return keras.Sequential([keras.Input(shape), *parts])


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: sequential(keras.layers.Conv1D(4, 3, padding="same"), layers.LIF(), POOL()), r"\(Conv1D\) mixes"),
        (lambda: sequential(keras.layers.Conv1D(4, 3, padding="causal"), layers.LIF(), POOL()), r"\(Conv1D\) mixes"),
        (lambda: sequential(keras.layers.LSTM(4, return_sequences=True), layers.LIF(), POOL()), r"\(LSTM\) keeps a"),
        (lambda: sequential(layers.LIF(), keras.layers.GRU(4)), r"\(GRU\) keeps a state that only keras_snn"),
        (lambda: sequential(keras.layers.Bidirectional(layers.LIF()), POOL()), r"\(LIF\) mixes time steps"),
        (lambda: sequential(layers.LIF(go_backwards=True), POOL()), r"\(LIF\) mixes time steps"),
        (lambda: sequential(layers.LIF(), keras.layers.Flatten(), DENSE(3)), r"\(Flatten\) mixes"),
        (lambda: sequential(layers.LIF(), keras.layers.GlobalAveragePooling1D()), r"\(GlobalAveragePooling1D\) mixes"),
        (
            lambda: sequential(layers.LIF(), keras.layers.Lambda(lambda x: x - ops.mean(x, 1, keepdims=True))),
            r"may mix",
        ),
        (lambda: sequential(layers.LIF(), POOL(), layers.Repeat(3), layers.LIF()), "two time axes"),
        (lambda: sequential(DENSE(4), shape=(UNITS,)), "not all inputs have a time axis"),
    ],
)
def test_layers_that_mix_time_steps_are_refused_by_name(model, message):
    with pytest.raises(ValueError, match=f"cannot run over parts of its time axis: .*{message}"):
        keras_snn.stream(model())


@pytest.mark.backend_free
def test_causal_does_not_override_a_graph_that_mixes_time_steps():
    model = sequential(keras.layers.Bidirectional(layers.LIF()), POOL())
    with pytest.raises(ValueError, match="mixes time steps"):
        keras_snn.stream(model, causal=True)


@pytest.mark.backend_free
def test_inputs_that_do_not_fit_are_reported_with_their_shapes():
    single_input = sequential(layers.LIF(), POOL())
    with pytest.raises(ValueError, match=r"cannot run on arrays of the shapes \[\(2, 4, 99\)\]") as error:
        keras_snn.predict(single_input, np.zeros((2, 4, 99)))
    assert "\x1b" not in str(error.value)
    a, b = keras.Input((None, 3), name="a"), keras.Input((None, 3), name="b")
    two_inputs = keras.Model({"a": a, "b": b}, layers.LIF()(keras.layers.Add()([a, b])))
    with pytest.raises(ValueError, match='Missing data for input "b"'):
        keras_snn.predict(two_inputs, {"a": np.zeros((1, 4, 3))})
    live = keras_snn.stream(two_inputs)
    for frame in ({"a": np.zeros((1, 3))}, {"a": np.zeros((1, 2, 3)), "b": np.zeros((1, 5, 3))}):
        with pytest.raises(ValueError, match="`frame` must be one time step, or a block of steps"):
            live.step(frame)


@pytest.mark.backend_free
def test_errors_name_the_argument():
    live = keras_snn.stream(sequential(layers.LIF(), POOL()), 2)
    with pytest.raises(ValueError, match="`frame` must have a row for each of the 2 streams"):
        live.step(X[:3, 0])
    for frame in (X[:2, 0, 0], X[:2, 0, :4], X[:2, :3, :4], X[:2, :3, :, None]):
        with pytest.raises(ValueError, match="`frame` must be one time step, or a block of steps"):
            live.step(frame)
    for which in (2, 1.0, "all", [0, 5], [True], np.ones((2, 2), bool)):
        with pytest.raises(ValueError, match="`which` must be an integer below 2, a sequence of them, or a Bool array"):
            live.reset(which)
    live.reset([])
    with pytest.raises(ValueError, match="`frame` must be given"):
        live.step()
    with pytest.raises(ValueError, match="must create its time axis for `start`; its inputs have one"):
        live.start(X[:2, 0])
    encoder_stream = keras_snn.stream(sequential(layers.Repeat(3), layers.LIF(), shape=(UNITS,)), 2)
    with pytest.raises(ValueError, match=r"no input yet: call `start\(x\)` first"):
        encoder_stream.step()
    with pytest.raises(ValueError, match=r"creates its time axis: set its input with `start\(x\)`"):
        encoder_stream.step(X[:2, 0])
    with pytest.raises(ValueError, match="`which` must be None in the first call of `start`"):
        encoder_stream.start(X[:2, 0], which=0)
    with pytest.raises(ValueError, match=r"`x` must have the shape \(2, 6\)"):
        encoder_stream.start(X[:2, 0, :4])
    with pytest.raises(TypeError, match="`model` must be a Keras model; got LIF"):
        keras_snn.stream(layers.LIF())
    with pytest.raises(ValueError, match="must be built: call it, or begin it with keras.Input"):
        keras_snn.stream(keras.Sequential([layers.LIF()]))


def test_a_hundred_interleaved_streams_equal_separate_runs():
    n, n_steps, rng = 100, 15, np.random.default_rng(0)
    model = sequential(DENSE(32), layers.LIF(threshold=0.4), DENSE(3), POOL(), shape=(None, UNITS))
    # Multiples of 1/16: sums are exact in any order, and results equal bit for bit.
    model.set_weights([rng.integers(-8, 9, w.shape).astype("float32") / 16 for w in model.get_weights()])
    frames = rng.integers(0, 17, (n_steps, n, UNITS)).astype("float32") / 16
    mask, resets = rng.random((n_steps, n)) < 0.6, rng.random((n_steps, n)) < 0.15
    streams = keras_snn.stream(model, n), keras_snn.stream(model, n)
    orders = slice(None), slice(None, None, -1)
    outputs = np.zeros((2, n_steps, n, 3), "float32")
    for t in range(n_steps):
        x = np.where(mask[t, :, None], frames[t], np.nan)
        for k, (live, order) in enumerate(zip(streams, orders, strict=True)):
            live.reset(resets[t, order])
            outputs[k, t, order] = live.step(x[order], mask=mask[t, order])
    alone = keras_snn.stream(model)
    for row in range(n):
        alone.reset()
        last = np.zeros(3, "float32")
        for t in range(n_steps):
            if resets[t, row]:
                alone.reset()
                last = np.zeros(3, "float32")
            if mask[t, row]:
                (last,) = alone.step(frames[t, row : row + 1])
            for k in range(2):
                np.testing.assert_array_equal(outputs[k, t, row], last)
    assert len(np.unique(outputs[0, -1], axis=0)) > 50


def test_a_million_steps_are_exact_and_the_memory_is_constant():
    # PyTorch's loop is in Python: a million steps take two minutes without its compiler.
    n_blocks, n_at_once = 2 if keras.config.backend() == "torch" else 100, 10_000
    inputs = keras.Input((None, 8))
    spikes = layers.IF(threshold=1.0, reset="subtract")(inputs)
    live = keras_snn.stream(keras.Model(inputs, [spikes, POOL()(spikes)]))
    x = np.arange(1, 9, dtype="float32") / 16
    block = np.tile(x, (1, n_at_once, 1))
    counts, sizes, memory = np.zeros(8, "int64"), set(), []
    for _ in range(n_blocks):
        spikes, rates = live.step(block)
        counts += np.count_nonzero(spikes, axis=(0, 1))
        sizes.add(sum(int(ops.size(leaf)) for leaf in keras.tree.flatten(live._states)))
        memory.append(resident_memory())
    n_steps = n_blocks * n_at_once
    # A spike for each 1.0 of input; a membrane of 1.0 is not above the threshold.
    expected = np.ceil(n_steps * x.astype("float64")).astype("int64") - 1
    np.testing.assert_array_equal(counts, expected)
    np.testing.assert_array_equal(rates[0], (expected / n_steps).astype("float32"))
    assert sizes == {8 + 8 + 1}  # membranes, sums, count
    assert memory[-1] - memory[1] < 16e6  # the inputs and outputs of a million steps are 64 MB


def resident_memory():
    """Return the bytes of this process in memory; 0 without /proc."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


class Counter(layers.SpikingCell):
    """A user's cell that counts its steps in a weight."""

    def build(self, input_shape):
        self.n = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call_inference(self, inputs, states):
        self.n.assign(self.n + 1)
        return inputs * self.n, states


def test_variables_of_a_cell_continue_from_part_to_part():
    model = sequential(layers.RNN(Counter(UNITS)))
    expected = X * np.arange(1, T + 1, dtype="float32")[:, None]
    model.set_weights([np.zeros((), "float32")])
    np.testing.assert_array_equal(keras_snn.predict(model, X, steps_at_once=5, verbose=0), expected)
    model.set_weights([np.zeros((), "float32")])
    live = keras_snn.stream(model, 4)
    for t in range(0, T, 4):
        np.testing.assert_array_equal(live.step(X[:, t : t + 4]), expected[:, t : t + 4])


def test_in_a_scope_draws_equal_those_of_a_whole_run():
    model = sequential(layers.Poisson(T), layers.SpikingActivation("relu", dt=0.3), POOL(), shape=(UNITS,))
    axis = streaming.graph.TimeAxis(model, X[:, 0])
    x, index = np.abs(X[:, 0]), np.arange(4, dtype="int32")
    with probe.scope(sample_index=index, seed=2):
        whole = ops.convert_to_numpy(model(x, training=False))
    carry = None
    for n in (5, 1, 6):
        carry = probe.Carry(None if carry is None else carry.ended)
        y = axis.run(x, n, carry, sample_index=index, seed=2)
    np.testing.assert_allclose(ops.convert_to_numpy(y), whole, **CLOSE)


def test_the_compiled_function_is_made_once(monkeypatch):
    model = sequential(DENSE(4), layers.LIF(threshold=0.3), POOL())
    live, traces, call = keras_snn.stream(model, 4), [], layers.LIF.run
    monkeypatch.setattr(layers.LIF, "run", lambda *args: traces.append(1) or call(*args))
    for t in range(T):
        live.step(X[:, t])
    assert len(traces) == (T if keras.config.backend() == "torch" else 2)  # the first step, the others
