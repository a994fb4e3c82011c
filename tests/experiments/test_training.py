"""The log of epochs: an interrupted training continues after its last finished epoch."""

import json

import keras
import numpy as np
import pytest

from keras_snn.experiments.training import EpochLog

pytestmark = pytest.mark.backend_free

CONFIG = {"batch_size": 8, "epochs": 3}
X, Y = np.eye(10, dtype="float32"), np.arange(10)


class Killed(BaseException):
    """Stands for the end of a process."""


class KilledLog(EpochLog):
    """An epoch log that records the begun epochs, and raises Killed after ``n_epochs_alive`` epochs."""

    def __init__(self, folder, n_epochs_alive=3):
        super().__init__(folder, "lif*, seed 0")
        self.n_epochs_alive = n_epochs_alive
        self.begun = []

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.n_epochs_alive:
            raise Killed
        self.begun.append(epoch)
        super().on_epoch_begin(epoch, logs)

    def figures(self, logs):
        return {"iterations": int(self.model.optimizer.iterations)}


def train(folder, config=CONFIG, **options):
    """Train a small model; return its log and its kernel."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(10, activation="softmax")])
    model.compile("adam", "mse", metrics=["categorical_accuracy"])
    log = KilledLog(folder, **options)
    log.fit(model, X, Y, config, verbose=False, shuffle=False)
    return log, keras.ops.convert_to_numpy(model.layers[0].kernel)


def begin(folder, n_epochs_alive=2):
    with pytest.raises(Killed):
        train(folder, n_epochs_alive=n_epochs_alive)
    return folder / "begun" / "lif-star-seed-0"


@pytest.mark.every_backend
def test_a_killed_training_continues_and_ends_with_the_same_weights(tmp_path):
    files = begin(tmp_path / "a")
    assert sorted(path.name for path in files.iterdir()) == ["epoch-2.weights.h5", "epochs.csv", "header.json"]
    # Files of a process killed while writing the weights, and while writing the row after them.
    with (files / "epochs.csv").open("a") as file:
        file.write("2,6,0.2")
    (files / ".epoch-3-12345678.part.weights.h5").write_bytes(b"half")
    (files / "epoch-3.weights.h5").write_bytes(b"half")
    log, kernel = train(tmp_path / "a")
    assert log.begun == [2]
    uninterrupted, expected = train(tmp_path / "b")
    np.testing.assert_array_equal(kernel, expected)
    assert log.columns()["iterations"] == uninterrupted.columns()["iterations"] == [2, 4, 6]
    assert sorted(path.name for path in files.iterdir()) == ["epoch-3.weights.h5", "epochs.csv", "header.json"]
    done, kernel = train(tmp_path / "a")  # killed after the last epoch
    assert done.begun == []
    np.testing.assert_array_equal(kernel, expected)
    assert done.columns() == log.columns()
    log.remove()
    assert list((tmp_path / "a" / "begun").iterdir()) == []


@pytest.mark.parametrize("change", ["config", "versions", "broken header", "broken rows", "no rows"])
def test_a_log_that_does_not_fit_is_replaced(tmp_path, change):
    folder = begin(tmp_path)
    header = json.loads((folder / "header.json").read_text())
    name, text = {
        "config": ("header.json", json.dumps({**header, "config": {**CONFIG, "epochs": 200}})),
        "versions": ("header.json", json.dumps({**header, "versions": {}})),
        "broken header": ("header.json", json.dumps(header)[:-5]),
        "broken rows": ("epochs.csv", "epoch,seconds\n0\n"),
        "no rows": ("epochs.csv", ""),
    }[change]
    (folder / name).write_text(text)
    log, _ = train(tmp_path)
    assert log.begun == [0, 1, 2]
    assert len(log.columns()["seconds"]) == 3


def test_broken_weights_are_an_error_that_names_the_file(tmp_path):
    weights = begin(tmp_path) / "epoch-2.weights.h5"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"continue from '.*epoch-2\.weights\.h5': .* .*, delete .*lif-star-seed-0"):
        train(tmp_path)
