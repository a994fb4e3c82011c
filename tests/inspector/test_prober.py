"""The prober: layers that receive spikes, and outputs after each part of the time axis."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_snn
from keras_snn import ModelEnergy, graph, inspect, layers, probe
from keras_snn.inspector import prober, sweep
from keras_snn.inspector.prober import probabilities

DENSE, POOL = keras.layers.Dense, layers.TemporalAveragePooling


def sequential(shape, *parts):
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input(shape), *parts])


def data(*shape, n=24):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, *shape)).astype("float32"), rng.integers(0, 4, size=n)


class Subclassed(keras.Model):
    """A model without a graph that averages both directions of time."""

    def __init__(self):
        super().__init__()
        self.spikes = layers.LIF(threshold=0.05)
        self.pool = POOL()
        self.last = DENSE(4)

    def call(self, x):
        spikes = self.spikes(x)
        return self.last(self.pool(spikes + ops.flip(spikes, axis=1)))


def mixed_in_time(name):
    """Return a model whose output at a step depends on later steps, and its data."""
    first = DENSE(8, use_bias=False), layers.Repeat(7), layers.LIF(threshold=0.05)
    last = layers.LIF(threshold=0.05), POOL(), DENSE(4)
    if name == "conv":
        return sequential((6,), *first, keras.layers.Conv1D(8, 5, padding="same", use_bias=False), *last), data(6)
    if name == "bidirectional":
        bidirectional = keras.layers.Bidirectional(layers.LIF(threshold=0.05), merge_mode="concat")
        return sequential((7, 6), bidirectional, *last), data(7, 6)
    if name == "subclassed":
        keras.utils.set_random_seed(1)
        model, (x, y) = Subclassed(), data(7, 6)
        model(x)
        return model, (x, y)
    inputs = keras.Input((6,))
    x = inputs
    for part in first:
        x = part(x)
    x = keras.layers.MultiHeadAttention(2, 4)(x, x)
    for part in last:
        x = part(x)
    return keras.Model(inputs, x), data(6)


def after(model, x, k, **scope):
    """Return the output of the model for the first k steps."""
    with probe.scope(sample_index=ops.arange(len(x)), **scope):
        return ops.convert_to_numpy(model(x[:, :k] if x.ndim == 3 else x, training=False))


@pytest.mark.parametrize(
    "name",
    ["conv", *(pytest.param(n, marks=pytest.mark.backend_free) for n in ("bidirectional", "subclassed", "attention"))],
)
def test_a_model_that_mixes_steps_runs_over_the_whole_time_axis(name):
    model, (x, y) = mixed_in_time(name)
    x[:4] = 0  # samples without spikes

    def confidence(y, outputs):
        return ops.max(probabilities(outputs), axis=1)

    report = inspect(model, x, y, n_steps=[1, 7], batch_size=12, examples=0, metrics=["accuracy", confidence])
    for result in report:
        outputs = after(model, x, result.n_steps, n_steps=None if x.ndim == 3 else result.n_steps)
        assert (result.latency, result.latencies) == (None, {})
        assert result.accuracy == np.mean(outputs.argmax(axis=1) == y)
        # rel: float32 in a compiled function
        assert result.metrics["accuracy"] == pytest.approx(result.accuracy, rel=1e-6)
        assert result.metrics["confidence"] == pytest.approx(
            ops.convert_to_numpy(confidence(y, outputs)).mean(), rel=1e-5
        )
    notes = [
        sum(note.startswith("No predictions after fewer steps: the ") for note in result.notes) for result in report
    ]
    assert notes == [0, 1]
    with pytest.raises(ValueError, match="cannot run over parts of its time axis: the .* pass causal=True"):
        inspect(model, x, y, steps_at_once=7)


class LessMean(layers.LIF):
    """A user's neuron whose `call` mixes time steps."""

    def call(self, inputs, **kwargs):
        return super().call(inputs - ops.mean(inputs, axis=1, keepdims=True), **kwargs)


@pytest.mark.backend_free
def test_layers_that_may_mix_time_steps():
    def less_mean(x):
        return x - ops.mean(x, axis=1, keepdims=True)

    x = np.ones((1, 7, 6), "float32")
    # With causal=True, only layers that are known to mix steps are refused.
    for expected, with_promise, part in (
        (None, None, layers.SpikingActivation(keras_snn.activations.Scaled("relu", 2.0))),
        (None, None, DENSE(4, activation=keras.layers.LeakyReLU())),
        (None, None, keras.layers.Activation("softmax")),
        (None, None, layers.RNN(keras.layers.LSTMCell(4))),
        (None, None, layers.Delta(0.1)),
        ("'part' (Activation) may mix", None, keras.layers.Activation(keras.layers.Softmax(axis=1), name="part")),
        ("'part' (Dense) may mix", None, DENSE(4, activation=keras.layers.Softmax(axis=-2), name="part")),
        ("'part' (SpikingActivation) may mix", None, layers.SpikingActivation(less_mean, name="part")),
        ("'part' (LessMean) may mix", None, LessMean(name="part")),
        ("'part' (LIF) mixes", "'part' (LIF) mixes", layers.LIF(go_backwards=True, name="part")),
        ("(Conv1D) mixes", "(Conv1D) mixes", keras.layers.Conv1D(4, 3, padding="causal")),
        ("(GRU) keeps a state", "(GRU) keeps a state", keras.layers.GRU(4, return_sequences=True)),
        ("'part' (Lambda) may mix", None, keras.layers.Lambda(less_mean, name="part")),
        ("operation", None, None),
    ):
        model = sequential((7, 6), part or layers.LIF(), layers.LIF(), POOL())
        if part is None:
            inputs = keras.Input((7, 6))
            model = keras.Model(inputs, model(less_mean(inputs)))
        for reason, causal in ((expected, False), (with_promise, True)):
            why_not = graph.TimeAxis(model, x, causal=causal).why_not
            assert (why_not is None) if reason is None else reason in why_not


@pytest.mark.backend_free
def test_steps_must_not_depend_on_the_end_of_time():
    inputs = keras.Input((7, 6))
    spikes = layers.LIF()(inputs)
    rates = POOL()(spikes)
    gate = keras.layers.Reshape((1, 6))(DENSE(6, "sigmoid")(rates))
    gated = POOL()(keras.layers.Multiply(name="gated")([spikes, gate]))
    seeded = POOL()(layers.LeakyIntegrator(name="seeded")(spikes, initial_state=rates))
    for name, outputs in (("gated", gated), ("seeded", seeded), (None, keras.layers.add([rates, DENSE(6)(rates)]))):
        why_not = graph.TimeAxis(keras.Model(inputs, outputs), np.ones((1, 7, 6), "float32")).why_not
        assert (why_not is None) if name is None else f"each time step of the layer '{name}' (" in why_not
    still = keras.Input((6,))
    towers = [POOL()(layers.LIF()(layers.Repeat(7)(DENSE(6)(still)))) for _ in range(2)]
    towers[0] = DENSE(6)(DENSE(6)(towers[0]))  # Keras calls the end of the first tower before the start of the second
    for name, outputs in (
        (None, keras.layers.add(towers)),
        ("second", POOL()(layers.LIF()(layers.Repeat(7, name="second")(towers[0])))),
    ):
        why_not = graph.TimeAxis(keras.Model(still, outputs), np.ones((1, 6), "float32")).why_not
        assert (why_not is None) if name is None else "each time step of the layer 'second' (Repeat) depends" in why_not


@pytest.mark.backend_free
def test_a_model_with_two_time_axes_has_no_latency():
    model = sequential((2, 6), layers.LIF(threshold=0.05), POOL(), layers.Repeat(5), layers.LIF(threshold=0.05), POOL())
    (result,) = inspect(model, data(2, 6)[0], examples=0)
    assert result.latency is None
    assert "the model has two time axes" in result.notes[0]


def assert_answers(latency, steps, y, outputs_after):
    """Compare accuracy and confidence after each number of steps with those of ``outputs_after(k)``."""
    assert latency.steps.tolist() == steps
    for k, accuracy, confidence in zip(steps, latency.accuracy, latency.confidence, strict=True):
        outputs = outputs_after(k)
        assert accuracy == np.mean(outputs.argmax(axis=1) == y)
        # rel: float32 sums over parts in a compiled function
        expected = ops.convert_to_numpy(ops.max(probabilities(outputs), axis=1)).mean()
        assert confidence == pytest.approx(expected, rel=1e-5)


def test_outputs_after_the_first_steps_of_an_encoder():
    x, y = data(6)
    x = np.abs(x) / 4
    model = sequential((6,), layers.Latency(7), DENSE(8), layers.LIF(threshold=0.05), POOL(), DENSE(4))
    spikes = ops.convert_to_numpy(model.layers[0](x))

    def outputs_after(k):
        x = spikes[:, :k]
        for layer in model.layers[1:]:
            x = layer(x)
        return ops.convert_to_numpy(x)

    (result,) = inspect(model, x, y, examples=0)
    assert_answers(result.latency, list(range(1, 8)), y, outputs_after)


def test_outputs_after_each_part_equal_those_of_a_shorter_run():
    inputs = keras.Input((None, 6))
    x = keras.layers.LayerNormalization()(inputs)
    x = layers.SpikingActivation("relu")(layers.RNN(keras.layers.GRUCell(8))(x))
    x = keras.layers.add([layers.TimeFold(DENSE(8))(x), DENSE(8, "tanh")(x)])
    rates = POOL()(layers.LIF(threshold=0.05)(x))
    # After the end of the time axis, any layer is allowed.
    model = keras.Model(inputs, DENSE(4)(keras.layers.concatenate([rates, DENSE(3, "relu")(rates)])))
    x, y = data(7, 6)
    for at_once, steps in ((None, list(range(1, 8))), (3, [1, 4, 7])):
        (result,) = inspect(model, x, y, steps_at_once=at_once, batch_size=12, examples=0)
        assert not any(note.startswith("No predictions") for note in result.notes)
        assert_answers(result.latency, steps, y, lambda k: after(model, x, k))


class Causal(keras.Model):
    """A causal model without a graph."""

    def __init__(self):
        super().__init__()
        self.spikes = layers.LIF(threshold=0.05)
        self.last = DENSE(4)
        self.pool = POOL()

    def call(self, x):
        return self.pool(self.last(self.spikes(2 * x)))


def test_causal_gives_a_subclassed_model_a_latency():
    keras.utils.set_random_seed(1)
    model, (x, y) = Causal(), data(7, 6)
    model(x)
    reports = [inspect(model, x, y, causal=causal, steps_at_once=3 if causal else None) for causal in (False, True)]
    (whole,), (result,) = reports
    assert "the graph of the subclassed model" in whole.notes[0]
    assert_answers(result.latency, [1, 4, 7], y, lambda k: after(model, x, k))
    assert (whole.latency, result.notes) == (None, ())
    assert (result.accuracy, result.work) == (whole.accuracy, whole.work)
    for name, layer in whole.layers.items():
        assert (layer.rate, layer.histogram) == (result.layers[name].rate, result.layers[name].histogram)
        np.testing.assert_array_equal(layer.per_unit, result.layers[name].per_unit)
        np.testing.assert_array_equal(whole.examples.counts[name], result.examples.counts[name])


# Operations and energy of `inspect` and of ModelEnergy


def poisson(n_steps=5):
    return sequential(
        (6,), layers.Poisson(n_steps, seed=0), DENSE(8), layers.IF(), layers.LastStep(), DENSE(4, "softmax")
    )


def images():
    fastest = layers.MaxRatePooling(keras.layers.MaxPooling2D(1))  # carries its state from part to part
    parts = layers.Repeat(4), layers.TimeFold(keras.layers.Conv2D(3, 2)), layers.KLIF(threshold=0.2), fastest
    pooled = layers.TimeFold(keras.layers.AveragePooling2D(2)), layers.TimeFold(keras.layers.Flatten())
    ends = DENSE(5), layers.LIF(threshold=0.2), POOL(), DENSE(4, "relu")
    return sequential((5, 5, 1), keras.layers.Conv2D(2, 2, activation="relu"), *parts, *pooled, *ends)


def filtered():
    return sequential((7, 6), layers.SpikingActivation("relu", dt=0.5), layers.Lowpass(0.1), DENSE(4), POOL())


def distributed():
    time = keras.layers.TimeDistributed
    return sequential((7, 6), time(DENSE(8, "relu")), layers.IF(threshold=0.5), time(DENSE(4)), POOL())


@pytest.mark.parametrize("network", [poisson, images, filtered, distributed])
def test_model_energy_equals_inspect(network):
    model = network()
    x = np.abs(data(*model.input_shape[1:])[0])
    energy = ModelEnergy(model, x, inputs="analog")
    (result,) = inspect(model, x, examples=0)
    assert result.work == {
        name: row["work"] for name, row in energy.rows.items() if row["dense_connections"] or row["neurons"]
    }
    for name in keras_snn.energy.DEVICES:
        assert energy.total_energy(name, None) == result.energy(name) > 0
    assert any(work.operations for work in result.work.values()) == (network is not filtered)


def test_operations_do_not_depend_on_the_batch_size():
    model = sequential((6, 6, 1), layers.Repeat(5), layers.SpikingActivation("relu", dt=0.3))
    model.add(layers.TimeFold(keras.layers.AveragePooling2D(3)))
    for part in (layers.TimeFold(keras.layers.Flatten()), POOL(), DENSE(4)):
        model.add(part)
    x = np.abs(data(6, 6, 1, n=12)[0]) * 1000
    works = [inspect(model, x, batch_size=size, examples=0)[None].work for size in (5, 12)]
    assert works[0] == works[1]


@pytest.mark.backend_free
def test_the_batch_size_is_limited(monkeypatch):
    monkeypatch.setattr(sweep, "MOST_SAMPLES", 10)
    batches, on = [], prober.Prober.on
    monkeypatch.setattr(
        prober.Prober, "on", lambda self, batch, dt: batches.append(batch.indices) or on(self, batch, dt)
    )
    inspect(sequential((7, 6), layers.IF()), data(7, 6)[0], batch_size=10**6, examples=0)
    assert [index.tolist() for index in batches] == [list(range(10)), list(range(10, 20)), list(range(20, 24))]


@pytest.mark.backend_free
def test_macs_do_not_depend_on_the_time_wrapper_of_a_layer():
    figures, weights = [], None
    for wrap in (lambda layer: layer, layers.TimeFold, keras.layers.TimeDistributed):
        model = sequential(
            (7, 6), layers.IF(threshold=0.1), wrap(DENSE(5)), layers.IF(threshold=0.1), wrap(DENSE(4)), POOL()
        )
        weights = weights or model.get_weights()
        model.set_weights(weights)
        energy = ModelEnergy(model, data(7, 6)[0], inputs="analog")  # equals `inspect`
        works = [row["work"] for row in energy.rows.values()]
        connections = sum(work.connections for work in works)
        figures.append((connections, [work.operations for work in works], energy.total_energy("45nm", None)))
    assert figures[0] == figures[1] == figures[2]
    assert figures[0][0] == 6 * 5 + 5 * 4


@pytest.mark.parametrize("mixing", [pytest.param(True, marks=pytest.mark.backend_free), False])
def test_after_an_inspection_with_zero_weights_results_equal_those_of_a_new_model(mixing):
    def network():
        keras.utils.clear_session(free_memory=False)  # the same layer names in each call
        second = keras.layers.Conv1D(8, 3, padding="same") if mixing else DENSE(8)
        parts = layers.Repeat(5), layers.LIF(threshold=0.05), second, layers.LIF(threshold=0.05), POOL(), DENSE(4)
        return sequential((6,), DENSE(8), *parts)

    model, (x, y) = network(), data(6)
    weights = model.get_weights()
    model.set_weights([np.zeros_like(w) for w in weights])
    silent = inspect(model, x, y, examples=0)[None]
    assert (silent.ann_macs, silent.ann_dense_macs) == (0, (5 * 3 if mixing else 1) * 8 * 8 + 8 * 4)
    fresh = network()
    for same_network in (model, fresh):
        same_network.set_weights(weights)
    assert inspect(model, x, y, examples=0)[None].to_dict() == inspect(fresh, x, y, examples=0)[None].to_dict()


@pytest.mark.backend_free
def test_layers_that_receive_spikes_do_not_depend_on_values():
    inputs = keras.Input((6,))
    x = layers.Repeat(4)(inputs)
    spikes = keras.layers.add([layers.SpikingActivation("relu", dt=0.5)(x), layers.IF(threshold=0.5)(x)])
    model = keras.Model(inputs, POOL()(DENSE(2, name="last")(spikes)))
    x = np.ones((6, 6), "float32")
    for dts in ([0.001], [0.001, 1.0], [1.0]):  # at 1 s, spikes in Hz and 0/1 spikes have the same height
        for result in inspect(model, x, dt=dts, examples=0):
            assert result.work["last"].operations is None
            assert "Counted as multiply-accumulates: last" in " ".join(result.notes)
    parts = keras.layers.Embedding(5, 4, mask_zero=True), layers.IF(threshold=0.01), DENSE(3, name="last"), POOL()
    model = sequential((None,), *parts)
    ids = np.tile(np.arange(8)[:, None] // 4, (1, 5))  # the first four samples are masked
    operations = [inspect(model, x, examples=0)[None].work["last"].operations for x in (ids, ids[::-1])]
    assert operations[0] == operations[1] > 0
    model = sequential((5, 4), keras.layers.Masking(1.0), *parts[1:])
    assert inspect(model, np.full((2, 5, 4), 0.5, "float32"), examples=0)[None].work["last"].operations > 0


@pytest.mark.backend_free
def test_layers_with_unknown_operations_are_named():
    parts = layers.RecurrentLIF(name="recurrent"), keras.layers.GRU(4, name="gru"), DENSE(4)
    table = inspect(sequential((1, 6), *parts), data(1, 6)[0], examples=0).table()
    assert "Operations not counted: recurrent, gru. Register the class" in table
