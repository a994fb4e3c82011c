"""``inspect``: run a model at several dt and count its spikes."""

import contextlib
import datetime
import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_snn import checks, graph, probe
from keras_snn.data import labels
from keras_snn.data.arrays import as_array
from keras_snn.data.batches import Batches
from keras_snn.energy.work import MOST_SAMPLES
from keras_snn.hints import Nest
from keras_snn.inspector.findings import at_dt
from keras_snn.inspector.inputs import check_model, describe, with_progress
from keras_snn.inspector.measurement import Measurement, first_steps
from keras_snn.inspector.metrics import Metrics
from keras_snn.inspector.prober import prober, probers
from keras_snn.inspector.report import Report
from keras_snn.layers.base.time_step import check_dt


def inspect(
    model: keras.Model,
    x: Nest,
    y: Nest = None,
    *,
    dt: float | Sequence[float] | None = None,
    n_steps: int | Sequence[int] | None = None,
    batch_size: int | None = None,
    steps: int | None = None,
    steps_at_once: int | None = None,
    causal: bool = False,
    examples: int = 4,
    states: bool = False,
    seed: int = 0,
    metrics: Any = (),
    verbose: int | str = "auto",
) -> Report:
    """Measure the accuracy, spikes and energy of a model at one or several time steps.

    The model runs inside a scope that overrides dt. No layer is cloned, and the weights, dt and compiled functions of
    the model do not change. One compiled function runs all dt. Spikes are counted on the device, batch by batch: memory
    does not grow with the data.

    Initial voltages depend on ``seed`` and on each sample's position in the data, but not on the batch size. With a
    mask, rates, histograms and predictions use only unmasked steps.

    Args:
        model: A built Keras model with at least one spiking layer of this package, at any depth.
        x: Array ``(samples, ...)`` or pandas object, or a nest of them for a model with several inputs; or data in
            batches ``(x, y)``: a ``tf.data.Dataset``, a ``keras.utils.PyDataset``, a PyTorch ``DataLoader`` or a
            generator. The data is read once.
        y: Array of integer labels ``(samples,)`` or one-hot rows ``(samples, classes)``; None for no accuracy. The
            predicted class has the largest output, averaged over time if the model's output has a time axis. For
            several outputs, a dict from the name of each output to such an array.
        dt: Number in seconds or a sequence of numbers. Default: each layer uses its dt. If no layer depends on dt,
            because all count steps, the model runs once, with a warning, and only the rates in Hz of the results
            differ.
        n_steps: Integer or a sequence of integers: the number of steps of ``Repeat``; if ``x`` has the time axis, the
            number of its first steps to use. Default: all steps. Each dt runs at each number of steps.
        batch_size: Integer. Default: at most 512, or fewer if the model needs much memory. Must be None for data in
            batches.
        steps: Integer, number of batches to use, for endless data. Default: all.
        steps_at_once: Integer, number of time steps in memory. There is a prediction after each such part of the time
            axis. Default: 1, or more for many time steps; without classifier output, as many as fit in memory.
        causal: Boolean. True promises that no output depends on a later time step; see ``keras_snn.predict``.
        examples: Integer, the number of first samples to record with all spikes and outputs. Default 4.
        states: Boolean, whether to record the membrane and other states of up to three units of each layer in the
            examples, at every step; see ``DtReport.traces`` and ``DtReport.plot_traces``. For each result the model
            then runs once more on the examples, step by step. Default False.
        seed: Integer, for the initial voltages.
        metrics: List of Keras metrics or their names, as in ``compile``, evaluated on ``y`` and the model's output at
            every dt; for several outputs, a dict from the name of each output to them. With metrics, ``y`` may also
            hold rows ``(samples, classes)`` that are not one-hot; the accuracy is then None.
        verbose: As in ``keras.Model.evaluate``: "auto", 0, 1 or 2. 1 and "auto" show a progress bar.

    Returns:
        A ``Report``.

    Raises:
        TypeError: If ``model`` is not a Keras model, or ``x`` is neither arrays nor data in batches.
        ValueError: For a model that is not built or has no spiking layers, empty data, labels that do not fit, dt <= 0,
            ``n_steps`` beyond the steps of ``x``, ``steps_at_once`` or ``states=True`` for a model that cannot run over
            parts of its time axis, ``states=True`` without examples, or a layer that emits values that are not finite.
            The error names the layer.

    Example:

    ```python
    report = keras_snn.inspect(model, x_test, y_test, dt=[0.001, 0.01, 0.1, 1])
    print(report.table())
    report[0.01].layers["spiking_activation"].rate.mean  # Hz
    report[0.01].plot("examples.png")
    ```
    """
    check_model(model)
    batches = Batches(x, y, batch_size=batch_size, steps=steps, most=MOST_SAMPLES)
    dts, many_steps = _dts(dt), _to_list(n_steps)
    if not many_steps:
        raise ValueError("`n_steps` must hold at least one number of steps, or be None; got an empty sequence.")
    many_steps = [checks.integer("n_steps", value, least=1, optional=True) for value in many_steps]
    examples = checks.integer("examples", examples, least=1 if states else 0)
    seed = checks.integer("seed", seed, least=0)
    first_batch = batches.first(max(examples, graph.static_batch_size(model) or 1))
    options = {
        "dt": None if dt is None else max(dts),
        "causal": causal,
        "steps_at_once": checks.integer("steps_at_once", steps_at_once, least=1, optional=True),
        "batch_size": first_batch.n_samples if batches.in_batches else batch_size or 128,
        "seed": seed,
        "n_examples": min(examples, first_batch.n_samples),
        "with_outputs": bool(metrics),
    }
    cache = probers(model, own_dt=dt is None)
    with probe.left_as_it_was(model):
        runs = [_prober_and_cut(cache, model, first_batch.x, n_steps=value, **options) for value in many_steps]
        if states:
            runs[0][0].anatomy.time_axis.check()
    if not batches.in_batches and batch_size is None and steps is None:
        batches.resize(min(run.anatomy.time_axis.batch_size(run.steps_at_once) for run, _ in runs))
    with probe.left_as_it_was(model) as before:
        evaluated_metrics = Metrics(metrics, runs[0][0].anatomy.outputs)
        by_n_steps = [
            [
                Measurement(run, cut, value, evaluated_metrics, first_batch)
                for value in (dts if _reads_dt(run) else dts[:1])
            ]
            for run, cut in runs
        ]
        if not batches.in_batches:  # raise errors before the runs
            by_n_steps[0][0].class_numbers({name: as_array(values) for name, values in labels.by_output(y).items()})
        measurements, turns = list(itertools.chain(*by_n_steps)), probe.Turns(before)
        for batch in with_progress(batches, verbose):
            for measurement in measurements:
                with turns.turn(measurement) if len(measurements) > 1 else contextlib.nullcontext():
                    measurement.add(batch)
        if states:
            for measurement in measurements:
                measurement.trace()
    n_samples = batches.n_samples or 0
    results = []
    for group in by_n_steps:
        results += [measurement.result(n_samples) for measurement in group]
        results += [at_dt(results[-1], value) for value in dts[len(group) :]]
    if len(set(dts)) > 1 and not _reads_dt(runs[0][0]):
        warnings.warn(
            f"No layer of the model {model.name!r} depends on dt: its neurons count steps. It runs once, and "
            f"only the rates in Hz differ between the results at dt = {', '.join(f'{value:g}' for value in dts)} s. "
            "Compare `spikes_per_step` of the layers instead.",
            stacklevel=2,
        )
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    return Report(results, n_samples, model=model.name, data=describe(first_batch.x, n_samples), date=now)


def _prober_and_cut(cache, model, x, *, n_steps, **options):
    """Return the ``Prober`` for a number of steps, and the number of first steps of ``x`` to use; None for all."""
    run = prober(cache, model, x, n_steps=n_steps, **options)
    axis = run.anatomy.time_axis
    if n_steps is None or axis.is_made:
        return run, None
    with_time = all(array.shape[1:2] == (axis.n_steps,) for array in keras.tree.flatten(x))
    if not with_time or n_steps > axis.n_steps:
        raise ValueError(
            f"`n_steps` is {n_steps}, but no layer of the model {model.name!r} creates a time axis (as Repeat does), "
            f"and `x` has {axis.n_steps if with_time else 'no axis of'} steps. Omit `n_steps`."
        )
    return prober(cache, model, first_steps(x, n_steps), n_steps=None, **options), n_steps


def _reads_dt(run):
    return run.anatomy.time_axis.reads_dt


def _to_list(values: Any) -> list:
    """Return a number, or a sequence of numbers, as a list."""
    return np.ravel(values).tolist()


def _dts(dt):
    if dt is None:
        return [None]
    dts = [check_dt(value) for value in _to_list(dt)]
    if not dts:
        raise ValueError("`dt` must hold at least one time step in seconds, or be None; got an empty sequence.")
    return dts
