"""Data in batches of every kind, made from arrays."""

import weakref

import keras
import numpy as np
import pytest
from keras import tree

#: Kinds that can be read repeatedly. A kind of another framework would import it, and is left out.
REPEATABLE = ("PyDataset", *{"tensorflow": ["tf.data"], "torch": ["DataLoader"]}.get(keras.config.backend(), []))
KINDS = (*REPEATABLE, "generator")


class Pieces(keras.utils.PyDataset):
    """Batches from a list, repeated without end if ``endless``.

    ``requested`` lists the requested indices, ``n_alive`` the number of batches in memory at each request.
    """

    def __init__(self, pieces, endless=False):
        super().__init__()
        self.pieces, self.endless, self.requested, self.n_alive = pieces, endless, [], []
        self.references = []

    @property
    def num_batches(self):
        return None if self.endless else len(self.pieces)

    def __getitem__(self, i):
        self.requested.append(i)
        self.n_alive.append(sum(reference() is not None for reference in self.references))
        batch = tree.map_structure(np.copy, self.pieces[i % len(self.pieces)])
        self.references += [weakref.ref(array) for array in tree.flatten(batch)[:1]]
        return batch

    def on_epoch_begin(self):
        raise AssertionError("evaluation has no epochs")

    on_epoch_end = on_epoch_begin


def cut(*arrays, size=4):
    """Return a list of batches: tuples of ``size`` samples of each array. The last batch may be smaller."""
    return [tuple(array[i : i + size] for array in arrays) for i in range(0, len(arrays[0]), size)]


def in_batches(kind, *arrays, size=4):
    """Return data of a kind: "tf.data", "DataLoader", "PyDataset" or "generator"."""
    if kind == "tf.data":
        tf = pytest.importorskip("tensorflow", reason="tf.data")
        return tf.data.Dataset.from_tensor_slices(arrays).batch(size)
    if kind == "DataLoader":
        torch = pytest.importorskip("torch", reason="DataLoader")
        tensors = [torch.from_numpy(array).requires_grad_(array.dtype.kind == "f") for array in arrays]
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*tensors), batch_size=size)
    pieces = cut(*arrays, size=size)
    return Pieces(pieces) if kind == "PyDataset" else (batch for batch in pieces)
