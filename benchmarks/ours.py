"""Cases of keras_snn, on the backend of KERAS_BACKEND; started by run.py."""

import functools
import importlib.metadata
import math
import os
import statistics
import time

import keras
import numpy as np
from event_transforms import events
from keras import layers
from stdp import stdp
from worker import peak_memory, serve

import keras_snn
from keras_snn import convert
from keras_snn.experiments.conversion.networks import NETWORKS
from keras_snn.layers import (
    ALIF,
    IF,
    KLIF,
    LIF,
    PLIF,
    Alpha,
    Lowpass,
    Repeat,
    SpikingActivation,
    Synaptic,
    TemporalAveragePooling,
    TimeFold,
)
from keras_snn.ops.backend import inference

N_STEPS = 10
LAYERS = {
    "relu": layers.ReLU,
    **{cls.__name__: cls for cls in (SpikingActivation, Lowpass, Alpha, IF, LIF, PLIF, KLIF, ALIF, Synaptic)},
}


def layer(name, shape, mode, **options):
    """One layer's outputs and the gradients of its inputs and weights, given the gradient of its outputs."""
    module = LAYERS[name](**options)
    module.build(tuple(shape))
    # One sample, repeated: drawing all samples would increase the peak memory.
    x, upstream = (keras.ops.tile(keras.random.normal((1, *shape[1:]), seed=seed), (shape[0], 1, 1)) for seed in (0, 1))
    step = _STEPS[keras.config.backend()](module, x, upstream, mode)
    step()
    return step


def _tensorflow_step(module, x, upstream, mode):
    import tensorflow as tf

    @tf.function(jit_compile=mode == "xla")
    def step(x, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = module(x, training=True)
        return y, tape.gradient(y, [x, *(v.value for v in module.trainable_variables)], upstream)

    return lambda: step(x, upstream)


def _jax_step(module, x, upstream, mode):
    import jax

    trainable = [v.value for v in module.trainable_variables]
    other = [v.value for v in module.non_trainable_variables]

    training = {} if isinstance(module, layers.ReLU) else {"training": True}

    @jax.jit
    def step(trainable, other, x, upstream):
        def forward(trainable, x):
            return module.stateless_call(trainable, other, x, **training)

        y, pull_back, other = jax.vjp(forward, trainable, x, has_aux=True)
        return y, pull_back(upstream), other

    return lambda: jax.block_until_ready(step(trainable, other, x, upstream))


def _torch_step(module, x, upstream, mode):
    keras_snn.default.compile_steps = mode == "compiled"
    x.requires_grad_()

    def step():
        x.grad = None
        module.zero_grad()
        module(x, training=True).backward(upstream)

    for _ in range(21):  # the engine compiles in the 20th call
        step()
    return step


def compile_time(name):
    """Return the milliseconds that the first compilation adds to a call. The compiler's cache on disk is off."""
    os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"
    keras_snn.default.compile_steps = True
    times = []
    for n_calls in (19, 20):
        # Different numbers of units: calls are counted for each shape.
        module, x = LAYERS[name](), keras.random.normal((32, 8, n_calls))
        module.build(x.shape)
        x.requires_grad_()
        start = time.perf_counter()
        for _ in range(n_calls):
            module(x, training=True).sum().backward()
        times.append(time.perf_counter() - start)
    return 1000 * (times[1] - times[0])


_STEPS = {"tensorflow": _tensorflow_step, "jax": _jax_step, "torch": _torch_step}


def plain_scan(shape):
    """LIF written directly with `lax.scan`, time on axis 0, and JAX's gradient."""
    import jax
    import jax.numpy as jnp

    @jax.custom_jvp
    def spike(x):
        return (x > 0).astype(x.dtype)

    @spike.defjvp
    def _spike_jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        return spike(x), t / (1 + (math.pi * x) ** 2)

    def step(v, x):
        h = v + (x - v) / 2
        s = spike(h - 1)
        return h * (1 - s), s

    def run(x):
        return jax.lax.scan(step, jnp.zeros(x.shape[1:]), x)[1]

    @jax.jit
    def forward_and_backward(x, upstream):
        y, pull_back = jax.vjp(run, x)
        return y, pull_back(upstream)

    batch, time, units = shape
    x, upstream = (jax.random.normal(jax.random.key(seed), (time, batch, units)) for seed in (0, 1))
    jax.block_until_ready(forward_and_backward(x, upstream))
    return lambda: jax.block_until_ready(forward_and_backward(x, upstream))


def traffic(shape):
    """Memory traffic of six tensors of this shape: three copies from one to another."""
    x = np.ones(shape, "float32")
    y = np.ones_like(x)

    def run():
        for _ in range(3):
            np.copyto(y, x)

    return run


def in_batches(batch_size, *arrays):
    """Return the arguments of `fit`, `evaluate` and `predict` that pass arrays in batches.

    On TensorFlow a data set without autotuner, which would end a call with a wait of up to the time of the call.
    """
    if keras.config.backend() != "tensorflow":
        return {**dict(zip("xy", arrays, strict=False)), "batch_size": batch_size}
    import tensorflow as tf

    arrays = tuple(map(tf.constant, arrays))

    def batch(i):
        parts = tuple(array[i * batch_size : (i + 1) * batch_size] for array in arrays)
        return parts if len(parts) > 1 else parts[0]

    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = tf.data.Dataset.range(math.ceil(len(arrays[0]) / batch_size)).map(batch).prefetch(2)
    return {"x": dataset.with_options(options)}


def net(n_images):
    """An epoch of three spiking convolutions; `peer_torch.py` has the same network."""
    x = inputs = keras.Input((28, 28, 1))
    for i, channels in enumerate((32, 32, 32)):
        parts = [layers.Conv2D(channels, 3, padding="same", use_bias=False), layers.BatchNormalization()]
        for part in parts if i == 0 else map(TimeFold, parts):
            x = part(x)
        x = Repeat(4)(x) if i == 0 else x
        x = TimeFold(layers.MaxPooling2D(2))(LIF()(x))
    x = layers.Dense(10)(TimeFold(layers.Flatten())(x))
    model = keras.Model(inputs, TemporalAveragePooling()(x))
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    rng = np.random.default_rng(0)
    images = rng.random((n_images, 28, 28, 1), dtype="float32")
    labels = keras.utils.to_categorical(rng.integers(10, size=n_images), 10)
    batches = in_batches(32, images, labels)
    model.fit(**batches, shuffle=False, verbose=0)
    return lambda: model.fit(**batches, shuffle=False, verbose=0)


class BatchTimes(keras.callbacks.Callback):
    """The times of the batches of a call in milliseconds, from the start of a batch to its results."""

    def reset(self, logs=None):
        self.times = []

    def begin(self, batch, logs=None):
        self.start = time.perf_counter()

    def end(self, batch, logs=None):
        keras.tree.map_structure(keras.ops.convert_to_numpy, logs)  # JAX computes in the background
        self.times.append(1000 * (time.perf_counter() - self.start))

    on_train_begin = on_predict_begin = reset
    on_train_batch_begin = on_predict_batch_begin = begin
    on_train_batch_end = on_predict_batch_end = end


def network_batch(network, neuron, work):
    """Return the median time of a batch in ten batches of `fit` or `predict`.

    Not the time of the call: on TensorFlow, Keras's datasets end it with a wait of up to the time of the epoch.
    `peer_torch.py` and `peer_spyx.py` have the same networks. The first product of a still image is computed once.
    """
    run, batches = _network(network, neuron, work)
    run()
    return statistics.median(batches.times)


@functools.cache
def _compiled_network(network, neuron):
    """Return a compiled network, and samples and labels of ten batches."""
    neuron = {"LIF": LIF, "relu": layers.ReLU}[neuron]
    pool, flatten = TimeFold(layers.MaxPooling2D(2)), TimeFold(layers.Flatten())
    dense = [neuron(), layers.Dense(512), neuron(), layers.Dense(10)]
    parts = {
        "dense": [keras.Input((784,)), layers.Dense(512), Repeat(25), *dense],
        "frames": [keras.Input((25, 784)), layers.Dense(512), *dense],
        "convolutional": [
            *(keras.Input((28, 28, 1)), layers.Conv2D(16, 3, padding="same"), Repeat(8), neuron(), pool),
            *(TimeFold(layers.Conv2D(32, 3, padding="same")), neuron(), TimeFold(layers.MaxPooling2D(2)), flatten),
            layers.Dense(10),
        ],
    }[network]
    model = keras.Sequential([*parts, TemporalAveragePooling()])
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batch_size, rng = 64 if network == "convolutional" else 128, np.random.default_rng(0)
    x = rng.random((10 * batch_size, *model.input_shape[1:]), dtype="float32")
    return model, x, rng.integers(10, size=len(x))


@functools.cache
def _network(network, neuron, work):
    """Return the function to call, warm, and its `BatchTimes`."""
    model, x, y = _compiled_network(network, neuron)
    batches = BatchTimes()
    options = {"batch_size": len(x) // 10, "verbose": 0, "callbacks": [batches]}
    run = {"fit": lambda: model.fit(x, y, **options), "predict": lambda: model.predict(x, **options)}[work]
    for _ in range(4):  # PyTorch compiles after 20 calls
        run()
    return run, batches


def health(network):
    """`SpikeHealth` on 64 samples with labels."""
    model, x, y = _compiled_network(network, "LIF")
    callback = keras_snn.callbacks.SpikeHealth(x[:64], y[:64])
    callback.measure(model)
    return lambda: callback.measure(model)


@functools.cache
def calibrated_ann():
    """Return the convolutional network of the conversion experiment, and 500 images to calibrate its conversion."""
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).random((500, 28, 28, 1), dtype="float32")
    return NETWORKS["cnn"]((28, 28, 1), 1.0), images


def converted_predict(n_images, n_steps=None):
    """`predict` of ``n_images`` images by the original network, or by the converted one."""
    model, images = calibrated_ann()
    if n_steps is not None:
        model = convert(model, n_steps=n_steps, calibration=images)
    x = np.resize(images, (n_images, 28, 28, 1))
    batch_size = 256 // (n_steps or 1)  # images * steps in a batch are constant
    batches = in_batches(batch_size, x)
    model.predict(**batches, verbose=0)
    return lambda: model.predict(**batches, verbose=0)


def build(network, *, tiled=False):
    """Return a network of the Fashion-MNIST experiment; ``tiled`` repeats the images before the first Dense."""
    dt = 0.001 if network == "spiking" else 0.01
    spiking = SpikingActivation("relu", dt=dt, spiking_aware_training=network != "spiking")
    hidden = {
        "ann": [layers.ReLU()],
        "spiking": [spiking, TemporalAveragePooling()],
        "aware": [spiking, TemporalAveragePooling()],
        "filtered": [spiking, Lowpass(0.1, dt=dt, return_sequences=False)],
        "deep": [spiking, *_more_spiking_layers(3, dt), TemporalAveragePooling()],
    }[network]
    if tiled:
        first = [keras.Input((N_STEPS, 28, 28)), layers.Reshape((N_STEPS, 784)), layers.Dense(128)]
    else:
        first = [keras.Input((28, 28)), layers.Flatten(), layers.Dense(128)]
        if network != "ann":
            first.append(Repeat(N_STEPS))
    model = keras.Sequential([*first, *hidden, layers.Dense(10)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def _more_spiking_layers(n, dt):
    return [layer for _ in range(n) for layer in (layers.Dense(128), SpikingActivation("relu", dt=dt))]


@functools.cache
def data(n_images, *, tiled=False):
    """Return random images and labels: the time of an epoch does not depend on their content."""
    rng = np.random.default_rng(0)
    images, labels = rng.random((n_images, 28, 28), dtype="float32"), rng.integers(10, size=n_images)
    return np.repeat(images[:, None], N_STEPS, axis=1) if tiled else images, labels


def epoch(network, n_images, *, tiled=False):
    """One epoch of `fit`."""
    model = build(network, tiled=tiled)
    images, labels = data(n_images, tiled=tiled)
    batches = in_batches(32, images, labels)
    model.fit(**batches, shuffle=False, verbose=0)
    return lambda: model.fit(**batches, shuffle=False, verbose=0)


@functools.cache
def inspected(network="aware"):
    """Return the network to inspect and evaluate, built once for each name."""
    return build(network)


def evaluate(n_images, network="aware", batch_size=32):
    """`model.evaluate`, warm."""
    batches = in_batches(batch_size, *data(n_images))

    def run():
        inspected(network).evaluate(**batches, verbose=0)

    run()
    return run


def inspect(n_images, dt, network="aware", *, first=False, **options):
    """`keras_snn.inspect`, warm, or the first call for a new model."""
    images, labels = data(n_images)

    def run():
        model = build(network) if first else inspected(network)
        keras_snn.inspect(model, images, labels, dt=dt, verbose=0, **options)

    run()
    return run


@functools.cache
def _convolutions(n_steps):
    """Return a network of three spiking convolutions, and images for it."""
    keras.utils.set_random_seed(0)
    parts = [keras.Input((28, 28, 1)), layers.Conv2D(16, 3, padding="same"), keras_snn.Repeat(n_steps), keras_snn.LIF()]
    for _ in range(2):
        parts += [keras_snn.TimeFold(layers.Conv2D(32, 3, strides=2, padding="same")), keras_snn.LIF()]
    parts += [keras_snn.TimeFold(layers.Flatten()), layers.Dense(10), keras_snn.layers.TemporalAveragePooling()]
    model = keras.Sequential(parts)
    model.compile()
    return model, np.random.default_rng(0).random((128, 28, 28, 1), dtype="float32")


def predict(n_steps, steps_at_once=None):
    """`predict` of 128 images by spiking convolutions: with Keras, or over parts of the time axis."""
    model, images = _convolutions(n_steps)
    if steps_at_once is None:
        run = functools.partial(model.predict, **in_batches(32, images), verbose=0)
    else:
        run = functools.partial(keras_snn.predict, model, images, steps_at_once=steps_at_once, verbose=0)
    run()
    return run


def predict_memory(n_steps, steps_at_once):
    """Growth of the peak memory in MB by a run over parts of the time axis."""
    run = predict(steps_at_once, steps_at_once)
    before = peak_memory()
    predict(n_steps, steps_at_once)
    del run
    return peak_memory() - before


def latency(network, call, n_calls=1000):
    """Percentiles 50 and 99 of the time of a call in ms, from a frame to the outputs, both NumPy arrays, batch 1.

    ``call`` is "stream" for a step of a stream of the network with LIF. The others are calls of the network with relu:
    "model", "predict_on_batch", and "compiled".
    """
    run = _latency(network, call)
    times = []
    for _ in range(n_calls):
        start = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - start))
    p50, p99 = np.percentile(times, (50, 99))
    return {"p50": p50, "p99": p99}


@functools.cache
def _latency(network, call):
    """Return the function to call, warm."""
    is_spiking = call == "stream"
    neuron, fold = (LIF, TimeFold) if is_spiking else (layers.ReLU, lambda layer: layer)
    parts = {
        "dense": [layers.Dense(256), neuron(), layers.Dense(256), neuron()],
        "convolutional": [
            *(fold(layers.Conv2D(16, 3, padding="same")), neuron(), fold(layers.MaxPooling2D(2))),
            *(fold(layers.Conv2D(32, 3, padding="same")), neuron(), fold(layers.MaxPooling2D(2))),
            fold(layers.Flatten()),
        ],
    }[network]
    shape = {"dense": (784,), "convolutional": (34, 34, 2)}[network]
    pool = [TemporalAveragePooling()] if is_spiking else []
    time_axis = (None,) if is_spiking else ()
    model = keras.Sequential([keras.Input((*time_axis, *shape)), *parts, layers.Dense(10), *pool])
    model.compile()
    frame = np.random.default_rng(0).poisson(0.5, (1, *shape)).astype("float32")
    compiled = inference(lambda n_steps, x: model(x, training=False), model)
    to_numpy, to_tensor = keras.ops.convert_to_numpy, keras.ops.convert_to_tensor
    run = {
        "stream": functools.partial(keras_snn.stream(model).step, frame) if is_spiking else None,
        "model": lambda: to_numpy(model(frame, training=False)),
        "predict_on_batch": lambda: model.predict_on_batch(frame),
        "compiled": lambda: to_numpy(compiled(1, to_tensor(frame))),
    }[call]
    for _ in range(100):  # PyTorch compiles after 20 calls
        run()
    return run


def attack(name, n_images):
    """PGD of five iterations on ``n_images`` images: ours, the toolbox's, or one gradient pass over the images."""
    from keras_snn import robustness
    from keras_snn.robustness.gradients import input_gradient

    model, _ = _convolutions(8)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(0)
    images, labels = rng.random((n_images, 28, 28, 1), dtype="float32"), rng.integers(10, size=n_images)
    options = {"epsilon": 0.03, "batch_size": 128, "verbose": 0}

    def gradients():
        gradient = input_gradient(model, None)
        for start in range(0, n_images, 128):
            index = np.minimum(np.arange(start, start + 128), n_images - 1)
            gradient(images[index], labels[index], index, 0)

    def toolbox():
        from art.attacks.evasion import ProjectedGradientDescentNumpy

        method = {"eps": 0.03, "eps_step": 0.03 / 4, "max_iter": 5, "num_random_init": 1, "batch_size": 128}
        attack = ProjectedGradientDescentNumpy(robustness.as_art(model), **method, verbose=False)
        return lambda: attack.generate(images, labels)

    run = {
        "gradients": lambda: gradients,
        "pgd": lambda: lambda: robustness.pgd(model, images, labels, **options),
        "toolbox": toolbox,
    }[name]()
    run()
    return run


def attack_memory(n_small, n_large):
    """Peak memory in MB after an attack on a small data set, then after one on a large data set."""
    peaks = {}
    for name, n_images in (("small", n_small), ("large", n_large)):
        attack("pgd", n_images)
        peaks[name] = peak_memory()
    return peaks


def inspect_memory(n_small, n_large, dt):
    """Peak memory in MB after inspecting a small data set, then after inspecting a large data set."""
    images, labels = data(n_large)
    peaks = {}
    for name, n_images in (("small", n_small), ("large", n_large)):
        keras_snn.inspect(inspected(), images[:n_images], labels[:n_images], dt=dt)
        peaks[name] = peak_memory()
    return peaks


def engine_memory(shape, mode, name="Lowpass", **options):
    """Growth of the peak memory in MB by a forward and a backward pass, and the size of their five tensors.

    The tensors are inputs, states, outputs, and the gradients of outputs and of inputs.
    """
    layer(name, [shape[0], 10, *shape[2:]], mode, **options)
    before = peak_memory()
    layer(name, shape, mode, **options)
    return {"growth": peak_memory() - before, "tensors": 5 * 4 * math.prod(shape) / 2**20}


def versions():
    """Return the versions of the libraries in use."""
    installed = {d.name.lower().replace("-", "_"): d.version for d in importlib.metadata.distributions()}
    names = ("keras_snn", "keras", "tensorflow", "jax", "torch", "numpy")
    return {name: installed[name] for name in names if name in installed}


if __name__ == "__main__":
    serve(
        {
            "layer": layer,
            "plain_scan": plain_scan,
            "traffic": traffic,
            "net": net,
            "converted_predict": converted_predict,
            "epoch": epoch,
            "evaluate": evaluate,
            "inspect": inspect,
            "predict": predict,
            "attack": attack,
            "events": events,
            "stdp": stdp,
            "health": health,
        },
        {
            "inspect_memory": inspect_memory,
            "predict_memory": predict_memory,
            "attack_memory": attack_memory,
            "engine_memory": engine_memory,
            "compile_time": compile_time,
            "latency": latency,
            "network_batch": network_batch,
            "versions": versions,
        },
    )
