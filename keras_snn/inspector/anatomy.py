"""What the inspector knows of a model before it counts."""

from dataclasses import dataclass

from keras import tree

from keras_snn.energy import spike_reach
from keras_snn.graph import TimeAxis


@dataclass(frozen=True)
class Output:
    """An output of a model.

    Attributes:
        kind: "classes" for (batch, classes), "sequence" for (batch, time, classes), "other" for no classifier.
        n_classes: Size of the last axis; None for no classifier.
        ended: Boolean, whether the output has no time axis.
    """

    kind: str
    n_classes: int | None
    ended: bool


@dataclass(frozen=True)
class Anatomy:
    """The parts of a model that the inspector counts.

    Attributes:
        time_axis: ``graph.TimeAxis``: the calls of the model's layers, and how it runs over parts of its time axis.
        outputs: Dict from the name of each output to its ``Output``; the only output has the name "".
        synapses: Dict from the name of each call of a layer to its ``energy.Synapses``.
    """

    time_axis: TimeAxis
    outputs: dict
    synapses: dict

    @property
    def layers(self):
        """Dict from the name of each call of a spiking layer to the layer."""
        return {name: layer for name, (layer, *_) in self.time_axis.emitters.items()}

    @property
    def n_steps(self):
        """Number of time steps."""
        return self.time_axis.n_steps

    @property
    def classifiers(self):
        """Dict from the names of the outputs that are a classifier's to the number of classes."""
        return {name: of.n_classes for name, of in self.outputs.items() if of.kind != "other"}


def study(model, x, *, n_steps=None, dt=None, causal=False):
    """Return the ``Anatomy`` of a model.

    The result depends on shapes and the graph alone: other samples or weights lead to the same result.

    Args:
        model: A built Keras model.
        x: A few samples.
        n_steps: As in ``TimeAxis``.
        dt: As in ``probe.scope``.
        causal: As in ``TimeAxis``.

    Raises:
        ValueError: If the model calls no spiking layer.
    """
    axis = TimeAxis(model, x, n_steps=n_steps, causal=causal)
    if not axis.emitters:
        raise ValueError(f"The model {model.name!r} calls no spiking layer of keras_snn: nothing to count.")
    ended = axis.ended or [True] * len(tree.flatten(axis.outputs))
    ended = named(model, tree.pack_sequence_as(axis.outputs, ended))
    outputs = {name: _output(spec, ended[name]) for name, spec in named(model, axis.outputs).items()}
    return Anatomy(axis, outputs, spike_reach(axis, dt))


def _output(spec, ended):
    kind = output_kind(spec)
    return Output(kind, None if kind == "other" else spec.shape[-1], ended)


def output_kind(outputs):
    """Return the kind of an ``Output`` from a tensor of it."""
    if len(outputs.shape) not in (2, 3) or outputs.shape[-1] < 2:
        return "other"
    return "classes" if len(outputs.shape) == 2 else "sequence"


def named(model, outputs):
    """Return the outputs as a dict; the only output of a model has the name ""."""
    if not tree.is_nested(outputs):
        return {"": outputs}
    if isinstance(outputs, dict):
        return {str(name): tensor for name, tensor in outputs.items()}
    names = getattr(model, "output_names", None) or []
    flat = tree.flatten(outputs)
    return dict(zip(names if len(names) == len(flat) else map(str, range(len(flat))), flat, strict=True))
