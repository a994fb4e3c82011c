"""Break one equation after another in a copy of the package, and check that the tests of the short run fail.

Run it in a checkout: ``python tools/break_equations.py``. Each line of the output is an equation and the test that
failed first. The exit code is the number of broken equations that no test detected. A run takes some minutes.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Equation -> source file, code, broken code, and the folder or file of the tests that must fail.
BREAKS = {
    "neuron: leak of the membrane": (
        "ops/neurons.py",
        "return v + rounded(p.leak * (x - _above(v, p.v_reset)))",
        "return v + rounded(p.leak * (x + _above(v, p.v_reset)))",
        "ops/test_neurons.py",
    ),
    "filter: coefficient of Lowpass": (
        "ops/filters.py",
        "lambda r: -ops.expm1(-r)",
        "lambda r: r / (1 + r)",
        "ops/test_filters.py",
    ),
    "encoder: rounding of Latency's step": (
        "ops/encoding.py",
        "return _spikes_at(ops.round(times), _all_or(steps, n_steps), x.dtype)",
        "return _spikes_at(ops.floor(times), _all_or(steps, n_steps), x.dtype)",
        "ops/test_encoding.py",
    ),
    "resonator: damping of the oscillation": (
        "ops/neurons.py",
        "functions.exp(-1 / (decay_periods * period))",
        "functions.exp(-1 / decay_periods)",
        "layers/neurons/test_resonate_and_fire.py",
    ),
    "rule: sum of the traces of SuperSpike": (
        "ops/superspike.py",
        "total + trace * ops.expand_dims(error, 1)",
        "total + traces[0] * ops.expand_dims(error, 1)",
        "ops/test_superspike.py",
    ),
    "delay: fraction of a step": (
        "ops/delay.py",
        "y = later + fraction * (earlier - later)",
        "y = later + fraction * (later - earlier)",
        "layers/filters/test_delay.py",
    ),
    "neuron: equilibrium of a membrane with conductances": (
        "ops/neurons.py",
        "equilibrium = (rest + g_e * e_excitatory",
        "equilibrium = (rest - g_e * e_excitatory",
        "layers/neurons/test_conductance_lif.py",
    ),
    "plasticity: order of the events in STDP": (
        "ops/plasticity.py",
        "return (x_after, update(y, post)), ((pre, presynaptic * y), (x_after, postsynaptic * post))",
        "return (x_after, update(y, post)), ((pre, presynaptic * y), (x, postsynaptic * post))",
        "ops/test_plasticity.py",
    ),
    "plasticity: slow trace of triplet STDP": (
        "ops/plasticity.py",
        "post * (postsynaptic + post_triplet * v)",
        "post * (postsynaptic + post_triplet * y)",
        "ops/test_plasticity.py",
    ),
    "plasticity: reward of eligibility traces": (
        "ops/plasticity.py",
        "return decay * total, total",
        "return decay * total, decay * total",
        "ops/test_plasticity.py",
    ),
    "plasticity: mean of the changes over a batch": (
        "layers/plasticity/plastic_connection.py",
        "return self._product(_fold(a), upstream, kernel) / n",
        "return self._product(_fold(a), upstream, kernel)",
        "layers/plasticity",
    ),
    "Diehl and Cook: clip of a weight": (
        "ops/diehl_cook.py",
        "ops.clip(column + change, 0, 1)",
        "ops.clip(column + change, 0, 2)",
        "ops/test_diehl_cook.py",
    ),
    "Diehl and Cook: decay of theta": (
        "ops/diehl_cook.py",
        'ops.exp(-ops.cast(steps, "float32") * (self.dt / self.tau_theta))',
        'ops.exp(-ops.cast(steps, "float32") * (1 / self.tau_theta))',
        "models/test_diehl_cook.py",
    ),
    "teacher: fall of the weights at a spike": (
        "ops/teacher_stdp.py",
        "ops.clip(w - decay + lr * ops.transpose(diff), 0.0, w_max), w)",
        "ops.clip(w + lr * ops.transpose(diff), 0.0, w_max), w)",
        "models/test_teacher_stdp.py",
    ),
    "decoder: weights of the bits of Phase": (
        "ops/decoding.py",
        "-1 - ops.mod(_steps(spikes), bits)",
        "-ops.mod(_steps(spikes), bits)",
        "ops/test_decoding.py",
    ),
    "surrogate: slope of ATan": (
        "surrogates.py",
        "ops.square(math.pi / 2 * self.slope * x))",
        "ops.square(math.pi * self.slope * x))",
        "test_surrogates.py",
    ),
    "regularizer: upper end of a range": (
        "regularizers.py",
        "self.regularizer(ops.relu(low - x) + ops.relu(x - high))",
        "self.regularizer(ops.relu(low - x) + ops.relu(x - low))",
        "test_regularizers.py",
    ),
    "scheduler: step of DtScheduler": (
        "callbacks/dt_scheduler.py",
        "value = self._value_at(self._first_step + batch)",
        "value = self._value_at(self._first_step + batch + 1)",
        "callbacks",
    ),
    "stream: sums over the parts of the time axis": (
        "probe.py",
        "sums = tree.map_structure(ops.add, before, sums)",
        "sums = tree.map_structure(ops.maximum, before, sums)",
        "test_streaming.py",
    ),
    "inspector: count of active steps": (
        "ops/statistics.py",
        "ops.cast(counts != 0,",
        "ops.cast(counts > 1,",
        "inspector/test_sweep.py",
    ),
    "conversion: gain of a batch normalization": (
        "conversion/copies.py",
        "np.sqrt(_array(normalization.moving_variance) + normalization.epsilon)",
        "(_array(normalization.moving_variance) + normalization.epsilon)",
        "conversion/test_convert.py",
    ),
    "energy: steps of a neuron": (
        "energy/work.py",
        'costs["energy_per_neuron"] * work.neurons * steps',
        'costs["energy_per_neuron"] * work.neurons',
        "energy",
    ),
}


def first_failure(folder, tests):
    """Return the first test that fails with the package in ``folder``, or None."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    # -P keeps the package of the working folder out of the path.
    command = [sys.executable, "-P", "-m", "pytest", "-x", "-n0", "-p", "no:cacheprovider", str(ROOT / "tests" / tests)]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    found = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", result.stdout, re.M)
    if result.returncode not in (0, 1) or (result.returncode == 1) != bool(found):
        raise RuntimeError(f"pytest did not run:\n{result.stdout}\n{result.stderr}")
    return found and found[1]


def main():
    """Break each equation in turn; return the number of broken equations that no test detected."""
    undetected = 0
    for name, (path, code, broken, tests) in BREAKS.items():
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(ROOT / "keras_snn", Path(folder) / "keras_snn")
            file = Path(folder) / "keras_snn" / path
            text = file.read_text(encoding="utf-8")
            if text.count(code) != 1:
                raise ValueError(f"{path} must contain the code of {name!r} once, got {text.count(code)} times: {code}")
            file.write_text(text.replace(code, broken), encoding="utf-8")
            failure = first_failure(Path(folder), tests)
        undetected += failure is None
        print(f"{name:45} {failure or 'NO TEST FAILED'}", flush=True)
    return undetected


if __name__ == "__main__":
    sys.exit(main())
