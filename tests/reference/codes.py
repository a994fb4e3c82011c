"""The codes of `keras_snn.ops.encoding` as loops over units, in exact or float64 arithmetic."""

import math
from fractions import Fraction

import numpy as np


def encode_units(x, n_steps, code):
    """Return ``(batch, n_steps, ...)`` from ``code(value) -> n_steps spikes``."""
    trains = np.array([code(float(value)) for value in x.ravel()], "float32").reshape(*x.shape, n_steps)
    return np.moveaxis(trains, -1, 1)


def one_spike(step, n_steps):
    return [float(t == step) for t in range(n_steps)]


def latency(x, n_steps, code):
    def train(value):
        if code == "linear":
            return one_spike(round((n_steps - 1) * (1 - Fraction(value))), n_steps)
        a = math.exp(n_steps - 1) - 1
        return one_spike(round((n_steps - 1) - math.log(a * value + 1)), n_steps)

    return encode_units(x, n_steps, train)


def phase(x, n_steps, bits):
    def train(value):
        number = min(math.floor(Fraction(value) * 2**bits), 2**bits - 1)
        return [float(digit) for digit in f"{number:0{bits}b}"] * (n_steps // bits)

    return encode_units(x, n_steps, train)


def interval(x, n_steps, shortest, longest):
    def train(value):
        steps = shortest + round((longest - shortest) * (1 - Fraction(value)))
        spikes = [0.0] * n_steps
        for t in range(steps - 1, n_steps, steps):
            spikes[t] = 1.0
        return spikes

    return encode_units(x, n_steps, train)


def resonance(x, n_steps, period, max_spikes):
    def train(value):
        q = round((max_spikes - 1) * Fraction(value))
        return [float(q > 0 and t % period == 0 and t // period <= q) for t in range(n_steps)]

    return encode_units(x, n_steps, train)


def activations(value, n_neurons, low, high, beta):
    """Return the activations of Bohte's neurons i = 1, ..., m."""
    width = (high - low) / (beta * (n_neurons - 2))
    centres = [low + (2 * i - 3) / 2 * (high - low) / (n_neurons - 2) for i in range(1, n_neurons + 1)]
    return [math.exp(-((value - centre) ** 2) / (2 * width**2)) for centre in centres]


def population(x, n_steps, n_neurons, low, high, beta, cutoff):
    spikes = np.zeros((*x.shape, n_neurons, n_steps), "float32")
    for place in np.ndindex(x.shape):
        for i, g in enumerate(activations(float(x[place]), n_neurons, low, high, beta)):
            if g >= cutoff:
                spikes[(*place, i, round((n_steps - 1) * (1 - g)))] = 1
    return np.moveaxis(spikes, -1, 1)


def rank_order(x, n_steps):
    spikes = np.zeros((len(x), n_steps, *x.shape[1:]), "float32")
    for b, sample in enumerate(x):
        places = sorted(np.ndindex(sample.shape), key=lambda place: -sample[place])
        for rank, place in enumerate(places):
            spikes[(b, rank * n_steps // len(places), *place)] = 1
    return spikes


def delta(signal, threshold):
    """Return the spikes, and the reference after each step."""
    spikes, references = np.zeros_like(signal), np.zeros_like(signal)
    for b in range(len(signal)):
        for place in np.ndindex(signal.shape[2:]):
            reference = signal[(b, 0, *place)]
            for t in range(signal.shape[1]):
                difference = signal[(b, t, *place)] - reference
                spike = 1 if difference >= threshold else -1 if difference <= -threshold else 0
                reference = reference + threshold * spike
                spikes[(b, t, *place)], references[(b, t, *place)] = spike, reference
    return spikes, references
