"""What is done to all spiking layers of a model at once."""

import contextlib

import keras

from keras_snn.layers.base.time_step import check_dt, is_variable, layers_with_dt
from keras_snn.probe import sync


def set_dt(model, dt):
    """Set the time step of every layer of this package in a model, nested and wrapped ones too.

    A number goes into the variable of a layer that has one, and becomes the dt of a layer that has a number. The latter
    is a constant in compiled code: the model compiles anew, and so does each model nested in it, when it is next used.
    A variable becomes the dt of all layers, which share it from then on; its later changes need no compilation.

    It can be called at any time, from a callback in the middle of ``fit`` too. Give it the outermost model, the one
    that is fitted: no model knows those around it.

    Args:
        model: ``keras.Model``, or a layer.
        dt: Positive number in seconds, or a scalar variable: ``keras.Variable`` (made non-trainable) or, on TensorFlow,
            ``tf.Variable``.

    Raises:
        TypeError: If ``dt`` is neither a number nor a variable.
        ValueError: If ``dt`` is not positive and finite, or a variable that is no float scalar; or if no layer of the
            model has a dt.

    Example:

    ```python
    keras_snn.layers.set_dt(model, 0.01)
    model.evaluate(x, y)
    ```
    """
    layers = layers_with_dt(model)
    if not layers:
        raise ValueError(f"`model` must contain a layer of keras_snn that has a dt; {model.name!r} contains none.")
    shares = is_variable(dt)
    dt = dt if shares else check_dt(dt)
    sync(model)
    recompile = False
    for layer in layers:
        if layer.dt_variable is None or shares:
            layer.dt = dt
            recompile = True
        else:
            layer.dt_variable.assign(dt)
    if recompile:
        for layer in model._flatten_layers():
            if isinstance(layer, keras.Model):
                _compile_anew(layer)


def reset_states(model):
    """Put every stateful layer of a model back to its initial state, nested and wrapped ones and Keras's own too.

    It can be called at any time, from a callback in the middle of ``fit`` too. Give it the outermost model, the one
    that is fitted: no model knows those around it. A layer that is not built has its initial state anyway, and a model
    without stateful layers is left as it is.

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


def _compile_anew(model):
    """Replace the compiled functions of ``model`` by new ones, which ``fit`` takes up at its next batch."""
    for name in ("train", "test", "predict"):
        if getattr(model, f"{name}_function") is not None:
            with _step_as_new_function(model, f"{name}_step"):
                getattr(model, f"make_{name}_function")(force=True)


@contextlib.contextmanager
def _step_as_new_function(model, name):
    """Hide a method behind a function of its own.

    JAX remembers what it compiled by the function, and a method equals itself: as long as anything keeps the old
    compiled code alive, a traceback for instance, JAX would go on with that.
    """
    attributes = vars(model)
    own = {name: attributes[name]} if name in attributes else {}
    step = getattr(model, name)

    def new_function(*args):
        return step(*args)

    attributes[name] = new_function
    try:
        yield
    finally:
        del attributes[name]
        attributes.update(own)
