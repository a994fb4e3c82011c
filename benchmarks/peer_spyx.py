"""Cases of Spyx, through its public interface; started by run.py."""

import importlib.metadata

import jax
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


def versions():
    """Return the versions of the libraries in use."""
    return {name: importlib.metadata.version(name) for name in ("spyx", "jax", "flax")}


if __name__ == "__main__":
    serve({"layer": layer}, {"versions": versions})
