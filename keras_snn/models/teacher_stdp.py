"""TeacherSTDP: competing neurons that learn images by local rules, while a teacher current names their classes."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_snn import checks, probe
from keras_snn.hints import Tensor
from keras_snn.models.local_learning import checked_labels, fit_without_loss
from keras_snn.ops import teacher_stdp as equations
from keras_snn.ops.random import seed_word, uniform_at_steps
from keras_snn.ops.scan import scan

_TIMES = ("on", "off", "dt", "tau", "tau_current", "tau_hold", "alpha", "beta", "refractory")
_NUMBERS = ("teacher", "rate", "hold", "c_inp", "c_neg", "w_max", "lr", "lr_lateral", "decay")


@keras.saving.register_keras_serializable(package="keras_snn")
class TeacherSTDP(keras.Model):
    """Poisson inputs and one hidden neuron for each class. A teacher current makes the neuron of the class fire.

    An image is shown for ``on``, and followed by ``off`` without input. In training, the neuron of its class receives
    the current ``teacher``. The threshold ``hold`` of a neuron decays to 0, and rises by 0.1 ``n_classes`` at each of
    its spikes. Each neuron has the traces a and theta, its rate over ``alpha`` and ``beta`` in kHz. At a spike of j::

        input weights      w_ij = clip(w_ij - decay + lr (a_i - theta_i), 0, w_max)
        lateral weights    w_ij = clip(w_ij - lr_lateral (a_i - theta_i), -1, 0)

    The scores of an image are the means of a over the last 50 steps of ``on``; the class is the one with the largest
    score. The training accuracy that ``fit`` shows is forced by the teacher. It says nothing about learning.

    Images are presented one after the other. The state runs on from image to image, also in ``predict`` and
    ``evaluate``, where the weights change only with ``learn_during_predict=True``. The whole state is in non-trainable
    weights: a model that is saved in the middle of training continues identically. The batch size changes
    results by rounding at most.

    Args:
        n_classes: Integer, at least 2. Default 2.
        on: Number, seconds. Default 0.05.
        off: Number, seconds. Default 0.05.
        dt: Number, seconds, the length of a time step. Default 1e-4.
        teacher: Number, the teacher current. 0: no teacher. Default 100.
        rate: Number, Hz, of an input of 1, before the refractory period. Default 250.
        tau: Number, seconds, of the membrane. Default 0.01.
        tau_current: Number, seconds, of the synaptic currents. Default 0.015.
        tau_hold: Number, seconds, of the threshold. Default 0.05.
        alpha: Number, seconds, of the trace a. Default 0.01.
        beta: Number, seconds, of the trace theta. Default 0.1.
        refractory: Number, seconds, of inputs and neurons. Default 0.002.
        hold: Number, the first threshold. Default 3.
        c_inp: Number, factor of the input weights. Default 0.2.
        c_neg: Number, factor of the lateral weights. Default 1.7.
        w_max: Number, the largest input weight. Default 1.
        lr: Number. Default 0.05.
        lr_lateral: Number. Default 0.01. 0: lateral weights do not change.
        decay: Number. Default 0.001.
        learn_during_predict: Boolean, whether weights change outside of training (without a teacher). Default False.
        seed: Integer. Default 0.
        **kwargs: Arguments of ``keras.Model``, such as ``name``.

    Call arguments:
        inputs: Tensor ``(batch, ...)`` with values in [0, 1]; or the dict of this tensor "x" and the labels "y".
        training: Boolean.

    Input shape: ``(batch, ...)``. Output shape: ``(batch, n_classes)``.

    Raises:
        ValueError: For an argument out of range.

    Example:

    ```python
    digits, labels = np.random.default_rng(0).random((4, 8, 8)), np.array([0, 1, 0, 1])
    model = keras_snn.models.TeacherSTDP(on=0.01, off=0.01)
    model.fit(digits, labels, verbose=0)
    model.predict(digits, verbose=0).shape  # (4, 2)
    ```

    Source: a notebook on two digits of scikit-learn with the simulator Brian2; there is no publication.
    """

    def __init__(
        self,
        n_classes: int = 2,
        *,
        on: float = 0.05,
        off: float = 0.05,
        dt: float = 1e-4,
        teacher: float = 100.0,
        rate: float = 250.0,
        tau: float = 0.01,
        tau_current: float = 0.015,
        tau_hold: float = 0.05,
        alpha: float = 0.01,
        beta: float = 0.1,
        refractory: float = 0.002,
        hold: float = 3.0,
        c_inp: float = 0.2,
        c_neg: float = 1.7,
        w_max: float = 1.0,
        lr: float = 0.05,
        lr_lateral: float = 0.01,
        decay: float = 0.001,
        learn_during_predict: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.n_classes = checks.integer("n_classes", n_classes, least=2)
        self.dt = checks.number("dt", dt, above=0)
        self.on = checks.number("on", on, least=dt)
        self.off = checks.number("off", off, least=0)
        self.teacher = checks.number("teacher", teacher, least=0)
        self.rate = checks.number("rate", rate, least=0)
        self.tau = checks.number("tau", tau, above=0)
        self.tau_current = checks.number("tau_current", tau_current, above=0)
        self.tau_hold = checks.number("tau_hold", tau_hold, above=0)
        self.alpha = checks.number("alpha", alpha, above=0)
        self.beta = checks.number("beta", beta, above=0)
        self.refractory = checks.number("refractory", refractory, least=0)
        self.hold = checks.number("hold", hold, least=0)
        self.c_inp = checks.number("c_inp", c_inp, least=0)
        self.c_neg = checks.number("c_neg", c_neg, least=0)
        self.w_max = checks.number("w_max", w_max, above=0)
        self.lr = checks.number("lr", lr, least=0)
        self.lr_lateral = checks.number("lr_lateral", lr_lateral, least=0)
        self.decay = checks.number("decay", decay, least=0)
        self.learn_during_predict = learn_during_predict
        self.seed = checks.integer("seed", seed, least=0)
        self.accuracy = keras.metrics.Mean("accuracy")

    def build(self, input_shape):
        if isinstance(input_shape, dict):
            input_shape = input_shape["x"]
        self.n_inputs = n_inputs = math.prod(input_shape[1:])
        n, rng = self.n_classes, np.random.default_rng(self.seed)

        def add(name, value, dtype="float32"):
            value = np.asarray(value, dtype)
            return self.add_weight(
                name=name,
                shape=value.shape,
                initializer=lambda *args, **_: ops.convert_to_tensor(value),
                dtype=dtype,
                trainable=False,
                autocast=False,
            )

        zeros = np.zeros((1, n))
        self.carried = {name: add(name, zeros) for name in ("v", "I_inp", "I_neg")}
        self.carried |= {
            "hold": add("hold", zeros + self.hold),
            "a": add("a", 0.5 * rng.random((1, n))),
            "theta": add("theta", 0.5 * rng.random((1, n))),
            "wait": add("wait", zeros, "int32"),
            "a_inputs": add("a_inputs", 0.5 * rng.random((1, n_inputs))),
            "theta_inputs": add("theta_inputs", 0.5 * rng.random((1, n_inputs))),
            "wait_inputs": add("wait_inputs", np.zeros((1, n_inputs)), "int32"),
            "w": add("w", self.w_max * rng.random((n_inputs, n))),
            "w_lateral": add("w_lateral", np.eye(n) - 1),
        }
        self.n_presented = add("n_presented", 0, "int32")
        self.built = True

    @property
    def learn_during_predict(self) -> bool:
        """Whether weights change outside of training."""
        return self._learn_during_predict

    @learn_during_predict.setter
    def learn_during_predict(self, value: bool) -> None:
        self._learn_during_predict = bool(value)
        self.predict_function = self.test_function = None  # Keras compiles them again

    @property
    def w(self) -> Tensor:
        """The input weights, a variable ``(n_inputs, n_classes)``."""
        return self.carried["w"]

    @property
    def w_lateral(self) -> Tensor:
        """The lateral weights, a variable ``(n_classes, n_classes)``, from row to column."""
        return self.carried["w_lateral"]

    def network(self, *, learns: bool = True, records: bool = False) -> equations.Network:
        """Return the constants of the equations.

        Args:
            learns: Boolean, whether weights change. Default True.
            records: Boolean, whether each step returns all traces. Default False.
        """
        times = ("dt", "tau", "tau_current", "tau_hold", "alpha", "beta", "refractory")
        others = ("c_inp", "c_neg", "w_max", "lr", "lr_lateral", "decay")
        return equations.Network(
            learns=learns,
            learns_lateral=learns and self.lr_lateral > 0,
            records=records,
            hold_step=0.1 * self.n_classes,
            **{name: 1000 * getattr(self, name) for name in times},
            **{name: getattr(self, name) for name in others},
        )

    def call(self, inputs, training=None):
        if training is None and keras.config.backend() == "torch":
            training = self.training
        x, y = (inputs["x"], inputs["y"]) if isinstance(inputs, dict) else (inputs, None)
        learns = bool(training) or self.learn_during_predict
        outputs = self._present(x, y if training else None, self.network(learns=learns))
        n_on, n_steps = self._steps()
        spikes, a = (ops.reshape(outputs[name], (-1, n_steps, self.n_classes)) for name in ("spikes", "a"))
        probe.record(self, spikes)
        return ops.mean(a[:, max(0, n_on - 50) : n_on], axis=1)

    def _steps(self):
        n_on = round(self.on / self.dt)
        return n_on, n_on + round(self.off / self.dt)

    def _present(self, x, y, network):
        """Present images one after the other, keep the last state, and return the outputs ``(1, time, ...)``."""
        x = ops.reshape(ops.cast(x, "float32"), (-1, self.n_inputs))
        n_images, (n_on, n_steps) = ops.shape(x)[0], self._steps()
        index = ops.copy(self.n_presented) + ops.arange(n_images, dtype="int32")
        steps = ops.arange(n_on, dtype="int32")[None]
        drawn = uniform_at_steps(index, steps, (self.n_inputs,), seed_word(self.seed))
        drawn = ops.cast(drawn < self.rate * self.dt * x[:, None], "float32")
        current = ops.zeros((n_images, self.n_classes))
        if y is not None:
            y = ops.cast(ops.reshape(y, (-1,)), "int32")
            current = self.teacher * ops.one_hot(y, self.n_classes, dtype="float32")
        current = ops.repeat(current[:, None], n_on, axis=1)
        xs = tuple(
            ops.reshape(ops.pad(part, ((0, 0), (0, n_steps - n_on), (0, 0))), (1, -1, units))
            for part, units in ((drawn, self.n_inputs), (current, self.n_classes))
        )
        state = {name: ops.copy(variable) for name, variable in self.carried.items()}
        outputs, state = scan(network, state, xs, gradient=False)
        for name, value in state.items():
            self.carried[name].assign(value)
        self.n_presented.assign(self.n_presented + n_images)
        return outputs

    def compute_output_shape(self, input_shape):
        shape = input_shape["x"] if isinstance(input_shape, dict) else input_shape
        return (shape[0], self.n_classes)

    def compute_output_spec(self, inputs, training=None):
        x = inputs["x"] if isinstance(inputs, dict) else inputs
        return keras.KerasTensor((x.shape[0], self.n_classes), "float32")

    @property
    def spike_unit(self) -> float:
        """The factor that converts recorded values to numbers of spikes: 1."""
        return 1.0

    def in_hertz(self, outputs: Tensor) -> Tensor:
        """Return recorded spikes as rates in Hz."""
        return outputs / self.dt

    def fit(self, x: Any = None, y: Any = None, batch_size: int | None = 1, **kwargs: Any) -> Any:
        """Learn from images and labels. ``compile`` is not needed: there is no loss.

        Args:
            x: Array ``(images, ...)`` with values in [0, 1].
            y: Integer array ``(images,)``.
            batch_size: Integer, the number of images in one call. It changes results by rounding at most. Default 1.
            **kwargs: Arguments of ``keras.Model.fit``, such as ``epochs``, ``callbacks`` and ``verbose``.

        Returns:
            The ``History`` of Keras. Its accuracy is forced by the teacher.

        Raises:
            ValueError: If ``x`` is not in [0, 1], or ``y`` is missing or has a label that is no class.
        """
        x, y = np.asarray(x, "float32"), self._labels(y, len(x))
        with fit_without_loss(self, x):
            return super().fit({"x": x, "y": y}, y, batch_size=batch_size, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        """Return the accuracy without the teacher. Arguments as in ``keras.Model.evaluate``."""
        if not self.compiled:
            self.compile()
        return super().evaluate(x, y, **kwargs)

    def _labels(self, y, n_images):
        if y is None:
            raise ValueError("`y` must be given, because labels set the teacher current; got None.")
        return checked_labels(y, self.n_classes, n_images)

    def compute_loss(
        self,
        x: Tensor = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor | None = None,
        training: bool = True,
    ) -> Tensor:
        """Count correct classes. Return 0: there is no loss."""
        if y is not None:
            right = ops.cast(ops.reshape(y, (-1,)), "int32") == ops.cast(ops.argmax(y_pred, axis=1), "int32")
            self.accuracy.update_state(ops.cast(right, "float32"))
        return ops.zeros(())

    def compute_metrics(
        self, x: Tensor, y: Tensor | None, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> dict[str, Any]:
        """Return the accuracy."""
        return {"accuracy": self.accuracy.result()}

    def record(self, x: Any, y: Any = None, *, every: int = 10) -> dict[str, np.ndarray]:
        """Present images, and return the traces over time. The state runs on as in ``fit`` or ``predict``.

        Args:
            x: Array ``(images, ...)``.
            y: Integer array ``(images,)``: train with these labels. Default None: no training.
            every: Integer, number of steps between two recorded values. It must divide the steps of an image.
                Spikes are summed over them. Default 10.

        Returns:
            Dict of arrays with time as their first axis: "spikes", "a", "I_inp" and "I_neg" ``(time, n_classes)``,
            "rates", "input_spikes" and "a_inputs" ``(time, n_inputs)``, "w" ``(time, n_inputs, n_classes)``,
            "w_lateral" ``(time, n_classes, n_classes)``, and "t" ``(time,)`` in seconds since the start of the call.
            "rates" are those of ``rate`` times the image, in Hz, before the refractory period.
        """
        x, y = np.asarray(x, "float32"), None if y is None else self._labels(y, len(x))
        every = checks.integer("every", every, least=1)
        if not self.built:
            self.build((None, *x.shape[1:]))
        n_on, n_steps = self._steps()
        if n_steps % every:
            raise ValueError(f"`every` must divide the {n_steps:,} steps of an image; got {every}.")
        network = self.network(learns=y is not None or self.learn_during_predict, records=True)
        shown = np.arange(n_steps)[:, None] < n_on
        kept: dict[str, list] = {}
        for k in range(len(x)):
            outputs = self._present(x[k : k + 1], None if y is None else y[k : k + 1], network)
            traces = {name: ops.convert_to_numpy(value)[0] for name, value in outputs.items()}
            traces["rates"] = self.rate * shown * x[k].reshape(1, -1)
            for name, values in traces.items():
                binned = values.reshape(-1, every, *values.shape[1:])
                kept.setdefault(name, []).append(binned.sum(axis=1) if "spikes" in name else binned[:, 0])
        joined = {name: np.concatenate(parts) for name, parts in kept.items()}
        return {"t": self.dt * every * np.arange(len(joined["a"])), **joined}

    def get_config(self):
        names = ("n_classes", *_TIMES, *_NUMBERS, "learn_during_predict", "seed")
        return {"name": self.name, **{name: getattr(self, name) for name in names}}
