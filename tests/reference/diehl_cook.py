"""The network of Diehl and Cook as a NumPy loop over time and events, in float64."""

import math

import numpy as np


def present(
    kernel,
    inputs,
    *,
    theta,
    dt=0.5,
    rule="triplet",
    sign=-1,
    gate=False,
    delays=None,
    learns=True,
    counted=None,
    starts_low=False,
):
    """Present ``inputs (time, n_inputs)`` of 0 and 1. Weights change at once, pre before post.

    Returns:
        The spikes ``(time, n)`` of the excitatory neurons, the kernel, the growth of theta, and the traces.
    """
    n_inputs, n = kernel.shape
    w = kernel.astype(float)
    u, v = np.full(n, -65.0), np.full(n, -60.0)
    if starts_low:
        u, v = u - 40, v - 40
    g_e, g_i, h_e, grown = np.zeros((4, n))
    free_at, v_free_at = np.zeros((2, n), int)
    last = np.full(n, -1 if starts_low else -(10**6))
    pre = np.zeros((n_inputs, 1 if delays is None else n))
    post1, post2 = np.zeros((2, n))
    rows = []
    for t in range(len(inputs)):
        pre, post1, post2 = pre * math.exp(-dt / 20), post1 * math.exp(-dt / 20), post2 * math.exp(-dt / 40)
        # membranes
        total = 1 + g_e + g_i
        goal = (-65 + g_e * 0 + g_i * -100) / total
        u = np.where(t >= free_at, goal + (u - goal) * np.exp(-dt / 100 * total), u)
        goal = -60 / (1 + h_e)
        v = np.where(t >= v_free_at, goal + (v - goal) * np.exp(-dt / 10 * (1 + h_e)), v)
        limit = -72 + (theta + grown) * (math.exp(-t * dt / 1e7) if learns else 1)
        spikes = (u > limit) & (t >= free_at)
        if gate:
            spikes &= (t - last) * dt * 0.1 > 5 + 1e-9
        fired = (v > -40) & (t >= v_free_at)
        # conductances: decay, then jumps by the weights before this step's changes
        g_e, g_i, h_e = g_e * math.exp(-dt / 1), g_i * math.exp(-dt / 2), h_e * math.exp(-dt / 1)
        if delays is None:
            arrived = np.repeat(inputs[t][:, None], n, axis=1)
        else:
            arrived = np.array(
                [[t >= d and inputs[t - d][i] for d in row] for i, row in enumerate(delays)], dtype=float
            )
        for i, j in zip(*np.nonzero(arrived), strict=True):
            g_e[j] += w[i, j]
            if learns:
                w[i, j] = min(max(w[i, j] + sign * 1e-4 * post1[j], 0), 1)
            pre[i, 0 if delays is None else j] = 1
        for j in np.nonzero(spikes)[0]:
            h_e[j] += 10.4
            if learns:
                trace = pre[:, 0 if delays is None else j]
                w[:, j] = np.clip(w[:, j] + 0.01 * trace * (post2[j] if rule == "triplet" else 1), 0, 1)
            post1[j] = post2[j] = 1
            grown[j] += 0.05
        for j in np.nonzero(fired)[0]:
            g_i += 17 * (np.arange(n) != j)
        u, v = np.where(spikes, -65, u), np.where(fired, -45, v)
        free_at, v_free_at = np.where(spikes, t + 10, free_at), np.where(fired, t + 4, v_free_at)
        last = np.where(spikes, t, last)
        rows.append(spikes)
    return np.array(rows), w, grown, {"pre": pre, "post1": post1, "post2": post2}
