"""Warning about classes and functions that are not registered with Keras, when a layer is saved."""

import warnings

import keras


def warn_if_not_registered(layer: keras.layers.Layer) -> None:
    """Warn if the class of ``layer``, or a function or object in its config, is not registered with Keras.

    The warning is given at saving: ``keras.saving.load_model`` fails before any code of this package runs, with an
    error that contains the config of the whole model.
    """
    layer_class = {"class_name": type(layer).__name__, "registered_name": keras.saving.get_registered_name(type(layer))}
    for value in (layer_class, *layer.get_config().values()):
        if not isinstance(value, dict) or value.get("registered_name") is None:
            continue
        is_function = value["class_name"] == "function"
        if keras.saving.get_registered_object(value["config" if is_function else "registered_name"]) is None:
            name = value["config" if is_function else "class_name"]
            warnings.warn(
                f"{name!r} is not registered with Keras, so the saved model will not load. Put "
                f'@keras.saving.register_keras_serializable(package="...") above its definition, or load with '
                f"custom_objects={{{name!r}: {name}}}.",
                stacklevel=2,
            )
