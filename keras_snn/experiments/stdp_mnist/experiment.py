"""Train networks of 100 and 400 neurons without labels, and networks whose weights do not learn."""

import json
import shutil
import time
from collections.abc import Mapping
from typing import Any

import keras

from keras_snn.experiments.images import load_limited
from keras_snn.experiments.record import versions
from keras_snn.experiments.registry import ENTRIES
from keras_snn.experiments.spec import Experiment, Part
from keras_snn.experiments.stdp_mnist.published import PASSES
from keras_snn.experiments.stdp_mnist.results import draw, network_path, pictures_path, table
from keras_snn.experiments.unsupervised import compiled, measured, save_pictures
from keras_snn.files import load_model, save_model, write_text
from keras_snn.models import DiehlCook

FIGURES = ("passes", "curve", "n_retries", "n_given_up", "seconds_per_presentation")
SIZES = (100, 400)
CONTROL = ", fixed weights"

#: "quick" presents 5,000 images once, in minutes on two cores. "full" presents all, as often as the publication does:
#: hours on two cores.
PRESETS = {
    "quick": {
        "data": "full",
        "epochs": 1,
        "batch_size": 1,
        "n_seeds": 1,
        "n_train": 5000,
        "n_test": 2000,
        "n_labels": 5000,
        "n_curve": 500,
        "chunk": 1000,
    },
    "full": {
        "data": "full",
        "epochs": 5,
        "batch_size": 1,
        "n_seeds": 1,
        "n_train": None,
        "n_test": None,
        "n_labels": 10_000,
        "n_curve": 1000,
        "chunk": 5000,
    },
}


def parts(config: Mapping[str, Any]) -> list[str]:
    """Return the networks by name."""
    del config
    return [f"{n} neurons{ending}" for n in SIZES for ending in ("", CONTROL)]


def n_passes(kind: str, config: Mapping[str, Any]) -> int:
    """Return the number of passes over the images: at most that of the publication, one for the controls."""
    return 1 if kind.endswith(CONTROL) else min(config["epochs"], PASSES[n_neurons(kind)])


def n_neurons(kind: str) -> int:
    """Return the number of excitatory neurons."""
    return int(kind.split(maxsplit=1)[0])


def load(config: Mapping[str, Any]) -> list:
    """Return the pairs (images, labels) for training and test."""
    return [(x[..., 0], y) for x, y in load_limited(config)]


def network(part: Part) -> DiehlCook:
    """Return the untrained network of a part."""
    return compiled(DiehlCook(n_neurons(part.kind), plastic=not part.kind.endswith(CONTROL), seed=part.seed))


def train_part(part: Part) -> dict[str, Any]:
    """Train one network, chunk by chunk; measure it after the first and the last pass."""
    config = part.config
    (x, y), (x_test, y_test) = part.data
    run = _Progress(part)
    rows: dict[str, Any] = {"curve": [], "passes": [], "seconds": 0.0}
    model, n_done, rows = run.resume() or (network(part), 0, rows)
    n_all = n_passes(part.kind, config) * len(x)
    while n_done < n_all:
        first = n_done % len(x)
        chunk = slice(first, min(first + config["chunk"], len(x)))
        began = time.perf_counter()
        model.fit(x[chunk], y[chunk], batch_size=config["batch_size"], shuffle=False, verbose=0)
        rows["seconds"] += time.perf_counter() - began
        n_done += chunk.stop - chunk.start
        model.assign_labels()
        few = config["n_curve"]
        accuracy = model.evaluate(x_test[:few], y_test[:few], verbose=0)["accuracy"]
        rows["curve"].append([n_done, accuracy])
        part.log(
            f"{part.name}: {n_done:,} of {n_all:,} presentations, {1000 * rows['seconds'] / n_done:.1f} ms each, "
            f"accuracy {100 * accuracy:.1f} % of {few:,} test images"
        )
        if chunk.stop == len(x) and n_done in (len(x), n_all):
            few = config["n_labels"]
            found = measured(model, (x[:few], y[:few]), (x_test, y_test))
            rows["passes"].append({"n_passes": n_done // len(x), **found})
        run.save(model, n_done, rows)
    save_model(model, network_path(part.folder, part.kind, part.seed))
    save_pictures(model, x_test[: config["n_curve"]], pictures_path(part.folder, part.kind, part.seed))
    run.remove()
    to_numpy = keras.ops.convert_to_numpy
    return {
        "passes": rows["passes"],
        "curve": rows["curve"],
        "n_retries": int(to_numpy(model.n_retries)),
        "n_given_up": int(to_numpy(model.n_given_up)),
        "seconds_per_presentation": rows["seconds"] / n_all,
    }


class _Progress:
    """The saved state of a training, so that an interrupted one continues with the next chunk."""

    def __init__(self, part):
        self.folder = part.folder / "begun" / part.name.replace(", ", "-").replace(" ", "-")
        self.header = json.loads(json.dumps({"config": part.config, "versions": versions()}))

    def resume(self):
        """Return model, number of presentations and figures; None without progress of this configuration."""
        try:
            saved = json.loads((self.folder / "progress.json").read_text(encoding="utf-8"))
            if saved["header"] != self.header:
                return None
        except (OSError, ValueError, KeyError):
            return None
        return compiled(load_model(self.folder / saved["model"])), saved["n_done"], saved["rows"]

    def save(self, model, n_done, rows):
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"after-{n_done}.keras"
        save_model(model, self.folder / name)
        saved = {"header": self.header, "n_done": n_done, "model": name, "rows": rows}
        write_text(self.folder / "progress.json", json.dumps(saved))
        for path in self.folder.glob("after-*.keras"):
            if path.name != name:
                path.unlink()

    def remove(self):
        shutil.rmtree(self.folder)


EXPERIMENT = Experiment(
    entry=ENTRIES["stdp-mnist"],
    presets=PRESETS,
    parts=parts,
    load=load,
    train_part=train_part,
    figures=FIGURES,
    table=table,
    draw=draw,
    epochs_of=n_passes,
)
