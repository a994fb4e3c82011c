"""Training of samplers for images and for frames of events."""

from typing import Any

import keras
import numpy as np

from keras_snn import models
from keras_snn.experiments.spec import Part
from keras_snn.experiments.spiking_sampling.results import file_name
from keras_snn.files import save_model

#: Masks and rebuilding networks that are crossed, as in figures 5.6 and 5.7.
CROSSED = ("spiking", "random")


def rate_of(part: Part) -> float:
    """Return the share of ones of a part that is called "10 %"."""
    return float(part.kind.removesuffix(" %")) / 100


def trained(part: Part, method: str, rate: float, x: np.ndarray) -> models.SpikingSampler:
    """Return a sampler, trained from the same start as those of the other methods. A spiking one is saved."""
    config, shape = part.config, x.shape[1:]
    keras.utils.set_random_seed(part.seed)
    reconstructor, network = _networks(config, method, shape)
    sampler = models.SpikingSampler(network, reconstructor, rate)
    sampler.compile(keras.optimizers.Adam(config["learning_rate"]), "mse")
    part.log(f"{method}, {100 * rate:g} %")
    folder = part.folder / "begun" / file_name(method, part.name)
    sampler.fit(
        x,
        batch_size=config["batch_size"],
        epochs=config["epochs"],
        callbacks=[keras.callbacks.BackupAndRestore(str(folder))],
        verbose=2 if part.verbose else 0,
    )
    if method == "spiking":
        save_model(sampler, part.folder / f"{file_name('sampler', part.name)}.keras")
    return sampler


def _networks(config, method, shape):
    """Return the network that rebuilds, and the one that samples or the name of a baseline."""
    if len(shape) == 4:  # frames of events: a mask for each polarity
        # Built for every method: it draws random numbers, and all reconstructors start from the same weights.
        scores: Any = models.event_sampling_network(shape, n_steps=config["n_steps"], width=config["width"])
        return models.event_reconstructor(shape, width=config["width"]), _BASELINES.get(method, lambda: scores)()
    build = models.conv_reconstructor if shape[-1] == 3 else models.dense_reconstructor
    return build(shape), models.sampling_network(shape, n_steps=config["n_steps"]) if method == "spiking" else method


_BASELINES: dict[str, Any] = {
    "random": lambda: models.RandomScores(per_channel=True),
    "brightest": lambda: models.BrightnessScores(per_channel=True),
}


def predict(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Return the outputs of ``model``."""
    return model.predict(x, batch_size=256, verbose=0)
