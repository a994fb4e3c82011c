import fractions
import json

import keras
import numpy as np
import pytest

from keras_snn import checks, layers, probe
from keras_snn.conversion import convert, extend_time
from keras_snn.models import noise_net
from keras_snn.regularizers import Percentile

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.int32(3)])
def test_integers_become_python_ints(value):
    for result in (checks.integer("n", value, least=3, most=3), checks.seed(value)):
        assert result == 3
        assert type(result) is int
    assert checks.axes("axis", [value, 1]) == (3, 1)
    assert type(checks.axes("axis", value)) is int


@pytest.mark.parametrize("value", [2.5, 3.0, np.float64(3), "3", None, True, np.bool_(True), np.array([3]), [3]])
def test_values_other_than_integers_are_refused(value):
    with pytest.raises(ValueError, match="`n` must be an integer, the number of steps; got ") as error:
        checks.integer("n", value, meaning="the number of steps")
    assert str(error.value).endswith(f"; got {value!r}.")
    if value is not None:
        with pytest.raises(ValueError, match="`seed` must be an integer or None; got "):
            checks.seed(value)


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"least": 4}, "an integer of at least 4"),
        ({"most": 2}, "an integer of at most 2"),
        ({"least": 4, "most": 9}, "an integer from 4 to 9"),
        ({"least": 4, "optional": True}, "an integer of at least 4 or None"),
    ],
)
def test_limits_of_an_integer(limits, text):
    with pytest.raises(ValueError, match=f"^`n` must be {text}; got 3.$"):
        checks.integer("n", 3, **limits)
    assert checks.integer("n", 4 if "least" in limits else 2, **limits) in (2, 4)
    assert checks.integer("n", None, optional=True) is None


def test_numbers():
    for value in (2, 2.0, np.float32(2), np.int64(2), fractions.Fraction(2)):
        result = checks.number("tau", value, least=2, most=2)
        assert result == 2
        assert type(result) is float
    for value in ("2", None, True, np.ones(2)):
        with pytest.raises(TypeError, match="`tau` must be a number; got"):
            checks.number("tau", value)
    for limits, text in (
        ({}, "a finite number"),
        ({"above": 2}, "a finite number above 2"),
        ({"above": 2, "most": 3}, "a finite number above 2 and of at most 3"),
        ({"least": 2.5, "meaning": "in steps"}, "a finite number of at least 2.5, in steps"),
    ):
        for value in (np.nan, -np.inf, *([2.0] if limits else [])):
            with pytest.raises(ValueError, match=f"^`tau` must be {text}; got {value}.$"):
                checks.number("tau", value, **limits)


def test_choices():
    assert checks.choice("code", "log", ("linear", "log", None)) == "log"
    with pytest.raises(ValueError, match="^`code` must be one of 'linear', 'log', None; got 'exp'.$"):
        checks.choice("code", "exp", ("linear", "log", None))


INT = np.int64
WITH_NUMPY = [
    layers.Repeat(INT(4)),
    layers.Poisson(INT(4), seed=INT(1), scale=np.float32(0.5)),
    layers.Phase(INT(8), bits=INT(4)),
    layers.Population(INT(4), INT(5), low=np.float32(0), high=np.float32(1), cutoff=np.float32(0.1)),
    layers.Interval(INT(6), shortest=INT(2), longest=INT(4)),
    layers.Resonance(INT(6), period=INT(2), max_spikes=INT(3)),
    layers.VotingPooling(INT(2)),
    layers.ParallelConvEncoder(INT(2), branches=INT(2), kernel_size=INT(3)),
    layers.LIF(refractory=INT(2), threshold=np.float32(0.5)),
    layers.IF(refractory=INT(2)),
    layers.PLIF(refractory=INT(2)),
    layers.NoisyLIF(seed=INT(2)),
    layers.SpikingActivation("relu", seed=INT(3)),
    layers.Delta(np.float32(0.5)),
    layers.Delay(INT(4), delay_initializer=np.float32(0.5)),
    Percentile(axis=(INT(0),), time_axis=INT(1), l1=1.0),
]


@pytest.mark.parametrize("item", WITH_NUMPY, ids=lambda item: type(item).__name__)
def test_configs_of_numpy_numbers_are_json(item):
    config = item.get_config()
    restored = type(item).from_config(json.loads(json.dumps(config)))
    assert json.dumps(restored.get_config()) == json.dumps(config)


@pytest.mark.every_backend
def test_tools_accept_numpy_integers_and_their_models_are_saved(tmp_path):
    x = np.random.default_rng(0).uniform(size=(3, 4)).astype("float32")
    parts = [keras.Input((4,)), layers.Repeat(INT(1)), layers.NoisyLIF(seed=INT(0)), layers.TemporalAveragePooling()]
    longer = extend_time(keras.Sequential(parts), INT(5))
    ann = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu"), keras.layers.Dense(2)])
    spiking = convert(ann, n_steps=INT(3), calibration=x, batch_size=INT(2))
    for model, n_steps in ((longer, 5), (spiking, 3)):
        model.save(tmp_path / "model.keras")
        restored = keras.saving.load_model(tmp_path / "model.keras")
        assert next(layer.n for layer in restored.layers if isinstance(layer, layers.Repeat)) == n_steps
        np.testing.assert_array_equal(restored.predict(x, verbose=0), model.predict(x, verbose=0))
    with probe.scope(n_steps=INT(7)):
        assert layers.Repeat(2)(x).shape == (3, 7, 4)


def test_errors_of_models_and_tools_name_the_argument():
    for call, message in (
        (lambda: noise_net(n_classes=2.0), "`n_classes` must be an integer of at least 1; got 2.0"),
        (lambda: extend_time(keras.Sequential([layers.Repeat(1)]), 0), "`model` must be built"),
        (lambda: probe.scope(n_steps=0).__enter__(), "`n_steps` must be an integer of at least 1 or None; got 0"),
        (lambda: layers.SpikingActivation("relu", seed=1.5), "`seed` must be an integer or None; got 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_messages_of_keras_are_plain_text():
    error = ValueError("Exception encountered when calling Dense.call().\n\n\x1b[1mToo few axes.\x1b[0m\n\nArguments")
    assert checks.first_line(error) == "Too few axes."
    assert "\x1b" not in checks.plain_text(error)
    assert checks.first_line(KeyError()) == "KeyError"
    assert len(checks.first_line(ValueError("long " * 100))) == 160
