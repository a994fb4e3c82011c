"""The five networks, and what is done with each."""

import keras

from keras_snn import checks, data, layers, regularizers
from keras_snn.experiments import common
from keras_snn.experiments.fashion_mnist.published import PUBLISHED
from keras_snn.experiments.fashion_mnist.results import draw, table
from keras_snn.files import save_model
from keras_snn.inspector import inspect

N_STEPS = 10
FIGURES = (*common.FIGURES, "test")

#: "quick" takes the embedded sample and a few minutes on two cores; "full" is the publication's own setting.
PRESETS = {
    "quick": {"data": "sample", "epochs": 10, "batch_size": 32},
    "full": {"data": "full", "epochs": 10, "batch_size": 32},
}


def build(name):
    """Return the network ``name`` of the publication, compiled.

    The publication shows the image at each of 10 time steps, to a `Dense` that multiplies it ten times by the same
    matrix. Here the product is repeated instead of the image: the same network, in a tenth of the work.
    """
    towards_target = regularizers.L2(l2=1e-4, target=(10, 20))
    filtered = common.spiking(N_STEPS, dt=0.01)
    filtered[-1] = layers.Lowpass(0.1, dt=0.01, return_sequences=False)
    hidden = {
        "ann": [keras.layers.Activation("relu")],
        "spiking": common.spiking(N_STEPS, dt=0.001, spiking_aware_training=False),
        "aware": common.spiking(N_STEPS, dt=0.01),
        "regularized": common.spiking(N_STEPS, dt=0.01, activity_regularizer=towards_target),
        "filtered": filtered,
    }
    return common.network(name, hidden[name])


def run(*, preset="quick", data_name=None, seed=0, out="runs/fashion-mnist", epochs=None, only=None, verbose=True):
    """Train and test the networks, write ``results.json`` and pictures to ``out``, and print the table.

    Every network is saved as soon as it is done: a run that was interrupted goes on with the next one.

    Args:
        preset: "quick" or "full".
        data_name: "sample" (embedded, no network needed), "full" (60,000 images, through ``keras.datasets``) or the
            path of a ``tensorflow_datasets`` folder that holds the full set. Default: the preset's.
        seed: Integer, for weights, order of the images and initial voltages.
        out: Path of the folder for the results.
        epochs: Integer. Default: the preset's.
        only: Sequence of names out of ``PUBLISHED``. Default: all.
        verbose: Boolean, show progress.

    Returns:
        The dict that was written to ``results.json``.

    Raises:
        ValueError: For an unknown preset, data set or network.
        OSError: If ``out`` cannot be written; raised before the training.
    """
    config = common.configuration(
        "fashion-mnist", PRESETS, preset=preset, data_name=data_name, seed=seed, epochs=epochs
    )
    config["n_steps"] = N_STEPS
    names = list(PUBLISHED if only is None else only)
    for name in names:
        checks.choice("only", name, PUBLISHED)
    say = print if verbose else (lambda *_: None)

    train, test = common.load(
        "fashion_mnist", config["data"], _sample
    )  # first: where it fails, results from before stay

    def run_one(name, record):
        return _run_one(name, train, test, config, folder=record.folder, verbose=verbose)

    record = common.run_parts(out, config, names, len(train[0]), run_one, say, figures=FIGURES)
    draw(record.data, record.folder)
    say(f"\n{table(record.data)}\n\nWritten to {record.folder}: results.json, one picture a network and dt.")
    return record.data


def _sample():
    return data.load("fashion_mnist_sample")


def _run_one(name, train, test, config, *, folder, verbose):
    keras.utils.set_random_seed(config["seed"])
    model = build(name)
    part = {**common.train(model, *train, config, verbose=verbose), "test": {}}
    if name == "ann":
        _, accuracy = model.evaluate(*test, batch_size=256, verbose=0)
        part["test"]["-"] = {"accuracy": accuracy, "rate_hz": None}
    else:
        report = inspect(model, *test, dt=[float(dt) for dt in PUBLISHED[name]["test"]], seed=config["seed"])
        for result in report:
            (layer,) = result.layers.values()
            part["test"][f"{result.dt:g}"] = {
                "accuracy": result.accuracy,
                "rate_hz": (layer.rate.min, layer.rate.mean, layer.rate.max),
                "silent": layer.silent,
            }
            result.plot(folder / f"{name}_dt{result.dt:g}.png", class_names=data.class_names("fashion_mnist"))
    save_model(model, folder / f"{name}.keras")
    return part
