"""Functions for all spiking layers of a model."""

import contextlib
from typing import Any

import keras

from keras_snn.layers.base.time_step import check_dt, is_variable, layers_with_dt
from keras_snn.probe import sync


def set_dt(model: keras.layers.Layer, dt: Any) -> None:
    """Set the time step of all layers of this package in a model, including nested and wrapped ones.

    A number is assigned to the variable of a layer with a variable dt, and becomes the dt of other layers. A dt that is
    a number is a constant in compiled code: the model and its nested models are compiled again at their next use. A
    variable becomes the dt of all layers, which then share it; later changes of the variable need no compilation.

    It can be called at any time, also from a callback during ``fit``. Call it with the outermost model, the one that is
    fitted: a nested model has no reference to the models that contain it.

    Args:
        model: ``keras.Model``, or a layer.
        dt: Positive number in seconds, or a scalar variable: ``keras.Variable`` (made non-trainable) or, on TensorFlow,
            ``tf.Variable``.

    Raises:
        TypeError: If ``dt`` is neither a number nor a variable.
        ValueError: If ``dt`` is not positive and finite, or is a variable other than a float scalar, or if no layer of
            the model has a dt.

    Example:

    ```python
    keras_snn.layers.set_dt(model, 0.01)
    model.evaluate(x, y)
    ```
    """
    dt_layers = layers_with_dt(model)
    if not dt_layers:
        raise ValueError(f"`model` must contain a layer of keras_snn that has a dt; {model.name!r} contains none.")
    shared = is_variable(dt)
    dt = dt if shared else check_dt(dt)
    sync(model)
    recompile = False
    for layer in dt_layers:
        if layer.dt_variable is None or shared:
            layer.dt = dt
            recompile = True
        else:
            layer.dt_variable.assign(dt)
    if recompile:
        for layer in model._flatten_layers():
            if isinstance(layer, keras.Model):
                _recompile(layer)


def reset_states(model: keras.layers.Layer) -> None:
    """Reset all stateful layers of a model to their initial states, including nested, wrapped and Keras layers.

    It can be called at any time, also from a callback during ``fit``. Call it with the outermost model, the one that is
    fitted: a nested model has no reference to the models that contain it. Layers that are not built and models without
    stateful layers are not changed.

    Args:
        model: ``keras.Model``, or a layer.

    Example:

    ```python
    reset = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: keras_snn.reset_states(model))
    ```
    """
    sync(model)
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False) and layer.built:
            layer.reset_states()


def _recompile(model):
    """Replace the compiled functions of ``model``. ``fit`` uses the new ones from its next batch on."""
    for name in ("train", "test", "predict"):
        if getattr(model, f"{name}_function") is not None:
            with _step_as_new_function(model, f"{name}_step"):
                getattr(model, f"make_{name}_function")(force=True)


@contextlib.contextmanager
def _step_as_new_function(model, name):
    """Replace a method by a new function with the same effect.

    JAX caches compiled code by function, and a method compares equal to itself. While something keeps the old compiled
    code alive, for example a traceback, JAX would use it again.
    """
    attributes = vars(model)
    instance_attribute = {name: attributes[name]} if name in attributes else {}
    step = getattr(model, name)

    def new_function(*args):
        return step(*args)

    attributes[name] = new_function
    try:
        yield
    finally:
        del attributes[name]
        attributes.update(instance_attribute)
