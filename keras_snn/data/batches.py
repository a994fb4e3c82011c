"""Iterate in batches over any data that Keras's ``evaluate`` accepts."""

import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
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
        y: Dict from the name of each output to its labels ``(batch, ...)``. A single output has the name ""; {} without
            labels.
        weight: Sample weights, an array or a nest of arrays; None without weights.
        start: Integer, position of the first sample in the data.
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
    def indices(self) -> np.ndarray:
        """Position of each sample in the data, int32 ``(batch,)``."""
        return np.arange(self.start, self.start + self.n_samples, dtype="int32")

    def rows(self, start: int, stop: int) -> "Batch":
        """Return the samples from ``start`` to ``stop`` of this batch."""
        x, y = rows(self.x, start, stop), rows(self.y, start, stop)
        weight = None if self.weight is None else rows(self.weight, start, stop)
        return Batch(x, y, weight, self.start + start)


class Batches:
    """Iterate in batches over arrays, tensors, pandas objects or data in batches, as NumPy arrays.

    Arrays, tensors of any backend, pandas objects and nests of them are cut into batches. Any other iterable is data in
    batches: a ``tf.data.Dataset``, a ``keras.utils.PyDataset``, a PyTorch ``DataLoader``, a generator. Its batches are
    ``x``, ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``, unpacked as by ``keras.utils.unpack_x_y_sample_weight``. A
    list in a batch counts as a tuple: several inputs without labels are ``((x1, x2),)``.

    One batch at a time is in memory. As in Keras's ``evaluate``, the callbacks with which a ``PyDataset`` shuffles
    itself during training are not called.

    Args:
        x: The data. In arrays, a list, tuple or dict is one nest for a model with several inputs.
        y: Labels of arrays: an array, a list of numbers, a pandas object, or a dict from the name of each output to one
            of these. Must be None for data in batches.
        batch_size: Integer, for arrays. Default: about 128. Must be None for data in batches.
        steps: Integer, number of batches to use. Default: all. Arrays without ``batch_size`` are cut into this number
            of batches, as in Keras.
        name: String, the name of the argument ``x`` in errors.
        inputs_only: Boolean. True: the batches have no labels and weights, which are neither checked nor converted.
            Default False.
        most: Integer, maximum number of samples in a batch; larger batches are cut. Default: no limit.

    Attributes:
        n_samples: Number of samples; None for data in batches until the end of the first pass.
        n_batches: Number of batches; None if it is unknown.
        repeatable: Boolean, whether the data can be read more than once.

    Raises:
        TypeError: For data of another kind.
        ValueError: For arrays without samples or with different numbers of samples, a wrong number of labels, ``y`` or
            ``batch_size`` with data in batches, or endless data without ``steps``. While reading: for no batches, an
            empty batch, batches of different structure, or a second pass over a generator.

    Example:

    ```python
    from keras_snn.data.batches import Batches

    dataset = ((x[i : i + 4], y[i : i + 4]) for i in range(0, len(x), 4))
    for batch in Batches(dataset):
        outputs = model.predict_on_batch(batch.x)  # the labels are batch.y[""]
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
        self.n_samples: int | None = None
        self.n_batches: int | None
        self._open: Callable[[], Iterable]
        self._iterator: Iterator[Batch] | None
        self.repeatable = True
        self.type_name = "tf.data.Dataset" if hasattr(x, "element_spec") else type(x).__name__
        self.in_batches = not (tree.is_nested(x) or hasattr(x, "shape"))
        (self._open_batches if self.in_batches else self._open_arrays)(x, y, batch_size, steps)
        self._iterator, self._read_ahead, self._opened = None, [], False

    def _open_arrays(self, x, y, batch_size, steps):
        n = checks.arrays(self.name, x)
        y = {} if self.inputs_only else labels.by_output(y)
        labels.check_number(y, n)
        tree.map_structure(as_array, rows((x, y), 0, 0))  # raises the errors of pandas objects and ragged tensors
        if batch_size is None:
            batch_size, steps = default_batch_size(n) if steps is None else math.ceil(n / steps), None
        n_used = n if steps is None else min(n, steps * batch_size)
        self.n_samples, self.steps = n_used, steps
        self._set_batch_size(n_used, batch_size)
        self._open = lambda: (
            (rows(x, start, start + self._batch_size), rows(y, start, start + self._batch_size))
            for start in range(0, n_used, self._batch_size)
        )

    def _set_batch_size(self, n_samples, batch_size):
        self._batch_size = min(batch_size, self.most or batch_size)
        self.n_batches = math.ceil(n_samples / self._batch_size)

    def resize(self, most: int) -> None:
        """Set the batch size of arrays to ``default_batch_size(n_samples, most)``, before the first pass."""
        n_samples = self.n_samples or 0
        self._set_batch_size(n_samples, default_batch_size(n_samples, most))
        self._iterator, self._read_ahead = None, []

    def _open_batches(self, x, y, batch_size, steps):
        name = self.name
        is_dataset = isinstance(x, keras.utils.PyDataset)
        if isinstance(x, (str, bytes)) or not (is_dataset or hasattr(x, "__iter__")):
            hint = " Call the function, and give the generator that it returns." if callable(x) else ""
            raise TypeError(
                f"`{name}` must be an array (samples, ...), a nest of arrays for a model with several inputs, or data "
                "in batches: a tf.data.Dataset, a keras.utils.PyDataset, a PyTorch DataLoader or a generator; got "
                f"{x!r}.{hint}"
            )
        if y is not None:
            raise ValueError(
                f"`y` must be None, because the batches of `{name}`, a {self.type_name}, hold the labels: (x, y). Got "
                f"a {type(y).__name__}."
            )
        if batch_size is not None:
            raise ValueError(
                f"`batch_size` must be None, because `{name}`, a {self.type_name}, is already in batches; got "
                f"{batch_size}. Change the batches of `{name}`."
            )
        n_batches = _number_of_batches(x)
        if n_batches == math.inf and steps is None:
            first_batches = f"`({name}[i] for i in range(100))`" if is_dataset else f"`{name}.take(100)`"
            raise ValueError(
                f"`{name}` must end, and this {self.type_name} is endless. Give its first batches, such as "
                f"{first_batches}, or `steps=100` where the function takes it."
            )
        self.repeatable = not isinstance(x, Iterator)
        self.steps = steps
        self.n_batches = n_batches if steps is None else steps if n_batches is None else min(n_batches, steps)
        if is_dataset:
            n_batches = self.n_batches
            self._open = lambda: map(x.__getitem__, range(n_batches))
        else:
            self._open = lambda: itertools.islice(x, steps)

    def need_several_passes(self, tool: str) -> None:
        """Raise TypeError if the data can be read only once. ``tool`` names the caller."""
        if not self.repeatable:
            raise TypeError(
                f"`{self.name}` must be data that can be read several times, since {tool} runs the model on it more "
                f"than once; got a {self.type_name}. Give arrays, a tf.data.Dataset, a keras.utils.PyDataset or a "
                "PyTorch DataLoader."
            )

    def first(self, n: int) -> Batch:
        """Return a copy of the first ``n`` samples, or of all if there are fewer.

        The next pass begins with the batches read here. Data that can be read only once must not have been read.
        """
        iterator = self._begin()
        n_read = sum(batch.n_samples for batch in self._read_ahead)
        while n_read < max(n, 1) and (batch := next(iterator, None)) is not None:
            self._read_ahead.append(batch)
            n_read += batch.n_samples
        parts = [batch.rows(0, max(n - batch.start, 0)) for batch in self._read_ahead]
        x, y, weight = (_concatenate([part[i] for part in parts]) for i in range(3))
        return Batch(x, y, weight, 0)

    def __iter__(self) -> Iterator[Batch]:
        iterator, read_ahead = self._begin(), self._read_ahead
        self._iterator, self._read_ahead = None, []
        while read_ahead:
            yield read_ahead.pop(0)
        yield from iterator

    def _begin(self):
        """Return the iterator of the current pass; open a new pass if there is none."""
        if self._iterator is not None:
            return self._iterator
        if self._opened and not self.repeatable:
            raise ValueError(
                f"`{self.name}` is a {self.type_name}, which can be read only once, and has been read. Create it again."
            )
        self._iterator, self._opened = self._read(), True
        return self._iterator

    def _read(self):
        """Yield the batches of a new pass. Keep no reference to a batch while the next one is made."""
        first_form, start, number = None, 0, 0
        for raw in self._open():  # enumerate() would keep a reference
            batch = self._batch(raw, number, start)
            del raw
            first_form = first_form or _describe(batch)
            if _describe(batch) != first_form:
                raise ValueError(
                    f"The batches of `{self.name}` must have one structure. The first has {first_form}, batch {number} "
                    f"has {_describe(batch)}. Pad samples to one shape, and give labels and weights in all batches or "
                    "none."
                )
            start += batch.n_samples
            max_size = self.most or batch.n_samples
            if batch.n_samples <= max_size:
                yield batch
            else:
                yield from (batch.rows(i, i + max_size) for i in range(0, batch.n_samples, max_size))
            del batch
            number += 1
        if not start:
            hint = "" if self.repeatable else " It may have been read before."
            raise ValueError(f"`{self.name}` must give at least one batch; this {self.type_name} gave none.{hint}")
        if self.steps is not None and number < self.steps:
            warnings.warn(
                f"`{self.name}` ended after {number} batches, fewer than the {self.steps} of `steps`.", stacklevel=3
            )
        self.n_samples = start

    def _batch(self, raw, number, start):
        name = f"{self.name}, batch {number}" if self.in_batches else self.name
        if isinstance(raw, (list, tuple)) and not 1 <= len(raw) <= 3:
            raise ValueError(
                f"`{name}` must be x, (x,), (x, y) or (x, y, sample_weight); got {len(raw)} parts. Give several inputs "
                "of a model as one part: ((x1, x2), y)."
            )
        x, y, weight = keras.utils.unpack_x_y_sample_weight(raw)
        if self.in_batches and getattr(y, "shape", None) is not None and len(y.shape) == 0:
            raise ValueError(
                f"`{name}` must hold several samples; got a single sample, whose label has no axis of samples. "
                "Put the data into batches, as with ds.batch(128)."
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
            raise ValueError(
                f"`{name}` must have a weight for each of its {n_samples(x)} samples; got the shapes {sizes}."
            )
        return Batch(x, y, weight, start)


def default_batch_size(n_samples: int, most: int = 128) -> int:
    """Return the largest batch size from ``most / 2`` to ``most`` that divides the number of samples, else ``most``.

    A smaller last batch would be another shape to compile.
    """
    return next((size for size in range(most, most // 2 - 1, -1) if n_samples % size == 0), most)


def _number_of_batches(x):
    """Return the number of batches, infinity for endless data, None if it is unknown."""
    if isinstance(x, keras.utils.PyDataset):
        return math.inf if x.num_batches is None else x.num_batches
    cardinality = getattr(x, "cardinality", None) if hasattr(x, "element_spec") else None
    endless = cardinality is not None and int(cardinality() if callable(cardinality) else cardinality) == -1
    return math.inf if endless else None  # -1 is tf.data.INFINITE_CARDINALITY


def _describe(batch):
    """Return the structure of a batch in words: shapes, labels and weights."""
    x, y = tree.map_structure(lambda leaf: (None, *leaf.shape[1:]), (batch.x, batch.y))
    labels_text = f"labels {y.get('', y)}" if y else "no labels"
    return f"x {x}, {labels_text}, {'no weights' if batch.weight is None else 'weights'}"


def _concatenate(parts):
    """Concatenate the samples of several batches into one nest of arrays."""
    return None if parts[0] is None else tree.map_structure(lambda *leaves: np.concatenate(leaves), *parts)
