"""Batches of every kind of data equal slices of NumPy arrays."""

import itertools

import numpy as np
import pytest
from keras import ops, tree
from reference.batches import KINDS, Pieces, cut, in_batches

from keras_snn.data.batches import Batches, default_batch_size
from keras_snn.data.labels import are_soft, classes

pytestmark = pytest.mark.backend_free

N, SIZE = 10, 4
RNG = np.random.default_rng(0)
X = RNG.random((N, 3)).astype("float32")
Y = RNG.integers(0, 3, N)
W = RNG.random(N).astype("float32")


def pandas(x, y):
    pd = pytest.importorskip("pandas", reason="DataFrame")
    return pd.DataFrame(x, index=np.arange(N) / 2), pd.Series(y)


def check(batches, x=X, y=Y, weight=None):
    """Check every batch, and that all samples are in them."""
    starts = []
    for batch in batches:
        part = slice(batch.start, batch.start + SIZE)
        expected = (x[part], {} if y is None else {"": y[part]}, None if weight is None else weight[part])
        tree.map_structure(np.testing.assert_array_equal, tuple(batch[:3]), expected)
        assert all(type(array) is np.ndarray for array in tree.flatten((batch.x, batch.y)))
        assert [array.dtype for array in tree.flatten(batch.x)] == [array.dtype for array in tree.flatten(x[part])]
        np.testing.assert_array_equal(batch.indices, np.arange(N)[part])
        starts.append(batch.start)
    assert starts == [0, 4, 8]
    assert batches.n_samples == N


@pytest.mark.every_backend
@pytest.mark.parametrize("kind", ["arrays", "tensors", "pandas", *KINDS])
def test_every_kind_of_data_gives_the_same_batches(kind):
    if kind in KINDS:
        batches = Batches(in_batches(kind, X, Y))
        assert batches.n_samples is None
        check(Batches(in_batches(kind, X, Y, W)), weight=W)
        check(Batches(in_batches(kind, X)), y=None)
        check(Batches(in_batches(kind, X, Y, W), inputs_only=True), y=None)
    else:
        make = {"arrays": (lambda *a: a), "tensors": (lambda *a: map(ops.convert_to_tensor, a)), "pandas": pandas}
        batches = Batches(*make[kind](X, Y), batch_size=SIZE)
        assert batches.n_samples == N
    np.testing.assert_array_equal(batches.first(6).x, X[:6])
    check(batches)
    assert batches.repeatable == (kind != "generator")
    if batches.repeatable:
        batches.need_several_passes("find_dt")
        check(batches)


def test_batches_of_one_array_or_a_dict():
    check(Batches(x for (x,) in cut(X)), y=None)
    for batch in Batches({"a": x, "b": y} for x, y in cut(X, Y)):
        assert batch.x.keys() == {"a", "b"}
        assert batch.y == {}


def test_a_list_or_tuple_of_arrays_is_one_nest_of_inputs():
    for nest in ((X, 2 * X), [X, 2 * X], {"a": X, "b": 2 * X}):
        batch = next(iter(Batches(nest, Y, batch_size=SIZE)))
        expected = tree.map_structure(lambda array: array[:SIZE], nest)
        tree.map_structure(np.testing.assert_array_equal, batch.x, expected)
        assert batch.n_samples == SIZE
    batch = next(iter(Batches(iter([((X, 2 * X),)]))))
    assert (len(batch.x), batch.y) == (2, {})
    batch = next(iter(Batches(iter([[X, Y]]))))  # a batch of a DataLoader
    np.testing.assert_array_equal(batch.y[""], Y)


def test_labels_by_output():
    labels = {"a": Y.tolist(), "b": None, "c": W}
    for batches in (Batches(X, labels, batch_size=SIZE), Batches((x, {"a": a, "c": c}) for x, a, c in cut(X, Y, W))):
        batch = list(batches)[1]
        assert batch.y.keys() == {"a", "c"}
        np.testing.assert_array_equal(batch.y["c"], W[4:8])
    assert next(iter(Batches(X))).y == {}


def test_a_generator_is_read_once():
    batches = Batches(iter(cut(X, Y)))
    np.testing.assert_array_equal(batches.first(2).x, X[:2])
    np.testing.assert_array_equal(batches.first(9).y[""], Y[:9])
    assert batches.first(100).n_samples == N
    check(batches)
    for second_pass in (lambda: list(batches), lambda: batches.first(1)):
        with pytest.raises(ValueError, match="`x` is a list_iterator, which can be read only once, and has been read"):
            second_pass()
    with pytest.raises(TypeError, match="`x` must be data that can be read several times, since find_dt .*Dataset"):
        batches.need_several_passes("find_dt")


def test_first_samples_are_those_of_the_next_pass_and_copies():
    order = iter(range(100))
    shuffled = Pieces(cut(X))
    shuffled.__class__ = type("Shuffled", (Pieces,), {"__getitem__": lambda self, i: (X[:4] + next(order),)})
    batches = Batches(shuffled)
    for _ in range(2):
        first = batches.first(5).x
        np.testing.assert_array_equal(first, np.concatenate([batch.x for batch in batches])[:5])
    x = X.copy()
    batches = Batches(x)
    first = batches.first(2).x
    assert next(iter(batches)).x.base is x  # no copy of the whole array
    x[:] = 0
    np.testing.assert_array_equal(first, X[:2])


def test_steps_end_endless_data():
    endless = Pieces(cut(X, Y), endless=True)
    assert [batch.start for batch in Batches(endless, steps=5)] == [0, 4, 8, 10, 14]
    assert endless.requested == [0, 1, 2, 3, 4]
    source = itertools.cycle(cut(X, Y))
    assert sum(batch.n_samples for batch in Batches(source, steps=3)) == N
    np.testing.assert_array_equal(next(source)[0], X[:4])  # no further batch was read
    data = in_batches("tf.data", X, Y)
    assert len(list(Batches(data.repeat(), steps=4))) == 4
    with pytest.raises(ValueError, match=r"`x` must end, and this tf.data.Dataset is endless.*`x.take\(100\)`.*steps"):
        Batches(data.repeat())
    with pytest.raises(ValueError, match=r"`c` must end, and this Pieces .*`\(c\[i\] for i in range\(100\)\)`"):
        Batches(endless, name="c")
    with pytest.warns(UserWarning, match="`x` ended after 3 batches, fewer than the 7 of `steps`"):
        check(Batches(data, steps=7))


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({"batch_size": 4}, [4, 4, 2]),
        ({"batch_size": 4, "steps": 2}, [4, 4]),
        ({"steps": 3}, [4, 4, 2]),
        ({"steps": 6}, [2] * 5),
        ({}, [10]),
        ({"most": 3}, [3, 3, 3, 1]),
    ],
)
def test_batch_size_and_steps_of_arrays(options, sizes):
    batches = Batches(X, **options)
    assert (batches.n_samples, batches.n_batches) == (sum(sizes), len(sizes))
    assert [batch.n_samples for batch in batches] == sizes
    assert [batch.start for batch in batches] == [0, *np.cumsum(sizes)[:-1]]


def test_larger_batches_are_cut():
    parts = list(Batches(iter(cut(X, Y, W)), most=3))
    assert [(part.start, part.n_samples) for part in parts] == [(0, 3), (3, 1), (4, 3), (7, 1), (8, 2)]
    for i, expected in enumerate((X, Y, W)):
        arrays = [part.y[""] if i == 1 else part[i] for part in parts]
        np.testing.assert_array_equal(np.concatenate(arrays), expected)


@pytest.mark.parametrize(("n_samples", "size"), [(1000, 125), (1280, 128), (1, 128), (131, 128), (130, 65)])
def test_the_default_batch_size_divides_the_data_if_possible(n_samples, size):
    assert default_batch_size(n_samples) == size


def test_batches_of_arrays_can_be_resized_before_the_first_pass():
    batches = Batches(np.arange(1000.0))
    first = batches.first(2)
    batches.resize(512)
    assert (batches.n_batches, first.n_samples) == (2, 2)
    assert [(batch.start, batch.n_samples) for batch in batches] == [(0, 500), (500, 500)]
    batches = Batches(np.arange(1000.0), most=100)
    batches.resize(512)
    assert (batches.n_batches, next(iter(batches)).n_samples) == (10, 100)


def test_one_batch_at_a_time_is_in_memory():
    data = Pieces(cut(X, size=1))
    for _ in range(2):
        for batch in Batches(data):
            assert batch.n_samples == 1
        del batch
    assert data.requested == [*range(N), *range(N)]
    assert max(data.n_alive) == 1  # the caller's ``batch``, while the next one is made


class Lazy:
    """An array-like that records its largest slice."""

    def __init__(self, array):
        self.array, self.shape, self.read = array, array.shape, 0

    def __len__(self):
        return len(self.array)

    def __getitem__(self, part):
        self.read = max(self.read, len(self.array[part]))
        return self.array[part]


def test_arrays_are_read_batch_by_batch():
    x, y = Lazy(X), Lazy(Y)
    check(Batches(x, y, batch_size=SIZE))
    assert (x.read, y.read) == (SIZE, SIZE)


def test_bfloat16_and_ragged_tensors():
    tf = pytest.importorskip("tensorflow", reason="ragged tensors")
    half = tf.cast(X, "bfloat16")
    assert next(iter(Batches(half))).x.dtype == half.dtype.as_numpy_dtype
    ragged = tf.data.Dataset.from_tensors(tf.ragged.constant([[1.0], [2.0, 3.0]]))
    with pytest.raises(TypeError, match="A RaggedTensor must be a dense array of numbers"):
        list(Batches(ragged))


@pytest.mark.parametrize(
    ("kind", "message", "make"),
    [
        (TypeError, "`c` must be an array .*in batches.*got 3", lambda: Batches(3, name="c")),
        (TypeError, "`x` must be an array.*got 'data.npz'", lambda: Batches("data.npz")),
        (TypeError, "Call the function, and give the generator", lambda: Batches(lambda: iter(cut(X)))),
        (TypeError, r"`x` must be an array.*np.asarray", lambda: Batches([[1.0, 2.0]])),
        (ValueError, r"The arrays of `x` .* \[9, 10\]", lambda: Batches((X, X[:9]))),
        (ValueError, "`x` is empty", lambda: Batches(X[:0])),
        (ValueError, "`batch_size` must be an integer of at least 1.*got 0", lambda: Batches(X, batch_size=0)),
        (ValueError, "`steps` must be an integer of at least 1.*got 0", lambda: Batches(X, steps=0)),
        (
            ValueError,
            r"`y` must have a label for each of the 10 samples of `x`; got the shape \(9,\)",
            lambda: Batches(X, Y[:9]),
        ),
        (ValueError, r"`y\['a'\]` must have a label.*got the shape \(\)", lambda: Batches(X, {"a": np.int64(3)})),
        (ValueError, "`y` must be one array, .*different shapes.*give a dict", lambda: Batches(X, [Y, X])),
        (ValueError, r"got the shape \(2, 10\). Give a dict from", lambda: Batches(X, [Y, Y])),
        (
            ValueError,
            "`y` must be None, because .* `x`, a list_iterator.*ndarray",
            lambda: Batches(iter(cut(X)), Y),
        ),
        (ValueError, "`batch_size` must be None, .*got 32. Change", lambda: Batches(iter(cut(X)), batch_size=32)),
        (ValueError, "`x` must give at least one batch; this list_iterator.*read before", lambda: Batches(iter([]))),
        (ValueError, "`x` must give at least one batch; this Pieces gave none.$", lambda: Batches(Pieces([]))),
        (ValueError, "`x, batch 1` is empty", lambda: Batches(iter([(X, Y), (X[:0], Y[:0])]))),
        (ValueError, "`x, batch 0` must be x.*got 4 parts.*one part", lambda: Batches(iter([(X, X, X, X)]))),
        (ValueError, "`x, batch 0` must hold several samples.*batch", lambda: Batches(iter([(X[0], Y[0])]))),
        (ValueError, "`y` must have a label for each of the 10 samples", lambda: Batches(iter([(X, Y[:9])]))),
        (ValueError, r"`x, batch 0` must have a weight.* 10 .*\(9,\)", lambda: Batches(iter([(X, Y, W[:9])]))),
        (ValueError, r"x \(None, 3\).*batch 1 has x \(None, 2\).*Pad", lambda: Batches(iter([(X, Y), (X[:, :2], Y)]))),
        (ValueError, "batch 1 has .* no labels", lambda: Batches(iter([(X, Y), (X,)]))),
        (ValueError, r"batch 1 has .* labels \(None, 3\)", lambda: Batches(iter([(X, Y), (X, X)]))),
        (ValueError, "batch 1 has .* labels .* weights", lambda: Batches(iter([(X, Y), (X, Y, W)]))),
        (ValueError, r"batch 1 has x {'a'", lambda: Batches(iter([(X, Y), ({"a": X}, Y)]))),
        (TypeError, "`x, batch 0` must be an array.*np.asarray", lambda: Batches(iter([([1.0, 2.0], [0, 1])]))),
    ],
)
def test_errors(kind, message, make):
    with pytest.raises(kind, match=message):
        list(make())


def test_pandas_objects_are_checked_before_reading():
    pd = pytest.importorskip("pandas", reason="DataFrame")
    frame = pd.DataFrame(X).assign(text="a")
    for data in ((frame,), ({"a": X, "b": frame},), (X, frame["text"])):
        with pytest.raises(TypeError, match="must hold numbers only.*the columns that are numbers"):
            Batches(*data)


def test_with_inputs_only_labels_are_ignored():
    assert len(list(Batches(iter([(X, "no labels")]), inputs_only=True))) == 1
    assert next(iter(Batches(X, Y[:9], inputs_only=True))).y == {}


def test_class_numbers():
    rows = np.eye(3)[Y]
    for y in (Y, Y[:, None], rows, rows.astype("int64"), Y.astype("float32")):
        np.testing.assert_array_equal(classes(y, 3), Y)
        assert not are_soft(y, 3)
    assert are_soft(np.full((N, 3), 1 / 3), 3)
    with pytest.raises(ValueError, match=r"class numbers from 0 to 2.*first is \[0.5, 0.5, 0.0\].*argmax"):
        classes(np.tile([0.5, 0.5, 0.0], (N, 1)), 3)
