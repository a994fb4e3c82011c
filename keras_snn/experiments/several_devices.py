"""Training on the devices of a run, with the engines of Keras and of the backends."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_snn.hints import Tensor
from keras_snn.ops.backend import start_devices


def fit(model: keras.Model, x: Tensor, y: Tensor, config: Mapping[str, Any], **options: Any) -> dict[str, list]:
    """Fit ``model`` on the devices and with the batch size of ``config``; return the history of metrics by name.

    On several devices, a copy of the model is trained, and its variables are copied back. Tests of the trained model
    run on one device: Keras's ``predict`` fails over several JAX processes.

    Args:
        model: Built and compiled model whose config restores it.
        x: Array of the samples.
        y: Array of the labels.
        config: Configuration of the run; "devices" is the number of devices, by default 1.
        **options: Further arguments of Keras's ``fit``.

    Raises:
        ValueError: If the number of devices does not divide each batch.
    """
    n, batch_size = config.get("devices", 1), config["batch_size"]
    if n == 1:
        return model.fit(x, y, batch_size=batch_size, **options).history
    if batch_size % n or len(x) % batch_size % n:
        raise ValueError(
            f"`devices` must divide the batch size, {batch_size}, and the size of the last batch, "
            f"{len(x) % batch_size or batch_size}; got {n}."
        )
    devices = start_devices(n)
    with devices.scope():
        copy = keras.models.clone_model(model)
        _assign(copy.variables, model.variables)
        parallel = devices.parallel(copy)
        parallel.compile_from_config(model.get_compile_config())
        history = parallel.fit(**devices.batches(x, y, batch_size), **options).history
    model.optimizer.build(model.trainable_variables)
    _assign(model.variables, copy.variables)
    _assign(model.optimizer.variables, parallel.optimizer.variables)
    return {name: [devices.mean(value) for value in values] for name, values in history.items()}


def _assign(targets, sources):
    for target, source in zip(targets, sources, strict=True):
        target.assign(ops.convert_to_numpy(source))
