"""Measure the peak memory of a forward and a backward walk of the engine, on every backend (Linux only).

python benchmarks/memory.py [--backends NAME ...] [--steps N]

The step is a leaky integrate-and-fire neuron with a soft spike. A walk needs its inputs, the states, the outputs, and
the gradients of outputs and inputs: five tensors (batch, time, units). The ratio is the growth of the resident memory
at its peak to the size of these five; 1.0 would be those alone. Each case runs in a process of its own, after a walk of
few steps that loads and compiles what is not of the data's size. The peak counter is reset and the resident memory read
just before, so that nothing which was freed earlier hides a part of the growth.
"""

import argparse
import os
import pathlib
import subprocess
import sys

CASES = {"tensorflow": ("eager", "graph", "xla"), "jax": ("jit",), "torch": ("eager",)}
BATCH, UNITS = 32, 1024


def lif(decay, voltage, x):
    from keras import ops

    voltage = decay * voltage + x
    spikes = ops.sigmoid(4 * (voltage - 1))
    return voltage * (1 - spikes), spikes


def forward_and_backward(backend, mode):
    """Return a function x -> (outputs, gradient of the sum of their squares by x)."""
    from keras import ops

    from keras_snn.ops import scan

    def walk(x):
        outputs, _ = scan(lif, ops.zeros((BATCH, UNITS)), x, 0.9)
        return ops.sum(ops.square(outputs)), outputs

    if backend == "jax":
        import jax

        return jax.jit(lambda x: jax.grad(walk, has_aux=True)(x)[::-1])
    if backend == "torch":
        import torch

        def run(x):
            x.requires_grad_()
            loss, outputs = walk(x)
            return outputs, *torch.autograd.grad(loss, x)

        return run
    import tensorflow as tf

    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss, outputs = walk(x)
        return outputs, tape.gradient(loss, x)

    return run if mode == "eager" else tf.function(run, jit_compile=mode == "xla")


def measure(backend, mode, n_steps):
    """Print the ratio for one case, in a process in which nothing else has run."""
    from keras import ops

    run = forward_and_backward(backend, mode)
    for _ in range(3):
        ops.convert_to_numpy(run(ops.ones((BATCH, 8, UNITS)))[1])
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    before = _memory("VmRSS")
    x = ops.full((BATCH, n_steps, UNITS), 0.3)
    results = run(x)
    sample = [float(tensor[0, -1, 0]) for tensor in (x, *results)]  # waits for the results
    growth, needed = _memory("VmHWM") - before, 5 * 4 * BATCH * n_steps * UNITS / 2**20
    print(f"{backend:10} {mode:6} {growth:7.0f} MB of {needed:5.0f} MB: {growth / needed:.2f}", flush=True)
    return sample


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
            for how in CASES[name]:
                command = [sys.executable, __file__, "--steps", str(arguments.steps), "--case", name, how]
                environment = {**os.environ, "KERAS_BACKEND": name, "TF_CPP_MIN_LOG_LEVEL": "3"}
                subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
