import gc
import json
import weakref

import keras
import numpy as np
import pytest
from keras import ops
from reference.autodiff import FEW_MODES, gradients, results_and_gradients

from keras_snn.layers import RNN, AlphaCell, LowpassCell, SpikingActivationCell, SpikingCell

RNG = np.random.default_rng(0)
# float32: a compiled loop may use fused multiply-adds, which round once instead of twice.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def to_numpy(x):
    return ops.convert_to_numpy(x)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


@keras.saving.register_keras_serializable(package="tests")
class Recurrent(SpikingCell):
    """A leaky unit that receives tanh of the voltages of all units."""

    def build(self, input_shape):
        self.recurrent = self.add_weight(shape=(self.size, self.size), initializer="orthogonal", name="recurrent")

    def call_inference(self, inputs, states):
        voltage = states[0] + self.dt * (inputs + ops.matmul(ops.tanh(states[0]), self.recurrent) - states[0])
        return ops.tanh(voltage), [voltage]


class Modes(SpikingCell):
    def call_training(self, inputs, states):
        return inputs + 1, states

    def call_inference(self, inputs, states):
        return inputs + 2, states


@keras.saving.register_keras_serializable(package="tests")
class Dropping(SpikingCell):
    """A cell with a Dropout layer, random noise, and a step counter."""

    def __init__(self, size, dropout_seed=2, **kwargs):
        super().__init__(size, **kwargs)
        self.dropout = keras.layers.Dropout(0.5, seed=dropout_seed)
        self.dense = keras.layers.Dense(size, use_bias=False, kernel_initializer="identity")
        self.seed_generator = keras.random.SeedGenerator(1)

    def build(self, input_shape):
        self.dense.build(input_shape)
        self.steps = self.add_weight(shape=(), initializer="zeros", trainable=False, name="steps")

    def call(self, inputs, states, training=None):
        self.steps.assign_add(1.0)
        noise = keras.random.uniform(ops.shape(inputs), seed=self.seed_generator) - 0.5
        outputs = self.dropout(self.dense(inputs), training=training)
        return outputs, [states[0] + noise]


def numpy_loop(cell, x, voltage, kernel):
    voltages = []
    for t in range(x.shape[1]):
        voltage = voltage + cell.dt * (x[:, t] + np.tanh(voltage) @ kernel - voltage)
        voltages.append(voltage)
    return np.tanh(np.stack(voltages, axis=1)), voltage


def test_a_users_cell_equals_a_numpy_loop():
    cell, x = Recurrent(3, dt=0.1), normal(2, 8, 3)
    y, last = RNN(cell, return_state=True)(x)
    expected, voltage = numpy_loop(cell, x, np.zeros((2, 3)), to_numpy(cell.recurrent))
    np.testing.assert_allclose(to_numpy(y), expected, **CLOSE)
    np.testing.assert_allclose(to_numpy(last), voltage, **CLOSE)
    assert np.abs(expected).max() > 0.1


@pytest.mark.parametrize("mode", FEW_MODES)
def test_gradients_reach_the_weights_the_inputs_and_the_initial_state(mode):
    cell, x, v = Recurrent(3, dt=0.3), normal(2, 6, 3), normal(2, 3)
    layer = RNN(cell)
    layer.build(x.shape)
    kernel, upstream = to_numpy(cell.recurrent), normal(2, 6, 3)

    def loss(kernel, x, v):
        outputs, _ = layer.stateless_call([kernel], [], x, initial_state=v, training=True)
        return ops.sum(ops.multiply(upstream, outputs))

    def plain_loss(kernel, x, v):
        return np.sum(upstream * numpy_loop(cell, x, v, kernel)[0])

    values = [a.astype("float64") for a in (kernel, x, v)]
    for i, grad in enumerate(gradients(mode, loss, kernel, x, v)):
        direction = RNG.normal(size=grad.shape)
        ends = [plain_loss(*(a + s * 1e-6 * direction if k == i else a for k, a in enumerate(values))) for s in (1, -1)]
        numeric = (ends[0] - ends[1]) / 2e-6
        # Tolerances: a float32 sum of products.
        np.testing.assert_allclose(np.sum(grad * direction), numeric, rtol=1e-4, atol=1e-4)
        assert np.all(grad != 0)


@pytest.mark.parametrize(
    "training, always_use_inference, added",
    [(False, False, 2), (False, True, 2), (True, False, 1), (True, True, 2), (None, False, 2)],
)
def test_training_and_inference_calls(training, always_use_inference, added):
    cell = Modes(3, always_use_inference=always_use_inference)
    x = normal(2, 4, 3)
    y, states = cell(x[:, 0], cell.get_initial_state(batch_size=2), training=training)
    np.testing.assert_array_equal(to_numpy(y), x[:, 0] + np.float32(added))
    assert len(states) == 1
    if training is not None:  # with None, the mode of the module counts on PyTorch
        np.testing.assert_array_equal(to_numpy(RNN(cell)(x, training=training)), x + np.float32(added))


def test_call_training_defaults_to_call_inference():
    class Same(SpikingCell):
        def call_inference(self, inputs, states):
            return 3 * inputs, states

    cell = Same(3, always_use_inference=False)
    x = normal(2, 3)
    y, _ = cell(x, cell.get_initial_state(batch_size=2), training=True)
    np.testing.assert_array_equal(to_numpy(y), 3 * x)


class Doubled:
    def call_inference(self, inputs, states):
        return 2 * inputs, states


class DoubledSequence:
    def call_sequence(self, inputs, states, training, mask=None):
        return 2 * inputs, states


def lowpass_cell(*mixins, **methods):
    return type("Cell", (*mixins, LowpassCell), methods)


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (LowpassCell, True),
        (SpikingActivationCell, True),
        (lowpass_cell(), True),
        (lowpass_cell(Doubled), False),
        (lowpass_cell(call_inference=Doubled.call_inference), False),
        (type("Cell", (lowpass_cell(Doubled),), {}), False),
        (lowpass_cell(DoubledSequence), True),
        (type("Cell", (DoubledSequence, lowpass_cell(Doubled)), {}), True),
        (type("Cell", (lowpass_cell(Doubled), lowpass_cell()), {}), False),
        (lowpass_cell(Doubled, runs_call_sequence=True), True),
        (lowpass_cell(runs_call_sequence=False), False),
    ],
)
def test_an_overridden_step_runs_instead_of_the_sequence(cls, expected):
    assert cls.runs_call_sequence is expected


@pytest.mark.parametrize("mixin", [Doubled, DoubledSequence])
def test_the_engine_runs_the_method_of_a_mixin(mixin):
    x = normal(2, 4, 3)
    np.testing.assert_allclose(to_numpy(RNN(lowpass_cell(mixin)(3, 0.1))(x)), 2 * x, **CLOSE)


def test_random_numbers_and_variables_in_a_cell():
    cell, x = Dropping(4, dt=0.1), np.ones((2, 50, 4), "float32")
    layer = RNN(cell, return_state=True)
    y, noise = (to_numpy(a) for a in layer(x, training=True))
    assert set(np.unique(y)) == {0.0, 2.0}
    assert len(np.unique(y, axis=1)[0]) > 10  # a new draw at every step
    assert to_numpy(cell.steps) == 50
    second, more_noise = (to_numpy(a) for a in layer(x, training=True))
    assert not np.array_equal(second, y) and not np.array_equal(more_noise, noise)
    np.testing.assert_array_equal(to_numpy(layer(x, training=False)[0]), x)
    assert to_numpy(cell.steps) == 150


@pytest.mark.parametrize("seed", [2, None])
def test_the_backward_pass_uses_the_random_numbers_of_the_forward_pass(seed):
    layer, x = RNN(Dropping(4, seed, dt=0.1)), np.ones((2, 6, 4), "float32")
    layer.build(x.shape)
    state = [ops.copy(v) for v in layer.non_trainable_variables]
    kernel = np.eye(4, dtype="float32")

    y, (grad,) = results_and_gradients("eager", lambda x: layer.stateless_call([kernel], state, x, training=True)[0], x)
    assert set(np.unique(y)) == {0.0, 2.0}
    np.testing.assert_array_equal(grad, 4 * y)


class Scaled(SpikingCell):
    gain = 1.0

    def call_inference(self, inputs, states):
        return inputs * self.gain, states


def test_a_python_attribute_of_a_cell_can_be_changed():
    layer, x = RNN(Scaled(3, dt=0.1)), normal(2, 4, 3)
    for gain in (1.0, 3.0, 1.0):
        layer.cell.gain = gain
        np.testing.assert_array_equal(to_numpy(layer(x)), np.float32(gain) * x)


def test_random_numbers_and_variables_of_a_cell_in_a_compiled_fit():
    cell, x = Dropping(4, dt=0.1), np.ones((2, 5, 4), "float32")
    model = keras.Sequential([keras.Input((5, 4)), RNN(cell)])
    model.compile("sgd", "mse", jit_compile=keras.config.backend() != "torch")
    seeds = [to_numpy(v) for v in (cell.dropout.seed_generator.state, cell.seed_generator.state)]
    kernel = to_numpy(cell.dense.kernel)
    losses = [model.fit(x, np.zeros_like(x), verbose=0).history["loss"][0] for _ in range(2)]
    assert losses[0] != losses[1]
    assert to_numpy(cell.steps) == 10
    for variable, before in zip((cell.dropout.seed_generator.state, cell.seed_generator.state), seeds, strict=True):
        assert not np.array_equal(to_numpy(variable), before)
    assert not np.array_equal(to_numpy(cell.dense.kernel), kernel)


def test_sizes_and_states():
    for size, state_size, shapes in [
        (3, None, [(3,)]),
        ((4, 3), None, [(4, 3)]),
        (3, (2, 3), [(2, 3)]),
        (3, [3, (2, 3)], [(3,), (2, 3)]),
    ]:
        cell = SpikingCell(size, state_size)
        assert cell.state_shapes == shapes
        assert cell.size == cell.output_size == size
        for states in (cell.get_initial_state(batch_size=2), cell.get_initial_state(np.zeros((2, 3)))):
            assert [tuple(s.shape) for s in states] == [(2, *shape) for shape in shapes]
            assert all(keras.backend.standardize_dtype(s.dtype) == "float32" for s in states)
            assert all(np.all(to_numpy(s) == 0) for s in states)
        text = json.dumps(cell.get_config())
        restored = SpikingCell.from_config(json.loads(text))
        assert restored.state_shapes == shapes and restored.size == size
        assert json.dumps(restored.get_config()) == text


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_users_cell_computes_in_float32_under_half_precision(policy):
    dtypes = []

    class Spying(Recurrent):
        def call_inference(self, inputs, states):
            tensors = (inputs, states[0], ops.convert_to_tensor(self.recurrent), ops.convert_to_tensor(self.dt))
            dtypes.extend(keras.backend.standardize_dtype(t.dtype) for t in tensors)
            return super().call_inference(inputs, states)

    cell = Spying(3, dt=0.001, dtype=policy)
    x = normal(2, 4, 3)
    inputs = keras.Input((4, 3))
    layer = RNN(cell, dtype=policy)
    for call in (layer, keras.Model(inputs, layer(inputs))):
        y = call(x)
        assert keras.backend.standardize_dtype(y.dtype) == "float32"  # outputs are spikes of height 1 / dt
    assert set(dtypes) == {"float32"}


@pytest.mark.tensorflow("JAX needs a flag for float64; PyTorch casts like NumPy")
def test_float64():
    cell, x = Recurrent(3, dt=0.1, dtype="float64"), normal(2, 8, 3)
    y = RNN(cell, dtype="float64")(x)
    assert y.dtype == "float64"
    expected, _ = numpy_loop(cell, x.astype("float64"), np.zeros((2, 3)), to_numpy(cell.recurrent))
    np.testing.assert_allclose(y, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SpikingActivationCell((2, 3), "relu", dt=0.01, seed=0),
        lambda: LowpassCell((2, 3), 0.1, dt=0.01, level_initializer="ones"),
        lambda: AlphaCell((2, 3), 0.1, dt=0.01, level_initializer="ones"),
    ],
    ids=["SpikingActivationCell", "LowpassCell", "AlphaCell"],
)
def test_single_steps_equal_a_whole_call(make):
    cell, x = make(), 100 * normal(2, 5, 2, 3)
    y, last = RNN(cell, return_state=True)(x, training=False)
    states, steps = cell.get_initial_state(batch_size=2), []
    for t in range(5):
        output, states = cell(x[:, t], states, training=False)
        steps.append(to_numpy(output))
    np.testing.assert_allclose(np.stack(steps, axis=1), to_numpy(y), rtol=1e-5, atol=1e-5)
    # atol: the state of Alpha contains a slope of about 100 / tau.
    np.testing.assert_allclose(to_numpy(states[0]), to_numpy(last), rtol=1e-5, atol=1e-3)


def test_an_unused_cell_is_freed():
    # The engine caches compiled steps, and must not keep their cells alive.
    gc.freeze()  # a collection of the objects of other tests takes seconds
    try:
        cell = Recurrent(3, dt=0.1)
        layer = RNN(cell)
        layer(normal(2, 4, 3))
        alive = weakref.ref(cell)
        del cell, layer
        keras.utils.clear_session()
        gc.collect()
        assert alive() is None
    finally:
        gc.unfreeze()


def test_mistakes_in_a_users_cell():
    x = normal(2, 4, 3)

    class Nothing(SpikingCell):
        pass

    with pytest.raises(NotImplementedError, match=r"Nothing must override `call_inference\(inputs, states\)`"):
        RNN(Nothing(3))(x)

    class Grows(SpikingCell):
        def call_inference(self, inputs, states):
            return inputs, [ops.concatenate([states[0], inputs], axis=1)]

    with pytest.raises(ValueError, match="must return a state of the structure, shapes and dtypes of the state"):
        RNN(Grows(3))(x)

    class Loses(SpikingCell):
        def call_inference(self, inputs, states):
            return inputs, []

    with pytest.raises(ValueError, match="must return a state of the structure"):
        RNN(Loses(3))(x)
