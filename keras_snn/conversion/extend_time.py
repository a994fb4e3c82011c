"""extend_time: run a network that was trained at a single step for many steps."""

import keras

from keras_snn import checks
from keras_snn.conversion.copies import compile_like, from_config, set_weights, uncompiled
from keras_snn.graph import is_graph
from keras_snn.layers import NoisyLIF, Repeat


def extend_time(model: keras.Model, n_steps: int, alpha: float | None = 4.0, beta: float = 0.5) -> keras.Model:
    """Return a copy of a network that was trained at a single step with ``NoisyLIF``, for ``n_steps`` steps.

    Each ``Repeat`` creates ``n_steps`` steps, and each ``NoisyLIF`` keeps its membrane between steps. The membrane,
    scaled to the mean ``beta`` and to a part of the range of the training noise, replaces this part of the noise. There
    is no training: the weights are identical. The outputs remain random.

    Args:
        model: Built Sequential or functional model; it may contain such models. It is not changed.
        n_steps: Integer > 0, number of steps. The result can be extended again.
        alpha: Number >= 2, or None, the fraction of the range that remains noise; see ``NoisyLIF``. 2: none; 4, the
            default: half; None: all, with which the output is the mean of ``n_steps`` single-step networks.
        beta: Number, the mean of the scaled membrane. Default 0.5. Use 0 for a network trained with ``noise=None``.

    Returns:
        A new model of the same kind, compiled with the arguments of ``model`` and a new optimizer. If its loss or
        metrics are functions that are not registered with Keras, the result is not compiled, with a warning.

    Raises:
        ValueError: If ``model`` is not built, has no ``Repeat`` or no ``NoisyLIF``, or has one inside a subclassed
            model or another layer, where it cannot be replaced. For ``n_steps`` or ``alpha`` out of range.
        TypeError: If ``model`` is not a Keras model.

    Example:

    ```python
    model = keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(8),
        keras_snn.layers.Repeat(1),
        keras_snn.layers.NoisyLIF(),
        keras_snn.layers.TemporalAveragePooling(),
    ])
    ten_steps = keras_snn.conversion.extend_time(model, 10)
    ```

    References: Jiang 2022, PhD thesis, University of Canterbury, section 4.2.2; Jiang and Zhang 2022, arXiv:2211.05453.
    """
    _check(model)
    n_steps = checks.integer("n_steps", n_steps, least=1)
    NoisyLIF(alpha=alpha, beta=beta)

    def clone_layer(layer):
        config = layer.get_config()
        if isinstance(layer, Repeat):
            config["n"] = n_steps
        elif isinstance(layer, NoisyLIF):
            config |= {"alpha": alpha, "beta": beta}
        return from_config(layer, config)

    new = keras.models.clone_model(uncompiled(model), clone_function=clone_layer, recursive=True)
    set_weights(new, model.get_weights())
    compile_like(new, model)
    return new


def _check(model):
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a Keras model; got {model!r}.")
    if not is_graph(model):
        raise ValueError(
            f"`model` must be a Sequential or functional model, whose layers can be replaced; {type(model).__name__} "
            "is a subclassed model. Write it as a function that returns a functional model."
        )
    if not model.built:
        raise ValueError("`model` must be built. Build it, or call it on data, first.")
    for cls in (Repeat, NoisyLIF):
        if not any(isinstance(layer, cls) for layer in model._flatten_layers()):
            raise ValueError(
                f"`model` has no {cls.__name__} layer. extend_time needs a model that was trained with "
                "keras_snn.layers.Repeat(1), which creates the time axis, and keras_snn.layers.NoisyLIF neurons."
            )
    replaceable = set(map(id, _layers(model)))
    hidden = {
        layer.name: None
        for layer in model._flatten_layers()
        if isinstance(layer, (Repeat, NoisyLIF)) and id(layer) not in replaceable
    }
    if hidden:
        raise ValueError(
            f"`model` has {', '.join(hidden)} inside another layer or a subclassed model, where extend_time cannot "
            "replace it. Place it directly in a Sequential or functional model."
        )


def _layers(model):
    """Yield the layers of a model and of the models in it."""
    for layer in model.layers:
        if is_graph(layer):
            yield from _layers(layer)
        else:
            yield layer
