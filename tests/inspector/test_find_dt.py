"""The search for dt, on models with known accuracy at each dt."""

import keras
import numpy as np
import pytest
from reference.batches import REPEATABLE, in_batches

import keras_snn
from keras_snn import find_dt, inspect, layers

N = 40


def network(aware=False):
    """Return a model, inputs and labels. The class is the index of the largest input; a large dt resolves it."""
    spiking = layers.SpikingActivation("relu", spiking_aware_training=aware, name="s")
    model = keras.Sequential([keras.Input((4,)), layers.Repeat(10), spiking, layers.TemporalAveragePooling()])
    rng = np.random.default_rng(0)
    x = rng.uniform(1, 60, size=(N, 4)).astype("float32")
    return model, x, x.argmax(axis=1)


@pytest.fixture(scope="module")
def classifier():
    """Return one model, inputs and labels for most tests: each new model is compiled."""
    return network()


def accuracies(model, x, y, dts):
    report = inspect(model, x, y, dt=dts, examples=0, verbose=0)
    return [report[dt].accuracy for dt in dts]


def test_dt_goes_up_until_the_target_is_reached(classifier, capsys):
    model, x, y = classifier
    known = accuracies(model, x, y, [0.001, 0.01, 0.1, 1.0])
    assert known[0] < known[1] < known[2]  # the accuracy depends on dt
    search = find_dt(model, x, y, target=known[1])
    assert [(step.dt, step.accuracy, step.reached) for step in search.tries] == [
        (0.001, known[0], False),
        (0.01, known[1], True),
    ]
    assert search.dt == 0.01
    assert search.model is model
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["0.001", f"{100 * known[0]:.2f}%", "no"]
    assert printed[1].split()[-2:] == ["<-", "chosen"]
    assert search.table().splitlines()[-1] == f"target: {100 * known[1]:.2f}%"


def test_the_tolerance_counts(classifier, capsys):
    model, x, y = classifier
    known = accuracies(model, x, y, [0.001, 0.01])
    search = find_dt(model, x, y, target=known[1], tolerance=known[1] - known[0], verbose=False)
    assert (search.dt, len(search.tries)) == (0.001, 1)
    assert not capsys.readouterr().out


def test_a_target_that_is_never_reached(classifier):
    model, x, _ = classifier
    wrong = np.zeros(N, int)
    search = find_dt(model, x, wrong, target=1.0, verbose=False)
    assert search.dt is None
    assert search.model is None
    assert [step.dt for step in search.tries] == pytest.approx([0.001, 0.01, 0.1, 1.0], rel=1e-12)


@pytest.mark.parametrize(("factor", "stop", "n_tries"), [(10, 0.5, 3), (2, 0.008, 4), (3, 0.001, 1)])
def test_tried_values_of_dt(classifier, factor, stop, n_tries):
    model, x, _ = classifier
    search = find_dt(model, x, np.zeros(N, int), target=1.0, factor=factor, stop=stop, verbose=False)
    expected = [0.001 * factor**k for k in range(n_tries)]
    assert [step.dt for step in search.tries] == pytest.approx(expected, rel=1e-12)


def test_the_accuracy_of_an_ann_may_be_the_target(classifier):
    model, x, y = classifier
    ann = keras.Sequential([keras.Input((4,)), keras.layers.ReLU()])
    for labels in (y, np.eye(4)[y]):
        assert find_dt(model, x, labels, target=ann, tolerance=1.0, verbose=False).target == 0.0
        assert find_dt(model, x, labels, target=ann, stop=0.001, verbose=False).target == 1.0


def test_bisection_narrows_the_interval(classifier):
    model, x, y = classifier
    target = accuracies(model, x, y, [0.1])[0]
    rough = find_dt(model, x, y, target=target, verbose=False)
    fine = find_dt(model, x, y, target=target, bisect=3, verbose=False)
    assert fine.tries[: len(rough.tries)] == rough.tries
    low, high = rough.tries[-2].dt, rough.dt
    for step in fine.tries[len(rough.tries) :]:
        assert step.dt == pytest.approx(np.sqrt(low * high), rel=1e-12)
        low, high = (low, step.dt) if step.reached else (step.dt, high)
    assert fine.dt == high == min(step.dt for step in fine.tries if step.reached)


def test_fit_is_called_for_every_dt(classifier):
    models = {}

    def fit(dt):
        models[dt] = network(aware=True)[0]
        return models[dt]

    model, x, y = classifier
    search = find_dt(None, x, y, target=accuracies(model, x, y, [0.01])[0], fit=fit, verbose=False)
    assert list(models) == [0.001, 0.01] == [step.dt for step in search.tries]
    assert search.model is models[0.01]


def test_a_model_whose_training_depends_on_dt_warns():
    model, x, y = network(aware=True)
    with pytest.warns(UserWarning, match="depend on dt.*give fit="):
        find_dt(model, x, y, target=0.0, verbose=False)


def two_heads(*heads):
    inputs = keras.Input((4,))
    spikes = layers.SpikingActivation("relu", spiking_aware_training=False)(layers.Repeat(10)(inputs))
    rates = layers.TemporalAveragePooling()(spikes)
    return keras.Model(inputs, {name: keras.layers.Activation("linear", name=name)(rates) for name in heads})


def test_labels_of_one_of_several_outputs(classifier):
    model, x, y = classifier
    (known,) = accuracies(model, x, y, [0.01])
    search = find_dt(two_heads("a", "b"), x, {"b": y}, target=two_heads("b", "c"), start=0.01, stop=0.01, verbose=False)
    assert [step.accuracy for step in search.tries] == [known]
    assert 0 < search.target <= 1


def test_the_class_of_a_target_model_is_that_of_its_mean_output_over_time(classifier):
    model, x, y = classifier
    # The class is the index of the largest mean over the steps. At each step, it is another class.
    inputs = keras.Input((4,))
    outputs = keras.layers.Lambda(lambda x: keras.ops.stack([3 * keras.ops.flip(x, -1), 4 * x], axis=1) / 2)(inputs)
    target = keras.Model(inputs, outputs)
    mean = (3 * x[:, ::-1] + 4 * x).argmax(axis=1)
    search = find_dt(model, x, y, target=target, tolerance=1.0, stop=0.001, verbose=False)
    assert search.target + 1 == pytest.approx(np.mean(mean == y), rel=1e-12)


@pytest.mark.parametrize("kind", REPEATABLE)
def test_data_in_batches(classifier, kind):
    model, x, y = classifier
    ann = keras.Sequential([keras.Input((4,)), keras.layers.ReLU()])
    of_arrays = find_dt(model, x, y, target=ann, verbose=False)
    of_batches = find_dt(model, in_batches(kind, x, y, size=16), target=ann, verbose=False)
    assert of_batches.table() == of_arrays.table()
    assert of_arrays.target == 1.0


def test_a_generator_is_refused(classifier):
    model, x, y = classifier
    message = r"`x` must be data that can be read several times, since find_dt .* got a generator. Give arrays"
    with pytest.raises(TypeError, match=message):
        find_dt(model, in_batches("generator", x, y), target=0.5)
    with pytest.raises(ValueError, match="labels of one output.*got none"):
        find_dt(model, in_batches("PyDataset", x), target=0.5)


@pytest.mark.backend_free
def test_pandas_and_bad_labels(classifier):
    pd = pytest.importorskip("pandas")
    model, x, y = classifier
    first = find_dt(model, x, y, target=0.5, stop=0.001, verbose=False)
    frame = find_dt(model, pd.DataFrame(x), pd.Series(y), target=0.5, stop=0.001, verbose=False)
    assert frame.tries == first.tries
    regression = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)], name="regression")
    for message, labels, target in (
        ("labels of one output.*got none", None, 0.1),
        (r"labels of one output.*got the labels of \['a', 'b'\]", {"a": y, "b": y}, 0.1),
        ("from 0 to 3.*argmax", np.full((N, 4), 0.25), 0.1),
        (r"The model 'regression' must have an output.*\(40, 1\)", y, regression),
        (r"named 'b'; its outputs are a \(40, 4\), c \(40, 4\)", {"b": y}, two_heads("a", "c")),
    ):
        with pytest.raises(ValueError, match=message):
            find_dt(model, x, labels, target=target, verbose=False)
    for message, arguments in (
        (r"`target` must be an accuracy.*'90 %'", {"model": model, "target": "90 %"}),
        (r"`target` must be an accuracy.*None", {"model": model, "target": None}),
        ("Keras model; got NoneType", {"model": None, "target": 0.5}),
    ):
        with pytest.raises(TypeError, match=message):
            find_dt(x=x, y=y, verbose=False, **arguments)


def test_a_model_that_does_not_depend_on_dt_is_tried_once():
    _, x, y = network()
    parts = [layers.Repeat(4), layers.LIF(threshold=20.0), layers.TemporalAveragePooling()]
    model = keras.Sequential([keras.Input((4,)), *parts])
    with pytest.warns(UserWarning, match=r"No layer .* depends on dt.*Only dt = 0.01 s is tried"):
        search = find_dt(model, x, y, target=1.0, start=0.01, bisect=1, verbose=False)
    assert [step.dt for step in search.tries] == [0.01]


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        (r"`target` must be an accuracy in \[0, 1\].*got 90", {"target": 90}),
        ("`target`.*got nan", {"target": float("nan")}),
        ("`factor`.*got 1", {"factor": 1}),
        ("`tolerance`.*got -0.1", {"tolerance": -0.1}),
        ("`stop` must be at least `start`, 0.001 s; got 0.0001", {"stop": 0.0001}),
        ("positive, finite", {"start": 0}),
    ],
)
def test_bad_arguments_are_refused(classifier, message, arguments):
    model, x, y = classifier
    with pytest.raises(ValueError, match=message):
        find_dt(model, x, y, **{"target": 0.5, "verbose": False, **arguments})


def test_the_model_keeps_its_dt(classifier):
    model, x, y = classifier
    find_dt(model, x, y, target=1.0, verbose=False)
    assert model.get_layer("s").dt == keras_snn.default.dt
