"""KLIF: the leaky integrate-and-fire neuron that learns the scale of its membrane."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_snn import checks
from keras_snn.constraints import Clip
from keras_snn.layers.base import SpikingNeuron
from keras_snn.ops import neurons

VARIANTS = ("klif", "klif*")


@keras.saving.register_keras_serializable(package="keras_snn")
class KLIF(SpikingNeuron):
    """LIF neuron that scales its membrane potential by a learned k and applies an activation before it fires.

    ======  ================================================================
    charge  ``h_t = v_{t-1} + (x_t - (v_{t-1} - v_reset)) / tau``
    scale   ``f_t = activation(k h_t)``
    fire    ``s_t = 1 if f_t > threshold else 0``
    reset   ``v_t = f_t (1 - s_t) + v_reset s_t``
    ======  ================================================================

    ``variant="klif*"`` keeps the unscaled potential: ``v_t = f_t / k (1 - s_t) + v_reset s_t``. With ReLU this is a LIF
    neuron with potentials of at least 0, the threshold ``threshold / k`` and a surrogate with k times the slope.

    With ``variant="klif"``, a potential below the threshold is multiplied by ``k (1 - 1 / tau)`` at each step. From
    ``k = tau / (tau - 1)`` on, it grows without any input until the neuron fires.

    By default, all neurons of the layer share one k; see ``per``. It starts at 1, is trained with the weights, and is
    clamped to ``k_bounds``. With ``k`` fixed at 1 (``learn=()``) and ``activation=None`` the layer is a LIF.

    Args:
        tau: Number >= 1, the membrane time constant in steps, or an initializer. Default 2.
        variant: "klif" or "klif*". Default "klif".
        activation: Name or callable of a Keras activation, or None for the identity. Default "relu". The publication
            also tries CELU and leaky ReLU, without their constants. With PyTorch's defaults, 1 and 0.01, these are
            "celu" and ``keras_snn.activations.LeakyReLU(0.01)``; Keras's "leaky_relu" has the slope 0.2.
            The activation must give NaN for NaN. On TensorFlow and JAX, "hard_shrink" and "soft_shrink" do not: with
            them a neuron can spike again after an input that is not finite.
        k: Number, the initial k, or an initializer. Default 1.
        k_bounds: Pair of numbers ``0 < lowest <= highest``, or None for no bounds. Default (0.5, 5).
        decay_input: As in ``LIF``. Default True.
        learn: Sequence of names among "k", "tau" and "threshold", the trained parameters. Default ("k",).
        **kwargs: ``threshold=1``, ``reset="zero"``, ``v_reset=0``, ``surrogate="atan"``, ``detach_reset=False``,
            ``per="layer"``, ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ..., as in
            ``SpikingNeuron``.

    Call arguments, shapes and errors: as in ``SpikingNeuron``. The state is v.

    Example:

    ```python
    layer = keras_snn.layers.KLIF(tau=2.0)
    layer(keras.ops.ones((2, 8, 16)))
    layer.k  # the weight, 1.0 before training
    layer.parameter_values()["k"]  # the value that the equations use, within k_bounds
    ```

    References: Jiang 2022, PhD thesis, University of Canterbury, equations 2.2 to 2.10; Jiang and Zhang 2023,
    arXiv:2302.09238. The thesis does not define how k is kept within its bounds. Here the equations clamp it, with a
    gradient that leads back from a bound, and Keras's optimizers clip the weight after each update.
    """

    parameter_names = ("tau", "k", "threshold")
    time_constants = {"tau": "leak"}  # noqa: RUF012
    options = ("v_reset", "decay_input")
    pointwise = True
    step = staticmethod(neurons.scaled_leaky)

    def __init__(
        self,
        tau: Any = 2.0,
        *,
        variant: str = "klif",
        activation: Any = "relu",
        k: Any = 1.0,
        k_bounds: tuple[float, float] | None = (0.5, 5.0),
        decay_input: bool = True,
        learn: Sequence[str] = ("k",),
        **kwargs: Any,
    ) -> None:
        super().__init__(learn=learn, **kwargs)
        if k_bounds is not None and not (len(k_bounds) == 2 and 0 < k_bounds[0] <= k_bounds[1]):
            raise ValueError(f"`k_bounds` must be a pair 0 < lowest <= highest, or None, got {k_bounds!r}.")
        self.k_bounds = None if k_bounds is None else tuple(k_bounds)
        self.bounds = {} if k_bounds is None else {"k": Clip(*k_bounds)}
        self.tau = tau
        self.k = k
        self.variant = checks.choice("variant", variant, VARIANTS)
        self.activation = keras.activations.get(activation)
        self.decay_input = decay_input

    def equation_values(self, p: dict[str, Any]) -> dict[str, Any]:
        p = super().equation_values(p)
        # Not in the step: XLA replaces a division by a constant k with a product, which rounds differently.
        return {**p, "activation": self.activation, "per_k": 1 / p["k"] if self.variant == "klif*" else None}

    def get_config(self):
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "variant": self.variant, "activation": activation, "k_bounds": self.k_bounds}
