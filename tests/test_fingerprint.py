"""Fingerprints: changes that they detect, and changes that they ignore."""

import collections
import functools
import itertools
import threading
import types

import keras
import numpy as np
import pytest

from keras_snn.fingerprint import fingerprint

SCALE = 1
OFFSETS = [0]


class Parts:
    """An object with attributes of many kinds."""

    in_class = 1

    def __init__(self):
        values = [1]

        def closure(x, *, by=3):
            return [SCALE * v * by + OFFSETS[0] for v in values]

        self.number = 1
        self.zero = 0.0
        self.array = np.zeros(3)
        self.nest = {"a": [1, (2, {3})], "itself": self}
        self.function, self.values = closure, values
        self.partial = functools.partial(max, 1)
        self.generator = np.random.default_rng(0)
        self.queue = collections.deque([1, 2])
        self.count = itertools.count()
        self.slots = Slots()
        self.text = bytearray(b"ab")
        self.method = self.slots.double
        self.variable = keras.Variable(1.0)

    def double(self):
        return 2 * self.number


class Slots:
    __slots__ = ("__private", "value")

    def __init__(self):
        self.value = self.__private = 1

    def double(self):
        return 2 * self.value

    def change(self):
        self.__private = 2


def replace_function(parts):
    def closure(x, *, by=3):
        return [SCALE * v * by for v in parts.values]

    parts.function = closure


CHANGES = {
    "number": lambda p: setattr(p, "number", 2),
    "kind of number": lambda p: setattr(p, "number", 1.0),
    "bool": lambda p: setattr(p, "number", True),
    "sign of zero": lambda p: setattr(p, "zero", -0.0),
    "new attribute": lambda p: setattr(p, "new", None),
    "array in place": lambda p: p.array.__setitem__(1, 1),
    "kind of array": lambda p: setattr(p, "array", np.zeros(3, "float32")),
    "shape of array": lambda p: setattr(p, "array", np.zeros((3, 1))),
    "nested": lambda p: p.nest["a"][1][1].add(4),
    "order": lambda p: p.nest.update(a=p.nest.pop("a")),
    "function": replace_function,
    "closure": lambda p: p.values.append(2),
    "default": lambda p: p.function.__kwdefaults__.update(by=4),
    "partial": lambda p: setattr(p, "partial", functools.partial(max, 2)),
    "generator": lambda p: p.generator.random(),
    "queue": lambda p: p.queue.rotate(),
    "count": lambda p: next(p.count),
    "slot": lambda p: setattr(p.slots, "value", 2),
    "private slot": lambda p: p.slots.change(),
    "bytes": lambda p: p.text.append(1),
    "object of a method": lambda p: setattr(p, "method", Slots().double),
    "variable": lambda p: setattr(p, "variable", keras.Variable(1.0)),
    "class": lambda p: setattr(Parts, "in_class", 2),
    "method": lambda p: setattr(Parts, "double", lambda self: 3),
    "module": lambda p: globals().update(SCALE=2),
    "list in the module": lambda p: OFFSETS.append(1),
}


pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_changes_the_fingerprint(change, monkeypatch):
    for name in ("in_class", "double"):
        monkeypatch.setattr(Parts, name, vars(Parts)[name])
    monkeypatch.setitem(globals(), "SCALE", 1)
    monkeypatch.setitem(globals(), "OFFSETS", [0])
    parts = Parts()
    before = fingerprint(parts)
    assert fingerprint(parts) == before
    assert hash(fingerprint(parts)) == hash(before)
    CHANGES[change](parts)
    assert fingerprint(parts) != before


@pytest.mark.every_backend
def test_values_of_variables_do_not_change_the_fingerprint():
    parts = Parts()
    before = fingerprint(parts)
    parts.variable.assign(2.0)
    assert fingerprint(parts) == before


def test_fingerprints_of_unknown_objects_are_never_equal():
    for unknown in (threading.Lock(), (i for i in "ab"), threading.local()):
        assert fingerprint(unknown) != fingerprint(unknown)


def test_attributes_can_be_left_out():
    parts = Parts()
    first, second = (fingerprint(parts, "number") for parts.number in (1.0, 2.0))
    assert first == second


def test_names_that_a_function_uses_from_other_modules_are_part_of_its_fingerprint(monkeypatch):
    settings = types.ModuleType("settings_of_a_user")
    settings.gain, settings.other = 1, 1
    helper = types.FunctionType(
        compile("lambda v: gain * v", "h", "eval").co_consts[0], {"gain": 1, "__name__": "a_user"}
    )
    used = {"settings": settings, "helper": helper, "Parts": Parts}
    code = compile("lambda v: helper(v) * settings.gain * Parts.in_class", "f", "eval").co_consts[0]
    function = types.FunctionType(code, used)
    before = fingerprint(function)
    assert fingerprint(function) == before
    settings.other = 2  # not used
    assert fingerprint(function) == before
    for holder, name in ((settings, "gain"), (Parts, "in_class")):
        monkeypatch.setattr(holder, name, 2)
        assert fingerprint(function) != before
        before = fingerprint(function)
    helper.__globals__["gain"] = 2
    assert fingerprint(function) != before
