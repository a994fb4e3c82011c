"""Learning rules: names, configs, equality, limits, errors."""

import json

import numpy as np
import pytest
from keras import ops

from keras_snn import learning_rules
from keras_snn.learning_rules import NAMES, STDP, Hebb, LearningRule, RewardSTDP, TripletSTDP

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("name", NAMES)
def test_names_and_configs(name):
    rule = learning_rules.get(name)
    assert type(rule) is NAMES[name]
    assert learning_rules.get(rule) is rule
    config = json.loads(json.dumps(learning_rules.serialize(rule)))
    restored = learning_rules.get(config)
    assert restored == rule
    assert hash(restored) == hash(rule)
    for argument in rule.names:
        value = getattr(rule, argument)
        other = type(rule)(**{**rule.get_config(), argument: "all" if argument == "pairing" else value + 1})
        assert other != rule, argument
        assert learning_rules.get(learning_rules.serialize(other)) == other
    assert repr(rule).startswith(f"{type(rule).__name__}({rule.names[0]}=")


@pytest.mark.every_backend
def test_limits_of_the_weights():
    w = ops.convert_to_tensor(np.array([-1, 0.5, 2], "float32"))
    for rule, expected in (
        (STDP(), [0, 0.5, 1]),
        (Hebb(w_min=None), [-1, 0.5, 1]),
        (learning_rules.Oja(), [-1, 0.5, 2]),
        (RewardSTDP(w_min=-0.5, w_max=None), [-0.5, 0.5, 2]),
    ):
        np.testing.assert_array_equal(ops.convert_to_numpy(rule.clip(w)), expected)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: learning_rules.get("bcm"), ValueError, "`rule` must be one of"),
        (lambda: learning_rules.get(STDP), TypeError, "must be a name or a LearningRule"),
        (lambda: STDP(tau_pre=-1), ValueError, "`tau_pre` must be a finite number of at least 0"),
        (lambda: STDP(pairing="some"), ValueError, "`pairing` must be one of"),
        (lambda: TripletSTDP(w_min=1.0), ValueError, "`w_max` must be above `w_min` = 1, got 1"),
        (lambda: Hebb("fast"), TypeError, "`rate` must be a number"),
        (lambda: LearningRule().step((), None, None), NotImplementedError, "must override `step"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
