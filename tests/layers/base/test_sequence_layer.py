"""Arguments of all layers over time."""

import json

import numpy as np
import pytest

from keras_snn.layers import IF, SpikingActivation

pytestmark = pytest.mark.backend_free


@pytest.mark.every_backend
@pytest.mark.parametrize(
    ("argument", "attribute", "config"),
    [
        (None, None, None),
        (("call", np.float64(0.25)), ("call", 0.25), ["call", 0.25]),
        (["call", np.array([1, 0.1])], ("call", (1.0, 0.1)), ["call", [1.0, 0.1]]),
    ],
)
def test_stands_for(argument, attribute, config):
    layer = SpikingActivation("relu", stands_for=argument)
    for _ in range(2):
        assert layer.stands_for == attribute
        assert layer.get_config()["stands_for"] == config
        layer = SpikingActivation.from_config(json.loads(json.dumps(layer.get_config())))


@pytest.mark.parametrize("argument", ["call", ("call",), (1, 2), ("call", "1"), ("call", [[1.0]]), ("call", None)])
def test_stands_for_must_be_a_pair(argument):
    with pytest.raises(ValueError, match=r"`stands_for` must be a pair \(name of a call, number or numbers\), or None"):
        IF(stands_for=argument)
