"""The functions of the TensorFlow backend. The engine is in ``tensorflow_scan``."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from keras_snn.hints import Nest, Tensor
from keras_snn.ops.backend.tensorflow_scan import scan

__all__ = ["scan"]


def straight_through(value: Tensor, like: Tensor) -> Tensor:
    """Return ``value``. Its gradient is passed to ``like`` unchanged."""

    @tf.custom_gradient
    def through(value, like):
        return tf.identity(value), lambda upstream: (None, tf.cast(upstream, like.dtype))

    return through(value, like)


def with_derivative(value: Tensor, x: Tensor, derivative: Callable[[Tensor], Tensor]) -> Tensor:
    """Return ``value``. Its gradient is multiplied by ``derivative(x)`` and passed to ``x``."""
    return with_pullback(value, x, lambda upstream, x: upstream * derivative(x))


def has_float64() -> bool:
    """Return True: float64 is available."""
    return True


def floor(x: Tensor) -> Tensor:
    """Return the floor of ``x`` in its dtype. ``keras.ops.floor`` returns float32 for float64 on JAX and PyTorch."""
    return tf.floor(x)


def cumsum(x: Tensor) -> Tensor:
    """Return the cumulative sum over axis 1 in the dtype of ``x``. On PyTorch, Keras's is float32 for float64."""
    return tf.cumsum(x, axis=1)


def is_known(x: Tensor) -> bool:
    """Return whether the value of the tensor ``x`` can be read now."""
    del x
    return tf.executing_eagerly()


def start_from(states: Sequence[Tensor], x: Tensor, message: str) -> tuple[Tensor, list[Tensor]]:
    """Return ``x`` and copies of ``states``; compare batch sizes at run time if that of ``x`` is not static."""
    states = [tf.identity(state) for state in states]
    if x.shape[0] is None:
        received, built = tf.shape(x)[0], states[0].shape[0]
        with tf.control_dependencies([tf.debugging.Assert(received == built, [message, received])]):
            x = tf.identity(x)
        # Hides the batch size of the states: otherwise a later operation fails first, with a less clear error.
        states = [tf.compat.v1.placeholder_with_default(s, (None, *s.shape[1:])) for s in states]
    return x, states


def by_events() -> bool:
    """Return whether loops over single spikes are faster than dense products: on a CPU, compiled by XLA."""
    return not tf.config.list_logical_devices("GPU")


def compiled(function: Callable) -> Callable:
    """Return a function of tensors, compiled: many small operations become one."""
    return tf.function(function, jit_compile=True, autograph=False)


def inference(function: Callable, model: keras.Model) -> Callable:
    """Return ``function(n_steps, *nests)``, which calls ``model``, compiled for inference.

    ``n_steps`` is an integer; a nest may contain None. The states of seed generators are updated.
    """
    return tf.function(function, jit_compile=getattr(model, "jit_compile", True) is not False, autograph=False)


def gradient(function: Callable, x: Tensor, variables: list) -> tuple[Tensor, Nest]:
    """Return the gradient of a scalar by ``x``, and results: ``function(x) -> (scalar, results)``.

    ``function`` may change variables of the list ``variables``.
    """
    del variables
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        scalar, results = function(x)
    return tape.gradient(scalar, x, unconnected_gradients="zero"), results


def loop(body: Callable, carry: Nest, n: int, like: Nest, variables: list) -> tuple[Nest, Nest]:
    """Run ``body(carry, i) -> (carry, outputs)`` for i = 0, ..., n - 1, without a gradient.

    ``body`` may read all variables, and assign to those in the list ``variables``. ``like`` is a nest of tensors with
    the structure and dtypes of the outputs.

    Returns:
        The last carry, and the nest of all outputs, with a leading axis of length ``n``.
    """

    del variables

    def iterate(i, carry, rows):
        carry, outputs = body(carry, i)
        return i + 1, carry, [r.write(i, y) for r, y in zip(rows, tf.nest.flatten(outputs), strict=True)]

    rows = [tf.TensorArray(y.dtype, n) for y in tf.nest.flatten(like)]
    _, carry, rows = tf.while_loop(lambda i, *_: i < n, iterate, (tf.constant(0), carry, rows))
    return carry, tf.nest.pack_sequence_as(like, [r.stack() for r in rows])


def must_unroll() -> bool:
    """Return False: the loop can be traced."""
    return False


def replica() -> int | Tensor:
    """Return the index of the replica that runs this call; 0 outside a replica context."""
    context = tf.distribute.get_replica_context()
    return 0 if context is None else context.replica_id_in_sync_group


def with_pullback(value: Tensor, x: Tensor, pullback: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return ``value``. Its gradient is passed to ``x`` as ``pullback(upstream, x)``, which must capture no tensor."""

    @tf.custom_gradient
    def through(value, x):
        return tf.identity(value), lambda upstream: (None, pullback(upstream, x))

    return through(value, x)
