"""Cases of KerasSpiking, through its public interface; started by run.py."""

import keras_spiking
import numpy as np
import tensorflow as tf
from tensorflow.keras import layers
from worker import serve

N_STEPS = 10


def layer(name, shape, mode, **options):
    """One layer's outputs and the gradients of its inputs and weights, given the gradient of its outputs."""
    module = getattr(keras_spiking, name)(**options)
    x, upstream = (tf.random.stateless_normal(shape, (0, seed)) for seed in (0, 1))

    @tf.function(jit_compile=mode == "xla")
    def step(x, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = module(x, training=True)
        return y, tape.gradient(y, [x, *module.trainable_variables], upstream)

    step(x, upstream)
    return lambda: step(x, upstream)


def tiled_epoch(network, n_images):
    """One epoch over images that are repeated before the first Dense."""
    dt = 0.001 if network == "spiking" else 0.01
    spiking = keras_spiking.SpikingActivation("relu", dt=dt, spiking_aware_training=network != "spiking")
    end = {
        "spiking": layers.GlobalAveragePooling1D(),
        "aware": layers.GlobalAveragePooling1D(),
        "filtered": keras_spiking.Lowpass(0.1, dt=dt, return_sequences=False),
    }[network]
    first = [tf.keras.Input((N_STEPS, 28, 28)), layers.Reshape((N_STEPS, 784)), layers.Dense(128)]
    model = tf.keras.Sequential([*first, spiking, end, layers.Dense(10)])
    model.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    rng = np.random.default_rng(0)
    images, labels = rng.random((n_images, 28, 28), dtype="float32"), rng.integers(10, size=n_images)
    images = np.repeat(images[:, None], N_STEPS, axis=1)
    model.fit(images[:320], labels[:320], batch_size=32, verbose=0)
    return lambda: model.fit(images, labels, batch_size=32, verbose=0)


def versions():
    """Return the versions of the libraries in use."""
    return {"keras_spiking": keras_spiking.__version__, "tensorflow": tf.__version__}


if __name__ == "__main__":
    serve({"layer": layer, "tiled_epoch": tiled_epoch}, {"versions": versions})
