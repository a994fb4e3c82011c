"""RatePlot: a picture of the firing rates by epoch."""

import os
from collections.abc import Sequence
from typing import Any

import keras

from keras_snn.files import check_writable, save_figure
from keras_snn.inspector.panels import from_zero, open_axis, whole_steps
from keras_snn.inspector.plots import new_figure


@keras.saving.register_keras_serializable(package="keras_snn")
class RatePlot(keras.callbacks.Callback):
    """Draw the firing rates in the ``logs`` by epoch, and write the picture after each epoch.

    Place it after ``SpikeHealth``, which adds the mean rate of each layer in Hz. A metric ``SpikeRate`` is drawn too:
    give it a ``dt``, so that its unit is Hz.

    Args:
        path: Path of the image file.
        names: Sequence of the names in ``logs`` to draw. Default: all that end in "_rate", except "learning_rate".

    Raises:
        OSError: If the folder of ``path`` cannot be written.
        ValueError: In training, if ``logs`` has none of the names.

    Example:

    ```python
    callbacks = [keras_snn.callbacks.SpikeHealth(x[:64]), keras_snn.callbacks.RatePlot("rates.png")]
    # model.fit(x, y, callbacks=callbacks)
    ```
    """

    def __init__(self, path: str | os.PathLike, *, names: Sequence[str] | None = None) -> None:
        super().__init__()
        check_writable(path)
        self.path = path
        self.names = None if names is None else list(names)
        self._rates: dict[int, dict[str, float]] = {}

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        names = self.names
        if names is None:
            names = [name for name in logs if name.endswith("_rate") and name != "learning_rate"]
        if not names or not set(names) <= set(logs):
            raise ValueError(
                f"The logs must hold {self.names or 'a rate'}; they hold {sorted(logs)}. Place RatePlot after "
                "SpikeHealth in the list of callbacks, or add the metric SpikeRate."
            )
        # A training that is repeated from an earlier epoch replaces the later ones.
        self._rates = {k: rates for k, rates in self._rates.items() if k <= epoch}
        self._rates[epoch + 1] = {name: float(logs[name]) for name in names}
        self._draw()

    def _draw(self):
        figure = new_figure(6, 3.2)
        axis = open_axis(figure.subplots())
        for name in self._rates[max(self._rates)]:
            points = [(epoch, rates[name]) for epoch, rates in self._rates.items() if name in rates]
            axis.plot(*zip(*points, strict=True), "o-", markersize=3, label=name.removesuffix("_rate"))
        axis.set(xlabel="epoch", ylabel="mean firing rate (Hz)")
        from_zero(axis)
        whole_steps(axis)
        figure.legend(loc="outside right upper", frameon=False, fontsize=8)
        save_figure(figure, self.path)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as a dict."""
        return {"path": os.fspath(self.path), "names": self.names}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "RatePlot":
        """Return the callback for a dict of ``get_config``."""
        return cls(**config)
