import json

import keras
import numpy as np
import pytest

from keras_snn.regularizers import L1, L1L2, L2, Percentile, RangedRegularizer

X = np.random.default_rng(0).uniform(-30, 30, size=(4, 5, 3)).astype("float32")
TARGETS = [0, 2.5, (-10, 20), np.array([1, -2, 3]), (np.array([-1.0, -2.0, -3.0]), 4)]
# The sums run over 60 float32 values.
CLOSE = {"rtol": 1e-5}
# On JAX, an uncompiled fit is very slow. On PyTorch, the package does not use torch.compile.
JIT = {"tensorflow": [False, True], "jax": [True], "torch": [False]}[keras.config.backend()]


def numpy_error(x, target):
    if isinstance(target, tuple):
        return np.maximum(target[0] - x, 0) + np.maximum(x - target[1], 0)
    return x - target


def value(tensor):
    return float(keras.ops.convert_to_numpy(tensor))


def same_target(a, b):
    pairs = zip(a, b, strict=True) if isinstance(a, tuple) else [(a, b)]
    return type(a) is type(b) and all(np.array_equal(p, q) for p, q in pairs)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_penalties_equal_numpy(target):
    error = numpy_error(X, target)
    l1, l2 = np.abs(error).sum(), (error**2).sum()
    np.testing.assert_allclose(value(L1(0.5, target)(X)), 0.5 * l1, **CLOSE)
    np.testing.assert_allclose(value(L2(0.25, target)(X)), 0.25 * l2, **CLOSE)
    np.testing.assert_allclose(value(L1L2(0.5, 0.25, target)(X)), 0.5 * l1 + 0.25 * l2, **CLOSE)
    np.testing.assert_allclose(value(RangedRegularizer(target)(X)), 0.01 * l2, **CLOSE)


def test_by_hand():
    x = np.array([5.0, 10.0, 15.0, 20.0, 26.0], dtype="float32")
    assert value(L1(1.0, target=(10, 20))(x)) == 5 + 6
    assert value(L2(1.0, target=(10, 20))(x)) == 25 + 36
    assert value(L1(1.0, target=15)(x)) == 10 + 5 + 0 + 5 + 11


def test_defaults():
    assert (L1L2(l1=1.0).l2, L1L2(l2=1.0).l1, L1().l1, L2().l2) == (0.0, 0.0, 0.01, 0.01)
    assert all(r.target == 0 and r.time_axis is None for r in (RangedRegularizer(), L1L2(1.0), L1(), L2()))
    percentile = Percentile(l1=1.0)
    assert (percentile.percentile, percentile.axis, percentile.target, percentile.l2) == (100, 0, 0, 0)


def test_the_error_of_a_single_target_keeps_its_sign():
    assert value(RangedRegularizer(target=10, regularizer=keras.ops.sum)(np.array([4.0, 7.0], "float32"))) == -9


def test_l2_with_a_time_axis_penalises_only_the_mean():
    spikes = np.zeros((2, 10, 3), dtype="float32")  # dt = 0.01: a spike is 100 Hz
    spikes[:, 4] = 100.0
    assert value(L2(1.0, target=(10, 20), time_axis=1)(spikes)) == 0
    # Nine silent steps are 10 Hz too low; one step with a spike is 80 Hz too high.
    assert value(L2(1.0, target=(10, 20))(spikes)) == 2 * 3 * (9 * 10**2 + 80**2)
    spikes[0, :3, 0] = 100.0  # 40 Hz
    assert value(L2(1.0, target=(10, 20), time_axis=1)(spikes)) == 20**2
    assert value(L2(1.0, target=(10, 20), time_axis=-2)(spikes)) == 20**2


def test_an_array_target_broadcasts_against_the_mean():
    target = np.array([1.0, 2.0, 3.0])
    expected = np.abs(X.mean(axis=1) - target).sum()
    np.testing.assert_allclose(value(L1(1.0, target, time_axis=1)(X)), expected, **CLOSE)


@pytest.mark.parametrize("percentile", [0, 33.3, 50, 99.9, 100])
def test_percentile_equals_numpy(percentile):
    for axis in (0, 1, 2, -1, (0, 1), (2, 0), (0, 1, 2)):
        expected = np.abs(np.percentile(X, percentile, axis=axis) - 2.0).sum()
        np.testing.assert_allclose(value(Percentile(percentile, axis, 2.0, l1=1.0)(X)), expected, **CLOSE)


def test_percentile_of_one_value_is_the_value():
    assert value(Percentile(40, l1=1.0)(np.array([[3.0]], dtype="float32"))) == 3.0


def test_percentile_of_the_mean_over_time():
    expected = np.percentile(X.mean(axis=1), 75, axis=0)
    expected = np.maximum(-1 - expected, 0) + np.maximum(expected - 1, 0)
    regularizer = Percentile(75, target=(-1, 1), l1=1.0, l2=0.5, time_axis=1)
    np.testing.assert_allclose(value(regularizer(X)), expected.sum() + 0.5 * (expected**2).sum(), **CLOSE)


def gradients(regularizers, w, jit_compile):
    """Return the gradients of regularizers by kernels ``w``, from one SGD step without another loss."""
    inputs = keras.Input((w.shape[0],))
    dense = [keras.layers.Dense(w.shape[1], use_bias=False, kernel_regularizer=penalty) for penalty in regularizers]
    model = keras.Model(inputs, keras.layers.add([layer(inputs) for layer in dense]))
    for layer in dense:
        layer.kernel.assign(w)
    model.compile(keras.optimizers.SGD(1.0), lambda y, p: 0.0 * p, jit_compile=jit_compile)
    model.train_on_batch(np.zeros((1, w.shape[0]), "float32"), np.zeros((1, w.shape[1]), "float32"))
    return [w - keras.ops.convert_to_numpy(layer.kernel) for layer in dense]


W = np.array([[1.0, 40.0], [3.0, 20.0], [2.0, 10.0]], dtype="float32")


GRADIENTS = [
    (L1(1.0, target=(2, 20)), [[-1, 1], [0, 0], [0, 0]]),
    (L2(1.0, time_axis=1), [[20.5, 20.5], [11.5, 11.5], [6, 6]]),  # 2 * mean / 2
    (Percentile(l1=1.0), [[0, 1], [1, 0], [0, 0]]),
    (Percentile(50, l1=1.0, target=(0, 15)), [[0, 0], [0, 1], [0, 0]]),
    (Percentile(25, axis=0, l1=1.0), [[0.5, 0], [0, 0.5], [0.5, 0.5]]),  # between the two lowest
    (Percentile(75, axis=1, l2=0.5), [[7.5625, 22.6875], [3.9375, 11.8125], [2, 6]]),  # p (1 - w), p w
    (Percentile(50, axis=(0, 1), l1=1.0), [[0, 0], [0.5, 0], [0, 0.5]]),  # of 1, 2, 3, 10, 20, 40
]


@pytest.mark.parametrize("jit_compile", JIT)
def test_gradients(jit_compile):
    regularizers, expected = zip(*GRADIENTS, strict=True)
    results = gradients(regularizers, W, jit_compile)
    for regularizer, gradient, by_hand in zip(regularizers, results, expected, strict=True):
        # atol: the difference of weights near 40 has a rounding error of 4e-6.
        np.testing.assert_allclose(gradient, by_hand, atol=1e-5, err_msg=str(regularizer.get_config()))


@pytest.mark.parametrize("jit_compile", JIT)
def test_percentile_of_activities_trains_with_an_unknown_batch(jit_compile):
    regularizer = Percentile(60, axis=(0, 1), target=(10, 20), l2=1.0)
    inputs = keras.Input((None, 3))
    dense = keras.layers.Dense(2, activity_regularizer=regularizer)
    model = keras.Model(inputs, dense(inputs))
    model.compile(keras.optimizers.Adam(1.0), lambda y, p: 0.0 * p, jit_compile=jit_compile)
    x = np.random.default_rng(0).uniform(size=(41, 4, 3)).astype("float32")
    model.fit(x, np.zeros((41, 4, 2), "float32"), batch_size=2, epochs=6, verbose=0)
    rates = np.percentile(keras.ops.convert_to_numpy(model(x)), 60, axis=(0, 1))
    assert np.all(rates > 9) and np.all(rates < 21)


def test_keras_divides_an_activity_penalty_by_the_batch():
    layer = keras.layers.Activation("linear", activity_regularizer=L1(1.0, target=1.0))
    layer(np.full((8, 5, 3), 3.0, dtype="float32"))
    np.testing.assert_allclose(value(layer.losses[0]), 2 * 5 * 3)


def test_float16_sums_do_not_overflow():
    rates = np.full((1000,), 100.0, dtype="float16")
    for regularizer, expected in [
        (L2(0.01), 1e5),
        (L1(1.0), 1e5),
        (L2(1.0, time_axis=0), 1e4),
        (Percentile(50, l2=10.0), 1e5),
    ]:
        penalty = regularizer(rates)
        assert keras.backend.standardize_dtype(penalty.dtype) == "float32"
        np.testing.assert_allclose(value(penalty), expected, **CLOSE)


def test_integers_are_penalised():
    assert value(L1(0.5, target=1)(np.array([0, 1, 4]))) == 0.5 * (1 + 0 + 3)


@pytest.mark.parametrize("target, time_axis", list(zip([*TARGETS, [10, 20]], [None, 1] * 3, strict=True)), ids=str)
def test_config_survives_json(target, time_axis):
    for regularizer in (
        RangedRegularizer(target, keras.regularizers.L1(0.3), time_axis=time_axis),
        RangedRegularizer(target, L1L2(0.1, 0.2, target=(1, 2)), time_axis=time_axis),
        L1L2(0.5, 0.25, target, time_axis=time_axis),
        L1(0.5, target, time_axis=time_axis),
        L2(0.25, target, time_axis=time_axis),
        Percentile(90, (0, -1) if time_axis is None else -1, 3, l1=0.1, time_axis=time_axis),
    ):
        config = json.loads(json.dumps(keras.regularizers.serialize(regularizer)))
        restored = keras.regularizers.deserialize(config)
        assert type(restored) is type(regularizer)
        assert same_target(regularizer.target, restored.target)
        assert restored.time_axis == time_axis
        assert keras.regularizers.serialize(restored) == config
        assert value(restored(X)) == value(regularizer(X))


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_saved_model_keeps_its_penalties(tmp_path, target):
    inputs = keras.Input((None, 4))
    x = keras.layers.Dense(3, kernel_regularizer=RangedRegularizer(target, L1(0.2, target=(1, 2))))(inputs)
    x = keras.layers.Activation("relu", activity_regularizer=L2(0.1, target, time_axis=1))(x)
    x = keras.layers.Activation("linear", activity_regularizer=Percentile(80, (0, 1), target, l1=0.1))(x)
    model = keras.Model(inputs, x)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    batch = np.random.default_rng(1).normal(size=(2, 6, 4)).astype("float32")
    model(batch)
    restored(batch)
    assert len(model.losses) == 3
    assert [value(a) for a in restored.losses] == [value(a) for a in model.losses]
    assert same_target(restored.layers[2].activity_regularizer.target, model.layers[2].activity_regularizer.target)


def test_bad_targets_are_refused():
    for make in (RangedRegularizer, lambda target: L1(target=target), lambda target: Percentile(50, 0, target, 1.0)):
        for target in [(1,), (1, 2, 3), [1, 2, 3], ()]:
            with pytest.raises(ValueError, match="two values"):
                make(target)
        for target in [(2, 1), (np.array([0, 5]), 4)]:
            with pytest.raises(ValueError, match="min <= max"):
                make(target)
        for target in ["10", None, (1, "2")]:
            with pytest.raises(TypeError, match="`target`"):
                make(target)


def test_a_range_of_one_value_is_allowed():
    assert value(L1(1.0, target=(5, 5))(np.array([3.0, 5.0, 9.0], "float32"))) == 6


def test_a_percentile_outside_0_to_100_is_refused():
    for percentile in (-1, 100.5, float("nan")):
        with pytest.raises(ValueError, match="`percentile`"):
            Percentile(percentile, l1=1.0)


def test_bad_axes_are_refused():
    with pytest.raises(ValueError, match="`time_axis` must be an integer or None; got 1.0"):
        L2(time_axis=1.0)
    with pytest.raises(ValueError, match="`time_axis`"):
        L2(time_axis=3)(X)
    for axis in [0.5, (), None, (0, "1")]:
        with pytest.raises(ValueError, match="`axis` must be an integer, or a tuple of integers; got"):
            Percentile(axis=axis, l1=1.0)
    with pytest.raises(ValueError, match="`axis`"):
        Percentile(axis=(0, 3), l1=1.0)(X)
    with pytest.raises(ValueError, match="`axis`"):
        Percentile(axis=2, l1=1.0, time_axis=1)(X)


def test_negative_factors_are_refused():
    for make in (lambda: L1(-1.0), lambda: L2(-1.0), lambda: L1L2(1.0, -1.0)):
        with pytest.raises(ValueError, match=r"l[12]"):
            make()


def test_factors_of_zero_warn():
    for make in (L1L2, lambda: L1(0), lambda: L2(0), Percentile):
        with pytest.warns(UserWarning, match="l1 and l2 are both 0"):
            make()
