"""Izhikevich: a quadratic neuron with a recovery variable."""

import keras
from keras import ops

from keras_snn import checks
from keras_snn.layers.base import SpikingNeuron
from keras_snn.ops import neurons
from keras_snn.ops.precision import voltage_dtype
from keras_snn.surrogates import ATan


@keras.saving.register_keras_serializable(package="keras_snn")
class Izhikevich(SpikingNeuron):
    """Izhikevich's neuron: regular and fast spikes, bursts and chattering, by four numbers.

    ::

        v' = 0.04 v^2 + 5 v + 140 - u + x        (mV, ms)
        u' = a (b v - u)
        a spike at v > threshold:  v <- c,  u <- u + d

    The step of length dt is Euler's, for v in two halves, as in the publication, which stays stable up to dt = 1 ms.
    In contrast to the other neurons, time is in seconds and voltages are in mV; the input x is as large as the
    publication's I, about 4 to 20. The spike is ``v > 30`` and not ``v >= 30``, as everywhere in this package.

    Args:
        a: Number, by the ms, how fast u recovers, or an initializer. Default 0.02.
        b: Number, by the ms, how much u follows v, or an initializer. Default 0.2.
        c: Number, mV, the membrane after a spike and at the beginning. Default -65.
        d: Number, mV/ms, what a spike adds to u, or an initializer. Default 8. The defaults give regular spiking.
        threshold: Number, mV, or an initializer. Default 30.
        surrogate: As in ``SpikingNeuron``. Its argument is in mV here, so the default is a flat one, ``ATan(0.1)``.
        dt: Number in seconds, or a scalar variable; see ``SpikingLayer``. Default 0.001.
        detach_reset, learn, per: As in ``SpikingNeuron``. ``learn`` may name "a", "b", "d" and "threshold".
        **kwargs: ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ..., as in ``SpikingNeuron``.

    Call arguments, shapes and errors: as in ``SpikingNeuron``. The states are v, which begins at c, and u, at b c.

    Example:

    ```python
    keras_snn.layers.Izhikevich()(10 * keras.ops.ones((1, 1000, 1)))  # one second of regular spikes
    ```

    References: Izhikevich 2003, IEEE Trans. Neural Networks 14, 1569-1572, equations 1 to 3.
    """

    parameter_names = ("a", "b", "d", "threshold")
    state_names = ("v", "u")
    options = ("v_reset",)
    step = staticmethod(neurons.izhikevich)

    def __init__(self, a=0.02, b=0.2, c=-65.0, d=8.0, *, threshold=30.0, surrogate=None, **kwargs):
        surrogate = ATan(0.1) if surrogate is None else surrogate
        c = checks.number("c", c)
        super().__init__(threshold=threshold, reset="zero", v_reset=c, surrogate=surrogate, **kwargs)
        self.a, self.b, self.c, self.d = a, b, c, d

    def equation_values(self, p):
        dt = self.dt
        return {**p, "dt": dt if isinstance(dt, float) else ops.cast(dt, voltage_dtype(self.compute_dtype))}

    def spread(self, name, value, states):
        return value if name == "dt" else super().spread(name, value, states)

    def initial_state(self, batch_size):
        v, u = super().initial_state(batch_size)
        return [v, u + ops.cast(self.b, v.dtype) * v]

    def get_config(self):
        config = super().get_config()
        for name in ("reset", "v_reset"):
            del config[name]
        return {**config, "c": self.c}
