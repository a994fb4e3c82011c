"""`inspect` equals a computation in NumPy, and does not change the model.

Inputs, weights and most dt make all products and sums of the networks exact. NumPy and all backends then agree to the
last bit, in any order of the sums.
"""

import datetime
import functools
import itertools
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from reference import loops
from reference.batches import KINDS, Pieces, cut, in_batches

import keras_snn
from keras_snn import inspect, layers, probe
from keras_snn.inspector import prober

N, T = 20, 8
DTS = [2.0**-10, 2.0**-4, 1.0]
BINS = ["<0", *map(str, range(10)), ">=10"]


def integers(*shape, seed=0):
    return np.random.default_rng(seed).integers(-3, 4, size=shape).astype("float32")


def with_exact_weights(model):
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        values = rng.integers(-8, 8, size=variable.shape) / 4
        values[values >= 0] += 0.25  # zero weights do not count as connections
        if values.ndim == 1:
            values += np.arange(values.size) / 256  # no two outputs are equal
        variable.assign(values)
    return model


def uniform(n_samples, units, draw, seed=0):
    """Return the initial voltages of the layer with the ``draw``-th draw, from 1."""
    return loops.uniform_by_index(range(n_samples), units, 1009 * seed + draw)


def spike(rates, dt, draw=1, seed=0):
    """Return the spike counts of the rectified rates (batch, time, ...)."""
    voltage = uniform(len(rates), rates.shape[2:], draw, seed)
    return loops.integrate_and_fire(np.maximum(rates, 0), voltage, dt)[0].astype("float64")


def repeat(x, n_steps):
    return np.repeat(x[:, None], n_steps, axis=1)


def numpy_weights(model):
    return [v.numpy() if hasattr(v, "numpy") else np.array(v) for v in map(ops.convert_to_numpy, model.weights)]


def assert_layer(layer, counts, dt):
    """Compare the report on a layer with its spike counts (sample, time, ...)."""
    flat = counts.reshape(*counts.shape[:2], -1)
    rates = flat.sum(axis=1) / (counts.shape[1] * dt)
    # rtol: float64 sums of some hundred numbers in another order
    close = {"rtol": 1e-12}
    assert layer.rate.min == pytest.approx(rates.min(), rel=1e-12)
    assert layer.rate.mean == pytest.approx(rates.mean(), rel=1e-12)
    assert layer.rate.max == pytest.approx(rates.max(), rel=1e-12)
    np.testing.assert_allclose(layer.per_unit, rates.mean(axis=0).reshape(counts.shape[2:]), **close)
    in_bins = [(flat < 0).sum(), *((flat == k).sum() for k in range(10)), (flat >= 10).sum()]
    assert layer.histogram == dict(zip(BINS, in_bins, strict=True))
    assert layer.silent == (flat == 0).all(axis=(0, 1)).mean()
    assert layer.saturated == (flat != 0).all(axis=(0, 1)).mean()
    assert layer.n_steps == counts.shape[1]
    assert layer.spikes_per_inference == counts.sum() / len(counts)


# Each function returns a model, its input and its twin in NumPy: (x, dt, n_steps) -> (spike counts by layer, outputs).


def sequential():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5),
            layers.Repeat(T),
            layers.SpikingActivation("relu", dt=0.25, name="s"),
            layers.TemporalAveragePooling(),
            keras.layers.Dense(3),
        ]
    )
    w, b, v, c = numpy_weights(with_exact_weights(model))[:4]

    def twin(x, dt, n_steps=T):
        counts = spike(repeat(x @ w + b, n_steps), dt)
        return {"s": counts}, (counts / dt).mean(axis=1) @ v + c

    return model, integers(N, 4), twin


class Doubled(keras.layers.Layer):
    """A user's layer."""

    def call(self, x):
        return 2 * x


class Subclassed(keras.Model):
    """A model with layers in a list, a Lambda, a `call` without `training`, and a time axis in its output."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = [keras.layers.Dense(4), Doubled(), layers.Repeat(T)]
        self.spiking = [layers.SpikingActivation("relu", dt=0.25, name=name) for name in ("a", "b")]
        self.halved = keras.layers.Lambda(lambda x: x / 2)
        self.between = keras.layers.Dense(6)
        self.last = keras.layers.Dense(3)

    def call(self, x):
        for layer in self.first:
            x = layer(x)
        return self.last(self.spiking[1](self.between(self.halved(self.spiking[0](x)))))


def subclassed():
    model = Subclassed()
    x = integers(N, 4)
    model(x)
    with_exact_weights(model)
    dense = [numpy_weights(layer) for layer in (model.first[0], model.between, model.last)]

    def twin(x, dt, n_steps=T):
        first, between, last = ((lambda x, w=w, b=b: x @ w + b) for w, b in dense)
        a = spike(repeat(2 * first(x), n_steps), dt)
        b = spike(between(a / dt / 2), dt, draw=2)
        return {"a": a, "b": b}, last(b / dt).mean(axis=1)

    return model, x, twin


def two_inputs_into_a_shared_layer():
    inputs = {"left": keras.Input((4,), name="left"), "right": keras.Input((3,), name="right")}
    left, right, last = (keras.layers.Dense(units) for units in (5, 5, 3))
    shared, pool = layers.SpikingActivation("relu", dt=0.25, name="s"), layers.TemporalAveragePooling()
    first = pool(shared(layers.Repeat(T)(left(inputs["left"]))))
    second = pool(shared(layers.Repeat(T)(keras.layers.add([first, right(inputs["right"])]))))
    model = with_exact_weights(keras.Model(inputs, last(keras.layers.concatenate([first, second]))))

    def twin(x, dt, n_steps=T):
        (u, a), (w, b), (v, c) = map(numpy_weights, (left, right, last))
        first = spike(repeat(x["left"] @ u + a, n_steps), dt)
        rates = (first / dt).mean(axis=1)
        second = spike(repeat(rates + x["right"] @ w + b, n_steps), dt, draw=2)
        outputs = np.concatenate([rates, (second / dt).mean(axis=1)], axis=1) @ v + c
        return {"s": first, "s (call 2)": second}, outputs

    return model, {"left": integers(N, 4), "right": integers(N, 3, seed=1)}, twin


def nested_with_images():
    inner = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Conv2D(2, 2),
            layers.Repeat(T),
            layers.SpikingActivation("relu", dt=0.25, name="s"),
        ]
    )
    images = keras.Input((4, 4, 1))
    rates = keras.layers.Flatten()(layers.TemporalAveragePooling()(inner(images)))
    last = keras.layers.Dense(3)
    model = with_exact_weights(keras.Model(images, last(rates)))

    def twin(x, dt, n_steps=T):
        (kernel, b), (v, c) = numpy_weights(inner)[:2], numpy_weights(last)
        windows = np.lib.stride_tricks.sliding_window_view(x[..., 0], (2, 2), axis=(1, 2))
        counts = spike(repeat(np.einsum("nijkl,klf->nijf", windows, kernel[:, :, 0]) + b, n_steps), dt)
        return {"s": counts}, (counts / dt).mean(axis=1).reshape(len(x), -1) @ v + c

    return model, integers(N, 4, 4, 1), twin


def time_series():
    model = keras.Sequential(
        [
            keras.Input((None, 4)),
            layers.SpikingActivation("relu", dt=0.25, name="s"),
            layers.Lowpass(0.1, name="filter"),  # does not spike: not in the report
            layers.LastStep(),
            keras.layers.Dense(3),
        ]
    )

    def twin(x, dt, n_steps=T):
        return {"s": spike(x[:, :n_steps], dt)}, None

    return model, integers(N, T, 4), twin


# The synaptic operations of each layer, from the spikes per sample.
OPERATIONS = {
    # Each spike of a goes to 6 units, although a Lambda halves it. Each spike of b goes to 3 units.
    subclassed: lambda counts: [None, 6 * counts["a"], 3 * counts["b"]],
    # The average of each spike train goes to 3 classes.
    two_inputs_into_a_shared_layer: lambda counts: [None, None, 3 * (counts["s"] + counts["s (call 2)"])],
}
NETWORKS = (sequential, subclassed, two_inputs_into_a_shared_layer, nested_with_images, time_series)


@pytest.mark.parametrize("network", NETWORKS)
def test_inspect_equals_numpy_and_its_first_steps_equal_a_shorter_run(network):
    model, x, twin = network()
    y = np.arange(N) % 3
    options = {"batch_size": 10, "examples": 0, "causal": network is subclassed}
    report = inspect(model, x, y, dt=DTS, **options)
    assert (report.n_samples, [result.dt for result in report]) == (N, DTS)
    for result in report:
        counts, outputs = twin(x, result.dt)
        assert list(result.layers) == list(counts)
        for name, layer in result.layers.items():
            assert_layer(layer, counts[name], result.dt)
        if outputs is not None:
            assert result.accuracy == np.mean(outputs.argmax(axis=1) == y)
        assert result.examples is None
    latency = report[1.0].latency
    if network is two_inputs_into_a_shared_layer:  # the second Repeat needs the average over all steps
        assert latency is None
        assert report[1.0].notes[0].endswith("(Repeat) depends on the end of the time axis.")
    else:
        assert latency.steps.tolist() == list(range(1, T + 1))
    # A time series also accepts n_steps = T.
    for shorter in inspect(model, x, y, dt=1.0, n_steps=(3, T) if network is time_series else 3, **options):
        if latency is not None:
            assert_latency(latency, shorter)
        counts, outputs = twin(x, 1.0, n_steps=shorter.n_steps)
        for name, layer in shorter.layers.items():
            assert_layer(layer, counts[name], 1.0)
        if outputs is not None:
            assert shorter.accuracy == np.mean(outputs.argmax(axis=1) == y)
    if network in OPERATIONS:  # without a graph; in one run of all steps
        operations = [synapses.operations for synapses in report[1.0].synapses.values()]
        counts = {name: of_layer.sum() / N for name, of_layer in twin(x, 1.0)[0].items()}
        expected = OPERATIONS[network](counts)
        assert [o is None for o in operations] == [o is None for o in expected]
        # rel: sums of means of float32
        assert [o or 0 for o in operations] == pytest.approx([o or 0 for o in expected], rel=1e-6)


def assert_latency(latency, *results):
    """Compare the latency after k steps with results of k steps."""
    for result in results:
        k = latency.steps.tolist().index(result.n_steps)
        assert latency.accuracy[k] == result.accuracy
        # rtol: the confidence is a float32 softmax of sums in another order
        np.testing.assert_allclose(latency.confidence[k], result.latency.confidence[-1], rtol=1e-5)


@pytest.fixture(scope="module", autouse=True)
def _keep_compiled_functions():
    """Keep the compiled functions of all models, so that models are not compiled again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prober, "_cached_probers", functools.lru_cache(maxsize=None)(prober._cached_probers.__wrapped__))
        yield


@pytest.fixture(scope="module")
def small():
    """Return the first network, for tests without requirements."""
    return sequential()


def test_dt_that_are_not_powers_of_two(small):
    model, x, twin = small
    for result in inspect(model, x, dt=[0.001, 0.003, 0.1], batch_size=10, examples=0):
        assert_layer(result.layers["s"], twin(x, result.dt)[0]["s"], result.dt)


def test_labels(small):
    model, x, twin = small
    right = twin(x, 1.0)[1].argmax(axis=1)
    y = np.where(np.arange(N) % 4 == 0, (right + 1) % 3, right)
    one_hot = np.eye(3, dtype="float32")[y]
    for labels in (y, y[:, None], y.astype("float32"), y.tolist(), one_hot, ops.convert_to_tensor(one_hot)):
        assert inspect(model, x, labels, dt=1.0, batch_size=10, examples=0)[1.0].accuracy == 0.75
    assert inspect(model, x, dt=1.0, batch_size=10, examples=0)[1.0].accuracy is None


def test_without_dt_the_current_dt_of_the_layers_is_used():
    model, x, twin = sequential()
    layer = model.get_layer("s")
    variable = keras.Variable(0.5, dtype="float32", trainable=False)
    for dt, value in ((0.25, 0.25), (1.0, 1.0), (variable, 0.5)):
        layer.dt = dt
        assert_layer(inspect(model, x, batch_size=10, examples=0)[None].layers["s"], twin(x, value)[0]["s"], value)
    variable.assign(2.0)
    assert_layer(inspect(model, x, batch_size=10, examples=0)[None].layers["s"], twin(x, 2.0)[0]["s"], 2.0)


def figures(report):
    return report.to_dict()["results"], [
        layer.per_unit.tolist() for result in report for layer in result.layers.values()
    ]


def without_confidence(report):
    """Return the figures without the confidences, and the confidences."""
    results, per_unit = figures(report)
    confidences = [values.pop("confidence") for result in results for values in result["latencies"].values()]
    return (results, per_unit), [value for values in confidences for value in values]


def test_results_do_not_depend_on_the_batch_size(small):
    model, x, _ = small
    y = np.arange(N) % 3
    all_at_once, confidence = without_confidence(inspect(model, x, y, dt=0.25, batch_size=10, examples=0))
    exact, rounded = without_confidence(inspect(model, x, y, dt=0.25, batch_size=7, examples=0))
    assert exact == all_at_once
    # rel: XLA rounds a float32 mean over time and softmax differently for another batch size
    assert rounded == pytest.approx(confidence, rel=1e-6)


def test_results_depend_on_the_seed(small):
    model, x, _ = small
    first, repeated, other = (
        figures(inspect(model, x, dt=0.25, batch_size=10, seed=seed, examples=0)) for seed in (0, 0, 8)
    )
    assert first == repeated
    assert first != other


# Examples


def test_examples_are_the_first_samples(small):
    """Examples are the first samples, here from two batches."""
    model, x, twin = small
    examples = 15
    y = np.arange(N) % 3
    kept = inspect(model, x, y, dt=1.0, batch_size=10, examples=examples)[1.0].examples
    x = x[:examples]
    np.testing.assert_array_equal(kept.x, x)
    assert kept.y.tolist() == y[:examples].tolist()
    counts, _ = twin(x, 1.0)
    assert list(kept.counts) == list(counts)
    np.testing.assert_array_equal(kept.counts["s"], counts["s"])
    assert kept.steps.tolist() == list(range(1, T + 1))
    outputs = np.stack([twin(x, 1.0, n_steps=k)[1] for k in kept.steps], axis=1)
    # rtol, atol: a mean over three steps is rounded to float32
    np.testing.assert_allclose(kept.output, outputs, rtol=1e-5, atol=1e-5)


def test_examples_of_several_inputs_and_layers_without_outputs_over_time():
    model, x, twin = two_inputs_into_a_shared_layer()
    kept = inspect(model, x, np.arange(N) % 3, dt=1.0, batch_size=10, examples=2)[1.0].examples
    x = keras.tree.map_structure(lambda array: array[:2], x)
    keras.tree.map_structure(np.testing.assert_array_equal, kept.x, x)
    assert kept.y.tolist() == [0, 1]
    counts, _ = twin(x, 1.0)
    assert list(kept.counts) == list(counts)
    for name, of_layer in counts.items():
        np.testing.assert_array_equal(kept.counts[name], of_layer)
    assert kept.output is None


def test_steps_at_once_gives_outputs_of_examples_after_each_part():
    model = keras.Sequential(
        [keras.Input((T, 4)), layers.SpikingActivation("relu", name="s"), layers.TemporalAveragePooling()]
    )
    x = integers(N, T, 4)
    kept = inspect(model, x, dt=0.25, batch_size=10, steps_at_once=3, examples=30)[0.25].examples
    counts = spike(x, 0.25)
    np.testing.assert_array_equal(kept.counts["s"], counts)
    assert kept.steps.tolist() == [2, 5, 8]  # the first part is shorter
    # rtol: a mean over five steps in float32
    outputs = np.stack([counts[:, :k].mean(axis=1) / 0.25 for k in (2, 5, 8)], axis=1)
    np.testing.assert_allclose(kept.output, outputs, rtol=1e-6)
    assert kept.y is None


class Counter(keras.layers.Layer):
    """A user's layer that counts its calls in a weight, and draws random numbers in inference."""

    def __init__(self):
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(5)

    def build(self, input_shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.calls.assign(self.calls + 1)
        return self.calls * x, keras.random.uniform((*ops.shape(x)[:1], 2), seed=self.seed_generator)


def test_variables_changed_by_a_call_continue_from_part_to_part():
    inputs, counter = keras.Input((T, 4)), Counter()
    multiplied, drawn = counter(layers.SpikingActivation("relu", name="s")(inputs))
    model, x = keras.Model(inputs, {"last": layers.LastStep()(multiplied), "drawn": drawn}), integers(N, T, 4)
    for _ in range(2):
        kept = inspect(model, x, dt=1.0, batch_size=10, causal=True, examples=2)[1.0].examples
        np.testing.assert_array_equal(kept.outputs["last"], np.arange(1, T + 1)[:, None] * spike(x[:2], 1.0))
        assert len(np.unique(kept.outputs["drawn"])) == 2 * T * 2
        assert int(counter.calls) == 0


class Weighted(keras.Model):
    """A model with a weight for each of its three steps."""

    def __init__(self):
        super().__init__()
        self.parts = [layers.Repeat(3), layers.SpikingActivation("relu"), keras.layers.Dense(3)]

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return x * ops.convert_to_tensor([[[1.0], [2.0], [3.0]]])


def test_a_model_with_a_fixed_number_of_steps_has_no_output_over_time():
    model = Weighted()
    model(integers(1, 4))
    report = inspect(model, integers(N, 4), np.zeros(N), dt=1.0, batch_size=10, causal=True, examples=1)
    kept = report[1.0].examples
    assert kept.output is None
    assert report[1.0].latency is None
    assert report[1.0].accuracy is not None
    (note,) = report[1.0].notes
    assert note.startswith("No predictions after fewer steps: the model takes 3 steps only (")
    assert note.isprintable()  # Keras prints parts of its messages in bold
    assert report.table().endswith(note)
    assert [counts.shape for counts in kept.counts.values()] == [(1, 3, 4)]


# After the first k steps


def test_only_models_that_do_not_mix_steps_have_a_latency():
    def network(*between):
        spiking = layers.SpikingActivation("relu", name="s")
        model = keras.Sequential([keras.Input((None, 4)), spiking, *between, layers.TemporalAveragePooling()])
        model.add(keras.layers.Dense(3))
        return with_exact_weights(model)

    x, y = integers(N, T, 4), np.arange(N) % 3
    # With padding="same", a step depends on the next step, so that a shorter run ends differently. With
    # padding="causal", previous steps would have to be in a state.
    for reason, model in (
        (None, network(keras.layers.Dense(5), layers.SpikingActivation("relu", name="t"))),
        ("(Conv1D) mixes time steps", network(keras.layers.Conv1D(4, 3, padding="causal"))),
        ("(Conv1D) mixes time steps", network(keras.layers.Conv1D(4, 3, padding="same"))),
    ):
        all_steps = inspect(model, x, y, dt=1.0, batch_size=10, examples=0)[1.0]
        if reason is None:
            shorter = inspect(model, x, y, dt=1.0, n_steps=3, batch_size=10, examples=0)[1.0]
            assert_latency(all_steps.latency, shorter)
        else:
            assert all_steps.latency is None
            assert reason in all_steps.notes[0]
        with probe.scope(dt=1.0, sample_index=ops.arange(N)):
            assert all_steps.accuracy == np.mean(ops.convert_to_numpy(model(x)).argmax(axis=1) == y)


def test_a_pooling_of_keras_over_time_has_no_latency():
    spiking = layers.SpikingActivation("relu", name="s")
    pooling = keras.layers.GlobalAveragePooling1D()
    model = with_exact_weights(
        keras.Sequential([keras.Input((4,)), layers.Repeat(4), spiking, pooling, keras.layers.Dense(3)])
    )
    x, y = integers(N, 4), np.arange(N) % 3
    for n_steps in (3, 4):
        result = inspect(model, x, y, dt=1.0, n_steps=n_steps, batch_size=10, examples=2)[1.0]
        assert result.latency is None  # it has no running sum
        assert "(GlobalAveragePooling1D) mixes time steps" in result.notes[0]
        assert result.examples.output is None
        with probe.scope(dt=1.0, n_steps=n_steps, sample_index=ops.arange(N)):
            outputs = ops.convert_to_numpy(model(x))
        assert result.accuracy == np.mean(outputs.argmax(axis=1) == y)


def test_the_last_step_gives_the_predictions_of_the_model(small):
    model, x, _ = small
    y = np.arange(N) % 3
    with probe.scope(dt=ops.convert_to_tensor(0.3), sample_index=ops.arange(N)):
        predictions = ops.convert_to_numpy(ops.argmax(model(x), axis=1))
    result = inspect(model, x, y, dt=0.3, batch_size=10, examples=0)[0.3]
    assert result.accuracy == result.latency.accuracy[-1] == np.mean(predictions == y)


def test_early_exit(small):
    model, x, _ = small
    y = np.arange(N) % 3
    latency, complete = (inspect(model, x, y, dt=1.0, batch_size=10, examples=examples)[1.0] for examples in (0, N))
    outputs = np.exp(complete.examples.output - complete.examples.output.max(axis=-1, keepdims=True))
    shares = outputs / outputs.sum(axis=-1, keepdims=True)
    right = complete.examples.output.argmax(axis=-1) == y[:, None]
    used = set()
    for threshold, (accuracy, mean_steps) in latency.latency.early_exit.items():
        exits = []
        for i in range(N):
            sure = [k for k in range(T) if shares[i, k].max() >= threshold]
            exits.append(sure[0] if sure else T - 1)
        assert accuracy == np.mean([right[i, k] for i, k in enumerate(exits)])
        assert mean_steps == np.mean(exits) + 1
        used.add(mean_steps)
    assert len(used) > 2  # thresholds have an effect
    assert inspect(model, x, dt=1.0, batch_size=10, examples=0)[1.0].latency.early_exit[0.9][0] is None


def test_many_steps_make_32_parts_at_most(small):
    model, x, _ = small
    longer, shorter = inspect(model, x, np.arange(N) % 3, dt=1.0, n_steps=[200, 11], batch_size=10, examples=0)
    assert longer.latency.steps.tolist() == list(range(4, 201, 7))
    assert_latency(longer.latency, shorter)
    assert inspect(model, x, dt=1.0, n_steps=200, batch_size=10, examples=0)[1.0].latency.accuracy is None


# Synaptic operations


def test_synaptic_operations_are_spikes_times_fan_out():
    first, conv, last = (
        keras.layers.Dense(32, name="first"),
        keras.layers.Conv2D(3, 2, strides=2, padding="same", name="conv"),
        keras.layers.Dense(5, name="last"),
    )
    pool = layers.TimeFold(keras.layers.AveragePooling2D(2, name="pool"))
    spikes = [layers.SpikingActivation("relu", name=name) for name in "ab"]
    inputs = keras.Input((4,))
    images = keras.layers.Reshape((4, 4, 2))(first(inputs))
    rates = pool(spikes[1](layers.TimeFold(conv)(spikes[0](layers.Repeat(T)(images)))))
    outputs = last(keras.layers.Flatten()(layers.TemporalAveragePooling()(rates)))
    model, x = with_exact_weights(keras.Model(inputs, outputs)), integers(N, 4)

    def counts_of(dt):
        spikes_of = {}
        with probe.scope(dt=dt, sample_index=ops.arange(N), record=lambda layer, s: spikes_of.update({layer.name: s})):
            model(x)
        return {name: np.rint(ops.convert_to_numpy(s).astype("float64") * dt) for name, s in spikes_of.items()}

    for result in inspect(model, x, dt=[0.25, 1.0], batch_size=10, examples=0):
        counts = counts_of(result.dt)
        assert (result.synapses["first"].operations, result.synapses["first"].connections) == (None, 128)
        # Windows of 2 x 2 with a stride of 2 tile the 4 x 4 image: each spike goes to three filters.
        conv_spikes = counts["a"].sum() / N
        assert result.synapses["conv"].spikes == pytest.approx(conv_spikes, rel=1e-6)
        assert result.synapses["conv"].operations == pytest.approx(3 * conv_spikes, rel=1e-6)
        # Each spike goes to one window of the pooling, which divides it by 4. The mean over time goes to five units.
        pooled = counts["b"].sum() / N
        assert result.synapses["pool"].operations == pytest.approx(pooled, rel=1e-6)
        assert result.synapses["last"].spikes == pytest.approx(pooled / 4, rel=1e-6)
        assert result.synapses["last"].operations == pytest.approx(5 * pooled / 4, rel=1e-6)
        connections = {name: synapses.connections for name, synapses in result.synapses.items()}
        assert connections == {"first": 128, "conv": 2 * 2 * 3 * 8, "pool": 12, "last": 15}
        assert result.ann_macs == 96 + 12 + 15
        assert result.synaptic_operations == pytest.approx(3 * conv_spikes + 2.25 * pooled, rel=1e-6)
        neurons = 32 + 12
        loihi = 27.1e-12 * (result.synaptic_operations + 128) + 81e-12 * neurons * T
        assert result.energy("loihi") == pytest.approx(loihi, rel=1e-9)
        assert result.energy("cpu") == pytest.approx(8.6e-9 * (128 + 96 + 12 + 15 + neurons), rel=1e-9)


# Grids, several outputs, metrics


def test_a_grid_of_dt_and_steps(small):
    model, x, twin = small
    y = np.zeros(N, int)
    report = inspect(model, x, y, dt=[0.25, 1.0], n_steps=[2, 5], batch_size=10, examples=0)
    assert [(result.dt, result.n_steps) for result in report] == [(0.25, 2), (1.0, 2), (0.25, 5), (1.0, 5)]
    for result in report:
        counts, outputs = twin(x, result.dt, n_steps=result.n_steps)
        assert report[result.dt, result.n_steps] is result
        assert_layer(result.layers["s"], counts["s"], result.dt)
        assert result.accuracy == np.mean(outputs.argmax(axis=1) == 0)
    latency = inspect(model, x, y, dt=1.0, batch_size=10, examples=0)[1.0].latency
    assert_latency(latency, report[1.0, 2], report[1.0, 5])


def two_outputs():
    inputs = keras.Input((4,))
    spikes = layers.SpikingActivation("relu", name="s")(layers.Repeat(T)(inputs))
    rates = layers.TemporalAveragePooling()(spikes)
    outputs = {name: keras.layers.Dense(units, name=name)(rates) for name, units in (("kind", 3), ("size", 1))}
    outputs["late"] = layers.LastStep()(spikes)
    return with_exact_weights(keras.Model(inputs, outputs))


def test_a_report_names_its_model_data_and_date():
    model, x, _ = two_inputs_into_a_shared_layer()
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    report = inspect(model, x, dt=1.0, batch_size=10, examples=0)
    shapes = " and ".join(str(leaf.shape[1:]) for leaf in keras.tree.flatten(x))
    assert (report.model, report.data) == (model.name, f"{N} samples of {shapes}")
    assert before <= datetime.datetime.fromisoformat(report.date) <= datetime.datetime.now(datetime.UTC)


def test_each_output_has_accuracy_and_latency():
    model, x = two_outputs(), integers(N, 4)
    y = {"kind": np.arange(N) % 3, "late": np.arange(N) % 4}
    result = inspect(model, x, y, dt=0.25, batch_size=10, examples=2)[0.25]
    with probe.scope(dt=0.25, sample_index=ops.arange(N)):
        outputs_of = {name: ops.convert_to_numpy(tensor) for name, tensor in model(x).items()}
    assert result.accuracy == {name: np.mean(outputs_of[name].argmax(axis=1) == y[name]) for name in y}
    assert {name: latency.accuracy.shape for name, latency in result.latency.items()} == {"kind": (T,), "late": (T,)}
    assert {name: outputs.shape for name, outputs in result.examples.outputs.items()} == {
        "kind": (2, T, 3),
        "late": (2, T, 4),
    }
    with pytest.raises(ValueError, match=r"for 'size', but .*'kind', 'late', 'size'"):
        inspect(model, x, {"size": np.zeros(N)}, dt=0.25, batch_size=10)
    with pytest.raises(ValueError, match="Give a dict of labels from the outputs' names"):
        inspect(model, x, np.zeros(N), dt=0.25, batch_size=10)


def test_any_keras_metric():
    model, x = two_outputs(), integers(N, 4)
    size = np.linspace(0, 5, N).astype("float32")[:, None]
    metrics = {
        "kind": [keras.metrics.SparseTopKCategoricalAccuracy(k=2, name="top2")],
        "size": [keras.metrics.MeanSquaredError(name="mse")],
    }
    y = {"kind": np.arange(N) % 3, "size": size}
    report = inspect(model, x, y, dt=[0.25, 1.0], batch_size=7, metrics=metrics, examples=0)
    for result in report:
        with probe.scope(dt=result.dt, sample_index=ops.arange(N)):
            outputs = {name: ops.convert_to_numpy(tensor) for name, tensor in model(x).items()}
        top2 = np.mean([label in row.argsort()[-2:] for label, row in zip(y["kind"], outputs["kind"], strict=True)])
        # rel: means of float32 in another order
        assert result.metrics["kind_top2"] == pytest.approx(top2, rel=1e-6)
        assert result.metrics["size_mse"] == pytest.approx(np.mean((outputs["size"] - size) ** 2), rel=1e-5)
    with pytest.raises(ValueError, match="needs labels"):
        inspect(model, x, dt=0.25, metrics=metrics)
    with pytest.raises(ValueError, match="`metrics` must be outputs .*; got 'colour'"):
        inspect(model, x, y, dt=0.25, metrics={"colour": "mse"})


def test_the_name_of_a_metric_is_enough(small):
    model, x, _ = small
    y = np.arange(N) % 3
    result = inspect(model, x, y, dt=1.0, batch_size=10, metrics="sparse_categorical_accuracy", examples=0)[1.0]
    assert result.metrics == {"sparse_categorical_accuracy": pytest.approx(result.accuracy, rel=1e-6)}


def deterministic(units, *, sequence=False):
    """Return a model without random draws, whose outputs are the same in ``evaluate``."""
    parts = [keras.layers.Dense(6), layers.Repeat(5), layers.LIF(threshold=0.2)]
    parts += [] if sequence else [layers.TemporalAveragePooling()]
    last = keras.layers.Dense(units, "sigmoid" if units == 1 else "softmax", name="last")
    return keras.Sequential([keras.Input((4,)), *parts, last])


def evaluated(model, x, y, metrics, batch_size=10):
    model.compile(loss=lambda y, outputs: ops.mean(outputs, axis=-1), metrics=metrics)
    values = model.evaluate(x, y, batch_size=batch_size, return_dict=True, verbose=0)
    return {name: value for name, value in values.items() if name != "loss"}


@pytest.mark.parametrize("units", [3, 1])
def test_metrics_equal_evaluate(units):
    model, x = deterministic(units), np.abs(integers(N, 4))
    y = np.arange(N) % max(units, 2)
    one_hot = np.eye(3, dtype="float32")[y]
    cases = {
        3: [(one_hot, ["accuracy", "acc", "categorical_accuracy"]), (y, ["Accuracy", "sparse_categorical_accuracy"])],
        1: [(y, ["accuracy", "mse", "binary_accuracy"]), (y[:, None], ["acc", keras.losses.binary_crossentropy])],
    }
    for labels, metrics in [*cases[units], (y[:, None], ["accuracy"])]:
        result = inspect(model, x, labels, batch_size=10, metrics=metrics, examples=0)[None]
        # rel: means of float32 in another order
        assert result.metrics == pytest.approx(evaluated(model, x, labels, metrics), rel=1e-5)
        if units > 1:
            assert result.metrics == pytest.approx(dict.fromkeys(result.metrics, result.accuracy), rel=1e-6)


def test_metrics_at_each_dt_equal_evaluate():
    def spread(y, outputs):
        return ops.max(outputs, axis=-1) - ops.min(outputs, axis=-1)

    def metrics():
        return [keras.metrics.SparseCategoricalCrossentropy(name="entropy"), "accuracy", spread]

    # `evaluate` draws voltages from this seed and the position in the batch. For the first layer, `inspect` draws the
    # same.
    spiking = layers.SpikingActivation("relu", seed=1, spiking_aware_training=False)
    parts = [layers.Repeat(5), spiking, layers.TemporalAveragePooling(), keras.layers.Dense(3, "softmax")]
    model = with_exact_weights(keras.Sequential([keras.Input((4,)), *parts]))
    x, y = np.abs(integers(N, 4)), np.arange(N) % 3
    report = inspect(model, x, y, dt=DTS, batch_size=7, metrics=metrics(), examples=0)
    for result in report:
        keras_snn.set_dt(model, result.dt)
        # rel: means of float32 in another order
        assert result.metrics == pytest.approx(evaluated(model, x, y, metrics(), batch_size=N), rel=1e-5)
    for name, least in (("entropy", 3), ("accuracy", 2), ("spread", 3)):  # metrics depend on dt
        assert len({result.metrics[name] for result in report}) >= least


@pytest.mark.backend_free
def test_metrics_of_an_output_over_time_use_its_mean():
    model, x, y = deterministic(3, sequence=True), np.abs(integers(N, 4)), np.eye(3)[np.arange(N) % 3]
    result = inspect(model, x, y, batch_size=10, metrics="accuracy", examples=0)[None]
    pooled = keras.Sequential([model, layers.TemporalAveragePooling()])
    assert result.metrics == pytest.approx(evaluated(pooled, x, y, ["accuracy"]), rel=1e-6)
    assert result.metrics == {"accuracy": pytest.approx(result.accuracy, rel=1e-6)}


@pytest.mark.backend_free
def test_metrics_with_the_same_name_are_all_reported(small):
    model, x, _ = small
    y = np.random.default_rng(0).dirichlet([1, 1, 1], size=N).astype("float32")
    names = {"MeanSquaredError": "m", "MeanAbsoluteError": "m", "CosineSimilarity": "m_1", "KLDivergence": "m"}
    metrics = [getattr(keras.metrics, kind)(name=name) for kind, name in names.items()]
    result = inspect(model, x, y, dt=1.0, batch_size=10, metrics=metrics, examples=0)[1.0]
    assert list(result.metrics) == ["m", "m_1", "m_1_1", "m_2"]
    assert len(set(result.metrics.values())) == 4
    assert result.accuracy is None  # the labels are not classes
    with pytest.raises(ValueError, match="'m' must be given only once"):
        inspect(model, x, y, dt=1.0, batch_size=10, metrics=[metrics[0], metrics[0]], examples=0)


@pytest.mark.backend_free
def test_pandas(small):
    pd = pytest.importorskip("pandas")
    model, x, _ = small
    y = np.arange(N) % 3
    expected = figures(inspect(model, x, y, dt=1.0, batch_size=10))
    frame = pd.DataFrame(x, columns=list("abcd"))
    for labels in (pd.Series(y), pd.DataFrame(np.eye(3)[y], columns=list("xyz")), pd.DataFrame({"class": y})):
        report = inspect(model, frame, labels, dt=1.0, batch_size=10)
        assert [result.accuracies for result in report] == [expected[0][0]["accuracies"]]
    assert figures(inspect(model, frame, pd.Series(y), dt=1.0, batch_size=10)) == expected
    with pytest.raises(TypeError, match="DataFrame must hold numbers only.*object.*columns that are numbers"):
        inspect(model, frame.assign(a="text"), dt=1.0)


# Layers and outputs of all kinds


def test_a_users_cell():
    class Threshold(layers.SpikingCell):
        def call_inference(self, inputs, states):
            voltage = states[0] + inputs * self.dt
            spikes = ops.cast(voltage >= 1, inputs.dtype)
            return spikes / self.dt, [voltage - spikes]

    model = keras.Sequential([keras.Input((T, 4)), layers.RNN(Threshold(4, dt=0.25), name="s")])
    x = np.abs(integers(N, T, 4))
    for result in inspect(model, x, dt=[0.25, 0.0625], batch_size=10, examples=0):
        voltage, counts = np.zeros((N, 4)), np.zeros(x.shape)
        for t in range(T):
            voltage = voltage + x[:, t] * result.dt
            counts[:, t] = voltage >= 1
            voltage = voltage - counts[:, t]
        assert_layer(result.layers["s"], counts, result.dt)


def test_outputs_that_are_not_classes():
    inputs = keras.Input((T, 4))
    spikes = layers.SpikingActivation("relu", name="s")(inputs)
    x = integers(N, T, 4)
    for outputs in ({"a": spikes, "b": spikes}, keras.layers.Dense(1)(layers.LastStep()(spikes))):
        model = keras.Model(inputs, outputs)
        result = inspect(model, x, dt=0.25, batch_size=10, examples=1)[0.25]
        assert result.accuracy is None
        assert (result.examples.output is None) == (not isinstance(outputs, dict))
        assert_layer(result.layers["s"], spike(x, 0.25), 0.25)
        with pytest.raises(ValueError, match="not that of a classifier"):
            inspect(model, x, np.zeros(N), dt=0.25, batch_size=10, examples=0)


def test_ten_billion_spikes_are_counted_exactly():
    model = keras.Sequential([keras.Input((50,)), layers.Repeat(20), layers.SpikingActivation("relu", name="s")])
    x = np.random.default_rng(0).integers(99_000, 101_000, size=(100, 50)).astype("float32")
    layer = inspect(model, x, dt=1.0, batch_size=50, examples=0)[1.0].layers["s"]
    # At dt = 1 s, an integer rate is the number of spikes in every step.
    assert 20 * x.sum(dtype="float64") > 9e9
    np.testing.assert_array_equal(layer.per_unit * 100, x.sum(axis=0, dtype="float64"))
    assert (layer.rate.min, layer.rate.max) == (x.min(), x.max())


def test_a_batch_may_hold_more_spikes_than_int32():
    model = keras.Sequential([keras.Input((1,)), layers.Repeat(2000), layers.SpikingActivation("relu", name="s")])
    rate = inspect(model, np.full((128, 1), 10_000, "float32"), dt=1.0, examples=0)[1.0].layers["s"].rate
    assert (rate.min, rate.mean, rate.max) == (10_000, 10_000, 10_000)
    with pytest.raises(ValueError, match=r"layer 's' has more spikes .* samples 0 to 127. .* 2000 steps"):
        inspect(model, np.full((128, 1), 2_000_000, "float32"), dt=1.0, examples=0)


def test_half_precision_counts_every_spike():
    # 1 / 0.003 Hz is 334 in bfloat16: 300 spikes would be counted as 300.6.
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = keras.Sequential([keras.Input((2,)), layers.Repeat(300), layers.SpikingActivation("relu", name="s")])
    finally:
        keras.config.set_dtype_policy("float32")
    layer = inspect(model, np.full((3, 2), 10_000, "float32"), dt=0.003, examples=0)[0.003].layers["s"]
    # bfloat16 rounds 10,000 to 9984, which gives 29.952 spikes per step.
    assert layer.rate.mean == pytest.approx(9984, abs=1 / (300 * 0.003))


# Data in batches


@pytest.mark.parametrize("kind", KINDS)
def test_data_in_batches_give_the_same_report_as_arrays(small, kind):
    model, x, _ = small
    y = np.arange(N) % 3
    options = {"dt": [0.25, 1.0], "examples": 9, "metrics": ["accuracy"]}
    expected = inspect(model, x, y, batch_size=7, **options)
    report = inspect(model, in_batches(kind, x, y, size=7), **options)  # batches of 7, 7 and 6 samples
    assert figures(report) == figures(expected)
    assert (report.n_samples, report.data) == (N, expected.data)
    actual, of_arrays = report[1.0].examples, expected[1.0].examples
    for ours, theirs in ((actual.x, of_arrays.x), (actual.y, of_arrays.y), (actual.output, of_arrays.output)):
        np.testing.assert_array_equal(ours, theirs)


def test_the_first_batches_of_endless_data(small):
    model, x, _ = small
    y = np.arange(N) % 3
    data = Pieces(cut(x, y, size=5), endless=True)
    with pytest.raises(ValueError, match="`x` must end, and this Pieces is endless.*`steps=100`"):
        inspect(model, data, dt=1.0)
    report = inspect(model, data, dt=1.0, steps=2, examples=0)
    assert figures(report) == figures(inspect(model, x[:10], y[:10], dt=1.0, batch_size=5, examples=0))
    assert data.requested == [0, 1]  # each batch is read once
    # For arrays without `batch_size`, `steps` is the number of batches.
    assert figures(inspect(model, x[:10], y[:10], dt=1.0, steps=2, examples=0)) == figures(report)


@pytest.mark.backend_free
def test_one_batch_is_in_memory_and_labels_may_be_missing(small):
    model, x, _ = small
    data = Pieces(cut(x, size=2))
    report = inspect(model, data, dt=[0.25, 1.0], examples=0)
    # Each batch is read once. The first one is read before the loop, for the examples.
    assert (data.requested, max(data.n_alive)) == (list(range(10)), 1)
    assert report[1.0].accuracy is None
    assert figures(report) == figures(inspect(model, x, dt=[0.25, 1.0], batch_size=2, examples=0))


def test_labels_that_do_not_fit_are_errors(small, capsys):
    model, x, _ = small
    late = np.where(np.arange(N) == 17, 3, 1)  # in the last batch
    for arguments in ({"x": x, "y": late, "batch_size": 10}, {"x": in_batches("PyDataset", x, late, size=10)}):
        with pytest.raises(ValueError, match="`y` must hold class numbers from 0 to 2"):
            inspect(model, dt=1.0, **arguments)
        began = "1/2" in capsys.readouterr().out
        assert began == ("y" not in arguments)  # arrays are checked before the run
    with pytest.raises(ValueError, match="`y` must be None, because the batches of `x`, a Pieces, hold the labels"):
        inspect(model, in_batches("PyDataset", x), late)
    with pytest.raises(ValueError, match="`batch_size` must be None, because `x`, a Pieces, is already in batches"):
        inspect(model, in_batches("PyDataset", x), batch_size=4)


@pytest.mark.backend_free
def test_the_progress_is_shown_unless_verbose_is_0(small, capsys):
    model, x, _ = small
    for verbose, data, expected in (
        ("auto", {"x": x, "batch_size": 10}, "2/2"),
        (0, {"x": x, "batch_size": 10}, ""),
        (2, {"x": x, "batch_size": 10}, "2/2"),
        (2, {"x": in_batches("generator", x, size=10)}, "2/2"),
        (1, {"x": in_batches("generator", x, size=10)}, "2/2"),
    ):
        inspect(model, dt=1.0, examples=0, verbose=verbose, **data)
        out = capsys.readouterr().out
        assert expected in out
        assert out.endswith("\n") == bool(expected)


@pytest.mark.parametrize("policy", ["mixed_bfloat16"], indirect=True)
def test_the_global_policy_rounds_neither_dt_nor_data(policy):
    parts = layers.Repeat(30), layers.SpikingActivation("relu", name="s"), layers.TemporalAveragePooling()
    for part in parts:
        part.dtype_policy = "float32"
    model, x = keras.Sequential([keras.Input((2,)), *parts]), np.full((3, 2), 1003.3, "float32")
    layer = inspect(model, x, dt=0.003, examples=0)[0.003].layers["s"]
    assert_layer(layer, spike(repeat(x, 30), 0.003), 0.003)


# Compiled functions, and the state of the model


@pytest.fixture
def traces(monkeypatch):
    """Return a list that receives an item for each trace of the prober."""
    runs, call = [], prober.Prober.call

    @functools.wraps(call)
    def traced(self, inputs):
        runs.append(self)
        return call(self, inputs)

    monkeypatch.setattr(prober.Prober, "call", traced)
    return runs


def test_one_compiled_function_serves_every_dt(traces):
    model, x, _ = sequential()
    runs = []
    for dts in (DTS[:1], DTS, [0.003, 0.02, 7.0]):
        traces.clear()
        inspect(model, x, dt=dts, batch_size=10, examples=0)
        runs.append(len(traces))
    if keras.config.backend() == "torch":  # not compiled: one call per batch, two batches per dt
        assert runs == [2, 6, 6]
    else:
        assert runs[0] > 0
        assert runs[1:] == [0, 0]


def test_only_changes_of_the_model_are_compiled_again(traces):
    class Quadratic(layers.SpikingNeuron):
        parameter_names = ("a", "threshold")

        def __init__(self, a=0.2, **kwargs):
            super().__init__(**kwargs)
            self.a = a

        @staticmethod
        def step(p, state, x):
            (v,) = state
            v, spikes = p.fire(v + p.a * v * (v - 0.5) + x)
            return (v,), spikes

    def network():
        keras.utils.clear_session(free_memory=False)  # the same layer names in each call
        parts = [keras.layers.Dense(8, activity_regularizer="l2"), layers.Repeat(6), Quadratic(name="q")]
        model = keras.Sequential([keras.Input((4,)), *parts, layers.TemporalAveragePooling(), keras.layers.Dense(3)])
        model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    def inspected(model):
        return figures(inspect(model, x, y, dt=1.0, batch_size=10, examples=0))

    model, x, y = network(), np.abs(integers(N, 4)), np.arange(N) % 3
    changes = [
        lambda model: setattr(model.get_layer("q"), "a", 1.0),
        lambda model: setattr(model.layers[0], "activation", keras.activations.softplus),
    ]
    reports = [inspected(model)]
    for i, change in enumerate(changes, start=1):
        change(model)
        reports.append(inspected(model))
        fresh = network()
        fresh.set_weights(model.get_weights())
        for earlier in changes[:i]:
            earlier(fresh)
        assert inspected(fresh) == reports[-1]
    traces.clear()
    model.fit(x, y, batch_size=10, validation_split=0.5, verbose=0)
    reports.append(inspected(model))
    model.set_weights([w / 2 for w in model.get_weights()])
    reports.append(inspected(model))
    if keras.config.backend() != "torch":
        assert not traces
    assert all(a != b for a, b in itertools.pairwise(reports))


def test_a_model_that_does_not_depend_on_dt_runs_once(monkeypatch):
    model, x, y = deterministic(3), np.abs(integers(N, 4)), np.arange(N) % 3
    alone = [inspect(model, x, y, dt=dt, batch_size=10, examples=2)[dt] for dt in (0.001, 0.1)]
    batches, on = [], prober.Prober.on
    monkeypatch.setattr(prober.Prober, "on", lambda self, *args: batches.append(args) or on(self, *args))
    with pytest.warns(UserWarning, match=r"No layer .* depends on dt.* once, .* dt = 0.001, 0.1 s") as warned:
        report = inspect(model, x, y, dt=[0.001, 0.1], batch_size=10, examples=2)
    assert sum("depends on dt" in str(value.message) for value in warned) == 1
    assert len(batches) == 2
    for result, expected in zip(report, alone, strict=True):
        (layer,), (at_one_dt,) = result.layers.values(), expected.layers.values()
        assert (result.dt, result.accuracy, layer.dt) == (expected.dt, expected.accuracy, at_one_dt.dt)
        # rtol: products and quotients in another order
        for actual, value in ((layer.rate.max, at_one_dt.rate.max), (layer.rate.mean, at_one_dt.rate.mean)):
            assert actual == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(layer.per_unit, at_one_dt.per_unit, rtol=1e-12)
        assert layer.spikes_per_step == pytest.approx(
            at_one_dt.histogram["1"] / sum(at_one_dt.histogram.values()), rel=1e-12
        )
    assert report[0.001].layers["lif"].rate.mean > 0


class Leaky(layers.SpikingNeuron):
    """A user's neuron whose leak depends on dt."""

    def equation_values(self, p):
        return {**p, "decay": ops.exp(-ops.convert_to_tensor(self.dt, "float32"))}

    @staticmethod
    def step(p, state, x):
        (v,) = state
        v, spikes = p.fire(p.decay * v + x)
        return (v,), spikes

    def spread(self, name, value, states):
        return ops.broadcast_to(ops.convert_to_tensor(value), ops.shape(states[0]))


def test_a_neuron_that_reads_dt_runs_at_each_dt():
    model = keras.Sequential([keras.Input((4,)), layers.Repeat(6), Leaky(), layers.TemporalAveragePooling()])
    x = np.full((3, 4), 0.4, "float32")
    report = inspect(model, x, dt=[1e-3, 10.0], examples=0)
    # At dt = 1 ms, 0.4 per step exceeds 1 at the third and the sixth step. At 10 s, the membrane decays by exp(-10).
    assert [result.layers["leaky"].spikes_per_step for result in report] == pytest.approx([1 / 3, 0], abs=1e-12)


def test_the_results_of_a_batch_do_not_grow_with_data_or_steps(small, monkeypatch):
    model, x, _ = small
    shapes = []

    def predict_on_batch(self, batch):
        result = keras.Model.predict_on_batch(self, batch)
        keras.tree.map_structure(lambda array: shapes.append(array.shape), result)
        return result

    monkeypatch.setattr(prober.Prober, "predict_on_batch", predict_on_batch)
    shapes_of_runs = []
    for n_batches, n_steps in ((2, 2), (4, 2), (2, 5)):
        shapes.clear()
        inspect(model, np.resize(x, (10 * n_batches, 4)), dt=1.0, n_steps=n_steps, batch_size=10, examples=0)
        assert len(shapes) % n_batches == 0
        shapes_of_runs.append(set(shapes))
    # Predictions of 10 samples after each step; 5 units; spike counts of the units and of their synapses in three
    # parts; 12 bins; whether all values are finite.
    assert shapes_of_runs == [{(10, n_steps), (1, 5), (1, 3, 5), (1, 12), (1,)} for n_steps in (2, 2, 5)]


class Noise(keras.layers.Layer):
    """A layer that draws in inference. Every call changes its seed state."""

    def __init__(self):
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(5)

    def call(self, x):
        return x + keras.random.normal(ops.shape(x), seed=self.seed_generator)


def model_with_states():
    model = keras.Sequential(
        [
            keras.Input(batch_shape=(10, T, 4)),
            Noise(),
            keras.layers.BatchNormalization(),
            keras.layers.GRU(3, return_sequences=True, stateful=True, name="gru"),
            layers.SpikingActivation("relu", dt=0.25, seed=3, stateful=True, name="s"),
            keras.layers.Dropout(0.5),
            layers.Lowpass(0.1, dt=0.25, stateful=True, return_sequences=False),
            keras.layers.Dense(3),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def variables(model):
    # `variables` has no states of Keras's GRU, and on PyTorch none of our layers.
    carried = [v for layer in model.layers for v in getattr(layer, "carried", ())]
    return [*model.variables, *model.get_layer("gru").states, *carried]


def values(model):
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables(model)]


def test_the_model_is_not_changed():
    model, x = model_with_states(), integers(N, T, 4)
    before = values(model)
    predicted = model.predict(x, batch_size=10, verbose=0)
    for variable, value in zip(variables(model), before, strict=True):
        variable.assign(value)
    functions = (model.predict_function, model.train_function, model.test_function)
    flags = [(layer.trainable, getattr(layer, "training", None)) for layer in model._flatten_layers()]

    for fails in (True, False):
        if fails:
            with_nan = x.copy()
            with_nan[-1] = np.nan
            with pytest.raises(ValueError, match=r"layer 's' emits .* not finite, for samples 10 to 19"):
                inspect(model, with_nan, dt=[1.0, 2.0], batch_size=10, examples=0)
            assert probe.current() is None
        else:
            two_dt = inspect(model, x, dt=[1.0, 2.0], batch_size=10, examples=10)
            one_dt = inspect(model, x, dt=2.0, batch_size=10, examples=0)
            assert {**one_dt[2.0].to_dict(), "examples": 0} == {**two_dt[2.0].to_dict(), "examples": 0}
            repeated = inspect(model, x, dt=[1.0, 2.0], batch_size=10, examples=10)  # uses the cached analysis
            assert figures(repeated) == figures(two_dt)

        for value, variable in zip(before, values(model), strict=True):
            np.testing.assert_array_equal(variable, value)
        assert functions == (model.predict_function, model.train_function, model.test_function)
        assert flags == [(layer.trainable, getattr(layer, "training", None)) for layer in model._flatten_layers()]
        assert (model.get_layer("s").dt, keras_snn.default.dt) == (0.25, 0.001)
    np.testing.assert_array_equal(model.predict(x, batch_size=10, verbose=0), predicted)


def test_in_a_callback_inspect_uses_the_current_weights():
    model, x, _ = sequential()
    y = np.arange(N) % 3
    reports = []

    def record(batch=None, logs=None):
        reports.append(figures(inspect(model, x, y, dt=0.25, batch_size=10, examples=0)))

    model.compile(keras.optimizers.SGD(0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    record()
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=record)
    model.fit(x, y, batch_size=10, shuffle=False, verbose=0, callbacks=[callback])
    record()
    before, first_batch, second_batch, after = reports
    assert before != first_batch != second_batch
    assert second_batch == after


# Bad input


X = integers(N, 4)


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, "empty", {"x": X[:0]}),
        (ValueError, r"same number of samples; got \[19, 20\]", {"x": [X, X[1:]]}),
        (TypeError, "np.asarray", {"x": X.tolist()}),
        (TypeError, "None", {"x": None}),
        (ValueError, r"each of the 20 samples.*\(19,\)", {"y": np.zeros(19)}),
        (ValueError, r"each of the 20 samples.*\(\)", {"y": 3}),
        (ValueError, "from 0 to 2.* 3.0", {"y": np.full(N, 3.0)}),
        (ValueError, "from 0 to 2.* -1", {"y": np.full(N, -1)}),
        (ValueError, "from 0 to 2.* 0.5", {"y": np.full(N, 0.5)}),
        (ValueError, "from 0 to 2", {"y": np.zeros((N, 4))}),
        (ValueError, "from 0 to 2", {"y": np.zeros((N, 3, 3))}),
        (ValueError, "one-hot rows.*argmax", {"y": np.full((N, 3), 1 / 3)}),
        (ValueError, "one-hot rows.*argmax", {"y": np.zeros((N, 3))}),
        (ValueError, "positive, finite .* 0", {"dt": 0}),
        (ValueError, "positive, finite .* -1", {"dt": [0.1, -1]}),
        (ValueError, "positive, finite .* nan", {"dt": np.nan}),
        (TypeError, "'0.1'", {"dt": "0.1"}),
        (ValueError, "empty sequence", {"dt": []}),
        (ValueError, "`n_steps`.*at least 1 or None; got 0", {"n_steps": 0}),
        (ValueError, "`n_steps`.*got 2.5", {"n_steps": 2.5}),
        (ValueError, "`batch_size`.*at least 1 or None; got 0", {"batch_size": 0}),
        (ValueError, "`examples`.*at least 0; got -1", {"examples": -1}),
        (ValueError, "`seed`.*got 'a'", {"seed": "a"}),
        (TypeError, "Keras model; got function", {"model": lambda x: x}),
    ],
)
def test_bad_input_is_refused(small, error, message, arguments):
    arguments = {"model": small[0], "x": X, "dt": 1.0, "batch_size": 10, "examples": 0, **arguments}
    with pytest.raises(error, match=message):
        inspect(arguments.pop("model"), arguments.pop("x"), **arguments)


@pytest.mark.backend_free
def test_an_unbuilt_model_is_an_error():
    for model in (keras.Sequential([layers.SpikingActivation("relu")], name="new"), Subclassed(name="new")):
        with pytest.raises(ValueError, match="'new' is not built"):
            inspect(model, X)
        assert not model.built


@pytest.mark.backend_free
def test_a_model_without_spiking_layers_is_an_error():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="plain")
    with pytest.raises(ValueError, match="'plain' calls no spiking layer"):
        inspect(model, X)


def test_n_steps_without_effect_is_an_error():
    model = keras.Sequential([keras.Input((None, 4)), layers.SpikingActivation("relu")])
    with pytest.raises(ValueError, match=f"`n_steps` is 9.*`x` has {T} steps"):
        inspect(model, integers(N, T, 4), n_steps=9)
    tiled = keras.Sequential([keras.Input((4,)), keras.layers.RepeatVector(T), layers.SpikingActivation("relu")])
    with pytest.raises(ValueError, match="`n_steps` is 3.*`x` has no axis of steps"):
        inspect(tiled, integers(N, 4), n_steps=3)
    with pytest.raises(ValueError, match="`n_steps` must hold at least one number of steps"):
        inspect(model, integers(N, T, 4), n_steps=[])


def test_a_layer_with_non_finite_values_is_named(small):
    with_infinity = X.copy()
    with_infinity[13, 0] = np.inf
    with pytest.raises(ValueError, match=r"layer 's' .* for samples 10 to 19"):
        inspect(small[0], with_infinity, dt=1.0, batch_size=10, examples=0)


# TensorFlow's distribution strategies


MIRRORED = """
import keras, numpy as np, tensorflow as tf
from keras_snn import inspect, layers
from keras_snn.inspector import prober

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

def network():
    spiking = layers.SpikingActivation("relu", dt=0.25, name="s")
    return keras.Sequential([keras.Input((4,)), layers.Repeat(4), spiking, layers.TemporalAveragePooling()])

x = np.random.default_rng(0).integers(-3, 4, size=(8, 4)).astype("float32")
arguments = {"y": np.arange(8) % 4, "dt": [0.25, 1.0], "examples": 0, "verbose": 0}

def figures(report):
    results = report.to_dict()["results"]
    return [latency.pop("confidence") for result in results for latency in result["latencies"].values()], results

confidence, on_one_device = figures(inspect(network(), x, **arguments))
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    model = network()
    # Batches of 7 and of 1 cannot be halved.
    rounded, inside = figures(inspect(model, x, batch_size=7, **arguments))
    # Examples from two batches, each on two replicas.
    examples = inspect(model, x, dt=0.25, batch_size=5, examples=7, verbose=0)[0.25].examples
assert inside == on_one_device, (inside, on_one_device)
np.testing.assert_allclose(rounded, confidence, rtol=1e-6)  # float32 softmax with another batch size
prober._cached_probers.cache_clear()
expected = inspect(model, x, dt=0.25, examples=7, verbose=0)[0.25].examples
np.testing.assert_array_equal(examples.counts["s"], expected.counts["s"])
np.testing.assert_allclose(examples.output, expected.output, rtol=1e-6)
assert figures(inspect(model, x, **arguments))[1] == on_one_device
print("equal")
"""


@pytest.mark.nightly("test_scan_tensorflow has layers on two replicas")
@pytest.mark.tensorflow("MirroredStrategy")
def test_two_replicas_equal_one_device():
    paths = [str(Path(keras_snn.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "PYTHONPATH": os.pathsep.join(paths)}
    result = subprocess.run(
        [sys.executable, "-c", MIRRORED], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["equal"]
