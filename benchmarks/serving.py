"""Time of a request with one sample. Run it with ``KERAS_BACKEND``; the table is in docs/guides/export.rst."""

import tempfile
import time

import keras
import numpy as np

import keras_snn
from keras_snn import export
from keras_snn.ops.backend import exported

BACKEND = keras.config.backend()
ROUNDS = 200


def median_ms(function, rounds=ROUNDS):
    """Return the median time of a call after 25 calls."""
    for _ in range(25):
        function()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * np.median(times)


def networks():
    """Return the classifier of the guide and a network of LIF neurons, each with a sample."""
    classifier = [
        keras.Input((28, 28)),
        keras.layers.Flatten(),
        keras.layers.Dense(128),
        keras_snn.Repeat(10),
        keras_snn.SpikingActivation("relu", dt=0.01, seed=0),
        keras_snn.layers.TemporalAveragePooling(),
        keras.layers.Dense(10, activation="softmax"),
    ]
    lif = [keras.Input((10, 784))]
    for _ in range(2):
        lif += [keras.layers.Dense(512), keras_snn.LIF()]
    lif += [keras_snn.layers.TemporalAveragePooling(), keras.layers.Dense(10)]
    rng = np.random.default_rng(0)
    for name, layers in (("classifier", classifier), ("LIF", lif)):
        model = keras.Sequential(layers)
        yield name, model, rng.random((1, *model.input_shape[1:])).astype("float32")


def calls(model, x, folder):
    """Yield the names of the ways to serve a model, and functions that serve it."""
    yield "model(x)", lambda: exported.as_arrays(model(x, training=False))
    yield "model.predict(x)", lambda: model.predict(x, verbose=0)
    yield "model.predict_on_batch(x)", lambda: model.predict_on_batch(x)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        serve = tf.function(lambda inputs: model(inputs, training=False))
        yield "tf.function", lambda: serve(x).numpy()
        export.litert(model, f"{folder}/model.tflite", batch_size=1)
        run_litert = exported.litert_runner(f"{folder}/model.tflite")
        yield "LiteRT", lambda: run_litert({"x": x})
    if BACKEND != "torch":
        export.saved_model(model, f"{folder}/model", batch_size=1)
        endpoints = exported.saved_model_endpoints(f"{folder}/model")
        yield "SavedModel", lambda: endpoints["serve"](x)
    if BACKEND != "jax":
        export.onnx(model, f"{folder}/model.onnx", batch_size=1)
        run_onnx = exported.onnx_runner(f"{folder}/model.onnx")
        yield "ONNX in onnxruntime", lambda: run_onnx([x])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for network, spiking, sample in networks():
            for name, call in calls(spiking, sample, temporary):
                print(f"{BACKEND:11}{network:12}{name:27}{median_ms(call):8.2f} ms", flush=True)
