"""SilenceWarning: compiled training reports batches without spikes."""

import keras
import numpy as np
import pytest

from keras_snn.callbacks import SilenceWarning
from keras_snn.layers import LIF, PlasticConnection, TemporalAveragePooling


def test_silent_batches_of_an_epoch_are_reported():
    """One of three batches is silent."""
    connection = keras.layers.Dense(2, use_bias=False, kernel_initializer=keras.initializers.Constant(0.5))
    plastic = PlasticConnection(connection, LIF(), name="plastic")
    model = keras.Sequential([keras.Input((5, 4)), plastic, TemporalAveragePooling(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((6, 5, 4), "float32")
    x[2:4] = 0
    with pytest.warns(UserWarning, match="No neuron of 'plastic' fired in 1 training batch"):
        model.fit(x, np.ones((6, 1)), batch_size=2, shuffle=False, verbose=0, callbacks=[SilenceWarning()])
    loud = np.ones((4, 5, 4), "float32")
    model.fit(loud, np.ones((4, 1)), batch_size=2, verbose=0, callbacks=[SilenceWarning()])  # warnings are errors
