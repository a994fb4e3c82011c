"""Presentations of images to the network of Diehl and Cook, in training."""

import numpy as np

from keras_snn.models import DiehlCook

#: theta decides how many neurons fire: some tens of spikes in a presentation, or some hundreds.
THETA = {"few spikes": 20.0, "many spikes": 5.0}


def image(seed):
    """Return an image with the density of MNIST's digits."""
    rng = np.random.default_rng(seed)
    x = np.zeros(784, "float32")
    x[rng.choice(784, 150, replace=False)] = rng.uniform(0.3, 1, 150)
    return x.reshape(28, 28)


def stdp(activity, batch_size):
    """Return a function that presents images in parallel once, with the rest after it, and learns."""
    model = DiehlCook(400, theta_increment=0.0, min_spikes=0)
    model.compile()
    model.build((None, 28, 28))
    model.theta.assign(np.full(400, THETA[activity]))
    x = np.stack([image(k) for k in range(batch_size)])
    model.train_on_batch(x)
    return lambda: model.train_on_batch(x)
