"""Replace the neurons of a trained network, and fit the alternative oscillation neuron to the noisy one.

References: Jiang 2022, PhD thesis, University of Canterbury, section 3.3 and appendix B; Jiang and Zhang 2022,
arXiv:2211.02223.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_snn import checks
from keras_snn.conversion.copies import compile_like, from_config, set_weights, uncompiled
from keras_snn.layers import AlternativeOscillationLIF, OscillationLIF, SpikingNeuron
from keras_snn.layers.neurons.oscillation_lif import FUNCTIONS
from keras_snn.ops import neurons
from keras_snn.ops.neurons import OSCILLATIONS, fold

#: Arguments that the new neuron takes from the old one, if it has them.
_SHARED: tuple[str, ...] = (
    "name",
    "dtype",
    "dt",
    "tau",
    "threshold",
    "reset",
    "v_reset",
    "detach_reset",
    "surrogate",
    "per",
)
_SHARED += ("return_sequences", "return_state", "stateful", "unroll", "time_major", "go_backwards", "stands_for")


def swap_neurons(model: keras.Model, to: Callable, *, of: type = SpikingNeuron) -> keras.Model:
    """Return a new model with the weights of ``model`` and other neurons.

    Args:
        model: Built Sequential or functional model, nested ones too. It is not changed.
        to: Neuron class, or a function such as ``functools.partial(keras_snn.LIF, decay_input=False)``. It is called
            with the name and the arguments of the old neuron that it accepts: tau, threshold, reset, surrogate, ...
            Arguments that it fixes are not overridden.
        of: Class of the neurons to replace. Default: every ``SpikingNeuron``.

    Returns:
        A new model, compiled if ``model`` is.

    Raises:
        ValueError: If the model has no such neurons, or if a neuron has trained weights, which the new one would lose.
    """
    return _swapped(model, of, lambda layer: _neuron_like(layer, to))


def _swapped(model, of, make):
    """Return a copy of ``model`` in which ``make(layer)`` replaces each layer of the class ``of``."""
    replaced = []

    def swapped(layer):
        if not isinstance(layer, of):
            return from_config(layer, layer.get_config())
        if layer.weights:
            names = [weight.name for weight in layer.weights]
            raise ValueError(f"The neuron {layer.name!r} must have no weights to be replaced; it has {names}.")
        replaced.append(layer.name)
        return make(layer)

    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(f"`model` must be a built Keras model; got {model!r}.")
    new = keras.models.clone_model(uncompiled(model), clone_function=swapped, recursive=True)
    if not replaced:
        raise ValueError(f"`model` must have {of.__name__} layers to replace; {model.name!r} has none.")
    set_weights(new, model.get_weights())
    compile_like(new, model)
    return new


def _neuron_like(layer, to):
    config = layer.get_config()
    fixed = getattr(to, "keywords", {})
    function = getattr(to, "func", to)
    accepted = set(inspect.signature(function).parameters)
    if isinstance(function, type):
        accepted |= {
            name
            for cls in function.__mro__
            for name in inspect.signature(cls.__dict__.get("__init__", object.__init__)).parameters
        }
    accepted.add("name")
    options = {key: config[key] for key in _SHARED if key in config and key in accepted and key not in fixed}
    if "surrogate" in options:
        options["surrogate"] = layer.surrogate
    return to(**options)


def fit_alternative(
    model: keras.Model,
    x: Any,
    *,
    function: str = "f1",
    shared: bool = True,
    epochs: int = 3,
    learning_rate: float = 1e-3,
    batch_size: int = 50,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
) -> keras.Model:
    """Return the network with ``AlternativeOscillationLIF`` neurons, whose c and d are fitted to the noisy neurons.

    The fit is teacher-forced. Each noisy neuron hands its membrane h to the alternative function. The loss is half the
    squared difference of the spikes, summed over steps and units. Only c and d are trained; batch normalization and
    dropout are in inference mode.

    Args:
        model: Built Sequential or functional model with ``OscillationLIF`` neurons. It is not changed.
        x: Array ``(samples, ...)`` of training inputs.
        function: "f1", "f2", "f3" or "f4". Default "f1".
        shared: Boolean. True: one pair c, d for the network. False: one for each layer. Default True.
        epochs: Integer. Default 3.
        learning_rate: Number > 0, of Adam. Default 1e-3.
        batch_size: Integer. Default 50.
        callbacks: Sequence of Keras callbacks. With ``shared``, the logs of an epoch have "c" and "d". Default: none.
        verbose: As in ``keras.Model.fit``.

    Raises:
        ValueError: If the model has no ``OscillationLIF`` neurons, or for a bad argument.
    """
    checks.choice("function", function, FUNCTIONS)
    teacher = _swapped(model, OscillationLIF, lambda layer: _Observed.from_config(layer.get_config()))
    fit = _Fit(teacher, function, shared)
    fit.compile(keras.optimizers.Adam(checks.number("learning_rate", learning_rate, above=0)))
    epochs = checks.integer("epochs", epochs, least=1)
    fit.fit(x, epochs=epochs, batch_size=batch_size, callbacks=[_LogConstants(), *callbacks], verbose=verbose)

    def alternative(layer):
        c, d = (float(ops.convert_to_numpy(weight.value)) for weight in fit.constants(layer.name))
        to = functools.partial(AlternativeOscillationLIF, function=function, c=c, d=d, slope=layer.slope)
        return _neuron_like(layer, to)

    return _swapped(model, OscillationLIF, alternative)


class _Observed(OscillationLIF):
    """The noisy neuron, which keeps its spikes and the membrane before the noise of each call."""

    step = staticmethod(neurons.observed_folded_leaky)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.calls = []

    def run(self, inputs, states, training, mask=None):
        noise = self.draw_noise(ops.cast(inputs, states[0].dtype), mask)
        (spikes, membrane), states = SpikingNeuron.run(
            self, ops.cast(inputs, noise.dtype) + noise, states, training, mask
        )
        self.calls.append((spikes, membrane - noise))
        return spikes, states


class _LogConstants(keras.callbacks.Callback):
    """Add c and d to the logs of an epoch, for the callbacks after this one."""

    def on_epoch_end(self, epoch, logs=None):
        if self.model.shared and logs is not None:
            logs |= {n: float(ops.convert_to_numpy(w)) for n, w in zip("cd", self.model.pairs[""], strict=True)}


class _Fit(keras.Model):
    """The difference between the spikes of noisy neurons and those of the alternative function, as a loss."""

    def __init__(self, teacher, function, shared):
        super().__init__(name="fit_alternative")
        teacher.trainable = False
        self.teacher = teacher
        self.function = function
        self.neurons = [layer for layer in teacher._flatten_layers() if isinstance(layer, _Observed)]
        groups = [""] if shared else [layer.name for layer in self.neurons]
        self.shared = shared
        self.pairs = {
            group: tuple(self.add_weight(name=f"{name}{group}", initializer="zeros") for name in "cd")
            for group in groups
        }
        self.built = True

    def constants(self, name):
        """Return the weights c and d of the neuron ``name``."""
        return self.pairs["" if self.shared else name]

    def call(self, x):
        for layer in self.neurons:
            layer.calls.clear()
        outputs = self.teacher(x, training=False)
        for layer in self.neurons:
            for spikes, h in layer.calls:
                self.add_loss(self._difference(layer, ops.stop_gradient(spikes), ops.stop_gradient(h)))
            layer.calls.clear()
        return outputs

    def _difference(self, layer, spikes, h):
        c, d = (ops.convert_to_tensor(weight) for weight in self.constants(layer.name))
        p = fold(h + OSCILLATIONS[self.function](h, c, d), layer.slope)
        own = layer.surrogate(p - layer.threshold)
        difference = ops.square(ops.cast(spikes, own.dtype) - own) / 2
        return ops.sum(difference) / ops.cast(ops.shape(h)[0], own.dtype)
