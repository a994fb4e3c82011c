"""The equations of `keras_snn.ops` as plain NumPy loops over time."""

import math

import numpy as np
from keras import tree


def scan(step, init, xs, params=(), length=None, reverse=False):
    """Return (outputs, final state) of a step function for NumPy arrays."""
    length = tree.flatten(xs)[0].shape[1] if length is None else length
    state, rows = init, {}
    for t in reversed(range(length)) if reverse else range(length):
        x = None if xs is None else tree.map_structure(lambda x: x[:, t], xs)
        state, rows[t] = step(params, state, x)
    return tree.map_structure(lambda *row: np.stack(row, axis=1), *(rows[t] for t in range(length))), state


def integrate_and_fire(rates, voltage, dt):
    """Return (spike counts, last voltage), computed in float32."""
    rates, voltage, dt = (np.asarray(a, "float32") for a in (rates, voltage, dt))
    counts = np.empty_like(rates)
    for t in range(rates.shape[1]):
        increment = rates[:, t] * dt
        whole_part = np.floor(increment)
        voltage = voltage + (increment - whole_part)
        fired = np.floor(voltage)
        voltage = voltage - fired
        counts[:, t] = whole_part + fired
    return counts, voltage


def lowpass(x, level, tau, dt):
    """Return (outputs, last level) in float64."""
    y, a = np.asarray(level, "float64"), np.exp(-dt / np.asarray(tau, "float64"))
    outputs = np.empty(x.shape, "float64")
    for t in range(x.shape[1]):
        outputs[:, t] = y = a * y + (1 - a) * x[:, t]
    return outputs, y


def alpha(x, state, tau, dt):
    """Return (outputs, last (p, q)) in float64.

    The state z = (p, q) obeys z' = A z + B x with A = [[-2/tau, -1/tau^2], [1, 0]] and B = (1/tau^2, 0). A + 1/tau is
    nilpotent, so exp(A dt) = exp(-dt/tau) (1 + (A + 1/tau) dt). For constant x, z tends to (0, x).
    """
    tau = np.asarray(tau, "float64")
    A = np.array([[-2 / tau, -1 / tau**2], [np.ones_like(tau), np.zeros_like(tau)]])
    identity = np.eye(2).reshape(2, 2, *[1] * tau.ndim)
    power = np.exp(-dt / tau) * (identity + (A + identity / tau) * dt)
    p, q = (np.asarray(s, "float64") for s in state)
    outputs = np.empty(x.shape, "float64")
    for t in range(x.shape[1]):
        distance = q - x[:, t]
        p, q = power[0, 0] * p + power[0, 1] * distance, x[:, t] + power[1, 0] * p + power[1, 1] * distance
        outputs[:, t] = q
    return outputs, (p, q)


def finalize(h):
    """Return the 32-bit finalizer of MurmurHash3, elementwise, of integers modulo 2^32."""
    mask = np.uint64(0xFFFFFFFF)
    h = np.asarray(h, "uint64") & mask
    h = (h ^ h >> np.uint64(16)) * np.uint64(0x85EBCA6B) & mask
    h = (h ^ h >> np.uint64(13)) * np.uint64(0xC2B2AE35) & mask
    return h ^ h >> np.uint64(16)


def uniform_by_index(index, shape, seed):
    """Return the hash of (seed, index, unit) as float32 in [0, 1), ``(len(index), *shape)``."""
    if isinstance(seed, int):
        start = np.uint64(0x9E3779B9 * (seed + 1) % 2**32)
    else:
        start = finalize(finalize(seed[0]) + np.uint64(seed[1]))
    of_unit = finalize(np.arange(math.prod(shape), dtype="uint64") + start)
    hashed = finalize(finalize(index)[:, None] + of_unit)
    return ((hashed >> np.uint64(8)) / 2**24).astype("float32").reshape(len(index), *shape)
