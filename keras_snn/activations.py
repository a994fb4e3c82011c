"""Rates of leaky integrate-and-fire neurons, and other activation functions with constants."""

import keras
from keras import ops

from keras_snn import checks


def lif_rate(x, tau_rc=0.02, tau_ref=0.002, amplitude=1.0):
    """Return the steady firing rate of a leaky integrate-and-fire neuron for the constant current ``x``.

    ``amplitude / (tau_ref + tau_rc log(1 + 1 / (x - 1)))`` for x > 1, else 0: the current is in units of the threshold.
    The gradient, which has no bound as x falls to 1, is finite for every float32 x, and 0 from 1 downwards.

    Args:
        x: Tensor, the current over the threshold current.
        tau_rc: Number > 0 in seconds, the membrane's time constant. Default 0.02.
        tau_ref: Number >= 0 in seconds, the refractory period. Default 0.002.
        amplitude: Number, what a rate of 1 Hz becomes. Default 1.

    Returns:
        Tensor of the shape of ``x``, Hz at an amplitude of 1.

    References: Eliasmith and Anderson 2003, Neural Engineering, section 4.1.
    """
    x = ops.convert_to_tensor(x)
    over = x - 1
    fires = over > 0
    over = ops.where(fires, over, 1)  # any number with a finite gradient, which `where` below stops
    return ops.where(fires, amplitude / (tau_ref + tau_rc * ops.log1p(1 / over)), 0)


def soft_lif(x, tau_rc=0.02, tau_ref=0.002, amplitude=1.0, sigma=1.0):
    """Return ``lif_rate`` with its threshold smoothed over a width ``sigma``, for training by gradients.

    ``amplitude / (tau_ref + tau_rc log(1 + 1 / j))`` with ``j = sigma log(1 + exp((x - 1) / sigma))``.

    Args:
        x: Tensor, the current over the threshold current.
        tau_rc: Number > 0 in seconds, the membrane's time constant. Default 0.02.
        tau_ref: Number >= 0 in seconds, the refractory period. Default 0.002.
        amplitude: Number, what a rate of 1 Hz becomes. Default 1.
        sigma: Number > 0, the width; ``lif_rate`` is the limit 0. Default 1.

    Returns:
        Tensor of the shape of ``x``, Hz at an amplitude of 1.

    References: Hunsberger and Eliasmith 2015, arXiv:1510.08829, equation 4.
    """
    scaled = (ops.convert_to_tensor(x) - 1) / sigma
    # Far below the threshold j underflows, while log(1 + 1 / j) = -log(j) goes on as -log(sigma) - scaled.
    far = scaled < -15
    j = sigma * ops.softplus(ops.where(far, 0, scaled))
    log_ratio = ops.where(far, -ops.log(ops.cast(sigma, scaled.dtype)) - scaled, ops.log1p(1 / j))
    return amplitude / (tau_ref + tau_rc * log_ratio)


class _Function:
    """A function and its constants. Instances with equal constants compare equal, so the engine compiles them once."""

    _names = ()

    def get_config(self):
        return {name: getattr(self, name) for name in self._names}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __eq__(self, other):
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self):
        return hash((type(self), *self.get_config().values()))

    def __repr__(self):
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


class _Rate(_Function):
    """A firing rate as a function of the input current, and its constants."""

    _names = ("tau_rc", "tau_ref", "amplitude")

    def __init__(self, tau_rc=0.02, tau_ref=0.002, amplitude=1.0):
        checks.number("tau_rc", tau_rc, above=0)
        checks.number("tau_ref", tau_ref, least=0)
        checks.number("amplitude", amplitude)
        self.tau_rc, self.tau_ref, self.amplitude = tau_rc, tau_ref, amplitude


@keras.saving.register_keras_serializable(package="keras_snn")
class LIFRate(_Rate):
    """``lif_rate`` with constants of its own, as an activation that a model saves.

    Args:
        tau_rc: Number > 0 in seconds. Default 0.02.
        tau_ref: Number >= 0 in seconds. Default 0.002.
        amplitude: Number. Default 1.

    Raises:
        ValueError: For a number out of its range.

    Example:

    ```python
    keras_snn.layers.SpikingActivation(keras_snn.activations.LIFRate(amplitude=0.01))
    ```
    """

    def __call__(self, x):
        return lif_rate(x, self.tau_rc, self.tau_ref, self.amplitude)


@keras.saving.register_keras_serializable(package="keras_snn")
class SoftLIF(_Rate):
    """``soft_lif`` with constants of its own, as an activation that a model saves.

    Args:
        tau_rc: Number > 0 in seconds. Default 0.02.
        tau_ref: Number >= 0 in seconds. Default 0.002.
        amplitude: Number. Default 1.
        sigma: Number > 0. Default 1.

    Raises:
        ValueError: For a number out of its range.
    """

    _names = (*_Rate._names, "sigma")

    def __init__(self, tau_rc=0.02, tau_ref=0.002, amplitude=1.0, sigma=1.0):
        super().__init__(tau_rc, tau_ref, amplitude)
        checks.number("sigma", sigma, above=0)
        self.sigma = sigma

    def __call__(self, x):
        return soft_lif(x, self.tau_rc, self.tau_ref, self.amplitude, self.sigma)


@keras.saving.register_keras_serializable(package="keras_snn")
class LeakyReLU(_Function):
    """``x`` for x >= 0, else ``negative_slope * x``, as an activation function. Keras's ``LeakyReLU`` is a layer.

    Args:
        negative_slope: Number. Default 0.01, PyTorch's. Keras's activation "leaky_relu" has 0.2.

    Raises:
        ValueError: For a number that is not finite.

    Example:

    ```python
    keras_snn.layers.KLIF(activation=keras_snn.activations.LeakyReLU(0.01))
    ```
    """

    _names = ("negative_slope",)

    def __init__(self, negative_slope=0.01):
        self.negative_slope = checks.number("negative_slope", negative_slope)

    def __call__(self, x):
        return ops.leaky_relu(x, self.negative_slope)


@keras.saving.register_keras_serializable(package="keras_snn")
class Scaled:
    """``scale f(x)``: an activation function whose values, as firing rates, are so many times as high.

    Args:
        activation: Name or callable of the activation function f; a layer without weights, such as
            ``keras.layers.LeakyReLU(0.3)``, is one.
        scale: Number > 0.

    Raises:
        ValueError: For a ``scale`` that is not positive.

    Example:

    ```python
    keras_snn.layers.SpikingActivation(keras_snn.activations.Scaled("relu", 100))
    ```
    """

    def __init__(self, activation, scale):
        checks.number("scale", scale, above=0)
        self.activation = keras.activations.get(activation)
        self.scale = scale

    def __call__(self, x):
        return self.scale * self.activation(x)

    def get_config(self):
        return {"activation": keras.activations.serialize(self.activation), "scale": self.scale}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


for _function in (lif_rate, soft_lif):
    keras.saving.register_keras_serializable(package="keras_snn")(_function)
