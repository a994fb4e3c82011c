"""Measure the peak memory of a forward and a backward pass of the engine, on every backend (Linux only).

python benchmarks/memory.py [--backends NAME ...] [--steps N]

The step is a leaky integrate-and-fire neuron with a soft spike. A walk needs its inputs, the states, the outputs, and
the gradients of outputs and inputs: five tensors (batch, time, units). The ratio is the growth of the resident memory
at its peak, divided by the size of these five tensors. Without other memory it is 1.0. Each case runs in a new process,
after short walks that load and compile the code. The peak counter is then reset and the resident memory read, so that
memory freed earlier does not hide part of the growth.

On TensorFlow, the modes "eager", "graph" and "xla" run loops that XLA compiles. The mode "unknown time" runs a graph
loop, for sequences of unknown length. That loop collects rows before it stacks and transposes them.
"""

import argparse
import os
import pathlib
import subprocess
import sys

CASES = {"tensorflow": ("eager", "graph", "xla", "unknown time"), "jax": ("jit",), "torch": ("eager",)}
BATCH, UNITS = 32, 1024


def lif(decay, voltage, x):
    from keras import ops

    voltage = decay * voltage + x
    spikes = ops.sigmoid(4 * (voltage - 1))
    return voltage * (1 - spikes), spikes


def forward_and_backward(backend, mode):
    """Return a function (x, gradient of the outputs) -> (outputs, gradient of x)."""
    from keras import ops

    from keras_snn.ops import scan

    def walk(x):
        return scan(lif, ops.zeros((BATCH, x.shape[2])), x, 0.9)[0]

    if backend == "jax":
        import jax

        def run(x, upstream):
            outputs, pull_back = jax.vjp(walk, x)
            return outputs, *pull_back(upstream)

        return jax.jit(run)
    if backend == "torch":
        import torch

        def run(x, upstream):
            outputs = walk(x.requires_grad_())
            return outputs, *torch.autograd.grad(outputs, x, upstream)

        return run
    import tensorflow as tf

    def run(x, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = walk(x)
        return outputs, tape.gradient(outputs, x, upstream)

    if mode == "eager":
        return run
    unknown = [tf.TensorSpec((BATCH, None, UNITS))] * 2 if mode == "unknown time" else None
    return tf.function(run, unknown, jit_compile=mode == "xla")


def measure(backend, mode, n_steps):
    """Print the ratio for one case, in a fresh process."""
    from keras import ops

    def tensors(n_steps, units=UNITS):
        return [ops.full((BATCH, n_steps, units), value) for value in (0.3, 1.0)]

    run = forward_and_backward(backend, mode)
    for _ in range(3):  # eagerly with other units: the first shape is compiled at once, later shapes after some calls
        run(*tensors(8, units=8 if mode == "eager" else UNITS))
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    before = _memory("VmRSS")
    inputs = tensors(n_steps)
    results = run(*inputs)
    first = [float(tensor[0, 0, 0]) for tensor in (*inputs, *results)]  # waits for the results; keeps all tensors alive
    growth, needed = _memory("VmHWM") - before, 5 * 4 * BATCH * n_steps * UNITS / 2**20
    print(f"{backend:10} {mode:12} {growth:7.0f} MB of {needed:5.0f} MB: {growth / needed:.2f}", flush=True)
    return first


def _memory(name):
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backends", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        measure(*arguments.case, arguments.steps)
    else:
        for name in arguments.backends:
            for mode in CASES[name]:
                command = [sys.executable, __file__, "--steps", str(arguments.steps), "--case", name, mode]
                environment = {**os.environ, "KERAS_BACKEND": name, "TF_CPP_MIN_LOG_LEVEL": "3"}
                subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
