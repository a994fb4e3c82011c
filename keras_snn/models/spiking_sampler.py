"""SpikingSampler: a network that chooses pixels, and one that rebuilds the image from them."""

import inspect
import itertools
import types
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_snn import checks
from keras_snn.data import event_frames, mask_events, time_windows
from keras_snn.hints import Tensor
from keras_snn.layers import TopKMask
from keras_snn.models.sampling_scores import BrightnessScores, GradientScores, RandomScores

#: Baselines by name.
SCORES: dict[str, Any] = {"random": RandomScores, "brightest": BrightnessScores, "gradient": GradientScores}


@keras.saving.register_keras_serializable(package="keras_snn")
class SpikingSampler(keras.Model):
    """Choose a share of the pixels, and rebuild the image from them. Both parts are trained together.

    ``m = TopKMask(rate)(sampling_network(x))`` and ``output = reconstructor(m x)``. Compile with a loss, such as "mse",
    and call ``fit(x)``: the targets are the inputs, unless ``y`` is given. The mask sees the whole image, so nothing is
    saved in acquisition.

    Args:
        sampling_network: Keras model or layer from images ``(batch, height, width, channels)`` or frames ``(batch,
            frames, height, width, 2)`` to potentials of the same shape, or with one channel, which then serves all
            channels. Or the name of a baseline without learning: "random" (a new mask in each call), "brightest" or
            "gradient" (the largest local gradient). For a baseline with a mask for each channel, such as events, give
            ``RandomScores(per_channel=True)``, ``BrightnessScores(...)`` or ``GradientScores(...)``.
        reconstructor: Keras model or layer from masked images to images.
        rate: Number in (0, 1], the share of the mask that is 1.
        percentile: Boolean, as in ``TopKMask``. Default False: exactly ``round(rate * n)`` ones.
        surrogate: As in ``TopKMask``. Default "atan".
        **kwargs: Arguments of ``keras.Model``, such as ``name``.

    Call arguments:
        inputs: Tensor of images or frames.

    Raises:
        ValueError: For an unknown baseline, or a ``rate`` out of range.

    Example:

    ```python
    network = keras_snn.models.sampling_network((8, 8, 1))
    sampler = keras_snn.models.SpikingSampler(network, keras_snn.models.dense_reconstructor((8, 8, 1)), rate=0.25)
    images = np.random.default_rng(0).random((2, 8, 8, 1)).astype("float32")
    sampler.mask(images).sum((1, 2, 3)).tolist()  # [16.0, 16.0]
    ```

    References: Jiang 2022, PhD thesis, University of Canterbury, chapter 5 and appendix D; Jiang and Zhang 2022,
    arXiv:2211.04166.
    """

    def __init__(
        self,
        sampling_network: Any,
        reconstructor: Any,
        rate: float,
        *,
        percentile: bool = False,
        surrogate: Any = "atan",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(sampling_network, str):
            sampling_network = SCORES[checks.choice("sampling_network", sampling_network, SCORES)]()
        self.sampling_network: Any = sampling_network
        self.reconstructor: Any = reconstructor
        self.top_k = TopKMask(rate, percentile=percentile, surrogate=surrogate, name="mask")
        self._parts = types.SimpleNamespace(models={})  # Keras does not track what is inside
        shape = getattr(reconstructor, "input_shape", None)  # that of the images
        if shape is not None and reconstructor.built:
            self.build(shape)

    @property
    def rate(self) -> float:
        """The share of ones."""
        return self.top_k.rate

    def _mask_of(self, inputs, training=False):
        return self.top_k(_call(self.sampling_network, inputs, training))

    def call(self, inputs, training=False):
        return _call(self.reconstructor, self._mask_of(inputs, training) * inputs, training)

    def compute_loss(
        self,
        x: Tensor | None = None,
        y: Tensor | None = None,
        y_pred: Tensor | None = None,
        sample_weight: Tensor | None = None,
        training: bool = True,
    ) -> Tensor:
        """Return the loss as Keras does, with the inputs ``x`` as targets if there is no ``y``."""
        return super().compute_loss(x, x if y is None else y, y_pred, sample_weight, training)

    def compute_metrics(
        self, x: Tensor, y: Tensor | None, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> dict[str, Any]:
        """Return the metrics as Keras does, with the inputs ``x`` as targets if there is no ``y``."""
        return super().compute_metrics(x, x if y is None else y, y_pred, sample_weight)

    def mask(self, x: Any, *, batch_size: int = 128) -> np.ndarray:
        """Return the masks of images or frames, with the channels of ``sampling_network``.

        Args:
            x: Array of images or frames.
            batch_size: Integer. Default 128.
        """
        return self._run("mask", self._mask_of, x, batch_size)

    def sample(self, x: Any, *, batch_size: int = 128) -> np.ndarray:
        """Return the images or frames with zeros where the mask is 0. Arguments as in ``mask``."""
        return self._run("sample", lambda inputs: self._mask_of(inputs) * inputs, x, batch_size)

    def reconstruct(self, x: Any, *, batch_size: int = 128) -> np.ndarray:
        """Return the rebuilt images or frames: the output of the model. Arguments as in ``mask``."""
        return self._run("reconstruct", self, x, batch_size)

    def _run(self, name, function, x, batch_size):
        x = np.asarray(x, "float32")
        key = name, x.shape[1:]
        if key not in self._parts.models:
            inputs = keras.Input(x.shape[1:])
            self._parts.models[key] = keras.Model(inputs, function(inputs))
        return self._parts.models[key].predict(x, batch_size=batch_size, verbose=0)

    def compress_events(
        self,
        recordings: Sequence[Any],
        size: tuple[int, int],
        *,
        n_frames: int = 1,
        start: float | None = None,
        stop: float | None = None,
    ) -> list[np.ndarray]:
        """Keep the events of recordings at which the mask of their frames is 1. Their times stay as they are.

        Args:
            recordings: Sequence of recordings, as in ``keras_snn.data.as_events``.
            size: Pair of integers, height and width of the sensor.
            n_frames: Integer, number of frames of equal time. With 1, the sampler takes ``(batch, height, width, 2)``,
                else ``(batch, n_frames, height, width, 2)``. Default 1.
            start, stop: As in ``keras_snn.data.to_frames``.

        Returns:
            List of recordings.

        Raises:
            ValueError: For a recording that ``keras_snn.data.as_events`` refuses.
        """
        kept: list[np.ndarray] = []
        edges: dict[str, Any] = {"start": start, "stop": stop}
        for first in range(0, len(recordings), 128):
            part = recordings[first : first + 128]
            frames = event_frames(part, n_frames, size, split_by="time", **edges)
            masks = self.mask(frames[:, 0] if n_frames == 1 else frames)
            masks = np.broadcast_to(masks, (*masks.shape[:-1], 2))  # one channel serves both polarities
            kept += [mask_events(*pair, **edges) for pair in zip(part, masks, strict=True)]
        return kept

    def compress_parts(
        self, parts: Iterable[Any], size: tuple[int, int], *, window: float, n_frames: int = 1
    ) -> Iterator[np.ndarray]:
        """Keep the events of a recording that is larger than memory, window by window. See ``compress_events``.

        Args:
            parts: Iterable of the parts of a recording, such as ``keras_snn.data.iter_events``.
            size, n_frames: As in ``compress_events``, for each window.
            window: Number > 0, the time of a mask, in the unit of "t", as in ``keras_snn.data.time_windows``. The
                frames go from the first to the last event of a window.

        Yields:
            The kept events of some windows at a time.

        Raises:
            ValueError: As in ``compress_events`` and ``time_windows``.
        """
        windows = (events for _, events in time_windows(parts, window))
        while group := list(itertools.islice(windows, 64)):
            yield np.concatenate(self.compress_events(group, size, n_frames=n_frames))

    def build(self, input_shape):
        for layer in (self.sampling_network, self.reconstructor):
            if not layer.built:
                layer.build(input_shape)
        self.top_k.build(self.sampling_network.compute_output_shape(input_shape))
        self.built = True

    def compute_output_shape(self, input_shape):
        return self.reconstructor.compute_output_shape(input_shape)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        top_k = self.top_k.get_config()
        return {
            "name": self.name,
            "sampling_network": serialize(self.sampling_network),
            "reconstructor": serialize(self.reconstructor),
            **{key: top_k[key] for key in ("rate", "percentile", "surrogate")},
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = {
            key: keras.saving.deserialize_keras_object(config[key], custom_objects)
            for key in ("sampling_network", "reconstructor")
        }
        return cls(**{**config, **parts})


def _call(layer, inputs, training):
    """Call a layer in training or inference. On JAX, Keras does not pass the mode on from a subclassed model."""
    takes_training = "training" in inspect.signature(layer.call).parameters
    return layer(inputs, training=training) if takes_training else layer(inputs)
