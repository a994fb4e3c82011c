import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from reference import loops
from reference.autodiff import BACKEND, squares, to_numpy
from reference.models import Leaky, leaky_model

from keras_snn.layers import Lowpass, SpikingActivation
from keras_snn.ops import scan

pytestmark = pytest.mark.tensorflow("graphs, XLA and strategies of TensorFlow")
if BACKEND == "tensorflow":
    import tensorflow as tf

    from keras_snn.ops.backend import tensorflow_scan as engine

RNG = np.random.default_rng(0)
# float32 sums of a few products, in another order.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


class Counting:
    """A leaky step that counts its traces: its Python body only runs when it is traced."""

    def __init__(self):
        self.traces = 0

    def __call__(self, decay, voltage, x):
        self.traces += 1
        voltage = decay * voltage + (0 if x is None else x)
        return voltage, voltage

    def expected(self, *args, **kwargs):
        return loops.scan(self.__call__, *args, **kwargs)[0]


@pytest.fixture
def traces(monkeypatch):
    """Return a list that receives an item for each trace of any step."""
    calls, original = [], engine.pure_call
    monkeypatch.setattr(engine, "pure_call", lambda *args: calls.append(args[0]) or original(*args))
    return calls


def test_eager_training():
    models = [leaky_model(), leaky_model(unroll=True)]
    x, y = normal(4, 5, 2), normal(4, 3)
    for model in models:
        for _ in range(3):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
            model.optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
    for a, b in zip(*(to_numpy(model.trainable_variables) for model in models), strict=True):
        np.testing.assert_allclose(a, b, **CLOSE)
    assert not np.allclose(to_numpy(models[0].layers[1].decay), 0.8, atol=1e-4)


def test_a_variable_gets_its_gradient():
    variable, xs = tf.Variable(0.5), np.ones((1, 3), "float32")

    def gradient():
        with tf.GradientTape() as tape:
            final = scan(Counting(), tf.ones(1), xs, variable)[1]
        return tape.gradient(final, variable)

    # The derivative of d^3 + d^2 + d + 1.
    for f in (gradient, tf.function(gradient), tf.function(gradient, jit_compile=True)):
        assert float(f()) == 3 * 0.25 + 2 * 0.5 + 1


def test_forward_mode_is_refused():
    def derivative(**options):
        decay = tf.constant(0.5)
        with tf.autodiff.ForwardAccumulator(decay, tf.constant(1.0)) as accumulator:
            final = scan(leaky, tf.ones(1), tf.ones((1, 3)), decay, **options)[1]
        return accumulator.jvp(final)

    with pytest.raises(NotImplementedError, match="forward-mode.*unroll=True"):
        derivative()
    assert derivative(unroll=True) == 3 * 0.25 + 2 * 0.5 + 1


def test_a_persistent_tape():
    step, xs = Counting(), tf.constant(normal(2, 4))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(xs)
        outputs, final = scan(step, tf.zeros(2), xs, 0.5)
    np.testing.assert_allclose(tape.gradient(final, xs), [[0.125, 0.25, 0.5, 1]] * 2)
    np.testing.assert_allclose(tape.gradient(outputs, xs), [[1.875, 1.75, 1.5, 1]] * 2)


@pytest.mark.parametrize("make", [Leaky, lambda: Lowpass(0.1), lambda: SpikingActivation("relu")], ids=range(3))
def test_twenty_eager_calls_trace_once(make, traces):
    layer, x = make(), tf.constant(normal(2, 5, 11))  # a width that no other test uses

    def call():
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = squares(layer(x))
        return tape.gradient(loss, x)

    call()
    first, n_loops = len(traces), engine._Loops.cache_info().misses
    assert first > 0
    for _ in range(20):
        call()
    assert len(traces) == first
    assert engine._Loops.cache_info().misses == n_loops


def compilations(step):
    """Return the number of traces of XLA loops, and of graph loops."""
    counts = {True: 0, False: 0}
    for loop in _loops:
        if loop.step is step:
            for (_, compiled, *_), function in loop.functions.items():
                counts[compiled] += function.experimental_get_tracing_count()
    return counts[True], counts[False]


@pytest.fixture
def _record_loops(monkeypatch):
    _loops.clear()
    original = engine._Loops

    def recording(*args):
        loop = original(*args)
        _loops.add(loop)
        return loop

    monkeypatch.setattr(engine, "_Loops", recording)


_loops = set()


@pytest.mark.usefixtures("_record_loops")
def test_sequences_of_many_lengths_stop_compiling(monkeypatch):
    monkeypatch.setattr(engine, "_CALLS_TO_COMPILE", 4)
    monkeypatch.setattr(engine, "_MAX_SHAPES", 3)
    step = Counting()

    def check(batch, time):
        init, xs = tf.constant(normal(batch, 3)), tf.constant(normal(batch, time, 3))
        with tf.GradientTape() as tape:
            tape.watch(xs)
            outputs, _ = scan(step, init, xs, 0.5)
            loss = tf.reduce_sum(outputs)
        np.testing.assert_allclose(outputs, loops.scan(leaky, init.numpy(), xs.numpy(), np.float32(0.5))[0], **CLOSE)
        grad = 2 - 0.5 ** np.arange(time - 1, -1, -1)
        np.testing.assert_allclose(tape.gradient(loss, xs), np.broadcast_to(grad[:, None], xs.shape), **CLOSE)

    for time in range(1, 11):
        check(2 + time % 2, time)
    # Forward and backward: the first shape by XLA; then a graph loop of one shape, and a graph loop for all others.
    assert compilations(step) == (2, 4)

    for _ in range(engine._CALLS_TO_COMPILE - 1):  # often enough to be compiled, and more shapes than the limit
        for time in range(10, 3, -1):
            check(2 + time % 2, time)
    assert compilations(step) == (2 * engine._MAX_SHAPES, 4)


def leaky(decay, voltage, x):
    voltage = decay * voltage + x
    return voltage, voltage


@pytest.mark.usefixtures("_record_loops")
def test_many_lengths_without_inputs_stop_tracing():
    step = Counting()
    for length in range(1, 20):
        outputs, _ = scan(step, tf.ones(2), None, 0.5, length=length)
        np.testing.assert_allclose(outputs, [0.5 ** np.arange(1, length + 1)] * 2, **CLOSE)
    assert compilations(step) == (1, 1)


def test_a_repeated_shape_is_compiled():
    step = Counting()
    for _ in range(engine._CALLS_TO_COMPILE):
        for time in (4, 5):
            scan(step, tf.zeros(2), normal(2, time), 0.5)
    loop = engine._Loops(step, False, False, ((), (), ()))
    assert {shapes[-1] for shapes in loop.compiled} == {(2, 4), (2, 5)}


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_graph_keeps_its_static_shapes(jit_compile):
    """Outputs in a graph have static shapes, also after calls with other shapes. Later layers may need them."""

    @tf.function(jit_compile=jit_compile)
    def call(a, b, c):
        shapes = []
        for x in (a, b, c, a):
            init = tf.zeros((x.shape[0], *x.shape[2:]))
            outputs, final = scan(leaky, init, x, 0.5)
            shapes.append((outputs.shape == x.shape, final.shape == init.shape))
        assert shapes == [(True, True)] * 4
        return outputs

    for time in (3, 4):
        call(normal(2, time, 3), normal(2, time, 5), normal(4, time, 5, 2))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_unknown_batch_and_time(jit_compile):
    signature = [tf.TensorSpec((None, 3)), tf.TensorSpec((None, None, 3))]

    @tf.function(input_signature=signature, jit_compile=jit_compile)
    def call(init, xs):
        with tf.GradientTape() as tape:
            tape.watch(xs)
            outputs, final = scan(leaky, init, xs, 0.5)
            loss = tf.reduce_sum(outputs)
        assert outputs.shape.as_list() == [None, None, 3] and final.shape.as_list() == [None, 3]
        return outputs, final, tape.gradient(loss, xs)

    for batch, time in [(2, 4), (3, 1), (1, 7)]:
        init, xs = normal(batch, 3), normal(batch, time, 3)
        outputs, final, grad = call(init, xs)
        expected = loops.scan(leaky, init, xs, np.float32(0.5))
        np.testing.assert_allclose(outputs, expected[0], **CLOSE)
        np.testing.assert_allclose(final, expected[1], **CLOSE)
        d = 2 - 0.5 ** np.arange(time - 1, -1, -1)
        np.testing.assert_allclose(grad, np.broadcast_to(d[:, None], xs.shape), **CLOSE)


def test_fit_on_sequences_of_many_lengths():
    def batches():
        rng = np.random.default_rng(0)
        for time in (3, 7, 5, 1):
            yield rng.normal(size=(2, time, 2)).astype("float32"), rng.normal(size=(2, 3)).astype("float32")

    models = [leaky_model(time=None), leaky_model(unroll=True)]
    models[0].fit(batches(), steps_per_epoch=4, shuffle=False, verbose=0)
    for x, y in batches():
        with tf.GradientTape() as tape:
            outputs = x
            for layer in models[1].layers:  # layer by layer: the model only accepts five steps
                outputs = layer(outputs)
            loss = tf.reduce_mean((outputs - y) ** 2)
        models[1].optimizer.apply(tape.gradient(loss, models[1].trainable_variables), models[1].trainable_variables)
    for a, b in zip(*(to_numpy(model.trainable_variables) for model in models), strict=True):
        np.testing.assert_allclose(a, b, **CLOSE)


@pytest.mark.parametrize("time", [5, None])
def test_saved_model_export(time, tmp_path):
    model, x = leaky_model(time=time), normal(7, 5, 2)
    expected = model.predict(x, verbose=0)
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    for batch in (7, 1, 4):
        np.testing.assert_allclose(loaded.serve(x[:batch]), expected[:batch], **CLOSE)


def test_two_devices():
    """fit, predict and random draws under MirroredStrategy equal those on one device."""
    script = """
import numpy as np, tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from keras import tree
from reference.models import COPIES, assert_draws_of_one_device, drawing_model, leaky_model, trained
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
on_one_device = trained(leaky_model(depth=1, jit_compile=False))
with strategy.scope():
    model = leaky_model(depth=1)
assert not model.jit_compile  # Keras never compiles a model under a strategy
on_two_devices = trained(model)
# rtol: losses and gradients are sums over half batches.
for a, b in zip(tree.flatten(on_one_device), tree.flatten(on_two_devices), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
with strategy.scope():
    drawing = drawing_model()
halves = [strategy.experimental_local_results(y) for y in strategy.run(drawing, (COPIES[:32],))]
assert_draws_of_one_device([tf.concat(y, 0) for y in halves], drawing_model()(COPIES))
print(strategy.num_replicas_in_sync, "replicas agree")
"""
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[0] == "2 replicas agree", done.stderr[-2000:]
