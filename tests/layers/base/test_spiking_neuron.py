"""A user's neuron of fifteen lines trains, is saved and can be inspected."""

import keras
import numpy as np
import pytest
from keras import ops
from reference.autodiff import STEP_BY_STEP, layer_gradients, run

import keras_snn
from keras_snn import ModelEnergy, layers, probe
from keras_snn.constraints import Clip
from keras_snn.layers import IF, LIF, Repeat, SpikingNeuron, TemporalAveragePooling

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 1, (6, 12, 4)).astype("float32")


def to_numpy(x):
    return ops.convert_to_numpy(x)


@keras.saving.register_keras_serializable(package="test_spiking_neuron")
class Quadratic(SpikingNeuron):
    """The example of the docstring."""

    parameter_names = ("a", "critical", "threshold")

    def __init__(self, a=0.2, critical=0.5, **kwargs):
        super().__init__(**kwargs)
        self.a, self.critical = a, critical

    @staticmethod
    def step(p, state, x):
        (v,) = state
        v, spikes = p.fire(v + p.a * v * (v - p.critical) + x)
        return (v,), spikes


def quadratic(x, a=0.2, critical=0.5, threshold=1.0):
    v, rows = np.zeros_like(x[:, 0]), []
    for t in range(x.shape[1]):
        h = v + a * v * (v - critical) + x[:, t]
        rows.append(h > threshold)
        v = np.where(rows[-1], 0, h)
    return np.stack(rows, axis=1)


def model_with(layer):
    keras.utils.set_random_seed(0)
    parts = [keras.layers.Dense(5), layer, keras.layers.Flatten(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input(X.shape[1:]), *parts])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model


# A user's neuron


def test_a_users_neuron_equals_a_numpy_loop():
    for options in ({}, {"a": 0.7, "critical": -0.25}, {"threshold": 0.6}):
        np.testing.assert_array_equal(to_numpy(Quadratic(**options)(X)), quadratic(X.astype("float64"), **options))


def test_a_users_neuron_trains_and_is_saved(tmp_path):
    layer = Quadratic(learn=("a", "threshold"), per="unit")
    model = model_with(layer)
    before = [to_numpy(v).copy() for v in model.trainable_variables]
    assert {w.name: tuple(w.shape) for w in layer.trainable_weights} == {"a": (5,), "threshold": (5,)}
    y = np.ones((6, 1), "float32")
    losses = model.fit(X, y, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert np.any(to_numpy(variable) != old), variable.path
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert type(restored.layers[1]) is Quadratic
    assert restored.layers[1].get_config() == layer.get_config()
    np.testing.assert_array_equal(restored.predict(X, verbose=0), model.predict(X, verbose=0))


def test_a_users_parameter_has_a_gradient():
    class Shifted(SpikingNeuron):
        """A neuron whose output is the membrane v_t = sum of x + t shift. Its derivative by shift is t."""

        parameter_names = ("shift", "threshold")

        def __init__(self, shift=0.0, **kwargs):
            super().__init__(surrogate=lambda x: x, reset=None, **kwargs)
            self.shift = shift

        @staticmethod
        def step(p, state, x):
            (v,) = state
            v, out = p.fire(v + x + p.shift)
            return (v,), out

    layer = Shifted(learn=("shift", "threshold"))
    layer.build(X.shape)
    _, d_x, d_weights = layer_gradients(STEP_BY_STEP, layer, X, np.ones_like(X))
    assert d_weights["shift"] == 6 * 4 * sum(range(1, 13))
    assert d_weights["threshold"] == -X.size
    np.testing.assert_array_equal(d_x[0, :, 0], range(12, 0, -1))


def test_bounds_of_a_users_parameter_are_checked_and_kept():
    class Bounded(Quadratic):
        bounds = {"a": Clip(0.0, 0.5)}  # noqa: RUF012

    with pytest.raises(ValueError, match="`a` must be between 0 and 0.5, got 0.75"):
        Bounded(a=0.75)
    layer = Bounded(learn="a")
    layer.build(X.shape)
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build([layer.a])
    for grad, expected in ((-9.0, 0.5), (9.0, 0.0)):
        optimizer.apply([ops.convert_to_tensor(grad)], [layer.a])
        assert to_numpy(layer.a) == expected


def test_a_users_neuron_may_have_refractory_steps():
    class Waiting(Quadratic):
        refractory = 2

    spikes = to_numpy(Waiting()(np.full((1, 7, 1), 2.0, "float32"))).ravel()
    np.testing.assert_array_equal(spikes, [1, 0, 0, 1, 0, 0, 1])
    with probe.scope():
        assert len(Waiting(return_state=True)(X)) == 3


def test_several_states():
    class Slow(SpikingNeuron):
        """A neuron with two states; v starts at v_reset."""

        state_names = ("count", "v")

        @staticmethod
        def step(p, state, x):
            count, v = state
            v, spikes = p.fire(v + x)
            return (count + spikes, v), spikes

    spikes, count, v = Slow(v_reset=-0.5, return_state=True)(np.full((1, 8, 1), 0.75, "float32"))
    np.testing.assert_array_equal(to_numpy(spikes).ravel(), [0, 0, 1, 0, 0, 1, 0, 0])
    assert (to_numpy(count).item(), to_numpy(v).item()) == (2, 1.0)


def test_a_step_must_be_a_static_method():
    class Method(SpikingNeuron):
        def step(self, p, state, x):
            return state, x

    with pytest.raises(TypeError, match="`step` of Method must be a static method: @staticmethod above its def"):
        Method()


def test_a_missing_step_is_an_error():
    with pytest.raises(NotImplementedError, match="needs a static method `step"):
        SpikingNeuron()(X)


# Tools on a model of LIF and IF neurons. Only tools use their dt.

N, T, DT = 24, 8, 0.004


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, N)
    x = (rng.normal(0, 0.3, (N, 6)) + np.eye(3, 6)[y] * 2).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((6,)),
            Repeat(T),
            keras.layers.Dense(10),
            LIF(dt=DT, name="first"),
            keras.layers.Dense(8, name="between"),
            IF(dt=DT, threshold=0.5, name="second"),
            keras.layers.Dense(3, name="last"),
            TemporalAveragePooling(),
        ]
    )
    model.compile(keras.optimizers.Adam(0.02), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, epochs=15, batch_size=8, verbose=0)
    inner = keras.Model(model.inputs[0], [model.get_layer(name).output for name in ("first", "second")])
    counts = dict(zip(("first", "second"), map(to_numpy, inner(x, training=False)), strict=True))
    return model, x, y, counts


def test_a_report_counts_spikes_in_hz(trained):
    model, x, y, counts = trained
    before = to_numpy(model(x, training=False))
    result = keras_snn.inspect(model, x, y, batch_size=8, examples=2).results[0]
    np.testing.assert_array_equal(to_numpy(model(x, training=False)), before)
    assert result.accuracy == np.mean(before.argmax(axis=1) == y) > 0.8
    for name, spikes in counts.items():
        assert set(np.unique(spikes)) == {0, 1}
        of_layer, rates = result.layers[name], spikes.sum(axis=1) / (T * DT)
        # rel: dt in float32
        assert of_layer.rate.mean == pytest.approx(rates.mean(), rel=1e-5)
        assert of_layer.rate.max == pytest.approx(rates.max(), rel=1e-5)
        np.testing.assert_allclose(of_layer.per_unit, rates.mean(axis=0), rtol=1e-5)
        assert of_layer.histogram["0"] == (spikes == 0).sum()
        assert of_layer.histogram["1"] == (spikes == 1).sum()
        assert of_layer.silent == (spikes == 0).all(axis=(0, 1)).mean()
        assert of_layer.saturated == (spikes == 1).all(axis=(0, 1)).mean()


def test_synaptic_operations_are_spikes_times_connections(trained):
    model, x, y, counts = trained
    result = keras_snn.inspect(model, x, y, batch_size=8, examples=0).results[0]
    for name, source, fan_out in (("between", "first", 8), ("last", "second", 3)):
        per_sample = counts[source].sum() / N * fan_out
        assert result.synapses[name].operations == pytest.approx(per_sample, rel=1e-5)  # dt in float32


def test_latency_equals_runs_with_fewer_steps(trained):
    model, x, y, _ = trained
    latency = keras_snn.inspect(model, x, y, batch_size=8, examples=0).results[0].latency
    assert latency.steps.tolist() == list(range(1, T + 1))
    for k in (1, 3, T):
        with probe.scope(n_steps=k):
            outputs = to_numpy(model(x, training=False))
        assert latency.accuracy[k - 1] == np.mean(outputs.argmax(axis=1) == y)


def test_the_report_of_another_dt_has_the_same_spikes(trained):
    model, x, y, counts = trained
    with pytest.warns(UserWarning, match="No layer of the model .* depends on dt"):
        report = keras_snn.inspect(model, x, y, dt=[0.001, 0.02], batch_size=8, examples=0)
    for dt in (0.001, 0.02):
        rates = counts["first"].sum(axis=1) / (T * dt)
        assert report[dt].layers["first"].rate.mean == pytest.approx(rates.mean(), rel=1e-5)  # dt in float32
    assert report[0.001].accuracy == report[0.02].accuracy


def test_the_report_is_saved(trained, tmp_path):
    model, x, y, _ = trained
    report = keras_snn.inspect(model, x, y, batch_size=8, examples=2)
    report.save(tmp_path / "report.json")
    report.save(tmp_path / "report.html")
    loaded = keras_snn.inspector.Report.load(tmp_path / "report.json")
    assert loaded.table() == report.table()
    assert "second" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_energy_of_a_model(trained):
    model, x, _, counts = trained
    energy = ModelEnergy(model, x)
    assert energy.rows["first"]["spiking"] and energy.rows["second"]["spiking"]
    assert (energy.rows["first"]["neurons"], energy.rows["second"]["neurons"]) == (10, 8)
    rate = counts["first"].mean() / DT
    assert energy.rows["between"]["rate"] == pytest.approx(rate, rel=1e-5)  # dt in float32
    synops = 27.1e-12 * 10 * 8 * rate * DT * T
    assert energy.layer_energy("between", "loihi", T, dt=DT)[0] == pytest.approx(synops, rel=1e-5)


def test_a_scope_records_spikes_and_may_replace_them():
    layer, records = LIF(dt=0.01), []
    outside = to_numpy(layer(3 * X))
    with probe.scope(dt=0.001, record=lambda layer, spikes: records.append(to_numpy(spikes))):
        np.testing.assert_array_equal(to_numpy(layer(3 * X)), outside)
        in_hertz = to_numpy(layer.in_hertz(ops.convert_to_tensor(outside)))
        np.testing.assert_allclose(in_hertz, 1000 * outside, rtol=1e-6)  # dt in float32
    np.testing.assert_array_equal(records[0], outside)
    with probe.scope(record=lambda layer, spikes: 2 * spikes):
        np.testing.assert_array_equal(to_numpy(layer(3 * X)), 2 * outside)
    assert layer.spike_unit == 1


def test_initial_values_are_clipped_to_the_bounds():
    layer = LIF(tau=keras.initializers.RandomUniform(0.0, 2.0), per="unit")
    layer.build((None, 3, 100))
    tau = ops.convert_to_numpy(layer.tau)
    assert tau.min() == 1
    assert tau.max() > 1.5


def test_initializers_are_refused_after_build():
    layer = LIF()
    layer.build((None, 3, 2))
    layer.tau = 5.0
    with pytest.raises(AttributeError, match="only before the layer is built"):
        layer.tau = "ones"
    assert layer.tau == 5.0


def test_weights_are_in_the_order_of_the_parameters():
    layer = LIF(learn=("threshold", "tau"))
    layer.build((None, 3, 2))
    assert [w.name for w in layer.weights] == ["tau", "threshold"]


# Bounds of weights


class Bounded(Quadratic):
    bounds = {"a": Clip(0.1, 0.3), "threshold": None}  # noqa: RUF012


#: (layer, parameter, value outside of its bounds, bound).
OUTSIDE = [
    (lambda: LIF(learn="tau", decay_input=False), "tau", 0.4, 1.0),
    (lambda: LIF(tau=keras.initializers.Constant(2.0), per="unit"), "tau", -3.0, 1.0),
    (lambda: LIF(learn="threshold", v_reset=-0.5), "threshold", -2.0, -0.5),
    (lambda: IF(learn="threshold", initial_potential=0.5), "threshold", -1.0, 0.0),
    (lambda: layers.KLIF(), "k", 9.0, 5.0),
    (lambda: layers.KLIF(variant="klif*"), "k", -1.0, 0.5),
    (lambda: layers.ALIF(learn="beta", decay_input=False), "beta", -1.0, 0.0),
    (lambda: layers.ALIF(learn="tau_adaptation"), "tau_adaptation", 0.0, 1.0),
    (lambda: layers.Synaptic(learn="tau_synapse"), "tau_synapse", 0.5, 1.0),
    (lambda: layers.LeakyIntegrator(learn="tau"), "tau", 0.5, 1.0),
    (lambda: layers.RecurrentLIF(learn="tau", recurrent_initializer="ones"), "tau", 0.5, 1.0),
    (lambda: layers.NoisyLIF(learn="tau", alpha=4, seed=0), "tau", 0.5, 1.0),
    (lambda: layers.Izhikevich(learn="threshold"), "threshold", -80.0, -65.0),
    (lambda: Bounded(learn="a"), "a", 0.9, 0.3),
]


def test_the_equations_clamp_every_weight_with_a_bound():
    built = [(make(), name, outside, bound) for make, name, outside, bound in OUTSIDE]
    for layer, *_ in built:
        layer.build(X.shape)

    def outputs(x):
        return [layer(x) for layer, *_ in built]

    def set_to(place):
        for layer, name, *values in built:
            weight = getattr(layer, name)
            weight.assign(np.full(weight.shape, values[place]))
        return run(STEP_BY_STEP, outputs, X), [to_numpy(layer.parameter_values()[name]) for layer, name, *_ in built]

    for (layer, name, _, bound), *results in zip(built, *set_to(0), *set_to(1), strict=True):
        clamped, in_force, expected, _ = results
        np.testing.assert_array_equal(clamped, expected, err_msg=f"{layer.name} {name}")
        assert np.all(in_force == np.float32(bound)), f"{layer.name} {name}"


def test_the_equations_keep_a_bound_without_an_optimizer(tmp_path):
    """The equations keep a bound when a weight is updated by hand.

    Two steps with input 0.3: h_0 = 0.3, h_1 = 0.3 (1 - 1 / tau) + 0.3, dh_1 / dtau = 0.3 / tau^2. The slope of the
    surrogate at h is 1 / (1 + (pi (h - 1))^2). There are no spikes.
    """
    layer, x = LIF(tau=1.05, learn="tau", decay_input=False), np.full((1, 2, 1), 0.3, "float32")
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])

    def slope(tau):
        return 0.3 / tau**2 / (1 + (np.pi * (0.3 * (1 - 1 / tau) - 0.7)) ** 2) / 2

    def descend(sign):
        """Make a step for the loss (y^2 + sign y).mean() at y = 0, and return tau."""
        _, _, grads = layer_gradients("eager", layer, x, np.full_like(x, sign / 2))
        layer.tau.assign(to_numpy(layer.tau) - 5 * grads["tau"])
        return float(to_numpy(layer.tau))

    below = 1.05 - 5 * slope(1.05)
    assert 0.9 < below < 1
    assert descend(1) == pytest.approx(below, rel=1e-6)  # float32
    assert descend(1) == descend(1) == float(to_numpy(layer.tau))  # outward gradients are zero
    assert float(to_numpy(layer.parameter_values()["tau"])) == 1
    model.save(tmp_path / "model.keras")  # saves the unclipped weight; the equations clip it again
    restored = keras.saving.load_model(tmp_path / "model.keras").layers[0]
    np.testing.assert_array_equal(to_numpy(restored.tau), to_numpy(layer.tau))
    assert float(to_numpy(restored.parameter_values()["tau"])) == 1
    assert descend(-1) == pytest.approx(below + 5 * slope(1), rel=1e-6)
    assert float(to_numpy(layer.parameter_values()["tau"])) > 1


def test_bounds_of_threshold_and_beta_only_apply_to_weights():
    assert LIF(threshold=-1.0).threshold == -1
    assert layers.ALIF(beta=-1.0).beta == -1
    assert Bounded(threshold=-1.0, learn="threshold").threshold == -1  # its class has no bound for it
    with pytest.raises(ValueError, match="`threshold` must be at least 1, got 0.5"):
        LIF(threshold=0.5, v_reset=1.0, learn="threshold")
    with pytest.raises(ValueError, match="`beta` must be at least 0, got -1"):
        layers.ALIF(beta=-1.0, learn="beta")
    for learn, expected in ((), 0), ("threshold", 1):
        layer = LIF(threshold="zeros", v_reset=1.0, learn=learn)
        layer.build(X.shape)
        assert to_numpy(layer.threshold) == to_numpy(layer.parameter_values()["threshold"]) == expected
