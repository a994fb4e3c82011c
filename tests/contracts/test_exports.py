"""Exported models give the model's outputs for new inputs."""

import keras
import numpy as np
import pytest
from contracts.test_layers import MAIN, ROWS, UNITS
from keras import ops

from keras_snn.layers import LIF, TemporalAveragePooling
from keras_snn.ops.backend import straight_through, with_derivative

BACKEND = keras.config.backend()
TIME = 6
#: Inputs are multiples of 1 / 8: sums are exact in any order.
KERNEL = np.float32([[1, 0.5, 0], [0, 1, 0.5], [0.5, 0, 1]])
#: Rows with operations that the exporter does not support. The export raises an error.
NOT_IN_TORCHSCRIPT = {"SpikingActivation", "Lowpass", "Alpha", "Poisson", "RankOrder", "Delay", "OscillationLIF"}
NOT_IN_TORCH_ONNX = {"RankOrder", "Phase", "OscillationLIF"}
#: Loops over one state and over several, with refractory steps, without a gradient; a filter; a user's cell.
REPRESENTATIVE = ["SpikingActivation", "Lowpass", "RNN", "LIF-options", "Synaptic", "LeakyIntegrator"]
representative_and_all = pytest.mark.parametrize(
    "names",
    [REPRESENTATIVE, pytest.param(list(MAIN), marks=pytest.mark.nightly("all layers"))],
    ids=["representative", "all"],
)


def images(batch, seed):
    return (np.random.default_rng(seed).integers(0, 9, size=(batch, TIME, *UNITS)) / 8).astype("float32")


def model_of(names, **options):
    """Return a model with the layers of these rows in parallel. Its output joins their means over time."""
    inputs = keras.Input((TIME, *UNITS))
    outputs = []
    for name in names:
        row = ROWS[name]
        dense = keras.layers.Dense(3, row.before, use_bias=False, kernel_initializer=lambda *_, **__: KERNEL + 0.0)
        x = keras.layers.Rescaling(row.scale)(dense(inputs if row.has_time else inputs[:, 0]))
        y = row.layer(**options)(x)
        y = TemporalAveragePooling()(y) if row.keeps_time else y
        outputs.append(keras.layers.Flatten()(y))
    model = keras.Model(inputs, keras.layers.Concatenate()(outputs))
    model.sizes = [y.shape[-1] for y in outputs]
    model(images(1, seed=0), training=False)
    return model


def assert_equals_model(run, model, names, batches=(1, 3)):
    """Compare the outputs of the exported ``run`` with the model's, for new inputs."""
    for batch in batches:
        x = images(batch, seed=1)
        actual, expected = (
            np.split(np.asarray(y), np.cumsum(model.sizes)[:-1], axis=-1)
            for y in (run(x), ops.convert_to_numpy(model(x, training=False)))
        )
        for name, a, b in zip(names, actual, expected, strict=True):
            # rtol: sums in another order differ by 1e-6. A missing spike changes the mean by a sixth of the range.
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * ROWS[name].scale, err_msg=name)


def onnx_runner(path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `exports` is not installed")
    session = onnxruntime.InferenceSession(path)
    (inputs,) = session.get_inputs()
    return lambda x: session.run(None, {inputs.name: x})[0]


@pytest.mark.torch("PyTorch's exporters")
@pytest.mark.filterwarnings("ignore")  # warnings of the exporters
@pytest.mark.parametrize(
    "fixed_batch", [False, pytest.param(True, marks=pytest.mark.nightly("takes long; torch.export has a test too"))]
)
@representative_and_all
def test_torch_onnx(names, fixed_batch, tmp_path):
    """Keras traces with TorchScript for an unknown batch size, and with torch.export for a fixed one."""
    pytest.importorskip("onnxscript", reason="the extra `exports` is not installed")
    names = [name for name in names if name not in (NOT_IN_TORCH_ONNX if fixed_batch else NOT_IN_TORCHSCRIPT)]
    model, path = model_of(names), tmp_path / "model.onnx"
    options = {"input_signature": [keras.InputSpec(shape=(1, TIME, *UNITS), dtype="float32")]} if fixed_batch else {}
    model.export(path, format="onnx", verbose=False, **options)
    assert_equals_model(onnx_runner(path), model, names, batches=(1,) if fixed_batch else (1, 3))


@pytest.mark.torch("PyTorch's exporters")
@pytest.mark.filterwarnings("ignore")
@representative_and_all
def test_torch_export_and_trace(names):
    import torch

    model, x = model_of(names), torch.tensor(images(3, seed=0))
    model.eval()
    exported, traced = torch.export.export(model, (x,)).module(), torch.jit.trace(model, (x,), check_trace=False)
    for run in (exported, traced):
        assert_equals_model(lambda x, run=run: run(torch.tensor(x)).detach(), model, names, batches=(3,))


@pytest.mark.torch("PyTorch's exporters")
@pytest.mark.filterwarnings("ignore")
def test_torch_export_of_values_with_another_gradient():
    import torch

    class CustomGradients(torch.nn.Module):
        def forward(self, value, x):
            return straight_through(value, x), with_derivative(value, x, lambda x: 2 * x)

    value, x = torch.ones(3), torch.ones(3, requires_grad=True)
    for run in (
        torch.jit.trace(CustomGradients(), (value, x), check_trace=False),
        torch.export.export(CustomGradients(), (value, x)).module(),
    ):
        for result in run(5 * value, x):
            np.testing.assert_array_equal(result.detach(), [5, 5, 5])


@pytest.mark.nightly("takes a minute")
@pytest.mark.torch("compiles with torch.compile")
@pytest.mark.filterwarnings("ignore")
def test_torch_compile():
    """Values and gradients equal those of eager calls. The compiler "aot_eager" needs no C++."""
    import torch

    model, x = model_of(["LIF", "Synaptic"]), torch.tensor(images(3, seed=1))
    compiled = torch.compile(model, backend="aot_eager")
    compiled(torch.tensor(images(3, seed=0)))
    results = []
    for run in (model, compiled):
        model.zero_grad()
        y = run(x)
        torch.sum(y**2).backward()
        results.append([y.detach(), *(p.grad.clone() for p in model.parameters() if p.requires_grad)])
    assert len(results[0]) > 1
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)  # default tolerances: the operations are the same


@pytest.mark.tensorflow("Keras exports to LiteRT from TensorFlow")
@pytest.mark.filterwarnings("ignore")
@representative_and_all
def test_litert(names, tmp_path):
    """LiteRT files contain no TensorFlow operations, which would need a delegate in the interpreter."""
    import tensorflow as tf

    model, path = model_of(names), str(tmp_path / "model.tflite")
    model.export(path, format="litert", verbose=False)
    interpreter = tf.lite.Interpreter(path)
    (inputs,), (outputs,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(x):
        interpreter.resize_tensor_input(inputs["index"], x.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(inputs["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(outputs["index"])

    assert_equals_model(run, model, names)


@pytest.mark.tensorflow("TensorFlow's ONNX exporter does not support compiled loops")
@pytest.mark.filterwarnings("ignore")
def test_tensorflow_onnx_needs_unrolled_layers(tmp_path):
    pytest.importorskip("tf2onnx", reason="the extra `exports` is not installed")
    names, path = ["LIF", "Synaptic", "LeakyIntegrator"], str(tmp_path / "model.onnx")
    model = model_of(names, unroll=True)
    model.export(path, format="onnx", verbose=False)
    assert_equals_model(onnx_runner(path), model, names)
    looped = keras.Sequential([keras.Input((TIME, *UNITS)), LIF()])
    looped(images(1, seed=0))
    looped.export(path, format="onnx", verbose=False)
    with pytest.raises(Exception, match="INVALID_GRAPH"):  # an exception class of onnxruntime
        onnx_runner(path)


@pytest.mark.jax("jax.export")
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@representative_and_all
def test_training_steps_lower_for_accelerators(names, policy):
    """Training steps lower for GPU and TPU with any batch size, on a machine without them."""
    import jax
    from jax import export

    keras.config.set_dtype_policy(policy)
    try:
        model = model_of(names)
    finally:
        keras.config.set_dtype_policy("float32")

    def loss(trainable, non_trainable, x):
        y, non_trainable = model.stateless_call(trainable, non_trainable, x, training=True)
        return ops.mean(ops.square(ops.cast(y, "float32"))), non_trainable

    def step(trainable, non_trainable, x):
        (value, non_trainable), gradients = jax.value_and_grad(loss, has_aux=True)(trainable, non_trainable, x)
        return value, [w - 0.1 * g for w, g in zip(trainable, gradients, strict=True)], non_trainable

    def shapes(variables):
        return [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in variables]

    (batch,) = export.symbolic_shape("batch")
    x = jax.ShapeDtypeStruct((batch, TIME, *UNITS), "float32")
    exported = export.export(jax.jit(step), platforms=["cuda", "tpu"])(
        shapes(model.trainable_variables), shapes(model.non_trainable_variables), x
    )
    assert exported.platforms == ("cuda", "tpu")
