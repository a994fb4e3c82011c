"""Reasons why a model cannot be exported, each with a remedy. They are found before anything is written."""

import importlib.util
from collections.abc import Iterator

import keras
import numpy as np

from keras_snn import layers, probe
from keras_snn.export.step_model import OneStep
from keras_snn.graph import static_batch_size
from keras_snn.hints import Nest
from keras_snn.layers.encoding.still_encoder import StillEncoder

#: Backends from which a format can be written.
BACKENDS = {"SavedModel": ("tensorflow", "jax"), "LiteRT": ("tensorflow",), "ONNX": ("tensorflow", "torch", "jax")}
#: Packages that a format needs on a backend, beside the backend.
_PACKAGES = {
    ("SavedModel", "jax"): ("tensorflow",),
    ("ONNX", "tensorflow"): ("tf2onnx", "onnxruntime"),
    ("ONNX", "torch"): ("onnxscript", "onnxruntime"),
    ("ONNX", "jax"): ("jax2onnx", "onnxruntime"),
}
#: How to install packages that the extra "exports" does not have.
_OTHER_SOURCES = {"tensorflow": "'keras_snn[tensorflow]'", "jax2onnx": "jax2onnx"}


def check(model: keras.Model, kind: str, batch_size: int | None) -> None:
    """Raise an error if a model cannot be exported.

    Args:
        model: A Keras model.
        kind: "SavedModel", "LiteRT" or "ONNX".
        batch_size: The fixed batch size of the file, or None.

    Raises:
        TypeError: If ``model`` is not a Keras model.
        ImportError: If a package is missing.
        ValueError: If the export cannot work.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a Keras model; got {type(model).__name__}.")
    backend, usable = keras.config.backend(), BACKENDS[kind]
    if backend not in usable:
        raise ValueError(
            f"The backend must be {' or '.join(usable)} to write {kind} files; it is {backend!r}. Nothing was written. "
            f"Save the model with model.save('model.keras'), set KERAS_BACKEND={usable[0]}, and load this file there."
        )
    missing = [name for name in _PACKAGES.get((kind, backend), ()) if importlib.util.find_spec(name) is None]
    if missing:
        sources = sorted({_OTHER_SOURCES.get(name, "'keras_snn[exports]'") for name in missing})
        raise ImportError(
            f"{kind} files from {backend} need {' and '.join(missing)}: pip install {' '.join(sources)}. Nothing was "
            "written."
        )
    if not model.built:
        raise ValueError(f"The model {model.name!r} must be built: call it, or begin it with keras.Input.")
    own = static_batch_size(model)
    if own is not None and batch_size not in (None, own):
        raise ValueError(f"`batch_size` must be {own}, for which {model.name!r} was built, or None; got {batch_size}.")
    batch_size = batch_size or own
    reasons = [*_of_model(model, kind, backend, batch_size), *_of_layers(model, kind, backend, batch_size)]
    if reasons:
        lines = "\n".join(f"  - {reason}" for reason in reasons)
        raise ValueError(f"{model.name!r} cannot be exported to {kind}. Nothing was written.\n{lines}")


def stateful_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers of a model that keep states between calls. A model of one step has none."""
    layers = model._flatten_layers()
    return [] if _one_step(model) else [layer for layer in layers if getattr(layer, "stateful", False)]


def check_draws(model: keras.Model, kind: str, x: Nest) -> bool:
    """Return whether a call of the model draws new random numbers; raise ValueError if the file would repeat one draw.

    Args:
        model: A Keras model.
        kind: "SavedModel", "LiteRT" or "ONNX".
        x: Samples to call the model with.
    """
    generators = {
        layer: layer.seed_generator.state
        for layer in model._flatten_layers()
        if isinstance(getattr(layer, "seed_generator", None), keras.random.SeedGenerator)
    }
    with probe.left_as_it_was(model):
        before = {layer: np.array(keras.ops.convert_to_numpy(state)) for layer, state in generators.items()}
        model(x, training=False)
        after = {layer: keras.ops.convert_to_numpy(state) for layer, state in generators.items()}
        drawing = [layer for layer in generators if (after[layer] != before[layer]).any()]
    if drawing and kind == "ONNX":
        names = ", ".join(f"{layer.name!r} ({type(layer).__name__})" for layer in map(_owner, drawing))
        raise ValueError(
            f"{model.name!r} cannot be exported to ONNX. Nothing was written. It draws new random numbers in each "
            f"call, and ONNX files would repeat one draw: give an integer `seed` to {names}."
        )
    return bool(drawing)


def _owner(layer):
    owner = getattr(layer, "owner", None)  # of a cell
    return layer if owner is None else owner() or layer


def _one_step(model) -> OneStep | None:
    return next((layer for layer in model._flatten_layers() if isinstance(layer, OneStep)), None)


def _draws(model) -> bool:
    """Return whether random numbers are drawn in the file. In a model of one step, they are among the states."""
    step = _one_step(model)
    return step is None or step.restarts


def _of_model(model, kind, backend, batch_size) -> Iterator[str]:
    shapes = [tuple(tensor.shape) for tensor in getattr(model, "inputs", None) or []]
    if (kind, backend) != ("SavedModel", "tensorflow") and any(None in shape[1:] for shape in shapes):
        yield (
            f"the inputs have the shapes {shapes}, and {kind} files from {backend} need all sizes but the batch: build "
            "the model with a known number of steps, or export keras_snn.export.step_model(model)"
        )
    if (kind, backend) == ("ONNX", "jax") and batch_size is None:
        yield "ONNX files from JAX need a fixed batch size: pass `batch_size`"


def _of_layers(model, kind, backend, batch_size) -> Iterator[str]:
    draws, stateful = _draws(model), stateful_layers(model)
    for layer in model._flatten_layers():
        described = f"{layer.name!r} ({type(layer).__name__})"
        if kind != "SavedModel" and layer in stateful:
            yield (
                f"{described} is stateful, and {kind} files keep no states: export keras_snn.export.step_model(model), "
                "which has the states as inputs and outputs"
            )
        if (kind, backend) == ("SavedModel", "jax") and isinstance(layer, layers.TopKMask):
            yield f"{described} uses an operation that TensorFlow cannot load from JAX: set KERAS_BACKEND=tensorflow"
        if kind == "LiteRT":
            yield from _not_in_litert(layer, described)
        if kind == "ONNX":
            yield from _not_in_onnx(layer, described, backend, batch_size, draws)


def _not_in_litert(layer, described):
    if isinstance(layer, layers.NoisyLIF) and layer.noise == "gaussian" and layer.alpha != 2:
        yield f"{described} draws Gaussian noise, for which LiteRT has no operation: make it with noise='uniform'"
    if getattr(layer, "quantization_mode", None) is not None:
        yield (
            f"{described} is quantized ({layer.quantization_mode}) with operations that LiteRT does not have: export "
            "the model before `quantize`, with optimizations=[tf.lite.Optimize.DEFAULT] and a higher `tolerance`"
        )


def _not_in_onnx(layer, described, backend, batch_size, draws):
    if isinstance(layer, layers.RankOrder):
        yield f"{described} sorts in a way that ONNX does not support: use Latency, or encode outside the model"
    if backend == "tensorflow" and isinstance(layer, layers.OscillationLIF):
        yield f"{described} uses an operation that tf2onnx does not support: set KERAS_BACKEND=torch"
    if backend == "torch" and batch_size is None:
        # Keras exports an open batch size with TorchScript, which lacks operations of draws and of filters.
        random = (layers.SpikingActivation, layers.Poisson) if draws else ()
        has_noise = isinstance(layer, layers.NoisyLIF) and layer.noise is not None and layer.alpha != 2
        lacking = (layers.Lowpass, layers.Alpha, layers.Delay, layers.OscillationLIF, *random)
        if has_noise or isinstance(layer, lacking):
            yield f"{described} needs a fixed batch size in ONNX files from PyTorch: pass `batch_size`"
    if backend == "torch" and batch_size is not None and isinstance(layer, layers.Phase):
        yield f"{described} needs an open batch size in ONNX files from PyTorch: leave out `batch_size`"
    if backend == "jax":
        numbered = (StillEncoder, layers.Resonance, layers.SpikingActivation, layers.NoisyLIF) if draws else ()
        if isinstance(layer, (layers.OscillationLIF, layers.FirstSpikeTime, layers.Delay, *numbered)):
            yield f"{described} uses `arange`, which jax2onnx does not support: set KERAS_BACKEND=tensorflow"
