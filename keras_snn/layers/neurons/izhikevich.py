"""Izhikevich: a quadratic neuron with a recovery variable."""

from typing import Any

import keras
from keras import ops

from keras_snn import checks
from keras_snn.hints import Tensor
from keras_snn.layers.base import SpikingNeuron
from keras_snn.ops import neurons
from keras_snn.ops.precision import voltage_dtype
from keras_snn.surrogates import ATan


@keras.saving.register_keras_serializable(package="keras_snn")
class Izhikevich(SpikingNeuron):
    """Izhikevich neuron: four parameters give regular spiking, fast spiking, bursting or chattering.

    ::

        v' = 0.04 v^2 + 5 v + 140 - u + x        (mV, ms)
        u' = a (b v - u)
        a spike at v > threshold:  v <- c,  u <- u + d

    A step of length dt is an Euler step, for v in two halves, as in the publication. It is stable up to dt = 1 ms.

    In contrast to the other neurons, time is in seconds and voltages are in mV. The input x is the current I of the
    publication, about 4 to 20. The condition for a spike is ``v > 30``, not ``v >= 30``, as in all neurons of this
    package.

    Args:
        a: Number in 1/ms, the recovery rate of u, or an initializer. Default 0.02.
        b: Number in 1/ms, the coupling of u to v, or an initializer. Default 0.2.
        c: Number in mV, the initial v and the v after a spike. Default -65.
        d: Number in mV/ms, the increase of u per spike, or an initializer. Default 8. The defaults of a to d give
            regular spiking.
        threshold: Number in mV, or an initializer. Default 30.
        surrogate: As in ``SpikingNeuron``. Default ``ATan(0.1)``: the argument is in mV, so the slope is small.
        dt: Number in seconds, or a scalar variable; see ``SpikingLayer``. Default: ``keras_snn.default.dt``, 0.001.
        detach_reset, learn, per: As in ``SpikingNeuron``. ``learn`` may name "a", "b", "d" and "threshold".
        **kwargs: ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ..., as in ``SpikingNeuron``.

    Call arguments, shapes and errors: as in ``SpikingNeuron``. The states are v, initially c, and u, initially b c.

    Example:

    ```python
    keras_snn.layers.Izhikevich()(10 * keras.ops.ones((1, 1000, 1)))  # one second of regular spikes
    ```

    References: Izhikevich 2003, IEEE Trans. Neural Networks 14, 1569-1572, doi:10.1109/TNN.2003.820440,
    equations 1 to 3.
    """

    parameter_names = ("a", "b", "d", "threshold")
    state_names = ("v", "u")
    options = ("v_reset",)
    step = staticmethod(neurons.izhikevich)

    def __init__(
        self,
        a: Any = 0.02,
        b: Any = 0.2,
        c: float = -65.0,
        d: Any = 8.0,
        *,
        threshold: Any = 30.0,
        surrogate: Any = None,
        **kwargs: Any,
    ) -> None:
        surrogate = ATan(0.1) if surrogate is None else surrogate
        c = checks.number("c", c)
        super().__init__(threshold=threshold, reset="zero", v_reset=c, surrogate=surrogate, **kwargs)
        self.a, self.b, self.c, self.d = a, b, c, d

    def equation_values(self, p: dict[str, Any]) -> dict[str, Any]:
        dt = self.dt
        return {**p, "dt": dt if isinstance(dt, float) else ops.cast(dt, voltage_dtype(self.compute_dtype))}

    def spread(self, name: str, value: Tensor, states: list[Tensor]) -> Tensor:
        return value if name == "dt" else super().spread(name, value, states)

    def initial_state(self, batch_size: int) -> list[Tensor]:
        v, u = super().initial_state(batch_size)
        return [v, u + ops.cast(self.b, v.dtype) * v]

    def get_config(self):
        config = super().get_config()
        for name in ("reset", "v_reset"):
            del config[name]
        return {**config, "c": self.c}
