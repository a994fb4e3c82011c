"""NoisyLIF: the leaky integrate-and-fire neuron that is trained at one step, with noise in place of its memory."""

import keras
from keras import ops

from keras_snn import checks, probe
from keras_snn.layers.base import SpikingNeuron
from keras_snn.ops import masks, neurons
from keras_snn.surrogates import ATan

NOISES = ("gaussian", "uniform", None)
STATISTICS = ("sample", "batch")

#: Half of the range of what stands in for the membrane, and its mean: it is in [0, 1].
_HALF_RANGE = 0.5
_MEAN = 0.5


@keras.saving.register_keras_serializable(package="keras_snn")
class NoisyLIF(SpikingNeuron):
    """Leaky integrate-and-fire neuron whose membrane potential is partly, or wholly, noise.

    A network that is shown a single step has no membrane potential to start from. Noise in [0, 1] takes its place in
    the training; ``keras_snn.conversion.extend_time`` then runs the trained network for as many steps as one likes.

    ======  =====================================================================================
    memory  ``a_t = v_{t-1} - (v_{t-1} - v_reset) / tau``
    mix     ``m_t = (a_t - mean(a_t)) / (alpha max|a_t - mean(a_t)|) + beta + n_t``
    charge  ``h_t = m_t + x_t``
    fire    ``s_t = 1 if h_t > threshold else 0``
    reset   ``v_t = h_t (1 - s_t) + v_reset s_t``, or ``h_t - threshold s_t``
    ======  =====================================================================================

    ``n_t = (1/2 - 1/alpha) z_t / max|z_t| + 1/2 - beta``, with z_t new and standard normal for each unit and step:
    ``m_t`` is in [0, 1] for every alpha. A gradient sees the noise as a constant. Where the a_t are all alike
    (``max|a_t - mean(a_t)|`` below 1e-6, as in the first step), the memory is beta alone.

    ``alpha=None`` is the limit of no memory, ``m_t = z_t / (2 max|z_t|) + 1/2``: what a single-step network is trained
    with, and at T steps the mean of T single-step networks. ``alpha=2`` leaves no noise.

    Mean and maximum go over the units of one sample and step. The noise of few units is therefore wide (its standard
    deviation is 0.26 for ten of them, 0.12 for 25,000), and of a single unit 0 or 1. ``statistics="batch"``, the
    reading of the published code, takes them over the batch of a replica; the spikes of a sample then depend on the
    other samples.

    Since the memory is divided by its largest value, ``tau`` only tells memory from none (``tau=1``). With noise,
    ``beta`` only says which part of the constant 1/2 goes by the name of memory; it is what the memory is centered at
    with ``noise=None``.

    Args:
        tau: Number >= 1, the time constant of the membrane in steps, or an initializer. Default 2.
        alpha: Number >= 2: the memory makes up 2 / alpha of the range, and the noise the rest. Default None, no memory.
        beta: Number, the mean of the memory. Default 0.5.
        noise: "gaussian"; "uniform", with z_t / max|z_t| uniform in [-1, 1]; or None, a control: ``n_t = 0``, and
            ``m_t = 0`` with ``alpha=None``. Default "gaussian".
        statistics: "sample" or "batch". Default "sample".
        seed: Integer that fixes the noise, the same in every call, for each place in the global batch; None (default)
            draws anew in every call, as a training needs. ``keras.utils.set_random_seed`` fixes that too. Inside
            ``keras_snn.probe.scope(sample_index=...)`` the noise goes by the place in the data instead.
        surrogate: As in ``SpikingNeuron``. Default ``ATan(3)``.
        **kwargs: ``threshold=1``, ``reset="zero"``, ``v_reset=0``, ``detach_reset=False``, ``learn=()``,
            ``per="layer"``, ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ..., as in
            ``SpikingNeuron``. ``learn`` may name "tau" (kept at 1 or above) and "threshold".

    Call arguments, shapes and errors: as in ``SpikingNeuron``; also ValueError for ``alpha`` below 2, and for a
    mask with ``statistics="batch"``. The state is v. After an input that is not finite a neuron counts as 0 in the mean
    and the maximum.

    Example:

    ```python
    model = keras.Sequential([
        keras.layers.Dense(128),
        keras.layers.BatchNormalization(momentum=0.9),
        keras_snn.layers.Repeat(1),
        keras_snn.layers.NoisyLIF(),
        keras.layers.Dense(10),
        keras_snn.layers.NoisyLIF(),
        keras_snn.layers.TemporalAveragePooling(),
    ])
    ```

    References: Jiang 2022, PhD thesis, University of Canterbury, equations 4.1 to 4.9; Jiang and Zhang 2022,
    arXiv:2211.05453. There the guard of the division is 1e-17, which in float32 turns rounding into full-range values,
    and equation 4.9 leaves out beta.
    """

    parameter_names = ("tau", "threshold")
    options = ("v_reset", "alpha", "beta", "statistics")
    time_constants = {"tau": "leak"}  # noqa: RUF012
    step = staticmethod(neurons.noisy_leaky)

    def __init__(
        self,
        tau=2.0,
        *,
        alpha=None,
        beta=0.5,
        noise="gaussian",
        statistics="sample",
        seed=None,
        surrogate=None,
        **kwargs,
    ):
        super().__init__(surrogate=ATan(3.0) if surrogate is None else surrogate, **kwargs)
        self.tau = tau
        limit = {"least": 1 / _HALF_RANGE, "meaning": "or None for no memory; 2 leaves no noise"}
        self.alpha = None if alpha is None else checks.number("alpha", alpha, **limit)
        self.beta = checks.number("beta", beta)
        self.noise = checks.choice("noise", noise, NOISES)
        self.statistics = checks.choice("statistics", statistics, STATISTICS)
        self.seed = checks.seed(seed)
        # Named by the layer: PyTorch keeps a single parameter for variables of equal paths.
        name = f"{self.name}_seed_generator"
        self.seed_generator = keras.random.SeedGenerator(name=name) if seed is None else None

    @property
    def pointwise(self):
        """Whether each unit is by itself: without memory there are no statistics of it."""
        return self.alpha is None

    def run(self, inputs, states, training, mask=None):
        if mask is not None and self.statistics == "batch":
            raise ValueError(
                f"{self.name!r} with statistics='batch' cannot take a mask: padding would enter the statistics of the "
                "batch. Use statistics='sample'."
            )
        inputs = ops.cast(inputs, states[0].dtype)
        if self.noise is not None:
            inputs = inputs + self._noise(inputs, mask)
        return super().run(inputs, states, training, mask)

    def _noise(self, inputs, mask):
        """Return n, or n + beta where there is no memory."""
        half_range, mean = _HALF_RANGE, _MEAN
        if self.alpha is not None:
            half_range, mean = half_range - 1 / self.alpha, mean - self.beta
        if half_range == 0:
            return mean
        batch_size, n_steps, *_ = ops.shape(inputs)
        steps = probe.step_numbers(n_steps, masks.n_steps(inputs, mask))
        # Steps before units: the first of them are then the same, however many follow.
        index, word = probe.draw_once(self.seed, self.seed_generator, batch_size)
        axes = neurons.statistics_axes(self.statistics, inputs, first=2)
        noise = neurons.noise(index, steps, inputs, word, self.noise, axes)
        if mask is not None:
            noise = masks.spread_over_counted(noise, mask)
        return half_range * noise + mean

    def get_config(self):
        return {**super().get_config(), "noise": self.noise, "seed": self.seed}
