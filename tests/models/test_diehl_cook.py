import warnings

import keras
import numpy as np
import pytest
from keras import ops

import keras_snn
from keras_snn.models import DiehlCook, TeacherSTDP
from keras_snn.models.neuron_labels import accuracy_and_ties, class_means, labels_of, sums_by_class

RNG = np.random.default_rng(0)
Y = np.arange(9) % 3
X = np.zeros((9, 6, 6), "float32")  # three kinds of bright stripes
for image, kind in zip(X, Y, strict=True):
    image[2 * kind : 2 * kind + 2] = 0.6 + 0.4 * RNG.random((2, 6))
# Strong inputs, so that few neurons and short presentations are enough.
SMALL = {"n_classes": 3, "total_weight": 8.0, "gain": 8, "duration": 0.05, "rest": 0.02, "min_spikes": 2, "seed": 1}


def values(model):
    return {variable.path.partition("/")[2]: ops.convert_to_numpy(variable) for variable in model.weights}


def fitted(n_images=6, **options):
    model = DiehlCook(6, **SMALL, **options)
    model.fit(X[:n_images], Y[:n_images], verbose=0, shuffle=False)
    return model


@pytest.fixture(scope="module")
def trained():
    return fitted()


def test_fit_learns_and_keeps_what_it_counts(trained):
    start = DiehlCook(6, **SMALL)
    start.build((None, 6, 6))
    before, after = values(start), values(trained)
    assert trained.trainable_weights == []
    assert np.abs(after["kernel"] - before["kernel"]).max() > 0.01
    assert after["n_batches"] == 6
    np.testing.assert_array_equal(after["class_sizes"], [2, 2, 2])
    # theta: 0.05 mV for each spike, those of repeated presentations too; decay is 1e-5.
    n_spikes = (after["theta"] - 20).sum() / 0.05
    assert n_spikes >= after["class_counts"].sum() - 0.1 > 6 * SMALL["min_spikes"] - 1
    assert trained.history.history["spikes"] == pytest.approx([after["class_counts"].sum() / 6])
    np.testing.assert_array_equal(after["u"], np.full((1, 6), -65.0))  # at rest
    assert (after["since"] == 200).all()  # the gate is open


def test_nothing_changes_outside_of_training(trained):
    trained.assign_labels()
    before = values(trained)
    counts = trained.responses(X, batch_size=4)
    np.testing.assert_array_equal(counts, trained.responses(X, batch_size=4))
    trained.predict(X, verbose=0)
    trained.evaluate(X, Y, verbose=0)
    for path, value in values(trained).items():
        np.testing.assert_array_equal(value, before[path], err_msg=path)


@pytest.mark.parametrize("options", [{}, {"simulate_rest": True, "gate": True, "max_delay": 0.002}], ids=str)
def test_a_saved_model_continues_identically(options, tmp_path):
    model = fitted(3, **options)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.get_config() == model.get_config()
    for each in (model, again):
        each.fit(X[3:], verbose=0, shuffle=False)
    for path, value in values(again).items():
        np.testing.assert_array_equal(value, values(model)[path], err_msg=path)
    assert np.abs(values(again)["theta"] - 20).max() > 0


def test_backup_and_restore(tmp_path):
    """An interrupted fit continues after its last finished epoch, with the weights of an uninterrupted one."""

    class Interruption(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def fit(model, *callbacks):
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        model.fit(X[:2], epochs=2, verbose=0, shuffle=False, callbacks=[backup, *callbacks])
        return model

    interrupted = DiehlCook(6, **SMALL)
    with pytest.raises(KeyboardInterrupt):
        fit(interrupted, Interruption())
    whole = DiehlCook(6, **SMALL)
    whole.fit(X[:2], epochs=2, verbose=0, shuffle=False)
    continued = values(fit(DiehlCook(6, **SMALL)))
    for path, value in values(whole).items():
        np.testing.assert_array_equal(continued[path], value, err_msg=path)


def test_images_in_parallel():
    """The updates of a batch are summed or averaged. A batch of one image three times gives three times the growth."""
    theta = {}
    for updates in ("sum", "mean"):
        model = DiehlCook(6, **{**SMALL, "min_spikes": 0, "gain": 25}, updates=updates)
        model.fit(X[:3], batch_size=3, verbose=0, shuffle=False)
        theta[updates] = values(model)["theta"] - 20
        grown = model.history.history["spikes"][0] * (3 if updates == "sum" else 1) * 0.05
        assert theta[updates].sum() == pytest.approx(grown, abs=1e-3)  # the decay of 20 mV by 7e-6
    assert theta["sum"].sum() > 0.1


def test_the_classifier_is_an_ordinary_spiking_model(trained, tmp_path):
    labels = trained.assign_labels(X, Y)
    classifier = trained.classifier()
    (report,) = keras_snn.inspect(classifier, X, Y, examples=0, verbose=0)
    layer = report.layers["excitatory"]
    assert report.n_steps == 100
    assert layer.rate.mean > 0
    spikes = trained.record(X)
    assert spikes.shape == (9, 100, 6)
    assert set(np.unique(spikes)) == {0, 1}
    classifier.save(tmp_path / "classifier.keras")
    again = keras.models.load_model(tmp_path / "classifier.keras")
    # Random numbers are drawn by sample and step: the parts of the time axis add up to the whole, bit for bit.
    whole, parts = (keras_snn.predict(again, X, steps_at_once=n, verbose=0) for n in (100, 30))
    np.testing.assert_array_equal(whole.argmax(axis=1), parts.argmax(axis=1))
    np.testing.assert_allclose(whole, parts, rtol=1e-6)  # sums of the average in another order
    assert whole.max() > 0
    # 9 images of 3 kinds that the network has learned; random inputs of 50 ms do not decide all of them.
    assert report.accuracy >= 7 / 9
    assert trained.evaluate(X, Y, verbose=0)["accuracy"] >= 7 / 9
    assert set(labels) <= {-1, 0, 1, 2}


def test_labels_accuracy_and_ties_by_hand():
    counts = np.array([[2, 0, 1, 0], [4, 0, 1, 0], [0, 3, 1, 0]])
    sums, sizes = sums_by_class(counts, [0, 0, 1], 3)
    np.testing.assert_array_equal(sums, [[6, 0, 2, 0], [0, 3, 1, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(sizes, [2, 1, 0])
    labels = labels_of(sums, sizes)
    np.testing.assert_array_equal(labels, [0, 1, 0, -1])  # the third neuron ties: the lower class
    scores = counts @ class_means(labels, 3)
    np.testing.assert_array_equal(scores, [[1.5, 0, 0], [2.5, 0, 0], [0.5, 3, 0]])
    assert accuracy_and_ties(scores, [0, 1, 1]) == pytest.approx({"accuracy": 2 / 3, "ties": 0})
    tied = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert accuracy_and_ties(tied, [1, 2]) == pytest.approx({"accuracy": 1.0, "ties": 1.0})  # the highest class wins
    with pytest.raises(ValueError, match="`y` must be 3 integers from 0 to 2"):
        sums_by_class(counts, [0, 1, 3], 3)


def test_online_labels_are_those_of_the_counts_in_the_last_epoch(trained):
    after = values(trained)
    labels = trained.assign_labels()
    np.testing.assert_array_equal(labels, labels_of(after["class_counts"], after["class_sizes"]))
    without = DiehlCook(3, **SMALL)
    without.build((None, 6, 6))
    with pytest.raises(ValueError, match="`x` and `y` must be given, because `fit` got no labels"):
        without.assign_labels()


def test_black_images_leave_the_weights_and_warn():
    model = DiehlCook(4, **{**SMALL, "max_retries": 1})
    model.build((None, 6, 6))
    before = values(model)["kernel"]
    black = np.zeros((2, 6, 6), "float32")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(black, verbose=0)
    texts = " ".join(str(warning.message) for warning in caught)
    assert "No neuron fired in epoch 1, so nothing was learned. Raise `gain`" in texts
    assert "2 images had fewer than `min_spikes` = 2 spikes" in texts
    after = values(model)
    np.testing.assert_allclose(after["kernel"], before * 8 / before.sum(axis=0), rtol=1e-5)  # normalized, not changed
    assert after["n_retries"] == after["n_given_up"] == 2


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("name", "value"), [("rule", "hebb"), ("presynaptic_sign", 0), ("dt", 0.0), ("gain", 0), ("updates", "max")]
)
def test_bad_arguments(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        DiehlCook(3, **{name: value})


@pytest.mark.backend_free
@pytest.mark.parametrize("y", [[0, 1, 3], [0, 1], [0.0, 0.5, 1.0], np.eye(3)], ids=str)
def test_bad_labels(y):
    """Labels that no class has would be counted nowhere, and one-hot rows for other images."""
    x = np.zeros((3, 6, 6), "float32")
    for call in (DiehlCook(6, n_classes=3).fit, TeacherSTDP(n_classes=3).fit):
        with pytest.raises(ValueError, match="`y` must be 3 integers from 0 to 2, the classes of the images"):
            call(x, np.array(y))


def test_images_of_another_size(trained):
    for call in (trained.predict, trained.fit):
        with pytest.raises(ValueError, match=r"`x` must be images of 36 values, .* got images of shape \(7, 7\)"):
            call(np.zeros((2, 7, 7), "float32"))


def test_a_network_without_classes_warns():
    with pytest.warns(UserWarning, match="No neuron of 'new' has a class, so all classes tie. Call `assign_labels`"):
        model = DiehlCook(3, **SMALL, name="new")
        model.build((None, 6, 6))
        model.class_means()


@pytest.mark.parametrize("values", [255.0, -0.1, np.nan])
def test_images_out_of_range(values):
    """Intensities are rates: 8-bit values would saturate without a word."""
    x = np.full((2, 4), values, "float32")
    for call in (DiehlCook(3).fit, DiehlCook(3).predict, lambda x: TeacherSTDP().fit(x, [0, 1])):
        with pytest.raises(ValueError, match=r"`x` must be in \[0, 1\].* Divide images of 8 bits by 255"):
            call(x)
