"""The neurons as NumPy loops over time, and hand-written gradients of some of them.

Arrays are ``(batch, time, ...)``. Every operation rounds to ``dtype``: float32 gives the values of the layers bit for
bit, float64 the exact equations. The loops share only ``charge`` and ``reset``.
"""

import math
from types import SimpleNamespace

import numpy as np


def charge(v, x, leak, v_reset, decay_input):
    if decay_input:
        return v + leak * (x - (v - v_reset))
    return v - leak * (v - v_reset) + x


def reset(h, s, threshold, reset_mode, v_reset):
    if reset_mode == "zero":
        return np.where(s > 0, v_reset, h)
    return h - threshold * s if reset_mode == "subtract" else h


def leaky(
    x,
    *,
    leak,
    threshold=1,
    decay_input=True,
    reset_mode="zero",
    v_reset=0,
    refractory=0,
    k=1,
    activation=None,
    unscale=False,
    dtype="float32",
):
    """IF (leak 0, no decay of the input), LIF, PLIF, KLIF: return the traces h, f, s, v, held ``(batch, time, ...)``.

    ``unscale`` selects KLIF* instead of KLIF. ``held`` is True in refractory steps.
    """
    x, leak, threshold, v_reset, k = (np.asarray(a, dtype) for a in (x, leak, threshold, v_reset, k))
    v = np.full_like(x[:, 0], v_reset)
    wait = np.zeros(v.shape, int)
    rows = {name: [] for name in ("h", "f", "s", "v", "held")}
    for t in range(x.shape[1]):
        h = charge(v, x[:, t], leak, v_reset, decay_input)
        f = k * h if activation is None else activation(k * h)
        held = wait > 0
        s = ((f > threshold) & ~held).astype(dtype)
        kept, taken = (f * (1 / k), threshold * (1 / k)) if unscale else (f, threshold)
        v = np.where(held, v, reset(kept, s, taken, reset_mode, v_reset))
        wait = np.where(s > 0, refractory, np.maximum(wait - 1, 0))
        for name, row in zip(rows, (h, f, s, v, held), strict=True):
            rows[name].append(row)
    return SimpleNamespace(**{name: np.stack(row, axis=1) for name, row in rows.items()})


def leaky_gradients(
    x,
    d_s,
    d_v,
    *,
    surrogate,
    leak,
    threshold=1,
    decay_input=True,
    reset_mode="zero",
    v_reset=0,
    detach_reset=False,
    k=1,
    activation=None,
    slope_of_activation=np.ones_like,
    unscale=False,
    refractory=0,
):
    """Return the gradients of ``leaky`` in float64: by x ``(batch, time, ...)``, by leak, threshold and k ``(...)``.

    Args:
        d_s: Gradient of the spikes, ``(batch, time, ...)``.
        d_v: Gradient of the last membrane, ``(batch, ...)``.
        surrogate: Function, the surrogate derivative of a spike.
        slope_of_activation: Function, the derivative of ``activation``.
    """
    x, d_s, v_grad = (np.asarray(a, "float64") for a in (x, d_s, d_v))
    options = {
        "leak": leak,
        "threshold": threshold,
        "decay_input": decay_input,
        "reset_mode": reset_mode,
        "v_reset": v_reset,
        "k": k,
    }
    options |= {"activation": activation, "unscale": unscale, "refractory": refractory}
    trace = leaky(x, **options, dtype="float64")
    before = np.concatenate([np.full_like(x[:, :1], v_reset), trace.v[:, :-1]], axis=1)
    d_x, sums = np.zeros_like(x), {name: np.zeros(x.shape[2:]) for name in ("leak", "threshold", "k")}
    scale = k if unscale else 1.0
    for t in reversed(range(x.shape[1])):
        free = ~trace.held[:, t]
        h, f, s, v = trace.h[:, t], trace.f[:, t], trace.s[:, t], before[:, t]
        # v = reset(f / scale, s, threshold / scale)
        to_kept = v_grad * (1 - s if reset_mode == "zero" else 1)
        to_taken = -v_grad * s if reset_mode == "subtract" else 0 * s
        through_s = {"zero": v_reset - f / scale, "subtract": -threshold / scale, None: 0.0}[reset_mode]
        to_s = d_s[:, t] + (0 if detach_reset else v_grad * through_s)
        # s = step(f - threshold)
        to_f = to_s * surrogate(f - threshold) + to_kept / scale
        to_threshold = -to_s * surrogate(f - threshold) + to_taken / scale
        # f = activation(k h)
        to_kh = to_f * slope_of_activation(k * h)
        to_k = to_kh * h - (to_kept * f + to_taken * threshold) / scale**2 * unscale
        to_h = to_kh * k
        # h = charge(v, x)
        to_leak = to_h * ((x[:, t] if decay_input else 0) - (v - v_reset))
        d_x[:, t] = np.where(free, to_h * (leak if decay_input else 1), 0)
        v_grad = np.where(free, to_h * (1 - leak), v_grad)
        for name, grad in (("leak", to_leak), ("threshold", to_threshold), ("k", to_k)):
            sums[name] += np.where(free, grad, 0).sum(axis=0)
    return SimpleNamespace(x=d_x, v=v_grad, **sums)


def atan(slope=2.0):
    """Return the derivative of ``arctan(pi slope x / 2) / pi``."""
    return lambda x: slope / 2 / (1 + (math.pi / 2 * slope * x) ** 2)


def adaptive(
    x, *, leak, adaptation_leak, beta, threshold=1, decay_input=True, reset_mode="zero", v_reset=0, dtype="float32"
):
    """ALIF: return spikes ``(batch, time, ...)``, and the last v and a."""
    x, leak, slow, beta, threshold, v_reset = (
        np.asarray(a, dtype) for a in (x, leak, adaptation_leak, beta, threshold, v_reset)
    )
    v, a, spikes = np.full_like(x[:, 0], v_reset), np.zeros_like(x[:, 0]), np.empty_like(x)
    for t in range(x.shape[1]):
        h, high = charge(v, x[:, t], leak, v_reset, decay_input), threshold + beta * a
        spikes[:, t] = s = (h > high).astype(dtype)
        v = reset(h, s, high, reset_mode, v_reset)
        a = a - slow * a + s
    return spikes, v, a


def synaptic(x, *, leak, synapse_leak, threshold=1, reset_mode="zero", v_reset=0, dtype="float32"):
    """Return spikes ``(batch, time, ...)``, and the last i and v."""
    x, leak, fast, threshold, v_reset = (np.asarray(a, dtype) for a in (x, leak, synapse_leak, threshold, v_reset))
    i, v, spikes = np.zeros_like(x[:, 0]), np.full_like(x[:, 0], v_reset), np.empty_like(x)
    for t in range(x.shape[1]):
        i = i - fast * i + x[:, t]
        h = v - leak * (v - v_reset) + i
        spikes[:, t] = s = (h > threshold).astype(dtype)
        v = reset(h, s, threshold, reset_mode, v_reset)
    return spikes, i, v


def noisy(x, noise, *, leak, alpha, beta=0.5, axes=(1,), threshold=1, reset_mode="zero", v_reset=0, dtype="float64"):
    """NoisyLIF: return h and spikes ``(batch, time, ...)``, and the last v. ``axes`` are axes of one step."""
    x, noise = np.asarray(x, dtype), np.asarray(noise, dtype)
    v, rows = np.full_like(x[:, 0], v_reset), {"h": [], "s": []}
    for t in range(x.shape[1]):
        a = v - leak * (v - v_reset)
        mean, sigma = a.mean(axis=axes, keepdims=True), a.std(axis=axes, keepdims=True)
        standard = (a - mean) / np.where(sigma < 1e-6, np.inf, sigma)
        largest = np.abs(standard).max(axis=axes, keepdims=True)
        history = standard / (alpha * np.where(largest == 0, 1, largest)) + beta
        h = history + noise[:, t] + x[:, t]
        s = (h > threshold).astype(dtype)
        v = reset(h, s, threshold, reset_mode, v_reset)
        rows["h"].append(h)
        rows["s"].append(s)
    return (*(np.stack(row, axis=1) for row in rows.values()), v)


def integrator(x, *, leak, decay_input=True, v_reset=0, dtype="float32"):
    """LeakyIntegrator: return the membrane ``(batch, time, ...)``."""
    x, leak, v_reset = (np.asarray(a, dtype) for a in (x, leak, v_reset))
    v, rows = np.full_like(x[:, 0], v_reset), np.empty_like(x)
    for t in range(x.shape[1]):
        rows[:, t] = v = charge(v, x[:, t], leak, v_reset, decay_input)
    return rows


def recurrent(x, kernel, *, leak, threshold=1, decay_input=True, reset_mode="zero", v_reset=0, dtype="float32"):
    """RecurrentLIF: return spikes ``(batch, time, units)``, and the last v."""
    x, kernel, leak, threshold, v_reset = (np.asarray(a, dtype) for a in (x, kernel, leak, threshold, v_reset))
    v, s, spikes = np.full_like(x[:, 0], v_reset), np.zeros_like(x[:, 0]), np.empty_like(x)
    for t in range(x.shape[1]):
        h = charge(v, x[:, t] + s @ kernel, leak, v_reset, decay_input)
        spikes[:, t] = s = (h > threshold).astype(dtype)
        v = reset(h, s, threshold, reset_mode, v_reset)
    return spikes, v


def resonator(x, *, period, decay_periods=4, threshold=1.5, reset_mode="zero", dtype="float32"):
    """ResonateAndFire: return spikes ``(batch, time, ...)``, and the last real and imaginary parts."""
    decay, angle = math.exp(-1 / (decay_periods * period)), 2 * math.pi / period
    x, cos, sin, threshold = (
        np.asarray(a, dtype) for a in (x, decay * math.cos(angle), decay * math.sin(angle), threshold)
    )
    a, b, spikes = np.zeros_like(x[:, 0]), np.zeros_like(x[:, 0]), np.empty_like(x)
    for t in range(x.shape[1]):
        a, b = cos * a - sin * b + x[:, t], sin * a + cos * b
        spikes[:, t] = s = (np.sqrt(a * a + b * b) > threshold).astype(dtype)
        a, b = (reset(part, s, threshold, reset_mode, np.zeros((), dtype)) for part in (a, b))
    return spikes, a, b


def conductance(
    x,
    *,
    ms,
    tau=100.0,
    rest=-65.0,
    v_reset=-65.0,
    threshold=-52.0,
    refractory_time=5.0,
    e_excitatory=0.0,
    e_inhibitory=-100.0,
    tau_excitatory=1.0,
    tau_inhibitory=2.0,
):
    """Return spikes, v, g_e and g_i after each step, in float64, for ``x (time,)`` and steps of ``ms``."""
    v, g_e, g_i, last = rest, 0.0, 0.0, -math.inf
    trace = SimpleNamespace(**{name: np.zeros(len(x)) for name in ("s", "v", "g_e", "g_i")})
    for t, jump in enumerate(np.asarray(x, "float64")):
        g_e, g_i = g_e + max(jump, 0), g_i + max(-jump, 0)
        if t - last > round(refractory_time / ms):
            rate = (1 + g_e + g_i) / tau
            drive = (rest + g_e * e_excitatory + g_i * e_inhibitory) / tau
            v = v * math.exp(-rate * ms) + drive / rate * (1 - math.exp(-rate * ms))
            if v > threshold:
                trace.s[t], v, last = 1, v_reset, t
        g_e, g_i = g_e * math.exp(-ms / tau_excitatory), g_i * math.exp(-ms / tau_inhibitory)
        trace.v[t], trace.g_e[t], trace.g_i[t] = v, g_e, g_i
    return trace


def izhikevich(x, *, a=0.02, b=0.2, c=-65.0, d=8.0, threshold=30.0, ms=1.0):
    """Return spikes, v and u after each step, in float64, for ``x (time,)`` and steps of ``ms``."""
    v, u = c, b * c
    trace = SimpleNamespace(s=np.zeros(len(x)), v=np.zeros(len(x)), u=np.zeros(len(x)))
    for t, current in enumerate(np.asarray(x, "float64")):
        v += ms / 2 * (0.04 * v**2 + 5 * v + 140 - u + current)
        v += ms / 2 * (0.04 * v**2 + 5 * v + 140 - u + current)
        u += ms * a * (b * v - u)
        if v > threshold:
            trace.s[t] = 1
            v, u = c, u + d
        trace.v[t], trace.u[t] = v, u
    return trace
