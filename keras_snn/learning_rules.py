"""Local learning rules: how spikes at both ends of a connection change its weights.

A rule is a step on traces; ``ops.plasticity`` has its equations. ``layers.PlasticConnection`` runs it. Times count time
steps.
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import keras
from keras import ops

from keras_snn import checks
from keras_snn.configured import Configured
from keras_snn.hints import Config, Tensor
from keras_snn.ops import plasticity
from keras_snn.ops.plasticity import Terms, Traces

Correlate = Callable[[Tensor, Tensor], Tensor]


class LearningRule(Configured):
    """Base class of rules. A subclass defines ``trace_sides``, ``names`` and ``step``.

    Rules with equal configurations compare equal, so the engine compiles them once.

    Args:
        w_min: Number, the smallest weight, or None for no limit. Default 0.
        w_max: Number, the largest weight, or None for no limit. Default 1.

    Raises:
        TypeError: If an argument is not a number.
        ValueError: If an argument is out of range, or ``w_max`` is not above ``w_min``.
    """

    #: Whether each trace belongs to the presynaptic ("pre") or the postsynaptic ("post") side.
    trace_sides: ClassVar[tuple[str, ...]] = ("pre", "post")
    #: Names of the arguments except ``w_min`` and ``w_max``, which ``get_config`` adds.
    names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, w_min: float | None = 0.0, w_max: float | None = 1.0) -> None:
        self.w_min = None if w_min is None else checks.number("w_min", w_min)
        self.w_max = None if w_max is None else checks.number("w_max", w_max)
        if self.w_min is not None and self.w_max is not None and self.w_max <= self.w_min:
            raise ValueError(f"`w_max` must be above `w_min` = {self.w_min:g}, got {self.w_max:g}.")

    def step(self, traces: Traces, pre: Tensor, post: Tensor) -> tuple[Traces, Terms]:
        """Return the traces after a step, and its terms; see ``ops.plasticity``."""
        raise NotImplementedError(f"{type(self).__name__} must override `step(traces, pre, post)`.")

    def __call__(self, params: Any, traces: Traces, spikes: tuple[Tensor, Tensor]) -> tuple[Traces, Terms]:
        """Run ``step`` in ``ops.scan``."""
        del params
        return self.step(traces, *spikes)

    def change(self, terms: Terms, correlate: Correlate, power: Callable[[Tensor], Tensor], kernel: Tensor) -> Tensor:
        """Return the change of ``kernel (..., neurons)``.

        Args:
            terms: The terms of all steps: pairs of tensors ``(batch, time, ...)``.
            correlate: Function of a pair. It returns the sum of ``x_i y_j``, in the shape of the kernel.
            power: Function of a postsynaptic value. It returns the sum of its squares, ``(neurons,)``.
            kernel: Tensor, the weights before the change.
        """
        del power, kernel
        return sum(correlate(x, y) for x, y in terms)

    def clip(self, kernel: Tensor) -> Tensor:
        """Return ``kernel`` with its values in [w_min, w_max]."""
        if self.w_min is not None:
            kernel = ops.maximum(kernel, ops.cast(self.w_min, kernel.dtype))
        return kernel if self.w_max is None else ops.minimum(kernel, ops.cast(self.w_max, kernel.dtype))

    def get_config(self):
        return {**super().get_config(), "w_min": self.w_min, "w_max": self.w_max}


def _register(cls):
    return keras.saving.register_keras_serializable(package="keras_snn")(cls)


def _tau(name, value):
    return checks.number(name, value, least=0)


def _decay(tau):
    """Return the factor by which a trace decays in a step; 0 for tau = 0."""
    return math.exp(-1 / tau) if tau > 0 else 0.0


@_register
class Hebb(LearningRule):
    """Hebb's rule: ``dw_ij = rate x_i y_j`` in each step.

    x and y are traces of the inputs and of the spikes. With a time constant of 0, they are the values of the step. The
    weights grow without bound: use ``w_max``, or ``total_weight`` of ``PlasticConnection``.

    Args:
        rate: Number, the learning rate. Default 0.01.
        tau_pre: Number >= 0, steps, time constant of x. Default 0.
        tau_post: Number >= 0, steps, time constant of y. Default 0.
        w_min: Number or None. Default 0.
        w_max: Number or None. Default 1.

    References: Hebb 1949, The Organization of Behavior.
    """

    names = ("rate", "tau_pre", "tau_post")

    def __init__(
        self,
        rate: float = 0.01,
        *,
        tau_pre: float = 0.0,
        tau_post: float = 0.0,
        w_min: float | None = 0.0,
        w_max: float | None = 1.0,
    ) -> None:
        super().__init__(w_min, w_max)
        self.rate = checks.number("rate", rate)
        self.tau_pre, self.tau_post = _tau("tau_pre", tau_pre), _tau("tau_post", tau_post)

    def step(self, traces: Traces, pre: Tensor, post: Tensor) -> tuple[Traces, Terms]:
        decays = {"pre_decay": _decay(self.tau_pre), "post_decay": _decay(self.tau_post)}
        return plasticity.hebb(traces, pre, post, rate=self.rate, **decays)


@_register
class Oja(Hebb):
    """Oja's rule: ``dw_ij = rate y_j (x_i - y_j w_ij)`` in each step.

    Hebb's rule with a decay that keeps the weights of each neuron bounded. For a linear neuron, they converge to the
    first principal axis of the inputs.

    Args:
        rate: Number, the learning rate. Default 0.01.
        tau_pre: As in ``Hebb``. Default 0.
        tau_post: As in ``Hebb``. Default 0.
        w_min: Number or None. Default None.
        w_max: Number or None. Default None.

    References: Oja 1982, J. Math. Biology 15, doi:10.1007/BF00275687.
    """

    def __init__(
        self,
        rate: float = 0.01,
        *,
        tau_pre: float = 0.0,
        tau_post: float = 0.0,
        w_min: float | None = None,
        w_max: float | None = None,
    ) -> None:
        super().__init__(rate, tau_pre=tau_pre, tau_post=tau_post, w_min=w_min, w_max=w_max)

    def step(self, traces: Traces, pre: Tensor, post: Tensor) -> tuple[Traces, Terms]:
        traces, _ = super().step(traces, pre, post)
        return traces, (traces,)

    def change(self, terms: Terms, correlate: Correlate, power: Callable[[Tensor], Tensor], kernel: Tensor) -> Tensor:
        ((x, y),) = terms
        return self.rate * correlate(x, y) + plasticity.oja_decay(power(y), kernel, self.rate)


@_register
class STDP(LearningRule):
    """Pair-based spike-timing-dependent plasticity, with a trace x of the inputs and a trace y of the spikes.

    ==================  ================================================================
    presynaptic spike   ``w_ij <- w_ij + presynaptic y_j``, then x_i is set to 1
    postsynaptic spike  ``w_ij <- w_ij + postsynaptic x_i``, then y_j is set to 1
    each step           ``x <- x exp(-1 / tau_pre)``, ``y <- y exp(-1 / tau_post)``
    ==================  ================================================================

    In one step the presynaptic spikes are first.

    Args:
        presynaptic: Number, the change at a presynaptic spike. Negative: depression. Default -0.0001.
        postsynaptic: Number, the change at a postsynaptic spike. Default 0.01.
        tau_pre: Number >= 0, steps. Default 20.
        tau_post: Number >= 0, steps. Default 20.
        pairing: "nearest" (a spike sets its trace to 1) or "all" (it adds 1). Default "nearest".
        w_min: Number or None. Default 0.
        w_max: Number or None. Default 1.

    References: Song, Miller and Abbott 2000, Nature Neuroscience 3, doi:10.1038/78829; Morrison, Diesmann and Gerstner
    2008, Biol. Cybernetics 98, doi:10.1007/s00422-008-0233-1.
    """

    names: ClassVar[tuple[str, ...]] = ("presynaptic", "postsynaptic", "tau_pre", "tau_post", "pairing")

    def __init__(
        self,
        presynaptic: float = -1e-4,
        postsynaptic: float = 1e-2,
        *,
        tau_pre: float = 20.0,
        tau_post: float = 20.0,
        pairing: str = "nearest",
        w_min: float | None = 0.0,
        w_max: float | None = 1.0,
    ) -> None:
        super().__init__(w_min, w_max)
        self.presynaptic = checks.number("presynaptic", presynaptic)
        self.postsynaptic = checks.number("postsynaptic", postsynaptic)
        self.tau_pre, self.tau_post = _tau("tau_pre", tau_pre), _tau("tau_post", tau_post)
        self.pairing = checks.choice("pairing", pairing, tuple(plasticity.PAIRINGS))

    def step(self, traces: Traces, pre: Tensor, post: Tensor) -> tuple[Traces, Terms]:
        return plasticity.pair_stdp(traces, pre, post, **self.constants())

    def constants(self) -> dict[str, Any]:
        """Return the keyword arguments of the step."""
        names = ("presynaptic", "postsynaptic", "pairing")
        decays = {"pre_decay": _decay(self.tau_pre), "post_decay": _decay(self.tau_post)}
        return {**{name: getattr(self, name) for name in names}, **decays}


@_register
class TripletSTDP(STDP):
    """Triplet-based STDP: ``STDP`` with slow traces u of the inputs and v of the spikes.

    ==================  =======================================================================
    presynaptic spike   ``w_ij <- w_ij + (presynaptic + pre_triplet u_i) y_j``
    postsynaptic spike  ``w_ij <- w_ij + (postsynaptic + post_triplet v_j) x_i``
    ==================  =======================================================================

    u and v are those before the spike. The defaults are the rule of Diehl and Cook: a postsynaptic spike without an
    earlier one changes nothing. ``pairing="all"`` with all four rates is the rule of Pfister and Gerstner.

    Args:
        presynaptic: Number. Default -0.0001.
        postsynaptic: Number. Default 0.
        pre_triplet: Number. Default 0.
        post_triplet: Number. Default 0.01.
        tau_slow_pre: Number >= 0, steps, time constant of u. Default 40.
        tau_slow_post: Number >= 0, steps, time constant of v. Default 40.
        **kwargs: ``tau_pre=20``, ``tau_post=20``, ``pairing="nearest"``, ``w_min=0``, ``w_max=1``, as in ``STDP``.

    References: Pfister and Gerstner 2006, J. Neuroscience 26, doi:10.1523/JNEUROSCI.1425-06.2006; Diehl and Cook 2015,
    Front. Comput. Neurosci. 9:99, doi:10.3389/fncom.2015.00099.
    """

    trace_sides = ("pre", "post", "pre", "post")
    names: ClassVar[tuple[str, ...]] = (*STDP.names, "pre_triplet", "post_triplet", "tau_slow_pre", "tau_slow_post")

    def __init__(
        self,
        presynaptic: float = -1e-4,
        postsynaptic: float = 0.0,
        *,
        pre_triplet: float = 0.0,
        post_triplet: float = 1e-2,
        tau_slow_pre: float = 40.0,
        tau_slow_post: float = 40.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(presynaptic, postsynaptic, **kwargs)
        self.pre_triplet = checks.number("pre_triplet", pre_triplet)
        self.post_triplet = checks.number("post_triplet", post_triplet)
        self.tau_slow_pre = _tau("tau_slow_pre", tau_slow_pre)
        self.tau_slow_post = _tau("tau_slow_post", tau_slow_post)

    def step(self, traces: Traces, pre: Tensor, post: Tensor) -> tuple[Traces, Terms]:
        return plasticity.triplet_stdp(
            traces,
            pre,
            post,
            pre_triplet=self.pre_triplet,
            post_triplet=self.post_triplet,
            slow_pre_decay=_decay(self.tau_slow_pre),
            slow_post_decay=_decay(self.tau_slow_post),
            **self.constants(),
        )


@_register
class RewardSTDP(STDP):
    """Reward-modulated STDP, a three-factor rule: pre, post and reward.

    The changes of ``STDP`` are collected in an eligibility trace e of each weight; a reward turns it into a change::

        e_ij <- e_ij exp(-1 / tau_eligibility) + dw_ij
        w_ij <- w_ij + reward e_ij

    Without a reward nothing changes. A negative reward reverses the changes.

    Args:
        tau_eligibility: Number >= 0, steps. Default 100.
        presynaptic: Number. Default -0.01.
        postsynaptic: Number. Default 0.01.
        **kwargs: ``tau_pre=20``, ``tau_post=20``, ``pairing="nearest"``, ``w_min=0``, ``w_max=1``, as in ``STDP``.

    References: Izhikevich 2007, Cerebral Cortex 17, doi:10.1093/cercor/bhl152; Fremaux and Gerstner 2016, Front. Neural
    Circuits 9:85, doi:10.3389/fncir.2015.00085.
    """

    names: ClassVar[tuple[str, ...]] = ("tau_eligibility", *STDP.names)

    def __init__(
        self, tau_eligibility: float = 100.0, *, presynaptic: float = -1e-2, postsynaptic: float = 1e-2, **kwargs: Any
    ) -> None:
        super().__init__(presynaptic, postsynaptic, **kwargs)
        self.tau_eligibility = _tau("tau_eligibility", tau_eligibility)

    def reward_to_come(self, reward: Tensor, last: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the factor of the changes in each step; see ``ops.plasticity.reward_to_come``."""
        return plasticity.reward_to_come(reward, last, _decay(self.tau_eligibility), mask)


#: The rules by name.
NAMES: dict[str, Any] = {"hebb": Hebb, "oja": Oja, "stdp": STDP, "triplet": TripletSTDP, "reward": RewardSTDP}


def get(rule: Any) -> LearningRule:
    """Return the rule for a name or a config, or a rule unchanged.

    Args:
        rule: A name in ``NAMES``, a ``LearningRule``, or the config of one.

    Raises:
        ValueError: For an unknown name.
        TypeError: For anything else.

    Example:

    ```python
    keras_snn.learning_rules.get("stdp").tau_pre  # 20.0
    ```
    """
    if isinstance(rule, str) and rule in NAMES:
        return NAMES[rule]()
    if isinstance(rule, dict):
        rule = keras.saving.deserialize_keras_object(rule)
    if isinstance(rule, str):
        raise ValueError(f"`rule` must be one of {sorted(NAMES)} or a LearningRule, got {rule!r}.")
    if not isinstance(rule, LearningRule):
        raise TypeError(f"`rule` must be a name or a LearningRule, got {rule!r}.")
    return rule


def serialize(rule: LearningRule) -> Config:
    """Return the config of a rule, for ``get``."""
    return keras.saving.serialize_keras_object(rule)
