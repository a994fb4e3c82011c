"""Image sets by name: through Keras, through TensorFlow Datasets, from scikit-learn, or from the package itself."""

import hashlib
import os

import keras
import numpy as np

from keras_snn import checks
from keras_snn.data import sample

_DIGITS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
_CLOTHES = (
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
_CLASS_NAMES = {
    "fashion_mnist": _CLOTHES,
    "mnist": _DIGITS,
    "cifar10": _OBJECTS,
    "digits": _DIGITS,
    "fashion_mnist_sample": _CLOTHES,
}

# Where Keras looks before it downloads, under KERAS_HOME.
_KERAS_FILES = {
    "fashion_mnist": "datasets/fashion-mnist/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz",
    "mnist": "datasets/mnist.npz",
    "cifar10": "datasets/cifar-10-batches-py-target_archive (cifar-10-python.tar.gz under this name)",
}

Split = tuple[np.ndarray, np.ndarray]


def load(name: str, *, source: str = "keras", data_dir: str | os.PathLike | None = None) -> tuple[Split, Split]:
    """Load an image set, ready to train with.

    Images are float32 in [0, 1] for every set, whatever range its files have: four bytes a pixel, so 188 MB for the
    60,000 training images of Fashion-MNIST. Grey images are (n, height, width), without a channel axis; coloured ones
    are (n, height, width, 3), or (n, 3, height, width) where ``keras.config.image_data_format()`` is "channels_first".

    | name | images | train, test |
    |---|---|---|
    | "fashion_mnist" | 28 x 28 | 60,000, 10,000 |
    | "mnist" | 28 x 28 | 60,000, 10,000 |
    | "cifar10" | 32 x 32 x 3 | 50,000, 10,000 |
    | "digits" | 8 x 8, from scikit-learn | 1,437, 360: a split stratified by class, with seed 0 |
    | "fashion_mnist_sample" | 28 x 28, from this package: no network | 7,800, 1,000: image k has class k mod 10 |

    The sample is drawn with a seed from the training and the test images of "fashion_mnist"; their licence is in
    FASHION_MNIST_LICENSE.txt beside it.

    Args:
        name: str, a name of the table.
        source: str, where the first three sets come from; the other two ignore it. "keras", the default, is
            ``keras.datasets``, whose files are in the folder that the environment variable KERAS_HOME names. "tfds" is
            TensorFlow Datasets; where ``data_dir`` holds the prepared set, no network is needed. Both give the same
            arrays in the same order.
        data_dir: str or path, the folder of TensorFlow Datasets. Default None, its own choice: the environment variable
            TFDS_DATA_DIR, or ~/tensorflow_datasets. Only with ``source="tfds"``.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``. Labels are int64 (n,).

    Raises:
        ValueError: An unknown name or source; a ``data_dir`` without ``source="tfds"``.
        ImportError: The set needs an optional package; the message names the extra to install.
        OSError: The set can be neither read nor downloaded (the message says where to put the files), or the embedded
            sample is missing or damaged.

    Example:
        >>> from keras_snn import data
        >>> (x_train, y_train), (x_test, y_test) = data.load("fashion_mnist_sample")
        >>> x_train.shape, x_train.dtype, y_test.shape
        ((7800, 28, 28), dtype('float32'), (1000,))
    """
    checks.choice("name", name, tuple(_CLASS_NAMES))
    checks.choice("source", source, ("keras", "tfds"))
    if data_dir is not None and source != "tfds":
        raise ValueError(
            f"data_dir={data_dir!r} needs source='tfds', got source={source!r}; "
            "for source='keras' set the environment variable KERAS_HOME before Keras is imported"
        )
    white = 255
    if name == "fashion_mnist_sample":
        splits = sample.read()
    elif name == "digits":
        splits, white = _from_sklearn(), 16
    elif source == "keras":
        splits = _from_keras(name)
    else:
        splits = _from_tfds(name, data_dir)
    train, test = ((np.divide(x, white, dtype=np.float32), y.reshape(-1).astype(np.int64)) for x, y in splits)
    return train, test


def class_names(name: str) -> tuple[str, ...]:
    """Return what the labels 0, 1, ... of a set stand for.

    Args:
        name: str, as in ``load``.

    Raises:
        ValueError: An unknown name.

    Example:
        >>> from keras_snn import data
        >>> data.class_names("fashion_mnist")[9]
        'Ankle boot'
    """
    checks.choice("name", name, tuple(_CLASS_NAMES))
    return _CLASS_NAMES[name]


def _from_keras(name):
    try:
        return getattr(keras.datasets, name).load_data()
    except Exception as error:  # a failed download is a bare Exception, a damaged file whatever its reader raises
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

    # TFDS sorts the images by this hash of their number: go back to the order of the original files.
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
        f"{name!r} can be neither read nor downloaded ({error}). Ways out:\n"
        f"1. put the original files at {os.path.join(home, _KERAS_FILES[name])}, in place of a damaged one. The path "
        "begins with the environment variable KERAS_HOME, which must be set before Keras is imported, to a writable "
        "folder. Keras deletes a file that is not the original, byte for byte;\n"
        f"2. load({name!r}, source='tfds', data_dir=...), with a folder where TensorFlow Datasets prepared the set;\n"
        "3. load('fashion_mnist_sample'), which comes with this package."
    )
