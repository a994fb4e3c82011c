"""Random numbers by a hash of seed, sample, step and unit, independent of the order of the draws."""

import math

import keras
from keras import ops

from keras_snn.hints import Tensor
from keras_snn.ops.backend import replica


def uniform_by_index(index: Tensor, shape: tuple[int, ...], seed: int | Tensor) -> Tensor:
    """Draw from U[0, 1) for each sample, by its index and the seed.

    Each value is a hash of (seed, index, unit), by the finalizer of MurmurHash3 (Appleby 2011, public domain). It is
    the same on every backend, and does not depend on the other samples of the batch.

    Args:
        index: Integer tensor ``(batch,)``, below 2^31.
        shape: Tuple of integers, the units of a sample.
        seed: Integer; or the integer tensor ``(2,)`` that ``keras.random.SeedGenerator.next`` returns.

    Returns:
        float32 tensor ``(batch, *shape)``.
    """
    return uniform_at_steps(index, ops.zeros((1, 1), "int32"), shape, seed_word(seed))[:, 0]


def uniform_at_steps(index: Tensor, steps: Tensor, shape: tuple[int, ...], word: Tensor) -> Tensor:
    """Draw from U[0, 1) for time steps. Equals ``uniform_by_index`` for the shape ``(n_steps, *shape)``.

    Args:
        index: Integer tensor ``(batch,)``, below 2^31.
        steps: Integer tensor ``(batch, time)`` or ``(1, time)``, the numbers of the steps.
        shape: Tuple of integers, the units of a step.
        word: Tensor ``()`` or ``(batch,)``, the ``seed_word`` of all samples, or one for each sample.

    Returns:
        float32 tensor ``(batch, time, *shape)``.
    """
    n_units = math.prod(shape)
    numbers = _multiply(_words(ops.expand_dims(steps, 2)), _word(n_units))
    units = _add(numbers, _words(ops.arange(n_units, dtype="int32")))
    units = _hash(_add(units, ops.reshape(word, (-1, 1, 1))))
    hashed = _hash(_add(ops.reshape(_hash(_words(index)), (-1, 1, 1)), units))
    # 24 bits: the precision of float32.
    values = ops.cast(ops.right_shift(hashed, _word(8)), "float32") * 2.0**-24
    return ops.reshape(values, (ops.shape(index)[0], ops.shape(steps)[1], *shape))


def seed_word(seed: int | Tensor) -> Tensor:
    """Return the scalar tensor that is added to the hashed numbers for a seed; see ``uniform_by_index``."""
    if isinstance(seed, int):
        return _word(0x9E3779B9 * (seed + 1))
    first, second = _words(seed[0]), _words(seed[1])
    return _hash(_add(_hash(first), second))  # hashed again: the second word counts calls, and must not shift the units


def sample_index(batch_size: int | Tensor) -> Tensor:
    """Return the index of each sample in the global batch: int32 tensor ``(batch_size,)``.

    Each replica (TensorFlow) or rank (PyTorch) continues the count of the replicas before it. All batches must have the
    same size: in a smaller last batch, two samples may have the same index. On JAX the batch is already global.

    Args:
        batch_size: Integer or scalar tensor, the number of samples of this replica.
    """
    return ops.arange(batch_size, dtype="int32") + replica() * batch_size


def _hash(h):
    h = _multiply(ops.bitwise_xor(h, ops.right_shift(h, _word(16))), _word(0x85EBCA6B))
    h = _multiply(ops.bitwise_xor(h, ops.right_shift(h, _word(13))), _word(0xC2B2AE35))
    return ops.bitwise_xor(h, ops.right_shift(h, _word(16)))


def _add(a, b):
    # Not ops.add: on TensorFlow, Keras adds a vector along axis 1 if only axis 1, not the last axis, has its length.
    return _low(a + b)


def _multiply(a, b):
    return _low(ops.multiply(a, b))


def _dtype():
    # PyTorch has no arithmetic on uint32. The low half of an int64 holds the same number.
    return "int64" if keras.config.backend() == "torch" else "uint32"


def _words(x):
    return _low(ops.cast(x, _dtype()))


def _word(value):
    return ops.convert_to_tensor(value & 0xFFFFFFFF, dtype=_dtype())


def _low(x):
    return ops.bitwise_and(x, _word(0xFFFFFFFF)) if _dtype() == "int64" else x
