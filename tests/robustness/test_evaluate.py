"""The accuracy under attack: counts, confidence intervals, resumption, files."""

import functools
import json
import warnings

import keras
import numpy as np
import pytest

from keras_snn import robustness
from keras_snn.robustness import Accuracy, RobustnessReport, gradients

pytestmark = pytest.mark.backend_free

# The class is the sign of x - 1/2. An attack changes the class if |x - 1/2| < epsilon.
X = np.array([0.1, 0.35, 0.45, 0.55, 0.65, 0.9, 0.48], "float32")[:, None]
Y = np.array([0, 0, 0, 1, 1, 1, 1])  # the model misclassifies the last sample
EPSILONS = [0.1, 0.2]


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, name="scores")], name="line")
    model.set_weights([np.array([[-1.0, 1.0]]), np.array([0.5, -0.5])])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.mark.every_backend
def test_counts_by_hand(model):
    report = robustness.evaluate(model, X, Y, ["FGSM", "BIM"], EPSILONS, batch_size=3, verbose=0)
    assert (report.clean.correct, report.clean.n_samples) == (6, 7)
    for attack in ("FGSM", "BIM"):
        assert [report[attack, epsilon].correct for epsilon in EPSILONS] == [4, 2]
    assert report.attacks == ["FGSM", "BIM"]
    assert "FGSM" in str(report)


def test_the_interval_is_the_wilson_interval():
    assert Accuracy("a", 0.1, 0, 10).interval == pytest.approx((0, 0.2775), abs=1e-4)  # from a table
    assert Accuracy("a", 0.1, 5, 10).interval == pytest.approx((0.2366, 0.7634), abs=1e-4)


def test_attacks_may_be_functions(model):
    attacks = {"BIM-2": functools.partial(robustness.bim, iterations=2)}
    report = robustness.evaluate(model, X, Y, attacks, [0.2], verbose=0)
    assert report["BIM-2", 0.2].correct == 2


def test_an_interrupted_evaluation_resumes(model, tmp_path):
    path, calls = tmp_path / "report.json", []

    def counted(name, *arguments, **options):
        calls.append(name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return robustness.fgsm(*arguments, **options)

    attacks = {name: functools.partial(counted, name) for name in ("one", "two")}
    options = {"path": path, "verbose": 0}
    with pytest.raises(KeyboardInterrupt):
        robustness.evaluate(model, X, Y, attacks, [0.2], **options)
    report = robustness.evaluate(model, X, Y, attacks, [0.2], **options)
    assert calls == ["one", "two", "two"]
    assert [result.correct for result in report] == [2, 2]
    (result,) = robustness.evaluate(model, X, Y, {"two": attacks["two"]}, [0.2], **options)
    assert (result.attack, result.correct) == ("two", 2)
    assert RobustnessReport.load(path).attacks == ["one", "two"]
    assert len(calls) == 3
    robustness.evaluate(model, X[:4], Y[:4], attacks, [0.2], **options)  # other data: starts again
    assert calls[3:] == ["one", "two"]


def test_data_in_batches_and_one_shape_for_all_batches(model):
    """Data in batches give the same report. A small last batch is padded, so that nothing is compiled again."""
    batches = ((X[i : i + 3], Y[i : i + 3]) for i in (0, 3, 6))
    report = robustness.evaluate(model, batches, attacks=["BIM"], epsilons=EPSILONS, verbose=0)
    expected = robustness.evaluate(model, X, Y, ["BIM"], EPSILONS, batch_size=3, verbose=0)
    assert [r.correct for r in (report.clean, *report)] == [r.correct for r in (expected.clean, *expected)] == [6, 4, 2]
    if keras.config.backend() != "torch":  # PyTorch does not compile
        assert gradients.input_gradient(model, None).n_traces == 1


def test_differences(model):
    reports = [robustness.evaluate(model, X[:n], Y[:n], ["FGSM"], [0.2], verbose=0) for n in (7, 6)]
    clean, attacked = reports[0] - reports[1]
    assert clean.accuracy == pytest.approx(6 / 7 - 1)
    assert clean.standard_error == pytest.approx(np.sqrt(6 / 7 / 7 / 7))  # the other accuracy is 1
    assert (attacked.attack, attacked.epsilon, attacked.accuracy) == ("FGSM", 0.2, pytest.approx(2 / 7 - 2 / 6))
    with pytest.raises(TypeError, match="`other` must be a RobustnessReport; got int"):
        reports[0].compare(1)


def test_warnings_of_attacks_are_passed_on(model):
    def warned(*arguments, **options):
        warnings.warn("slow", stacklevel=1)
        return robustness.fgsm(*arguments, **options)

    with pytest.warns(UserWarning, match="slow") as caught:
        report = robustness.evaluate(model, X, Y, {"warned": warned}, [0.2], verbose=0)
    assert sum(str(warning.message) == "slow" for warning in caught) == 1
    assert report.notes == []


def test_files(model, tmp_path):
    report = robustness.evaluate(model, X, Y, ["random signs"], EPSILONS, verbose=0)
    report.save(tmp_path / "report.json")
    report.save(tmp_path / "report.png")
    loaded = RobustnessReport.load(tmp_path / "report.json")
    assert loaded.to_dict() == report.to_dict() == json.loads((tmp_path / "report.json").read_text())
    assert "+0.0" in str(loaded.compare(report))
    with pytest.raises(ValueError, match="`path` must end in"):
        report.save(tmp_path / "report.txt")
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(ValueError, match="must be a report that `save` wrote"):
        RobustnessReport.load(tmp_path / "broken.json")
    with pytest.raises(KeyError, match="The report has no result"):
        report["FGSM", 0.1]


def test_masking_is_noted(model):
    model.set_weights([np.zeros((1, 2)), np.zeros(2)])
    report = robustness.evaluate(model, X, Y, ["FGSM"], [0.1], verbose=0)
    assert report["FGSM", 0.1].masked == 1
    assert report.notes[0].startswith("FGSM: the gradient is zero for 100% of the samples (gradient masking).")


def test_bad_arguments(model):
    with pytest.raises(ValueError, match="`attacks` must be one of"):
        robustness.evaluate(model, X, Y, ["nothing"], [0.1])
    with pytest.raises(ValueError, match="`epsilons` must be"):
        robustness.evaluate(model, X, Y, ["FGSM"], [0.0])
    with pytest.raises(ValueError, match="`y` must hold class numbers from 0 to 1"):
        robustness.evaluate(model, X, Y + 1, ["FGSM"], [0.1], verbose=0)
    with pytest.raises(ValueError, match="got data without labels"):
        robustness.evaluate(model, X, attacks=["FGSM"], epsilons=[0.1], verbose=0)
    single = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    single.compile(loss="mse")
    with pytest.raises(ValueError, match="with at least two classes"):
        robustness.evaluate(single, X, Y, ["FGSM"], [0.1], verbose=0)
