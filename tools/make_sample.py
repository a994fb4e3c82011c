"""Make keras_snn/data/fashion_mnist_sample.npz, the sample of Fashion-MNIST in the package.

Run it from the root of the repository, with the package installed (pip install -e .). Keras must find Fashion-MNIST:
over the network, or its files under KERAS_HOME.

    python tools/make_sample.py

It draws 780 training and 100 test images of each class with a fixed seed, close to the limit of 3 MB. Image k has class
k mod 10, so that the first n images are balanced. The images are the same in every run. The bytes may differ with
another release of liblzma: copy the printed SHA-256 into keras_snn/data/sample.py.
"""

import hashlib
import lzma
import sys

import keras
import numpy as np

from keras_snn.data import sample

SEED = 0
N_TRAIN = 7800
MAX_BYTES = 3_000_000


def draw(labels, n, rng):
    """Return the indices of ``n`` images whose classes repeat 0, 1, ..., 9."""
    return np.stack([rng.permutation(np.flatnonzero(labels == c))[: n // 10] for c in range(10)], axis=1).ravel()


def xz(array, **options):
    """Return the compressed bytes of a uint8 array, as an array."""
    lzma2 = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, **options}
    return np.frombuffer(lzma.compress(array.tobytes(), filters=[lzma2]), np.uint8)


def pack(file, images, labels):
    """Write uint8 images (n, 28, 28) and uint8 labels (n,) to a file for ``sample.unpack``."""
    padded = np.pad(images.astype(np.int16), ((0, 0), (1, 0), (1, 0)))
    prediction = sample.predict(padded[:, 1:, :-1], padded[:, :-1, 1:], padded[:, :-1, :-1])
    mask = images > 0
    residuals = (images - prediction)[mask].astype(np.uint8)
    np.savez(
        file,
        mask=xz(np.packbits(mask, axis=-1), lc=0, lp=2, pb=2),  # a row of the mask is four bytes
        residuals=xz(residuals, lc=4, pb=0, dict_size=4096),  # small dictionary: residuals rarely repeat
        labels=xz(labels),
    )


def main():
    """Draw the images and write the file."""
    (x, y), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
    rng = np.random.RandomState(SEED)  # NumPy guarantees the same numbers in every release
    train, test = draw(y, N_TRAIN, rng), draw(y_test, sample.N_TEST, rng)
    pack(sample.PATH, np.concatenate([x[train], x_test[test]]), np.concatenate([y[train], y_test[test]]))
    content = sample.PATH.read_bytes()
    print(f"{sample.PATH}: {len(content)} bytes, SHA256 = {hashlib.sha256(content).hexdigest()!r}")
    if len(content) > MAX_BYTES:
        sys.exit(f"more than {MAX_BYTES} bytes: lower N_TRAIN")


if __name__ == "__main__":
    main()
