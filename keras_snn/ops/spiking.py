"""Spikes from rates: the integrate-and-fire rule of ``SpikingActivation``."""

from keras import ops

from keras_snn.ops.backend import floor, straight_through
from keras_snn.ops.scan import scan


def integrate_and_fire(rates, voltage, dt, *, mask=None):
    """Turn firing rates into spikes, several a step or negative ones where the rates ask for them.

    With the increment ``i_t = rates_t dt``::

        v_t = v_{t-1} + i_t
        n_t = floor(v_t)
        spikes_t = n_t / dt
        v_t <- v_t - n_t

    The whole part of each increment is split off before its fraction is added to the voltage, which then stays in
    [0, 1): the number of spikes differs by at most one from ``floor(v_0 + sum(i))``, over a million steps too.

    The gradient of the spikes is that of the rates at the same step; none flows through the voltage or through time.
    A rate that is not finite makes the voltage of its own neuron NaN from that step on; no other neuron sees it.

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
    # Multiplied before the loop: a fused multiply-add inside it would round otherwise than the other backends do.
    increments = ops.cast(rates, voltage.dtype) * dt
    # So is the reciprocal: XLA makes one of a division where it can, which rounds otherwise.
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
