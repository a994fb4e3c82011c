"""PLIF: the leaky integrate-and-fire neuron that learns its time constant."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_snn import checks
from keras_snn.layers.base import SpikingNeuron
from keras_snn.ops import neurons


@keras.saving.register_keras_serializable(package="keras_snn")
class PLIF(SpikingNeuron):
    """Parametric LIF neuron: ``LIF`` with ``1 / tau = sigmoid(w)`` and a learned w.

    Every w gives a tau above 1, so training needs no constraint.

    Args:
        tau: Number > 1, the initial tau in steps: ``w = -log(tau - 1)``. Default 2.
        decay_input: As in ``LIF``. Default True.
        refractory: As in ``LIF``. Default 0.
        learn: Sequence of names of trained parameters besides w: ("threshold",) or (). Default ().
        **kwargs: ``threshold=1``, ``reset="zero"``, ``v_reset=0``, ``surrogate="atan"``, ``detach_reset=False``,
            ``per="layer"``, ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ..., as in
            ``SpikingNeuron``.

    Call arguments, shapes and errors: as in ``SpikingNeuron``. ``per`` gives the shape of the weight ``w``. The states
    are those of ``LIF``.

    Example:

    ```python
    layer = keras_snn.layers.PLIF(tau=2.0)
    layer(keras.ops.ones((2, 8, 16)))
    1 / keras.ops.sigmoid(layer.weights[0])  # tau
    ```

    References: Fang et al. 2021, ICCV, arXiv:2007.05785, equations 6 to 8.
    """

    parameter_names = ("w", "threshold")
    options = ("v_reset", "decay_input", "refractory")
    pointwise = True
    step = staticmethod(neurons.leaky)

    def __init__(
        self,
        tau: float = 2.0,
        *,
        decay_input: bool = True,
        refractory: int = 0,
        learn: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        learn = (learn,) if isinstance(learn, str) else learn
        super().__init__(learn=("w", *learn), **kwargs)
        self.tau = checks.number("tau", tau)
        if self.tau <= 1:
            raise ValueError(f"`tau` must be above 1, got {tau!r}. A neuron without memory is a LIF with tau=1.")
        self.w = -math.log(self.tau - 1)
        self.decay_input = decay_input
        self.refractory = checks.integer("refractory", refractory, least=0, meaning="a number of steps")

    def equation_values(self, p: dict[str, Any]) -> dict[str, Any]:
        p["leak"] = ops.sigmoid(p.pop("w"))
        return p

    def get_config(self):
        config = super().get_config()
        del config["w"]
        return {**config, "tau": self.tau, "learn": [name for name in self.learn if name != "w"]}
