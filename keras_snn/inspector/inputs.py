"""Check the model, describe the data and show the progress of ``inspect``."""

from collections.abc import Iterator
from typing import Any

import keras
from keras import tree

from keras_snn.data.batches import Batch, Batches
from keras_snn.hints import Nest
from keras_snn.inspector import tables


def check_model(model: Any) -> None:
    """Raise an error unless ``model`` is a built Keras model."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a Keras model; got {type(model).__name__}.")
    if not model.built:
        raise ValueError(
            f"The model {model.name!r} is not built. Call it on a batch first, or begin a Sequential with keras.Input."
        )


def describe(x: Nest, n_samples: int) -> str:
    """Return the number and the shape of the samples as text; for several inputs, the shape of each."""
    shapes = [tuple(map(int, leaf.shape[1:])) for leaf in tree.flatten(x)]
    return f"{tables.counted(n_samples, 'sample')} of {' and '.join(map(str, shapes))}"


def with_progress(batches: Batches, verbose: int | str) -> Iterator[Batch]:
    """Yield the batches, and show how many are done.

    Args:
        batches: ``Batches``.
        verbose: As in ``keras.Model.evaluate``.
    """
    bar, done = (
        keras.utils.Progbar(batches.n_batches, verbose=1 if verbose == "auto" else verbose, unit_name="batch"),
        0,
    )
    for batch in batches:
        yield batch
        done += 1
        bar.update(done)
    if done != bar.target:  # the number was unknown or too large
        bar.target = done
        bar.update(done, finalize=True)
