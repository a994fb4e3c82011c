"""Functions that run exported files. They need TensorFlow or a runtime, and not the backend of Keras."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops, tree

from keras_snn.hints import Nest


def saved_model_endpoints(path: str) -> dict[str, Callable]:
    """Return the endpoints of a SavedModel: functions from nests of arrays to nests of NumPy arrays."""
    import tensorflow as tf

    loaded = tf.saved_model.load(path)

    def runner(name):
        def run(*nests):
            endpoint = getattr(loaded, name)  # of `loaded`: without it, the variables would be deleted
            return tree.map_structure(np.asarray, endpoint(*tree.map_structure(tf.convert_to_tensor, nests)))

        return run

    return {name: runner(name) for name in ("serve", "reset") if hasattr(loaded, name)}


def builtin_operations() -> dict:
    """Return the ``target_spec`` of a LiteRT file that runs without TensorFlow."""
    import tensorflow as tf

    return {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}


def litert_runner(path: str) -> Callable[[dict], dict]:
    """Return a function from the dict of a LiteRT file's inputs by name to the dict of its outputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's interpreter warns that it will move to the other package
        interpreter = _interpreter()(path)
    signature = interpreter.get_signature_runner("serving_default")
    names = signature.get_input_details()

    def run(inputs: dict) -> dict:
        return signature(**(inputs if set(inputs) == set(names) else dict(zip(names, inputs.values(), strict=True))))

    return run


def _interpreter() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf

        return tf.lite.Interpreter
    return Interpreter


def onnx_runner(path: str) -> Callable[[list], list]:
    """Return a function from the list of an ONNX file's inputs to the list of its outputs."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    names = [value.name for value in session.get_inputs()]
    return lambda inputs: session.run(None, dict(zip(names, inputs, strict=True)))


def as_arrays(outputs: Nest) -> list[np.ndarray]:
    """Return the tensors of a nest as a list of arrays."""
    return [np.asarray(ops.convert_to_numpy(y)) for y in tree.flatten(outputs)]
