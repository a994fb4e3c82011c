"""KLIF: the leaky integrate-and-fire neuron that learns the scale of its membrane."""

import keras

from keras_snn import checks
from keras_snn.constraints import Clip
from keras_snn.layers.base import SpikingNeuron
from keras_snn.ops import neurons

VARIANTS = ("klif", "klif*")


@keras.saving.register_keras_serializable(package="keras_snn")
class KLIF(SpikingNeuron):
    """LIF neuron whose membrane is scaled by a learned k and sent through an activation before it fires.

    ======  ================================================================
    charge  ``h_t = v_{t-1} + (x_t - (v_{t-1} - v_reset)) / tau``
    scale   ``f_t = activation(k h_t)``
    fire    ``s_t = 1 if f_t > threshold else 0``
    reset   ``v_t = f_t (1 - s_t) + v_reset s_t``
    ======  ================================================================

    ``variant="klif*"`` carries the unscaled membrane: ``v_t = f_t / k (1 - s_t) + v_reset s_t``. With ReLU that is a
    LIF neuron with a floor at 0, the threshold ``threshold / k`` and a surrogate k times as steep. In the variant
    "klif" the memory below the threshold is ``k (1 - 1 / tau)`` a step: from ``k = tau / (tau - 1)`` on, a potential
    grows without any input until it fires.

    One k serves all neurons of the layer and all steps, unless ``per`` says otherwise. It begins at 1, is trained with
    the weights, and is clamped to ``k_bounds``. With ``k`` frozen at 1 (``learn=()``) and ``activation=None`` the layer
    is a LIF.

    Args:
        tau: Number >= 1, the time constant of the membrane in steps, or an initializer. Default 2.
        variant: "klif" or "klif*".
        activation: Name or callable of a Keras activation; None for k h itself. Default "relu". The publication also
            tries CELU and leaky ReLU, and does not give their constants. With PyTorch's defaults, 1 and 0.01, these are
            "celu" and ``keras_snn.activations.LeakyReLU(0.01)``; Keras's "leaky_relu" has the slope 0.2.
            It must give NaN for NaN. On TensorFlow and JAX, "hard_shrink" and "soft_shrink" do not: with them a neuron
            can spike again after an input that is not finite.
        k: Number, where k begins, or an initializer. Default 1.
        k_bounds: Pair of numbers, or None for no bounds. Default (0.5, 5).
        decay_input: As in ``LIF``. Default True.
        learn: Sequence of names out of "k", "tau", "threshold". Default ("k",).
        **kwargs: ``threshold=1``, ``reset="zero"``, ``v_reset=0``, ``surrogate="atan"``, ``detach_reset=False``,
            ``per="layer"``, ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ..., as in
            ``SpikingNeuron``.

    Call arguments, shapes and errors: as in ``SpikingNeuron``. The state is v.

    Example:

    ```python
    layer = keras_snn.layers.KLIF(tau=2.0)
    layer(keras.ops.ones((2, 8, 16)))
    layer.k  # the weight, 1.0 before the training
    layer.parameter_values()["k"]  # the value in force, within k_bounds
    ```

    References: Jiang 2022, PhD thesis, University of Canterbury, equations 2.2 to 2.10; Jiang and Zhang 2023,
    arXiv:2302.09238. The thesis says that k is kept within its bounds, not how. Here the equations clamp it, with a
    gradient that leads back from a bound, and Keras's optimizers clip the weight after each update.
    """

    parameter_names = ("tau", "k", "threshold")
    time_constants = {"tau": "leak"}  # noqa: RUF012
    options = ("v_reset", "decay_input")
    pointwise = True
    step = staticmethod(neurons.scaled_leaky)

    def __init__(
        self,
        tau=2.0,
        *,
        variant="klif",
        activation="relu",
        k=1.0,
        k_bounds=(0.5, 5.0),
        decay_input=True,
        learn=("k",),
        **kwargs,
    ):
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

    def equation_values(self, p):
        p = super().equation_values(p)
        # Divided once: XLA makes a product with 1 / k of a division by a number k, which rounds otherwise.
        return {**p, "activation": self.activation, "per_k": 1 / p["k"] if self.variant == "klif*" else None}

    def get_config(self):
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "variant": self.variant, "activation": activation, "k_bounds": self.k_bounds}
