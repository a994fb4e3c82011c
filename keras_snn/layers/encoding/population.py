"""Population: a value as the spike times of several neurons."""

import math

import keras

from keras_snn import checks
from keras_snn.layers.encoding.still_encoder import StillEncoder
from keras_snn.ops import decoding, encoding


@keras.saving.register_keras_serializable(package="keras_snn")
class Population(StillEncoder):
    r"""Gaussian receptive fields: m neurons a value, each of which spikes the sooner the nearer the value is.

    Neuron i = 1, ..., m has the center and, like all others, the width

    .. math::
        c_i = \text{low} + \frac{2 i - 3}{2} \cdot \frac{\text{high} - \text{low}}{m - 2}, \quad
        \sigma = \frac{1}{\beta} \cdot \frac{\text{high} - \text{low}}{m - 2}

    and its activation :math:`g_i = \exp(-(x - c_i)^2 / (2 \sigma^2))` becomes one spike at step
    :math:`\mathrm{round}((T - 1)(1 - g_i))`, or none where it is below ``cutoff``. The value 0 gives spikes
    like any other value. There is no gradient.

    Inside ``keras_snn.probe.scope(n_steps=k)`` the values are coded in k steps.

    Args:
        n_steps: int > 0, the number of time steps T. One step alone can hold no value.
        n_neurons: int > 2, the neurons a value, m.
        low: float, the least value. Default 0.0.
        high: float, the largest value. Default 1.0.
        beta: float > 0, the distance of two centers in widths of a field. Default 1.5.
        cutoff: float, the activation below which a neuron does not spike, from 0 to ``exp(-beta^2 / 8)``, that of a
            value halfway between two centers. Default 0.1.
        clip: bool. True (the default): values outside [low, high] are clipped. NaN gives NaN instead of spikes. False:
            NaN and values outside [low, high] raise an error in an eager call, and give NaN instead of spikes in
            compiled code.
        **kwargs: the usual arguments of a Keras layer, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: a tensor with values in [low, high].

    Input shape:
        ``(batch, ...)``

    Output shape:
        ``(batch, n_steps, ..., n_neurons)``, 0 or 1.

    Raises:
        ValueError: for arguments outside the ranges above; for NaN and values outside [low, high] in an
            eager call with ``clip=False``.

    Example:
        >>> import numpy as np
        >>> from keras_snn.layers import Population
        >>> layer = Population(100, 8)
        >>> spikes = layer(np.array([[0.3, 0.7]], dtype="float32"))
        >>> tuple(spikes.shape)
        (1, 100, 2, 8)
        >>> [round(float(value), 2) for value in layer.decode(spikes)[0]]
        [0.3, 0.7]

    References:
        Bohte, Kok and La Poutre (2002), Error-backpropagation in temporally encoded networks of spiking neurons.
        Neurocomputing 48, 17-37, doi:10.1016/S0925-2312(01)00658-0. The spike times there run from 0 to 10, and those
        after 9 are left out, as the default of ``cutoff`` does.
    """

    def __init__(self, n_steps, n_neurons, *, low=0.0, high=1.0, beta=1.5, cutoff=0.1, clip=True, **kwargs):
        super().__init__(n_steps, clip=clip, **kwargs)
        self.n_neurons = checks.integer("n_neurons", n_neurons, least=3, meaning="the neurons that share a value")
        self.low = checks.number("low", low)
        self.high = checks.number("high", high)
        if not low < high:
            raise ValueError(f"`low` has to be below `high`; got low={low!r} and high={high!r}.")
        self.beta = checks.number("beta", beta, above=0)
        limits = {"least": 0, "most": math.exp(-(beta**2) / 8)}
        meaning = "exp(-beta^2 / 8), or values between two centers would have no spike"
        self.cutoff = checks.number("cutoff", cutoff, **limits, meaning=meaning)

    def encode(self, x, n_steps, steps):
        fields = (self.n_neurons, self.low, self.high, self.beta, self.cutoff)
        return encoding.population(x, n_steps, *fields, steps=steps)

    def decode(self, spikes):
        """Return the values ``(batch, ...)`` of the spikes ``(batch, time, ..., n_neurons)``, by their first spikes.

        Measured over all values: up to ``0.7 / T`` of the distance of two centers from x for the defaults and T >= 10,
        ``1.05 / T`` for a beta from 1 to 2. No decoder can do better than ``0.6 / T`` with the defaults. One neuron
        alone gives its center, and none NaN.
        """
        return decoding.population(spikes, self.low, self.high, self.beta)

    def compute_output_shape(self, input_shape):
        return (*super().compute_output_shape(input_shape), self.n_neurons)

    def get_config(self):
        names = ("n_neurons", "low", "high", "beta", "cutoff")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
