"""Cases of Spyx, through its public interface; started by run.py."""

import importlib.metadata

import jax
import jax.numpy as jnp
import optax
import spyx
from flax import nnx
from worker import serve


def layer(shape):
    """Spyx's LIF with beta = 1/2 and arctan surrogate: outputs, and the gradient of the inputs. Time is on axis 0."""
    batch, time, units = shape
    lif = spyx.nn.LIF((units,), beta=0.5, activation=spyx.axn.arctan(2), rngs=nnx.Rngs(0))
    x, upstream = (jax.random.normal(jax.random.key(seed), (time, batch, units)) for seed in (0, 1))

    @jax.jit
    def forward_and_backward(x, upstream):
        y, pull_back = jax.vjp(lambda x: spyx.nn.run(lif, x)[0], x)
        return y, pull_back(upstream)

    jax.block_until_ready(forward_and_backward(x, upstream))
    return lambda: jax.block_until_ready(forward_and_backward(x, upstream))


class Net(nnx.Module):
    """784-512-512-10 with LIF, time on axis 0. The first product of a still image is computed once."""

    def __init__(self, rngs):
        options = {"beta": 0.5, "activation": spyx.axn.arctan(2), "rngs": rngs}
        self.first, self.second = nnx.Linear(784, 512, rngs=rngs), nnx.Linear(512, 512, rngs=rngs)
        self.spikes, self.more_spikes = spyx.nn.LIF((512,), **options), spyx.nn.LIF((512,), **options)
        self.last = nnx.Linear(512, 10, rngs=rngs)

    def __call__(self, x):
        """Return the mean scores of images, or of 25 frames (time, batch, 784)."""
        x = self.first(x)
        x = jnp.broadcast_to(x, (25, *x.shape)) if x.ndim == 2 else x
        x = spyx.nn.run(self.spikes, x)[0]
        x = spyx.nn.run(self.more_spikes, self.second(x))[0]
        return self.last(x).mean(0)


def network(network, work, library):
    """A training step, or a call, of a network of `ours.py`."""
    del library
    model = Net(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)
    shape = {"dense": (128, 784), "frames": (25, 128, 784)}[network]
    x = jax.random.uniform(jax.random.key(0), shape)
    y = jax.random.randint(jax.random.key(1), (128,), 0, 10)

    @nnx.jit
    def fit(model, optimizer, x, y):
        def loss(model):
            return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

        value, gradients = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradients)
        return value

    predict = nnx.jit(lambda model, optimizer, x, y: model(x))
    step = {"fit": fit, "predict": predict}[work]

    def run():
        jax.block_until_ready(step(model, optimizer, x, y))

    for _ in range(2):  # the second call compiles again
        run()
    return run


def versions():
    """Return the versions of the libraries in use."""
    return {name: importlib.metadata.version(name) for name in ("spyx", "jax", "flax")}


if __name__ == "__main__":
    serve({"layer": layer, "network": network}, {"versions": versions})
