"""SpikingActivation: any activation function, spiking."""

import keras
from keras import ops

from keras_snn import checks, probe
from keras_snn.layers.base import SpikingCell, SpikingLayer
from keras_snn.ops.precision import voltage_dtype
from keras_snn.ops.random import uniform_by_index
from keras_snn.ops.spiking import integrate_and_fire


class _Rates:
    """Mixin of ``SpikingActivation`` and its cell: arguments that can be changed after building."""

    changeable = ("dt", "activation", "spiking_aware_training")

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
    """

    def __init__(self, size, activation, *, dt=None, seed=None, spiking_aware_training=True, **kwargs):
        super().__init__(size, dt=dt, **kwargs)
        self.activation = activation
        self.seed = checks.seed(seed)
        # Named, so that a state_dict on PyTorch does not depend on what was made before.
        self.seed_generator = keras.random.SeedGenerator(name="seed_generator") if seed is None else None
        self.spiking_aware_training = spiking_aware_training

    def call_sequence(self, inputs, states, training, mask=None):
        rates = self.activation(inputs)
        if training and not self.spiking_aware_training:
            return rates, states
        spikes, voltage = integrate_and_fire(rates, states[0], self.dt, mask=mask)
        # Without it, TensorFlow looks for a gradient where `keras.layers.RNN` runs the cell in a loop of its own.
        return spikes, [ops.stop_gradient(voltage)]

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "spiking_aware_training":
            self.always_use_inference = value

    def call_training(self, inputs, states):
        return self._one_step(inputs, states, training=True)

    def get_initial_state(self, inputs=None, batch_size=None, dtype=None):
        if batch_size is None:
            batch_size = ops.shape(inputs)[0]
        (units,) = self.state_shapes
        dtype = dtype or voltage_dtype(self.compute_dtype)
        # Not by keras.random: under XLA on a CPU its numbers take longer than the spikes, and those of a fixed seed
        # differ from the ones without XLA.
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
    """Make the units of any activation function spike.

    The value of the activation function f is taken as a firing rate in Hz, and each unit integrates it::

        v_t = v_{t-1} + f(x_t) dt
        n_t = floor(v_t)
        output_t = n_t / dt
        v_t <- v_t - n_t

    with v_0 drawn from U[0, 1) for every unit and example. The mean of the outputs over time is f(x), to within
    1 / (T dt) after T steps. Rates above 1 / dt give several spikes a step, negative rates negative spikes. The
    outputs are float32 under half-precision policies, in which a spike of 1 / dt can overflow or be rounded.

    In the backward pass, in training and in inference, the gradient is f'(x_t) times the upstream gradient of the same
    step; nothing flows through the voltage or through time, and the pass does no walk over time.

    Activity regularizers: ``activity_regularizer`` on this layer sees every step's spikes, each 0 or 1 / dt Hz. With a
    target between those two no single step can be right, and training is noisy. To penalize firing rates averaged over
    time, which is what targets in Hz mean and what trains better, give the regularizer ``time_axis=1`` (for instance
    ``keras_snn.regularizers.L2(1e-4, target=(10, 20), time_axis=1)``), or put it on ``TemporalAveragePooling``.

    A value that is not finite makes the voltage of its own unit NaN from that step on, in that example alone;
    ``keras_snn.inspect`` names the layer in which that happens.

    Args:
        activation: Name or callable of the activation function, for instance "relu". Its values are rates in Hz.
        dt: Number in seconds, or a scalar variable that layers share; see ``SpikingLayer``. Default 0.001.
        seed: Integer that fixes the initial voltages, the same ones on every backend and for any batch size, for each
            place in the global batch. With None (the default) every call draws new ones: two calls of a model, or a
            model and its saved copy, then differ by up to a spike per unit. Give a seed where outputs must be equal.
        spiking_aware_training: Boolean, spike in the forward pass of training too. False trains with f(x) itself, and
            leaves the state as it was.
        **kwargs: ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ``unroll=False``,
            ``time_major=False``, ``go_backwards=False``, ``stands_for=None``, as in ``SpikingLayer``; and those of any
            Keras layer.

    Call arguments:
        inputs: Tensor ``(batch, time, ...)``.
        mask: As in ``SpikingLayer``.
        training: Boolean.
        initial_state: Tensor ``(batch, ...)``, the voltages v_0.

    Input shape: ``(batch, time, ...)``. Output shape: the same, or ``(batch, ...)`` with ``return_sequences=False``.

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

    References: the rule is that of the KerasSpiking library, whose interface this layer keeps; it is a regular
    spiking neuron with a first-spike phase v_0, and the straight-through estimator (Bengio, Leonard and Courville 2013,
    arXiv:1308.3432) of its rate.
    """

    def __init__(self, activation, *, dt=None, seed=None, spiking_aware_training=True, **kwargs):
        super().__init__(dt=dt, **kwargs)
        self.activation = activation
        self.seed = checks.seed(seed)
        self.spiking_aware_training = spiking_aware_training

    def build_cell(self, input_shape):
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
