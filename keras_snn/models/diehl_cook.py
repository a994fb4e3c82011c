"""DiehlCook: a spiking network that learns images without labels, by spike-timing-dependent plasticity."""

import math
import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_snn import checks, probe
from keras_snn.hints import Tensor
from keras_snn.layers import TemporalAveragePooling
from keras_snn.models.diehl_cook_spikes import DiehlCookSpikes
from keras_snn.models.local_learning import checked_labels, fit_without_loss
from keras_snn.models.neuron_labels import ClassifiesByNeurons
from keras_snn.ops import diehl_cook as equations
from keras_snn.ops.presentation import present
from keras_snn.ops.random import sample_index, seed_word

#: Hz at full intensity, per unit of gain: 255 / 8.
RATE = 255 / 8
RULES = ("triplet", "pair")
UPDATES = ("sum", "mean")


@keras.saving.register_keras_serializable(package="keras_snn")
class DiehlCook(ClassifiesByNeurons):
    """Poisson inputs, excitatory neurons that compete through inhibitory ones, and STDP of the input weights.

    Each image is presented for ``duration`` as Poisson spikes, and followed by ``rest``. In training the input weights
    change at each spike::

        presynaptic spike     w = clip(w + sign 1e-4 post1, 0, 1);  pre = 1
        postsynaptic spike    w = clip(w + 0.01 pre post2, 0, 1);   post1 = post2 = 1

    pre and post1 decay with 20 ms, post2 with 40 ms; ``rule="pair"`` has no post2. Before each presentation, the
    weights of each neuron are scaled to the sum ``total_weight``. Each spike raises the threshold of its neuron by
    ``theta_increment``. An image with fewer than ``min_spikes`` excitatory spikes is presented again, with one more
    unit of ``gain``.

    ``fit(x)`` needs no labels. Afterwards ``assign_labels(x, y)`` gives each neuron the class to which it responds
    most; ``predict`` and ``evaluate`` then classify. Outside of training nothing changes.

    All that continues from one image to the next is a non-trainable weight: weights, thresholds, membranes, traces,
    counts and the number of presentations. A model that is saved in the middle of training therefore continues
    identically.

    Args:
        n_neurons: Integer, number of excitatory neurons, and of inhibitory ones. Default 400.
        n_classes: Integer, number of classes. Default 10.
        rule: "triplet" (default) or "pair".
        presynaptic_sign: -1 (default, Diehl and Cook) or 1 (Jiang 2022), of the change at a presynaptic spike.
        gate: Boolean. True: two spikes of an excitatory neuron are more than 50 ms apart. Default False.
        max_delay: Number, seconds. Each input synapse gets a delay drawn from U(0, max_delay). Default 0: no delays.
            Delays need dense products: the time per presentation is many times as long.
        total_weight: Number > 0, or None: 78 for 784 inputs, and in proportion for other numbers. Default None.
        theta_increment: Number, mV. Default 0.05.
        tau_theta: Number, seconds. Default 1e4.
        plastic: Boolean. False: thresholds adapt, but weights do not learn (a control). Default True.
        duration: Number, seconds. Default 0.35.
        rest: Number, seconds. Default 0.15.
        simulate_rest: Boolean. True: the rest is simulated without input. Default False: membranes return to rest
            at once, traces and thresholds decay.
        dt: Number, seconds, the length of a time step. Default 0.0005.
        gain: Integer. The rate of an input is ``gain * 31.875 Hz * x`` for x in [0, 1]. Default 2.
        min_spikes: Integer. Default 5. 0: each image is presented once.
        max_retries: Integer, the largest number of repeated presentations. Default 20.
        updates: "sum" (default) or "mean": how the changes of weights and thresholds of images that are presented in
            parallel (``batch_size`` > 1) add up.
        seed: Integer. Default 0.
        **kwargs: Arguments of ``keras.Model``, such as ``name``.

    Call arguments:
        inputs: Tensor ``(batch, ...)`` with values in [0, 1].
        training: Boolean.

    Input shape: ``(batch, ...)``. Output shape: ``(batch, n_neurons)``, spike counts.

    Raises:
        ValueError: For an argument out of range.

    Example:

    ```python
    digits, labels = keras_snn.data.load("digits")[0]
    model = keras_snn.models.DiehlCook(25, total_weight=20.0, gain=4)  # small images: stronger inputs
    model.fit(digits[:20], verbose=0)
    model.assign_labels(digits[:20], labels[:20])
    model.predict(digits[20:22], verbose=0).shape  # (2, 10)
    ```

    References: Diehl and Cook 2015, Frontiers in Computational Neuroscience 9:99; Jiang 2022, PhD thesis, University of
    Canterbury, chapter 6. Deviations: the membrane is integrated with exponential Euler.
    """

    def __init__(
        self,
        n_neurons: int = 400,
        *,
        n_classes: int = 10,
        rule: str = "triplet",
        presynaptic_sign: int = -1,
        gate: bool = False,
        max_delay: float = 0.0,
        total_weight: float | None = None,
        theta_increment: float = 0.05,
        tau_theta: float = 1e4,
        plastic: bool = True,
        duration: float = 0.35,
        rest: float = 0.15,
        simulate_rest: bool = False,
        dt: float = 0.0005,
        gain: int = 2,
        min_spikes: int = 5,
        max_retries: int = 20,
        updates: str = "sum",
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.n_neurons = checks.integer("n_neurons", n_neurons, least=1)
        self.n_classes = checks.integer("n_classes", n_classes, least=1)
        self.rule = checks.choice("rule", rule, RULES)
        self.presynaptic_sign = checks.choice("presynaptic_sign", presynaptic_sign, (-1, 1))
        self.gate = bool(gate)
        self.max_delay = checks.number("max_delay", max_delay, least=0)
        self.total_weight = None if total_weight is None else checks.number("total_weight", total_weight, above=0)
        self.theta_increment = checks.number("theta_increment", theta_increment, least=0)
        self.tau_theta = checks.number("tau_theta", tau_theta, above=0)
        self.plastic = bool(plastic)
        self.duration = checks.number("duration", duration, above=0)
        self.rest = checks.number("rest", rest, least=0)
        self.simulate_rest = bool(simulate_rest)
        self.dt = checks.number("dt", dt, above=0, most=duration)
        self.gain = checks.integer("gain", gain, least=1)
        self.min_spikes = checks.integer("min_spikes", min_spikes, least=0)
        self.max_retries = checks.integer("max_retries", max_retries, least=0)
        self.updates = checks.choice("updates", updates, UPDATES)
        self.seed = checks.integer("seed", seed, least=0)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.spike_metric = keras.metrics.Mean("spikes")

    def build(self, input_shape):
        self.image_shape = tuple(input_shape[1:])
        self.n_inputs = n_inputs = math.prod(self.image_shape)
        n, n_classes = self.n_neurons, self.n_classes

        def add(name, shape, initializer="zeros", dtype="float32"):
            return self.add_weight(
                name=name, shape=shape, initializer=initializer, dtype=dtype, trainable=False, autocast=False
            )

        uniform = keras.initializers.RandomUniform(0.003, 0.303, seed=self.seed)
        self.kernel = add("kernel", (n_inputs, n), uniform)
        self.theta = add("theta", (n,), keras.initializers.Constant(equations.THETA))
        self.delays = None
        if self.max_delay:
            steps = keras.initializers.RandomUniform(0, self._steps(self.max_delay) + 1, seed=self.seed + 1)
            self.delays = add("delays", (n_inputs, n), lambda *args, **_: ops.floor(steps(*args)))
        # A run starts 40 mV below rest, with the gate closed.
        starts = {"u": equations.EXCITATORY.rest - 40, "v": equations.INHIBITORY.rest - 40}
        state = equations.at_rest(self.network(), 1, n_inputs, n)
        self.carried = {
            name: add(
                name,
                state[name].shape,
                keras.initializers.Constant(starts.get(name, 0)),
                keras.backend.standardize_dtype(state[name].dtype),
            )
            for name in (*equations.TRACES, *equations.MEMBRANES)
        }
        self.n_batches = add("n_batches", (), dtype="int32")
        self.n_retries = add("n_retries", (), dtype="int32")
        self.n_given_up = add("n_given_up", (), dtype="int32")
        self.labels = add("labels", (n,), keras.initializers.Constant(-1), "int32")
        self.class_counts = add("class_counts", (n_classes, n))
        self.class_sizes = add("class_sizes", (n_classes,))
        self.built = True

    def _steps(self, seconds):
        return round(seconds / self.dt)

    def network(self, *, learns: bool = False, records: bool = False) -> equations.Network:
        """Return the constants of the equations.

        Args:
            learns: Boolean, whether weights and thresholds change. Default False.
            records: Boolean, whether the spikes of each step are returned. Default False.
        """
        return equations.Network(
            dt=1000 * self.dt,
            n_steps=self._steps(self.duration),
            learns=learns,
            rule=self.rule,
            presynaptic=1e-4 * self.presynaptic_sign * self.plastic,
            postsynaptic=1e-2 * self.plastic,
            gate=self.gate,
            theta_increment=self.theta_increment,
            tau_theta=1000 * self.tau_theta,
            records=records,
            n_rest=self._steps(self.rest),
            simulates_rest=self.simulate_rest,
            max_delay=self._steps(self.max_delay),
            total_weight=78 * self.n_inputs / 784 if self.total_weight is None else self.total_weight,
            step_probability=RATE * self.dt,
            gain=self.gain,
            min_spikes=self.min_spikes,
            max_retries=self.max_retries,
            averages=self.updates == "mean",
        )

    def call(self, inputs, training=None):
        if training is None and keras.config.backend() == "torch":
            training = self.training
        x = ops.reshape(ops.cast(inputs, "float32"), (-1, self.kernel.shape[0]))
        return self._learn(x) if training else self._respond(x)

    def _learn(self, x):
        """Present the images ``x (batch, n_inputs)``, learn from them, and return the spike counts."""
        batch_size = ops.shape(x)[0]
        word = seed_word(ops.stack([ops.full((), self.seed, "int32"), ops.copy(self.n_batches)]))
        # Images presented in parallel start from one state.
        start = {name: ops.repeat(ops.copy(value), batch_size, axis=0) for name, value in self.carried.items()}
        done = present(
            self.network(learns=True),
            x,
            sample_index(batch_size),
            word,
            *self._learned(),
            start=start,
            delays=self._delays(),
        )
        self.kernel.assign(done.kernel)
        self.theta.assign(done.theta)
        for name, value in done.start.items():
            self.carried[name].assign(value[:1])
        self.n_batches.assign(self.n_batches + 1)
        self.n_retries.assign(self.n_retries + ops.sum(done.n_retries))
        self.n_given_up.assign(self.n_given_up + ops.sum(ops.cast(done.given_up, "int32")))
        return done.counts

    def _respond(self, x):
        """Present the images ``x (batch, n_inputs)``, change nothing, and return the spike counts."""
        index, seed = probe.draw(None, self.seed_generator, ops.shape(x)[0])
        opened = probe.current()
        network = self.network(records=opened is not None and opened.record is not None)
        done = present(network, x, index, seed_word(seed), *self._learned(), delays=self._delays())
        if network.records:
            probe.record(self, done.spikes)
        return done.counts

    def learned_weights(self) -> list[Any]:
        """Return the variables of a frozen network: input weights, theta and, with ``max_delay``, delays."""
        return [self.kernel, self.theta, *(() if self.delays is None else (self.delays,))]

    def _learned(self):
        return ops.copy(self.kernel), ops.copy(self.theta)

    def _delays(self):
        return None if self.delays is None else ops.cast(ops.copy(self.delays), "int32")

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.n_neurons)

    def compute_output_spec(self, inputs, training=None):
        return keras.KerasTensor((inputs.shape[0], self.n_neurons), "float32")

    @property
    def spike_unit(self) -> float:
        """The factor that converts recorded values to numbers of spikes: 1."""
        return 1.0

    def in_hertz(self, outputs: Tensor) -> Tensor:
        """Return recorded spikes as rates in Hz."""
        return outputs / self.dt

    def fit(self, x: Any = None, y: Any = None, batch_size: int | None = 1, **kwargs: Any) -> Any:
        """Learn from images without labels. The progress bar shows the mean number of spikes in a presentation.

        ``compile`` is not needed: there is no loss. ``compile(steps_per_execution=10)`` is faster (PyTorch allows only
        1).

        Args:
            x: Array ``(images, ...)`` with values in [0, 1], or any data that ``keras.Model.fit`` accepts.
            y: Integer array ``(images,)``, or None. Labels do not affect learning. They are counted for
                ``assign_labels()`` without arguments.
            batch_size: Integer, the number of images presented in parallel. Default 1: the published algorithm.
            **kwargs: Arguments of ``keras.Model.fit``, such as ``epochs``, ``callbacks`` and ``verbose``.

        Returns:
            The ``History`` of Keras.

        Raises:
            ValueError: If the array ``x`` is not in [0, 1], or for labels out of range.
        """
        if not hasattr(x, "shape"):
            batch_size = None  # a data set has its own
        if y is not None:
            y = checked_labels(y, self.n_classes, len(x))
        callbacks = [*_as_list(kwargs.pop("callbacks", None)), _Watch()]
        with fit_without_loss(self, x):
            n_given_up = int(self.n_given_up) if self.built else 0
            history = super().fit(x, y, batch_size=batch_size, callbacks=callbacks, **kwargs)
        if n_new := int(self.n_given_up) - n_given_up:
            warnings.warn(
                f"{n_new:,} images had fewer than `min_spikes` = {self.min_spikes} spikes even after `max_retries` = "
                f"{self.max_retries} more presentations at higher rates. The thresholds may be too high: raise `gain` "
                "or `total_weight`, or lower `theta_increment`.",
                stacklevel=2,
            )
        return history

    def compute_loss(
        self,
        x: Tensor | None = None,
        y: Tensor | None = None,
        y_pred: Any = None,
        sample_weight: Tensor | None = None,
        training: bool = True,
    ) -> Tensor:
        """Count spikes, and responses to the classes of ``y``. Return 0: there is no loss."""
        if training:
            self.spike_metric.update_state(ops.sum(y_pred, axis=1))
            if y is not None:
                one_hot = ops.one_hot(ops.cast(ops.reshape(y, (-1,)), "int32"), self.n_classes, dtype=y_pred.dtype)
                self.class_counts.assign(self.class_counts + ops.matmul(ops.transpose(one_hot), y_pred))
                self.class_sizes.assign(self.class_sizes + ops.sum(one_hot, axis=0))
        return ops.zeros(())

    def compute_metrics(
        self, x: Tensor, y: Tensor | None, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> dict[str, Any]:
        """Return the mean number of spikes in a presentation."""
        return {"spikes": self.spike_metric.result()}

    def record(self, x: Any) -> np.ndarray:
        """Return the spikes ``(images, time, n_neurons)`` of frozen presentations, 0 and 1.

        Args:
            x: Array ``(images, ...)``.
        """
        kept: list = []
        with probe.scope(record=lambda layer, spikes: kept.append(ops.convert_to_numpy(spikes))):
            self(np.asarray(x, "float32"), training=False)
        return kept[0].astype("int8")

    def classifier(self) -> keras.Model:
        """Return a copy as an ordinary spiking network: spikes over time, average, class scores.

        It is for tools such as ``keras_snn.inspect`` and ``keras_snn.stream``. Each image is presented once.
        """
        spikes = DiehlCookSpikes(self, name="excitatory")
        scores = keras.layers.Dense(self.n_classes, use_bias=False, trainable=False, name="class_scores")
        model = keras.Sequential([keras.Input(self.image_shape), spikes, TemporalAveragePooling(), scores])
        spikes.set_weights([ops.convert_to_numpy(weight) for weight in self.learned_weights()])
        scores.set_weights([self.class_means()])
        return model

    def get_config(self):
        names = (
            *("n_neurons", "n_classes", "rule", "presynaptic_sign", "gate", "max_delay", "total_weight"),
            *("theta_increment", "tau_theta", "plastic", "duration", "rest", "simulate_rest", "dt", "gain"),
            *("min_spikes", "max_retries", "updates", "seed"),
        )
        return {"name": self.name, **{name: getattr(self, name) for name in names}}


class _Watch(keras.callbacks.Callback):
    """Count responses anew in each epoch, and warn if no neuron fires."""

    def on_epoch_begin(self, epoch, logs=None):
        if self.model.built:
            probe.sync(self.model)
            for variable in (self.model.class_counts, self.model.class_sizes):
                variable.assign(np.zeros(variable.shape))

    def on_epoch_end(self, epoch, logs=None):
        if logs and logs["spikes"] == 0:
            warnings.warn(
                f"No neuron fired in epoch {epoch + 1}, so nothing was learned. Raise `gain`, `total_weight` or "
                "`max_retries`, and check that the images are in [0, 1] and not black.",
                stacklevel=2,
            )


def _as_list(callbacks):
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks] if callbacks else []
