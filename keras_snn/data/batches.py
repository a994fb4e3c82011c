"""The data of a tool, one batch at a time, from the kinds of data that Keras's ``evaluate`` takes."""

import itertools
import math
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import tree

from keras_snn import checks
from keras_snn.data import labels
from keras_snn.data.arrays import as_array, n_samples, rows


class Batch(NamedTuple):
    """A batch of data, as NumPy arrays.

    Attributes:
        x: Array ``(batch, ...)``, or a nest of them.
        y: Dict from the name of an output to its labels ``(batch, ...)``. The only output has the name ""; {} without
            labels.
        weight: Sample weights, an array or a nest of arrays; None without.
        start: Integer, the place of the first sample in the data.
    """

    x: Any
    y: dict[str, np.ndarray]
    weight: Any
    start: int

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return n_samples(self.x)

    @property
    def index(self) -> np.ndarray:
        """The place of each sample in the data, int32 ``(batch,)``."""
        return np.arange(self.start, self.start + self.n_samples, dtype="int32")

    def rows(self, start: int, stop: int) -> "Batch":
        """Return the samples from ``start`` to ``stop`` of this batch."""
        x, y = rows(self.x, start, stop), rows(self.y, start, stop)
        weight = None if self.weight is None else rows(self.weight, start, stop)
        return Batch(x, y, weight, self.start + start)


class Batches:
    """Iterate over data in batches, whatever holds it.

    Arrays, tensors of any backend, pandas objects and nests of them are cut into batches; nothing is copied whole. Any
    other iterable gives batches ``x``, ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``, which are unpacked as by
    ``keras.utils.unpack_x_y_sample_weight``: a ``tf.data.Dataset``, a ``keras.utils.PyDataset``, a PyTorch
    ``DataLoader``, a generator. In a batch a list is a tuple: several inputs without labels are ``((x1, x2),)``.

    One batch at a time is in memory. As in Keras's ``evaluate``, the callbacks of a ``PyDataset`` for training, which
    may shuffle it, are not called.

    Args:
        x: The data. In arrays, a list, tuple or dict is one nest for a model with several inputs.
        y: Labels of arrays: an array, a list of numbers, a pandas object, or a dict of these from the names of the
            outputs. Must be None for data in batches.
        batch_size: Integer, for arrays. Default: about 128. Must be None for data in batches.
        steps: Integer, number of batches to use. Default: all. Of arrays without ``batch_size``, the number of batches
            into which they are cut, as in Keras.
        name: String, the name of the argument ``x`` in errors.
        inputs_only: Boolean. True: labels and weights are neither checked nor converted, and left out of the batches.
            Default False.
        most: Integer, the largest number of samples in a batch; larger ones are cut. Default: no limit.

    Attributes:
        n_samples: Number of samples; None for data in batches until the end of the first pass.
        n_batches: Number of batches, or None if it is unknown.
        again: Boolean, whether the data can be read more than once.

    Raises:
        TypeError: For data of another kind.
        ValueError: For arrays of different or no samples, labels of another number, ``y`` or ``batch_size`` beside data
            in batches, or data known to be endless without ``steps``. While reading: for no batches, an empty batch,
            batches of different structure, or a second pass over a generator.

    Example:

    ```python
    from keras_snn.data.batches import Batches

    dataset = ((x[i : i + 4], y[i : i + 4]) for i in range(0, len(x), 4))
    for batch in Batches(dataset):
        outputs = model.predict_on_batch(batch.x)  # of the samples batch.index, with the labels batch.y[""]
    ```
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        *,
        batch_size: int | None = None,
        steps: int | None = None,
        name: str = "x",
        inputs_only: bool = False,
        most: int | None = None,
    ):
        batch_size = checks.integer("batch_size", batch_size, least=1, optional=True)
        steps = checks.integer("steps", steps, least=1, optional=True)
        self.name = name
        self.inputs_only = inputs_only
        self.most = most
        self.n_samples = None
        self.again = True
        self.kind = "tf.data.Dataset" if hasattr(x, "element_spec") else type(x).__name__
        self.in_batches = not (tree.is_nested(x) or hasattr(x, "shape"))
        (self._open_batches if self.in_batches else self._open_arrays)(x, y, batch_size, steps)
        self._stream, self._ahead, self._opened = None, [], False

    def _open_arrays(self, x, y, batch_size, steps):
        n = checks.arrays(self.name, x)
        y = {} if self.inputs_only else labels.by_output(y)
        labels.check_number(y, n)
        tree.map_structure(as_array, rows((x, y), 0, 0))  # the errors of pandas objects and ragged tensors
        if batch_size is None:
            batch_size, steps = default_batch_size(n) if steps is None else math.ceil(n / steps), None
        self.n_samples = n if steps is None else min(n, steps * batch_size)
        batch_size = min(batch_size, self.most or batch_size)
        starts = range(0, self.n_samples, batch_size)
        self.n_batches = len(starts)
        self.steps = steps
        self._open = lambda: (
            (rows(x, start, start + batch_size), rows(y, start, start + batch_size)) for start in starts
        )

    def _open_batches(self, x, y, batch_size, steps):
        name = self.name
        is_dataset = isinstance(x, keras.utils.PyDataset)
        if isinstance(x, (str, bytes)) or not (is_dataset or hasattr(x, "__iter__")):
            call = " Call the function, and give the generator that it returns." if callable(x) else ""
            raise TypeError(
                f"`{name}` must be an array (samples, ...), a nest of arrays for a model with several inputs, or data "
                "in batches: a tf.data.Dataset, a keras.utils.PyDataset, a PyTorch DataLoader or a generator; got "
                f"{x!r}.{call}"
            )
        if y is not None:
            raise ValueError(
                f"`y` must be None, since `{name}` is a {self.kind}, whose batches hold the labels: (x, y). Got a "
                f"{type(y).__name__}."
            )
        if batch_size is not None:
            raise ValueError(
                f"`batch_size` must be None, since `{name}` is a {self.kind}, which has batches; got {batch_size}. "
                f"Change the batches of `{name}`."
            )
        n_batches = _number_of_batches(x)
        if n_batches == math.inf and steps is None:
            part = f"`({name}[i] for i in range(100))`" if is_dataset else f"`{name}.take(100)`"
            raise ValueError(
                f"`{name}` must end, and this {self.kind} is endless. Give its first batches, such as {part}, or "
                "`steps=100` where the function takes it."
            )
        self.again = not isinstance(x, Iterator)
        self.steps = steps
        self.n_batches = n_batches if steps is None else steps if n_batches is None else min(n_batches, steps)
        if is_dataset:
            n_batches = self.n_batches
            self._open = lambda: map(x.__getitem__, range(n_batches))
        else:
            self._open = lambda: itertools.islice(x, steps)

    def need_several_passes(self, tool: str) -> None:
        """Raise TypeError if the data can be read only once. ``tool`` names the caller."""
        if not self.again:
            raise TypeError(
                f"`{self.name}` must be data that can be read several times, since {tool} runs the model on it more "
                f"than once; got a {self.kind}. Give arrays, a tf.data.Dataset, a keras.utils.PyDataset or a PyTorch "
                "DataLoader."
            )

    def first(self, n: int) -> Batch:
        """Return a copy of the first ``n`` samples, or of all if there are fewer.

        The batches read for it are the first of the next pass. Data that can be read only once has no first samples
        after its pass.
        """
        self._begin()
        found = sum(batch.n_samples for batch in self._ahead)
        while found < max(n, 1) and (batch := next(self._stream, None)) is not None:
            self._ahead.append(batch)
            found += batch.n_samples
        parts = [batch.rows(0, max(n - batch.start, 0)) for batch in self._ahead]
        x, y, weight = (_joined([part[i] for part in parts]) for i in range(3))
        return Batch(x, y, weight, 0)

    def __iter__(self) -> Iterator[Batch]:
        self._begin()
        stream, ahead = self._stream, self._ahead
        self._stream, self._ahead = None, []
        while ahead:
            yield ahead.pop(0)
        yield from stream

    def _begin(self):
        if self._stream is not None:
            return
        if self._opened and not self.again:
            raise ValueError(f"`{self.name}` is a {self.kind}, which can be read only once, and has been read.")
        self._stream, self._opened = self._read(), True

    def _read(self):
        """Yield the batches of a new pass. No reference to a batch is kept while the next one is made."""
        first_form, start, place = None, 0, 0
        for raw in self._open():  # enumerate() would keep a reference
            batch = self._batch(raw, place, start)
            del raw
            first_form = first_form or _form(batch)
            if _form(batch) != first_form:
                raise ValueError(
                    f"The batches of `{self.name}` must have one structure. The first has {first_form}, batch {place} "
                    f"has {_form(batch)}. Pad samples to one shape, and give labels and weights in all batches or none."
                )
            start += batch.n_samples
            most = self.most or batch.n_samples
            if batch.n_samples <= most:
                yield batch
            else:
                yield from (batch.rows(i, i + most) for i in range(0, batch.n_samples, most))
            del batch
            place += 1
        if not start:
            hint = "" if self.again else " One that was read before gives none."
            raise ValueError(f"`{self.name}` must give at least one batch; this {self.kind} gave none.{hint}")
        if self.steps is not None and place < self.steps:
            warnings.warn(
                f"`{self.name}` ended after {place} batches, fewer than the {self.steps} of `steps`.", stacklevel=3
            )
        self.n_samples = start

    def _batch(self, raw, place, start):
        name = f"{self.name}, batch {place}" if self.in_batches else self.name
        if isinstance(raw, (list, tuple)) and not 1 <= len(raw) <= 3:
            raise ValueError(
                f"`{name}` must be x, (x,), (x, y) or (x, y, sample_weight); got {len(raw)} parts. Give several inputs "
                "of a model as one part: ((x1, x2), y)."
            )
        x, y, weight = keras.utils.unpack_x_y_sample_weight(raw)
        if self.in_batches and getattr(y, "shape", None) is not None and len(y.shape) == 0:
            raise ValueError(
                f"`{name}` must hold several samples; got a single one, since its label has no axis of samples. Put "
                "the data into batches, as by ds.batch(128)."
            )
        x = tree.map_structure(lambda leaf: as_array(leaf) if hasattr(leaf, "shape") else leaf, x)
        checks.arrays(name, x)
        if self.inputs_only:
            return Batch(x, {}, None, start)
        y = {output: as_array(values) for output, values in labels.by_output(y).items()}
        labels.check_number(y, n_samples(x))
        weight = None if weight is None else tree.map_structure(as_array, weight)
        sizes = [leaf.shape for leaf in tree.flatten(weight) if weight is not None]
        if any(shape[:1] != (n_samples(x),) for shape in sizes):
            raise ValueError(f"`{name}` needs a weight for each of its {n_samples(x)} samples; got {sizes}.")
        return Batch(x, y, weight, start)


def default_batch_size(n_samples: int) -> int:
    """Return 128 or less: a number that leaves no smaller last batch to compile for, if there is one."""
    return next((size for size in range(128, 63, -1) if n_samples % size == 0), 128)


def _number_of_batches(x):
    """Return the number of batches of data that knows it, infinity for endless data, None for others."""
    if isinstance(x, keras.utils.PyDataset):
        return math.inf if x.num_batches is None else x.num_batches
    cardinality = getattr(x, "cardinality", None) if hasattr(x, "element_spec") else None
    endless = cardinality is not None and int(cardinality() if callable(cardinality) else cardinality) == -1
    return math.inf if endless else None  # -1 is tf.data.INFINITE_CARDINALITY


def _form(batch):
    """Return the structure of a batch in words: shapes, labels and weights."""
    x, y = tree.map_structure(lambda leaf: (None, *leaf.shape[1:]), (batch.x, batch.y))
    labelled = f"labels {y.get('', y)}" if y else "no labels"
    return f"x {x}, {labelled}, {'no weights' if batch.weight is None else 'weights'}"


def _joined(parts):
    """Return copies of the samples of several batches in one nest of arrays."""
    return None if parts[0] is None else tree.map_structure(lambda *leaves: np.concatenate(leaves), *parts)
