"""Closed forms of the leaky integrate-and-fire neuron for a constant current.

The membrane follows ``tau v' = -v + R I`` from v = 0, its resting and reset potential. A spike occurs at
v = threshold. The neuron then rests for ``t_ref``. ``drive`` is R I, the potential that the membrane approaches. Times
have the unit of ``tau``.

The layer ``LIF(tau=1 / (1 - exp(-dt / tau)))`` is exact between spikes: its membrane after n steps is that at ``n dt``.

References: Gerstner, Kistler, Naud and Paninski 2014, Neuronal Dynamics, section 1.3.
"""

import math

from keras import ops

from keras_snn.hints import Tensor


def membrane(t: float | Tensor, drive: float | Tensor, tau: float | Tensor) -> Tensor:
    """Return the membrane at time ``t`` before the first spike, ``drive (1 - exp(-t / tau))``.

    Args:
        t: Number or tensor >= 0.
        drive: Number or tensor that broadcasts against ``t``.
        tau: Number or tensor > 0, the membrane time constant.
    """
    return ops.multiply(drive, -ops.expm1(-ops.convert_to_tensor(t) / tau))


def first_spike_time(drive: float | Tensor, tau: float | Tensor, threshold: float | Tensor = 1.0) -> Tensor:
    """Return the time of the first spike, ``tau ln(drive / (drive - threshold))``; infinity if drive <= threshold.

    It is computed as ``tau log1p(threshold / (drive - threshold))``, which is precise for a large drive. The gradient
    with respect to a drive at or below the threshold is 0.

    Args:
        drive: Number or tensor.
        tau: Number or tensor > 0, the membrane time constant.
        threshold: Number or tensor > 0. Default 1.
    """
    excess = ops.convert_to_tensor(drive) - threshold
    fires = excess > 0
    excess = ops.where(fires, excess, 1)  # 1 has a finite gradient, and the next `where` discards its value
    return ops.where(fires, tau * ops.log1p(threshold / excess), math.inf)


def rate(
    drive: float | Tensor, tau: float | Tensor, t_ref: float | Tensor = 0.0, threshold: float | Tensor = 1.0
) -> Tensor:
    """Return the steady firing rate, ``1 / (t_ref + first_spike_time)``; 0 if drive <= threshold.

    With ``t_ref = 0`` and ``tau = threshold = 1`` it approaches ``drive - 1/2`` for a large drive, similar to a ReLU.

    Args:
        drive: Number or tensor.
        tau: Number or tensor > 0, the membrane time constant.
        t_ref: Number or tensor >= 0, the refractory period. Default 0.
        threshold: Number or tensor > 0. Default 1.

    Example:

    ```python
    from keras_snn.ops import lif_solution
    round(float(lif_solution.rate(2.0, tau=1.0)), 6)  # 1.442695
    ```
    """
    return 1 / (t_ref + first_spike_time(drive, tau, threshold))
