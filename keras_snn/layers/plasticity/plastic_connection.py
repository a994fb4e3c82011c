"""PlasticConnection: a connection and its neurons. Its forward pass in training changes the weights."""

import inspect
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_snn import checks, learning_rules
from keras_snn.hints import Shape
from keras_snn.layers.base import SpikingNeuron
from keras_snn.layers.base.arguments import Arguments
from keras_snn.layers.time.time_fold import check_mask, check_time_axis
from keras_snn.ops import masks, plasticity
from keras_snn.ops.backend import gradient, is_known
from keras_snn.ops.delay import delayed_by_steps
from keras_snn.ops.precision import voltage_dtype
from keras_snn.ops.scan import scan


def silence_message(name: str, n: int) -> str:
    """Return the warning that no neuron of a layer fired in ``n`` training batches."""
    batches = "batch" if n == 1 else "batches"
    return (
        f"No neuron of {name!r} fired in {n} training {batches}. A batch without spikes changes "
        "no weight: nothing is learned from it. Use larger initial weights or `total_weight`, a lower threshold, or "
        "higher rates of the inputs."
    )


@keras.saving.register_keras_serializable(package="keras_snn")
class PlasticConnection(Arguments, keras.layers.Layer):
    """A connection whose weights change by a local learning rule when it is called with ``training=True``.

    The layer computes ``spikes = neurons(between(connection(x)))`` over time. With ``training=True`` it then changes
    ``connection.kernel`` by the rule: a sum over the steps of terms ``x_i y_j`` of presynaptic and postsynaptic values,
    averaged over the batch. No gradient trains the kernel. Gradients pass through the layer to layers before it, by the
    surrogate of the neurons: such layers, and layers after it, can be trained by ``fit`` in the same model.

    The kernel is constant within a call and changes at its end, by the changes of all steps: the traces do not depend
    on the kernel, and all steps take one product. The kernel is clipped at the end.

    For shared kernels (convolutions), the sum is also over all places of the kernel. ``between`` passes values of the
    neurons back to the outputs of the connection by its derivative in inference mode: max pooling to the winner,
    average pooling in equal parts, normalization multiplied by its gain.

    Traces and states start anew in each call, for each sample.

    Args:
        connection: ``Dense``, ``Conv1D``, ``Conv2D`` or another layer that is linear in its ``kernel (..., neurons)``.
            Without an activation; the last axis of its outputs is the neurons or channels. Initial weights must be
            large enough that neurons fire, and positive if ``w_min`` of the rule is 0.
        neurons: A ``SpikingNeuron`` that returns sequences, such as ``LIF`` or ``ConductanceLIF``.
        between: Layers without a time axis between them, such as pooling or normalization. Default ().
        rule: A name or an instance of ``keras_snn.learning_rules``: "hebb", "oja", "stdp", "triplet" or "reward".
            Default "stdp".
        total_weight: Number > 0, or None. After each change, the weights of each neuron (column of the kernel) are
            scaled to this sum (synaptic scaling). Default None.
        delays: Integer >= 0, or a nested sequence of them that broadcasts to a step of the inputs: the number of steps
            by which an input arrives later. Default 0.
        threshold_increment: Number >= 0. Each spike raises its neuron's threshold by this number, for later calls
            (averaged over the batch). Requires a threshold from an initializer:
            ``LIF(threshold=keras.initializers.Constant(1.0), per="unit")``. Default 0.
        tau_threshold: Number > 0, steps, in which the raised part of the thresholds decays. Default infinity.
        **kwargs: Arguments of ``keras.layers.Layer``.

    Call arguments:
        inputs: Tensor ``(batch, time, ...)``.
        reward: For ``rule="reward"`` with ``training=True``: a tensor ``(batch,)`` or ``(batch, 1)``, the reward at the
            end of each sample, or ``(batch, time)``, the reward at each step.
        training: Boolean. The weights change with True only.
        mask: Bool tensor ``(batch, time)``. At False, inputs are zero, states and traces are held, and nothing changes.

    Input shape: ``(batch, time, ...)``. Output shape: ``(batch, time, ...)``, the spikes of the neurons.

    Raises:
        TypeError: If ``connection``, ``neurons`` or ``rule`` is of another type.
        ValueError: For a connection with an activation or without a kernel, neurons with other outputs, a missing
            or superfluous reward, or a number out of range.

    A call that knows its values warns if no neuron fired in training. In compiled training,
    ``keras_snn.callbacks.SilenceWarning`` does. Under a half-precision policy, give ``connection`` the dtype "float32".

    Example:

    ```python
    layer = keras_snn.layers.PlasticConnection(
        keras.layers.Dense(4, use_bias=False, kernel_initializer=keras.initializers.RandomUniform(0.3, 0.6, seed=0)),
        keras_snn.layers.LIF(tau=10.0, threshold=0.2),
        rule=keras_snn.learning_rules.STDP(presynaptic=-0.005, postsynaptic=0.01),
        total_weight=5.0,
    )
    spikes = layer(np.random.default_rng(0).integers(0, 2, (8, 50, 10)).astype("float32"), training=True)
    tuple(spikes.shape)  # (8, 50, 4)
    ```

    References: those of the rules. Kheradpisheh et al. 2018, Neural Networks 99, arXiv:1611.01421 (convolutional STDP;
    there only the first neuron of a map that fires learns).
    """

    def __init__(
        self,
        connection: Any,
        neurons: Any,
        *,
        between: Sequence[Any] = (),
        rule: Any = "stdp",
        total_weight: float | None = None,
        delays: Any = 0,
        threshold_increment: float = 0.0,
        tau_threshold: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.connection = _checked_connection(connection)
        self.neurons = _checked_neurons(neurons)
        self.between = list(between)
        self.rule = learning_rules.get(rule)
        self.total_weight = None if total_weight is None else checks.number("total_weight", total_weight, above=0)
        self.delays = _checked_delays(delays)
        self.threshold_increment = checks.number("threshold_increment", threshold_increment, least=0)
        self.tau_threshold = None if tau_threshold is None else checks.number("tau_threshold", tau_threshold, above=0)
        self.supports_masking = True

    @property
    def trainable(self) -> bool:
        """Whether the weights change in training. The kernel is in no case a weight that gradients train."""
        return super().trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.layers.Layer.trainable.fset(self, value)
        if self.built:  # Keras has passed the value on to the connection.
            self.connection.kernel.trainable = False

    def build(self, input_shape):
        check_time_axis(self, input_shape)
        if len(input_shape) == 2:
            raise ValueError(
                f"PlasticConnection {self.name!r} takes inputs of shape (batch, time, ...) with an axis for the inputs "
                f"of each step, got {tuple(input_shape)}. Add one at the end."
            )
        shape = (None, *input_shape[2:])
        for layer in (self.connection, *self.between):
            if not layer.built:
                layer.build(shape)
            shape = layer.compute_output_shape(shape)
        if not isinstance(getattr(self.connection, "kernel", None), keras.Variable):
            raise ValueError(f"`connection` must have a weight `kernel`, got {self.connection!r}.")
        self.connection.kernel.trainable = False
        if not self.neurons.built:
            self.neurons.build((*input_shape[:2], *shape[1:]))
        if self.threshold_increment:
            if not isinstance(self.neurons.threshold, keras.Variable) or "threshold" in self.neurons.learn:
                raise ValueError(
                    "`threshold_increment` requires neurons with a threshold from an initializer that is not in "
                    "`learn`: threshold=keras.initializers.Constant(1.0), per='unit'."
                )
            threshold = self.neurons.threshold
            options = {"dtype": threshold.dtype, "initializer": "zeros", "trainable": False, "autocast": False}
            self.theta = self.add_weight(name="theta", shape=threshold.shape, **options)
        self.silent_batches = self.add_weight(
            name="silent_batches", shape=(), dtype="int32", initializer="zeros", trainable=False
        )

    def call(self, inputs, reward=None, training=None, mask=None):
        check_time_axis(self, inputs.shape)
        mask = check_mask(self, mask, inputs.shape)
        learns = training is True and self.trainable
        x = ops.cast(inputs, voltage_dtype(self.compute_dtype))
        x = x if mask is None else masks.only_counted(x, mask)
        if self.delays != 0:
            delays = np.asarray(self.delays, "int32")
            x = delayed_by_steps(x, ops.convert_to_tensor(delays), int(delays.max()))
        # A copy: PyTorch needs the weights before their change for the gradient of the inputs.
        kernel = ops.copy(ops.stop_gradient(ops.convert_to_tensor(self.connection.kernel)))
        steps = ops.shape(x)[:2]
        currents = self._connect(_fold(x), kernel)
        spikes = self.neurons(_unfold(self._between(currents, training), steps), training=training, mask=mask)
        if learns:
            self._learn(x, ops.stop_gradient(currents), ops.stop_gradient(spikes), kernel, reward, mask)
        return spikes

    def _connect(self, x, kernel):
        """Return ``connection(x)`` with the given kernel."""
        variables = [(v, kernel if v is self.connection.kernel else v.value) for v in self.connection.variables]
        with keras.StatelessScope(state_mapping=variables):
            return self.connection(x)

    def _between(self, x, training):
        for layer in self.between:
            has_mode = "training" in inspect.signature(layer.call).parameters
            x = layer(x, training=training) if has_mode else layer(x)
        return x

    def _learn(self, x, currents, spikes, kernel, reward, mask):
        """Change the kernel and the thresholds by the spikes at both ends."""
        x, spikes = ops.stop_gradient(x), ops.cast(spikes, x.dtype)
        ends = {"pre": x, "post": spikes}
        traces = tuple(ops.zeros_like(ends[side][:, 0]) for side in self.rule.trace_sides)
        terms, _ = scan(self.rule, traces, (x, spikes), gradient=False, mask=mask)
        if mask is not None:
            terms = [(masks.only_counted(a, mask), masks.only_counted(b, mask)) for a, b in terms]
        factor = self._reward_to_come(x, reward, mask)
        if factor is not None:
            terms = [(a, b * masks.along(factor, b)) for a, b in terms]
        n = ops.maximum(ops.cast(ops.shape(x)[0], x.dtype), 1)

        def route(y):
            return self._back(_fold(y), currents)

        def correlate(a, b):
            upstream = route(b)
            return self._product(_fold(a), upstream, kernel) / n

        def power(y):
            y = route(y)
            return ops.sum(ops.square(y), axis=tuple(range(len(y.shape) - 1))) / n

        new = self.rule.clip(kernel + ops.cast(self.rule.change(terms, correlate, power, kernel), kernel.dtype))
        self.connection.kernel.assign(
            new if self.total_weight is None else plasticity.scaled_to_sum(new, self.total_weight)
        )
        if self.threshold_increment:
            self._adapt_thresholds(spikes, n)
        self._count_silence(spikes)

    def _back(self, y, currents):
        """Pass values of the neurons back to the outputs of the connection."""
        if not self.between:
            return y
        return gradient(lambda z: (_dot(self._between(z, False), y), ()), currents, [])[0]

    def _product(self, x, upstream, kernel):
        """Return the sum of ``x_i y_j`` over samples, steps and places, in the shape of the kernel."""
        return gradient(lambda w: (_dot(self._connect(x, w), upstream), ()), kernel, [])[0]

    def _reward_to_come(self, x, reward, mask):
        rule: Any = self.rule
        is_rewarded = isinstance(rule, learning_rules.RewardSTDP)
        if is_rewarded != (reward is not None):
            raise ValueError(
                f"`reward` must be given to {self.name!r} for training if, and only if, its rule is a RewardSTDP. Its "
                f"rule is {self.rule!r}; got reward {'None' if reward is None else 'of shape ' + str(reward.shape)}."
            )
        if not is_rewarded:
            return None
        reward = ops.cast(reward, x.dtype)
        zeros = ops.zeros_like(ops.reshape(x, (*ops.shape(x)[:2], -1))[:, :, 0])
        if len(reward.shape) == 2 and reward.shape[1] != 1:
            return rule.reward_to_come(reward, zeros[:, 0], mask)
        return rule.reward_to_come(zeros, ops.reshape(reward, (-1,)), mask)

    def _adapt_thresholds(self, spikes, n):
        counts = ops.sum(spikes, axis=(0, 1)) / n
        axes = tuple(range(len(counts.shape) - len(self.theta.shape)))
        counts = ops.mean(counts, axis=axes) if axes else counts
        n_steps = ops.cast(ops.shape(spikes)[1], counts.dtype)
        decay = 1.0 if self.tau_threshold is None else ops.exp(-n_steps / self.tau_threshold)
        before = ops.convert_to_tensor(self.theta)
        theta = plasticity.adapted_threshold(before, counts, self.threshold_increment, decay)
        self.neurons.threshold.assign(ops.convert_to_tensor(self.neurons.threshold) + (theta - before))
        self.theta.assign(theta)

    def _count_silence(self, spikes):
        is_silent = ops.logical_not(ops.any(spikes > 0))
        self.silent_batches.assign(self.silent_batches + ops.cast(is_silent, "int32"))
        if is_known(is_silent) and bool(is_silent):
            warnings.warn(silence_message(self.name, 1), stacklevel=4)

    def reset_states(self) -> None:
        """Reset neurons with ``stateful=True``."""
        if self.neurons.stateful:
            self.neurons.reset_states()

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_time_axis(self, input_shape)
        shape = (None, *input_shape[2:])
        for layer in (self.connection, *self.between):
            shape = layer.compute_output_shape(shape)
        return (*input_shape[:2], *shape[1:])

    def compute_output_spec(self, inputs, reward=None, training=None, mask=None):
        check_mask(self, mask, inputs.shape)
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), self.neurons.output_dtype)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "connection": serialize(self.connection),
            "neurons": serialize(self.neurons),
            "between": [serialize(layer) for layer in self.between],
            "rule": learning_rules.serialize(self.rule),
            "total_weight": self.total_weight,
            "delays": np.asarray(self.delays).tolist(),
            "threshold_increment": self.threshold_increment,
            "tau_threshold": self.tau_threshold,
        }

    @classmethod
    def from_config(cls, config):
        deserialize = keras.saving.deserialize_keras_object
        parts = {name: deserialize(config[name]) for name in ("connection", "neurons")}
        return cls(**{**config, **parts, "between": [deserialize(layer) for layer in config["between"]]})


def _checked_connection(connection):
    if not isinstance(connection, keras.layers.Layer):
        raise TypeError(f"`connection` must be a Keras layer, got {connection!r}.")
    if getattr(connection, "activation", None) not in (None, keras.activations.linear):
        raise ValueError(f"`connection` must have no activation, got {connection.activation!r}.")
    if getattr(connection, "data_format", "channels_last") != "channels_last":
        raise ValueError(f"`connection` must have data_format='channels_last', got {connection.data_format!r}.")
    return connection


def _checked_neurons(neurons):
    if not isinstance(neurons, SpikingNeuron):
        raise TypeError(f"`neurons` must be a SpikingNeuron such as LIF, got {neurons!r}.")
    if not neurons.return_sequences or neurons.return_state or neurons.time_major or neurons.go_backwards:
        raise ValueError(
            "`neurons` must have return_sequences=True and the defaults return_state=False, time_major=False and "
            "go_backwards=False."
        )
    return neurons


def _checked_delays(delays):
    """Return the delays as an integer or a nested tuple, which Keras does not track."""
    array = np.asarray(delays)
    if not np.issubdtype(array.dtype, np.integer) or array.min(initial=0) < 0:
        raise ValueError(f"`delays` must be integers of at least 0, numbers of steps; got {delays!r}.")
    return _to_tuple(array.tolist())


def _to_tuple(nest):
    return tuple(map(_to_tuple, nest)) if isinstance(nest, list) else nest


def _fold(x):
    shape = ops.shape(x)
    return ops.reshape(x, (shape[0] * shape[1], *shape[2:]))


def _unfold(x, steps):
    return ops.reshape(x, (*steps, *ops.shape(x)[1:]))


def _dot(a, b):
    return ops.sum(ops.cast(a, b.dtype) * b)
