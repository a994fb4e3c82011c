"""OscillationLIF and AlternativeOscillationLIF: the membrane oscillates by noise, or by a function of itself."""

from typing import Any

import keras
from keras import ops

from keras_snn import checks, probe
from keras_snn.hints import Tensor
from keras_snn.layers.base import SpikingNeuron
from keras_snn.layers.base.noise import draw_noise
from keras_snn.ops import neurons
from keras_snn.surrogates import ATan

NOISES = ("uniform", "normal")
FUNCTIONS = tuple(neurons.OSCILLATIONS)


@keras.saving.register_keras_serializable(package="keras_snn")
class OscillationLIF(SpikingNeuron):
    """Leaky integrate-and-fire neuron with noise added to the membrane before it fires, in training and inference.

    ======  ======================================================================
    charge  ``h_t = v_{t-1} - (v_{t-1} - v_reset) / tau + x_t``
    noise   ``p_t = f(h_t + gamma_t)``, with ``f(x) = x`` for x > 0, else ``-slope x``
    fire    ``s_t = 1 if p_t > threshold else 0``
    reset   ``v_t = p_t (1 - s_t) + v_reset s_t``, or ``p_t - threshold s_t``
    ======  ======================================================================

    ``gamma_t`` is drawn independently for each unit, sample and step. A gradient sees it as a constant. The neuron also
    fires without input: 0.076 spikes a step in the steady state with the defaults.

    Args:
        tau: Number >= 1, the time constant of the membrane in steps, or an initializer. Default 2.
        noise: "uniform", in ``noise_range``, or "normal", with the mean 0 and the standard deviation ``noise_stddev``.
            Default "uniform".
        noise_range: Pair of numbers low <= high. Default (-0.2, 0.8).
        noise_stddev: Number >= 0. Default 0.5.
        slope: Number >= 0. Negative potentials are folded to positive ones of ``slope`` times the size. Default 0.03.
        seed: Integer that fixes the noise, the same in every call; None (default) draws new noise in every call.
            ``keras.utils.set_random_seed`` fixes this too. Inside ``keras_snn.probe.scope(sample_index=...)`` the noise
            depends on the index of the sample instead.
        surrogate: As in ``SpikingNeuron``. Default ``ATan(3)``.
        **kwargs: As in ``SpikingNeuron``. ``learn`` accepts "tau" (kept at 1 or above) and "threshold".

    Call arguments, shapes and errors: as in ``SpikingNeuron``. The state is v.

    Example:

    ```python
    layer = keras_snn.layers.OscillationLIF(seed=0)
    layer(keras.ops.zeros((2, 8, 16)))  # fires without input
    ```

    References: Jiang 2022, PhD thesis, University of Canterbury, equations 3.9 to 3.13; Jiang and Zhang 2022,
    arXiv:2211.02223. The surrogate is evaluated at p, as in the code of the thesis; equation 3.17 takes h + gamma.
    """

    parameter_names = ("tau", "threshold")
    options = ("v_reset", "slope")
    time_constants = {"tau": "leak"}  # noqa: RUF012
    pointwise = True
    step = staticmethod(neurons.folded_leaky)

    def __init__(
        self,
        tau: Any = 2.0,
        *,
        noise: str = "uniform",
        noise_range: tuple[float, float] = (-0.2, 0.8),
        noise_stddev: float = 0.5,
        slope: float = 0.03,
        seed: int | None = None,
        surrogate: Any = None,
        **kwargs: Any,
    ):
        super().__init__(surrogate=ATan(3.0) if surrogate is None else surrogate, **kwargs)
        self.tau = tau
        self.noise = checks.choice("noise", noise, NOISES)
        low, high = (checks.number("noise_range", bound) for bound in _pair(noise_range))
        if low > high:
            raise ValueError(f"`noise_range` must be a pair low <= high; got {noise_range!r}.")
        self.noise_range = (low, high)
        self.noise_stddev = checks.number("noise_stddev", noise_stddev, least=0)
        self.slope = checks.number("slope", slope, least=0)
        self.seed = checks.seed(seed)
        # Named by the layer: PyTorch keeps a single parameter for variables of equal paths.
        name = f"{self.name}_seed_generator"
        self.seed_generator = keras.random.SeedGenerator(name=name) if seed is None else None

    def equation_values(self, p: dict[str, Any]) -> dict[str, Any]:
        return {**super().equation_values(p), "smooth": probe.smooths_gradients()}

    def run(
        self, inputs: Tensor, states: list[Tensor], training: bool | None, mask: Tensor = None
    ) -> tuple[Tensor, list[Tensor]]:
        inputs = ops.cast(inputs, states[0].dtype)
        return super().run(inputs + self.draw_noise(inputs, mask), states, training, mask)

    def draw_noise(self, inputs: Tensor, mask: Tensor = None) -> Tensor:
        """Return the noise of each unit and step, a tensor in the shape of ``inputs (batch, time, ...)``."""
        noise = draw_noise(self, inputs, mask, self.noise)
        low, high = self.noise_range
        return (low + high) / 2 + (high - low) / 2 * noise if self.noise == "uniform" else self.noise_stddev * noise

    def get_config(self):
        names = ("noise", "noise_range", "noise_stddev", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="keras_snn")
class AlternativeOscillationLIF(SpikingNeuron):
    """Leaky integrate-and-fire neuron with a function of the membrane in place of the noise of ``OscillationLIF``.

    ========  ====================================================================
    charge    ``h_t = v_{t-1} - (v_{t-1} - v_reset) / tau + x_t``
    function  ``p_t = f(h_t + F(h_t))``, with ``f(x) = x`` for x > 0, else ``-slope x``
    fire      ``s_t = 1 if p_t > threshold else 0``
    reset     ``v_t = p_t (1 - s_t) + v_reset s_t``, or ``p_t - threshold s_t``
    ========  ====================================================================

    ======  =====================
    "f1"    ``F(h) = sin(h + c) + d``
    "f2"    ``F(h) = h sin(h + c) + d``
    "f3"    ``F(h) = exp(h + c) + d``
    "f4"    ``F(h) = 1 / (1 + exp(-c h)) + d``
    ======  =====================

    The derivative of F oscillates with h. This disturbs attacks that follow the gradient: it masks the gradient, and
    does not make a network robust.

    Args:
        tau: Number >= 1, the time constant of the membrane in steps, or an initializer. Default 2.
        function: "f1", "f2", "f3" or "f4". Default "f1".
        c: Number, or an initializer. Default 0.
        d: Number, or an initializer. Default 0.
        slope: As in ``OscillationLIF``. Default 0.03.
        surrogate: As in ``SpikingNeuron``. Default ``ATan(3)``.
        **kwargs: As in ``SpikingNeuron``. ``learn`` accepts "c", "d", "tau" (kept at 1 or above) and "threshold".

    Call arguments, shapes and errors: as in ``SpikingNeuron``. The state is v.

    Example:

    ```python
    layer = keras_snn.layers.AlternativeOscillationLIF(c=-0.1441, d=-0.1762)
    layer(keras.ops.ones((2, 8, 16)))
    ```

    References: Jiang 2022, PhD thesis, University of Canterbury, equations 3.14 and 3.20 to 3.23; Jiang and Zhang 2022,
    arXiv:2211.02223. The surrogate is evaluated at p, as in the code of the thesis.
    """

    parameter_names = ("tau", "c", "d", "threshold")
    options = ("v_reset", "slope", "function")
    time_constants = {"tau": "leak"}  # noqa: RUF012
    pointwise = True
    step = staticmethod(neurons.oscillating_leaky)

    def __init__(
        self,
        tau: Any = 2.0,
        *,
        function: str = "f1",
        c: Any = 0.0,
        d: Any = 0.0,
        slope: float = 0.03,
        surrogate: Any = None,
        **kwargs: Any,
    ):
        super().__init__(surrogate=ATan(3.0) if surrogate is None else surrogate, **kwargs)
        self.tau = tau
        self.c = c
        self.d = d
        self.function = checks.choice("function", function, FUNCTIONS)
        self.slope = checks.number("slope", slope, least=0)

    def equation_values(self, p: dict[str, Any]) -> dict[str, Any]:
        return {**super().equation_values(p), "smooth": probe.smooths_gradients()}


def _pair(value):
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f"`noise_range` must be a pair of numbers; got {value!r}.")
    return value
