"""Values and gradients of bounded constants, computed by hand."""

import keras
import numpy as np
import pytest
from keras import ops
from reference.autodiff import BACKEND, COMPILED, run, to_numpy, wrap

from keras_snn.layers import LIF
from keras_snn.ops.bounds import bounded

# Below, at, inside, at, above.
X = np.array([0.1, 0.5, 1.0, 5.0, 9.0], "float32")
CASES = {
    (0.5, 5.0): ([0.5, 0.5, 1, 5, 5], [0, 0, 3, 3, 3], [-3, -3, -3, 0, 0]),
    (0.5, None): ([0.5, 0.5, 1, 5, 9], [0, 0, 3, 3, 3], [-3, -3, -3, -3, -3]),
    (None, 5.0): ([0.1, 0.5, 1, 5, 5], [3, 3, 3, 3, 3], [-3, -3, -3, 0, 0]),
    (1.0, 1.0): ([1, 1, 1, 1, 1], [0, 0, 0, 3, 3], [-3, -3, 0, 0, 0]),
}


def values_and_gradients(x, low, high, upstream):
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            y = bounded(x, low, high)
        return y, tape.gradient(y, x, output_gradients=upstream)
    if BACKEND == "jax":
        import jax

        y, vjp = jax.vjp(lambda x: bounded(x, low, high), x)
        return y, *vjp(upstream)
    x = x.detach().requires_grad_()
    y = bounded(x, low, high)
    y.backward(upstream)
    return y.detach(), x.grad


@pytest.mark.parametrize("mode", dict.fromkeys(["eager", COMPILED]))
def test_at_a_bound_only_gradients_into_the_range_pass(mode):
    """Descent subtracts the gradient: negative gradients pass at the lower bound, positive ones at the upper bound."""

    def all_cases(x):
        return [
            values_and_gradients(x, *bounds, ops.full_like(x, slope)) for bounds in CASES for slope in (3, -3, np.nan)
        ]

    results = iter(run(mode, all_cases, X))
    for bounds, (values, *expected) in CASES.items():
        for grads in (*expected, [np.nan] * 5):  # NaN gradients pass
            y, d_x = next(results)
            np.testing.assert_array_equal(y, np.array(values, "float32"), err_msg=str(bounds))
            np.testing.assert_array_equal(d_x, grads, err_msg=str(bounds))


def test_dtypes_are_kept():
    for dtype in ("float16", "bfloat16", "float32"):
        x = ops.cast(ops.convert_to_tensor([0.0, 0.1, 1.0]), dtype)
        y, d_x = values_and_gradients(x, 0.1, None, ops.ones_like(x))  # x and bound round 0.1 to the same value
        assert keras.backend.standardize_dtype(y.dtype) == keras.backend.standardize_dtype(d_x.dtype) == dtype
        np.testing.assert_array_equal(to_numpy(ops.cast(d_x, "float32")), [0, 0, 1])


@pytest.mark.jax("vmap and second derivatives of JAX")
def test_transformations_of_jax():
    import jax

    slope = jax.grad(lambda x, sign: sign * bounded(x, 1.0, None))
    grads = wrap("jit", jax.vmap(slope))(
        np.array([0.0, 0.0, 1.0, 2.0], "float32"), np.array([1.0, -1, 1, 1], "float32")
    )
    np.testing.assert_array_equal(grads, [0, -1, 0, 1])
    assert jax.grad(jax.grad(lambda x: -(bounded(x, 1.0, None) ** 2) * x))(2.0) == -12


@pytest.mark.torch("only PyTorch's exporter traces through an autograd function")
@pytest.mark.filterwarnings("ignore")  # warnings of the exporter
def test_a_learned_constant_can_be_exported_to_onnx(tmp_path):
    pytest.importorskip("onnx")
    model = keras.Sequential([keras.Input((2, 3)), LIF(learn="tau", unroll=True)])
    model(np.ones((1, 2, 3), "float32"))
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    assert (tmp_path / "model.onnx").stat().st_size > 0
