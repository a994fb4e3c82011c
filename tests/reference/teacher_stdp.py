"""The network of ``TeacherSTDP`` as a NumPy loop over steps and synapses, with the constants of the source."""

import math

import numpy as np


def run(state, drawn, teacher, learns=True):
    """Return the last state, and "a", the spikes and the input spikes of each step.

    Args:
        state: Dict of float64 arrays as in ``keras_snn.ops.teacher_stdp``, without the axis of length 1.
        drawn: Bool array ``(time, n_inputs)``.
        teacher: Array ``(time, n)``.
        learns: Boolean.
    """
    s = {name: np.array(value) for name, value in state.items()}
    n_inputs, n = s["w"].shape
    # Two exponentials solve the membrane: 10 ms, driven by a current of 15 ms.
    leak, fade = math.exp(-0.01), math.exp(-0.1 / 15)
    a_of_steps, spikes, input_spikes = [], [], []
    for drawn_now, teacher_now in zip(drawn, teacher, strict=True):
        for waits in ("wait", "wait_inputs"):
            s[waits] = np.maximum(s[waits] - 1, 0)
        for j in range(n):
            if s["wait"][j] == 0:
                driven = (s["I_inp"][j] + s["I_neg"][j]) * 3 * (fade - leak)
                s["v"][j] = s["v"][j] * leak + driven + teacher_now[j] * (1 - leak)
        for name, tau in (("a", 10), ("a_inputs", 10), ("theta", 100), ("theta_inputs", 100), ("hold", 50)):
            s[name] *= math.exp(-0.1 / tau)
        s["I_inp"] *= fade
        s["I_neg"] *= fade
        fired_inputs = [i for i in range(n_inputs) if drawn_now[i] and s["wait_inputs"][i] == 0]
        fired = [j for j in range(n) if s["v"][j] > s["hold"][j] and s["wait"][j] == 0]
        for i in fired_inputs:
            s["I_inp"] += 0.2 * s["w"][i]
            s["wait_inputs"][i] = 20
            for _ in range(n):  # once for each synapse
                s["a_inputs"][i] += 1 / n / 10
                s["theta_inputs"][i] += 1 / n / 100
        for i in fired:
            for j in range(n):
                if i != j:
                    s["I_neg"][j] += 1.7 * s["w_lateral"][i, j]
        for j in fired:
            for _ in range(n_inputs):
                s["a"][j] += 1 / n_inputs / 10
                s["theta"][j] += 1 / n_inputs / 100
        for j in fired if learns else ():
            for i in range(n_inputs):
                change = -0.001 + 0.05 * (s["a_inputs"][i] - s["theta_inputs"][i])
                s["w"][i, j] = min(max(s["w"][i, j] + change, 0), 1)
            for i in range(n):
                if i != j:
                    change = -0.01 * (s["a"][i] - s["theta"][i])
                    s["w_lateral"][i, j] = min(max(s["w_lateral"][i, j] + change, -1), 0)
        for j in fired:
            s["v"][j] = 0
            s["hold"][j] += 0.1 * n
            s["wait"][j] = 20
        a_of_steps.append(s["a"].copy())
        spikes.append(np.isin(range(n), fired))
        input_spikes.append(np.isin(range(n_inputs), fired_inputs))
    return s, np.array(a_of_steps), np.array(spikes), np.array(input_spikes)
