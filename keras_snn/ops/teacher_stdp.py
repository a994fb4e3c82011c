"""Competing neurons that a teacher current labels: one time step, with the plasticity of all weights.

Times are in ms. A step does, in this order::

    decay       traces, thresholds and synaptic currents decay; membranes integrate
    spikes      of the inputs and of the hidden neurons
    presynaptic events     currents jump by the weights
    postsynaptic events    weights change
    reset       of the membrane; the threshold rises
"""

import math
from dataclasses import dataclass
from typing import Any

from keras import ops

from keras_snn.hints import Tensor

State = dict[str, Any]


@dataclass(frozen=True)
class Network:
    """A step ``(params, state, x) -> (state, outputs)`` and its constants.

    ``x`` is the pair of the drawn input spikes ``(1, n_inputs)`` and the teacher current ``(1, n)``. The state is a
    dict: "v", "I_inp", "I_neg", "hold" and "wait" ``(1, n)``, "a" and "theta" ``(1, n)``, "a_inputs", "theta_inputs"
    and "wait_inputs" ``(1, n_inputs)``, "w" ``(n_inputs, n)`` and "w_lateral" ``(n, n)``, from row to column.

    Attributes:
        dt: Number, ms.
        learns: Boolean, whether input weights change.
        learns_lateral: Boolean, whether lateral weights change.
        records: Boolean, whether the outputs are all traces, or only "a" and the spikes of the hidden neurons.
        tau: Number, ms, of the membrane.
        tau_current: Number, ms, of the synaptic currents.
        tau_hold: Number, ms, of the threshold.
        alpha: Number, ms, of the fast trace a.
        beta: Number, ms, of the slow trace theta.
        refractory: Number, ms, of inputs and hidden neurons.
        hold_step: Number, the rise of the threshold at a spike.
        c_inp: Number, factor of the input weights.
        c_neg: Number, factor of the lateral weights.
        w_max: Number, the largest input weight.
        lr: Number, learning rate of the input weights.
        lr_lateral: Number, learning rate of the lateral weights.
        decay: Number, the decrease of the input weights at each postsynaptic spike.
    """

    dt: float = 0.1
    learns: bool = True
    learns_lateral: bool = True
    records: bool = False
    tau: float = 10.0
    tau_current: float = 15.0
    tau_hold: float = 50.0
    alpha: float = 10.0
    beta: float = 100.0
    refractory: float = 2.0
    hold_step: float = 0.2
    c_inp: float = 0.2
    c_neg: float = 1.7
    w_max: float = 1.0
    lr: float = 0.05
    lr_lateral: float = 0.01
    decay: float = 0.001

    def __call__(self, params: State, state: State, x: tuple[Tensor, Tensor]) -> tuple[State, State]:
        """Return the state and the outputs after one step."""
        drawn, teacher = x
        s = dict(state)
        wait_inputs, wait = ops.maximum(s["wait_inputs"] - 1, 0), ops.maximum(s["wait"] - 1, 0)

        # The equations are linear: their solution over one step is exact.
        current = s["I_inp"] + s["I_neg"]
        leak = self._factor(self.tau)
        v = leak * s["v"] + self._response() * current + (1 - leak) * teacher
        v = ops.where(wait > 0, s["v"], v)
        hold = self._factor(self.tau_hold) * s["hold"]
        I_inp, I_neg = (self._factor(self.tau_current) * s[name] for name in ("I_inp", "I_neg"))
        a_inputs, a = (self._factor(self.alpha) * s[name] for name in ("a_inputs", "a"))
        theta_inputs, theta = (self._factor(self.beta) * s[name] for name in ("theta_inputs", "theta"))

        z_inputs = ops.where(wait_inputs > 0, 0.0, drawn)
        z = ops.cast(ops.logical_and(v > hold, wait == 0), v.dtype)

        I_inp = I_inp + self.c_inp * ops.matmul(z_inputs, s["w"])
        I_neg = I_neg + self.c_neg * ops.matmul(z, s["w_lateral"])
        a_inputs, theta_inputs = a_inputs + z_inputs / self.alpha, theta_inputs + z_inputs / self.beta

        a, theta = a + z / self.alpha, theta + z / self.beta
        w, w_lateral = s["w"], s["w_lateral"]
        if self.learns:
            w = weights(w, a_inputs - theta_inputs, z, self.lr, self.decay, self.w_max)
        if self.learns_lateral:
            w_lateral = lateral_weights(w_lateral, a - theta, z, self.lr_lateral)

        n_refractory = round(self.refractory / self.dt)
        new = {
            "v": ops.where(z > 0, 0.0, v),
            "hold": hold + self.hold_step * z,
            "I_inp": I_inp,
            "I_neg": I_neg,
            "a": a,
            "theta": theta,
            "wait": ops.where(z > 0, n_refractory, wait),
            "a_inputs": a_inputs,
            "theta_inputs": theta_inputs,
            "wait_inputs": ops.where(z_inputs > 0, n_refractory, wait_inputs),
            "w": w,
            "w_lateral": w_lateral,
        }
        outputs = {"a": a, "spikes": z}
        if self.records:
            outputs |= {"a_inputs": a_inputs, "input_spikes": z_inputs, "I_inp": I_inp, "I_neg": I_neg}
            outputs |= {"w": w[None], "w_lateral": w_lateral[None]}
        return new, outputs

    def _factor(self, tau):
        return math.exp(-self.dt / tau)

    def _response(self):
        """Return the membrane after one step that began with a synaptic current of 1."""
        if self.tau == self.tau_current:
            return self.dt / self.tau * self._factor(self.tau)
        scale = self.tau_current / (self.tau_current - self.tau)
        return scale * (self._factor(self.tau_current) - self._factor(self.tau))


def weights(w: Tensor, diff: Tensor, z: Tensor, lr: float, decay: float, w_max: float) -> Tensor:
    """Return the input weights: at a spike of j, ``w_ij = clip(w_ij - decay + lr diff_i, 0, w_max)``.

    Args:
        w: Tensor ``(n_inputs, n)``.
        diff: Tensor ``(1, n_inputs)``, a - theta of the inputs.
        z: Tensor ``(1, n)`` of 0 and 1, the spikes.
        lr: Number.
        decay: Number.
        w_max: Number.
    """
    return ops.where(z > 0, ops.clip(w - decay + lr * ops.transpose(diff), 0.0, w_max), w)


def lateral_weights(w: Tensor, diff: Tensor, z: Tensor, lr: float) -> Tensor:
    """Return the lateral weights: at a spike of j, ``w_ij = clip(w_ij - lr diff_i, -1, 0)`` for i != j.

    Args:
        w: Tensor ``(n, n)``, zero for i = j.
        diff: Tensor ``(1, n)``, a - theta of the hidden neurons.
        z: Tensor ``(1, n)`` of 0 and 1, the spikes.
        lr: Number.
    """
    others = 1 - ops.eye(w.shape[0], dtype=w.dtype)
    return ops.where(z > 0, others * ops.clip(w - lr * ops.transpose(diff), -1.0, 0.0), w)
