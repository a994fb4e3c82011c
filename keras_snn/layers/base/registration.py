"""Warn, when a layer is saved, about classes and functions that Keras will not find at loading."""

import warnings

import keras


def warn_if_not_registered(layer):
    """Warn if the class of ``layer``, or a function or object in its config, is unknown to Keras.

    The warning comes at saving: the error of ``keras.saving.load_model`` prints the config of the whole model, and is
    raised before any code of this package runs.
    """
    own = {"class_name": type(layer).__name__, "registered_name": keras.saving.get_registered_name(type(layer))}
    for part in (own, *layer.get_config().values()):
        if not isinstance(part, dict) or part.get("registered_name") is None:
            continue
        is_function = part["class_name"] == "function"
        if keras.saving.get_registered_object(part["config" if is_function else "registered_name"]) is None:
            name = part["config" if is_function else "class_name"]
            warnings.warn(
                f"{name!r} is not registered with Keras, so the saved model will not load. Put "
                f'@keras.saving.register_keras_serializable(package="...") above its definition, or load with '
                f"custom_objects={{{name!r}: {name}}}.",
                stacklevel=2,
            )
