import keras
import numpy as np
import pytest
from keras import ops
from reference import neurons as loops

from keras_snn.layers import LIF, RecurrentLIF

X = np.random.default_rng(0).normal(0.8, 2.0, (4, 20, 6)).astype("float32")


def to_numpy(x):
    return ops.convert_to_numpy(x)


@pytest.mark.parametrize("options", [{}, {"decay_input": False}, {"reset": "subtract"}, {"v_reset": -0.25}], ids=str)
def test_equals_a_numpy_loop(options):
    layer = RecurrentLIF(2.0, return_state=True, **options)
    layer.build(X.shape)
    kernel = (np.random.default_rng(1).integers(-8, 9, (6, 6)) / 4).astype("float32")  # sums are exact
    layer.recurrent_kernel.assign(kernel)
    spikes, v, last = (to_numpy(part) for part in layer(X))
    names = {"reset_mode": options.get("reset", "zero")} | {k: o for k, o in options.items() if k != "reset"}
    expected, expected_v = loops.recurrent(X, kernel, leak=0.5, **names)
    np.testing.assert_array_equal(spikes, expected)
    np.testing.assert_array_equal(v, expected_v)
    np.testing.assert_array_equal(last, spikes[:, -1])


def test_one_neuron_drives_another_one_step_later():
    layer = RecurrentLIF(1.0)
    layer.build((None, 4, 3))
    layer.recurrent_kernel.assign(np.eye(3, k=1, dtype="float32") * 2)  # connections 0 -> 1 -> 2
    x = np.zeros((1, 4, 3), "float32")
    x[0, 0, 0] = 2
    np.testing.assert_array_equal(to_numpy(layer(x))[0], np.eye(4, 3))


def test_without_connections_a_recurrent_lif_equals_a_lif_bit_for_bit():
    np.testing.assert_array_equal(to_numpy(RecurrentLIF(3.0, recurrent_initializer="zeros")(X)), to_numpy(LIF(3.0)(X)))


def test_the_kernel_is_trained_regularized_and_constrained(tmp_path):
    layer = RecurrentLIF(
        recurrent_initializer="identity",
        recurrent_regularizer=keras.regularizers.L2(0.5),
        recurrent_constraint=keras.constraints.NonNeg(),
        learn="tau",
    )
    model = keras.Sequential([keras.Input(X.shape[1:]), layer, keras.layers.Flatten(), keras.layers.Dense(1)])
    assert {w.name: tuple(w.shape) for w in layer.trainable_weights} == {"tau": (), "recurrent_kernel": (6, 6)}
    np.testing.assert_array_equal(to_numpy(layer.recurrent_kernel), np.eye(6))
    assert float(to_numpy(sum(model.losses))) == 3  # half of the sum of squares
    model.compile(keras.optimizers.SGD(0.05), "mse")
    model.fit(X, np.ones((4, 1), "float32"), epochs=3, verbose=0)
    kernel = to_numpy(layer.recurrent_kernel)
    assert kernel.min() == 0
    assert np.abs(kernel - kernel[0, 0] * np.eye(6)).max() > 0  # not only by the penalty
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(restored.predict(X, verbose=0), model.predict(X, verbose=0))
    assert isinstance(restored.layers[0].recurrent_constraint, keras.constraints.NonNeg)


def test_inputs_of_another_rank_are_refused():
    with pytest.raises(ValueError, match=r"needs inputs \(batch, time, units\).*TimeFold\(keras.layers.Flatten\(\)\)"):
        RecurrentLIF()(np.ones((2, 5, 3, 3), "float32"))
