"""Load data sets by name: from Keras, TensorFlow Datasets, scikit-learn, this package or a file."""

import hashlib
import os
from collections.abc import Callable

import keras
import numpy as np

from keras_snn import checks
from keras_snn.data import jpeg, sample
from keras_snn.data.events import sets
from keras_snn.hints import Nest

_DIGITS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
_FASHION_ITEMS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FINE_CLASSES = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel "
    "can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur "
    "dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion "
    "lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree "
    "pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea "
    "seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table "
    "tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman "
    "worm"
)
_CLASS_NAMES = {
    "fashion_mnist": _FASHION_ITEMS,
    "mnist": _DIGITS,
    "cifar10": _OBJECTS,
    "cifar100": tuple(_FINE_CLASSES.split()),
    "digits": _DIGITS,
    "nmnist": _DIGITS,
    "fashion_mnist_sample": _FASHION_ITEMS,
}

# Paths under KERAS_HOME that Keras reads before it downloads.
_KERAS_FILES = {
    "fashion_mnist": "datasets/fashion-mnist/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz",
    "mnist": "datasets/mnist.npz",
    "cifar10": "datasets/cifar-10-batches-py-target_archive (cifar-10-python.tar.gz under this name)",
    "cifar100": "datasets/cifar-100-python-target_archive (cifar-100-python.tar.gz under this name)",
}

# The sets that have a file reader, for ``load(name, path=...)``.
_FILE_READERS: dict[str, Callable] = {"cifar10": jpeg.read, "nmnist": sets.read}

Split = tuple[Nest, np.ndarray]


def load(
    name: str,
    *,
    source: str = "keras",
    data_dir: str | os.PathLike | None = None,
    path: str | os.PathLike | None = None,
) -> tuple[Split, Split]:
    """Load a data set, ready for training.

    Images of every set are float32 in [0, 1]: four bytes a pixel, 188 MB for the 60,000 training images of
    Fashion-MNIST. Gray images are (n, height, width), without a channel axis. Color images are (n, height, width, 3),
    or (n, 3, height, width) where ``keras.config.image_data_format()`` is "channels_first".

    | name | images | train, test |
    |---|---|---|
    | "fashion_mnist" | 28 x 28 | 60,000, 10,000 |
    | "mnist" | 28 x 28 | 60,000, 10,000 |
    | "cifar10" | 32 x 32 x 3; with ``path``, from a file of JPEG images | 50,000, 10,000 |
    | "cifar100" | 32 x 32 x 3; labels are the 100 fine classes | 50,000, 10,000 |
    | "digits" | 8 x 8, from scikit-learn | 1,437, 360: a split stratified by class, with seed 0 |
    | "fashion_mnist_sample" | 28 x 28, from this package: no network | 7,800, 1,000: image k has class k mod 10 |
    | "nmnist" | event recordings of 34 x 34 pixels, from the file ``path`` | 60,000, 10,000 |

    The images of the sample are a random draw from "fashion_mnist", with a fixed seed. Their license is in
    FASHION_MNIST_LICENSE.txt beside the file. The recordings of "nmnist" are a list of structured arrays, as
    ``as_events`` returns.

    Args:
        name: String, a name of the table.
        source: String, the source of "fashion_mnist", "mnist", "cifar10" and "cifar100"; the other sets ignore it.
            "keras", the default, is ``keras.datasets``, with its files in the folder of the environment variable
            KERAS_HOME. "tfds" is TensorFlow Datasets; it needs no network if ``data_dir`` holds the prepared set. Both
            give the same arrays in the same order.
        data_dir: Path, the folder of TensorFlow Datasets. Default None: the environment variable TFDS_DATA_DIR,
            or ~/tensorflow_datasets. Only with ``source="tfds"``.
        path: Path of a file of ``numpy.savez`` with the whole set. For "nmnist", which needs it: the arrays
            ``x_train``, ``y_train``, ``p_train`` and ``t_train`` of the events of all recordings, one recording after
            another; ``offset_train``, the index of the first event of each recording, followed by the number of all
            events; ``label_train``; and the same for "test". For "cifar10": ``jpeg_train``, uint8, the JPEG files one
            after another; ``offset_train``, as for events; ``y_train``, the labels; and the same for "test". These
            images are (n, height, width, 3). Default None. Only with ``source="keras"``.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``. Labels are int64 (n,).

    Raises:
        ValueError: For an unknown name or source; ``data_dir`` without ``source="tfds"``; ``path`` for another set or
            with ``source="tfds"``, or no ``path`` for "nmnist"; a file at ``path`` that is broken or of another kind.
        ImportError: If the set needs an optional package. The message names the extra to install.
        OSError: If the set can be neither read nor downloaded (the message gives the paths of the files), the file
            ``path`` cannot be read, or the embedded sample is missing or damaged.

    Example:

    ```python
    (x_train, y_train), (x_test, y_test) = keras_snn.data.load("fashion_mnist_sample")
    x_train.shape, y_test.shape  # ((7800, 28, 28), (1000,))
    ```
    """
    checks.choice("name", name, tuple(_CLASS_NAMES))
    checks.choice("source", source, ("keras", "tfds"))
    if data_dir is not None and source != "tfds":
        raise ValueError(
            f"data_dir={data_dir!r} needs source='tfds', got source={source!r}; "
            "for source='keras' set the environment variable KERAS_HOME before Keras is imported"
        )
    _check_path(name, source, path)
    max_pixel = 255
    splits: tuple[Split, Split]
    if path is not None:
        splits = _FILE_READERS[name](path)
    elif name == "fashion_mnist_sample":
        splits = sample.read()
    elif name == "digits":
        splits, max_pixel = _from_sklearn(), 16
    elif source == "keras":
        splits = _from_keras(name)
    else:
        splits = _from_tfds(name, data_dir)
    if name == "nmnist":
        return splits
    train, test = ((np.divide(x, max_pixel, dtype=np.float32), y.reshape(-1).astype(np.int64)) for x, y in splits)
    return train, test


def class_names(name: str) -> tuple[str, ...]:
    """Return the names of the classes 0, 1, ... of a set.

    Args:
        name: String, as in ``load``.

    Raises:
        ValueError: For an unknown name.

    Example:

    ```python
    keras_snn.data.class_names("fashion_mnist")[9]  # "Ankle boot"
    ```
    """
    checks.choice("name", name, tuple(_CLASS_NAMES))
    return _CLASS_NAMES[name]


def _check_path(name, source, path):
    if path is None:
        if name == "nmnist":
            raise ValueError("`path` must be a file of events for 'nmnist', which has no other source; got None.")
        return
    if name not in _FILE_READERS:
        raise ValueError(
            f"`path` must be None for {name!r}; got {os.fspath(path)!r}. Only "
            f"{' and '.join(map(repr, _FILE_READERS))} are read from a file."
        )
    if source != "keras":
        raise ValueError(f"`path` must be None with source={source!r}; got {os.fspath(path)!r}.")


def _from_keras(name):
    try:
        return getattr(keras.datasets, name).load_data()
    except Exception as error:  # a failed download raises Exception, a damaged file any error of its reader
        raise _unreachable(name, error) from error


def _from_tfds(name, data_dir):
    try:
        import tensorflow_datasets as tfds

        builder = tfds.builder(name, data_dir=data_dir)
        if not builder.is_prepared():
            try:
                builder.download_and_prepare()
            except (OSError, tfds.download.DownloadError) as error:
                raise _unreachable(name, error) from error
        return tuple(_read_tfds(builder, split) for split in ("train", "test"))
    except ImportError as error:
        raise ImportError(
            "source='tfds' needs tensorflow-datasets (pip install 'keras_snn[data]'), and TensorFlow too unless the "
            f"files are in the ArrayRecord format: {error}"
        ) from error


def _read_tfds(builder, split):
    try:
        examples = builder.as_data_source(split=split)
        x, y = np.stack([e["image"] for e in examples]), np.array([e["label"] for e in examples])
    except NotImplementedError:  # the files are TFRecords
        examples = builder.as_dataset(split=split, batch_size=-1)
        x, y = examples["image"].numpy(), examples["label"].numpy()

    # TFDS sorts the images by this hash of their number. Restore the order of the original files.
    stored = sorted(range(len(y)), key=lambda i: hashlib.md5(f"{split}{i}".encode()).digest())
    order = np.argsort(stored)
    x, y = x[order], y[order]
    if x.shape[-1] == 1:
        x = x[..., 0]
    elif keras.config.image_data_format() == "channels_first":
        x = np.moveaxis(x, -1, 1)
    return x, y


def _from_sklearn():
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ImportError(f"name='digits' needs scikit-learn: pip install 'keras_snn[data]' ({error})") from error
    digits = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        digits.images, digits.target, test_size=360, stratify=digits.target, random_state=0
    )
    return (x_train, y_train), (x_test, y_test)


def _unreachable(name, error):
    home = os.path.expanduser(os.environ.get("KERAS_HOME", "~/.keras"))
    return OSError(
        f"{name!r} can be neither read nor downloaded ({error}). Do one of these:\n"
        f"1. Put the original files at {os.path.join(home, _KERAS_FILES[name])}, and replace a damaged one. The path "
        "begins with the environment variable KERAS_HOME. Set it to a writable folder before Keras is imported. Keras "
        "deletes a file that differs from the original.\n"
        f"2. Use load({name!r}, source='tfds', data_dir=...), with a TensorFlow Datasets folder that holds the set.\n"
        "3. Use load('fashion_mnist_sample'), the sample in this package."
    )
