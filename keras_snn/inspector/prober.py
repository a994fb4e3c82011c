"""The inspected model inside a scope, as one function that is compiled once for all dt."""

import contextlib
import functools
from types import SimpleNamespace

import keras
import numpy as np
from keras import ops, tree

from keras_snn import graph, probe
from keras_snn.checks import first_line
from keras_snn.energy.anatomy import count, study
from keras_snn.energy.work import spikes_of_samples
from keras_snn.inspector import inputs as data
from keras_snn.inspector.fingerprint import fingerprint
from keras_snn.layers import TemporalAveragePooling
from keras_snn.layers.base.states import States
from keras_snn.layers.base.time_step import layers_with_dt
from keras_snn.ops import masks
from keras_snn.ops.precision import to_float
from keras_snn.ops.statistics import summarise

#: Largest number of k for which a model runs separately on the first k steps.
MOST_RUNS = 10


class Prober(keras.Model):
    """A model whose outputs are the spike statistics and the answers of another one after the first k steps.

    Args:
        model: The inspected model. It is not cloned.
        n_steps: Integer, the number of steps of layers that create a time axis; None for that of each layer.
        own_dt: Boolean. True: each layer uses its dt. False: all use ``self.dt``.
        seed: Integer, for the initial voltages.
        counts: Boolean, whether to count spikes. Default True.
        outputs: Boolean, whether to return the model's outputs too. Default False.
        code_steps: As in ``probe.scope``.
    """

    def __init__(self, model, *, n_steps, own_dt, seed, counts=True, outputs=False, code_steps=None):
        super().__init__(name="prober")
        self.inspected = model
        self.n_steps = n_steps
        self.code_steps = code_steps
        self.seed = seed
        self.counts = counts
        self.outputs = outputs
        self.dt = None if own_dt else keras.Variable(1.0, dtype="float32", trainable=False, name="dt")
        # Keras would track layers and containers that are attributes.
        self.seen = SimpleNamespace(layers={}, one_pass=False, folded=(), why_not=None, calls={}, shorter={})
        self.seen.average = TemporalAveragePooling(dtype="float32")

    def call(self, inputs):
        statistics, arrived, units, counted = {}, {}, {}, {}

        def record(layer, spikes, mask=None):
            if mask is not None:
                counted[layer] = masks.n_counted(mask)
            units[layer] = ops.cast(ops.convert_to_tensor(layer.spike_unit), "float32")
            name = probe.unique(layer.name, statistics)
            self.seen.layers[name] = (layer, tuple(spikes.shape[2:]))
            statistics[name] = summarise(layer.in_hertz(spikes), layer.dt, mask)

        def watch(name, layer, x, outputs):
            anatomy = self.seen.calls[name]
            if anatomy.spikes is not None:
                unit, n_samples = units.get(anatomy.emitter, 1), ops.shape(inputs["index"])[0]
                if self.seen.one_pass and anatomy.call.time is None:
                    x = ops.reshape(x, (n_samples, len(self.seen.steps), -1, *anatomy.fan_out.shape))[:, -1]
                arrived[name] = spikes_of_samples(anatomy, x, unit, n_samples, counted.get(anatomy.emitter))

        record = record if self.counts else None
        with graph.calls(self.inspected, watch) if self.counts else contextlib.nullcontext():
            outputs, _ = self.run(inputs["x"], inputs["index"], record=record, first_steps=self.seen.one_pass)
        outputs = named(self.inspected, outputs)
        results = {"answers": {}, "layers": statistics, "arrived": arrived}
        if self.outputs:
            results["outputs"] = {name: self.after_first_steps(name, tensor)[:, -1] for name, tensor in outputs.items()}
        for name, tensor in outputs.items():
            if name in self.seen.classifiers:
                answer = self.after_first_steps(name, tensor)
                results["answers"][name] = {
                    "class": ops.cast(ops.argmax(answer, axis=-1), "int32"),
                    "confidence": ops.max(probabilities(answer), axis=-1),
                }
        return results

    def run(self, x, index, *, record=None, first_steps=False, **steps):
        """Call the model in a scope; return its outputs and the scope."""
        scope = probe.scope(
            dt=None if self.dt is None else ops.convert_to_tensor(self.dt),
            record=record,
            sample_index=index,
            seed=self.seed,
            first_steps=first_steps,
            **{"n_steps": self.n_steps, "code_steps": self.code_steps, **steps},
        )
        with scope as scope:
            return self.inspected(x, training=False), scope

    def after_first_steps(self, name, outputs):
        """Return the output after the first k steps, for each k of ``self.seen.steps``: ``(batch, k, ...)``."""
        kind = self.seen.kinds[name]
        if kind == "sequence":  # the answer is the mean over time
            with probe.scope(first_steps=self.seen.one_pass):
                mean = self.seen.average(outputs)  # a layer: Keras passes the mask of the outputs to it
            return ops.reshape(mean, (-1, len(self.seen.steps) if self.seen.one_pass else 1, outputs.shape[-1]))
        if self.seen.one_pass and name in self.seen.folded:
            return ops.reshape(outputs, (-1, len(self.seen.steps), *outputs.shape[1:]))
        return outputs[:, None]

    def look(self, x):
        """Run a few samples eagerly to find the model's calls, its outputs, and how to run its first k steps.

        The result depends on shapes and the graph alone: other samples or weights lead to the same result.
        """
        seen, emitters = self.seen, []
        n_samples = data.n_samples(x)
        index = np.arange(n_samples, dtype="int32")
        outputs, scope = self.run(x, index, record=lambda layer, *_: emitters.append(layer))
        if not emitters:
            raise ValueError(
                f"The model {self.inspected.name!r} calls no spiking layer of keras_snn: nothing to count."
            )
        dt = None if self.dt is None else ops.convert_to_tensor(self.dt)
        seen.calls, seen.n_steps = study(self.inspected, x, dt=dt, n_steps=self.n_steps, seed=self.seed)
        outputs = named(self.inspected, outputs)
        seen.makes_time, seen.reads_dt = scope.makes_time, scope.reads_dt
        seen.kinds = {name: output_kind(tensor) for name, tensor in outputs.items()}
        seen.classifiers = [name for name, kind in seen.kinds.items() if kind != "other"]
        seen.n_classes = {name: outputs[name].shape[-1] for name in seen.classifiers}
        seen.time_in_x = not seen.makes_time and all(a.shape[1:2] == (seen.n_steps,) for a in tree.flatten(x))
        seen.steps = np.array([seen.n_steps])
        calls = [anatomy.call for anatomy in seen.calls.values()]
        stateful = [layer.name for layer in self.inspected._flatten_layers() if _goes_on(layer)]
        if stateful:
            seen.why_not = f"the layer {stateful[0]!r} is stateful and continues from its state after the last call"
            return
        if graph.has_two_time_axes(calls):
            seen.why_not = "the model has two time axes, one of its input and one that a layer creates"
            return
        if not seen.classifiers or seen.n_steps == 1:
            seen.why_not = "the model's output is not that of a classifier" if not seen.classifiers else None
            return
        seen.steps = probe.steps_up_to(seen.n_steps)
        seen.why_runs = graph.why_not_causal(self.inspected, calls) or self._why_not_in_one_pass(x, index)
        seen.one_pass = seen.why_runs is None
        if seen.one_pass:
            return
        runs = np.geomspace(1, seen.n_steps, MOST_RUNS).round().astype(int)
        seen.steps = seen.steps if len(seen.steps) <= MOST_RUNS else np.unique(runs)
        try:
            for k in {1, 2, seen.n_steps - 1}:
                self.after(x, index, k)
        except Exception as error:  # any backend's, or one of a user's layer
            seen.why_not = f"the model takes {seen.n_steps} steps only ({first_line(error)})"
            seen.steps, seen.why_runs = seen.steps[-1:], None

    def _why_not_in_one_pass(self, x, index):
        """Return the reason why one pass cannot give the outputs after all k steps; None if it can."""
        n_samples = len(index)
        try:
            outputs, _ = self.run(x, index, record=_expect_batch(n_samples), first_steps=True)
            outputs = named(self.inspected, outputs)
            rows = n_samples * len(self.seen.steps)
            self.seen.folded = [name for name, tensor in outputs.items() if tensor.shape[0] == rows]
            self._answers(outputs)
        except Exception:  # two poolings in a row, or a merge with what has no time
            return "layers after the end of the time axis take inputs without time too"
        return None

    def after(self, x, index, n_steps):
        """Return the classifiers' outputs for a few samples, given their first ``n_steps`` steps only."""
        x, steps = self.cut(x, n_steps)
        outputs = named(self.inspected, self.run(x, index, **steps)[0])
        return {name: answer[:, 0] for name, answer in self._answers(outputs).items()}

    def cut(self, x, n_steps):
        """Return the inputs of a run of the first ``n_steps`` steps, and the arguments of its scope."""
        if self.seen.makes_time:
            return x, {"n_steps": n_steps, "code_steps": self.seen.n_steps}
        if not self.seen.time_in_x:
            raise ValueError("the time axis comes neither with `x` nor from a layer of keras_snn")
        return tree.map_structure(lambda array: array[:, :n_steps], x), {}

    def shorter(self, k):
        """Return the ``Prober`` that gives this one's answers after k steps, without spike counts."""
        if k not in self.seen.shorter:
            steps = {"n_steps": k, "code_steps": self.seen.n_steps} if self.seen.makes_time else {"n_steps": None}
            shorter = Prober(self.inspected, **steps, own_dt=self.dt is None, seed=self.seed, counts=False)
            shorter.seen.kinds, shorter.seen.classifiers = self.seen.kinds, self.seen.classifiers
            shorter.compile(jit_compile="auto")
            self.seen.shorter[k] = shorter
        return self.seen.shorter[k]

    def _answers(self, outputs):
        return {
            name: ops.convert_to_numpy(self.after_first_steps(name, outputs[name])) for name in self.seen.classifiers
        }

    def examples(self, x):
        """Return for a few samples the spike counts by layer, and the answers after the first k steps by output."""
        index, counts = np.arange(data.n_samples(x), dtype="int32"), {}

        def record(layer, spikes, mask=None):
            spikes = ops.convert_to_numpy(spikes).astype("float64")
            spikes = spikes.reshape(*spikes.shape[:2], -1) * to_float(layer.spike_unit)
            counts[probe.unique(layer.name, counts)] = np.rint(spikes)

        outputs, _ = self.run(x, index, record=record, first_steps=self.seen.one_pass)
        answers = self._answers(named(self.inspected, outputs))
        if not self.seen.one_pass and len(self.seen.steps) > 1:
            runs = [self.after(x, index, int(k)) for k in self.seen.steps[:-1]]
            answers = {
                name: np.stack([*(run[name] for run in runs), whole[:, 0]], axis=1) for name, whole in answers.items()
            }
        return counts, answers if len(self.seen.steps) > 1 or self.seen.n_steps == 1 else {}

    def on(self, x, start, stop, *, first=0):
        """Return the results of ``call`` for ``x[start:stop]``; ``first`` is the sample index of ``x[0]``."""
        index = np.arange(first + start, first + stop, dtype="int32")
        batch = {"x": data.rows(x, start, stop), "index": index}
        strategy = getattr(self, "distribute_strategy", None)  # TensorFlow's
        if strategy is not None and strategy.num_replicas_in_sync > 1:
            # predict_on_batch would give the whole batch to every replica.
            return self.predict(batch, batch_size=stop - start, verbose=0)
        return self.predict_on_batch(batch)


def probers(model, *, own_dt):
    """Return the dict of a model's ``Prober`` objects. It is empty if the model has changed since the last call."""
    return _kept(model, _settings(model, own_dt=own_dt))


def prober(kept, model, x, *, dt, n_steps, seed, outputs=False):
    """Return the ``Prober`` for these arguments from the dict ``kept`` of ``probers``, to which a new one is added."""
    shapes = tuple((a.shape[1:], str(a.dtype)) for a in tree.flatten(x))
    key = (n_steps, seed, dt is None, outputs, shapes)
    if key in kept:
        count(kept[key].seen.calls)  # weights may have become zero since
    else:
        new = Prober(model, n_steps=n_steps, own_dt=dt is None, seed=seed, outputs=outputs)
        if dt is not None:
            new.dt.assign(dt)
        new.look(x)
        new.compile(jit_compile="auto")
        kept[key] = new
    return kept[key]


def depends_on_dt(model, x, dt):
    """Return whether any layer reads its dt in a call of the model on a few samples of ``x``.

    Reading dt to convert spikes to Hz does not count, because the inspector does that. A layer that reads dt without
    using it counts.
    """
    with probe.left_as_it_was(model), probe.scope(dt=dt) as scope:
        model(data.rows(x, 0, graph.static_batch_size(model) or 4), training=False)
    return scope.reads_dt


# Cached for the next call with the same model: compilation takes seconds.
@functools.lru_cache(maxsize=1)
def _kept(model, settings):
    del model, settings
    return {}


def _settings(model, *, own_dt):
    """Return the values that a compiled function holds as constants: it is valid as long as they are equal."""
    own = tuple(to_float(layer.dt) for layer in layers_with_dt(model)) if own_dt else None
    state = fingerprint(model, leave_out=lambda name, value: name == "_dt" and not own_dt and isinstance(value, float))
    return state, own


def named(model, outputs):
    """Return the outputs as a dict; the only output of a model has the name ""."""
    if not tree.is_nested(outputs):
        return {"": outputs}
    if isinstance(outputs, dict):
        return {str(name): tensor for name, tensor in outputs.items()}
    names = getattr(model, "output_names", None) or []
    flat = tree.flatten(outputs)
    return dict(zip(names if len(names) == len(flat) else map(str, range(len(flat))), flat, strict=True))


def probabilities(outputs):
    """Return ``outputs (..., classes)`` where they are probabilities, else their softmax."""
    outputs = ops.cast(outputs, "float32")
    total = ops.sum(outputs, axis=-1, keepdims=True)
    already = ops.logical_and(ops.min(outputs, axis=-1, keepdims=True) >= 0, ops.abs(total - 1) < 1e-3)
    return ops.where(already, outputs, ops.softmax(outputs, axis=-1))


def _goes_on(layer):
    """Return whether a call of ``layer`` changes the next one. In a scope, layers of this package keep no state."""
    return getattr(layer, "stateful", False) and not isinstance(layer, States)


def output_kind(outputs):
    """Return "classes" for (batch, classes), "sequence" for (batch, time, classes), "other" for no classifier."""
    if len(outputs.shape) not in (2, 3) or outputs.shape[-1] < 2:
        return "other"
    return "classes" if len(outputs.shape) == 2 else "sequence"


def _expect_batch(n_samples):
    def record(_, spikes, mask=None):
        if spikes.shape[0] != n_samples:
            raise ValueError("a spiking layer comes after the end of another's time axis")

    return record
