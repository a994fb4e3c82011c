"""The integrate-and-fire rule of ``SpikingActivation``: spikes from firing rates."""

from keras import ops

from keras_snn.hints import Tensor
from keras_snn.ops.backend import floor, straight_through
from keras_snn.ops.scan import scan


def integrate_and_fire(
    rates: Tensor, voltage: Tensor, dt: float | Tensor, *, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Convert firing rates to spikes. High rates give several spikes per step, negative rates negative spikes.

    With the increment ``i_t = rates_t dt``::

        v_t = v_{t-1} + i_t
        n_t = floor(v_t)
        spikes_t = n_t / dt
        v_t <- v_t - n_t

    Only the fractional part of each increment is added to the voltage, which therefore stays in [0, 1). The number of
    spikes differs by at most one from ``floor(v_0 + sum(i))``, even after a million steps.

    The gradient of the spikes is that of the rates at the same step. No gradient flows through the voltage or time. A
    rate that is not finite makes the voltage of this neuron NaN from that step on. It affects no other neuron.

    Args:
        rates: Tensor ``(batch, time, ...)``, Hz.
        voltage: Tensor ``(batch, ...)``, dimensionless, in [0, 1).
        dt: Number or scalar tensor, seconds.
        mask: As in ``scan``.

    Returns:
        Pair of the spikes ``(batch, time, ...)`` in Hz (a spike is ``1 / dt`` high), of the dtype of ``rates``, and the
        last voltage, float32 or wider.
    """
    rates, voltage = ops.convert_to_tensor(rates), ops.convert_to_tensor(voltage)
    dt = ops.convert_to_tensor(dt, voltage.dtype)
    # Multiplied before the loop: a fused multiply-add in the loop would round differently from the other backends.
    increments = ops.cast(rates, voltage.dtype) * dt
    # The reciprocal, too: XLA may replace a division by a product with it, which rounds differently.
    height = 1 / dt
    example = ops.zeros((), rates.dtype)
    spikes, voltage = scan(_fire, voltage, increments, (height, example), gradient=False, mask=mask)
    return straight_through(spikes, rates), voltage


def _fire(params, voltage, increment):
    height, example = params
    whole = floor(increment)
    voltage = voltage + (increment - whole)
    fired = floor(voltage)
    return voltage - fired, ops.cast((whole + fired) * height, example.dtype)
