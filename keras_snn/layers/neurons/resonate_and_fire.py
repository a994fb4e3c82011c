"""ResonateAndFire: a neuron that fires for spikes at its period."""

from typing import Any

import keras

from keras_snn import checks
from keras_snn.constraints import Clip
from keras_snn.layers.base import SpikingNeuron
from keras_snn.ops import neurons


@keras.saving.register_keras_serializable(package="keras_snn")
class ResonateAndFire(SpikingNeuron):
    """Resonate-and-fire neuron: a damped oscillator that fires for inputs at its period.

    =======  =====================================================================
    charge   ``z_t = exp(-1 / (D P) + 2 pi i / P) z_{t-1} + x_t``, z complex
    fire     ``s_t = 1 if |z_t| > threshold else 0``
    reset    ``z_t <- z_t (1 - s_t)``, or with ``reset=None`` none
    =======  =====================================================================

    P is ``period`` and D is ``decay_periods``. Before the first spike, k inputs of 1 at intervals of P bring \\|z\\| to
    ``(1 - r^k) / (1 - r)`` with ``r = exp(-1 / D)``: 1, 1.78, 2.39, 2.86 for D = 4. Inputs at intervals of P / 2 cancel
    each other, and a single one dies away. A threshold of 1.5 therefore passes bursts at the period only. The encoder
    of such bursts is ``Resonance``.

    Args:
        period: Number >= 2, P, in steps, or an initializer. Default 8.
        decay_periods: Number > 0, D, the time constant of the decay in periods. Larger values make the neuron more
            selective, for longer bursts. Default 4.
        threshold: Number, or an initializer. Default 1.5.
        reset: "zero" or None. Default "zero".
        **kwargs: ``surrogate="atan"``, ``detach_reset=False``, ``learn=()``, ``per="layer"``,
            ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ..., as in ``SpikingNeuron``.
            ``learn`` may name "period" (kept at 2 or above) and "threshold".

    Call arguments, shapes and errors: as in ``SpikingNeuron``. The states are the real and the imaginary part of z,
    initially 0. There is no ``v_reset``.

    Example:

    ```python
    burst = np.zeros((1, 26, 1), dtype="float32")
    burst[:, [0, 8, 16, 24]] = 1
    spikes = keras_snn.layers.ResonateAndFire(period=8, threshold=2.5)(burst)
    np.array(spikes)[0, :, 0].nonzero()[0].tolist()  # [24]
    ```

    References: Izhikevich 2001, Neural Networks 14, 883-894, doi:10.1016/S0893-6080(01)00078-8, equation 8. There a
    spike occurs when the imaginary part of z exceeds the threshold, and resets z to i.
    """

    parameter_names = ("period", "threshold")
    state_names = ("real", "imaginary")
    options = ("v_reset", "decay_periods")
    bounds = {"period": Clip(min_value=2.0)}  # noqa: RUF012
    step = staticmethod(neurons.resonate)

    def __init__(
        self,
        period: Any = 8.0,
        *,
        decay_periods: float = 4.0,
        threshold: Any = 1.5,
        reset: str | None = "zero",
        **kwargs: Any,
    ) -> None:
        if "v_reset" in kwargs:
            raise TypeError("A ResonateAndFire is reset to z = 0: it has no v_reset.")
        super().__init__(threshold=threshold, reset=checks.choice("reset", reset, ("zero", None)), **kwargs)
        self.period = period
        self.decay_periods = checks.number("decay_periods", decay_periods, above=0)

    def equation_values(self, p: dict[str, Any]) -> dict[str, Any]:
        cos, sin = neurons.damped_rotation(p["period"], p["decay_periods"])
        return {"threshold": p["threshold"], "v_reset": p["v_reset"], "cos": cos, "sin": sin}

    def get_config(self):
        config = super().get_config()
        del config["v_reset"]
        return config
