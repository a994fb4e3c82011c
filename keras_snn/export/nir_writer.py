"""Write a model as a graph of the Neuromorphic Intermediate Representation (NIR)."""

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_snn import checks, graph
from keras_snn.energy.connections import DROPPED, is_linear
from keras_snn.export.nir_layout import import_nir, order_of, to_nir_order
from keras_snn.files import check_writable, replacing
from keras_snn.layers import IF, LIF, Delay, LeakyIntegrator, RecurrentLIF, Repeat, Synaptic, TimeFold
from keras_snn.layers.base.sequence_layer import SequenceLayer
from keras_snn.ops.precision import to_float


def to_nir(model: keras.Model, path: str | os.PathLike | None = None, *, dt: float | None = None) -> Any:
    """Return a model as a ``nir.NIRGraph``, and write it to a file if ``path`` is given.

    Supported: ``Dense``, ``Conv1D``, ``Conv2D``, ``ZeroPadding`` before a convolution, ``AveragePooling2D``,
    ``Flatten``, ``Rescaling`` by a factor, ``Add``, ``IF``, ``LIF``, ``Synaptic``, ``LeakyIntegrator``,
    ``RecurrentLIF`` and ``Delay``, alone or in ``TimeFold``. Layers before ``Repeat`` run at every step in NIR, which
    gives the same values.

    NIR has channels first: signals, kernels, and the weights of a ``Dense`` after ``Flatten`` are permuted. All
    parameters have the full shape of their layer. Times are in seconds: ``tau`` steps are ``tau * dt``.

    Args:
        model: A built Sequential or functional model whose signals have known shapes. A model that ends the time axis
            cannot be expressed: leave out its last layers.
        path: Path of the file; its usual ending is .nir. Default: no file.
        dt: Number in seconds, the duration of a time step. snnTorch reads graphs with 1e-4, Norse with 1e-3. Default:
            the dt of the model's layers.

    Returns:
        ``nir.NIRGraph``. Its ``metadata["dt"]`` is ``dt``.

    Raises:
        ValueError: If a layer cannot be expressed. The message lists all of them, and nothing is written.
        TypeError: If ``model`` is not a Sequential or functional model that is built.
        ImportError: If the package nir is missing.

    Example:

    ```python
    model = keras.Sequential([keras.Input((None, 20)), keras.layers.Dense(10), keras_snn.LIF(tau=20.0)])
    nodes = keras_snn.export.to_nir(model, "model.nir", dt=1e-4).nodes
    float(nodes["lif"].tau[0])  # 0.002
    ```

    References: Pedersen et al. 2024, Nature Communications 15, 8122, doi:10.1038/s41467-024-52259-9.
    """
    nir = import_nir()
    traced = graph.trace(model)
    if path is not None:
        check_writable(path)
    result = _Writer(nir, traced, _dt_of(traced, dt)).graph(model.name)
    if path is not None:
        with replacing(path) as temporary:
            nir.write(os.fspath(temporary), result)
    return result


def _dt_of(traced, dt):
    if dt is not None:
        return checks.number("dt", dt, above=0)
    values = {to_float(node.layer.dt) for node in traced.nodes if isinstance(node.layer, SequenceLayer)}
    if len(values) > 1:
        raise ValueError(f"`dt` must be given, because the layers have different ones: {sorted(values)}.")
    return values.pop() if values else 1e-3


@dataclass
class _Signal:
    """A value in the graph of the model.

    Attributes:
        sources: List of the names of the NIR nodes whose outputs add up to it.
        shape: Shape in Keras, without the axes of batch and time.
        order: As in ``nir_layout``.
        has_time: Boolean, whether the value has a time axis in Keras.
        padding: Zeros on both sides of each spatial axis, from a ZeroPadding layer.
    """

    sources: list[str]
    shape: tuple[int, ...]
    order: np.ndarray
    has_time: bool
    padding: tuple[int, ...] | None = None


class _NotInNirError(Exception):
    """The reason why a layer cannot be expressed."""


class _Writer:
    """Collects the nodes and edges of a graph."""

    def __init__(self, nir: Any, traced: graph.Graph, dt: float) -> None:
        self.nir, self.traced, self.dt = nir, traced, dt
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        inner = [_inner(node.layer) for node in traced.nodes]
        self._channels_last = all(getattr(layer, "data_format", None) != "channels_first" for layer in inner)
        self._makes_time = any(isinstance(layer, Repeat) for layer in inner)

    def graph(self, model_name: str) -> Any:
        """Return the ``nir.NIRGraph`` of the model."""
        signals: dict[int, Any] = {}  # None behind a layer that cannot be expressed
        problems = []
        for number, shape in self._inputs().items():
            units = shape[1:] if self._makes_time else shape[2:]
            if not units or None in units:
                raise ValueError(
                    f"{model_name!r} must have inputs (batch, time, ...), or (batch, ...) before Repeat, with known "
                    f"sizes; got {shape}. Give it a keras.Input."
                )
            name, order = self._unique("input"), self.order(units)
            self.nodes[name] = self.nir.Input(input_type={"input": np.array(order.shape)})
            signals[number] = _Signal([name], units, order, has_time=not self._makes_time)
        for node in self.traced.nodes:
            try:
                signal = self._signal(node, [signals[number] for number in node.inputs])
            except _NotInNirError as error:
                problems.append(f"{node.name!r} ({type(_inner(node.layer)).__name__}): {error}")
                signal = None
            signals.update(dict.fromkeys(node.outputs, signal))
        if problems:
            lines = "\n  - ".join(problems)
            raise ValueError(f"{model_name!r} cannot be expressed in NIR. Nothing was written.\n  - {lines}")
        for number in self.traced.outputs:
            signal = signals[number]
            name = self._unique("output")
            self.nodes[name] = self.nir.Output(output_type={"output": np.array(signal.order.shape)})
            self.edges += [(source, name) for source in signal.sources]
        return self.nir.NIRGraph(self.nodes, self.edges, metadata={"dt": self.dt})

    def _inputs(self):
        """Return a dict from the number of each input of the model to its shape."""
        shapes: dict[int, tuple] = {}
        for node in self.traced.nodes:
            shapes.update(zip(node.inputs, node.input_shapes, strict=True))
        return {number: shapes[number] for number in self.traced.inputs}

    def _unique(self, name):
        name = name.replace("/", "_").replace(".", "_")
        numbered = (f"{name}_{k}" for k in itertools.count(1))
        return next(key for key in itertools.chain([name], numbered) if key not in self.nodes)

    def order(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the order of a signal that was never flattened."""
        return order_of(shape, channels_last=self._channels_last)

    def _signal(self, node, inputs):
        """Add the node of a call; return the signal of its output. None: a layer before it cannot be expressed."""
        layer = _inner(node.layer)
        kind, remedy = type(layer), _REMEDIES.get(type(layer).__name__, "NIR has no such node")
        if not isinstance(layer, _WITHOUT_NODE) and kind not in _NODES:
            raise _NotInNirError(remedy)
        _check(layer)
        if None in inputs:
            return None
        if isinstance(layer, layers.Add):
            sources = [source for signal in inputs for source in signal.sources]
            if len(set(sources)) < len(sources):
                raise _NotInNirError("it adds a signal to itself; use Rescaling(2.0)")
            if any(not np.array_equal(signal.order, inputs[0].order) for signal in inputs):
                raise _NotInNirError(
                    "it adds a flattened image and a vector, in different orders; put Dense after Flatten"
                )
            return replace(inputs[0], sources=sources)
        (signal,) = inputs
        has_time = signal.has_time or isinstance(layer, Repeat)
        shape = tuple(node.output_shapes[0][2 if has_time else 1 :])
        if isinstance(layer, _PADDINGS):
            return replace(signal, shape=shape, order=self.order(shape), padding=_symmetric(layer.padding))
        if signal.padding is not None and not isinstance(layer, _CONVOLUTIONS):
            raise _NotInNirError("a ZeroPadding layer must be followed by a convolution")
        if isinstance(layer, _WITHOUT_NODE):
            return replace(signal, has_time=has_time)
        name = self._unique(node.name if layer is node.layer else layer.name)
        self.nodes[name], order = _NODES[kind](self, layer, signal, shape)
        self.edges += [(source, name) for source in signal.sources]
        return _Signal([name], shape, order, has_time)

    # Each of the following methods returns a node and the order of its outputs.

    def dense(self, layer: layers.Dense, signal: _Signal, shape: tuple) -> tuple[Any, np.ndarray]:
        """``y = W x + b`` with W ``(outputs, inputs)``."""
        if len(signal.shape) > 1:
            raise _NotInNirError(f"its inputs have the shape {signal.shape}; put Flatten before it")
        weight = _weights(layer.kernel).T[:, signal.order]
        if layer.use_bias:
            return self.nir.Affine(weight=weight, bias=_weights(layer.bias)), np.arange(shape[0])
        return self.nir.Linear(weight=weight), np.arange(shape[0])

    def convolution(self, layer: Any, signal: _Signal, shape: tuple) -> tuple[Any, np.ndarray]:
        """A convolution with kernels ``(filters, channels, ...)``."""
        if layer.groups > 1:
            raise _NotInNirError("the package nir infers wrong shapes with groups > 1")
        rank = layer.rank
        channel_axis = -1 if self._channels_last else 0
        sizes = np.delete(signal.shape, channel_axis)
        if signal.padding is not None:
            padding: Any = signal.padding
            sizes = sizes - 2 * np.array(padding)
        elif layer.padding == "same":
            padding = _same_padding(layer, sizes)
        elif layer.padding == "valid":
            padding = (0,) * rank
        else:
            raise _NotInNirError(f"NIR has no padding={layer.padding!r}; use ZeroPadding and padding='valid'")
        kernel = np.moveaxis(_weights(layer.kernel), (-1, -2), (0, 1))
        bias = _weights(layer.bias) if layer.use_bias else np.zeros(len(kernel), "float32")
        options = {"stride": layer.strides, "padding": padding, "dilation": layer.dilation_rate, "groups": 1}
        if rank == 1:
            options = {key: value[0] if isinstance(value, tuple) else value for key, value in options.items()}
            return self.nir.Conv1d(input_shape=int(sizes[0]), weight=kernel, bias=bias, **options), self.order(shape)
        input_shape = tuple(map(int, sizes))
        return self.nir.Conv2d(input_shape=input_shape, weight=kernel, bias=bias, **options), self.order(shape)

    def pooling(self, layer: layers.AveragePooling2D, signal: _Signal, shape: tuple) -> tuple[Any, np.ndarray]:
        """An average over windows."""
        if layer.padding != "valid":
            raise _NotInNirError("averages at the border leave out the padding; use padding='valid'")
        sizes = {"kernel_size": np.array(layer.pool_size), "stride": np.array(layer.strides)}
        node = self.nir.AvgPool2d(**sizes, padding=np.zeros(2, int))
        order = self.order(shape)
        node.input_type = {"input": np.array(signal.order.shape)}
        node.output_type = {"output": np.array(order.shape)}
        return node, order

    def flatten(self, layer: layers.Flatten, signal: _Signal, shape: tuple) -> tuple[Any, np.ndarray]:
        """The units in NIR's order."""
        del layer, shape
        node = self.nir.Flatten(input_type={"input": np.array(signal.order.shape)}, start_dim=0, end_dim=-1)
        return node, signal.order.reshape(-1)

    def rescaling(self, layer: layers.Rescaling, signal: _Signal, shape: tuple) -> tuple[Any, np.ndarray]:
        """``y = scale x``."""
        del shape
        if np.any(np.asarray(layer.offset) != 0):
            raise _NotInNirError("NIR has no node for an offset; move it into a bias")
        return self.nir.Scale(scale=_full(layer.scale, signal)), signal.order

    def delay(self, layer: Delay, signal: _Signal, shape: tuple) -> tuple[Any, np.ndarray]:
        """``y(t) = x(t - delay)``."""
        del shape
        return self.nir.Delay(delay=_full(_array(layer.delays()), signal) * self.dt), signal.order

    def integrate_and_fire(self, layer: IF, signal: _Signal, shape: tuple) -> tuple[Any, np.ndarray]:
        """``v' = r x``: x is added in each step."""
        del shape
        if layer.initial_potential:
            raise _NotInNirError("NIR has no initial potential; use initial_potential=0")
        return self.nir.IF(r=_full(1 / self.dt, signal), **_firing(layer, signal)), signal.order

    def leaky(self, layer: Any, signal: _Signal, shape: tuple) -> tuple[Any, np.ndarray]:
        """``tau v' = v_leak - v + r x``, with or without spikes."""
        del shape
        tau = _full(_array(layer.parameter_values()["tau"]), signal)
        parameters = {
            "tau": tau * self.dt,
            "r": np.ones_like(tau) if layer.decay_input else tau,
            "v_leak": _full(layer.v_reset, signal),
        }
        if isinstance(layer, LeakyIntegrator):
            return self.nir.LI(**parameters), signal.order
        return self.nir.LIF(**parameters, **_firing(layer, signal)), signal.order

    def synaptic(self, layer: Synaptic, signal: _Signal, shape: tuple) -> tuple[Any, np.ndarray]:
        """``tau_syn i' = w_in x - i``, ``tau_mem v' = v_leak - v + r i``."""
        del shape
        values = layer.parameter_values()
        tau, tau_synapse = (_full(_array(values[name]), signal) for name in ("tau", "tau_synapse"))
        node = self.nir.CubaLIF(
            tau_mem=tau * self.dt,
            tau_syn=tau_synapse * self.dt,
            r=tau,
            w_in=tau_synapse,
            v_leak=_full(layer.v_reset, signal),
            **_firing(layer, signal),
        )
        return node, signal.order

    def recurrent(self, layer: RecurrentLIF, signal: _Signal, shape: tuple) -> tuple[Any, np.ndarray]:
        """A sub-graph: the spikes of a LIF return to it through a Linear."""
        lif, order = self.leaky(layer, signal, shape)
        units = np.array(order.shape)
        nodes = {
            "input": self.nir.Input(input_type={"input": units}),
            "lif": lif,
            "w_rec": self.nir.Linear(weight=_weights(layer.recurrent_kernel).T[np.ix_(order, order)]),
            "output": self.nir.Output(output_type={"output": units}),
        }
        edges = [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")]
        return self.nir.NIRGraph(nodes, edges), order


_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D)
_PADDINGS = (layers.ZeroPadding1D, layers.ZeroPadding2D)
#: Layers that are no node of the graph.
_WITHOUT_NODE = (Repeat, *DROPPED, layers.Activation, layers.Add, *_PADDINGS)
_NODES: dict[type, Callable] = {
    layers.Dense: _Writer.dense,
    layers.Conv1D: _Writer.convolution,
    layers.Conv2D: _Writer.convolution,
    layers.AveragePooling2D: _Writer.pooling,
    layers.Flatten: _Writer.flatten,
    layers.Rescaling: _Writer.rescaling,
    Delay: _Writer.delay,
    IF: _Writer.integrate_and_fire,
    LIF: _Writer.leaky,
    LeakyIntegrator: _Writer.leaky,
    Synaptic: _Writer.synaptic,
    RecurrentLIF: _Writer.recurrent,
}
_NO_END = "NIR has no end of the time axis; export keras.Model(model.inputs, layer.output) of the layer before it"
_REMEDIES = {
    "TemporalAveragePooling": _NO_END,
    "LastStep": _NO_END,
    "MaxPooling2D": "NIR has no maximum; use AveragePooling2D",
    "GlobalAveragePooling2D": "use AveragePooling2D with the size of the images, and Flatten",
    "AveragePooling1D": "NIR has no pooling in 1D; use a Conv1D with strides",
    "BatchNormalization": "fold it into the weights of the layer before it, as keras_snn.convert does",
    "Reshape": "give the model inputs of the new shape",
    "SpikingActivation": "NIR has no neuron for rates; use IF or LIF",
    "PLIF": "use LIF with the learned tau",
}


def _inner(layer):
    """Return the layer in a wrapper that applies it at each step."""
    while isinstance(layer, (TimeFold, layers.TimeDistributed)):
        layer = layer.layer
    return layer


def _check(layer):
    """Raise an error for arguments that NIR cannot express."""
    if not is_linear(getattr(layer, "activation", None)):
        raise _NotInNirError("NIR has no activation functions; put a spiking layer after it")
    if getattr(layer, "quantization_mode", None) is not None:
        raise _NotInNirError("its weights are quantized; export the model before quantization")
    if isinstance(layer, SequenceLayer):
        for name, value in {"return_sequences": True, "time_major": False, "go_backwards": False}.items():
            if getattr(layer, name) is not value:
                raise _NotInNirError(f"it has {name}={not value}; use {name}={value}")
        if getattr(layer, "refractory", 0):
            raise _NotInNirError("NIR has no refractory time; use refractory=0")
        if getattr(layer, "reset_delay", False):
            raise _NotInNirError("NIR has no delayed reset; use reset_delay=False")
        if layer.emits_spikes and layer.reset != "zero":
            raise _NotInNirError(f"NIR resets to v_reset, and it has reset={layer.reset!r}; train with reset='zero'")


def _firing(layer, signal):
    """Return threshold and reset of a neuron."""
    threshold = _array(layer.parameter_values()["threshold"])
    return {"v_threshold": _full(threshold, signal), "v_reset": _full(layer.v_reset, signal)}


def _full(values, signal):
    return to_nir_order(values, signal.shape, signal.order)


def _array(value):
    """Return parameters in float64: 1 / dt and tau dt have no rounding errors of float32."""
    return np.asarray(ops.convert_to_numpy(value), "float64")


def _weights(value):
    return np.asarray(ops.convert_to_numpy(value), "float32")


def _symmetric(padding: Sequence) -> tuple[int, ...]:
    pairs = [(pair, pair) if isinstance(pair, int) else tuple(pair) for pair in padding]
    pairs = [tuple(padding)] if isinstance(padding[0], int) and len(padding) == 2 else pairs  # ZeroPadding1D
    if any(before != after for before, after in pairs):
        raise _NotInNirError(f"NIR pads both sides alike; got {tuple(padding)}")
    return tuple(int(before) for before, _ in pairs)


def _same_padding(layer, sizes):
    """Return the zeros on each side for padding="same"."""
    if all(stride == 1 for stride in layer.strides):
        return "same"
    taps = zip(sizes, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True)
    totals = [max((-(-n // stride) - 1) * stride + (k - 1) * d + 1 - n, 0) for n, k, stride, d in taps]
    if any(total % 2 for total in totals):
        raise _NotInNirError(
            f"padding='same' with strides {layer.strides} adds more zeros after than before; use ZeroPadding and "
            "padding='valid'"
        )
    return tuple(int(total) // 2 for total in totals)
