"""NoisyLIF: the leaky integrate-and-fire neuron for training with one step, with noise in place of the memory."""

from typing import Any

import keras
from keras import ops

from keras_snn import checks
from keras_snn.hints import Tensor
from keras_snn.layers.base import SpikingNeuron
from keras_snn.layers.base.noise import draw_noise
from keras_snn.ops import neurons
from keras_snn.surrogates import ATan

NOISES = ("gaussian", "uniform", None)
STATISTICS = ("sample", "batch")

#: Half of the range [0, 1] of the mixed potential m_t, and its center.
_HALF_RANGE = 0.5
_CENTER = 0.5


@keras.saving.register_keras_serializable(package="keras_snn")
class NoisyLIF(SpikingNeuron):
    """Leaky integrate-and-fire neuron with a membrane potential that is partly or completely noise.

    A network with a single time step has no earlier membrane potential. In training, noise in [0, 1] replaces it.
    ``keras_snn.conversion.extend_time`` then runs the trained network for any number of steps.

    ======  =====================================================================================
    memory  ``a_t = v_{t-1} - (v_{t-1} - v_reset) / tau``
    mix     ``m_t = (a_t - mean(a_t)) / (alpha max|a_t - mean(a_t)|) + beta + n_t``
    charge  ``h_t = m_t + x_t``
    fire    ``s_t = 1 if h_t > threshold else 0``
    reset   ``v_t = h_t (1 - s_t) + v_reset s_t``, or ``h_t - threshold s_t``
    ======  =====================================================================================

    The noise is ``n_t = (1/2 - 1/alpha) z_t / max|z_t| + 1/2 - beta``, with a new standard normal z_t for each unit and
    step. ``m_t`` is then in [0, 1] for every alpha. The gradient treats the noise as a constant. If all a_t are equal
    (``max|a_t - mean(a_t)|`` below 1e-6, as in the first step), the memory term is beta alone.

    ``alpha=None`` is the limit without memory, ``m_t = z_t / (2 max|z_t|) + 1/2``. It is the setting for training with
    one step; with T steps the mean output is that of T single-step networks. ``alpha=2`` is the limit without noise.

    Mean and maximum are taken over the units of one sample and step. The noise therefore depends on the number of
    units: its standard deviation is 0.26 for 10 units and 0.12 for 25,000, and for a single unit it is 0 or 1.
    ``statistics="batch"``, as in the published code, takes them over the batch of a replica. The spikes of a sample
    then depend on the other samples.

    The memory is divided by its maximum. Every ``tau`` above 1 therefore gives the same memory, and ``tau=1`` gives
    none. With noise, ``beta`` cancels in the sum of memory and noise. With ``noise=None`` it is the center of the
    memory.

    Args:
        tau: Number >= 1, the membrane time constant in steps, or an initializer. Default 2.
        alpha: Number >= 2, or None for no memory. The memory takes 2 / alpha of the range, and the noise the rest.
            Default None.
        beta: Number, the mean of the memory. Default 0.5.
        noise: "gaussian"; "uniform", with z_t / max|z_t| uniform in [-1, 1]; or None for ``n_t = 0``, as a control
            (``m_t = 0`` with ``alpha=None``). Default "gaussian".
        statistics: "sample" or "batch". Default "sample".
        seed: Integer, or None. An integer gives the same noise in each call, for each place in the global batch. None
            draws new noise in each call, as training requires; ``keras.utils.set_random_seed`` fixes these draws too.
            Inside ``keras_snn.probe.scope(sample_index=...)`` the place in the data set counts instead. Default None.
        surrogate: As in ``SpikingNeuron``. Default ``ATan(3)``.
        **kwargs: ``threshold=1``, ``reset="zero"``, ``v_reset=0``, ``detach_reset=False``, ``learn=()``,
            ``per="layer"``, ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ..., as in
            ``SpikingNeuron``. ``learn`` may name "tau" (kept at 1 or above) and "threshold".

    Call arguments, shapes and errors: as in ``SpikingNeuron``. ValueError also for ``alpha`` below 2, and for a mask
    with ``statistics="batch"``. The state is v. After an input that is not finite, mean and maximum take 0 for the
    neuron.

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
    arXiv:2211.05453. There the lower limit of the divisor is 1e-17, which in float32 amplifies rounding errors to the
    full range, and equation 4.9 leaves out beta.
    """

    parameter_names = ("tau", "threshold")
    options = ("v_reset", "alpha", "beta", "statistics")
    time_constants = {"tau": "leak"}  # noqa: RUF012
    step = staticmethod(neurons.noisy_leaky)

    def __init__(
        self,
        tau: Any = 2.0,
        *,
        alpha: float | None = None,
        beta: float = 0.5,
        noise: str | None = "gaussian",
        statistics: str = "sample",
        seed: int | None = None,
        surrogate: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(surrogate=ATan(3.0) if surrogate is None else surrogate, **kwargs)
        self.tau = tau
        if alpha is not None:
            meaning = "or None for no memory; with 2 there is no noise"
            alpha = checks.number("alpha", alpha, least=1 / _HALF_RANGE, meaning=meaning)
        self.alpha = alpha
        self.beta = checks.number("beta", beta)
        self.noise = checks.choice("noise", noise, NOISES)
        self.statistics = checks.choice("statistics", statistics, STATISTICS)
        self.seed = checks.seed(seed)
        # Named after the layer: PyTorch keeps a single parameter for variables with equal paths.
        name = f"{self.name}_seed_generator"
        self.seed_generator = keras.random.SeedGenerator(name=name) if seed is None else None

    @property
    def pointwise(self) -> bool:
        """Whether ``step`` is elementwise: without memory, there are no statistics over units."""
        return self.alpha is None

    def run(
        self, inputs: Tensor, states: list[Tensor], training: bool | None, mask: Tensor = None
    ) -> tuple[Tensor, list[Tensor]]:
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
        """Return n, or n + beta without memory."""
        half_range, center = _HALF_RANGE, _CENTER
        if self.alpha is not None:
            half_range, center = half_range - 1 / self.alpha, center - self.beta
        if half_range == 0:
            return center
        axes = neurons.statistics_axes(self.statistics, inputs, first=2)
        noise = draw_noise(self, inputs, mask, self.noise, axes)
        return half_range * noise + center

    def get_config(self):
        return {**super().get_config(), "noise": self.noise, "seed": self.seed}
