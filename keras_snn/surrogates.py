"""Surrogate gradients: derivatives that replace the derivative of a spike in the backward pass.

A spike is a step function of its argument, the membrane potential minus the threshold: 1 above 0, and 0 elsewhere. Its
derivative is 0 almost everywhere. In the backward pass the layers use the derivative of a smooth function instead.
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import keras
from keras import ops

from keras_snn import checks
from keras_snn.configured import Configured
from keras_snn.hints import Config, Tensor
from keras_snn.ops.surrogate import fast_sigmoid_derivative, spike


class Surrogate(Configured):
    """Base class of surrogates: a smooth step with a slope.

    Override ``derivative``, and optionally ``primitive``, the smooth step.

    Calling a surrogate returns spikes: 1 where ``x > 0``, else 0, with the gradient ``derivative(x)``. Surrogates with
    equal configurations compare equal, so the engine compiles them once.

    Args:
        slope: Number > 0. Larger values give a steeper step.

    Raises:
        TypeError: If ``slope`` is not a number.
        ValueError: If ``slope`` is not positive and finite.

    Example:

    ```python
    keras_snn.layers.LIF(surrogate=keras_snn.surrogates.ATan(slope=2.0))
    ```
    """

    names: ClassVar[tuple[str, ...]] = ("slope",)

    def __init__(self, slope: float) -> None:
        self.slope = checks.number("slope", slope, above=0)

    def __call__(self, x: Tensor) -> Tensor:
        return spike(x, self.derivative)

    def derivative(self, x: Tensor) -> Tensor:
        """Return the derivative at ``x``."""
        raise NotImplementedError(f"{type(self).__name__} must override `derivative(x)`.")

    def primitive(self, x: Tensor) -> Tensor:
        """Return the smooth step at ``x``, whose derivative is ``derivative``. It is defined up to a constant."""
        raise NotImplementedError(f"{type(self).__name__} has no `primitive(x)`.")


def _register(cls):
    return keras.saving.register_keras_serializable(package="keras_snn")(cls)


@_register
class ATan(Surrogate):
    """Arctangent: ``a / (2 (1 + (pi a x / 2)^2))``, the derivative of ``arctan(pi a x / 2) / pi + 1/2``.

    Args:
        slope: Number > 0, a. Default 2.

    References: Fang et al. 2021, ICCV (PLIF), arXiv:2007.05785, equation 9 with a = 2.
    """

    def __init__(self, slope: float = 2.0) -> None:
        super().__init__(slope)

    def derivative(self, x: Tensor) -> Tensor:
        return self.slope / 2 / (1 + ops.square(math.pi / 2 * self.slope * x))

    def primitive(self, x: Tensor) -> Tensor:
        return ops.arctan(math.pi / 2 * self.slope * x) / math.pi + 0.5


@_register
class Sigmoid(Surrogate):
    """Sigmoid: ``a s (1 - s)``, the derivative of ``s = 1 / (1 + exp(-a x))``.

    Args:
        slope: Number > 0, a. Default 4.
    """

    def __init__(self, slope: float = 4.0) -> None:
        super().__init__(slope)

    def derivative(self, x: Tensor) -> Tensor:
        s = ops.sigmoid(self.slope * x)
        return self.slope * s * (1 - s)

    def primitive(self, x: Tensor) -> Tensor:
        return ops.sigmoid(self.slope * x)


@_register
class FastSigmoid(Surrogate):
    """Fast sigmoid: ``1 / (1 + a |x|)^2``, the derivative of ``x / (1 + a |x|)``.

    Args:
        slope: Number > 0, a. Default 25.

    References: Zenke and Ganguli 2018, Neural Computation 30 (SuperSpike), arXiv:1705.11146.
    """

    def __init__(self, slope: float = 25.0) -> None:
        super().__init__(slope)

    def derivative(self, x: Tensor) -> Tensor:
        return fast_sigmoid_derivative(x, self.slope)

    def primitive(self, x: Tensor) -> Tensor:
        return x / (1 + self.slope * ops.abs(x))


@_register
class Triangular(Surrogate):
    """Triangle: ``a max(0, 1 - a |x|)``, the derivative of a step that consists of two parabolas.

    Args:
        slope: Number > 0, a: the height of the triangle. Its width is 2 / a. Default 1.

    References: Bellec et al. 2018, NeurIPS, arXiv:1803.09574.
    """

    def __init__(self, slope: float = 1.0) -> None:
        super().__init__(slope)

    def derivative(self, x: Tensor) -> Tensor:
        return self.slope * ops.relu(1 - self.slope * ops.abs(x))

    def primitive(self, x: Tensor) -> Tensor:
        z = ops.clip(self.slope * x, -1, 1)
        return 0.5 + z - 0.5 * z * ops.abs(z)


@_register
class Rectangular(Surrogate):
    """Rectangle: ``a`` where ``|x| < 1 / (2 a)``, else 0, the derivative of a ramp from 0 to 1.

    Args:
        slope: Number > 0, a. Default 1.

    References: Wu et al. 2018, Front. Neurosci. 12:331 (STBP), doi:10.3389/fnins.2018.00331, equation 16.
    """

    def __init__(self, slope: float = 1.0) -> None:
        super().__init__(slope)

    def derivative(self, x: Tensor) -> Tensor:
        return self.slope * ops.cast(ops.abs(x) < 0.5 / self.slope, x.dtype)

    def primitive(self, x: Tensor) -> Tensor:
        return ops.clip(self.slope * x + 0.5, 0, 1)


@_register
class Erf(Surrogate):
    """Error function: ``a / sqrt(pi) exp(-(a x)^2)``, the derivative of ``erf(a x) / 2``.

    Args:
        slope: Number > 0, a. Default 2.
    """

    def __init__(self, slope: float = 2.0) -> None:
        super().__init__(slope)

    def derivative(self, x: Tensor) -> Tensor:
        return self.slope / math.sqrt(math.pi) * ops.exp(-ops.square(self.slope * x))

    def primitive(self, x: Tensor) -> Tensor:
        return 0.5 * ops.erf(self.slope * x)


@_register
class Exponential(Surrogate):
    """Exponential: ``a exp(-a |x|)``, the derivative of ``sign(x) (1 - exp(-a |x|))``.

    Args:
        slope: Number > 0, a. In SLAYER it is 1 / (tau_rho threshold). Default 1.

    References: Shrestha and Orchard 2018, NeurIPS (SLAYER), arXiv:1810.08646, section 3.1: the probability density of a
    change of the spiking state.
    """

    def __init__(self, slope: float = 1.0) -> None:
        super().__init__(slope)

    def derivative(self, x: Tensor) -> Tensor:
        return self.slope * ops.exp(-self.slope * ops.abs(x))

    def primitive(self, x: Tensor) -> Tensor:
        return -ops.sign(x) * ops.expm1(-self.slope * ops.abs(x))


@_register
class StraightThrough(Surrogate):
    """Straight-through estimator: ``a``, the derivative of ``a x``.

    Args:
        slope: Number > 0, a. Default 1.

    References: Bengio, Leonard and Courville 2013, arXiv:1308.3432.
    """

    def __init__(self, slope: float = 1.0) -> None:
        super().__init__(slope)

    def derivative(self, x: Tensor) -> Tensor:
        return ops.full_like(x, self.slope)

    def primitive(self, x: Tensor) -> Tensor:
        return self.slope * x


#: The surrogate classes, by name.
NAMES: dict[str, Any] = {
    "atan": ATan,
    "sigmoid": Sigmoid,
    "fast_sigmoid": FastSigmoid,
    "triangular": Triangular,
    "rectangular": Rectangular,
    "erf": Erf,
    "exponential": Exponential,
    "straight_through": StraightThrough,
}


def get(surrogate: Any) -> Callable[[Tensor], Tensor]:
    """Return the surrogate for a name or a config, or a callable unchanged.

    Args:
        surrogate: A name in ``NAMES``; a ``Surrogate``; the config of one; or any function of a tensor that returns
            spikes with a custom gradient. To save the model, the function must be registered with Keras.

    Returns:
        A function of the membrane potential minus the threshold that returns spikes.

    Raises:
        ValueError: For an unknown name.
        TypeError: If ``surrogate`` is not callable, or is a class.

    Example:

    ```python
    keras_snn.surrogates.get("atan")  # ATan(slope=2.0)
    ```
    """
    if isinstance(surrogate, str) and surrogate in NAMES:
        return NAMES[surrogate]()
    if isinstance(surrogate, dict):
        return keras.saving.deserialize_keras_object(surrogate)
    if isinstance(surrogate, str):
        raise ValueError(f"`surrogate` must be one of {sorted(NAMES)}, a Surrogate or a function, got {surrogate!r}.")
    if not callable(surrogate) or isinstance(surrogate, type):
        raise TypeError(f"`surrogate` must be a name, a Surrogate or a function, got {surrogate!r}.")
    return surrogate


def serialize(surrogate: Callable[[Tensor], Tensor]) -> Config:
    """Return the config of a surrogate, for ``get``."""
    return keras.saving.serialize_keras_object(surrogate)
