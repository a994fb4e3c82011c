"""SilenceWarning: report plastic connections whose neurons do not fire in training."""

import warnings

import keras

from keras_snn.layers.plasticity.plastic_connection import PlasticConnection, silence_message


class SilenceWarning(keras.callbacks.Callback):
    """Warn after an epoch in which no neuron of a ``layers.PlasticConnection`` fired in some batch.

    Without spikes no weight changes: with initial weights that are too small, nothing will be learned. In eager calls
    the layer warns itself; compiled training needs this callback.

    Example:

    ```python
    callbacks = [keras_snn.callbacks.SilenceWarning()]  # model.fit(x, y, callbacks=callbacks)
    ```
    """

    def on_epoch_begin(self, epoch, logs=None):
        self._before = {layer: int(layer.silent_batches) for layer in self._layers() if layer.built}

    def on_epoch_end(self, epoch, logs=None):
        for layer in self._layers():
            n = int(layer.silent_batches) - self._before.get(layer, 0)
            if n:
                warnings.warn(silence_message(layer.name, n), stacklevel=2)

    def _layers(self):
        return [layer for layer in self.model._flatten_layers() if isinstance(layer, PlasticConnection)]
