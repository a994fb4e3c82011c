import dataclasses
import traceback

import hypothesis
import keras
import numpy as np
import pytest
from hypothesis import strategies as st
from keras import ops, tree
from reference import loops
from reference.autodiff import (
    BACKEND,
    COMPILED,
    FEW_MODES,
    MODES,
    STEP_BY_STEP,
    gradients,
    results_and_gradients,
    run,
    squares,
    to_numpy,
    wrap,
)
from reference.models import leaky_model, trained

from keras_snn.ops import scan

RNG = np.random.default_rng(0)
# float32: XLA rounds tanh and sums of products differently from NumPy, by some units in the last place.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
modes = pytest.mark.parametrize("mode", MODES)
few_modes = pytest.mark.parametrize("mode", FEW_MODES)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def zeros(*shape):
    return np.zeros(shape, "float32")


def assert_close(actual, expected, **tolerance):
    tree.assert_same_structure(actual, expected)
    for a, e in zip(tree.flatten(actual), tree.flatten(expected), strict=True):
        assert keras.backend.standardize_dtype(a.dtype) == keras.backend.standardize_dtype(e.dtype)
        np.testing.assert_allclose(a, e, **(tolerance or CLOSE))


def leaky(decay, voltage, x):
    voltage = decay * voltage + x
    return voltage, voltage


def half_life(params, state, x):
    assert x is None
    return state * params, state


@dataclasses.dataclass(frozen=True)
class RandomStep:
    """A step with four states and two inputs, for NumPy arrays and tensors. Equal steps are compiled once."""

    squash: str
    matmul: bool
    gated: bool
    shows_states: bool

    def __call__(self, params, state, x):
        lib = np if isinstance(tree.flatten(x)[0], np.ndarray) else ops
        current, (kind, on) = x["current"], x["events"]
        v, trace, count, flag = tree.flatten(state)
        weights, decay = params["weights"], params["decay"][0]
        drive = current + (lib.matmul(v, weights) if self.matmul else v * weights[0])
        drive = {"tanh": lib.tanh, "rational": lambda z: z / (1 + z * z), "none": lambda z: z}[self.squash](drive)
        v = decay * v + drive
        if self.gated:
            v = lib.where(on[:, None], v, 0.5 * v * decay)
            v = lib.where(flag, v, v + 0.1)
        trace = 0.5 * trace + lib.mean(v, axis=1) * params["gain"]
        new = [v, trace, count + kind, v > 0]
        # The engine stores a state that is also an output once. Both cases are tested.
        outputs = {"all": new, "pair": (v, [trace])} if self.shows_states else {"pair": (2 * v, [trace])}
        return tree.pack_sequence_as(state, new), outputs


NESTS = {
    "tuple": lambda v, trace, count, flag: (v, trace, count, flag),
    "dict": lambda v, trace, count, flag: {"a": v, "b": (trace, [count, flag])},
    "list": lambda v, trace, count, flag: [[v], (trace, {"c": count, "d": flag})],
}


def random_inputs(nest, batch, time, units, seed=0):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(size=shape).astype("float32")

    params = {"weights": 0.3 * draw(units, units), "decay": [0.5 + 0.1 * draw(units)], "gain": draw(1)[0]}
    params["gain"] = np.asarray(params["gain"])
    count = rng.integers(0, 9, (batch, units)).astype("int32")
    init = NESTS[nest](draw(batch, units), draw(batch), count, rng.random((batch, units)) < 0.5)
    kind, on = rng.integers(0, 9, (batch, time, 1)).astype("int32"), rng.random((batch, time)) < 0.5
    return params, init, {"current": draw(batch, time, units), "events": (kind, on)}


#: Mode, step, nest of states, batch, time, units, reverse. Each value occurs at least once.
STEPS = [
    (MODES[0], RandomStep("tanh", True, True, True), "dict", 2, 4, 3, True),
    (MODES[-1], RandomStep("rational", False, True, False), "list", 3, 5, 2, False),
    (MODES[len(MODES) // 2], RandomStep("none", True, False, True), "tuple", 1, 3, 4, True),
    (MODES[-1], RandomStep("tanh", True, False, False), "tuple", 2, 1, 1, False),
]


@pytest.mark.parametrize("case", STEPS, ids=str)
def test_some_steps_equal_numpy_and_step_by_step_autodiff(case):
    mode, *case = case
    assert_equals_numpy_and_step_by_step_autodiff(mode if BACKEND == "tensorflow" else STEP_BY_STEP, *case)


@pytest.mark.nightly("many generated steps")
@hypothesis.settings(derandomize=True, deadline=None, max_examples=300, database=None)
@hypothesis.given(
    mode=st.sampled_from(MODES if BACKEND == "tensorflow" else [STEP_BY_STEP]),
    step=st.builds(RandomStep, st.sampled_from(["tanh", "rational", "none"]), *[st.booleans()] * 3),
    nest=st.sampled_from(sorted(NESTS)),
    batch=st.integers(1, 3),
    time=st.integers(1, 6),
    units=st.integers(1, 4),
    reverse=st.booleans(),
)
def test_random_steps_equal_numpy_and_step_by_step_autodiff(mode, step, nest, batch, time, units, reverse):
    assert_equals_numpy_and_step_by_step_autodiff(mode, step, nest, batch, time, units, reverse)


def assert_equals_numpy_and_step_by_step_autodiff(mode, step, nest, batch, time, units, reverse):
    params, init, xs = random_inputs(nest, batch, time, units)

    def ours(params, init, xs, unroll=False):
        return scan(step, init, xs, params, reverse=reverse, unroll=unroll)

    def unrolled(params, init, xs):
        return ours(params, init, xs, unroll=True)

    def native(params, state, xs):
        rows = []
        for t in reversed(range(time)) if reverse else range(time):
            state, outputs = step(params, state, tree.map_structure(lambda x: x[:, t], xs))
            rows.append(outputs)
        rows = rows[::-1] if reverse else rows
        return tree.map_structure(lambda *row: ops.stack(row, axis=1), *rows), state

    results, grads = results_and_gradients(mode, ours, params, init, xs)
    assert_close(results, loops.scan(step, init, xs, params, reverse=reverse))
    # One function with separate inputs for both, so that each has its gradients.
    inputs = [(params, init, xs)] * 2
    (unrolled_results, _), (step_by_step_grads,) = results_and_gradients(
        STEP_BY_STEP, lambda inputs: (unrolled(*inputs[0]), native(*inputs[1])), inputs
    )
    assert_close(unrolled_results, results)
    # atol: gradients of a parameter are sums over batch, time and units, in another order.
    scale = max(np.abs(g).max() for g in tree.flatten(grads))
    for expected in step_by_step_grads:
        assert_close(grads, expected, rtol=1e-5, atol=2e-6 * scale)
    d_params, _, d_xs = grads
    assert all(np.any(g) for g in (d_params["weights"], d_params["decay"][0], d_params["gain"], d_xs["current"]))


def _gated(params, state, x):
    (voltage,) = state
    h = params["decay"] * voltage + params["gain"] * x["current"] + params["shift"]
    voltage = ops.tanh(h) * params["by unit of batch"]
    return (voltage,), {"h": h * x["weight"], "square": ops.square(voltage)}


def _gated_inputs(time):
    params = {"decay": np.asarray(np.float32(0.7)), "gain": normal(3), "shift": normal(1, 3)}
    params["by unit of batch"] = normal(4, 3)
    return params, (normal(4, 3),), {"current": normal(4, time, 3), "weight": normal(4, time, 1)}


@pytest.mark.parametrize("mode", MODES if BACKEND == "tensorflow" else FEW_MODES)
def test_pointwise_steps_equal_general_steps(mode):
    """The pointwise walk equals the general walk, also for sequences of one and two steps, without middle steps."""
    cases = [_gated_inputs(time) for time in ((1, 2, 7) if mode == COMPILED else (7,))]

    def ours(cases, **options):
        return [scan(_gated, init, xs, params, **options) for params, init, xs in cases]

    results, (grads,) = results_and_gradients(mode, lambda cases: ours(cases, pointwise=True), cases)
    expected, (d_expected,) = results_and_gradients(STEP_BY_STEP, lambda cases: ours(cases, unroll=True), cases)
    assert_close(results, expected)
    for grad, d in zip(grads, d_expected, strict=True):
        # atol: sums of up to 84 products, in another order.
        scale = max(np.abs(g).max() for g in tree.flatten(grad))
        assert_close(grad, d, rtol=1e-5, atol=2e-6 * scale)
        assert all(np.any(g) for g in tree.flatten(grad))


@few_modes
@pytest.mark.parametrize("n_states", [1, 2])
def test_pointwise_steps_see_one_axis_of_units(n_states, mode):
    """The axes of units are joined, and are in the results again. On PyTorch, and in training on JAX, they stay."""
    ranks = set()

    def step(decay, states, x):
        ranks.add(len(x.shape))
        states = tuple(decay * state + (k + 1) * x for k, state in enumerate(states))
        return states, 2 * states[-1]

    inputs = normal(4, 2, 3), tuple(normal(4, 2, 3) for _ in range(n_states)), normal(4, 5, 2, 3)

    def ours(decay, init, xs, **options):
        return scan(step, init, xs, decay, **options)

    (outputs, final), grads = results_and_gradients(mode, lambda *args: ours(*args, pointwise=True), *inputs)
    assert min(ranks) == (2 if BACKEND == "tensorflow" else 3)
    ranks.clear()
    inference = run(mode, lambda *args: ours(*args, pointwise=True, inference=True), *inputs)
    assert max(ranks) == (3 if BACKEND == "torch" else 2)
    expected, d_expected = results_and_gradients(STEP_BY_STEP, lambda *args: ours(*args, unroll=True), *inputs)
    assert_close((outputs, final), expected)
    assert_close(inference, expected)
    assert_close(grads, d_expected, rtol=1e-5, atol=1e-5)


def _walked(case):
    """Return a step that the pointwise walk does not support, and its inputs."""

    def step(params, state, x):
        first, *others = state
        current, kind = x
        current = ops.mean(current, axis=1) if case == "another rank" else current
        first = params * first + current + ops.cast(kind, "float32")
        return (first, *(other - first for other in others)), 2 * first

    shape = (2,) if case == "another rank" else (2, 3)
    init = tuple(normal(*shape) for _ in range(2 if case == "two states" else 1))
    kind = np.ones((2, 5, *shape[1:]), "int32" if case == "an integer" else "float32")
    return step, (init, (normal(2, 5, 3), kind), np.asarray(np.float32(0.7)))


@few_modes
def test_unsupported_pointwise_steps_use_the_general_walk(mode):
    cases = {case: _walked(case) for case in ("two states", "an integer", "reverse", "another rank")}
    cases = cases if mode == COMPILED else {"two states": cases["two states"]}
    inputs = {case: args for case, (_, args) in cases.items()}

    def ours(inputs, **options):
        return {case: scan(cases[case][0], *inputs[case], reverse=case == "reverse", **options) for case in cases}

    actual = results_and_gradients(mode, lambda inputs: ours(inputs, pointwise=True), inputs)
    assert_close(actual, results_and_gradients(mode, ours, inputs))


def _scaled(params, state, x):
    decay, (factor,) = params
    state = decay * state + factor * x
    return state, 2 * state


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("shape", [(), (3,)], ids=str)
def test_constants_have_no_gradient(shape, unroll):
    """The numbers of steps and units are equal: a constant along the wrong axis would not be an error."""
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=size).astype("float32") for size in ((2, 3), (2, 3), (2, 3, 3), shape)]

    def ours(decay, init, x, factor):
        return scan(_scaled, init, x, decay, constants=[factor], pointwise=True, unroll=unroll)

    def loop(decay, state, x, factor):
        rows = []
        for t in range(3):
            state, row = _scaled((decay, [ops.stop_gradient(factor)]), state, x[:, t])
            rows.append(row)
        return ops.stack(rows, axis=1), state

    actual = results_and_gradients(STEP_BY_STEP, ours, *inputs)
    assert_close(actual, results_and_gradients(STEP_BY_STEP, loop, *inputs))
    assert not np.any(actual[1][3])


@pytest.mark.torch("only PyTorch goes back in blocks")
@pytest.mark.parametrize("at_once", [12, 50, 84, 10_000])
def test_gradients_do_not_depend_on_the_block_size(at_once, monkeypatch):
    from keras_snn.ops.backend import torch_scan as engine

    inputs = _gated_inputs(7)
    monkeypatch.setattr(engine, "_MIN_BLOCK_STEPS", 1)
    monkeypatch.setattr(engine, "_BLOCK_SIZE", at_once)

    def ours(params, init, xs, **options):
        return scan(_gated, init, xs, params, **options)

    actual = results_and_gradients(STEP_BY_STEP, lambda *args: ours(*args, pointwise=True), *inputs)
    expected = results_and_gradients(STEP_BY_STEP, ours, *inputs)
    assert_close(actual, expected)


@pytest.mark.torch("the other backends trace the loop once")
def test_symbolic_shapes_take_one_call_of_the_step():
    calls = []

    def count(params, state, x):
        calls.append(x)
        return state + x, {"sum": state + x, "large": state > 1}

    layer = keras.layers.Layer()
    for reverse in (False, True):
        layer.call = lambda x, reverse=reverse: scan(count, x[:, 0], x, reverse=reverse)
        outputs, final = layer.compute_output_spec(keras.KerasTensor((2, 1000, 3)))
        assert (outputs["sum"].shape, outputs["large"].shape, final.shape) == ((2, 1000, 3), (2, 1000, 3), (2, 3))
        assert (outputs["sum"].dtype, outputs["large"].dtype) == ("float32", "bool")
    assert len(calls) == 1


@modes
def test_a_length_replaces_inputs(mode):
    init, decay = normal(2, 3), np.asarray(np.float32(0.9))
    (outputs, final) = loops.scan(half_life, init, None, decay, length=4)
    ways = [{}, {"reverse": True}, {"unroll": True}]

    def ours(args):
        return [
            scan(half_life, init, None, decay, length=4, **way) for (init, decay), way in zip(args, ways, strict=True)
        ]

    args = [(init, decay)] * 3
    forward, backward, unrolled = run(mode, ours, args)
    assert_close(forward, (outputs, final))
    assert_close(backward, (outputs[:, ::-1], final))
    assert_close(unrolled, (outputs, final))
    (grads,) = gradients(mode, lambda args: sum(ops.sum(final) for _, final in ours(args)), args)
    for grad in grads:  # the final state is decay^4 init
        assert_close(grad, (np.full_like(init, decay**4), np.asarray(4 * decay**3 * init.sum())))


@modes
def test_shapes(mode):
    shapes = [((2,), 5), ((1, 3), 1), ((7, 3, 2), 4)]
    inputs = [(normal(*x), normal(x[0], time, *x[1:])) for x, time in shapes]
    results, (grads,) = results_and_gradients(
        mode, lambda inputs: [scan(leaky, init, xs, 0.9) for init, xs in inputs], inputs
    )
    for (init, xs), result, (d_init, d_xs) in zip(inputs, results, grads, strict=True):
        assert_close(result, loops.scan(leaky, init, xs, np.float32(0.9)))
        outputs, final = loops.scan(leaky, init.astype("float64"), xs.astype("float64"), 0.9)
        d, expected = 2 * final, np.empty(xs.shape)
        for t in reversed(range(xs.shape[1])):
            expected[:, t] = d = d + 2 * outputs[:, t]
            d = 0.9 * d
        assert_close((d_init, d_xs), (d.astype("float32"), expected.astype("float32")))


@few_modes
def test_a_number_is_a_state(mode):
    def count(params, state, x):
        return state + 1.0, x * state

    outputs, final = run(mode, lambda xs: scan(count, 0.0, xs), np.ones((2, 4), "float32"))
    np.testing.assert_array_equal(outputs, [[0, 1, 2, 3]] * 2)
    assert final == 4


@few_modes
def test_a_state_that_never_changes_and_one_that_is_the_input(mode):
    def step(params, state, x):
        return (state[0], x), (state[1], x)

    init, xs = (normal(2), normal(2)), normal(2, 3)
    (before, same), (kept, last) = run(mode, lambda i, xs: scan(step, i, xs), init, xs)
    np.testing.assert_array_equal(before, np.concatenate([init[1][:, None], xs[:, :-1]], axis=1))
    np.testing.assert_array_equal(same, xs)
    np.testing.assert_array_equal(kept, init[0])
    np.testing.assert_array_equal(last, xs[:, -1])

    def loss(init, xs):
        (before, same), (kept, last) = scan(step, init, xs)
        return ops.sum(before) + 10 * ops.sum(same) + 100 * ops.sum(kept) + 1000 * ops.sum(last)

    (d_kept, d_last), d_xs = gradients(mode, loss, init, xs)
    np.testing.assert_array_equal(d_kept, [100, 100])
    np.testing.assert_array_equal(d_last, [1, 1])
    np.testing.assert_array_equal(d_xs, [[11, 11, 1010]] * 2)


@few_modes
def test_no_state_and_no_outputs(mode):
    xs = normal(2, 3)
    outputs, final = run(mode, lambda xs: scan(_double, (), xs), xs)
    np.testing.assert_array_equal(outputs, 2 * xs)
    assert final == ()
    outputs, final = run(mode, lambda xs: scan(_sum, zeros(2), xs), xs)
    assert outputs == ()
    np.testing.assert_allclose(final, xs.sum(axis=1), rtol=1e-6)  # float32 sums of three
    (grad,) = gradients(mode, lambda xs: ops.sum(scan(_sum, zeros(2), xs)[1]), xs)
    np.testing.assert_array_equal(grad, np.ones((2, 3)))


def _double(params, state, x):
    return state, 2 * x


def _sum(params, state, x):
    return state + x, ()


@few_modes
def test_some_results_unused(mode):
    def step(params, state, x):
        a, b = state
        return (0.5 * a + x, b + a), (a, b * x)

    init, xs = (normal(2), normal(2)), normal(2, 3)

    def using(index):
        def loss(init, xs, unroll=False):
            return squares(tree.flatten(scan(step, init, xs, unroll=unroll))[index])

        return loss

    for index in (0, 3):
        ours = gradients(mode, using(index), init, xs)
        assert_close(ours, gradients(STEP_BY_STEP, lambda i, x, w=index: using(w)(i, x, unroll=True), init, xs))
        assert any(np.any(g) for g in tree.flatten(ours))


@modes
def test_the_same_tensor_as_state_input_parameter_and_outside(mode):
    def loss(x, unroll=False):
        outputs, final = scan(leaky, x, ops.stack([x, 2 * x, x], axis=1), x, unroll=unroll)
        second, _ = scan(leaky, final, outputs, x, unroll=unroll)
        return squares((outputs, final, second)) + ops.sum(3 * x)

    x = normal(4)
    assert_close(gradients(mode, loss, x), gradients(STEP_BY_STEP, lambda x: loss(x, unroll=True), x))


@modes
def test_without_gradient(mode):
    init, xs = normal(2, 3), normal(2, 4, 3)

    def ours(init, xs, decay, gradient=False, unroll=False):
        return scan(leaky, init, xs, decay, gradient=gradient, unroll=unroll)

    decay = np.asarray(np.float32(0.9))
    values, expected = run(mode, lambda *args: (ours(*args), ours(*args, gradient=True)), init, xs, decay)
    assert_close(values, expected)

    def loss(i, x, d):
        return squares((ours(i, x, d), ours(i, x, d, unroll=True))) + ops.sum(x)

    outside = gradients(mode, loss, init, xs, decay)
    assert_close(outside, (np.zeros_like(init), np.ones_like(xs), np.zeros_like(decay)))


@few_modes
def test_inputs_without_a_gradient(mode):
    """Constants, integers and booleans may be inputs besides the differentiated values."""

    def step(params, state, x):
        integer, boolean, constant = x
        state = ops.where(boolean, state * params["by"], state) + ops.cast(integer, "float32") * constant
        return state, (state, integer)

    integer, boolean = RNG.integers(0, 5, (2, 3)).astype("int32"), RNG.random((2, 3)) < 0.5
    constant = normal(2, 3)

    def loss(init, by, unroll=False):
        params = {"by": by, "unused": np.int32(3)}
        (outputs, integers), final = scan(step, init, (integer, boolean, constant), params, unroll=unroll)
        return squares((outputs, final)) + ops.cast(ops.sum(integers), "float32")

    init, by = normal(2), np.asarray(np.float32(0.7))
    ours = gradients(mode, loss, init, by)
    assert_close(ours, gradients(STEP_BY_STEP, lambda i, b: loss(i, b, unroll=True), init, by))
    assert all(np.any(g) for g in ours)


@few_modes
def test_a_step_without_a_gradient(mode):
    def step(params, state, x):
        fired = ops.cast(x > 0, "float32")
        return ops.stop_gradient(state + x), fired

    xs = normal(2, 3)
    grads = gradients(mode, lambda i, x: squares(scan(step, i, x)) + ops.sum(x), zeros(2), xs)
    assert_close(grads, (zeros(2), np.ones_like(xs)))


@few_modes
def test_a_table_lookup_by_an_integer_state(mode):
    """A lookup has a gradient, which is sparse on TensorFlow."""

    def step(table, state, x):
        return (state + 1) % 3, ops.take(table, state, axis=0) * x

    table, xs, init = normal(3), normal(2, 4), np.array([0, 2], "int32")
    (d_table, d_xs) = gradients(mode, lambda table, xs: ops.sum(scan(step, init, xs, table)[0]), table, xs)
    rows = (init[:, None] + np.arange(4)) % 3
    np.testing.assert_allclose(d_xs, table[rows])
    np.testing.assert_allclose(d_table, [xs[rows == k].sum() for k in range(3)], rtol=1e-5)  # float32 sums


@few_modes
def test_a_permuted_state(mode):
    def step(order, state, x):
        state = ops.take(state, order, axis=0) + x
        return state, state

    order, init, xs = np.array([1, 2, 0], "int32"), normal(3), normal(3, 4)
    expected = loops.scan(lambda order, s, x: (s[order] + x,) * 2, init, xs, order)
    assert_close(run(mode, lambda i, x: scan(step, i, x, order), init, xs), expected)
    grads = [
        gradients(m, lambda i, x: squares(scan(step, i, x, order, unroll=u)), init, xs)
        for m, u in [(mode, False), (STEP_BY_STEP, True)]
    ]
    assert_close(*grads)


@dataclasses.dataclass(frozen=True)
class _HalfOutputs:
    dtype: str

    def __call__(self, decay, state, x):
        state = decay * state + ops.cast(x, "float32")
        return state, ops.cast(state, self.dtype)


@few_modes
def test_half_precision_inputs_and_a_float32_state(mode):
    def value(dtype, init, xs):
        outputs, final = scan(_HalfOutputs(dtype), init, ops.cast(xs, dtype), 0.5)
        assert keras.backend.standardize_dtype(outputs.dtype) == dtype
        assert keras.backend.standardize_dtype(final.dtype) == "float32"
        return ops.sum(ops.cast(outputs, "float32")) + ops.sum(final)

    def values(args):
        return {dtype: value(dtype, *args[dtype]) for dtype in args}

    init, xs = zeros(2), np.array([[1, 2, 4], [8, -1, 0.5]], "float32")
    args = dict.fromkeys(("float16", "bfloat16"), (init, xs))
    (grads,) = gradients(mode, lambda args: sum(values(args).values()), args)
    for dtype, result in run(mode, values, args).items():
        # Sums of a few powers of two are exact in all dtypes.
        assert result == (1 + 2.5 + 5.25 + 5.25) + (8 + 3 + 2 + 2)
        d_init, d_xs = grads[dtype]
        np.testing.assert_array_equal(d_init, [0.5 + 0.25 + 0.125 + 0.125] * 2)
        np.testing.assert_array_equal(d_xs, [[1 + 0.5 + 0.25 + 0.25, 1 + 0.5 + 0.5, 1 + 1]] * 2)


@few_modes
def test_keras_variables_are_parameters(mode):
    decay = keras.Variable(0.5)
    outputs, _ = run(mode, lambda xs: scan(leaky, zeros(1), xs, decay), np.ones((1, 3), "float32"))
    np.testing.assert_array_equal(outputs, [[1, 1.5, 1.75]])


def test_one_step_works_with_many_ranks():
    for shape in [(2, 3), (2,), (2, 4), (3, 4, 2), (2,), (1, 1)]:
        init, xs = normal(*shape), normal(shape[0], 4, *shape[1:])
        assert_close(
            run("eager", lambda i, x: scan(leaky, i, x, 0.9), init, xs), loops.scan(leaky, init, xs, np.float32(0.9))
        )


def test_steps_with_different_constants_are_not_mixed():
    xs = normal(2, 3)
    for scale in (2.0, 3.0, 2.0):
        np.testing.assert_array_equal(to_numpy(scan(_Scale(scale), (), xs)[0]), np.float32(scale) * xs)


@dataclasses.dataclass(frozen=True)
class _Scale:
    factor: float

    def __call__(self, params, state, x):
        return state, self.factor * x


# Errors ---------------------------------------------------------------------------------------------------------------


class Holds:
    """A step that holds a tensor or variable in an attribute."""

    def __init__(self, held):
        self.held = held

    def __call__(self, params, state, x):
        return state, x * self.held


class Unhashable:
    __hash__ = None

    def __call__(self, params, state, x):
        return state, x


def assigns(variable):
    holder = Holds(variable)

    def step(params, state, x):
        holder.held.assign(state)
        return state, x

    return step


GLOBAL_VARIABLE = keras.Variable(1.0)
GLOBAL_TENSOR = ops.convert_to_tensor(np.float32(2))


def closes_over(value):
    return lambda params, state, x: (state, x * value)


X = np.ones((2, 3), "float32")

BAD_STEPS = {
    "other dtype": (lambda p, s, x: (ops.cast(s, "float16"), x), "receives, float32.*got float16"),
    "other shape": (lambda p, s, x: (ops.stack([s, s]), x), "structure, shapes and dtypes"),
    "broadcast": (lambda p, s, x: (s + x, x), r"receives, float32\(\); got float32\(2,\)"),
    "other structure": (lambda p, s, x: ((s, s), x), "structure, shapes and dtypes"),
    "a Python number": (lambda p, s, x: (0.0, x), "got 0.0"),
    "None as state": (lambda p, s, x: (None, x), "structure, shapes and dtypes"),
    "rank-0 output": (lambda p, s, x: (s, ops.sum(x)), r"\(batch, \.\.\.\).*float32\(\)"),
    "None as output": (lambda p, s, x: (s, None), r"tensors \(batch, \.\.\.\).*None"),
    "a number as output": (lambda p, s, x: (s, 1.0), r"tensors \(batch, \.\.\.\).*1\.0"),
    "not a pair": (lambda p, s, x: x, "must return the pair"),
    "a triple": (lambda p, s, x: (s, x, x), "must return the pair"),
    "reads a variable": (Holds(keras.Variable(1.0, name="hidden")), "it reads the variable 'hidden'"),
    "changes a variable": (assigns(keras.Variable(1.0, name="hidden")), "it changes the variable 'hidden'"),
    "closes over a variable": (closes_over(keras.Variable(1.0)), r"closes over .*\(value\).*`params`"),
    "closes over a tensor": (closes_over(ops.convert_to_tensor(np.float32(2))), r"closes over .*\(value\)"),
    "global variable": (lambda p, s, x: (s, x * GLOBAL_VARIABLE), r"closes over .*\(GLOBAL_VARIABLE\)"),
    "global tensor": (lambda p, s, x: (s, x * GLOBAL_TENSOR), r"closes over .*\(GLOBAL_TENSOR\)"),
    # On JAX, Keras refuses it.
    "random": (
        lambda p, s, x: (s, x + keras.random.normal((2,))),
        "(reads the variable 'seed_gen|seeded)",
    ),
}


@pytest.mark.parametrize("step, message", BAD_STEPS.values(), ids=BAD_STEPS)
@pytest.mark.parametrize("options", [{}, {"gradient": False}, {"unroll": True}], ids=str)
def test_steps_that_are_refused(step, message, options):
    for _ in range(2):  # a failed trace must not be cached
        with pytest.raises(ValueError, match=f"(?s){message}"):
            scan(step, 0.0, X, **options)


@pytest.mark.parametrize("options", [{}, {"unroll": True}], ids=str)
@modes
def test_steps_are_refused_inside_compiled_code(mode, options):
    for name in ("other dtype", "reads a variable", "closes over a tensor"):
        step, message = BAD_STEPS[name]
        with pytest.raises(ValueError, match=f"(?s){message}"):
            gradients(mode, lambda x, step=step: ops.sum(scan(step, 0.0, x, **options)[0]), X)


def test_attributes_are_not_mistaken_for_globals():
    class Carrier:
        GLOBAL_TENSOR = 3.0

    carrier = Carrier()

    def step(params, state, x):
        return state, x * carrier.GLOBAL_TENSOR

    np.testing.assert_array_equal(to_numpy(scan(step, (), X)[0]), 3 * X)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: scan(leaky, zeros(2), None), "`xs` or `length`"),
        (lambda: scan(leaky, zeros(2), {}), "`xs` or `length`"),
        (lambda: scan(leaky, zeros(2), zeros(2, 0), 1.0), "time steps must be at least 1; got 0"),
        (lambda: scan(leaky, zeros(2), zeros(2, 0), 1.0, unroll=True), "time steps must be at least 1; got 0"),
        (lambda: scan(half_life, zeros(2), None, 1.0, length=0), "time steps must be at least 1; got 0"),
        (lambda: scan(half_life, zeros(2), None, 1.0, length=-1), "time steps must be at least 1; got -1"),
        (lambda: scan(leaky, zeros(2), (zeros(2, 3), zeros(2, 4)), 1.0), r"same number .* got \[3, 4\]"),
        (lambda: scan(leaky, zeros(2), zeros(2, 3), 1.0, length=4), r"same number .* got \[3, 4\]"),
        (lambda: scan(leaky, zeros(2), zeros(2), 1.0), r"\(batch, time, \.\.\.\); got \(2,\)"),
        (lambda: scan(leaky, 0.0, 1.0, 1.0), r"got \(\), which has no time axis"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_unhashable_step():
    with pytest.raises(TypeError, match="unhashable type: 'Unhashable'"):
        scan(Unhashable(), 0.0, X)


@few_modes
def test_an_error_in_the_step_keeps_its_traceback(mode):
    def trouble():
        raise ZeroDivisionError("in the step")

    def step(params, state, x):
        if len(x.shape) == 1:
            trouble()

    with pytest.raises(ZeroDivisionError, match="in the step") as caught:
        gradients(mode, lambda x: ops.sum(scan(step, 0.0, x)[0]), X)
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert "step" in names and "trouble" in names


# Training -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained_step_by_step():
    return trained(leaky_model(depth=1, unroll=True))


#: Keras replaces jit_compile="auto" by one of these. On PyTorch, jit_compile=True uses torch.compile. On JAX,
#: jit_compile=False equals run_eagerly=True.
COMPILE_OPTIONS = {
    "tensorflow": [{"jit_compile": False}, {"jit_compile": True}, {"run_eagerly": True}],
    "jax": [{"jit_compile": True}, {"run_eagerly": True}],
    "torch": [{"jit_compile": False}, {"run_eagerly": True}],
}[BACKEND]


@pytest.mark.parametrize("options", COMPILE_OPTIONS, ids=str)
def test_fit_and_predict(options, trained_step_by_step):
    model = leaky_model(depth=1, **options)
    assert_close(trained(model), trained_step_by_step)
    assert not np.allclose(to_numpy(model.layers[1].decay), 0.8, atol=1e-4)


def test_fit_in_mixed_float16():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = leaky_model()
        x = normal(8, 5, 2)
        model.fit(x, normal(8, 3), epochs=4, verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    assert all(v.dtype == "float32" for v in model.trainable_variables)
    assert all(np.all(np.isfinite(v)) for v in to_numpy(model.trainable_variables))
    assert not np.allclose(to_numpy(model.layers[1].decay), 0.8, atol=1e-4)
    assert model.predict(x, verbose=0).dtype == "float16"


# Second derivatives ---------------------------------------------------------------------------------------------------

# With x = 1, s_0 = 3 and two steps, the final state is 3 d^2 + d + 1. Its derivatives by d are 6 d + 1 and 6.


def _final(decay, **options):
    return scan(leaky, ops.full((1,), 3.0), ops.ones((1, 2)), decay, **options)[1][0]


@few_modes
def test_an_unrolled_loop_has_a_second_derivative(mode):
    assert second_derivative(mode, lambda d: _final(d, unroll=True)) == 6


@pytest.mark.skipif(BACKEND == "jax", reason="JAX differentiates the reverse walk too")
@modes
def test_the_loop_refuses_a_second_derivative(mode):
    with pytest.raises(NotImplementedError, match="unroll=True"):
        second_derivative(mode, _final)


@pytest.mark.jax("the only backend that differentiates the reverse walk")
@modes
def test_the_loop_has_a_second_derivative_on_jax(mode):
    assert second_derivative(mode, _final) == 6


def second_derivative(mode, function):
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def second(decay):
            with tf.GradientTape() as outer:
                outer.watch(decay)
                with tf.GradientTape() as inner:
                    inner.watch(decay)
                    value = function(decay)
                first = inner.gradient(value, decay)
            return outer.gradient(first, decay)

    elif BACKEND == "jax":
        import jax

        second = jax.grad(jax.grad(function))
    else:
        import torch

        def second(decay):
            decay = decay.clone().requires_grad_()
            (first,) = torch.autograd.grad(function(decay), decay, create_graph=True)
            assert first == 6 * 0.5 + 1
            return torch.autograd.grad(first, decay)[0]

    return to_numpy(wrap(mode, second)(ops.convert_to_tensor(np.float32(0.5))))


# Backends -------------------------------------------------------------------------------------------------------------


@pytest.mark.jax("transformations of JAX")
def test_jax_transformations():
    import jax

    init, xs = normal(2), normal(2, 4)

    def loss(init, xs, decay, unroll=False):
        return squares(scan(leaky, init, xs, decay, unroll=unroll))

    first = jax.grad(loss, argnums=(0, 1, 2))
    expected = to_numpy(jax.grad(lambda *args: loss(*args, unroll=True), argnums=(0, 1, 2))(init, xs, 0.9))
    assert_close(to_numpy(jax.grad(jax.jit(loss), argnums=(0, 1, 2))(init, xs, 0.9)), expected)
    assert_close(to_numpy(jax.jit(first)(init, xs, 0.9)), expected)
    vmapped = jax.vmap(first, in_axes=(0, 0, None))(np.stack([init, -init]), np.stack([xs, 3 * xs]), 0.9)
    for k, args in enumerate([(init, xs), (-init, 3 * xs)]):
        assert_close(to_numpy([g[k] for g in vmapped]), to_numpy(list(first(*args, 0.9))))
    outputs = jax.vmap(lambda d: scan(leaky, init, xs, d)[0])(np.float32([0.5, 0.9]))
    assert_close(to_numpy(outputs[1]), to_numpy(scan(leaky, init, xs, 0.9)[0]))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda d: loss(init, xs, d), (0.9,), (1.0,))


@pytest.mark.jax("tracers of JAX")
def test_a_closed_over_tracer_is_an_error():
    import jax

    for make in (closes_over, Holds):
        step = make
        for transformation in (jax.grad, lambda f: jax.jit(jax.grad(f)), lambda f: jax.grad(jax.jit(f))):
            with pytest.raises(Exception, match=r"clos(es|ed|ing|ure)"):
                transformation(lambda decay: ops.sum(scan(step(decay), 0.0, X)[0]))(2.0)


@pytest.mark.tensorflow("tf.Variable")
@few_modes
def test_a_tf_variable_in_the_step(mode):
    import tensorflow as tf

    variable = tf.Variable(2.0)
    for make in (closes_over, Holds):
        with pytest.raises(ValueError, match="closes over"):
            gradients(mode, lambda x: ops.sum(scan(make(variable), 0.0, x)[0]), X)


@pytest.mark.torch("torch.nn.Parameter")
def test_a_parameter_in_the_step():
    import torch

    parameter = torch.nn.Parameter(torch.tensor(2.0))
    with pytest.raises(ValueError, match=r"closes over .*\(value\)"):
        scan(closes_over(parameter), 0.0, X)
    with pytest.raises(ValueError, match=r"closes over .*requires a gradient"):
        scan(Holds(parameter), 0.0, X)


@pytest.mark.torch("PyTorch training loop")
def test_a_torch_training_loop():
    import torch

    x, target = torch.tensor(normal(4, 5)), torch.tensor(normal(4, 5))
    finals = []
    for unroll in (False, True):
        decay = torch.nn.Parameter(torch.tensor(0.5))
        optimizer = torch.optim.SGD([decay], 0.05)
        for _ in range(3):
            optimizer.zero_grad()
            loss = torch.mean((scan(leaky, torch.zeros(4), x, decay, unroll=unroll)[0] - target) ** 2)
            loss.backward()
            optimizer.step()
        finals.append(float(decay.detach()))
    assert finals[0] != 0.5
    np.testing.assert_allclose(*finals, rtol=1e-6)  # three updates in float32
    with torch.no_grad():
        assert not scan(leaky, torch.zeros(4), x, decay)[0].requires_grad
    assert scan(leaky, torch.zeros(4), x, decay)[0].requires_grad
    assert not scan(leaky, torch.zeros(4), x, decay, gradient=False)[0].requires_grad


@pytest.mark.torch("only PyTorch's tensors change in place")
@pytest.mark.parametrize("options", [{}, {"gradient": False}], ids=str)
def test_the_final_state_is_not_an_alias_of_the_initial_state(options):
    import torch

    init = torch.zeros(2, requires_grad=not options)
    _, final = scan(lambda params, state, x: (state, x), init, X, **options)
    final.detach().add_(1)
    np.testing.assert_array_equal(to_numpy(init), [0, 0])


@pytest.mark.torch("PyTorch frees saved tensors")
def test_the_backward_pass_frees_the_states():
    """The backward pass frees the states, so that a kept loss does not hold them during the next forward pass."""
    import gc

    import torch

    def alive():
        return sum(type(o) is torch.Tensor and o.shape == (2, 17) for o in gc.get_objects())

    init, xs = torch.zeros(2, 17), torch.ones(2, 9, 17, requires_grad=True)
    gc.collect()
    before = alive()
    outputs, _ = scan(leaky, init, xs, 0.5)
    loss = outputs.sum()
    del outputs
    loss.backward()
    gc.collect()
    assert alive() - before <= 1
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()
