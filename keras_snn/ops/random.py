"""Random numbers that depend on what they are for, not on when they are drawn."""

import math

import keras
from keras import ops

from keras_snn.ops.backend import replica


def uniform_by_index(index, shape, seed):
    """Draw from U[0, 1), for each sample by its index and the seed alone.

    Each value is a hash of (seed, index, unit), by the finaliser of MurmurHash3 (Appleby 2011, public domain): the same
    on every backend, and whatever samples share the batch.

    Args:
        index: Integer tensor ``(batch,)``, below 2^31.
        shape: Tuple of integers, the units of a sample.
        seed: Integer; or the integer tensor ``(2,)`` that ``keras.random.SeedGenerator.next`` gives.

    Returns:
        float32 tensor ``(batch, *shape)``.
    """
    return uniform_at_steps(index, ops.zeros((1, 1), "int32"), shape, seed_word(seed))[:, 0]


def uniform_at_steps(index, steps, shape, word):
    """Draw from U[0, 1) for time steps, as ``uniform_by_index`` does for the shape ``(n_steps, *shape)``.

    Args:
        index: Integer tensor ``(batch,)``, below 2^31.
        steps: Integer tensor ``(batch, time)`` or ``(1, time)``, the numbers of the steps.
        shape: Tuple of integers, the units of a step.
        word: Tensor ``()`` or ``(batch,)``, the ``seed_word`` of all samples or of each.

    Returns:
        float32 tensor ``(batch, time, *shape)``.
    """
    n_units = math.prod(shape)
    numbers = _multiply(_words(ops.expand_dims(steps, 2)), _word(n_units))
    units = _add(numbers, _words(ops.arange(n_units, dtype="int32")))
    units = _hash(_add(units, ops.reshape(word, (-1, 1, 1))))
    hashed = _hash(_add(ops.reshape(_hash(_words(index)), (-1, 1, 1)), units))
    # 24 bits are all that float32 holds of a number below 1.
    values = ops.cast(ops.right_shift(hashed, _word(8)), "float32") * 2.0**-24
    return ops.reshape(values, (ops.shape(index)[0], ops.shape(steps)[1], *shape))


def seed_word(seed):
    """Return what a seed, as in ``uniform_by_index``, adds to the numbers that are hashed: a scalar tensor."""
    if isinstance(seed, int):
        return _word(0x9E3779B9 * (seed + 1))
    first, second = _words(seed[0]), _words(seed[1])
    return _hash(_add(_hash(first), second))  # hashed again: the second counts calls, and must not shift the units


def sample_index(batch_size):
    """Return the place of each sample in the global batch: int32 tensor ``(batch_size,)``.

    Each replica (TensorFlow) or rank (PyTorch) continues the count of those before it, whose batches must have the same
    size: in a smaller last batch, two samples may have the same place. On JAX the batch is already the global one.

    Args:
        batch_size: Integer or scalar tensor, the number of samples of this replica.
    """
    return ops.arange(batch_size, dtype="int32") + replica() * batch_size


def _hash(h):
    h = _multiply(ops.bitwise_xor(h, ops.right_shift(h, _word(16))), _word(0x85EBCA6B))
    h = _multiply(ops.bitwise_xor(h, ops.right_shift(h, _word(13))), _word(0xC2B2AE35))
    return ops.bitwise_xor(h, ops.right_shift(h, _word(16)))


def _add(a, b):
    # Not ops.add: on TensorFlow, Keras adds a vector along axis 1 if that has the vector's length and the last has not.
    return _low(a + b)


def _multiply(a, b):
    return _low(ops.multiply(a, b))


def _dtype():
    # PyTorch does no arithmetic on uint32; the low half of an int64 is the same number.
    return "int64" if keras.config.backend() == "torch" else "uint32"


def _words(x):
    return _low(ops.cast(x, _dtype()))


def _word(value):
    return ops.convert_to_tensor(value & 0xFFFFFFFF, dtype=_dtype())


def _low(x):
    return ops.bitwise_and(x, _word(0xFFFFFFFF)) if _dtype() == "int64" else x
