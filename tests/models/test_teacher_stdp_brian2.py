"""``TeacherSTDP`` beside the simulator Brian2: rates of inputs and neurons, with other random numbers."""

import numpy as np
import pytest
from keras import ops

from keras_snn import models

pytestmark = pytest.mark.nightly("Brian2 takes a second for each image")

N_TRAIN, N_TEST = 20, 20

HIDDEN = """
    dv/dt = (-v + I_inp + I_neg + teacher) / (10*ms) : 1 (unless refractory)
    dI_inp/dt = -I_inp / (15*ms) : 1
    dI_neg/dt = -I_neg / (15*ms) : 1
    dhold/dt = -hold / (50*ms) : 1
    teacher : 1
    """
TRACES = """
    da/dt = -a / (10*ms) : 1
    dtheta/dt = -theta / (100*ms) : 1
    """


def images():
    """Return noisy images of two classes, which share a quarter of their bright pixels, and their labels."""
    rng = np.random.default_rng(0)
    bright = np.zeros((2, 64))
    bright[0, :32] = bright[1, 24:56] = 1
    y = rng.integers(0, 2, N_TRAIN + N_TEST)
    return np.clip(0.9 * bright[y] - 0.3 * rng.random((len(y), 64)), 0, 1), y


def ours(model, x, y):
    """Return the numbers of spikes ``(images, 64)`` of the inputs, and ``(images, 2)`` of the neurons."""
    traces = [model.record(x[:N_TRAIN], y[:N_TRAIN], every=1000), model.record(x[N_TRAIN:], every=1000)]
    return [np.concatenate([part[name] for part in traces]) for name in ("input_spikes", "spikes")]


def brian(start, x, y):
    """Simulate the network with Brian2, from the state ``start``. Return the same numbers as ``ours``, and weights."""
    try:
        import brian2
    except (ImportError, AttributeError):  # Brian2 2.9 uses a method that NumPy 2.4 removed
        pytest.skip("needs brian2, and NumPy below 2.4")
    brian2.start_scope()
    brian2.seed(0)
    brian2.prefs.codegen.target = "numpy"
    brian2.defaultclock.dt = 0.1 * brian2.ms
    period = {"refractory": 2 * brian2.ms, "method": "linear"}
    inputs = brian2.NeuronGroup(64, "rate : Hz" + TRACES, threshold="rand() < rate * dt", **period)
    hidden = brian2.NeuronGroup(2, HIDDEN + TRACES, threshold="v > hold", reset="v = 0; hold += 0.2", **period)
    inputs.a, inputs.theta = start["a_inputs"][0], start["theta_inputs"][0]
    hidden.a, hidden.theta, hidden.hold = start["a"][0], start["theta"][0], 3
    feed = brian2.Synapses(
        inputs,
        hidden,
        "w : 1",
        on_pre="I_inp_post += 0.2 * w; a_pre += 1 / 2 / 10; theta_pre += 1 / 2 / 100",
        on_post="""
            a_post += 1 / 64 / 10
            theta_post += 1 / 64 / 100
            w = clip(w - 0.001 + 0.05 * (a_pre - theta_pre), 0, 1)
            """,
    )
    feed.connect()
    feed.w = start["w"].ravel()
    lateral = brian2.Synapses(
        hidden,
        hidden,
        "w : 1",
        on_pre="I_neg_post += 1.7 * w",
        on_post="w = clip(w - 0.01 * (a_pre - theta_pre), -1, 0)",
    )
    lateral.connect("i != j")
    lateral.w = -1
    counters = [brian2.SpikeMonitor(group, record=False) for group in (inputs, hidden)]
    network = brian2.Network(inputs, hidden, feed, lateral, *counters)
    counts = []
    for k, image in enumerate(x):
        inputs.rate = 250 * image * brian2.Hz
        hidden.teacher = 100 * (np.arange(2) == y[k]) if k < N_TRAIN else 0
        network.run(50 * brian2.ms)
        inputs.rate, hidden.teacher = 0 * brian2.Hz, 0
        network.run(50 * brian2.ms)
        counts.append([np.array(counter.count) for counter in counters])
    totals = [np.array(rows) for rows in zip(*counts, strict=True)]
    return [np.diff(total, axis=0, prepend=0) for total in totals], np.array(feed.w).reshape(64, 2)


@pytest.mark.filterwarnings("ignore")  # those of Brian2
def test_rates_are_those_of_brian2():
    x, y = images()
    model = models.TeacherSTDP(learn_during_predict=True)
    model.build((None, 64))
    start = {name: ops.convert_to_numpy(value).astype(float) for name, value in model.carried.items()}
    expected, w = brian(start, x, y)
    found = ours(model, x, y)
    for phase in (slice(N_TRAIN), slice(N_TRAIN, None)):
        for counts, expected_counts in zip(found, expected, strict=True):
            assert expected_counts[phase].sum() > 200
            assert counts[phase].sum() == pytest.approx(expected_counts[phase].sum(), rel=0.05)
    learned = ops.convert_to_numpy(model.w) - start["w"], w - start["w"]
    assert np.corrcoef(learned[0].ravel(), learned[1].ravel())[0, 1] > 0.9
