"""The equations of neurons, bit for bit against float32 loops, and against hand-computed values."""

import hashlib

import keras
import numpy as np
import pytest
from keras import ops
from reference import neurons as loops
from reference.autodiff import BACKEND, COMPILED, FEW_MODES, MODES, run, to_numpy, wrap

import keras_snn
from keras_snn.layers import (
    ALIF,
    IF,
    KLIF,
    LIF,
    PLIF,
    LeakyIntegrator,
    RecurrentLIF,
    ResonateAndFire,
    SpikingNeuron,
    Synaptic,
)
from keras_snn.ops.late_steps import refractory
from keras_snn.ops.neurons import Neuron, leaky, rounded
from keras_snn.surrogates import ATan

modes = pytest.mark.parametrize("mode", MODES)
few_modes = pytest.mark.parametrize("mode", FEW_MODES)


def currents(*shape, seed=0):
    """Return inputs with silent neurons, neurons that spike at most steps, and membranes far below 0."""
    return np.random.default_rng(seed).normal(0.6, 1.0, size=shape).astype("float32")


X = currents(8, 40, 32)


def built(layer, shape):
    """Return the built layer, which returns its states. Compiled calls must not create weights."""
    layer.return_state = True
    layer.build(shape)
    return layer


def one_by_one(layer, x):
    """Return the outputs and states after each step, from one call per step."""
    layer = built(layer, x[:, :1].shape)
    call = wrap(COMPILED, lambda x, *states: layer(x, initial_state=list(states)))
    rows = [[None, *map(ops.convert_to_tensor, layer.initial_state(len(x)))]]
    for t in range(x.shape[1]):
        rows.append(call(ops.convert_to_tensor(x[:, t : t + 1]), *rows[-1][1:]))
    columns = zip(*to_numpy([list(row) for row in rows[1:]]), strict=True)
    return [np.concatenate([np.reshape(row, (len(x), -1)) for row in column], axis=1) for column in columns]


def relu(x):
    return np.maximum(x, 0)


def leaky_loop(**options):
    trace = loops.leaky(X, **options)
    return trace.s, trace.v[:, -1]


# Bit for bit: name -> (layer, outputs of a float32 loop for the same inputs)

THIRD = np.float32(1 / 3)
RESETS = [("zero", 0.0), ("zero", -0.3), ("subtract", 0.0), (None, 0.0)]
EXACT = {
    f"LIF tau={tau} decay_input={decay} {kind}": (
        lambda tau=tau, decay=decay, learn=learn: LIF(tau, threshold=1.1, decay_input=decay, learn=learn),
        lambda tau=tau, decay=decay: leaky_loop(leak=np.float32(1 / tau), threshold=1.1, decay_input=decay),
    )
    for tau in (2.0, 3.0)
    for decay in (True, False)
    for kind, learn in (("fixed", ()), ("learned", ("tau", "threshold")))
}
EXACT |= {
    f"LIF reset={reset_mode} v_reset={v_reset}": (
        lambda reset_mode=reset_mode, v_reset=v_reset: LIF(3.0, reset=reset_mode, v_reset=v_reset),
        lambda reset_mode=reset_mode, v_reset=v_reset: leaky_loop(leak=THIRD, reset_mode=reset_mode, v_reset=v_reset),
    )
    for reset_mode, v_reset in RESETS[1:]
}
EXACT |= {
    f"{variant} {kind} reset={reset_mode}": (
        lambda variant=variant, learn=learn, reset_mode=reset_mode: KLIF(
            3.0, k=1.75, variant=variant, learn=learn, reset=reset_mode
        ),
        lambda variant=variant, reset_mode=reset_mode: leaky_loop(
            leak=THIRD, k=1.75, activation=relu, unscale=variant == "klif*", reset_mode=reset_mode
        ),
    )
    for variant in ("klif", "klif*")
    for kind, learn in (("fixed", ()), ("learned", ("k", "threshold")))
    for reset_mode in ("zero", "subtract")
}
EXACT |= {
    "IF": (lambda: IF(v_reset=-0.3), lambda: leaky_loop(leak=0, decay_input=False, v_reset=-0.3)),
    "LIF refractory": (lambda: LIF(3.0, refractory=2), lambda: leaky_loop(leak=THIRD, refractory=2)),
    "ALIF": (
        lambda: ALIF(3.0, tau_adaptation=7.0, beta=0.13, reset="subtract"),
        lambda: loops.adaptive(X, leak=THIRD, adaptation_leak=1 / 7, beta=0.13, reset_mode="subtract"),
    ),
    "ALIF learned": (
        lambda: ALIF(3.0, tau_adaptation=7.0, beta=0.13, learn=("tau", "tau_adaptation", "beta")),
        lambda: loops.adaptive(X, leak=THIRD, adaptation_leak=np.float32(1) / np.float32(7), beta=0.13),
    ),
    "Synaptic": (
        lambda: Synaptic(3.0, tau_synapse=7.0, v_reset=-0.3),
        lambda: loops.synaptic(X, leak=THIRD, synapse_leak=1 / 7, v_reset=-0.3),
    ),
    "Synaptic learned": (
        lambda: Synaptic(3.0, tau_synapse=7.0, reset="subtract", learn=("tau", "tau_synapse")),
        lambda: loops.synaptic(X, leak=THIRD, synapse_leak=np.float32(1) / np.float32(7), reset_mode="subtract"),
    ),
    "ResonateAndFire": (
        lambda: ResonateAndFire(5.0, threshold=2.0),
        lambda: loops.resonator(X, period=5, threshold=2),
    ),
    "ResonateAndFire without reset": (
        lambda: ResonateAndFire(7.5, decay_periods=2.0, threshold=2.5, reset=None),
        lambda: loops.resonator(X, period=7.5, decay_periods=2, threshold=2.5, reset_mode=None),
    ),
    "LeakyIntegrator": (
        lambda: LeakyIntegrator(3.0, v_reset=-0.3),
        lambda: (loops.integrator(X, leak=THIRD, v_reset=-0.3),),
    ),
    "LeakyIntegrator without decay": (
        lambda: LeakyIntegrator(3.0, decay_input=False, learn="tau"),
        lambda: (loops.integrator(X, leak=THIRD, decay_input=False),),
    ),
}


#: Cases that also run eagerly. Graphs use the same loops as eager calls.
TYPICAL = [
    "LIF tau=3.0 decay_input=True fixed",
    "LIF tau=3.0 decay_input=False learned",
    "klif* fixed reset=subtract",
    "ALIF",
]


#: Cases whose code other cases cover. tau = 2 rounds less than tau = 3.
REPEATED = [name for name in EXACT if name.startswith("LIF tau=2.0") and name != "LIF tau=2.0 decay_input=True fixed"]
REPEATED += ["klif learned reset=subtract", "klif* learned reset=zero"]
#: The layers of each list are compiled as one function, in half the time.
GROUPS = {
    kind: [name for name in EXACT if name.lower().startswith(kind) and name not in REPEATED] for kind in ("lif", "klif")
}
GROUPS["others"] = [name for name in EXACT if name not in (*GROUPS["lif"], *GROUPS["klif"], *REPEATED)]


def assert_equals_numpy_bit_for_bit(mode, names):
    layers = [built(EXACT[name][0](), X.shape) for name in names]
    results = run(mode, lambda x: [layer(x) for layer in layers], X)
    for name, outputs in zip(names, results, strict=True):
        expected = EXACT[name][1]()
        if "Integrator" not in name:
            assert 0.02 < expected[0].mean() < 0.95
        for actual, array in zip(outputs, expected, strict=False):
            assert actual.dtype == np.float32
            np.testing.assert_array_equal(actual, array, err_msg=name)


@pytest.mark.parametrize("group", GROUPS)
def test_equals_numpy_bit_for_bit(group):
    """Spikes and last states equal NumPy bit for bit: no backend fuses a product with the following sum."""
    assert_equals_numpy_bit_for_bit(COMPILED, GROUPS[group])


@pytest.mark.skipif(FEW_MODES == (COMPILED,), reason="other tests run the only mode of this backend")
@pytest.mark.parametrize("name", TYPICAL)
def test_an_eager_call_equals_numpy_bit_for_bit(name):
    assert_equals_numpy_bit_for_bit("eager", [name])


@pytest.mark.nightly("all options of the neurons, in each mode")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", EXACT)
def test_each_neuron_equals_numpy_bit_for_bit(mode, name):
    assert_equals_numpy_bit_for_bit(mode, [name])


@few_modes
def test_recurrent_spikes_equal_numpy_bit_for_bit(mode):
    """RecurrentLIF equals NumPy bit for bit. Kernels are multiples of 1 / 16, so that sums are exact in any order."""
    kernel = (np.random.default_rng(1).integers(-8, 9, (32, 32)) / 16).astype("float32")
    layer = RecurrentLIF(3.0, return_state=True)
    layer.build(X.shape)
    layer.set_weights([kernel])
    spikes, v, last = run(mode, layer, X)
    expected, expected_v = loops.recurrent(X, kernel, leak=THIRD)
    np.testing.assert_array_equal(spikes, expected)
    np.testing.assert_array_equal(v, expected_v)
    np.testing.assert_array_equal(last, expected[:, -1])
    assert not np.array_equal(expected, loops.leaky(X, leak=THIRD).s)


@few_modes
def test_the_same_spikes_on_every_backend(mode):
    layer = KLIF(3.0, k=1.75, variant="klif*", learn=(), decay_input=False)
    spikes = run(mode, layer, currents(8, 100, 32, seed=7)).astype("uint8")
    # The digest of the spikes of the NumPy loop.
    digest = "7c473dfb52205d86d3bc01c8f54043e02d29f9b206b1aab1b64e5cd1f6905598"
    assert hashlib.sha256(spikes.tobytes()).hexdigest() == digest


@modes
def test_a_rounded_product_is_not_fused(mode):
    """A rounded product is not fused with a sum.

    a^2 = 1 + 2^-11 + 2^-24 is rounded to 1 + 2^-11 in float32. A fused a^2 + c would be 2^-24.
    """
    a, c = np.full((4,), 1 + 2.0**-12, "float32"), np.full((4,), -1 - 2.0**-11, "float32")
    np.testing.assert_array_equal(run(mode, lambda a, c: rounded(a * a) + c, a, c), np.zeros(4))


@few_modes
def test_rounded_keeps_float32_values(mode):
    x = np.array([-np.inf, -3e38, -1, -0.0, 0, 1, 3e38, np.inf, np.nan], "float32")
    result = run(mode, rounded, x)
    np.testing.assert_array_equal(result[1:], x[1:])
    assert result[0] == (-np.inf if BACKEND == "torch" else np.finfo("float32").min)


# By hand

SPEC = [1.2, 1.2, -1.0, 2.0, 0.9]
BY_HAND = {  # tau = 2, threshold 1, k = 1.5: layer, spikes, and membrane after each step
    "LIF": (lambda: LIF(), [0, 0, 0, 0, 0], [0.6, 0.9, -0.05, 0.975, 0.9375]),
    "KLIF": (lambda: KLIF(k=1.5), [0, 1, 0, 1, 0], [0.9, 0, 0, 0, 0.675]),
    "KLIF*": (lambda: KLIF(k=1.5, variant="klif*"), [0, 1, 0, 1, 0], [0.6, 0, 0, 0, 0.45]),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_values_by_hand(name):
    make, spikes, membrane = BY_HAND[name]
    x = np.array(SPEC, "float32")[None, :, None]
    s, v = one_by_one(make(), x)
    np.testing.assert_array_equal(s[0], spikes)
    # atol: a few roundings of 6e-8 in each of five steps, of numbers of about 1
    np.testing.assert_allclose(v[0], membrane, rtol=0, atol=4e-7)


def test_whole_sequences_by_hand():
    x = np.array(SPEC, "float32")[None, :, None]
    layers = [built(make(), x.shape) for make, _, _ in BY_HAND.values()]
    results = run(COMPILED, lambda x: [layer(x)[0] for layer in layers], x)
    for outputs, (name, (_, spikes, _)) in zip(results, BY_HAND.items(), strict=True):
        np.testing.assert_array_equal(outputs[0, :, 0], spikes, err_msg=name)


@pytest.mark.backend_free
@pytest.mark.parametrize("name", BY_HAND)
def test_the_reference_loops_by_hand(name):
    """The reference loops give the hand-computed values."""
    k, star = (1.0, False) if name == "LIF" else (1.5, name == "KLIF*")
    x = np.array(SPEC)[None, :, None]
    options = {} if name == "LIF" else {"k": k, "activation": relu, "unscale": star}
    trace = loops.leaky(x, leak=0.5, dtype="float64", **options)
    np.testing.assert_array_equal(trace.s.ravel(), BY_HAND[name][1])
    np.testing.assert_allclose(trace.v.ravel(), BY_HAND[name][2], rtol=0, atol=1e-15)
    if name != "LIF":
        h = {"KLIF": [0.6, 1.05, -0.5, 1.0, 0.45], "KLIF*": [0.6, 0.9, -0.5, 1.0, 0.45]}[name]
        np.testing.assert_allclose(trace.h.ravel(), h, rtol=0, atol=1e-15)
        np.testing.assert_allclose(trace.f.ravel(), 1.5 * relu(np.array(h)), rtol=0, atol=1e-15)


AT_THRESHOLD = {  # layer, and the input that brings the membrane exactly to the threshold
    "IF": (lambda: IF(threshold=0.75), 0.75),
    "LIF": (lambda: LIF(), 2.0),
    "LIF without decay": (lambda: LIF(decay_input=False), 1.0),
    "PLIF": (lambda: PLIF(), 2.0),
    "KLIF": (lambda: KLIF(k=2.0), 1.0),
    "KLIF*": (lambda: KLIF(k=2.0, variant="klif*"), 1.0),
    "ALIF": (lambda: ALIF(), 2.0),
    "Synaptic": (lambda: Synaptic(), 1.0),
    "RecurrentLIF": (lambda: RecurrentLIF(), 2.0),
    "ResonateAndFire": (lambda: ResonateAndFire(threshold=1.0), 1.0),
    "LIF from below": (lambda: LIF(v_reset=-0.5, threshold=0.25), 1.5),
}


def test_at_the_threshold_there_is_no_spike():
    xs = {
        name: np.array([x, x * (1 + 2.0**-10), x * (1 - 2.0**-10)], "float32")[:, None, None]
        for name, (_, x) in AT_THRESHOLD.items()
    }
    layers = {name: built(make(), xs[name].shape) for name, (make, _) in AT_THRESHOLD.items()}
    spikes = run(COMPILED, lambda xs: {name: layer(xs[name])[0] for name, layer in layers.items()}, xs)
    for name in AT_THRESHOLD:
        np.testing.assert_array_equal(spikes[name].ravel(), [0, 1, 0], err_msg=name)


RESET_BY_HAND = {  # tau = 2 without decay of the input, x = 2.5, 1, 1.0625
    "zero": ({}, [1, 0, 1], [0, 1, 0]),
    "v_reset": ({"v_reset": -0.5}, [1, 0, 1], [-0.5, 0.5, -0.5]),
    "subtract": ({"reset": "subtract"}, [1, 1, 1], [1.5, 0.75, 0.4375]),
    "none": ({"reset": None}, [1, 1, 1], [2.5, 2.25, 2.1875]),
}


@pytest.mark.parametrize("name", RESET_BY_HAND)
def test_resets_by_hand(name):
    options, spikes, membrane = RESET_BY_HAND[name]
    x = np.array([2.5, 1.0, 1.0625], "float32")[None, :, None]
    s, v = one_by_one(LIF(decay_input=False, **options), x)
    np.testing.assert_array_equal(s[0], spikes)
    np.testing.assert_array_equal(v[0], membrane)


def test_refractory_by_hand():
    """After a spike, the neuron ignores its inputs for two steps, here x = 9."""
    x = np.array([0.75, 0.75, 9, 9, 0.75, 0.75, 0.75], "float32")[None, :, None]
    s, v, wait = one_by_one(IF(refractory=2), x)
    np.testing.assert_array_equal(s[0], [0, 1, 0, 0, 0, 1, 0])
    np.testing.assert_array_equal(v[0], [0.75, 0, 0, 0, 0.75, 0, 0])
    np.testing.assert_array_equal(wait[0], [0, 2, 1, 0, 0, 2, 1])
    assert wait.dtype == np.int32


# The step object that the engine runs


def test_equal_neurons_compare_equal():
    a, b = (Neuron(leaky, (("threshold", 1.0),), ATan(2.0)) for _ in range(2))
    assert a == b and hash(a) == hash(b)
    assert a != Neuron(leaky, (("threshold", 2.0),), ATan(2.0))
    assert a != Neuron(leaky, (("threshold", 1.0),), ATan(3.0))
    assert refractory(leaky) is refractory(leaky)
    assert refractory(leaky).__name__ == "leaky"


#: Further arguments, by class: 0.0 is part of the code, and so is the choice of no standardization.
ARGUMENTS = {
    "KLIF": {"learn": ()},
    "NoisyLIF": {"alpha": 2.0},
    "AlternativeOscillationLIF": {"learn": (), "c": 1.0, "d": 1.0},
}
NEURONS = [
    layer
    for layer in vars(keras_snn.layers).values()
    if isinstance(layer, type) and issubclass(layer, SpikingNeuron) and layer is not SpikingNeuron
]


@pytest.mark.parametrize("neuron", NEURONS)
def test_numbers_are_not_part_of_the_code(neuron):
    """Layers that differ in a number have equal steps, for which the engine compiles once."""

    def step(config):
        layer = neuron.from_config(config)
        layer.build((2, 3, 4))
        return layer.equations([ops.zeros((2, 4))] * 3)[0]

    config = neuron(**ARGUMENTS.get(neuron.__name__, {})).get_config()
    numbers = [name for name, value in config.items() if isinstance(value, float) and value]
    assert "threshold" in numbers or "tau" in numbers
    for name in numbers:
        assert step({**config, name: 1.1 * config[name]}) == step(config), name


@pytest.mark.skipif(BACKEND == "torch", reason="test_scan_torch.py counts the graphs of PyTorch's engine")
def test_ten_time_constants_compile_once():
    calls = []

    class Counted(LIF):
        @staticmethod
        def step(p, state, x):
            calls.append(p)
            return leaky(p, state, x)

    counts = []
    for tau in np.linspace(1.5, 6, 10):
        spikes, _ = leaky_loop(leak=np.float32(1 / tau))
        np.testing.assert_array_equal(to_numpy(Counted(tau)(X)), spikes)
        counts.append(len(calls))
    assert counts[0] > 0 and set(counts) == {counts[0]}


def test_layers_do_not_share_constants():
    x = np.full((1, 3, 1), 1.5, "float32")
    pairs = [(LIF(2.0), 0), (LIF(1.0), 1), (LIF(2.0, threshold=0.5), 1), (LIF(2.0), 0)]
    for layer, expected in pairs:
        assert keras.ops.convert_to_numpy(layer(x))[0, 0, 0] == expected


def test_a_step_that_closes_over_a_tensor_is_refused():
    gain = ops.ones((3,))

    class Leaky(LIF):
        @staticmethod
        def step(p, state, x):
            return leaky(p, state, gain * x)

    for options in ({}, {"refractory": 2}):
        with pytest.raises(ValueError, match=r"`step` closes over tensors or variables"):
            Leaky(**options)(np.ones((2, 4, 3), "float32"))
