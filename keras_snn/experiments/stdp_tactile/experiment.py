"""Train the network of Diehl and Cook on slides over surfaces, beside classifiers without spikes."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_snn.experiments.registry import ENTRIES
from keras_snn.experiments.spec import Experiment, Part
from keras_snn.experiments.stdp_tactile import augmentation, images, pictures, recordings
from keras_snn.experiments.stdp_tactile.features import baselines
from keras_snn.experiments.stdp_tactile.recordings import TouchSet
from keras_snn.experiments.stdp_tactile.results import BASELINES, Network, draw, network_path, table
from keras_snn.experiments.unsupervised import compiled, measured, save_pictures
from keras_snn.models import DiehlCook

#: Durations in ms of the maps of input spikes (figure 6.6).
DURATIONS = (50, 100, 200, 350)

#: The sensors of a set by the names of ``Network.sensors``.
SENSORS = {"sensor 1": (0,), "sensor 2": (1,), "both": (0, 1)}

#: "quick" takes one split and minutes on two cores. "standard" takes three splits and one pass. "full" takes the
#: publication's 15 passes and five splits: a day on two cores for a set of 20 materials. A split is a seed.
PRESETS = {
    "quick": {"data": "simulated", "epochs": 1, "n_seeds": 1, "sizes": [100, 400], "chunk": 500},
    "standard": {"data": "simulated", "epochs": 1, "n_seeds": 3, "sizes": [100, 400, 1600], "chunk": 500},
    "full": {"data": "simulated", "epochs": 15, "n_seeds": 5, "sizes": [100, 400, 1600], "chunk": 500},
}


def networks(config: Mapping[str, Any]) -> dict[str, Network]:
    """Return the networks by the name of their part."""
    found = []
    for path in recordings.find_sets(config["data"]):
        name = recordings.set_name(path)
        found += [Network(name, "sensor 1", n) for n in config["sizes"]]
        found += [Network(name, "sensor 2"), Network(name, "both")]
        found += [Network(name, "sensor 1", augmented=False), Network(name, "sensor 1", plastic=False)]
        found += [Network(name, sensors, reading="waveform") for sensors in ("sensor 1", "both")]
    return {network.kind: network for network in found}


def parts(config: Mapping[str, Any]) -> list[str]:
    """Return the networks, and the classifiers without spikes of each set, by name."""
    names = dict.fromkeys(network.touch for network in networks(config).values())
    return [*networks(config), *(f"{name}, {BASELINES}" for name in names)]


def load(config: Mapping[str, Any]) -> list[tuple[np.ndarray, TouchSet]]:
    """Return the pair of labels and set, for each set."""
    sets = [recordings.load(path) for path in recordings.find_sets(config["data"])]
    return [(touch.labels, touch) for touch in sets]


def train_part(part: Part) -> dict[str, Any]:
    """Train and test one network, or the classifiers without spikes, on the split of the part's seed."""
    sets = {touch.name: touch for _, touch in part.data}
    if part.kind.endswith(BASELINES):
        return _train_baselines(part, sets[part.kind.removesuffix(f", {BASELINES}")])
    network = networks(part.config)[part.kind]
    return _train_network(part, network, sets[network.touch])


def _train_baselines(part, touch):
    """Train the classifiers without spikes; draw features and images of the set with the first split."""
    (split,) = augmentation.splits(touch, 1, seed=part.seed)
    test = augmentation.tested(split)
    rows = []
    for samples, train in (("augmented", augmentation.augmented(split)), ("recorded", augmentation.recorded(split))):
        rows += [{"samples": samples, **row} for row in baselines(touch, train, test)]
        part.log(f"{touch.name}: {len(train.labels):,} {samples} training samples")
    if part.seed == part.config["seed"]:
        pictures.draw_features(touch, part.folder / f"{touch.name}-features.png")
        (image,) = images.as_images(touch.signals[0], augmentation.recorded(split))[0][:1]
        draws = np.random.default_rng(part.seed)
        steps = np.diff(DURATIONS, prepend=0)[:, None, None] / 1000
        counts = np.cumsum(draws.poisson(0.25 * image * steps), axis=0)
        pictures.draw_spike_maps(image, counts, DURATIONS, part.folder / f"{touch.name}-spikes.png")
    return {"rows": rows}


def _train_network(part, network, touch):
    """Train the network on shuffled samples, chunk by chunk; measure it after each chunk and at the end."""
    (split,) = augmentation.splits(touch, 1, seed=part.seed)
    train = augmentation.augmented(split)
    n_all = part.config["epochs"] * len(train.labels)
    train = train if network.augmented else augmentation.recorded(split)
    test = augmentation.tested(split)
    x, x_test = (values / 255 for values in _images(touch, network, train, test))
    rng = np.random.default_rng(part.seed)
    # The same number of presentations with and without augmentation.
    order = np.concatenate([rng.permutation(len(x)) for _ in range(-(-n_all // len(x)))])[:n_all]
    model = compiled(
        DiehlCook(
            network.n_neurons,
            n_classes=len(touch.classes),
            gate=True,
            presynaptic_sign=1,
            plastic=network.plastic,
            seed=part.seed,
        )
    )
    curve, seconds = [], 0.0
    for first in range(0, n_all, part.config["chunk"]):
        chunk = order[first : first + part.config["chunk"]]
        began = time.perf_counter()
        model.fit(x[chunk], train.labels[chunk], batch_size=1, shuffle=False, verbose=0)
        seconds += time.perf_counter() - began
        model.assign_labels()
        curve.append([first + len(chunk), model.evaluate(x_test, test.labels, verbose=0)["accuracy"]])
        part.log(
            f"{part.name}: {curve[-1][0]:,} of {n_all:,} presentations, {1000 * seconds / curve[-1][0]:.1f} ms each, "
            f"accuracy {100 * curve[-1][1]:.1f} % of {len(x_test):,} test samples"
        )
    row = measured(model, (x, train.labels), (x_test, test.labels))
    if part.seed == part.config["seed"]:
        save_pictures(model, x_test, network_path(part.folder, part.kind))
    return {
        "rows": [{"samples": "augmented" if network.augmented else "recorded", "sensors": network.sensors, **row}],
        "curve": curve,
        "n_samples": len(x),
        "n_given_up": int(np.asarray(model.n_given_up)),
        "seconds_per_presentation": seconds / n_all,
    }


def _images(touch, network, *samples):
    """Return the images of the samples; those of both sensors are side by side."""
    used = SENSORS[network.sensors]
    each = [images.as_images(touch.signals[sensor], *samples, reading=network.reading) for sensor in used]
    return each[0] if len(used) == 1 else [images.side_by_side(*pair) for pair in zip(*each, strict=True)]


EXPERIMENT = Experiment(
    entry=ENTRIES["stdp-tactile"],
    presets=PRESETS,
    parts=parts,
    load=load,
    train_part=train_part,
    figures=("rows",),
    table=table,
    draw=draw,
    unit="slides",
)
