"""A model of one time step, with the states as inputs and outputs."""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops, tree

from keras_snn import checks, probe
from keras_snn.graph import TimeAxis, is_graph, static_batch_size, zero_sample
from keras_snn.ops.scan import unrolled


class OneStep(keras.layers.Layer):
    """Run a step of a model from given states. Inputs and outputs are dicts of tensors by name."""

    def __init__(self, axis: TimeAxis, name: str) -> None:
        super().__init__(name=name, dtype="float32", autocast=False)  # states keep their dtypes
        self.model = axis.model
        self.restarts = axis.is_made
        self.initial = _initial_states(axis)
        self._step = _step_function(axis, self.initial(1))

    def call(self, inputs):
        return self._step(inputs)

    def compute_output_spec(self, inputs):
        spec = super().compute_output_spec(inputs)
        sizes = {x.shape[0] for x in inputs.values()}
        return {name: keras.KerasTensor((*sizes, *y.shape[1:]), y.dtype) for name, y in spec.items()}

    def get_config(self):
        raise NotImplementedError(
            f"The model of one step of {self.model.name!r} cannot be saved or cloned: save {self.model.name!r}, and "
            "call keras_snn.export.step_model after loading it."
        )


def step_model(model: keras.Model, *, batch_size: int | None = None, causal: bool = False) -> keras.Model:
    """Return a model of one time step, with the states as inputs and outputs, for devices that keep the states.

    Repeated calls give the outputs of ``model`` for all steps: of a model that ends the time axis, the output after all
    steps so far. The weights are those of ``model``. There is no loop in it, so that every exporter supports it.

    ============  ===========================================================================================
    inputs        ``x``, a time step ``(batch, ...)``, or ``x_0``, ``x_1``, ... of a model with several inputs;
                  ``state_00``, ``state_01``, ...: see ``initial_states``
    outputs       ``y``, the output ``(batch, ...)``, or ``y_0``, ``y_1``, ...; ``new_state_00``, ``new_state_01``,
                  ..., the states to pass to the next call
    ============  ===========================================================================================

    If ``model`` creates its time axis (``Repeat``, an encoder), there is the input ``restart`` too, bool ``(batch,)``:
    True in the first call, which then takes ``x`` and ignores the states; False in the others. The layers before the
    time axis run in each call: export such a model as a whole if all its steps run at once.

    Args:
        model: A built Sequential or functional model that can run over parts of its time axis, as for
            ``keras_snn.stream``.
        batch_size: Integer, a fixed batch size. Default: that of ``model``, or any.
        causal: As in ``keras_snn.predict``.

    Returns:
        A functional model. Export it; it cannot be saved as a ``.keras`` file.

    Raises:
        TypeError: If ``model`` is not a Keras model.
        ValueError: If ``model`` has no graph, or cannot run over parts of its time axis. The message names the layer.

    Example:

    ```python
    scanner = keras.Sequential([keras.Input((None, 4)), keras.layers.Dense(3), keras_snn.LIF()])
    step = keras_snn.export.step_model(scanner)
    states = keras_snn.export.initial_states(step)
    for frame in x[:5]:
        outputs = step.predict_on_batch({"x": frame[None], **states})
        states = {name: outputs["new_" + name] for name in states}
    tuple(outputs["y"].shape)  # (1, 3): the spikes at the fifth step
    ```
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a Keras model; got {type(model).__name__}.")
    if not is_graph(model) or not getattr(model, "inputs", None):
        raise ValueError(
            f"`model` must be a built Sequential or functional model, whose inputs are known; got {model.name!r}, a "
            f"{type(model).__name__}. Begin it with keras.Input, or write it as a function that returns a functional "
            "model."
        )
    batch_size = checks.integer("batch_size", batch_size, least=1, optional=True) or static_batch_size(model)
    axis = TimeAxis(model, zero_sample(model)[0], causal=causal)
    axis.check()
    layer = OneStep(axis, name="one_step")
    specs = {name: keras.Input(a.shape[1:], batch_size, a.dtype, name=name) for name, a in layer.initial(1).items()}
    for name, tensor in zip(_names("x", model.inputs), model.inputs, strict=True):
        shape = tensor.shape[1:] if axis.is_made else tensor.shape[2:]
        specs[name] = keras.Input(shape, batch_size, tensor.dtype, name=name)
    if axis.is_made:
        specs["restart"] = keras.Input((), batch_size, "bool", name="restart")
    inputs = {name: specs[name] for name in sorted(specs)}  # Keras's order
    return keras.Model(inputs, layer(inputs), name=f"{model.name}_step")


def initial_states(step: keras.Model, batch_size: int = 1) -> dict[str, np.ndarray]:
    """Return the states before the first step of a model of ``step_model``: a dict of arrays ``(batch, ...)``.

    They are zeros for a model with the input ``restart``, whose first call ignores them. Initial voltages of a
    ``SpikingActivation`` without ``seed`` are drawn anew in each call.

    Args:
        step: The model from ``step_model``.
        batch_size: Integer. Default 1.
    """
    layer = next((layer for layer in getattr(step, "layers", ()) if isinstance(layer, OneStep)), None)
    if layer is None:
        raise TypeError(f"`step` must be a model from keras_snn.export.step_model; got {type(step).__name__}.")
    return layer.initial(checks.integer("batch_size", batch_size, least=1))


def _names(name, tensors):
    return [name] if len(tensors) == 1 else [f"{name}_{i}" for i in range(len(tensors))]


def _initial_states(axis):
    """Return a function from the batch size to a dict of the states before the first step."""

    def initial(batch_size: int) -> dict[str, np.ndarray]:
        size = static_batch_size(axis.model) or batch_size
        sample = keras.tree.map_structure(lambda a: np.zeros((size, *a.shape[1:]), a.dtype), axis.x)
        carry = probe.Carry()
        axis.run(axis.part(sample, 0, 1), 1, carry)
        states = [np.array(ops.convert_to_numpy(state)) for state in tree.flatten(carry.started)]
        # Two digits: exporters sort names.
        return {f"state_{i:02}": np.zeros_like(s) if axis.is_made else s for i, s in enumerate(states)}

    return initial


def _step_function(axis: TimeAxis, states: dict) -> Callable:
    """Return the function of one step, from a dict of tensors to a dict of tensors."""
    carry = probe.Carry()
    sample = axis.part(axis.x, 0, 1)
    axis.run(sample, 1, carry)
    structure, x_names = carry.ended, _names("x", axis.model.inputs)

    def step(inputs: dict) -> dict:
        x = [inputs[name] if axis.is_made else ops.expand_dims(inputs[name], 1) for name in x_names]
        carry = probe.Carry(tree.pack_sequence_as(structure, [inputs[name] for name in states]), inputs.get("restart"))
        with unrolled():
            outputs = tree.flatten(axis.run(tree.pack_sequence_as(sample, x), 1, carry))
        y = [y if ended else y[:, -1] for y, ended in zip(outputs, axis.ended, strict=True)]
        named = dict(zip((f"new_{name}" for name in states), tree.flatten(carry.ended), strict=True))
        return named | dict(zip(_names("y", y), y, strict=True))

    return step
