"""extend_time: many steps for a network that was trained at one."""

import keras

from keras_snn import checks
from keras_snn.conversion.copies import compile_like, from_config, set_weights, uncompiled
from keras_snn.graph import is_graph
from keras_snn.layers import NoisyLIF, Repeat


def extend_time(model, n_steps, alpha=4.0, beta=0.5):
    """Return the network, trained at a single step with ``NoisyLIF``, for ``n_steps`` steps.

    Every ``Repeat`` makes ``n_steps`` steps, and every ``NoisyLIF`` carries its membrane from step to step: brought to
    the mean and a part of the range of the noise that it was trained with, it takes the place of that part. Nothing is
    trained, and the weights are the same, bit for bit. What comes out is still random.

    Args:
        model: Built Sequential or functional model, nested ones too. It is left as it was.
        n_steps: Integer > 0, number of steps. 1 and any number more, for one after the other as well.
        alpha: Number >= 2, or None: how much of the range is noise, see ``NoisyLIF``. 2: nothing; 4, the default: half
            of it; None: all, which makes the network the mean of ``n_steps`` single-step ones.
        beta: Number, the mean of the memory. Default 0.5. Take 0 for a network that was trained with ``noise=None``.

    Returns:
        A new model of the same kind, compiled if ``model`` was, with an optimizer that starts afresh. Where its loss or
        metrics are functions that are not registered with Keras, it is not compiled, and a warning says so.

    Raises:
        ValueError: If ``model`` is not built, has no ``Repeat`` or no ``NoisyLIF``, or has one where it cannot be
            replaced: inside a subclassed model, or inside a layer. For an ``n_steps`` or ``alpha`` that makes no sense.
        TypeError: If ``model`` is no Keras model.

    Example:

    ```python
    model = keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(8),
        keras_snn.layers.Repeat(1),
        keras_snn.layers.NoisyLIF(),
        keras_snn.layers.TemporalAveragePooling(),
    ])
    ten = keras_snn.conversion.extend_time(model, 10)
    ```

    References: Jiang 2022, PhD thesis, University of Canterbury, section 4.2.2; Jiang and Zhang 2022, arXiv:2211.05453.
    """
    _check(model)
    n_steps = checks.integer("n_steps", n_steps, least=1)
    NoisyLIF(alpha=alpha, beta=beta)

    def extended(layer):
        config = layer.get_config()
        if isinstance(layer, Repeat):
            config["n"] = n_steps
        elif isinstance(layer, NoisyLIF):
            config |= {"alpha": alpha, "beta": beta}
        return from_config(layer, config)

    new = keras.models.clone_model(uncompiled(model), clone_function=extended, recursive=True)
    set_weights(new, model.get_weights())
    compile_like(new, model)
    return new


def _check(model):
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` has to be a Keras model; got {model!r}.")
    if not is_graph(model):
        raise ValueError(
            f"`model` has to be a Sequential or functional model, whose layers can be told; {type(model).__name__} is "
            "a subclass with a `call` of its own. Write it as a function that makes a functional model."
        )
    if not model.built:
        raise ValueError("`model` has no weights yet: build it, or call it on data, first.")
    for cls in (Repeat, NoisyLIF):
        if not any(isinstance(layer, cls) for layer in model._flatten_layers()):
            raise ValueError(
                f"`model` has no {cls.__name__} layer. extend_time takes a model that was trained with "
                "keras_snn.layers.Repeat(1), which makes the time axis, and keras_snn.layers.NoisyLIF neurons."
            )
    within_reach = set(map(id, _layers(model)))
    hidden = {
        layer.name: None
        for layer in model._flatten_layers()
        if isinstance(layer, (Repeat, NoisyLIF)) and id(layer) not in within_reach
    }
    if hidden:
        raise ValueError(
            f"`model` has {', '.join(hidden)} inside another layer or a subclassed model, where extend_time cannot "
            "replace it. Put it directly into a Sequential or functional model."
        )


def _layers(model):
    for layer in model.layers:
        if is_graph(layer):
            yield from _layers(layer)
        else:
            yield layer
