"""A check that code does not change a model."""

import contextlib
from unittest import mock

import keras


@contextlib.contextmanager
def only_read(model):
    """Raise AssertionError if the block sets or deletes an attribute of a layer of ``model``, or calls a layer."""
    parts = list(model._flatten_layers())
    before = [(vars(part).copy(), len(part._inbound_nodes)) for part in parts]
    layer_ids, missing = set(map(id, parts)), object()
    methods = keras.layers.Layer.__setattr__, keras.layers.Layer.__delattr__

    def guarded(method):
        def guarded_method(layer, name, *value):
            assert id(layer) not in layer_ids, f"`{name}` of {layer.name!r} is set or deleted"
            method(layer, name, *value)

        return guarded_method

    names = "__setattr__", "__delattr__"
    with contextlib.ExitStack() as stack:
        for name, method in zip(names, methods, strict=True):
            stack.enter_context(mock.patch.object(keras.layers.Layer, name, guarded(method)))
        yield
    for part, (attributes, n_calls) in zip(parts, before, strict=True):
        names = attributes.keys() | vars(part).keys()
        changed = [name for name in names if attributes.get(name, missing) is not vars(part).get(name, missing)]
        assert (changed, len(part._inbound_nodes)) == ([], n_calls), part.name
