"""The three networks, the three test sets, and what is done with them."""

import keras
from keras import ops

from keras_snn import checks, data
from keras_snn.experiments import common
from keras_snn.experiments.ann_vs_snn_mnist.results import draw, draw_confusion, table
from keras_snn.files import save_model
from keras_snn.inspector import inspect

N_STEPS = 10
FIGURES = (*common.FIGURES, "test", "plain_with_these_weights")
NETWORKS = ("ann", "snn", "aware")
DTS = (0.001, 0.01, 0.1, 1.0)

#: The variations of the clean digits, which an .amat file can stand for.
VARIATIONS = {"rotated": data.rotate, "background-random": data.random_background}

#: "quick" takes the first 6,000 digits and a minute on two cores; "full" is the publication's own setting.
PRESETS = {
    "quick": {"data": "sample", "epochs": 10, "batch_size": 32},
    "full": {"data": "full", "epochs": 10, "batch_size": 32},
}


def build(name):
    """Return the network ``name``, one of "ann", "snn" and "aware", compiled."""
    hidden = {
        "ann": [keras.layers.Activation("relu")],
        "snn": common.spiking(N_STEPS, spiking_aware_training=False),
        "aware": common.spiking(N_STEPS, dt=0.01),
    }
    return common.network(name, hidden[name])


def run(
    *,
    preset="quick",
    data_name=None,
    seed=0,
    out="runs/ann-vs-snn-mnist",
    epochs=None,
    only=None,
    amat=None,
    verbose=True,
):
    """Train on clean digits, test on every set, write ``results.json`` and pictures to ``out``, and print the table.

    Every network is saved as soon as it is done: a run that was interrupted goes on with the next one.

    Args:
        preset: "quick" or "full".
        data_name: "sample" (the first 6,000 training and 1,000 test digits), "full" (60,000 and 10,000), both through
            ``keras.datasets``, or the path of a ``tensorflow_datasets`` folder that holds the full set. Default: the
            preset's.
        seed: Integer, for weights, order of the images, angles, noise and initial voltages.
        out: Path of the folder for the results.
        epochs: Integer. Default: the preset's.
        only: Sequence of names out of "ann", "snn" and "aware". Default: all.
        amat: Dict from "rotated" or "background-random" to the path of a file of the published set, to test on instead,
            as ``data.load_amat`` reads it. Default: both are made from the clean test digits.
        verbose: Boolean, show progress.

    Returns:
        The dict that was written to ``results.json``.

    Raises:
        ValueError: For an unknown preset, data set, network or variation, or a broken .amat file.
        OSError: If ``out`` cannot be written, or an .amat file not read; raised before the training.
    """
    config = common.configuration(
        "ann-vs-snn-mnist", PRESETS, preset=preset, data_name=data_name, seed=seed, epochs=epochs
    )
    config |= {"n_steps": N_STEPS, "amat": {name: str(path) for name, path in (amat or {}).items()}}
    names = list(NETWORKS if only is None else only)
    for name in names:
        checks.choice("only", name, NETWORKS)
    for name in config["amat"]:
        checks.choice("amat", name, VARIATIONS)
    say = print if verbose else (lambda *_: None)

    (x, y), clean = common.load("mnist", config["data"], _sample)  # first: where it fails, results from before stay
    tests = {"clean": clean}
    for name, change in VARIATIONS.items():
        path = config["amat"].get(name)
        tests[name] = data.load_amat(path) if path else (change(clean[0], seed), clean[1])

    def run_one(name, record):
        return _run_one(name, (x, y), tests, config, folder=record.folder, verbose=verbose)

    record = common.run_parts(out, config, names, len(x), run_one, say, figures=FIGURES)
    draw(record.data, record.folder)
    draw_confusion(record.data, record.folder)
    say(f"\n{table(record.data)}\n\nWritten to {record.folder}: results.json, accuracy.png, confusion.png, networks.")
    return record.data


def _sample():
    (x, y), (x_test, y_test) = data.load("mnist")
    return (x[:6000], y[:6000]), (x_test[:1000], y_test[:1000])


def _run_one(name, train, tests, config, *, folder, verbose):
    keras.utils.set_random_seed(config["seed"])
    model = build(name)
    part = common.train(model, *train, config, verbose=verbose)
    part["test"] = {test: _ask(model, x, y, config["seed"]) for test, (x, y) in tests.items()}
    # Two trainings part by their rounding: what spikes alone change is seen with the same weights.
    plain = build("ann")
    plain.set_weights([ops.convert_to_numpy(w) for w in model.trainable_variables])
    part["plain_with_these_weights"] = {
        test: plain.evaluate(x, y, batch_size=256, verbose=0)[1] for test, (x, y) in tests.items()
    }
    save_model(model, folder / f"{name}.keras")
    return part


def _ask(model, x, y, seed):
    """Return accuracy, confusion matrix and firing rates, by dt; of a plain network under "-"."""
    confusion = Confusion(10)
    if model.name == "ann":
        confusion.update_state(y, model.predict(x, batch_size=256, verbose=0))
        return {"-": {"accuracy": confusion.accuracy(), "rate_hz": None, "confusion": confusion.counts()}}
    found = {}
    for dt in DTS:
        (result,) = inspect(model, x, y, dt=dt, examples=0, seed=seed, metrics=[confusion])
        rate = result.layers["hidden"].rate
        found[f"{dt:g}"] = {
            "accuracy": confusion.accuracy(),
            "rate_hz": (rate.min, rate.mean, rate.max),
            "confusion": confusion.counts(),
        }
    return found


class Confusion(keras.metrics.Metric):
    """Count the answers (columns) to the samples of each class (rows); the result is the share of right ones."""

    def __init__(self, n_classes, **kwargs):
        super().__init__(**kwargs)
        self.n_classes = n_classes
        self.matrix = self.add_variable((n_classes, n_classes), "zeros", name="matrix")

    def update_state(self, y_true, y_pred, sample_weight=None):
        label, answer = (ops.one_hot(k, self.n_classes) for k in (ops.cast(y_true, "int32"), ops.argmax(y_pred, -1)))
        self.matrix.assign_add(ops.matmul(ops.transpose(label), answer))

    def result(self):
        return ops.trace(self.matrix) / ops.sum(self.matrix)

    def counts(self):
        """Return the matrix as lists of integers."""
        return ops.convert_to_numpy(self.matrix).astype(int).tolist()

    def accuracy(self):
        """Return the result as a float."""
        return float(self.result())
