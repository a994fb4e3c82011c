"""Gradients, and calls in each mode, with one interface for all backends."""

import keras
import numpy as np
from keras import ops, tree

BACKEND = keras.config.backend()
MODES = {"tensorflow": ("eager", "graph", "xla"), "jax": ("eager", "jit"), "torch": ("eager",)}[BACKEND]
#: The modes that differ most, for tests with many cases.
FEW_MODES = {"tensorflow": ("eager", "xla"), "jax": ("jit",), "torch": ("eager",)}[BACKEND]
#: The mode for all cases of a test: compiled, except on PyTorch.
COMPILED = MODES[-1]
#: The cheapest mode for a Python loop over steps: JAX compiles every eager operation separately.
STEP_BY_STEP = "jit" if BACKEND == "jax" else "eager"


def to_numpy(nest):
    return tree.map_structure(ops.convert_to_numpy, nest)


def to_tensors(nest):
    return tree.map_structure(ops.convert_to_tensor, nest)


def run(mode, function, *args):
    """Return ``function(*args)`` as NumPy arrays. The function receives tensors."""
    return to_numpy(wrap(mode, function)(*to_tensors(args)))


def wrap(mode, function):
    """Return the function, compiled for the mode."""
    if mode == "eager":
        return function
    if mode == "jit":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, jit_compile=mode == "xla", autograph=False)


def gradients(mode, loss, *args):
    """Return the gradients of the scalar ``loss(*args)``, shaped like args. Missing gradients are zeros."""
    return _run(mode, lambda *args: (loss(*args), ()), args)[1]


def results_and_gradients(mode, function, *args):
    """Return ``function(*args)``, and the gradients of the sum of squares of its float leaves."""

    def loss(*args):
        results = function(*args)
        return squares(results), results

    return _run(mode, loss, args)


def squares(nest):
    """Return the sum of squares of all float leaves. Its gradient differs for elements with different values."""
    return sum(ops.sum(ops.square(ops.cast(leaf, "float32"))) for leaf in tree.flatten(nest) if is_float(leaf))


def is_float(leaf):
    return "float" in keras.backend.standardize_dtype(leaf.dtype)


def _run(mode, loss, args):
    flat = tree.flatten(args)
    places = [i for i, leaf in enumerate(flat) if is_float(leaf)]

    def gradients_of_floats(*flat):
        def loss_of_floats(*values):
            leaves = dict(enumerate(flat)) | dict(zip(places, values, strict=True))
            return loss(*tree.pack_sequence_as(args, list(leaves.values())))

        return _gradients(loss_of_floats, [flat[i] for i in places])

    grads, results = run(mode, gradients_of_floats, *flat)
    grads = {i: np.zeros(leaf.shape) for i, leaf in enumerate(flat)} | dict(zip(places, grads, strict=True))
    return results, tree.pack_sequence_as(args, list(grads.values()))


def _gradients(loss, sources):
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            value, results = loss(*sources)
        return tape.gradient(value, sources, unconnected_gradients="zero"), results
    if BACKEND == "jax":
        import jax

        return jax.grad(loss, argnums=tuple(range(len(sources))), has_aux=True)(*sources)
    import torch

    sources = [source.detach().clone().requires_grad_() for source in sources]
    value, results = loss(*sources)
    results = tree.map_structure(torch.Tensor.detach, results)
    if not value.requires_grad:
        return [torch.zeros_like(source) for source in sources], results
    return torch.autograd.grad(value, sources, allow_unused=True, materialize_grads=True), results


def layer_gradients(mode, layer, x, *upstream):
    """Return the outputs of a built layer, and the gradients of their sum, weighted by ``upstream``.

    Returns:
        The list of outputs; the gradient by ``x``; and a dict from the name of a trainable weight to its gradient.
    """
    return gradients_of_layers(mode, [layer], x, *upstream)[0]


def gradients_of_layers(mode, layers, x, *upstream):
    """Return ``layer_gradients`` of several layers. One function for all takes half the time to compile."""
    cases = [(x, [to_numpy(v.value) for v in layer.trainable_variables]) for layer in layers]
    others = [[to_numpy(v.value) for v in layer.non_trainable_variables] for layer in layers]

    def loss(*cases):
        total, results = 0, []
        for layer, states, (x, weights) in zip(layers, others, cases, strict=True):
            outputs, _ = layer.stateless_call(weights, [ops.convert_to_tensor(v) for v in states], x)
            outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
            pairs = zip(outputs, upstream, strict=False)
            total += sum(ops.sum(ops.multiply(y, ops.convert_to_tensor(u))) for y, u in pairs)
            results.append(outputs)
        return total, results

    results, grads = _run(mode, loss, tuple(cases))
    return [
        (outputs, d_x, {v.name: d for v, d in zip(layer.trainable_variables, d_weights, strict=True)})
        for layer, outputs, (d_x, d_weights) in zip(layers, results, grads, strict=True)
    ]
