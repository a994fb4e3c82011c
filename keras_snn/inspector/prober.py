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
from keras_snn.ops.statistics import summarise

#: Where the first k steps need a run of their own, no more than this many k are asked for.
MOST_RUNS = 10


class Prober(keras.Model):
    """A model inside a scope, with the statistics of its spikes and its answers after the first k steps as outputs.

    Args:
        model: The model to look into. It is called as it is.
        n_steps: Integer or None, for the layers that make a time axis.
        own_dt: Boolean. False: ``self.dt`` is the dt of all layers.
        seed: Integer, for the initial voltages.
        counts: Boolean, whether to summarise the spikes.
        outputs: Boolean, whether to hand out the model's outputs as well.
        code_steps: Integer or None, for the encoders: the steps of the code of which they make ``n_steps``.
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
        # In a namespace, where Keras does not take them for its own.
        self.seen = SimpleNamespace(layers={}, one_pass=False, folded=(), why_not=None, calls={}, shorter={})
        self.seen.average = TemporalAveragePooling(dtype="float32")

    def call(self, inputs):
        statistics, arrived, units, counted = {}, {}, {}, None

        def record(layer, spikes, mask=None):
            nonlocal counted
            if mask is not None:
                counted = ops.sum(ops.cast(mask, "float32"), axis=1, keepdims=True)
            units[layer] = ops.cast(ops.convert_to_tensor(layer.spike_unit), "float32")
            name = probe.unique(layer.name, statistics)
            self.seen.layers[name] = (layer, tuple(spikes.shape[2:]))
            statistics[name] = summarise(layer.in_hertz(spikes), layer.dt, mask)

        def watch(name, layer, x, outputs):
            anatomy = self.seen.calls[name]
            if anatomy.spikes is not None:
                if self.seen.one_pass and anatomy.call.time is None:
                    x = ops.reshape(x, (-1, len(self.seen.steps), *x.shape[1:]))[:, -1]
                unit, n_samples = units.get(anatomy.emitter, 1), ops.shape(inputs["index"])[0]
                arrived[name] = spikes_of_samples(anatomy, x, unit, n_samples, counted)

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
        """Return the model's outputs, and the scope in which they came."""
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
        if kind == "sequence":  # (batch, time, classes): the mean over time is the answer
            with probe.scope(first_steps=self.seen.one_pass):
                mean = self.seen.average(outputs)  # a layer: Keras passes the mask of the outputs to it
            return ops.reshape(mean, (-1, len(self.seen.steps) if self.seen.one_pass else 1, outputs.shape[-1]))
        if self.seen.one_pass and name in self.seen.folded:
            return ops.reshape(outputs, (-1, len(self.seen.steps), *outputs.shape[1:]))
        return outputs[:, None]

    def look(self, x):
        """Learn from eager runs of a few samples what the model calls and answers, and how to get the first steps.

        Only shapes and the graph decide, no values: other samples or weights lead to the same result.
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
        stateful = [layer.name for layer in self.inspected._flatten_layers() if _goes_on(layer)]
        if stateful:
            seen.why_not = f"the layer {stateful[0]!r} is stateful and goes on from where the call before it ended"
            return
        if not seen.classifiers or seen.n_steps == 1:
            seen.why_not = "the model's output is not that of a classifier" if not seen.classifiers else None
            return
        seen.steps = probe.steps_up_to(seen.n_steps)
        seen.why_runs = graph.why_not_causal(
            self.inspected, [anatomy.call for anatomy in seen.calls.values()]
        ) or self._why_not_in_one_pass(x, index)
        seen.one_pass = seen.why_runs is None
        if seen.one_pass:
            return
        runs = np.geomspace(1, seen.n_steps, MOST_RUNS).round().astype(int)
        seen.steps = seen.steps if len(seen.steps) <= MOST_RUNS else np.unique(runs)
        try:
            self.after(x, index, 1)
        except Exception as error:  # in the words of its backend, or of the user's layer
            seen.why_not = f"the model takes {seen.n_steps} steps only ({first_line(error)})"
            seen.steps, seen.why_runs = seen.steps[-1:], None

    def _why_not_in_one_pass(self, x, index):
        """Return why layers behind the end of the time axis cannot run for all numbers of first steps at once."""
        n_samples = len(index)
        try:
            outputs, _ = self.run(x, index, record=_expect_batch(n_samples), first_steps=True)
            outputs = named(self.inspected, outputs)
            rows = n_samples * len(self.seen.steps)
            self.seen.folded = [name for name, tensor in outputs.items() if tensor.shape[0] == rows]
            self._answers(outputs)
        except Exception:  # two poolings in a row, or a merge with what has no time
            return "layers behind the end of the time axis take inputs without time too"
        return None

    def after(self, x, index, n_steps):
        """Return the classifiers' outputs, when given the first ``n_steps`` steps only, of a few samples."""
        x, steps = self.cut(x, n_steps)
        outputs = named(self.inspected, self.run(x, index, **steps)[0])
        return {name: answer[:, 0] for name, answer in self._answers(outputs).items()}

    def cut(self, x, n_steps):
        """Return what makes a run of the first ``n_steps`` steps: the pair of x and a dict of numbers of steps."""
        if self.seen.makes_time:
            return x, {"n_steps": n_steps, "code_steps": self.seen.n_steps}
        if not self.seen.time_in_x:
            raise ValueError("the time axis comes neither with `x` nor from a layer of keras_snn")
        return tree.map_structure(lambda array: array[:, :n_steps], x), {}

    def shorter(self, k):
        """Return a ``Prober`` that answers as this one does, after k steps and without counting spikes."""
        if k not in self.seen.shorter:
            steps = {"n_steps": k, "code_steps": self.seen.n_steps} if self.seen.makes_time else {"n_steps": None}
            made = Prober(self.inspected, **steps, own_dt=self.dt is None, seed=self.seed, counts=False)
            made.seen.kinds, made.seen.classifiers = self.seen.kinds, self.seen.classifiers
            made.compile(jit_compile="auto")
            self.seen.shorter[k] = made
        return self.seen.shorter[k]

    def _answers(self, outputs):
        return {n: ops.convert_to_numpy(self.after_first_steps(n, outputs[n])) for n in self.seen.classifiers}

    def examples(self, x):
        """Return a few samples' spike counts by layer, and outputs after the first k steps, by output."""
        index, counts = np.arange(data.n_samples(x), dtype="int32"), {}

        def record(layer, spikes, mask=None):
            spikes = ops.convert_to_numpy(spikes).astype("float64")
            spikes = spikes.reshape(*spikes.shape[:2], -1) * number(layer.spike_unit)
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
        """Return what ``call`` gives for ``x[start:stop]``, where ``x[0]`` has the index ``first``."""
        index = np.arange(first + start, first + stop, dtype="int32")
        batch = {"x": data.rows(x, start, stop), "index": index}
        strategy = getattr(self, "distribute_strategy", None)  # TensorFlow's
        if strategy is not None and strategy.num_replicas_in_sync > 1:
            # predict_on_batch would give the whole batch to every replica.
            return self.predict(batch, batch_size=stop - start, verbose=0)
        return self.predict_on_batch(batch)


def prober(model, x, *, dt, n_steps, seed, outputs=False):
    """Return the ``Prober`` of these arguments: the last call's, if the model has not changed."""
    kept = _kept(model, _settings(model, own_dt=dt is None))
    shapes = tree.map_structure(lambda a: (a.shape[1:], str(a.dtype)), _hashable(x))
    key = (n_steps, seed, dt is None, outputs, shapes)
    if key not in kept:
        made = Prober(model, n_steps=n_steps, own_dt=dt is None, seed=seed, outputs=outputs)
        if dt is not None:
            made.dt.assign(dt)
        made.look(x)
        made.compile(jit_compile="auto")
        kept[key] = made
    count(kept[key].seen.calls)  # with the weights of this moment
    return kept[key]


def depends_on_dt(model, x, dt):
    """Return whether a layer reads its dt when the model is called on a few samples of ``x``, at that dt.

    That a tool reads dt, to convert spikes to Hz, does not count. A layer that reads it without need does.
    """
    with probe.left_as_it_was(model), probe.scope(dt=dt) as scope:
        model(data.rows(x, 0, data.static_batch_size(model) or 4), training=False)
    return scope.reads_dt


# The compiled functions of the last model are kept for the next call with the same model: they take seconds to make.
@functools.lru_cache(maxsize=1)
def _kept(model, settings):
    del model, settings
    return {}


def _settings(model, *, own_dt):
    """Return what a compiled function takes for constant: another value of it needs another function."""
    own = tuple(number(layer.dt) for layer in layers_with_dt(model)) if own_dt else None
    state = fingerprint(model, leave_out=lambda name, value: name == "_dt" and not own_dt and isinstance(value, float))
    return state, own


def _hashable(x):
    return x if not tree.is_nested(x) else tuple(tree.flatten(x))


def named(model, outputs):
    """Return the outputs as a dict; the only output of a model has the name ""."""
    if not tree.is_nested(outputs):
        return {"": outputs}
    if isinstance(outputs, dict):
        return {str(name): tensor for name, tensor in outputs.items()}
    names = getattr(model, "output_names", None) or []
    flat = tree.flatten(outputs)
    return dict(zip(names if len(names) == len(flat) else map(str, range(len(flat))), flat, strict=True))


def number(dt):
    """Return a number, tensor or variable as a float."""
    return float(ops.convert_to_numpy(ops.convert_to_tensor(dt)))


def probabilities(outputs):
    """Return ``outputs (..., classes)`` where they are probabilities, else their softmax."""
    outputs = ops.cast(outputs, "float32")
    total = ops.sum(outputs, axis=-1, keepdims=True)
    already = ops.logical_and(ops.min(outputs, axis=-1, keepdims=True) >= 0, ops.abs(total - 1) < 1e-3)
    return ops.where(already, outputs, ops.softmax(outputs, axis=-1))


def _goes_on(layer):
    """Tell whether a call of ``layer`` changes the next one; in a scope the stateful layers of this package do not."""
    return getattr(layer, "stateful", False) and not isinstance(layer, States)


def output_kind(outputs):
    """Tell the outputs of a classifier: "classes" (batch, classes), or "sequence" (batch, time, classes)."""
    if len(outputs.shape) not in (2, 3) or outputs.shape[-1] < 2:
        return "other"
    return "classes" if len(outputs.shape) == 2 else "sequence"


def _expect_batch(n_samples):
    def record(_, spikes, mask=None):
        if spikes.shape[0] != n_samples:
            raise ValueError("a spiking layer comes after the end of another's time axis")

    return record
