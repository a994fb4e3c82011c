"""Poisson: values as the rates of random spikes."""

from typing import Any

import keras
from keras import ops

from keras_snn import checks, probe
from keras_snn.hints import Tensor
from keras_snn.layers.encoding.still_encoder import StillEncoder
from keras_snn.ops import decoding, encoding
from keras_snn.ops.random import uniform_at_steps


@keras.saving.register_keras_serializable(package="keras_snn")
class Poisson(StillEncoder):
    r"""Rate code: at each step, a spike with a probability proportional to the value.

    .. math:: P(s_t = 1) = \text{scale} \cdot x, \quad t = 0, ..., T - 1

    independently for all steps, units and samples: a Bernoulli process, the discrete-time form of a Poisson process.
    The value 0 gives no spike.

    The gradient of each spike with respect to x is ``scale``, the gradient of its expectation (straight-through).
    Clipped values have the gradient 0.

    Inside ``keras_snn.probe.scope(n_steps=k)`` there are k steps, equal to the first k of a longer run.

    Args:
        n_steps: Integer > 0, the number of time steps T.
        scale: Float in (0, 1], the probability of a spike at x = 1. Default 1.0.
        seed: Integer, or None. An integer gives the same spikes in each call and on each backend; they depend on the
            sample's place in the global batch, and not on the other samples. None draws new spikes in each call. Inside
            ``keras_snn.probe.scope(sample_index=...)`` the place in the data set counts instead. Default None.
        **kwargs: ``clip=True`` (values outside [0, 1] are clipped; with False they raise an error), as in
            ``StillEncoder``; and the arguments of ``keras.layers.Layer``, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: Tensor ``(batch, ...)`` with values in [0, 1].

    Input shape:
        ``(batch, ...)``

    Output shape:
        ``(batch, n_steps, ...)``, 0 or 1.

    Raises:
        ValueError: For arguments outside the ranges above; for NaN and values outside [0, 1] in an eager call with
            ``clip=False``.

    Example:

    ```python
    layer = keras_snn.layers.Poisson(1000, seed=0)
    spikes = layer(np.array([[0.0, 0.25, 1.0]], dtype="float32"))
    tuple(spikes.shape)  # (1, 1000, 3)
    [round(float(value), 1) for value in layer.decode(spikes)[0]]  # [0.0, 0.2, 1.0]
    ```
    """

    def __init__(self, n_steps: int, *, scale: float = 1.0, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(n_steps, **kwargs)
        self.scale = checks.number("scale", scale, above=0, most=1)
        self.seed = checks.seed(seed)
        # Named after the layer: PyTorch keeps a single parameter for variables with equal paths.
        name = f"{self.name}_seed_generator"
        self.seed_generator = keras.random.SeedGenerator(name=name) if seed is None else None

    def encode(self, x: Tensor, n_steps: int, steps: Tensor) -> Tensor:
        # Steps come before units, so that the first steps do not depend on the number of steps.
        batch_size, *units = ops.shape(x)
        index, word = probe.draw_once(self.seed, self.seed_generator, batch_size)
        uniform = uniform_at_steps(index, steps, units, word)
        return encoding.poisson(x, ops.cast(uniform, x.dtype), self.scale)

    def decode(self, spikes: Tensor) -> Tensor:
        """Return the values ``(batch, ...)`` of the spikes ``(batch, time, ...)``: their rate divided by ``scale``.

        Over seeds, the mean is x and the standard deviation ``sqrt(x (1 / scale - x) / T)``.
        """
        return decoding.rate(spikes, self.scale)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale, "seed": self.seed}
