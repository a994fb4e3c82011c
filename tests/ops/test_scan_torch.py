"""The engine on PyTorch: traced and compiled steps give the values of PyTorch's autograd."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops, tree
from reference.autodiff import layer_gradients, to_numpy

import keras_snn
from keras_snn import layers
from keras_snn.layers import ALIF, KLIF, LIF, PLIF, Izhikevich, Lowpass, RecurrentLIF, Synaptic
from keras_snn.ops.scan import scan

pytestmark = pytest.mark.torch("only PyTorch's engine runs steps in three ways")

RNG = np.random.default_rng(0)
X = RNG.normal(0.6, 1, (6, 20, 8)).astype("float32")

NEURONS = {
    "LIF": lambda: LIF(),
    "LIF, learned": lambda: LIF(learn=("tau", "threshold"), per="unit", reset="subtract", v_reset=-0.1),
    "LIF, refractory": lambda: LIF(refractory=2),
    "KLIF": lambda: KLIF(learn=("k", "tau")),
    "PLIF": lambda: PLIF(learn=("w",)),
    "ALIF": lambda: ALIF(learn=("beta",)),
    "Synaptic": lambda: Synaptic(learn=("tau_synapse",)),
    "RecurrentLIF": lambda: RecurrentLIF(),
    "Izhikevich": lambda: Izhikevich(surrogate="atan"),
    "Lowpass": lambda: Lowpass(0.01),
}


@pytest.fixture
def engine(monkeypatch):
    """Return the module of steps, which are traced in the first call."""
    from keras_snn.ops.backend import torch_step

    monkeypatch.setattr(torch_step, "_CALLS_TO_COMPILE", 0)
    torch_step._step.cache_clear()
    torch_step._report.cache_clear()
    yield torch_step
    torch_step._step.cache_clear()


@pytest.fixture
def steps(engine, monkeypatch):
    """Return a list that receives each function that replaces a method of a step."""
    found, original = [], engine._graph
    monkeypatch.setattr(engine, "_graph", lambda *args: found.append(original(*args)) or found[-1])
    return found


def is_graph(step):
    import torch

    return isinstance(step, torch.fx.GraphModule)


def assert_equals_autograd(layer, monkeypatch, engine):
    x = 20 * X if isinstance(layer, Izhikevich) else X
    layer.build(x.shape)
    upstream = np.random.default_rng(1).normal(size=x.shape).astype("float32")
    actual = layer_gradients("eager", layer, x, upstream)
    monkeypatch.setattr(engine, "_CALLS_TO_COMPILE", 10**9)
    expected = layer_gradients("eager", layer, x, upstream)
    np.testing.assert_array_equal(actual[0][0], expected[0][0])
    assert np.any(expected[0][0])
    # 1e-6 of the largest: sums over time and the batch have another order.
    for a, b in zip(tree.flatten(actual[1:]), tree.flatten(expected[1:]), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * np.abs(b).max())


@pytest.mark.parametrize("name", NEURONS)
def test_graphs_equal_autograd(name, monkeypatch, engine, steps):
    assert_equals_autograd(NEURONS[name](), monkeypatch, engine)
    assert len(steps) >= 2 and all(map(is_graph, steps))


@pytest.mark.parametrize("name", ["KLIF", "Synaptic"])
def test_compiled_steps_equal_autograd(name, monkeypatch, engine, steps):
    monkeypatch.setattr(keras_snn.default, "compile_steps", True)
    assert_equals_autograd(NEURONS[name](), monkeypatch, engine)
    assert len(steps) == 2 and all(isinstance(step, engine._Compiled) for step in steps)


@pytest.mark.nightly("the compiler takes seconds for each neuron")
@pytest.mark.parametrize("name", NEURONS)
def test_all_compiled_steps_equal_autograd(name, monkeypatch, engine, steps):
    test_compiled_steps_equal_autograd(name, monkeypatch, engine, steps)


def test_ten_time_constants_and_lengths_are_traced_once(engine, steps):
    for k, tau in enumerate(np.linspace(1.5, 6, 10)):
        LIF(tau)(X[:, k:])
    assert len(steps) == 1


def test_steps_are_traced_after_some_calls(engine, steps, monkeypatch):
    monkeypatch.setattr(engine, "_CALLS_TO_COMPILE", 20)
    layer = LIF()
    for call in range(1, 23):
        layer(X)
        assert len(steps) == (call >= 20)
    layer(X[:3])  # another shape
    assert len(steps) == 1


def test_a_failure_of_the_compiler_is_reported_once(engine, steps, monkeypatch):
    import torch

    def fail(*_, **__):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(keras_snn.default, "compile_steps", True)
    monkeypatch.setattr(torch._inductor, "compile", fail)
    monkeypatch.setattr(torch, "compile", lambda *_, **__: fail)
    with pytest.warns(UserWarning, match=r"^torch\.compile fails, .*compile_steps = False .*no C\+\+ compiler"):
        spikes = to_numpy(LIF()(X))
    np.testing.assert_array_equal(spikes, to_numpy(LIF()(X)))  # a second warning would be an error
    LIF()(X[:3])
    assert len(steps) == 2 and all(map(is_graph, steps))


def _depends_on_a_value(params, state, x):
    return (state + x, state) if float(x.sum()) > 0 else (state - x, state)


def test_a_step_that_depends_on_a_value_is_not_traced(engine, steps):
    x = np.array([[[1.0], [-2.0], [3.0]]], "float32")
    outputs, last = scan(_depends_on_a_value, ops.zeros((1, 1)), ops.convert_to_tensor(x))
    assert steps and not any(map(is_graph, steps))
    assert to_numpy(outputs).ravel().tolist() == [0, 1, 3]
    assert to_numpy(last).tolist() == [[6]]


def test_a_failure_of_tracing_is_reported_once(engine, monkeypatch):
    def fail(_):
        raise RuntimeError("no tracer")

    monkeypatch.setattr(engine, "make_fx", fail)
    with pytest.warns(UserWarning, match=r"^A step cannot be traced, .*no tracer$"):
        spikes = to_numpy(LIF()(X))
    np.testing.assert_array_equal(spikes, to_numpy(LIF()(X)))  # a second warning would be an error


def test_a_step_that_draws_random_numbers_is_not_traced(engine, steps):
    class Dropping(layers.SpikingCell):
        def call_inference(self, inputs, states):
            import torch

            return torch.nn.functional.dropout(inputs), states

    outputs = to_numpy(layers.RNN(Dropping(8))(X))
    assert steps == []
    assert 0 < np.mean(outputs == 0) < 1 and not np.array_equal(outputs[:, 0] == 0, outputs[:, 1] == 0)


def test_compiled_steps_in_other_modes(engine, monkeypatch):
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    monkeypatch.setattr(keras_snn.default, "compile_steps", True)
    layer, x = LIF(), torch.tensor(X)
    expected = layer(x).detach()
    with torch.inference_mode():
        assert torch.equal(layer(x), expected)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert layer(mode.from_tensor(x)).shape == x.shape


def strided(batch, length, units):
    """Yield inputs of the same shape for a step, and upstream gradients, whose strides differ."""
    rng = np.random.default_rng(0)
    for n_steps, n_longer in ((length, length), (length + 1, length + 1), (length + 1, length + 3), (2, 2), (1, 1)):
        x = ops.convert_to_tensor(rng.normal(size=(batch, n_longer, units)).astype("float32"))[:, :n_steps]
        upstream = ops.convert_to_tensor(rng.normal(size=x.shape).astype("float32"))
        yield x, upstream
        yield x, upstream[:1, :1, :1].expand(x.shape)


@pytest.mark.parametrize("shape", [(32, 4, 8), (8, 3, 8), (1, 4, 8), (6, 5, 1)], ids=str)
def test_compiled_steps_of_other_strides(shape, engine, monkeypatch):
    """Only the first stride of a tensor changes with the length. At (32, 4, 8) it equals the batch size."""
    compiled, compiler = [], engine._compiled
    monkeypatch.setattr(engine, "_compiled", lambda *args: compiled.append(None) or compiler(*args))
    monkeypatch.setattr(engine.torch, "compile", None)  # the compiler of graphs must do
    layer = LIF()
    for k, (x, upstream) in enumerate(strided(*shape)):
        results = []
        for compile_steps in (True, False):
            monkeypatch.setattr(keras_snn.default, "compile_steps", compile_steps)
            leaf = x.detach().requires_grad_()
            spikes = layer(leaf)
            spikes.backward(upstream)
            results.append((to_numpy(spikes), to_numpy(leaf.grad)))
        np.testing.assert_array_equal(*(spikes for spikes, _ in results))
        # The compiler may fuse a product and a sum.
        np.testing.assert_allclose(*(grad for _, grad in results), rtol=1e-5, atol=1e-6)
        if k == 1:  # the longer ones compile nothing
            n_compiled = len(compiled)
        elif k == 5:
            assert len(compiled) == n_compiled <= 3


def _flattens(params, state, x):
    state = 0.5 * state + x
    return ops.transpose(state, (0, 2, 1)), ops.reshape(state, (2, 16))


def test_graphs_of_other_layouts(engine, steps):
    """A graph depends on strides: those of the input, and those of the state after a step."""
    rng = np.random.default_rng(0)
    for axes in ((0, 1, 2, 3), (0, 1, 3, 2), (1, 0, 2, 3)):
        x = rng.normal(size=(2, 2, 4, 4)).astype("float32")
        state, expected = np.zeros((2, 4, 4), "float32"), []
        for t in range(2):
            state = 0.5 * state + x.transpose(axes)[:, t]
            expected.append(state.reshape(2, 16))
            state = state.transpose(0, 2, 1)
        outputs, last = scan(_flattens, ops.zeros((2, 4, 4)), ops.convert_to_tensor(x).permute(axes))
        np.testing.assert_array_equal(to_numpy(outputs), np.stack(expected, 1))
        np.testing.assert_array_equal(to_numpy(last), state)
    assert len(steps) == 3 and all(map(is_graph, steps))


def _uses_numpy(params, state, x):
    return state, ops.convert_to_tensor(np.sin(x.detach().numpy()))


def test_values_of_numpy_are_not_kept(engine, steps):
    for x in (X, X + 1):
        outputs, _ = scan(_uses_numpy, ops.zeros((6, 8)), ops.convert_to_tensor(x))
        np.testing.assert_array_equal(to_numpy(outputs), np.sin(x))
    assert steps and not any(map(is_graph, steps))


def test_automatic_mixed_precision_is_not_kept(monkeypatch, engine, steps):
    import torch

    layer = layers.RNN(keras.layers.SimpleRNNCell(8))
    x = ops.convert_to_tensor(X)
    monkeypatch.setattr(engine, "_CALLS_TO_COMPILE", 10**9)
    expected = to_numpy(layer(x))
    monkeypatch.setattr(engine, "_CALLS_TO_COMPILE", 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = to_numpy(layer(x))
    assert steps == [] and np.any(half != expected)
    np.testing.assert_array_equal(to_numpy(layer(x)), expected)
    assert len(steps) == 1


def test_traced_steps_in_a_traced_model(engine, steps):
    """A trace of a whole model contains no values of its example."""
    import torch

    layer = LIF()
    expected = to_numpy(layer(X + 1))
    assert len(steps) == 1
    x = ops.convert_to_tensor(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch deprecates its tracer
        traced = torch.jit.trace(layer, x)
    np.testing.assert_array_equal(to_numpy(traced(x + 1)), expected)
