"""Export a model to a file, run the file on other inputs, and compare the outputs."""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import tree

from keras_snn import checks, files, probe
from keras_snn.export import refusals
from keras_snn.graph import static_batch_size, zero_sample
from keras_snn.hints import Nest, Tensor
from keras_snn.layers import reset_states
from keras_snn.ops.backend import exported
from keras_snn.ops.scan import unrolled

#: The oldest ONNX operations that include those of random numbers, and the latest of TensorFlow's exporter.
_OPSET = 18
#: What to do if an exporter or a runtime fails.
_OTHERWISE = "Use another format, or export on another backend: save the model as .keras and load it there."
#: Loggers of the exporters.
_LOGGERS = ("absl", "tensorflow", "tf2onnx", "torch.onnx", "onnxscript", "onnx_ir")


@dataclass(frozen=True)
class Exported:
    """The result of an export.

    Attributes:
        path: Path of the file or folder.
        max_difference: Largest difference between outputs of the file and of the model on inputs that were not used in
            the export, relative to the largest output.
        silent: Names of the layers that gave no spike for these inputs: for them, the comparison shows nothing. Pass
            samples of your data as ``x``.
    """

    path: str
    max_difference: float
    silent: tuple[str, ...]


def saved_model(
    model: keras.Model,
    path: files.Path,
    *,
    x: Nest = None,
    batch_size: int | None = None,
    tolerance: float = 1e-5,
    verbose: bool = False,
) -> Exported:
    """Export a model to a TensorFlow SavedModel, run it, and compare its outputs with those of the model.

    The endpoint ``serve`` runs the model in inference mode. If layers are stateful, the file keeps their states between
    calls, starting from the initial ones, and the endpoint ``reset`` resets them. Random numbers of layers without a
    ``seed`` continue from those of the model.

    Args:
        model: A built Keras model. It is not changed.
        path: Path of the folder to write. A SavedModel there is replaced.
        x: Arrays for the comparison, as for ``model.predict``. Default: random numbers in [0, 1). Pass samples of your
            data if these give no spikes, and for inputs of integers.
        batch_size: Integer, a fixed batch size of the file. Default: that of the model, or any.
        tolerance: Number, the largest accepted difference, relative to the largest output. Sums in another order differ
            by 1e-6. A missing spike at an output differs by the height of a spike. Raise it for half precision, or if
            such a sum moves a spike in a large network. Default 1e-5.
        verbose: Boolean, print what the exporters report. Default False.

    Returns:
        ``Exported``: path, largest difference, and layers without spikes in the comparison.

    Raises:
        TypeError: If ``model`` is not a Keras model.
        ImportError: If a package is missing. The message names the extra.
        ValueError: If the model cannot be exported on this backend, with the remedy.
        RuntimeError: If the exporter fails, or the outputs differ. Nothing is left at ``path``, or the file that was
            there before.

    Example, on TensorFlow or JAX:

    .. code-block:: python

       result = keras_snn.export.saved_model(model, "served", x=x_test[:8])
       result.max_difference
    """
    export = _Export(model, "SavedModel", x, batch_size, tolerance)
    with files.replacing_folder(path, "saved_model.pb") as folder, export.checked():

        def write():
            archive = keras.export.ExportArchive()
            archive.track(model)
            archive.add_endpoint("serve", lambda x: model(x, training=False), [export.spec])
            if export.is_stateful:
                archive.add_endpoint("reset", lambda: _reset(model), [])
            archive.write_out(str(folder), verbose=verbose)

        export.write(write, verbose)

        def load():
            endpoints = exported.saved_model_endpoints(str(folder))
            return lambda x: exported.as_arrays(endpoints["serve"](x)), endpoints.get("reset")

        export.compare(load)
    return export.result(path, verbose)


def litert(
    model: keras.Model,
    path: files.Path,
    *,
    x: Nest = None,
    batch_size: int | None = None,
    tolerance: float = 1e-5,
    verbose: bool = False,
    **options: Any,
) -> Exported:
    """Export a model to a LiteRT file, run it, and compare its outputs with those of the model. TensorFlow only.

    Args:
        model: A built Keras model without stateful layers, or the result of ``step_model``. It is not changed.
        path: Path of the file to write, with the ending ".tflite".
        x: As in ``saved_model``.
        batch_size: As in ``saved_model``.
        tolerance: As in ``saved_model``. Raise it if ``options`` reduce the precision.
        verbose: As in ``saved_model``.
        **options: Attributes of ``tf.lite.TFLiteConverter``, such as ``optimizations``.

    Returns, raises: as in ``saved_model``.

    Example, on TensorFlow:

    .. code-block:: python

       keras_snn.export.litert(model, "model.tflite", x=x_test[:8])
       step = keras_snn.export.step_model(scanner)
       keras_snn.export.litert(step, "step.tflite", batch_size=1)
    """
    _check_ending(path, ".tflite")
    export = _Export(model, "LiteRT", x, batch_size, tolerance)
    with files.replacing(path) as file, export.checked():
        options = {"target_spec": exported.builtin_operations(), **options}
        export.write(lambda: export.run_keras("litert", file, verbose, **options), verbose)

        def load():
            run = exported.litert_runner(str(file))
            return lambda x: _in_order(run(dict(zip(export.names, tree.flatten(x), strict=True)))), None

        export.compare(load)
    return export.result(path, verbose)


def onnx(
    model: keras.Model,
    path: files.Path,
    *,
    x: Nest = None,
    batch_size: int | None = None,
    tolerance: float = 1e-5,
    verbose: bool = False,
    **options: Any,
) -> Exported:
    """Export a model to an ONNX file, run it in onnxruntime, and compare its outputs with those of the model.

    On TensorFlow all steps are added to the graph one by one, because its exporter supports no loops: the size of the
    file grows with the number of steps, which must be known. On PyTorch, some layers need ``batch_size``.

    Args:
        model: A built Keras model without stateful layers, or the result of ``step_model``. It is not changed.
        path: Path of the file to write, with the ending ".onnx".
        x: As in ``saved_model``.
        batch_size: As in ``saved_model``.
        tolerance: As in ``saved_model``.
        verbose: As in ``saved_model``.
        **options: Further arguments of Keras's exporter, such as ``opset_version``.

    Returns, raises: as in ``saved_model``. Inputs and outputs of the file have the order of the model's.

    Example, on TensorFlow or PyTorch:

    .. code-block:: python

       keras_snn.export.onnx(model, "model.onnx", x=x_test[:8], batch_size=8)
    """
    _check_ending(path, ".onnx")
    export = _Export(model, "ONNX", x, batch_size, tolerance)
    with files.replacing(path) as file, export.checked():

        def write():
            if keras.config.backend() != "tensorflow":
                return export.run_keras("onnx", file, verbose, **options)
            with unrolled():
                export.run_keras("onnx", file, verbose, **{"opset_version": _OPSET, **options})

        export.write(write, verbose)

        def load():
            run = exported.onnx_runner(str(file))
            return lambda x: run(tree.flatten(x)), None

        export.compare(load)
    return export.result(path, verbose)


class _Export:
    """An export to one file: the inputs of the comparison, and the steps that all formats share."""

    def __init__(self, model, kind, x, batch_size, tolerance):
        batch_size = checks.integer("batch_size", batch_size, least=1, optional=True)
        self.tolerance = checks.number("tolerance", tolerance, above=0)
        refusals.check(model, kind, batch_size)
        self.model, self.kind = model, kind
        self.is_stateful = bool(refusals.stateful_layers(model))
        size = batch_size or static_batch_size(model)
        self.x = _samples(model, x, size)
        self.spec = _spec(model, self.x, size)
        draws = refusals.check_draws(model, kind, self.x)
        self.n_calls = 3 if self.is_stateful else 2 if draws else 1
        self.names = [spec.name for spec in tree.flatten(self.spec)]
        self.difference, self.spiking = 0.0, {}

    @contextlib.contextmanager
    def checked(self) -> Iterator[None]:
        """Start the model from its initial states, and restore it at the end."""
        with probe.left_as_it_was(self.model):
            reset_states(self.model)
            yield

    def run_keras(self, name, path, verbose, **options):
        self.model.export(str(path), name, verbose=verbose, input_signature=[self.spec], **options)

    def write(self, write: Callable, verbose: bool) -> None:
        """Run an exporter, without its messages unless ``verbose``."""
        try:
            with _quiet(verbose):
                write()
        except Exception as error:  # the exporters raise many types of errors
            raise RuntimeError(
                f"The {self.kind} exporter cannot write {self.model.name!r}. Nothing was written. {_OTHERWISE} "
                f"{type(error).__name__}: {checks.first_line(error)}"
            ) from error

    def compare(self, load: Callable) -> None:
        """Compare the outputs of the file with those of the model; raise RuntimeError if they differ.

        Args:
            load: Function without arguments that returns a function from inputs to a list of outputs, and a function
                that resets the states or None. A model with random numbers is called twice. A stateful model is called
                twice, reset, and called again.
        """
        expected = []
        for call in range(self.n_calls):
            if call == 2:
                reset_states(self.model)
            with probe.scope(record=self._record):
                expected.append(exported.as_arrays(self.model(self.x, training=False)))
        try:
            with _quiet(verbose=False):
                run, reset = load()
            actual = []
            for call in range(self.n_calls):
                if call == 2:
                    reset()
                actual.append(run(self.x))
        except Exception as error:  # each runtime has its own errors
            raise RuntimeError(
                f"The {self.kind} file of {self.model.name!r} does not run, and was deleted. {_OTHERWISE} "
                f"{type(error).__name__}: {checks.first_line(error)}"
            ) from error
        self.difference = max(map(_difference, actual, expected))
        if not self.difference <= self.tolerance:
            raise RuntimeError(
                f"The {self.kind} file of {self.model.name!r} must give the outputs of the model; they differ by up to "
                f"{self.difference:.3g} of the largest output, and the tolerance is {self.tolerance:g}. The file was "
                "deleted. If rounding explains the difference (half precision, quantization, one spike of a large "
                "network), raise `tolerance`."
            )

    def _record(self, layer: keras.layers.Layer, spikes: Tensor, mask: Tensor | None = None) -> None:
        has_spikes = any(y.any() for y in exported.as_arrays(spikes))
        self.spiking[layer.name] = self.spiking.get(layer.name, False) or has_spikes

    def result(self, path, verbose):
        names = tuple(name for name, has_spikes in self.spiking.items() if not has_spikes)
        if verbose:
            silent = f" No spikes in {', '.join(names)}: pass `x`." if names else ""
            print(f"{self.kind}: {os.fspath(path)!r} differs by up to {self.difference:.3g} from the model.{silent}")
        return Exported(os.fspath(path), self.difference, names)


def _reset(model: keras.Model) -> Tensor:
    reset_states(model)
    return keras.ops.ones((), "bool")  # an endpoint must return a tensor


def _check_ending(path, ending):
    if not os.fspath(path).endswith(ending):
        raise ValueError(f"`path` must end with {ending!r}; got {os.fspath(path)!r}.")


def _samples(model, x, size):
    """Return arrays for the comparison: a batch of two for an open batch size. Exporters trace with one sample."""
    given = x is not None
    if not given and not getattr(model, "inputs", None):
        raise ValueError(f"The inputs of {model.name!r} are not known: it is a subclassed model. Pass samples as `x`.")
    rng = np.random.default_rng(0)

    def random(array):
        shape = (size or 2, *array.shape[1:])
        if np.issubdtype(array.dtype, np.floating):
            return rng.random(shape).astype(array.dtype)
        return rng.integers(0, 2, shape).astype(array.dtype)

    if given:
        n = checks.arrays("x", x)
        if size is not None and n < size:
            raise ValueError(f"`x` must have at least {size} samples, the batch size of the file; got {n}.")
        return tree.map_structure(lambda a: np.asarray(a)[:size], x)
    return tree.map_structure(random, zero_sample(model)[0])


def _spec(model, x, size):
    """Return the nest of the ``InputSpec`` of a model's inputs."""
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return tree.map_structure(lambda a: keras.InputSpec(shape=(size, *a.shape[1:]), dtype=str(a.dtype)), x)
    structure = zero_sample(model)[0]
    specs = [keras.InputSpec(shape=(size, *t.shape[1:]), dtype=t.dtype, name=t.name) for t in inputs]
    return tree.pack_sequence_as(structure, specs)


def _in_order(outputs):
    """Return the outputs of a LiteRT file: Keras names those of a list output_0, output_1, ..."""
    numbered = all(name.startswith("output_") for name in outputs)
    return [outputs[name] for name in sorted(outputs, key=(lambda n: int(n[7:])) if numbered else None)]


def _difference(actual, expected):
    """Return the largest difference of lists of arrays, relative to the largest value of each array."""
    differences = [0.0]
    for a, b in zip(actual, expected, strict=True):
        a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
        if a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any():
            return np.inf
        if b.size:
            differences.append(float(np.nanmax(np.abs(a - b)) / max(1e-12, np.nanmax(np.abs(b)))))
    return max(differences)


@contextlib.contextmanager
def _quiet(verbose):
    """Hide warnings, log messages and output of the exporters in the block, unless ``verbose``."""
    loggers = [] if verbose else [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    silence = contextlib.nullcontext() if verbose else contextlib.redirect_stdout(io.StringIO())
    with warnings.catch_warnings(), silence:
        if not verbose:
            warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
