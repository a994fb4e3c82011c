"""ConductanceLIF: the leaky integrate-and-fire neuron with excitatory and inhibitory conductances."""

import math
from typing import Any, ClassVar

import keras
from keras import ops

from keras_snn import checks
from keras_snn.hints import Tensor
from keras_snn.layers.base import SpikingNeuron
from keras_snn.ops import neurons
from keras_snn.ops.precision import voltage_dtype
from keras_snn.surrogates import ATan


@keras.saving.register_keras_serializable(package="keras_snn")
class ConductanceLIF(SpikingNeuron):
    """Conductance-based LIF neuron: inputs open conductances, which pull the membrane to a reversal potential.

    ============  ==================================================================================
    conductances  ``g_e <- g_e + max(x, 0)``, ``g_i <- g_i + max(-x, 0)``
    charge        ``tau v' = rest - v + g_e (e_excitatory - v) + g_i (e_inhibitory - v)``
    fire          ``s_t = 1 if h_t > threshold else 0``
    reset         ``v_t = v_reset`` after a spike, for ``refractory_time``
    decay         ``g_e <- g_e exp(-dt / tau_excitatory)``, ``g_i <- g_i exp(-dt / tau_inhibitory)``
    ============  ==================================================================================

    Times are in ms, except dt, voltages in mV, conductances in units of the leak. The charge is one step of the
    exponential Euler method: the conductances are constant within the step, and the membrane is then exact. The decay
    of the conductances is exact.

    A positive input is a jump of the excitatory conductance, a negative one a jump of the inhibitory conductance: a
    ``Dense`` or ``Conv2D`` layer before the neuron has excitatory and inhibitory weights. The input of a step is the
    sum over its synapses.

    Args:
        tau: Number > 0, ms, the membrane time constant. Default 100.
        rest: Number, mV, the resting and initial potential. Default -65.
        v_reset: Number, mV, the potential after a spike. Default -65.
        threshold: Number, mV, or an initializer. Default -52.
        refractory_time: Number >= 0, ms. For this time after a spike the membrane is held and the neuron is silent.
            Conductances continue. Default 5.
        e_excitatory: Number, mV, the reversal potential of g_e. Default 0.
        e_inhibitory: Number, mV, the reversal potential of g_i. Default -100.
        tau_excitatory: Number > 0, ms, of g_e. Default 1.
        tau_inhibitory: Number > 0, ms, of g_i. Default 2.
        surrogate: As in ``SpikingNeuron``. Default ``ATan(0.1)``: the argument is in mV, so the slope is small.
        dt: Number in seconds, or a scalar variable; see ``SpikingLayer``. Default: ``keras_snn.default.dt``, 0.001.
            With ``tau_excitatory=1``, use 0.0005 or less.
        detach_reset, learn, per: As in ``SpikingNeuron``. ``learn`` may name "threshold".
        **kwargs: ``return_sequences=True``, ``return_state=False``, ``stateful=False``, ..., as in ``SpikingNeuron``.

    Call arguments, shapes and errors: as in ``SpikingNeuron``. The states are v, g_e, g_i and the remaining refractory
    time in ms.

    Example:

    ```python
    jumps = np.zeros((1, 3, 1), "float32")
    jumps[:, 0] = 50.0  # tau = 1 ms: the first step reaches the equilibrium, -65 / 51 mV
    spikes = keras_snn.layers.ConductanceLIF(tau=1.0)(jumps)
    np.array(spikes).ravel().tolist()  # [1.0, 0.0, 0.0]
    ```

    References: Diehl and Cook 2015, Front. Comput. Neurosci. 9:99, doi:10.3389/fncom.2015.00099, equations 1 and 2. The
    defaults are those of their excitatory neurons. There, an input acts from the next step on.
    """

    parameter_names = ("threshold",)
    state_names = ("v", "g_e", "g_i", "wait")
    options = ("v_reset", "rest", "e_excitatory", "e_inhibitory")
    times: ClassVar[tuple[str, ...]] = ("tau", "refractory_time", "tau_excitatory", "tau_inhibitory")
    step = staticmethod(neurons.conductance_leaky)

    def __init__(
        self,
        tau: float = 100.0,
        *,
        rest: float = -65.0,
        v_reset: float = -65.0,
        threshold: Any = -52.0,
        refractory_time: float = 5.0,
        e_excitatory: float = 0.0,
        e_inhibitory: float = -100.0,
        tau_excitatory: float = 1.0,
        tau_inhibitory: float = 2.0,
        surrogate: Any = None,
        **kwargs: Any,
    ) -> None:
        surrogate = ATan(0.1) if surrogate is None else surrogate
        super().__init__(threshold=threshold, reset="zero", v_reset=v_reset, surrogate=surrogate, **kwargs)
        self.tau = checks.number("tau", tau, above=0)
        self.rest = checks.number("rest", rest)
        self.refractory_time = checks.number("refractory_time", refractory_time, least=0)
        self.e_excitatory = checks.number("e_excitatory", e_excitatory)
        self.e_inhibitory = checks.number("e_inhibitory", e_inhibitory)
        self.tau_excitatory = checks.number("tau_excitatory", tau_excitatory, above=0)
        self.tau_inhibitory = checks.number("tau_inhibitory", tau_inhibitory, above=0)

    def equation_values(self, p: dict[str, Any]) -> dict[str, Any]:
        dt: Any = self.dt
        is_number = isinstance(dt, float)
        dt = 1000 * (dt if is_number else ops.cast(dt, voltage_dtype(self.compute_dtype)))
        exp: Any = math.exp if is_number else ops.exp
        decays = {"decay_e": exp(-dt / self.tau_excitatory), "decay_i": exp(-dt / self.tau_inhibitory)}
        return {**p, **decays, "dt": dt, "dt_over_tau": dt / self.tau, "refractory_time": self.refractory_time}

    def spread(self, name: str, value: Tensor, states: list[Tensor]) -> Tensor:
        return super().spread(name, value, states) if name == "threshold" else value

    def initial_state(self, batch_size: int) -> list[Tensor]:
        v, *others = super().initial_state(batch_size)
        return [ops.full_like(v, self.rest), *others]

    def get_config(self):
        config = super().get_config()
        del config["reset"]
        return {**config, **{name: getattr(self, name) for name in self.times}}
