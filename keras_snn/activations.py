"""Activation functions with constants, such as the firing rates of leaky integrate-and-fire neurons."""

from typing import Any, ClassVar

import keras
from keras import ops

from keras_snn import checks
from keras_snn.configured import Configured
from keras_snn.hints import Tensor
from keras_snn.ops import lif_solution


def lif_rate(x: Tensor, tau_rc: float = 0.02, tau_ref: float = 0.002, amplitude: float = 1.0) -> Tensor:
    """Return the steady-state firing rate of a leaky integrate-and-fire neuron for the constant current ``x``.

    ``amplitude / (tau_ref + tau_rc log(1 + 1 / (x - 1)))`` for x > 1, else 0. The gradient goes to infinity as x
    approaches 1 from above, but it is finite for every float32 x. For x <= 1 it is 0.

    Args:
        x: Tensor, the current divided by the threshold current.
        tau_rc: Number > 0 in seconds, the membrane time constant. Default 0.02.
        tau_ref: Number >= 0 in seconds, the refractory period. Default 0.002.
        amplitude: Number, the factor that multiplies the rate in Hz. Default 1.

    Returns:
        Tensor with the shape of ``x``, in Hz multiplied by ``amplitude``.

    Example:

    ```python
    keras_snn.activations.lif_rate(2.0)  # 63 Hz
    ```

    References: Eliasmith and Anderson 2003, Neural Engineering, section 4.1.
    """
    return amplitude * lif_solution.rate(x, tau_rc, tau_ref)


def soft_lif(
    x: Tensor, tau_rc: float = 0.02, tau_ref: float = 0.002, amplitude: float = 1.0, sigma: float = 1.0
) -> Tensor:
    """Return ``lif_rate`` with a smooth threshold, for training with gradients.

    ``amplitude / (tau_ref + tau_rc log(1 + 1 / j))`` with ``j = sigma log(1 + exp((x - 1) / sigma))``.

    Args:
        x: Tensor, the current divided by the threshold current.
        tau_rc: Number > 0 in seconds, the membrane time constant. Default 0.02.
        tau_ref: Number >= 0 in seconds, the refractory period. Default 0.002.
        amplitude: Number, the factor that multiplies the rate in Hz. Default 1.
        sigma: Number > 0, the width of the threshold. ``lif_rate`` is the limit for sigma = 0. Default 1.

    Returns:
        Tensor with the shape of ``x``, in Hz multiplied by ``amplitude``.

    Example:

    ```python
    keras_snn.activations.soft_lif(2.0)
    ```

    References: Hunsberger and Eliasmith 2015, arXiv:1510.08829, equation 4.
    """
    scaled = (ops.convert_to_tensor(x) - 1) / sigma
    # Far below the threshold j underflows. There, log(1 + 1 / j) is computed as -log(j) = -log(sigma) - scaled.
    is_far_below = scaled < -15
    j = sigma * ops.softplus(ops.where(is_far_below, 0, scaled))
    log_ratio = ops.where(is_far_below, -ops.log(ops.cast(sigma, scaled.dtype)) - scaled, ops.log1p(1 / j))
    return amplitude / (tau_ref + tau_rc * log_ratio)


class _Rate(Configured):
    """A firing rate as a function of the input current, with its constants."""

    names: ClassVar[tuple[str, ...]] = ("tau_rc", "tau_ref", "amplitude")

    def __init__(self, tau_rc: float = 0.02, tau_ref: float = 0.002, amplitude: float = 1.0) -> None:
        self.tau_rc = checks.number("tau_rc", tau_rc, above=0)
        self.tau_ref = checks.number("tau_ref", tau_ref, least=0)
        self.amplitude = checks.number("amplitude", amplitude)


@keras.saving.register_keras_serializable(package="keras_snn")
class LIFRate(_Rate):
    """``lif_rate`` with constants, as a serializable activation.

    Args:
        tau_rc: Number > 0 in seconds. Default 0.02.
        tau_ref: Number >= 0 in seconds. Default 0.002.
        amplitude: Number. Default 1.

    Raises:
        TypeError: If a constant is not a number.
        ValueError: If a constant is out of range.

    Example:

    ```python
    keras_snn.layers.SpikingActivation(keras_snn.activations.LIFRate(amplitude=0.01))
    ```
    """

    def __call__(self, x: Tensor) -> Tensor:
        return lif_rate(x, self.tau_rc, self.tau_ref, self.amplitude)


@keras.saving.register_keras_serializable(package="keras_snn")
class SoftLIF(_Rate):
    """``soft_lif`` with constants, as a serializable activation.

    Args:
        tau_rc: Number > 0 in seconds. Default 0.02.
        tau_ref: Number >= 0 in seconds. Default 0.002.
        amplitude: Number. Default 1.
        sigma: Number > 0. Default 1.

    Raises:
        TypeError: If a constant is not a number.
        ValueError: If a constant is out of range.

    Example:

    ```python
    keras_snn.layers.SpikingActivation(keras_snn.activations.SoftLIF(sigma=0.1))
    ```
    """

    names = (*_Rate.names, "sigma")

    def __init__(
        self, tau_rc: float = 0.02, tau_ref: float = 0.002, amplitude: float = 1.0, sigma: float = 1.0
    ) -> None:
        super().__init__(tau_rc, tau_ref, amplitude)
        self.sigma = checks.number("sigma", sigma, above=0)

    def __call__(self, x: Tensor) -> Tensor:
        return soft_lif(x, self.tau_rc, self.tau_ref, self.amplitude, self.sigma)


@keras.saving.register_keras_serializable(package="keras_snn")
class LeakyReLU(Configured):
    """Leaky ReLU: ``x`` for x >= 0, else ``negative_slope * x``. Keras's ``LeakyReLU`` is a layer, this is a function.

    Args:
        negative_slope: Number. Default 0.01, as in PyTorch. In Keras's activation "leaky_relu" it is 0.2.

    Raises:
        TypeError: If ``negative_slope`` is not a number.
        ValueError: If ``negative_slope`` is not finite.

    Example:

    ```python
    keras_snn.layers.KLIF(activation=keras_snn.activations.LeakyReLU(0.01))
    ```
    """

    names = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = checks.number("negative_slope", negative_slope)

    def __call__(self, x: Tensor) -> Tensor:
        return ops.leaky_relu(x, self.negative_slope)


@keras.saving.register_keras_serializable(package="keras_snn")
class Scaled(Configured):
    """``scale * f(x)``: an activation multiplied by a constant.

    Args:
        activation: Name or callable of the activation function f. A layer without weights is also a callable, for
            example ``keras.layers.LeakyReLU(0.3)``.
        scale: Number > 0.

    Raises:
        TypeError: If ``scale`` is not a number.
        ValueError: If ``scale`` is not positive and finite.

    Example:

    ```python
    keras_snn.layers.SpikingActivation(keras_snn.activations.Scaled("relu", 100))
    ```
    """

    names = ("activation", "scale")

    def __init__(self, activation: Any, scale: float) -> None:
        self.activation = keras.activations.get(activation)
        self.scale = checks.number("scale", scale, above=0)

    def __call__(self, x: Tensor) -> Tensor:
        return self.scale * self.activation(x)

    def get_config(self):
        return {**super().get_config(), "activation": keras.activations.serialize(self.activation)}


for _function in (lif_rate, soft_lif):
    keras.saving.register_keras_serializable(package="keras_snn")(_function)
