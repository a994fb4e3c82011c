"""Read a graph of the Neuromorphic Intermediate Representation (NIR) as a Keras model."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_snn import checks
from keras_snn.export.nir_layout import import_nir, order_of, to_keras_order
from keras_snn.layers import IF, LIF, Delay, LeakyIntegrator, RecurrentLIF, Synaptic, TimeFold


def from_nir(
    source: Any,
    *,
    dt: float | None = None,
    n_steps: int | None = None,
    reset: str = "zero",
    reset_delay: bool = False,
    surrogate: Any = "atan",
    name: str | None = None,
) -> keras.Model:
    """Return the Keras model of a NIR graph.

    Differential equations are solved by Euler's method with the step ``dt``, as in snnTorch and Norse. A spike is
    emitted where the membrane is above the threshold, strictly. Recurrent connections take one step.

    Inputs and outputs are ``(batch, time, ...)`` with the channels in the last axis. Weights after ``Flatten`` are
    permuted accordingly.

    Args:
        source: ``nir.NIRGraph``, or the path of a file.
        dt: Number in seconds, the duration of a time step. Default: the dt of a graph that ``to_nir`` wrote. Graphs of
            snnTorch need 1e-4. Norse 1.1 writes time constants multiplied by its dt of 1e-3: its graphs need 1e-6.
        n_steps: Integer, number of time steps. Default: any.
        reset: "zero" for NIR's reset to v_reset, or "subtract" for a graph of neurons that subtract the threshold,
            which NIR does not record. Default "zero".
        reset_delay: Boolean, as in ``LIF``. snnTorch trains with ``reset="subtract", reset_delay=True``, unless its
            layers have other arguments. Default False.
        surrogate: Surrogate gradient of the neurons, as in ``SpikingNeuron``. Default "atan".
        name: Name of the model.

    Returns:
        A functional Keras model.

    Raises:
        ValueError: If the time step is unknown, a node cannot be expressed, or the graph is broken. The message lists
            all such nodes.
        ImportError: If the package nir is missing.

    Example:

    ```python
    trained = keras.Sequential([keras.Input((None, 20)), keras.layers.Dense(10), keras_snn.LIF(tau=20.0)])
    graph = keras_snn.export.to_nir(trained)
    keras_snn.export.from_nir(graph).output_shape  # (None, None, 10)
    ```

    References: Pedersen et al. 2024, Nature Communications 15, 8122, doi:10.1038/s41467-024-52259-9.
    """
    nir = import_nir()
    graph = source if isinstance(source, nir.NIRNode) else nir.read(os.fspath(source))
    if not isinstance(graph, nir.NIRGraph):
        raise ValueError(f"`source` must be a nir.NIRGraph or the path of its file; got a {type(graph).__name__}.")
    dt = graph.metadata.get("dt") if dt is None else dt
    if dt is None:
        raise ValueError(
            "`dt` must be given: the graph does not record its time step. Graphs of snnTorch need dt=1e-4, those that "
            "Norse 1.1 writes dt=1e-6."
        )
    dt = checks.number("dt", float(dt), above=0)
    n_steps = checks.integer("n_steps", n_steps, least=1, optional=True)
    checks.choice("reset", reset, ("zero", "subtract"))
    return _Reader(nir, dt, {"reset": reset, "reset_delay": reset_delay, "surrogate": surrogate}).model(
        graph, n_steps, name
    )


@dataclass
class _Signal:
    """A Keras tensor ``(batch, time, ...)`` and the ``order`` of its units, as in ``nir_layout``."""

    tensor: Any
    order: np.ndarray

    @property
    def shape(self):
        return tuple(self.tensor.shape[2:])


class _NotInKerasError(Exception):
    """The reason why a node cannot be expressed."""


class _Reader:
    """Makes the layers of a graph."""

    def __init__(self, nir: Any, dt: float, options: dict[str, Any]) -> None:
        self.nir, self.dt, self.options = nir, dt, options
        self.makers: dict[type, Callable] = {
            nir.Linear: self.linear,
            nir.Affine: self.linear,
            nir.Conv1d: self.convolution,
            nir.Conv2d: self.convolution,
            nir.AvgPool2d: self.pooling,
            nir.SumPool2d: self.pooling,
            nir.Flatten: self.flatten,
            nir.Scale: self.scale,
            nir.Delay: self.delay,
            nir.IF: self.integrate_and_fire,
            nir.LIF: self.leaky,
            nir.LI: self.leaky,
            nir.CubaLIF: self.synaptic,
        }

    def model(self, graph: Any, n_steps: int | None, name: str | None) -> keras.Model:
        """Return the Keras model."""
        nodes, edges = self._flat(graph)
        recurrent = self._recurrent(nodes, edges)
        sources = {key: [a for a, b in edges if b == key] for key in nodes}
        signals: dict[str, Any] = {}  # None behind a node that cannot be expressed
        inputs, outputs, problems, waiting = [], [], [], dict(nodes)
        while ready := [key for key in waiting if all(source in signals for source in sources[key])]:
            for key in ready:
                node, arriving = waiting.pop(key), [signals[source] for source in sources[key]]
                try:
                    if isinstance(node, self.nir.Input) and not arriving:
                        signals[key] = self._input(key, node, n_steps)
                        inputs.append(signals[key].tensor)
                        continue
                    signals[key] = self._signal(key, node, arriving, recurrent.get(key))
                except _NotInKerasError as error:
                    problems.append(f"{key!r} ({type(node).__name__}): {error}")
                    signals[key] = None
                if key in graph.outputs and signals[key] is not None:
                    outputs.append(signals[key].tensor)
        problems += [
            f"{key!r} ({type(node).__name__}): it is in a loop without neurons of one kind"
            for key, node in waiting.items()
        ]
        if not problems and not (inputs and outputs):
            problems.append("the graph needs an Input and an Output that are connected")
        if problems:
            lines = "\n  - ".join(problems)
            raise ValueError(f"The graph cannot be expressed in Keras. Nothing was built.\n  - {lines}")
        return keras.Model(_single(inputs), _single(outputs), name=name)

    def _flat(self, graph, prefix=""):
        """Return the nodes and edges of a graph, with those of its sub-graphs."""
        nodes, edges = {}, []
        starts, ends = {}, {}  # of each node, the nodes that its edges connect
        for key, node in graph.nodes.items():
            if isinstance(node, self.nir.NIRGraph):
                inner_nodes, inner_edges = self._flat(node, f"{prefix}{key}.")
                nodes.update(inner_nodes)
                edges += inner_edges
                of_type = {
                    cls: [f"{prefix}{key}.{k}" for k, n in node.nodes.items() if isinstance(n, cls)]
                    for cls in (self.nir.Input, self.nir.Output)
                }
                starts[key], ends[key] = of_type[self.nir.Output], of_type[self.nir.Input]
            else:
                nodes[prefix + key] = node
                starts[key] = ends[key] = [prefix + key]
        for a, b in graph.edges:
            edges += [(start, end) for start in starts[a] for end in ends[b]]
        return nodes, list(dict.fromkeys(edges))

    def _recurrent(self, nodes, edges):
        """Remove the recurrent connections from a graph; return a dict from the name of each LIF to its connection."""
        found = {}
        for key, node in list(nodes.items()):
            entering, leaving = [a for a, b in edges if b == key], [b for a, b in edges if a == key]
            if isinstance(node, (self.nir.Linear, self.nir.Affine)) and entering == leaving != []:
                (neuron,) = entering
                if isinstance(nodes[neuron], self.nir.LIF):
                    found[neuron] = nodes.pop(key)
                    edges[:] = [edge for edge in edges if key not in edge]
        return found

    def _input(self, key, node, n_steps):
        shape = tuple(map(int, node.input_type["input"]))
        shape = (*shape[1:], shape[0]) if len(shape) > 1 else shape
        if not shape:
            raise _NotInKerasError("its shape is unknown; set `input_type`")
        return _Signal(keras.Input((n_steps, *shape), name=_layer_name(key)), order_of(shape))

    def _signal(self, key, node, arriving, recurrent):
        """Return the signal of a node's output. None: a node before it cannot be expressed."""
        if type(node) not in self.makers and not isinstance(node, (self.nir.Input, self.nir.Output)):
            raise _NotInKerasError("Keras has no such layer")
        if not arriving:
            raise _NotInKerasError("no edge leads to it")
        if None in arriving:
            return None
        signal = arriving[0]
        if len(arriving) > 1:
            if any(not np.array_equal(other.order, signal.order) for other in arriving):
                raise _NotInKerasError(f"signals of different shapes arrive: {[s.order.shape for s in arriving]}")
            signal = _Signal(layers.Add()([other.tensor for other in arriving]), signal.order)
        if isinstance(node, (self.nir.Input, self.nir.Output)):
            return signal
        options = {} if recurrent is None else {"recurrent": recurrent}
        return self.makers[type(node)](node, signal, _layer_name(key), **options)

    # Each of the following methods returns the signal of a node's output.

    def linear(self, node: Any, signal: _Signal, name: str) -> _Signal:
        """``Linear`` and ``Affine``."""
        weight = np.asarray(node.weight, "float32")
        if weight.shape[1:] != signal.order.shape:
            raise _NotInKerasError(f"its weight has the shape {weight.shape}, its input {signal.order.shape}")
        kernel = np.empty(weight.T.shape, "float32")
        kernel[signal.order] = weight.T
        bias = getattr(node, "bias", None)
        layer = layers.Dense(len(weight), use_bias=bias is not None, name=name)
        tensor = layer(signal.tensor)
        layer.set_weights([kernel] if bias is None else [kernel, np.asarray(bias, "float32")])
        return _Signal(tensor, np.arange(len(weight)))

    def convolution(self, node: Any, signal: _Signal, name: str) -> _Signal:
        """``Conv1d`` and ``Conv2d``."""
        weight = np.asarray(node.weight, "float32")
        rank = weight.ndim - 2
        cls, padding_cls = ((layers.Conv1D, layers.ZeroPadding1D), (layers.Conv2D, layers.ZeroPadding2D))[rank - 1]
        if signal.order.ndim != rank + 1:
            raise _NotInKerasError(f"its input has the shape {signal.order.shape}, not that of {rank}D images")
        strides, dilation = (_tuple(value, rank) for value in (node.stride, node.dilation))
        padding = node.padding.decode() if isinstance(node.padding, bytes) else node.padding
        tensor = signal.tensor
        if isinstance(padding, str) and padding == "same" and max(strides) > 1:
            raise _NotInKerasError("padding='same' with strides is not defined; give the number of zeros")
        if not isinstance(padding, str):
            zeros, padding = _tuple(padding, rank), "valid"
            if any(zeros):
                tensor = TimeFold(padding_cls(zeros if rank > 1 else zeros[0]))(tensor)
        options = {"padding": padding, "dilation_rate": dilation, "groups": int(node.groups)}
        layer = cls(len(weight), weight.shape[2:], strides, name=f"{name}_kernel", **options)
        tensor = TimeFold(layer, name=name)(tensor)
        bias = np.zeros(len(weight)) if node.bias is None else node.bias
        layer.set_weights([np.moveaxis(weight, (0, 1), (-1, -2)), np.asarray(bias, "float32")])
        return _Signal(tensor, order_of(tuple(tensor.shape[2:])))

    def pooling(self, node: Any, signal: _Signal, name: str) -> _Signal:
        """``AvgPool2d`` and ``SumPool2d``. Zeros at the border are part of an average."""
        size, strides, zeros = (_tuple(value, 2) for value in (node.kernel_size, node.stride, node.padding))
        tensor = signal.tensor
        if any(zeros):
            tensor = TimeFold(layers.ZeroPadding2D(zeros))(tensor)
        tensor = TimeFold(layers.AveragePooling2D(size, strides), name=name)(tensor)
        if isinstance(node, self.nir.SumPool2d):
            tensor = layers.Rescaling(float(math.prod(size)))(tensor)
        return _Signal(tensor, order_of(tuple(tensor.shape[2:])))

    def flatten(self, node: Any, signal: _Signal, name: str) -> _Signal:
        """``Flatten`` of all axes."""
        n_axes = signal.order.ndim
        if int(node.start_dim) % n_axes or int(node.end_dim) % n_axes != n_axes - 1:
            raise _NotInKerasError(
                f"it flattens only the axes {node.start_dim} to {node.end_dim} of {signal.order.shape}; flatten all: "
                "start_dim=0, end_dim=-1"
            )
        return _Signal(TimeFold(layers.Flatten(), name=name)(signal.tensor), signal.order.reshape(-1))

    def scale(self, node: Any, signal: _Signal, name: str) -> _Signal:
        """``Scale``."""
        return self._scaled(signal, self._values(node.scale, signal), name)

    def delay(self, node: Any, signal: _Signal, name: str) -> _Signal:
        """``Delay`` by numbers of steps."""
        steps = self._values(node.delay, signal) / self.dt
        layer = Delay(max(1, math.ceil(steps.max() - 1e-6)), per="unit", name=name)
        tensor = layer(signal.tensor)
        layer.delay.assign(steps)
        return _Signal(tensor, signal.order)

    def integrate_and_fire(self, node: Any, signal: _Signal, name: str) -> _Signal:
        """``IF``."""
        signal = self._scaled(signal, self._values(node.r, signal) * self.dt)
        return self._neuron(IF, signal, name, {}, **self._firing(node, signal, None))

    def leaky(self, node: Any, signal: _Signal, name: str, *, recurrent: Any = None) -> _Signal:
        """``LIF`` and ``LI``; ``recurrent`` is the node of the recurrent connections."""
        tau, r = self._steps(node.tau, signal, "tau"), self._values(node.r, signal)
        divides = np.allclose(r, 1, rtol=1e-6)
        factor = np.ones_like(r) if divides else r / tau
        signal = self._scaled(signal, factor, offset=self._recurrent_bias(recurrent, signal) * factor)
        options: dict[str, Any] = {"decay_input": bool(divides)}
        if isinstance(node, self.nir.LI):
            v_leak = _number(self._values(node.v_leak, signal), "v_leak")
            return self._neuron(LeakyIntegrator, signal, name, {"tau": tau}, v_reset=v_leak, **options)
        options |= self._firing(node, signal, node.v_leak)
        if recurrent is None:
            return self._neuron(LIF, signal, name, {"tau": tau}, **options)
        if signal.order.ndim > 1:
            raise _NotInKerasError("recurrent connections need a flat input; put Flatten before it")
        weight = np.asarray(recurrent.weight, "float32")
        kernel = np.empty_like(weight)
        kernel[np.ix_(signal.order, signal.order)] = weight.T
        weights = {"recurrent_kernel": kernel * factor}
        return self._neuron(RecurrentLIF, signal, name, {"tau": tau}, weights=weights, **options)

    def _recurrent_bias(self, recurrent, signal):
        return np.float64(0) if getattr(recurrent, "bias", None) is None else self._values(recurrent.bias, signal)

    def synaptic(self, node: Any, signal: _Signal, name: str) -> _Signal:
        """``CubaLIF``. ``w_in`` and ``r`` scale the inputs."""
        tau, tau_synapse = self._steps(node.tau_mem, signal, "tau_mem"), self._steps(node.tau_syn, signal, "tau_syn")
        factor = self._values(node.w_in, signal) / tau_synapse * self._values(node.r, signal) / tau
        options = self._firing(node, signal, node.v_leak)
        return self._neuron(
            Synaptic, self._scaled(signal, factor), name, {"tau": tau, "tau_synapse": tau_synapse}, **options
        )

    def _values(self, values, signal):
        """Return a parameter in Keras's order, float64."""
        values = np.asarray(values, "float64")
        if values.size != 1 and values.shape != signal.order.shape:
            raise _NotInKerasError(f"a parameter has the shape {values.shape}, its input {signal.order.shape}")
        return to_keras_order(values, signal.shape, signal.order)

    def _steps(self, values, signal, name):
        """Return a time constant in steps."""
        steps = self._values(values, signal) / self.dt
        if steps.min() < 1 - 1e-6:
            raise _NotInKerasError(f"{name} = {steps.min() * self.dt:g} s is shorter than a step of {self.dt:g} s")
        return np.maximum(steps, 1)

    def _scaled(self, signal, factor, name=None, offset=0.0):
        """Return a signal multiplied by a factor for each unit, plus an offset."""
        if np.allclose(factor, 1, rtol=1e-6) and np.all(np.equal(offset, 0)):
            return signal
        arguments = [float(a.flat[0]) if np.ptp(a) == 0 else a.tolist() for a in map(np.asarray, (factor, offset))]
        return _Signal(layers.Rescaling(*arguments, name=name)(signal.tensor), signal.order)

    def _firing(self, node, signal, v_leak):
        """Return threshold and reset of a neuron as arguments. ``v_leak`` None: the neuron has no leak."""
        v_reset = _number(self._values(node.v_reset, signal), "v_reset")
        if v_leak is not None and not np.allclose(v_leak, v_reset):
            raise _NotInKerasError(f"v_leak must equal v_reset, {v_reset:g}; shift the membrane")
        return {"threshold": self._values(node.v_threshold, signal), "v_reset": v_reset, **self.options}

    def _neuron(self, cls, signal, name, parameters, *, threshold=None, weights=(), **options):
        """Return the spikes of a neuron. Parameters that differ between units, and ``weights``, are set as weights."""
        if threshold is not None:
            parameters = {**parameters, "threshold": threshold}
        arrays = {key: values for key, values in parameters.items() if np.ptp(values)}
        numbers = {key: float(values.flat[0]) for key, values in parameters.items()}
        initializers = {key: keras.initializers.Constant(numbers[key]) for key in arrays}
        per = "unit" if arrays else "layer"
        layer = cls(**{**numbers, **initializers}, **options, per=per, dt=self.dt, name=name)
        tensor = layer(signal.tensor)
        for key, values in {**arrays, **dict(weights)}.items():
            getattr(layer, key).assign(values)
        return _Signal(tensor, signal.order)


def _layer_name(key):
    return key.replace("/", "_").replace(".", "_")  # PyTorch allows no dots


def _tuple(value, rank):
    """Return an integer, or an array of one or ``rank`` integers, as a tuple."""
    return tuple(int(n) for n in np.broadcast_to(np.asarray(value).reshape(-1), (rank,)))


def _number(values, name):
    if np.ptp(values):
        raise _NotInKerasError(f"{name} differs between units: {values.min():g} to {values.max():g}")
    return float(values.flat[0])


def _single(tensors):
    return tensors[0] if len(tensors) == 1 else tensors
