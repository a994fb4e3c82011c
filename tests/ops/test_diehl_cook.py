"""The network of Diehl and Cook beside a NumPy loop over single events."""

import dataclasses
import math

import numpy as np
import pytest
from keras import ops
from reference import diehl_cook as reference

from keras_snn.ops import diehl_cook
from keras_snn.ops.presentation import present
from keras_snn.ops.random import seed_word, uniform_at_steps
from keras_snn.ops.scan import scan

N_INPUTS, N, STEPS = 60, 12, 400
RNG = np.random.default_rng(0)
KERNEL = (RNG.random((N_INPUTS, N)) * 0.6).astype("float32")
KERNEL[:4], KERNEL[4:8] = 0.998, 1e-7  # both limits of a weight are reached
THETA = (20 + RNG.random(N)).astype("float32")
PROBABILITY = (RNG.random((1, N_INPUTS)) * 0.12).astype("float32")
DELAYS = RNG.integers(0, 21, (N_INPUTS, N)).astype("int32")
LEARNING = diehl_cook.Network(0.5, STEPS, learns=True, records=True)
FROZEN = dataclasses.replace(LEARNING, learns=False)


def inputs(word):
    numbers = uniform_at_steps(ops.arange(1), ops.arange(STEPS)[None], (N_INPUTS,), word)
    return (ops.convert_to_numpy(numbers)[0] < PROBABILITY).astype(float)


def run(network, word, **start):
    """Return the spikes and the last state of one presentation, without normalization."""
    params = {
        "probability": ops.convert_to_tensor(PROBABILITY),
        "theta": ops.convert_to_tensor(THETA),
        "scale": ops.ones(()),
        "index": ops.arange(1),
        "word": word,
        "first_step": ops.zeros((), "int32"),
        "delays": ops.convert_to_tensor(DELAYS),
    }
    state = {**diehl_cook.at_rest(network, 1, N_INPUTS, N), **start}
    (state if network.learns else params)["kernel"] = ops.convert_to_tensor(KERNEL)
    spikes, state = scan(network, state, None, params, length=STEPS, gradient=False)
    state = diehl_cook.events(network, params, state) if network.learns else state
    return ops.convert_to_numpy(spikes)[0], {name: ops.convert_to_numpy(value) for name, value in state.items()}


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({}, {}),
        ({"rule": "pair"}, {"rule": "pair"}),
        ({"presynaptic": 1e-4, "gate": True}, {"sign": 1, "gate": True}),
        ({"max_delay": 20}, {"delays": DELAYS}),
    ],
    ids=["triplet", "pair", "gate", "delays"],
)
def test_a_presentation_equals_a_loop_over_events(changes, options):
    word = seed_word(3)
    spikes, state = run(dataclasses.replace(LEARNING, **changes), word)
    expected, kernel, grown, traces = reference.present(KERNEL, inputs(word), theta=THETA, **options)
    np.testing.assert_array_equal(spikes, expected)
    assert expected.sum() > 20
    assert len(set(np.nonzero(expected)[1])) > 4
    assert np.abs(kernel - KERNEL).max() > 0.005
    assert (kernel == 1).any()
    assert (kernel == 0).any() or changes
    # float32 against float64: some hundred additions to a weight below 1.
    np.testing.assert_allclose(state["kernel"], kernel, rtol=0, atol=2e-6)
    np.testing.assert_allclose(state["grown"], grown, rtol=1e-6)
    for name, trace in traces.items():
        np.testing.assert_allclose(state[name][0].reshape(trace.shape), trace, rtol=0, atol=1e-6)


def test_frozen_presentations_and_the_start_of_a_run():
    """With the membranes 40 mV below rest and the gate closed, no neuron fires in the first 50 ms."""
    word = seed_word(4)
    network = dataclasses.replace(FROZEN, gate=True)
    zeros = ops.zeros((1, N))
    start = {"u": zeros - 105, "v": zeros - 100, "since": ops.zeros((1, N), "int32")}
    spikes, _ = run(network, word, **start)
    expected, kernel, *_ = reference.present(
        KERNEL, inputs(word), theta=THETA, learns=False, gate=True, starts_low=True
    )
    np.testing.assert_array_equal(spikes, expected)
    np.testing.assert_array_equal(kernel, KERNEL)
    assert spikes.sum() > 5
    assert not spikes[:100].any()
    steps = [np.nonzero(neuron)[0] for neuron in spikes.T]
    assert min(np.diff(times).min(initial=STEPS) for times in steps) > 100


def test_fixed_weights_with_thresholds_that_learn():
    spikes, state = run(dataclasses.replace(LEARNING, presynaptic=0.0, postsynaptic=0.0), seed_word(3))
    assert spikes.sum() > 20
    np.testing.assert_array_equal(state["kernel"], KERNEL)
    np.testing.assert_allclose(state["grown"], 0.05 * spikes.sum(axis=0), rtol=1e-6)


def test_both_forms_of_the_events_are_equal(monkeypatch):
    """Loops over single spikes, and dense products. PyTorch has the second form only."""
    word = seed_word(5)
    spikes, state = run(LEARNING, word)
    monkeypatch.setattr(diehl_cook, "by_events", lambda: False)
    dense = dataclasses.replace(LEARNING, total_weight=77.0)  # not used here; another key of the engine's cache
    dense_spikes, dense_state = run(dense, word)
    np.testing.assert_array_equal(spikes, dense_spikes)
    np.testing.assert_allclose(state["kernel"], dense_state["kernel"], rtol=0, atol=1e-6)  # order of the sums


def test_one_excitatory_spike_fires_its_inhibitory_partner():
    """10.4 units of conductance lift the partner from -60 to -40 mV within some ms; the others receive 17 each."""
    state = diehl_cook.at_rest(FROZEN, 1, 3, 2)
    state["u"] = ops.convert_to_tensor([[-51.0, -65.0]])
    params = {
        "probability": ops.zeros((1, 3)),
        "theta": ops.full((2,), 20.0),
        "index": ops.arange(1),
        "word": seed_word(0),
        "first_step": ops.zeros((), "int32"),
        "kernel": ops.zeros((3, 2)),
    }
    history = []
    for _ in range(12):
        state, spikes = FROZEN(params, state, None)
        history.append(
            [float(ops.convert_to_numpy(v)[0, k]) for v, k in ((spikes, 0), (state["v"], 0), (state["g_i"], 1))]
        )
    history = np.array(history)
    assert history[:, 0].tolist() == [1, *[0] * 11]  # u = -51.07 mV after a step of leak: above -52 mV
    (fired,) = np.nonzero(history[:, 1] == -45)  # the value after its reset
    assert fired[0] > 0
    assert history[fired[0], 2] == 17
    assert history[fired[0] + 1, 2] == pytest.approx(17 * math.exp(-0.25), rel=1e-6)


def test_an_image_is_repeated_at_a_higher_rate_until_enough_neurons_fire():
    """The first of two images is bright enough, the second needs a higher gain."""
    x = ops.convert_to_tensor(np.stack([np.ones(N_INPUTS), np.full(N_INPUTS, 0.15)]).astype("float32"))
    network = dataclasses.replace(FROZEN, step_probability=0.015, min_spikes=3, records=False)
    arguments = (x, ops.arange(2), seed_word(1), ops.convert_to_tensor(KERNEL), ops.convert_to_tensor(THETA))
    done = present(network, *arguments)
    counts, n_retries = ops.convert_to_numpy(done.counts), ops.convert_to_numpy(done.n_retries)
    assert n_retries[0] == 0 < n_retries[1] <= 20
    assert (counts.sum(axis=1) >= 3).all()
    assert not ops.convert_to_numpy(done.given_up).any()
    limited = present(dataclasses.replace(network, max_retries=int(n_retries[1]) - 1), *arguments)
    assert ops.convert_to_numpy(limited.given_up).tolist() == [False, True]
    assert ops.convert_to_numpy(limited.n_retries).tolist() == [0, n_retries[1] - 1]
    np.testing.assert_array_equal(ops.convert_to_numpy(limited.counts)[0], counts[0])  # not touched by the repetition
