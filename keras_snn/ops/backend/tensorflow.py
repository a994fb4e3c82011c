"""What TensorFlow writes in its own way; the engine is in ``tensorflow_scan``."""

import tensorflow as tf

from keras_snn.ops.backend.tensorflow_scan import scan

__all__ = ["scan"]


def straight_through(value, like):
    """Return ``value``; its gradient goes to ``like`` unchanged."""

    @tf.custom_gradient
    def through(value, like):
        return tf.identity(value), lambda upstream: (None, tf.cast(upstream, like.dtype))

    return through(value, like)


def with_derivative(value, x, derivative):
    """Return ``value``; its gradient goes to ``x``, times ``derivative(x)``."""
    return with_pullback(value, x, lambda upstream, x: upstream * derivative(x))


def has_float64():
    """Return whether float64 exists."""
    return True


def floor(x):
    """Return the floor of ``x`` in its dtype; ``keras.ops.floor`` gives float32 for float64 on JAX and PyTorch."""
    return tf.floor(x)


def cumsum(x):
    """Return the cumulative sum over axis 1 in the dtype of ``x``; Keras's gives float32 for float64 on PyTorch."""
    return tf.cumsum(x, axis=1)


def is_known(x):
    """Tell whether the value of the tensor ``x`` can be read now."""
    del x
    return tf.executing_eagerly()


def start_from(states, x, message):
    """Return ``x`` and copies of ``states``; compare their batch sizes at run time if that of ``x`` is not static."""
    states = [tf.identity(state) for state in states]
    if x.shape[0] is None:
        received, built = tf.shape(x)[0], states[0].shape[0]
        with tf.control_dependencies([tf.debugging.Assert(received == built, [message, received])]):
            x = tf.identity(x)
        # The batch size of the states is hidden: a later operation would fail first, with a less clear error.
        states = [tf.compat.v1.placeholder_with_default(s, (None, *s.shape[1:])) for s in states]
    return x, states


def compiled(function):
    """Return ``function`` of tensors, compiled: many small operations become one."""
    return tf.function(function, jit_compile=True, autograph=False)


def inference(function, model):
    """Return ``function(n_steps, *nests)``, which calls ``model``, compiled for inference.

    ``n_steps`` is an integer; None stands in a nest for nothing. The states of random generators are kept.
    """
    return tf.function(function, jit_compile=getattr(model, "jit_compile", True) is not False, autograph=False)


def loop(body, carry, n, like, variables):
    """Run ``body(carry, i) -> (carry, outputs)`` for i = 0, ..., n - 1. It has no gradient.

    ``body`` may use variables, and change those of the list ``variables``. ``like`` is a nest of tensors with the
    structure and dtypes of the outputs.

    Returns:
        The last carry, and the nest of the outputs, each with a leading axis of length ``n``.
    """

    del variables

    def iterate(i, carry, rows):
        carry, outputs = body(carry, i)
        return i + 1, carry, [r.write(i, y) for r, y in zip(rows, tf.nest.flatten(outputs), strict=True)]

    rows = [tf.TensorArray(y.dtype, n) for y in tf.nest.flatten(like)]
    _, carry, rows = tf.while_loop(lambda i, *_: i < n, iterate, (tf.constant(0), carry, rows))
    return carry, tf.nest.pack_sequence_as(like, [r.stack() for r in rows])


def replica():
    """Return the index of the replica that runs this call; 0 outside of replicas."""
    context = tf.distribute.get_replica_context()
    return 0 if context is None else context.replica_id_in_sync_group


def with_pullback(value, x, pullback):
    """Return ``value``; its gradient goes to ``x``, as ``pullback(upstream, x)``, a function closed over no tensor."""

    @tf.custom_gradient
    def through(value, x):
        return tf.identity(value), lambda upstream: (None, pullback(upstream, x))

    return through(value, x)
