"""Both sides of each row of the tables in docs/neurons.rst give the same spikes and gradients."""

import re
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_snn

pytestmark = pytest.mark.torch("the other libraries are written in PyTorch")
if keras.config.backend() == "torch":
    import torch

PAGE = Path(__file__).parents[3] / "docs" / "neurons.rst"
SHAPE = (4, 30, 16)
#: Values of the names in the tables. tau = 1 / (1 - beta) = 1 / (dt tau_mem_inv); likewise tau_synapse.
VALUES = {"tau": 4.0, "tau_synapse": 2.5, "beta": 0.75, "alpha": 0.6, "v_th": 1.5}
VALUES |= {"dt": 0.001, "tau_mem_inv": 250.0, "tau_syn_inv": 400.0}


def table_rows(library):
    """Return the rows of a library's table: code of the library, code of this package, code of the input, if any."""
    _, _, section = PAGE.read_text(encoding="utf-8").partition(f"\nFrom {library}\n")
    table = re.search(r"^=+ .*\n.*\n=+ .*\n((?:.+\n)+?)=+ ", section, re.M)[1]
    return [re.findall(r"``(.+?)``", line) for line in table.splitlines()]


def spikes_and_gradient(run, x):
    """Return the spikes of ``run``, and the gradient of their weighted sum with respect to ``x``."""
    weights = np.random.default_rng(1).normal(size=SHAPE).astype("float32")
    inputs = torch.tensor(x, requires_grad=True)
    spikes = run(inputs)
    (spikes * torch.tensor(weights)).sum().backward()
    return spikes.detach().numpy(), inputs.grad.numpy()


def run_steps(cell):
    """Return a function that calls ``cell`` for each step of axis 1."""

    def run(x):
        outputs, states = [], []
        for step in x.unbind(1):
            output, *states = cell(step, *states)
            outputs.append(output)
        return torch.stack(outputs, 1)

    return run


def currents(layer):
    """Return random inputs that make ``layer`` fire. After a subtraction, no membrane is above the threshold."""
    if isinstance(layer, keras_snn.Synaptic):
        mean, high = 0.15, 0.35
    elif isinstance(layer, keras_snn.IF) or not layer.decay_input:
        mean, high = 0.3, 0.99
    else:
        mean, high = 1.2, None
    x = np.random.default_rng(0).normal(mean, mean / 0.6, SHAPE)
    return np.clip(x, None, high).astype("float32")


def check_rows(library, names, surrogate, run_of):
    """Compare both sides of each row. ``run_of(neuron)`` is a function of inputs."""
    table = table_rows(library)
    assert len(table) > 3
    for theirs, ours, *our_input in table:
        neuron, layer = eval(theirs, names), eval(ours, vars(keras_snn) | VALUES)
        layer.surrogate = surrogate
        if isinstance(layer, keras_snn.KLIF):  # at k = 1, the variants are equal
            layer.k = 1.3
            neuron.k.data.fill_(1.3)
        factor = eval(our_input[0], {**VALUES, "x": 1.0}) if our_input else 1.0
        x = currents(layer) / np.float32(factor)
        expected, expected_gradient = spikes_and_gradient(run_of(neuron), x)
        spikes, gradient = spikes_and_gradient(lambda x, layer=layer, factor=factor: layer(factor * x), x)
        assert 0.02 < expected.mean() < 0.95, theirs
        np.testing.assert_array_equal(spikes, expected, err_msg=theirs)
        # rtol, atol: float32 rounding of thirty steps, in another order
        atol = 1e-5 * np.abs(expected_gradient).max()
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=atol, err_msg=theirs)


def import_or_skip(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of imports
        return pytest.importorskip(name)


def test_snntorch():
    snntorch = import_or_skip("snntorch")
    check_rows("snnTorch", vars(snntorch) | VALUES, "atan", run_steps)


def test_spikingjelly():
    neuron = import_or_skip("spikingjelly.activation_based.neuron")

    def run_of(node):
        node.step_mode = "m"
        return lambda x: node(x.transpose(0, 1)).transpose(0, 1)

    check_rows("SpikingJelly", vars(neuron) | VALUES, "sigmoid", run_of)


def test_norse():
    norse = import_or_skip("norse.torch")
    names = vars(norse) | {name: torch.tensor(value) for name, value in VALUES.items()} | {"dt": VALUES["dt"]}
    surrogate = keras_snn.surrogates.FastSigmoid(1.0)  # Norse 1.1 ignores `alpha`
    check_rows("Norse", names, surrogate, run_steps)
