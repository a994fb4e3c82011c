"""Surrogate gradients: what stands in for the derivative of a spike.

A spike is 1 where its argument, the membrane above the threshold, is greater than 0, and 0 elsewhere: a step without a
useful derivative. In the backward pass the layers take that of a smooth function instead.
"""

import math

import keras
from keras import ops

from keras_snn import checks
from keras_snn.ops.surrogate import spike


class Surrogate:
    """The base: a smooth step with a slope. Override ``derivative``, and ``primitive`` for the function itself.

    Calling a surrogate gives spikes: ``x > 0`` as 0 or 1, with the surrogate's gradient. Equal ones are one function to
    the engine.

    Args:
        slope: Number > 0; the larger, the steeper.
    """

    def __init__(self, slope):
        self.slope = checks.number("slope", slope, above=0)

    def __call__(self, x):
        return spike(x, self.derivative)

    def derivative(self, x):
        """Return the derivative at ``x``."""
        raise NotImplementedError(f"{type(self).__name__} must override `derivative(x)`.")

    def primitive(self, x):
        """Return the function whose derivative is ``derivative``, up to a constant."""
        raise NotImplementedError(f"{type(self).__name__} does not say its primitive.")

    def get_config(self):
        return {"slope": self.slope}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __eq__(self, other):
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self):
        return hash((type(self), self.slope))

    def __repr__(self):
        return f"{type(self).__name__}(slope={self.slope!r})"


def _registered(cls):
    return keras.saving.register_keras_serializable(package="keras_snn")(cls)


@_registered
class ATan(Surrogate):
    """``a / (2 (1 + (pi a x / 2)^2))``, the derivative of ``arctan(pi a x / 2) / pi + 1/2``.

    Args:
        slope: Number > 0, a. Default 2.

    References: Fang et al. 2021, ICCV (PLIF), equation 9 with a = 2.
    """

    def __init__(self, slope=2.0):
        super().__init__(slope)

    def derivative(self, x):
        return self.slope / 2 / (1 + ops.square(math.pi / 2 * self.slope * x))

    def primitive(self, x):
        return ops.arctan(math.pi / 2 * self.slope * x) / math.pi + 0.5


@_registered
class Sigmoid(Surrogate):
    """``a s (1 - s)`` with ``s = 1 / (1 + exp(-a x))``, the derivative of s.

    Args:
        slope: Number > 0, a. Default 4.
    """

    def __init__(self, slope=4.0):
        super().__init__(slope)

    def derivative(self, x):
        s = ops.sigmoid(self.slope * x)
        return self.slope * s * (1 - s)

    def primitive(self, x):
        return ops.sigmoid(self.slope * x)


@_registered
class FastSigmoid(Surrogate):
    """``1 / (1 + a |x|)^2``, the derivative of ``x / (1 + a |x|)``.

    Args:
        slope: Number > 0, a. Default 25.

    References: Zenke and Ganguli 2018, Neural Computation 30 (SuperSpike), arXiv:1705.11146.
    """

    def __init__(self, slope=25.0):
        super().__init__(slope)

    def derivative(self, x):
        return 1 / ops.square(1 + self.slope * ops.abs(x))

    def primitive(self, x):
        return x / (1 + self.slope * ops.abs(x))


@_registered
class Triangular(Surrogate):
    """``a max(0, 1 - a |x|)``, the derivative of a step made of two parabolas.

    Args:
        slope: Number > 0, a: the height, and one over half the width. Default 1.

    References: Bellec et al. 2018, NeurIPS, arXiv:1803.09574.
    """

    def __init__(self, slope=1.0):
        super().__init__(slope)

    def derivative(self, x):
        return self.slope * ops.relu(1 - self.slope * ops.abs(x))

    def primitive(self, x):
        z = ops.clip(self.slope * x, -1, 1)
        return 0.5 + z - 0.5 * z * ops.abs(z)


@_registered
class Rectangular(Surrogate):
    """``a`` where ``|x| < 1 / (2 a)``, else 0: the derivative of a ramp from 0 to 1.

    Args:
        slope: Number > 0, a. Default 1.

    References: Wu et al. 2018, Front. Neurosci. 12 (STBP), equation 16.
    """

    def __init__(self, slope=1.0):
        super().__init__(slope)

    def derivative(self, x):
        return self.slope * ops.cast(ops.abs(x) < 0.5 / self.slope, x.dtype)

    def primitive(self, x):
        return ops.clip(self.slope * x + 0.5, 0, 1)


@_registered
class Erf(Surrogate):
    """``a / sqrt(pi) exp(-(a x)^2)``, the derivative of ``erf(a x) / 2``.

    Args:
        slope: Number > 0, a. Default 2.
    """

    def __init__(self, slope=2.0):
        super().__init__(slope)

    def derivative(self, x):
        return self.slope / math.sqrt(math.pi) * ops.exp(-ops.square(self.slope * x))

    def primitive(self, x):
        return 0.5 * ops.erf(self.slope * x)


@_registered
class StraightThrough(Surrogate):
    """``a``, the derivative of a straight line.

    Args:
        slope: Number > 0, a. Default 1.

    References: Bengio, Leonard and Courville 2013, arXiv:1308.3432.
    """

    def __init__(self, slope=1.0):
        super().__init__(slope)

    def derivative(self, x):
        return ops.full_like(x, self.slope)

    def primitive(self, x):
        return self.slope * x


NAMES = {
    "atan": ATan,
    "sigmoid": Sigmoid,
    "fast_sigmoid": FastSigmoid,
    "triangular": Triangular,
    "rectangular": Rectangular,
    "erf": Erf,
    "straight_through": StraightThrough,
}


def get(surrogate):
    """Return the surrogate of a name, of a config, or the callable itself.

    Args:
        surrogate: One of the names above; a ``Surrogate``; a config of one; or any function of a tensor that returns
            spikes with a gradient of their own (a registered one, if the model is to be saved).

    Raises:
        ValueError: For an unknown name.
        TypeError: For what cannot be called.
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


def serialize(surrogate):
    """Return the config from which ``get`` makes the surrogate again."""
    return keras.saving.serialize_keras_object(surrogate)
