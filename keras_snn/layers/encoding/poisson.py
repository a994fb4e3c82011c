"""Poisson: values as the rates of random spikes."""

import keras
from keras import ops

from keras_snn import checks, probe
from keras_snn.layers.encoding.still_encoder import StillEncoder
from keras_snn.ops import decoding, encoding
from keras_snn.ops.random import uniform_at_steps


@keras.saving.register_keras_serializable(package="keras_snn")
class Poisson(StillEncoder):
    r"""Rate code: at every step a spike with a probability that is proportional to the value.

    .. math:: P(s_t = 1) = \text{scale} \cdot x, \quad t = 0, ..., T - 1

    independently of all other steps, units and examples: a Bernoulli process, the Poisson process of discrete time.

    The value 0 gives no spike.

    The gradient of every spike by x is ``scale``, that of its expectation (straight-through). Values that were clipped
    have none.

    Inside ``keras_snn.probe.scope(n_steps=k)`` there are k steps, which are the first k of a longer run.

    Args:
        n_steps: int > 0, the number of time steps T.
        scale: float in (0, 1], the probability of a spike at x = 1. Default 1.0.
        seed: int that fixes the spikes, the same ones in every call and on every backend, for each place in the global
            batch, whatever the other samples are; None (the default) draws new ones in every call. Inside
            ``keras_snn.probe.scope(sample_index=...)`` the spikes go by the place in the data instead.
        clip: bool. True (the default): values outside [0, 1] are clipped, so scale images to [0, 1] first. NaN gives
            NaN instead of spikes. False: NaN and values outside [0, 1] raise an error in an eager call, and give NaN
            instead of spikes in compiled code.
        **kwargs: the usual arguments of a Keras layer, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: a tensor with values in [0, 1].

    Input shape:
        ``(batch, ...)``

    Output shape:
        ``(batch, n_steps, ...)``, 0 or 1.

    Raises:
        ValueError: for arguments outside the ranges above; for NaN and values outside [0, 1] in an
            eager call with ``clip=False``.

    Example:
        >>> import numpy as np
        >>> from keras_snn.layers import Poisson
        >>> layer = Poisson(1000, seed=0)
        >>> spikes = layer(np.array([[0.0, 0.25, 1.0]], dtype="float32"))
        >>> tuple(spikes.shape)
        (1, 1000, 3)
        >>> [round(float(value), 1) for value in layer.decode(spikes)[0]]
        [0.0, 0.2, 1.0]
    """

    def __init__(self, n_steps, *, scale=1.0, seed=None, clip=True, **kwargs):
        super().__init__(n_steps, clip=clip, **kwargs)
        self.scale = checks.number("scale", scale, above=0, most=1)
        self.seed = checks.seed(seed)
        # Named by the layer: PyTorch keeps a single parameter for variables of equal paths.
        name = f"{self.name}_seed_generator"
        self.seed_generator = keras.random.SeedGenerator(name=name) if seed is None else None

    def encode(self, x, n_steps, steps):
        # Steps before units: the first of them are then the same, however many follow.
        batch_size, *units = ops.shape(x)
        index, word = probe.draw_once(self.seed, self.seed_generator, batch_size)
        uniform = uniform_at_steps(index, steps, units, word)
        return encoding.poisson(x, ops.cast(uniform, x.dtype), self.scale)

    def decode(self, spikes):
        """Return the values of the spikes ``(batch, time, ...)``: their rate divided by ``scale``.

        It is x on average over seeds, with the standard deviation ``sqrt(x (1 / scale - x) / T)``.
        """
        return decoding.rate(spikes, self.scale)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale, "seed": self.seed}
