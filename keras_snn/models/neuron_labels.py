"""Classes of neurons that learned without labels, and the classification by them."""

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_snn.models.local_learning import check_images, checked_labels


def sums_by_class(counts: np.ndarray, y: Any, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of spike counts ``(n_classes, n_neurons)``, and the number of images of each class.

    Args:
        counts: Array ``(images, n_neurons)``.
        y: Integer array ``(images,)``.
        n_classes: Integer.

    Raises:
        ValueError: For labels that are not integers, of another number, or out of range.
    """
    one_hot = np.eye(n_classes)[checked_labels(y, n_classes, len(counts))]
    return one_hot.T @ counts, one_hot.sum(axis=0)


def labels_of(sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the class to which each neuron responds with the highest mean count: int32 ``(n_neurons,)``.

    Ties go to the lower class. Neurons that never fire get -1.

    Args:
        sums: Array ``(n_classes, n_neurons)``, and ``sizes``: as ``sums_by_class`` returns them.
        sizes: See ``sums``.
    """
    means = sums / np.maximum(sizes, 1)[:, None]
    return np.where(means.any(axis=0), means.argmax(axis=0), -1).astype("int32")


def class_means(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the matrix ``(n_neurons, n_classes)`` from spike counts to the mean count of the neurons of each class."""
    one_hot = np.eye(n_classes + 1, dtype="float32")[labels][:, :-1]  # label -1 is the last row
    return one_hot / np.maximum(one_hot.sum(axis=0), 1)


def predicted_classes(scores: np.ndarray) -> np.ndarray:
    """Return the class of the highest score: int ``(images,)``. Of tied classes the highest wins.

    Args:
        scores: Array ``(images, n_classes)``.
    """
    return scores.shape[1] - 1 - scores[:, ::-1].argmax(axis=1)


def accuracy_and_ties(scores: np.ndarray, y: Any) -> dict[str, float]:
    """Return accuracy, and the share of images with a tie.

    Args:
        scores: Array ``(images, n_classes)``.
        y: Integer array ``(images,)``.
    """
    predicted = predicted_classes(scores)
    ties = (scores == scores.max(axis=1, keepdims=True)).sum(axis=1) > 1
    return {"accuracy": float((predicted == np.ravel(y)).mean()), "ties": float(ties.mean())}


class ClassifiesByNeurons(keras.Model):
    """Base of models whose outputs are spike counts, and whose neurons get classes after the training.

    A subclass has the attributes ``n_classes``, ``seed`` and ``seed_generator``, and the weights ``labels``
    ``(n_neurons,)``, ``class_counts (n_classes, n_neurons)`` and ``class_sizes (n_classes,)``.
    """

    n_classes: int
    seed: int
    seed_generator: Any
    labels: Any
    class_counts: Any
    class_sizes: Any

    def responses(self, x: Any, *, batch_size: int = 32, verbose: Any = 0) -> np.ndarray:
        """Return the spike counts ``(images, n_neurons)`` of frozen presentations. Random numbers start anew.

        Args:
            x: Array ``(images, ...)``.
            batch_size: Integer. Default 32.
            verbose: As in ``keras.Model.predict``. Default 0.

        Raises:
            ValueError: If the array ``x`` is not in [0, 1], or has images of another size.
        """
        check_images(self, x)
        self.seed_generator.state.assign(np.array([self.seed, 0]))
        return np.asarray(super().predict(x, batch_size=batch_size, verbose=verbose))

    def assign_labels(self, x: Any = None, y: Any = None, *, batch_size: int = 32, verbose: Any = 0) -> np.ndarray:
        """Give each neuron the class to which it responds with the highest mean spike count.

        Ties go to the lower class. Neurons that never fire get -1.

        Args:
            x: Array of training images, presented once with nothing changing. None: the counts of the last pass of
                ``fit(x, y)`` are used.
            y: Integer array of their labels.
            batch_size: Integer. Default 32.
            verbose: As in ``keras.Model.predict``. Default 0.

        Returns:
            Integer array ``(n_neurons,)``.

        Raises:
            ValueError: For labels out of range, or without ``x`` if ``fit`` got no labels.
        """
        if x is not None:
            sums, sizes = sums_by_class(self.responses(x, batch_size=batch_size, verbose=verbose), y, self.n_classes)
        else:
            sums, sizes = (ops.convert_to_numpy(v) for v in (self.class_counts, self.class_sizes))
            if not sizes.any():
                raise ValueError("`x` and `y` must be given, because `fit` got no labels; got None.")
        self.labels.assign(labels_of(sums, sizes))
        return ops.convert_to_numpy(self.labels)

    def predict(self, x: Any, *, batch_size: int = 32, verbose: Any = "auto", **kwargs: Any) -> np.ndarray:
        """Return the class scores ``(images, n_classes)``: mean spike counts of the neurons with each label.

        Args:
            x: Array ``(images, ...)``.
            batch_size: Integer. Default 32.
            verbose: As in ``keras.Model.predict``.
            **kwargs: Not used.
        """
        return self.responses(x, batch_size=batch_size, verbose=verbose) @ self.class_means()

    def class_means(self) -> np.ndarray:
        """Return the matrix ``(n_neurons, n_classes)`` that turns spike counts into class scores.

        It warns if no neuron has a class: then all scores are 0.
        """
        labels = ops.convert_to_numpy(self.labels)
        if (labels < 0).all():
            warnings.warn(
                f"No neuron of {self.name!r} has a class, so all classes tie. Call `assign_labels` after `fit`.",
                stacklevel=3,
            )
        return class_means(labels, self.n_classes)

    def evaluate(
        self, x: Any = None, y: Any = None, *, batch_size: int = 32, verbose: Any = "auto", **kwargs: Any
    ) -> dict[str, float]:
        """Return accuracy, and the share of images with a tie between classes.

        Of tied classes the highest wins, as in the publication's code.

        Args:
            x: Array ``(images, ...)``.
            y: Integer array of labels.
            batch_size: Integer. Default 32.
            verbose: As in ``keras.Model.predict``.
            **kwargs: Arguments of ``keras.Model.evaluate``; they are ignored.

        Returns:
            Dict with "accuracy" and "ties".
        """
        return self.score(self.responses(x, batch_size=batch_size or 32, verbose=verbose), y)

    def score(self, counts: np.ndarray, y: Any) -> dict[str, float]:
        """Return what ``evaluate`` returns, from spike counts that ``responses`` returned.

        Args:
            counts: Array ``(images, n_neurons)``.
            y: Integer array of labels.
        """
        return accuracy_and_ties(counts @ self.class_means(), y)
