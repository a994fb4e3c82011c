"""A frozen network of Diehl and Cook as an ordinary spiking layer."""

import dataclasses
import math
from typing import Any

import keras
from keras import ops

from keras_snn import probe
from keras_snn.hints import Tensor
from keras_snn.layers.encoding.still_encoder import StillEncoder
from keras_snn.ops import diehl_cook as equations
from keras_snn.ops.scan import scan


@keras.saving.register_keras_serializable(package="keras_snn")
class DiehlCookSpikes(StillEncoder):
    """Spikes of the excitatory neurons of a network of Diehl and Cook while images are presented. Nothing changes.

    ``DiehlCook.classifier()`` makes this layer. Images are presented once, also those with few spikes.

    Args:
        network: ``DiehlCook``, or its equations as the dict that ``get_config`` returns.
        n_neurons: Integer, if ``network`` is a dict.
        seed: Integer, if ``network`` is a dict.
        **kwargs: Arguments of ``StillEncoder`` without ``n_steps``.

    Input shape: ``(batch, ...)`` with values in [0, 1]. Output shape: ``(batch, time, n_neurons)``, spikes of 0 and 1.

    Example:

    ```python
    model = keras_snn.models.DiehlCook(9)
    model.build((None, 8, 8))
    model.labels.assign(np.arange(9))  # after fit: assign_labels(x, y)
    model.classifier().layers[0].output.shape  # (None, 700, 9)
    ```
    """

    emits_spikes = True

    def __init__(self, network: Any, n_neurons: int = 0, seed: int = 0, **kwargs: Any) -> None:
        if not isinstance(network, dict):
            n_neurons, seed, network = network.n_neurons, network.seed, dataclasses.asdict(network.network())
        self.network = equations.Network(**network)
        super().__init__(self.network.n_steps, **{**kwargs, "trainable": False})
        self.n_neurons, self.seed = n_neurons, seed

    @property
    def dt(self) -> float:
        """The length of a time step in seconds."""
        return self.network.dt / 1000

    @property
    def spike_unit(self) -> float:
        """The factor that converts outputs to numbers of spikes: 1."""
        return 1.0

    def in_hertz(self, outputs: Tensor) -> Tensor:
        """Return the outputs as rates in Hz."""
        return outputs / self.dt

    def build(self, input_shape):
        shape = (math.prod(input_shape[1:]), self.n_neurons)
        self.kernel = self.add_weight(name="kernel", shape=shape, trainable=False)
        self.theta = self.add_weight(name="theta", shape=shape[1:], trainable=False)
        if self.network.max_delay:
            self.delays = self.add_weight(name="delays", shape=shape, trainable=False)

    def call(self, inputs):
        x = probe.slot().keep(lambda: ops.cast(self._valid_values(inputs), "float32"))
        x = ops.reshape(x, (-1, self.kernel.shape[0]))
        batch_size, n_steps = ops.shape(x)[0], probe.n_steps(self.network.n_steps)
        # The inputs spike in all steps, whatever their number.
        network = dataclasses.replace(self.network, records=True, n_steps=2**30)
        index, word = probe.draw_once(self.seed, None, batch_size)
        params = {
            "kernel": ops.copy(self.kernel),
            "theta": ops.copy(self.theta),
            "index": index,
            "word": word,
            "probability": network.step_probability * network.gain * x,
            "first_step": ops.zeros((), "int32"),
        }
        if network.max_delay:
            params["delays"] = ops.cast(ops.copy(self.delays), "int32")

        def rested():
            state = equations.at_rest(network, batch_size, *self.kernel.shape)
            return {**state, "t": ops.zeros((batch_size,), "int32")}

        place = probe.slot(self)
        spikes, state = scan(network, place.start(rested), None, params, length=n_steps, gradient=False)
        place.end(state)
        return probe.record(self, spikes)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], probe.n_steps(self.network.n_steps), self.n_neurons)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), "float32")

    def get_config(self):
        config = {key: value for key, value in super().get_config().items() if key != "n_steps"}
        return {**config, "network": dataclasses.asdict(self.network), "n_neurons": self.n_neurons, "seed": self.seed}
