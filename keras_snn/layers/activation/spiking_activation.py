"""SpikingActivation: an activation function whose values are firing rates of spikes."""

from typing import Any, ClassVar

import keras
from keras import ops

from keras_snn import checks, probe
from keras_snn.hints import Shape, Tensor
from keras_snn.layers.base import SpikingCell, SpikingLayer
from keras_snn.layers.base.time_step import HasTimeStep
from keras_snn.ops.precision import voltage_dtype
from keras_snn.ops.random import uniform_by_index
from keras_snn.ops.spiking import integrate_and_fire


class _Rates(HasTimeStep):
    """Mixin of ``SpikingActivation`` and its cell: arguments that can be changed after building."""

    changeable: ClassVar[tuple[str, ...]] = ("dt", "activation", "spiking_aware_training")

    def __setattr__(self, name, value):
        super().__setattr__(name, keras.activations.get(value) if name == "activation" else value)


@keras.saving.register_keras_serializable(package="keras_snn")
class SpikingActivationCell(_Rates, SpikingCell):
    """One time step of ``SpikingActivation``.

    Args:
        size: Integer or tuple, shape of one step without the batch axis.
        activation: Name or callable of the activation function.
        dt: As in ``SpikingActivation``.
        seed: As in ``SpikingActivation``.
        spiking_aware_training: As in ``SpikingActivation``.
        **kwargs: Arguments of ``keras.layers.Layer``, such as ``name`` and ``dtype``.

    Call arguments as in ``SpikingCell``. The state is one tensor ``(batch, ...)``: the voltage.

    Example:

    ```python
    layer = keras_snn.layers.RNN(keras_snn.layers.SpikingActivationCell(4, "relu", dt=0.01))
    layer(keras.ops.ones((2, 10, 4))).shape  # (2, 10, 4)
    ```
    """

    def __init__(
        self,
        size: Any,
        activation: Any,
        *,
        dt: Any = None,
        seed: int | None = None,
        spiking_aware_training: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(size, dt=dt, **kwargs)
        self.activation = activation
        self.seed = checks.seed(seed)
        # Named, so that names in PyTorch's `state_dict` do not depend on objects made earlier.
        self.seed_generator = keras.random.SeedGenerator(name="seed_generator") if seed is None else None
        self.spiking_aware_training = spiking_aware_training

    def call_sequence(
        self, inputs: Tensor, states: list[Tensor], training: bool | None, mask: Tensor = None
    ) -> tuple[Tensor, list[Tensor]]:
        rates = self.activation(inputs)
        if training and not self.spiking_aware_training:
            return rates, states
        spikes, voltage = integrate_and_fire(rates, states[0], self.dt, mask=mask)
        # Without `stop_gradient`, TensorFlow requires a gradient when `keras.layers.RNN` runs the cell in its loop.
        return spikes, [ops.stop_gradient(voltage)]

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "spiking_aware_training":
            self.always_use_inference = value

    def call_training(self, inputs: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        return self._one_step(inputs, states, training=True)

    def get_initial_state(self, inputs=None, batch_size=None, dtype=None):
        if batch_size is None:
            batch_size = ops.shape(inputs)[0]
        (units,) = self.state_shapes
        dtype = dtype or voltage_dtype(self.compute_dtype)
        # Not keras.random: under XLA on a CPU it takes longer than the spikes, and with a fixed seed its numbers differ
        # from those without XLA.
        index, seed = probe.draw(self.seed, self.seed_generator, batch_size)
        return [ops.cast(uniform_by_index(index, units, seed), dtype)]

    def get_config(self):
        config = super().get_config()
        del config["state_size"], config["always_use_inference"]
        return {
            **config,
            "activation": keras.activations.serialize(self.activation),
            "seed": self.seed,
            "spiking_aware_training": self.spiking_aware_training,
        }


@keras.saving.register_keras_serializable(package="keras_snn")
class SpikingActivation(_Rates, SpikingLayer):
    """Convert the values of any activation function to spikes.

    Each unit integrates the value of the activation function f, a firing rate in Hz::

        v_t = v_{t-1} + f(x_t) dt
        n_t = floor(v_t)
        output_t = n_t / dt
        v_t <- v_t - n_t

    with v_0 drawn from U[0, 1) for each unit and sample. The mean of the outputs over T steps is f(x), with an error of
    at most 1 / (T dt). Rates above 1 / dt give several spikes per step, and negative rates give negative spikes. The
    outputs are float32 under half-precision policies, in which a spike of 1 / dt can overflow or be rounded.

    In training and in inference, the gradient is f'(x_t) times the upstream gradient of the same step. No gradient
    flows through the voltage or through time, so the backward pass needs no loop over time.

    Activity regularizers: an ``activity_regularizer`` of this layer receives the spikes of each step, 0 or 1 / dt Hz.
    No step can reach a target between these values, and training is noisy. To penalize firing rates averaged over time,
    give the regularizer ``time_axis=1``, as in ``keras_snn.regularizers.L2(1e-4, target=(10, 20), time_axis=1)``, or
    put it on ``TemporalAveragePooling``. This trains better.

    A value that is not finite makes the voltage of its unit and sample NaN from that step on. ``keras_snn.inspect``
    reports the layer in which this happens.

    Args:
        activation: Name or callable of the activation function, for example "relu". Its values are rates in Hz.
        dt: Number in seconds, or a scalar variable that layers share; see ``SpikingLayer``. Default:
            ``keras_snn.default.dt``, 0.001.
        seed: Integer, or None. An integer fixes the initial voltages for each place in the global batch; they are equal
            on all backends and for any batch size. None draws new voltages in each call: the outputs of two calls, or
            of a model and its saved copy, then differ by up to one spike per unit. Default None.
        spiking_aware_training: Boolean. True: spikes in the forward pass of training too. False: in training the
            outputs are f(x), and the state is not changed. Default True.
        **kwargs: ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ``unroll=False``,
            ``time_major=False``, ``go_backwards=False``, ``stands_for=None``, as in ``SpikingLayer``; and those of any
            Keras layer.

    Call arguments:
        inputs: Tensor ``(batch, time, ...)``.
        mask: As in ``SpikingLayer``.
        training: Boolean.
        initial_state: Tensor ``(batch, ...)``, the voltages v_0.

    Input shape: ``(batch, time, ...)``. Output shape: the same, or ``(batch, ...)`` with ``return_sequences=False``;
    ``return_state=True`` adds one state ``(batch, ...)``.

    Raises:
        ValueError: For a missing or empty time axis, ``dt`` <= 0, an unknown activation name, a ``seed`` that is not an
            integer, or ``stateful=True`` without a static batch size.

    Example:

    ```python
    model = keras.Sequential([
        keras.layers.Dense(128),
        keras_snn.layers.Repeat(10),
        keras_snn.layers.SpikingActivation("relu", dt=0.01),
        keras_snn.layers.TemporalAveragePooling(),
        keras.layers.Dense(10),
    ])
    ```

    References: equations and interface are those of the KerasSpiking library. The gradient is the straight-through
    estimator of Bengio, Leonard and Courville 2013, arXiv:1308.3432.
    """

    def __init__(
        self,
        activation: Any,
        *,
        dt: Any = None,
        seed: int | None = None,
        spiking_aware_training: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(dt=dt, **kwargs)
        self.activation = activation
        self.seed = checks.seed(seed)
        self.spiking_aware_training = spiking_aware_training

    def build_cell(self, input_shape: Shape) -> SpikingActivationCell:
        return SpikingActivationCell(
            input_shape[2:],
            self.activation,
            dt=self._dt,
            seed=self.seed,
            spiking_aware_training=self.spiking_aware_training,
            dtype=self.dtype_policy,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "seed": self.seed,
            "spiking_aware_training": self.spiking_aware_training,
        }
