"""Population: a value as the spike times of several neurons."""

import math
from typing import Any

import keras

from keras_snn import checks
from keras_snn.hints import Tensor
from keras_snn.layers.encoding.still_encoder import StillEncoder
from keras_snn.ops import decoding, encoding


@keras.saving.register_keras_serializable(package="keras_snn")
class Population(StillEncoder):
    r"""Population code: m neurons per value with Gaussian receptive fields, which spike earlier for closer values.

    Neuron i = 1, ..., m has the center :math:`c_i`. All neurons have the width :math:`\sigma`:

    .. math::
        c_i = \text{low} + \frac{2 i - 3}{2} \cdot \frac{\text{high} - \text{low}}{m - 2}, \quad
        \sigma = \frac{1}{\beta} \cdot \frac{\text{high} - \text{low}}{m - 2}

    The activation :math:`g_i = \exp(-(x - c_i)^2 / (2 \sigma^2))` gives one spike at step
    :math:`\mathrm{round}((T - 1)(1 - g_i))`, or no spike if it is below ``cutoff``. The value 0 gives spikes
    like any other value. There is no gradient.

    Inside ``keras_snn.probe.scope(n_steps=k)`` the values are encoded in k steps.

    Args:
        n_steps: Integer > 0, the number of time steps T. With one step, the spike times are all the same.
        n_neurons: Integer > 2, the number of neurons per value, m.
        low: Float, the minimum value. Default 0.0.
        high: Float > ``low``, the maximum value. Default 1.0.
        beta: Float > 0, the distance between two centers divided by the width of a field. Default 1.5.
        cutoff: Float from 0 to ``exp(-beta^2 / 8)``, the activation halfway between two centers. A neuron with a
            smaller activation does not spike. Default 0.1.
        **kwargs: ``clip=True`` (values outside [low, high] are clipped; with False they raise an error), as in
            ``StillEncoder``; and the arguments of ``keras.layers.Layer``, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: Tensor ``(batch, ...)`` with values in [low, high].

    Input shape:
        ``(batch, ...)``

    Output shape:
        ``(batch, n_steps, ..., n_neurons)``, 0 or 1.

    Raises:
        ValueError: For arguments outside the ranges above; for NaN and values outside [low, high] in an
            eager call with ``clip=False``.

    Example:

    ```python
    layer = keras_snn.layers.Population(100, 8)
    spikes = layer(np.array([[0.3, 0.7]], dtype="float32"))
    tuple(spikes.shape)  # (1, 100, 2, 8)
    [round(float(value), 2) for value in layer.decode(spikes)[0]]  # [0.3, 0.7]
    ```

    References:
        Bohte, Kok and La Poutre (2002), Error-backpropagation in temporally encoded networks of spiking neurons.
        Neurocomputing 48, 17-37, doi:10.1016/S0925-2312(01)00658-0. There the spike times range from 0 to 10, and
        spikes after 9 are left out. The default of ``cutoff`` has the same effect.
    """

    def __init__(
        self,
        n_steps: int,
        n_neurons: int,
        *,
        low: float = 0.0,
        high: float = 1.0,
        beta: float = 1.5,
        cutoff: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(n_steps, **kwargs)
        self.n_neurons = checks.integer("n_neurons", n_neurons, least=3, meaning="the number of neurons per value")
        self.low = checks.number("low", low)
        self.high = checks.number("high", high)
        if not low < high:
            raise ValueError(f"`low` must be below `high`, got low={low!r} and high={high!r}.")
        self.beta = checks.number("beta", beta, above=0)
        most = math.exp(-(beta**2) / 8)
        meaning = "exp(-beta^2 / 8): above it, values between two centers have no spike"
        self.cutoff = checks.number("cutoff", cutoff, least=0, most=most, meaning=meaning)

    def encode(self, x: Tensor, n_steps: int, steps: Tensor) -> Tensor:
        fields = (self.n_neurons, self.low, self.high, self.beta, self.cutoff)
        return encoding.population(x, n_steps, *fields, steps=steps)

    def decode(self, spikes: Tensor) -> Tensor:
        """Return the values ``(batch, ...)`` of the spikes ``(batch, time, ..., n_neurons)``, from their first spikes.

        The measured maximum error, in units of the distance between two centers, is ``0.7 / T`` for the defaults and
        T >= 10, and ``1.05 / T`` for a beta from 1 to 2. With the defaults no decoder can be better than ``0.6 / T``.
        If a single neuron spikes, the value is its center. Without spikes it is NaN.
        """
        return decoding.population(spikes, self.low, self.high, self.beta)

    def compute_output_shape(self, input_shape):
        return (*super().compute_output_shape(input_shape), self.n_neurons)

    def get_config(self):
        names = ("n_neurons", "low", "high", "beta", "cutoff")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
