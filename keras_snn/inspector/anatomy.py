"""Analyze the layer calls, outputs and synapses of a model for the inspector."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import tree

from keras_snn.energy import Synapses, spike_reach
from keras_snn.graph import TimeAxis
from keras_snn.hints import Nest, Tensor


@dataclass(frozen=True)
class Output:
    """An output of a model.

    Attributes:
        kind: "classes" for (batch, classes), "sequence" for (batch, time, classes), "other" for all other shapes.
        n_classes: Size of the last axis; None for the kind "other".
        ended: Boolean, whether the output has no time axis.
    """

    kind: str
    n_classes: int | None
    ended: bool


@dataclass(frozen=True)
class Anatomy:
    """The parts of a model that the inspector counts.

    Attributes:
        time_axis: ``graph.TimeAxis``, with the layer calls of the model. It runs the model over parts of the time axis.
        outputs: Dict from the name of each output to its ``Output``; a single output has the name "".
        synapses: Dict from the name of each layer call to its ``energy.Synapses``.
    """

    time_axis: TimeAxis
    outputs: dict[str, Output]
    synapses: dict[str, Synapses]

    @property
    def layers(self) -> dict[str, keras.layers.Layer]:
        """Dict from the name of each call of a spiking layer to the layer."""
        return {name: layer for name, (layer, *_) in self.time_axis.emitters.items()}

    @property
    def n_steps(self) -> int:
        """Number of time steps."""
        return self.time_axis.n_steps

    @property
    def classifiers(self) -> dict[str, int]:
        """Dict from the name of each classifier output to the number of classes."""
        return {name: output.n_classes for name, output in self.outputs.items() if output.n_classes is not None}


def study(
    model: keras.Model,
    x: Nest,
    *,
    n_steps: int | None = None,
    dt: float | None = None,
    causal: bool = False,
) -> Anatomy:
    """Return the ``Anatomy`` of a model.

    The result depends on the graph and on shapes, but not on the values of samples and weights.

    Args:
        model: A built Keras model.
        x: Some samples.
        n_steps: As in ``TimeAxis``.
        dt: As in ``probe.scope``.
        causal: As in ``TimeAxis``.

    Raises:
        ValueError: If the model calls no spiking layer.
    """
    axis = TimeAxis(model, x, n_steps=n_steps, causal=causal)
    if not axis.emitters:
        raise ValueError(f"The model {model.name!r} calls no spiking layer of keras_snn.")
    ended = axis.ended or [True] * len(tree.flatten(axis.outputs))
    ended = outputs_by_name(model, tree.pack_sequence_as(axis.outputs, ended))
    outputs = {name: _output(spec, ended[name]) for name, spec in outputs_by_name(model, axis.outputs).items()}
    return Anatomy(axis, outputs, spike_reach(axis, dt))


def notes_on_work(synapses: dict[str, Synapses]) -> list[str]:
    """Return sentences that name the layer calls whose operations are unknown, or are counted in another way."""
    notes = []
    mixed = [name for name, call in synapses.items() if call.mixed]
    if mixed:
        notes.append(
            f"Counted as multiply-accumulates: {', '.join(mixed)}. Other signals, or spikes of different heights or "
            "dt, arrive with the spikes."
        )
    unknown = [name for name, call in synapses.items() if not call.known and call.call.layer.weights]
    if unknown:
        notes.append(
            f"Operations not counted: {', '.join(unknown)}. Register the class with ModelEnergy.register_layer."
        )
    return notes


def _output(spec, ended):
    kind = output_kind(spec)
    return Output(kind, None if kind == "other" else spec.shape[-1], ended)


def output_kind(outputs: Tensor) -> str:
    """Return the ``kind`` of an ``Output`` for the tensor of an output."""
    if len(outputs.shape) not in (2, 3) or outputs.shape[-1] < 2:
        return "other"
    return "classes" if len(outputs.shape) == 2 else "sequence"


def outputs_by_name(model: keras.Model, outputs: Nest) -> dict[str, Any]:
    """Return a dict from the name of each output to its value; a single output has the name ""."""
    if not tree.is_nested(outputs):
        return {"": outputs}
    if isinstance(outputs, dict):
        return {str(name): tensor for name, tensor in outputs.items()}
    names = getattr(model, "output_names", None) or []
    flat = tree.flatten(outputs)
    return dict(zip(names if len(names) == len(flat) else map(str, range(len(flat))), flat, strict=True))
