"""The contract table: rules that hold for all public layers. A new layer adds a row."""

import dataclasses
import inspect
import json
from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import ops, tree

from keras_snn import layers
from keras_snn.layers import (
    ALIF,
    IF,
    KLIF,
    LIF,
    PLIF,
    RNN,
    Alpha,
    AlternativeOscillationLIF,
    ConductanceLIF,
    Delay,
    Delta,
    FirstSpikeTime,
    Interval,
    Izhikevich,
    LastStep,
    Latency,
    LeakyIntegrator,
    Lowpass,
    MaxRatePooling,
    NoisyLIF,
    OscillationLIF,
    Phase,
    PlasticConnection,
    Poisson,
    Population,
    RankOrder,
    RecurrentLIF,
    Repeat,
    Resonance,
    ResonateAndFire,
    SpikingActivation,
    SpikingCell,
    SpikingLayer,
    SpikingNeuron,
    Synaptic,
    TemporalAveragePooling,
    TimeFold,
    TopKMask,
    VotingPooling,
)
from keras_snn.layers.base.sequence_layer import SequenceLayer

RNG = np.random.default_rng(0)
BATCH, TIME, UNITS = 2, 6, (3,)


@keras.saving.register_keras_serializable(package="contracts")
class Leaky(SpikingCell):
    """A user's cell with a weight, two states of different dtypes with non-zero initial values, and a training call."""

    def __init__(self, size, **kwargs):
        super().__init__(size, state_size=[size, size], always_use_inference=False, **kwargs)

    def build(self, input_shape):
        self.gain = self.add_weight(shape=self.state_shapes[0], initializer="ones", name="gain")

    def call_inference(self, inputs, states):
        voltage, count = states
        voltage = 0.9 * voltage + self.gain * inputs * self.dt
        return voltage, [voltage, count + 1]

    def call_training(self, inputs, states):
        outputs, states = self.call_inference(inputs, states)
        return 2 * outputs, states

    def get_initial_state(self, inputs=None, batch_size=None, dtype=None):
        voltage, count = super().get_initial_state(batch_size=batch_size)
        return [voltage + 0.5, ops.cast(count + 7, "int32")]

    def get_config(self):
        config = super().get_config()
        del config["state_size"], config["always_use_inference"]
        return config


class BranchCell(SpikingCell):
    """A cell whose outputs have another shape than inputs and states."""

    def __init__(self, size, decay, **kwargs):
        super().__init__(size, **kwargs)
        self.output_size = (2, *size)
        self.decay = decay

    def call_inference(self, inputs, states):
        (low,) = states
        low = low + self.decay * self.dt * (inputs - low)
        return ops.stack([low, inputs - low], axis=1), [low]

    def get_config(self):
        return {**super().get_config(), "decay": self.decay}


@keras.saving.register_keras_serializable(package="contracts")
class Branch(SpikingLayer):
    """A user's layer with an additional argument."""

    def __init__(self, decay, **kwargs):
        super().__init__(**kwargs)
        self.decay = decay

    def build_cell(self, input_shape):
        return BranchCell(input_shape[2:], self.decay, dt=self._dt, dtype=self.dtype_policy)

    def get_config(self):
        return {**super().get_config(), "decay": self.decay}


@keras.saving.register_keras_serializable(package="contracts")
class LargerOfTwo(keras.layers.Layer):
    """Max pooling over units, without a channel axis."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs):
        return ops.maximum(inputs[:, :-1], inputs[:, 1:])

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[1] - 1)


@dataclasses.dataclass(frozen=True)
class Row:
    """A constructor of a layer, and the layer's properties."""

    make: Callable  # (shape of one step, **options of the layer) -> layer
    dt: float = 1 / 64
    scale: float = 64.0  # scale of the inputs; rates for activations
    has_time: bool = True  # the inputs have a time axis
    keeps_time: bool = True  # the outputs have a time axis
    own_training: bool = False  # training differs from inference
    elementwise: bool = True  # units are independent
    has_gradient: bool = True  # the inputs have a gradient
    before: str | None = None  # activation of the layer before it in a model
    rounds_state: bool = False  # the returned state is rounded; the state within a call is not
    spikes: str | None = None  # "exact": half precision changes no spike
    wide: bool = False  # the outputs are float32 under half policies
    uses_dt: bool = True  # the outputs depend on dt
    zero_state: bool = False  # the initial states are zeros
    positive: bool = False  # the inputs are not negative, so that the layer spikes
    any_rank: bool = True  # inputs may have any rank
    variant: bool = False  # variant of another row: left out of tests that compile many functions

    def layer(self, units=UNITS, **options):
        return self.make(units, **options)

    def x(self, batch=BATCH, time=TIME, units=UNITS):
        """Return inputs that are exact in half precision."""
        shape = (batch, time, *units) if self.has_time else (batch, *units)
        return (self.scale * RNG.integers(0 if self.positive else -8, 9, size=shape) / 8).astype("float32")


def cell_row(make, **kwargs):
    dt = kwargs.get("dt", Row.dt)
    return Row(lambda units, **options: make(units, **{"dt": dt, **options}), **kwargs)


def neuron_row(make, *, fields=(), **options):
    defaults = {"zero_state": True, "spikes": "exact", "scale": 1.0, "uses_dt": False, "positive": True}
    return cell_row(lambda _, **o: make(**{**options, **o}), **{**defaults, **dict(fields)})


def code_row(make, **kwargs):
    return Row(make, **{"scale": 1.0, "has_time": False, "has_gradient": False, "before": "sigmoid", **kwargs})


ROWS = {
    "SpikingActivation": cell_row(lambda _, **o: SpikingActivation("relu", seed=0, **o), spikes="exact", wide=True),
    "SpikingActivation-not-aware": cell_row(
        lambda _, **o: SpikingActivation("relu", seed=0, spiking_aware_training=False, **o),
        spikes="exact",
        wide=True,
        own_training=True,
        variant=True,
    ),
    "SpikingActivation-signed": cell_row(
        lambda _, **o: SpikingActivation("tanh", seed=0, **o),
        dt=0.6,
        scale=1.0,
        spikes="exact",
        wide=True,
        variant=True,
    ),
    "Lowpass": cell_row(lambda _, **o: Lowpass(0.1, level_initializer="ones", **o)),
    "Alpha": cell_row(lambda _, **o: Alpha(0.1, level_initializer="ones", **o), rounds_state=True),
    "Alpha-not-in-training": cell_row(
        lambda _, **o: Alpha(0.1, level_initializer="ones", apply_during_training=False, **o),
        own_training=True,
        rounds_state=True,
        variant=True,
    ),
    "RNN": cell_row(
        lambda units, dt, dtype=None, **o: RNN(Leaky(units, dt=dt, dtype=dtype), **o), own_training=True, wide=True
    ),
    "SpikingLayer": cell_row(lambda _, **o: Branch(20.0, **o), zero_state=True, wide=True),
    # Long time constants: outputs depend on inputs many steps earlier.
    "IF": neuron_row(IF, reset="subtract"),
    "LIF": neuron_row(LIF, tau=20.0, decay_input=False, reset="subtract"),
    "LIF-options": neuron_row(
        LIF,
        tau=3.0,
        threshold=0.1,
        v_reset=-0.25,
        refractory=2,
        learn=("tau", "threshold"),
        per="channel",
        fields={"zero_state": False, "variant": True},
    ),
    "PLIF": neuron_row(PLIF, tau=20.0, decay_input=False, reset="subtract"),
    "KLIF": neuron_row(KLIF, tau=20.0, decay_input=False, reset="subtract"),
    "KLIF-star": neuron_row(
        KLIF, tau=20.0, decay_input=False, reset="subtract", variant="klif*", fields={"variant": True}
    ),
    "ALIF": neuron_row(ALIF, tau=20.0, decay_input=False, reset="subtract"),
    "Synaptic": neuron_row(Synaptic, tau=20.0, tau_synapse=5.0, reset="subtract"),
    "LeakyIntegrator": neuron_row(LeakyIntegrator, fields={"spikes": None}),
    "Izhikevich": neuron_row(
        Izhikevich,
        threshold=-60.0,
        fields={"scale": 40.0, "dt": 1 / 1024, "uses_dt": True, "zero_state": False, "rounds_state": True},
    ),
    "RecurrentLIF": neuron_row(
        RecurrentLIF,
        tau=20.0,
        decay_input=False,
        reset="subtract",
        recurrent_initializer=keras.initializers.RandomNormal(seed=0),
        fields={"any_rank": False},
    ),
    # Without noise: it depends on the step within a call. test_noisy_lif.py tests noise.
    "NoisyLIF": neuron_row(NoisyLIF, alpha=2.0, fields={"elementwise": False}),
    "OscillationLIF": neuron_row(OscillationLIF, tau=4.0, reset="subtract", noise_range=(0.0, 0.0)),
    "AlternativeOscillationLIF": neuron_row(AlternativeOscillationLIF, c=0.25, d=-0.25),
    "Repeat": Row(lambda _: Repeat(TIME), has_time=False),
    "TimeFold-Dense": Row(lambda _: TimeFold(keras.layers.Dense(2)), elementwise=False),
    "TimeFold-BatchNormalization": Row(
        lambda _: TimeFold(keras.layers.BatchNormalization()), elementwise=False, own_training=True
    ),
    "MaxRatePooling": Row(
        lambda _, **o: MaxRatePooling(LargerOfTwo(), **o), elementwise=False, any_rank=False, positive=True, wide=True
    ),
    "TemporalAveragePooling": Row(lambda _: TemporalAveragePooling(), keeps_time=False),
    "LastStep": Row(lambda _: LastStep(), keeps_time=False, wide=True),
    "Poisson": code_row(lambda _: Poisson(TIME, seed=0), has_gradient=True),
    "Latency": code_row(lambda _: Latency(TIME)),
    "Latency-log": code_row(lambda _: Latency(TIME, code="log"), variant=True),
    "Phase": code_row(lambda _: Phase(TIME, bits=3)),
    "Population": code_row(lambda _: Population(TIME, 5, low=-0.5, high=0.75)),
    "RankOrder": code_row(lambda _: RankOrder(TIME)),
    "Interval": code_row(lambda _: Interval(TIME, shortest=2)),
    "Delta": code_row(lambda _: Delta(0.25), has_time=True, before=None),
    "VotingPooling": Row(lambda _: VotingPooling(3), keeps_time=False, elementwise=False),
    # relu gives zeros. Without zeros, every first spike is at step 0, and the Dense after it has nothing to learn.
    "FirstSpikeTime": Row(lambda _: FirstSpikeTime(), keeps_time=False, has_gradient=False, before="relu", wide=True),
    "TopKMask": Row(lambda _: TopKMask(0.5), has_time=False, keeps_time=False, elementwise=False, scale=1.0),
    "Resonance": code_row(lambda _: Resonance(TIME, period=2)),
    "ResonateAndFire": neuron_row(ResonateAndFire, period=5.0, threshold=1.0),
    "Delay": cell_row(lambda _, **o: Delay(2, delay_initializer=1.25, per="unit", **o), uses_dt=False, zero_state=True),
    "ConductanceLIF": neuron_row(
        ConductanceLIF,
        tau=10.0,
        refractory_time=2.0,
        fields={"scale": 2.0, "dt": 1 / 1024, "uses_dt": True, "zero_state": False, "rounds_state": True},
    ),
    "PlasticConnection": Row(
        lambda _: PlasticConnection(
            keras.layers.Dense(2, use_bias=False, kernel_initializer=keras.initializers.Constant(0.5)),
            LIF(threshold=0.25),
            total_weight=1.0,
        ),
        scale=1.0,
        own_training=True,  # the weights change
        elementwise=False,
        positive=True,
    ),
    "LIF-late-reset": neuron_row(
        LIF, tau=20.0, threshold=0.5, decay_input=False, reset="subtract", reset_delay=True, fields={"variant": True}
    ),
}
CELLS = {name: row for name, row in ROWS.items() if isinstance(row.layer(), SequenceLayer)}
MAIN = {name: row for name, row in ROWS.items() if not row.variant}
MAIN_CELLS = {name: row for name, row in MAIN.items() if name in CELLS}
#: Neurons that only have other equations than LIF, RecurrentLIF, NoisyLIF or Izhikevich.
OTHER_EQUATIONS = {
    "IF",
    "PLIF",
    "KLIF",
    "ALIF",
    "Synaptic",
    "LeakyIntegrator",
    "OscillationLIF",
    "AlternativeOscillationLIF",
    "ResonateAndFire",
    "ConductanceLIF",
}


def each(rows):
    return pytest.mark.parametrize("row", rows.values(), ids=rows.keys())


def each_mechanism(rows):
    """Parametrize a test of all layers in one model: without OTHER_EQUATIONS, and, nightly, with these only."""
    others = {name: row for name, row in rows.items() if name in OTHER_EQUATIONS}
    mark = pytest.mark.nightly("the base class of neurons has this code; test_one_fit_step compiles every equation")
    first = pytest.param({name: row for name, row in rows.items() if name not in others}, id="each mechanism")
    return pytest.mark.parametrize("rows", [first, pytest.param(others, marks=mark, id="other equations")])


def to_numpy(nest):
    def leaf_to_numpy(x):
        if isinstance(x, np.ndarray):
            return x
        dtype = keras.backend.standardize_dtype(x.dtype)
        return ops.convert_to_numpy(ops.cast(x, "float32") if dtype == "bfloat16" else x)

    return tree.map_structure(leaf_to_numpy, nest)


def assert_same(row, actual, expected):
    """Assert that two calls give the same values: bit by bit if the layer allows it, else within rounding."""
    exact = row.spikes or row not in CELLS.values() or keras.config.backend() != "tensorflow"
    if exact and not row.rounds_state:
        np.testing.assert_array_equal(actual, expected)
    else:
        # rtol: eager TensorFlow compiles only some loops with XLA, whose fused multiply-add rounds once instead of
        # twice. Alpha multiplies its slope by tau and divides it again.
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def differ(a, b):
    """Return whether two results differ by more than rounding."""
    return not np.allclose(to_numpy(a), to_numpy(b), rtol=1e-3, atol=1e-6)


def dtype_of(x):
    return keras.backend.standardize_dtype(x.dtype)


def built(row, units=UNITS, weights=None, **options):
    """Return a built layer, with ``weights`` if given."""
    layer = row.layer(units, **options)
    layer.build((TIME, BATCH, *units) if options.get("time_major") else row.x(units=units).shape)
    if weights is not None:
        layer.set_weights(weights)
    return layer


def initial_states(layer):
    """Return states that differ from the layer's initial states, and between units."""
    return [state / 2 + ramp(state) if "float" in dtype_of(state) else state + 3 for state in fresh_states(layer)]


def ramp(state):
    """Return 1 / 8, 5 / 32, ..., in the shape of ``state``."""
    return ops.convert_to_tensor((np.arange(np.prod(state.shape)).reshape(state.shape) / 32 + 0.125).astype("float32"))


def fresh_states(layer):
    return layer.initial_state(BATCH)


def model_around(row, layer, time=TIME, name=None):
    """Return a model with a Dense before and after the layer. The first one is trained if it receives a gradient."""
    inputs = keras.Input((time, *UNITS) if row.has_time else UNITS, name=name)
    positive = keras.initializers.RandomUniform(0, 1)  # positive inputs give spikes
    options = {"kernel_initializer": positive} if row.positive else {}
    x = keras.layers.Dense(3, row.before, trainable=row.has_gradient, **options)(inputs)
    x = layer(x)
    if row.keeps_time:
        x = TemporalAveragePooling()(x)
    return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(x)))


def joined(models):
    """Return one model with the given models as named branches, for one compilation and one file."""
    return keras.Model({k: model.input for k, model in models.items()}, {k: m.output for k, m in models.items()})


def assert_losses(history, targets, outputs):
    """Compare the logged loss of each branch with the mean squared error of its outputs, for each epoch."""
    for name in outputs[0]:
        expected = [np.mean((y[name] - target[name]) ** 2) for y, target in zip(outputs, targets, strict=True)]
        # rtol: compiled matrix products round differently from eager ones.
        np.testing.assert_allclose(history.history[f"{name}_loss"], expected, rtol=1e-4, err_msg=name)


@pytest.fixture(autouse=True)
def _reset_rng():
    """Reset the generator, so that a test does not depend on the draws of earlier tests."""
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


def test_the_table_has_all_public_layers():
    built_layers = [built(row) for row in ROWS.values()]
    covered = {type(item) for layer in built_layers for item in (layer, cell_of(layer))}
    public = [getattr(layers, name) for name in layers.__all__]
    classes = {item for item in public if inspect.isclass(item) and issubclass(item, keras.layers.Layer)}
    bases = {SpikingCell, SpikingLayer, SpikingNeuron}  # tested through subclasses
    of_images = {layers.ParallelConvEncoder}  # has these rules in test_parallel_conv_encoder.py
    assert classes - bases - of_images - covered == set()
    assert all(any(issubclass(cls, base) for cls in covered - {base}) for base in bases)


def cell_of(layer):
    return getattr(layer, "cell", None)


def arguments(cls):
    """Return the names of all arguments of ``cls``, including those of its bases, without those of all layers."""
    names = set()
    for base in cls.__mro__:
        if base in (keras.layers.Layer, keras.layers.Wrapper):
            break
        parameters = inspect.signature(base.__init__).parameters.values() if "__init__" in vars(base) else []
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return names - {"self"}


@each(ROWS)
def test_config_round_trip(row):
    layer = built(row)
    for item in filter(None, [layer, cell_of(layer)]):
        config = item.get_config()
        text = json.dumps(config)
        restored = type(item).from_config(json.loads(text))
        assert json.dumps(restored.get_config()) == text
        assert json.dumps(config) == text  # from_config did not change it
        for name in arguments(type(item)) - ignored(item):
            assert hasattr(item, name), name
            assert name in config, name


def ignored(item):
    """Return the arguments of base classes that a class sets itself."""
    fixed = {"state_size", "always_use_inference"}
    ignored_by_class = {
        RNN: {"dt"},
        BranchCell: set(),
        LeakyIntegrator: {"threshold", "reset", "surrogate", "detach_reset"},
        Izhikevich: {"reset", "v_reset"},
        ResonateAndFire: {"v_reset"},
        ConductanceLIF: {"reset"},
    }
    return ignored_by_class.get(type(item), fixed if isinstance(item, SpikingCell) else set())


def test_save_and_load(tmp_path):
    """All layers, also as stateful layers, are restored from one file."""
    rows = {**ROWS, **{f"stateful {name}": row for name, row in CELLS.items()}}
    x = {name: row.x() for name, row in rows.items()}
    models = {}
    for name, row in rows.items():
        layer = row.layer(**({"stateful": True} if name not in ROWS else {}))
        inputs = keras.Input(x[name].shape[1:], BATCH, name=name)
        models[name] = keras.Model(inputs, layer(inputs))
    model = joined(models)
    model.set_weights([w + 0.25 for w in model.get_weights()])
    model(x, training=False)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    layers.reset_states(model)  # a loaded model starts from its initial states
    actual, expected = (to_numpy(m(x, training=False)) for m in (restored, model))
    for name, row in rows.items():
        assert_same(row, actual[name], expected[name])


OPTIONS = [
    {"return_sequences": sequences, "return_state": state, "time_major": major}
    for sequences in (True, False)
    for state in (True, False)
    for major in (True, False)
]
#: The base class implements these options: all combinations for one layer, the most different ones for the others.
MOST_DIFFERENT = [OPTIONS[0], OPTIONS[-1]]
REPEATS = pytest.mark.nightly("the base class implements these combinations of options for every layer")


@pytest.mark.parametrize(
    "name, options",
    [
        *((name, {}) for name in ROWS if name not in MAIN_CELLS),
        *((name, o) for name in MAIN_CELLS for o in (OPTIONS if name == "LIF" else MOST_DIFFERENT)),
        *(
            pytest.param(name, o, marks=REPEATS)
            for name in MAIN_CELLS
            for o in OPTIONS
            if name != "LIF" and o not in MOST_DIFFERENT
        ),
    ],
)
def test_symbolic_shapes_and_dtypes_equal_eager_ones(name, options):
    row = ROWS[name]
    x = row.x(batch=2, time=5)
    x = np.swapaxes(x, 0, 1) if options.get("time_major") else x
    layer = row.layer(**options)
    eager = tree.flatten(layer(x))
    n_unknown = 2 if row.has_time else 1
    unknown = (*[None] * n_unknown, *x.shape[n_unknown:])
    for shape in (x.shape, unknown):
        symbolic = tree.flatten(layer(keras.KerasTensor(shape, "float32")))
        shapes = []
        tree.map_shape_structure(shapes.append, row.layer(**options).compute_output_shape(shape))
        assert len(symbolic) == len(eager) == len(shapes)
        for s, e, computed in zip(symbolic, eager, shapes, strict=True):
            assert dtype_of(s) == dtype_of(e)
            assert tuple(s.shape) == tuple(computed)
            assert len(s.shape) == len(e.shape)
            assert all(m in (n, None) for m, n in zip(s.shape, e.shape, strict=True))
            assert shape is not x.shape or tuple(s.shape) == tuple(e.shape)
    ends_time = not row.keeps_time or options.get("return_sequences") is False
    free = [None] if ends_time else [None, None if row.has_time else TIME]
    assert list(symbolic[0].shape)[: len(free)] == free


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param({**MAIN, "LIF-options": ROWS["LIF-options"]}, id="layers"),
        pytest.param(
            {name: row for name, row in ROWS.items() if row.variant},
            marks=pytest.mark.nightly("another row has the same code"),
            id="variants",
        ),
    ],
)
def test_one_fit_step(rows):
    """In a compiled fit, the loss equals that of an eager call, and all weights change. All layers are in one model."""
    models = {name: model_around(row, row.layer(), name=name) for name, row in rows.items()}
    x = {name: row.x() for name, row in rows.items()}
    y = {name: np.ones((BATCH, 1), "float32") for name in rows}
    model = joined(models)
    old = {name: [w.copy() for w in m.get_weights()] for name, m in models.items()}
    eager = to_numpy(model(x, training=True))
    for name, m in models.items():
        m.set_weights(old[name])
    before = {v.path: to_numpy(v) for v in model.trainable_variables}
    assert len(before) == len(model.trainable_variables)
    model.compile("sgd", "mse", jit_compile=keras.config.backend() != "torch")
    assert_losses(model.fit(x, y, batch_size=BATCH, verbose=0), [y], [eager])
    for name, m in models.items():
        for variable in m.trainable_variables:
            value = to_numpy(variable)
            assert np.all(np.isfinite(value)), (name, variable.path)
            assert not np.array_equal(value, before[variable.path]), (name, variable.path)


def batches(row):
    """Yield two batches that differ in size and length."""
    for batch, time in [(2, 4), (3, 5)]:
        yield row.x(batch, time), np.ones((batch, 1), "float32")


@each_mechanism(MAIN_CELLS)
def test_fit_of_sequences_of_many_lengths(rows):
    """Layers with cells train on batches of different sizes and lengths. Other layers have a test in their file."""
    model = joined({name: model_around(row, row.layer(), None, name) for name, row in rows.items()})
    of_rows = {name: list(batches(row)) for name, row in rows.items()}
    x, y = ([{name: pairs[i][part] for name, pairs in of_rows.items()} for i in (0, 1)] for part in (0, 1))
    outputs = [to_numpy(model(inputs, training=True)) for inputs in x]
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=keras.config.backend() == "jax")
    pairs = (pair for pair in zip(x, y, strict=True))
    assert_losses(model.fit(pairs, steps_per_epoch=1, epochs=2, shuffle=False, verbose=0), y, outputs)


GRAPHS = {
    name: pytest.param(row, marks=pytest.mark.nightly("the fit above has such a graph")) if name in CELLS else row
    for name, row in MAIN.items()
}


@pytest.mark.tensorflow("only TensorFlow has graphs of unknown shape")
@each(GRAPHS)
def test_tf_graph_of_unknown_batch_and_time(row):
    import tensorflow as tf

    layer = built(row)
    shape = (None, None, *UNITS) if row.has_time else (None, *UNITS)
    function = tf.function(lambda x: layer(x, training=False), input_signature=[tf.TensorSpec(shape)])
    for x, _ in batches(row):
        # rtol: XLA does not compile loops of unknown length. Its fused multiply-add rounds once instead of twice.
        np.testing.assert_allclose(function(x), layer(x, training=False), rtol=1e-5, atol=1e-5)


HALF = {"mixed_float16": ("float16", 2.0**-11), "mixed_bfloat16": ("bfloat16", 2.0**-8)}


@each(ROWS)
@pytest.mark.parametrize("policy", HALF, indirect=True)
def test_half_precision(row, policy):
    dtype, rounding = HALF[policy]
    keras.config.set_dtype_policy("float32")
    full = row.layer()
    x = row.x()
    expected = to_numpy(full(x, training=False))
    keras.config.set_dtype_policy(policy)
    half = built(row, weights=full.get_weights())
    inputs = keras.Input(x.shape[1:])
    for call in (half, keras.Model(inputs, half(inputs))):
        y = call(x, training=False)
        assert dtype_of(y) == ("float32" if row.wide else dtype)
        y = to_numpy(y).astype("float32")
        if row.spikes == "exact":
            np.testing.assert_array_equal(y, expected)
        else:
            # atol: weights, intermediate results and outputs are rounded; inputs are exact.
            np.testing.assert_allclose(y, expected, rtol=0, atol=4 * rounding * np.abs(expected).max())
    assert {dtype_of(w) for w in half.weights if "float" in dtype_of(w)} <= {"float32"}
    if row in CELLS.values():
        states = built(row, return_state=True, stateful=True)
        assert [dtype_of(s) for s in states(x)[1:]] == [dtype_of(s) for s in states.states]
        assert {dtype_of(s) for s in states.states if "int" not in dtype_of(s)} == {"float32"}


@each(CELLS)
def test_a_stateful_layer_gives_the_same_outputs_for_chunks_and_for_the_whole(row):
    x = row.x(time=24)
    layer = built(row, stateful=True)
    start = [to_numpy(state) for state in layer.states]
    for state, fresh in zip(start, fresh_states(layer), strict=True):
        np.testing.assert_array_equal(state, to_numpy(fresh))
    assert any(np.any(state != 0) for state in start) != row.zero_state
    whole = to_numpy(layer(x, training=False))
    assert_same(row, whole, to_numpy(built(row, weights=None)(x, training=False)))
    assert differ(layer(x, training=False), whole)

    layer.reset_states()
    for state, old in zip(layer.states, start, strict=True):
        np.testing.assert_array_equal(to_numpy(state), old)
    chunks = [to_numpy(layer(x[:, a:b], training=False)) for a, b in [(0, 2), (2, 3), (3, 24)]]
    assert_same(row, np.concatenate(chunks, axis=1), whole)

    other = [to_numpy(state) for state in initial_states(layer)]
    layer.reset_states(states=other if len(other) > 1 else other[0])
    for state, expected in zip(layer.states, other, strict=True):
        np.testing.assert_array_equal(to_numpy(state), expected)
    from_other = to_numpy(layer(x, training=False))
    assert differ(from_other, whole)
    assert_same(row, from_other, to_numpy(built(row)(x, training=False, initial_state=other)))


class Branches(keras.Model):
    """Parallel layers with a Dense after each, built in the first fit."""

    def __init__(self, branches):
        super().__init__()
        self.branches = branches
        self.heads = {name: keras.layers.Dense(1) for name in branches}

    def call(self, inputs):
        flatten = keras.layers.Flatten()
        return {name: self.heads[name](flatten(layer(inputs[name]))) for name, layer in self.branches.items()}


@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables.*initial_level")
@each_mechanism(MAIN_CELLS)
def test_a_stateful_layer_carries_its_state_through_fit(rows):
    # Keras warns because the initial level of a stateful filter is only used in a reset.
    model = Branches({name: row.layer(stateful=True) for name, row in rows.items()})
    x = {name: row.x()[:, :3] for name, row in rows.items()}
    y = {name: np.zeros((BATCH, 1), "float32") for name in x}
    # XLA of TensorFlow cannot create variables.
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=keras.config.backend() == "jax")
    model.fit(x, y, batch_size=BATCH, verbose=0)
    for name, row in rows.items():
        eager = built(row, stateful=True)
        eager(x[name], training=True)
        for state, expected in zip(model.branches[name].states, eager.states, strict=True):
            # rtol: only one of the two may use a fused multiply-add, which rounds once instead of twice.
            np.testing.assert_allclose(to_numpy(state), to_numpy(expected), rtol=1e-5, err_msg=name)


#: Statistics over the units or over the batch, with noise.
WITH_STATISTICS = {
    f"NoisyLIF-{alpha}-{statistics}": neuron_row(NoisyLIF, alpha=alpha, statistics=statistics, seed=0)
    for alpha in (4.0, None)
    for statistics in ("sample", "batch")
}


@pytest.mark.parametrize("empty", ["batch", "units"])
@each_mechanism({**MAIN, **WITH_STATISTICS})
def test_an_empty_batch_and_an_empty_step_give_an_empty_result(rows, empty):
    """Empty inputs give empty outputs. All layers are in one model; Keras's `predict` fails without samples."""
    rows = dict(rows)
    if empty == "units":
        rows.pop("MaxRatePooling", None)  # LargerOfTwo removes one unit
    units = UNITS if empty == "batch" else (0,)
    x = {name: row.x(BATCH if empty == "units" else 0, units=units) for name, row in rows.items()}
    models, shapes = {}, {}
    for name, row in rows.items():
        inputs, layer = keras.Input(x[name].shape[1:], name=name), row.layer(units)
        models[name] = keras.Model(inputs, layer(inputs))
        shapes[name] = tuple(layer.compute_output_shape(x[name].shape))
    model = joined(models)
    for call in (model, model.predict_on_batch)[: 2 if empty == "batch" else 1]:
        assert {name: tuple(y.shape) for name, y in call(x).items()} == shapes


@each({name: row for name, row in MAIN.items() if row.has_time and not row.keeps_time})
def test_the_end_of_time_of_an_empty_batch_with_a_mask(row):
    x = row.x(batch=0)
    layer = built(row)
    assert tuple(layer(x, mask=np.ones(x.shape[:2], bool)).shape) == tuple(layer.compute_output_shape(x.shape))


@each(ROWS)
def test_samples_are_independent(row):
    layer, x = built(row), row.x()
    options = {"initial_state": initial_states(layer)} if row in CELLS.values() else {}
    y = to_numpy(layer(x, training=False, **options))
    x[1] = np.nan
    z = to_numpy(layer(x, training=False, **options))
    assert_same(row, z[0], y[0])
    assert np.any(z[1] != y[1])


@each({name: row for name, row in CELLS.items() if row.uses_dt})
def test_two_time_steps(row):
    x = row.x()
    slow, fast = built(row, dt=row.dt), built(row, dt=row.dt / 4)
    assert (slow.dt, fast.dt) == (row.dt, row.dt / 4)
    if cell_of(slow):
        assert (slow.cell.dt, fast.cell.dt) == (slow.dt, fast.dt)
    fast.set_weights(slow.get_weights())
    expected = to_numpy(fast(x, training=False))
    assert differ(slow(x, training=False), expected)
    slow.dt = row.dt / 4
    assert_same(row, to_numpy(slow(x, training=False)), expected)


@each({name: row for name, row in MAIN.items() if row.any_rank})
def test_inputs_of_any_rank(row):
    units = (2, 1, 3)
    x = row.x(units=units)
    layer = built(row, units)
    options = {"initial_state": initial_states(layer)} if row in CELLS.values() else {}
    y = to_numpy(layer(x, training=False, **options))
    assert y.shape == tuple(layer.compute_output_shape(x.shape))
    if not row.elementwise:
        return
    weights = [w.reshape(*w.shape[: w.ndim - 3], 6) if w.ndim else w for w in layer.get_weights()]
    flat = built(row, (6,), weights=weights)
    shapes = [s.shape if s.shape[-1] == 6 else (*s.shape[:-3], 6) for s in options.get("initial_state", [])]
    for name, states in options.items():  # Alpha's state is already flat
        options[name] = [ops.reshape(s, shape) for s, shape in zip(states, shapes, strict=True)]
    z = to_numpy(flat(x.reshape(*x.shape[:-3], 6), training=False, **options))
    # rtol: XLA rounds vectorized and remaining units of a loop differently.
    np.testing.assert_allclose(z.reshape(y.shape), y, rtol=1e-6, atol=1e-6)


@each(MAIN_CELLS)
def test_time_major(row):
    x = row.x(units=(3,))
    batch_major = built(row, return_state=True)
    time_major = built(row, return_state=True, time_major=True)
    states = initial_states(batch_major)
    y, *last = to_numpy(batch_major(x, training=False, initial_state=states))
    z, *last_z = to_numpy(time_major(np.swapaxes(x, 0, 1), training=False, initial_state=states))
    assert_same(row, np.swapaxes(z, 0, 1), y)
    for a, b in zip(last_z, last, strict=True):
        assert_same(row, a, b)


@each(MAIN_CELLS)
def test_returned_outputs_and_states(row):
    x = row.x()
    layer = built(row, return_state=True)
    states = initial_states(layer)
    full, *last = layer(x, training=False, initial_state=states)
    full, last = to_numpy(full), [to_numpy(state) for state in last]
    assert [state.shape for state in last] == [(BATCH, *shape) for shape in layer.step_shapes(x.shape)[1]]

    for sequences in (True, False):
        outputs = built(row, return_sequences=sequences)(x, training=False, initial_state=states)
        assert not tree.is_nested(outputs)
        assert_same(row, to_numpy(outputs), full if sequences else full[:, -1])
    y, *states_y = built(row, return_sequences=False, return_state=True)(x, training=False, initial_state=states)
    assert_same(row, to_numpy(y), full[:, -1])
    for a, b in zip(states_y, last, strict=True):
        assert_same(row, to_numpy(a), b)

    head, *middle = layer(x[:, :2], training=False, initial_state=states)
    tail, *end = layer(x[:, 2:], training=False, initial_state=middle)
    assert_same(row, np.concatenate([to_numpy(head), to_numpy(tail)], axis=1), full)
    for a, b in zip(end, last, strict=True):
        assert_same(row, to_numpy(a), b)


@each(MAIN_CELLS)
def test_initial_state_as_a_second_input(row):
    layer = row.layer(return_state=True)
    x = row.x()
    first = keras.Input(x.shape[1:])
    half = keras.Input(x.shape[1:])
    _, *states = layer(first)
    model = keras.Model([first, half], layer(half, initial_state=states))
    y = to_numpy(model([x, x], training=False)[0])
    _, *middle = layer(x, training=False)
    assert_same(row, y, to_numpy(layer(x, training=False, initial_state=middle)[0]))


@each({name: row for name, row in ROWS.items() if row.has_time})
def test_the_mask_is_passed_on_until_time_ends(row):
    layer, x, mask = built(row), row.x(), np.arange(TIME) < np.array([[2], [TIME]])
    x[x == 0] = row.scale  # zeros are masked
    x[~mask] = 0
    if not row.keeps_time:
        assert layer.compute_mask(x, mask) is None
        return
    assert layer.compute_mask(x, mask) is mask
    inputs = keras.Input(x.shape[1:])
    masked = TemporalAveragePooling()(layer(keras.layers.Masking()(inputs)))
    y = to_numpy(layer(x, training=False))
    expected = np.stack([row_y[row_mask].mean(axis=0) for row_y, row_mask in zip(y, mask, strict=True)])
    actual = to_numpy(keras.Model(inputs, masked)(x, training=False))
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)  # float32 sums in another order
    if row in CELLS.values():
        n_states = len(layer.step_shapes(x.shape)[1])
        assert built(row, return_state=True).compute_mask(x, mask) == [mask, *[None] * n_states]
        assert built(row, return_sequences=False).compute_mask(x, mask) is None


PADDED = np.array([[1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1], [1, 0, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0]], bool)


def padded(x):
    """Return sequences ``(4, 4, ...)`` with NaN as padding after, before and between the steps, and padding only."""
    with_padding = np.full((4, 6, *x.shape[2:]), np.nan, "float32")
    for sample, mask, sequence in zip(with_padding, PADDED, x, strict=True):
        sample[mask] = sequence[: mask.sum()]
    return with_padding


def assert_padding_does_not_matter(row, layer, actual, expected):
    """Compare outputs for ``padded(x)`` with those for x."""
    # Loops of another length may or may not use a fused multiply-add.
    rtol = 0 if row.spikes else 1e-5
    close = {"rtol": rtol, "atol": rtol / 10 * np.abs(expected).max()}
    if not row.keeps_time:
        np.testing.assert_allclose(actual[:3], expected[:3], **close)
        np.testing.assert_array_equal(actual[3], np.zeros_like(actual[3]))
        return
    for y, mask, of_sequence in zip(actual[:3], PADDED, expected, strict=False):
        np.testing.assert_allclose(y[mask], of_sequence, **close)
    if isinstance(layer, TimeFold) and not isinstance(layer, MaxRatePooling):
        return  # outputs at masked steps are those of the inner layer
    emits_spikes = getattr(layer, "emits_spikes", True)
    for y, mask in zip(actual, PADDED, strict=True):
        held = np.zeros_like(y[0])
        for step, counts in zip(y, mask, strict=True):
            held = step if counts else held
            np.testing.assert_array_equal(step, held if counts or not emits_spikes else np.zeros_like(step))


def nightly_variants(rows):
    """Mark the variants of a layer as nightly."""
    mark = pytest.mark.nightly("another row has the same code")
    return {name: pytest.param(row, marks=mark) if row.variant else row for name, row in rows.items()}


@each(nightly_variants({name: r for name, r in ROWS.items() if r.has_time and "BatchNormalization" not in name}))
def test_padding_does_not_matter(row):
    x, layer = row.x(batch=4, time=4), built(row)
    expected = to_numpy(layer(x, training=False))
    with_padding = padded(x)
    actual = to_numpy(layer(with_padding, training=False, mask=PADDED))
    assert_padding_does_not_matter(row, layer, actual, expected)
    if row not in CELLS.values():
        return
    weights = layer.get_weights()
    final = built(row, weights=weights, return_sequences=False, return_state=True)
    y, *states = to_numpy(final(with_padding, training=False, mask=PADDED))
    last, *last_states = to_numpy(final(x, training=False))
    np.testing.assert_allclose(y[:3], last[:3], rtol=0 if row.spikes else 1e-5, atol=1e-6 * np.abs(last).max())
    np.testing.assert_array_equal(y[3], np.zeros_like(y[3]))
    start = to_numpy(final.initial_state(4))
    for state, last_state, before in zip(states, last_states, start, strict=True):
        np.testing.assert_allclose(state[:3], last_state[:3], rtol=1e-5, atol=1e-5 * np.abs(last_state).max())
        np.testing.assert_array_equal(state[3], before[3])


@each_mechanism({n: r for n, r in MAIN.items() if r.has_time and "BatchNorm" not in n and not r.own_training})
def test_masks_in_a_compiled_model(rows):
    """Padding does not change the outputs of layers after ``Masking``. All layers are in one model."""
    x = {name: row.x(batch=4, time=4) for name, row in rows.items()}
    expected, masked = {}, {}
    for name, row in rows.items():
        layer = built(row)
        expected[name] = to_numpy(layer(x[name], training=False))
        i = keras.Input((6, *UNITS), name=name)
        masked[name] = keras.Model(i, layer(keras.layers.Masking(-99.0)(i)))
    actual = joined(masked).predict({n: np.nan_to_num(padded(v), nan=-99.0) for n, v in x.items()}, verbose=0)
    for name, row in rows.items():
        assert_padding_does_not_matter(row, masked[name].layers[-1], actual[name], expected[name])


@each(ROWS)
def test_training_argument(row):
    layer, x = built(row), row.x()
    training, inference = (to_numpy(layer(x, training=flag)) for flag in (True, False))
    assert differ(training, inference) == row.own_training
    if row in CELLS.values() and row.own_training:
        layer = built(row, weights=layer.get_weights(), return_state=True)
        initial = [to_numpy(s) for s in initial_states(layer)]
        _, *states = layer(x, training=True, initial_state=initial)
        unchanged = all(np.array_equal(to_numpy(s), k) for s, k in zip(states, initial, strict=True))
        assert unchanged == (not isinstance(layer, RNN))


@pytest.mark.torch("only PyTorch modules have a mode")
@each(CELLS)
def test_without_a_training_argument_the_torch_mode_counts(row):
    x = row.x()
    layer = built(row)
    inputs = keras.Input(x.shape[1:])
    nets = [keras.Sequential([layer]), keras.Model(inputs, layer(inputs)), layer]
    training, inference = (to_numpy(layer(x, training=flag)) for flag in (True, False))
    for net in nets:
        for mode, expected in [(net.train, training), (net.eval, inference)]:
            mode()
            np.testing.assert_array_equal(to_numpy(net(x)), expected)
        np.testing.assert_array_equal(to_numpy(net(x, training=True)), training)  # the argument overrides the mode
    nets[0].train()
    np.testing.assert_array_equal(to_numpy(nets[0](x)), inference)  # the layer is still in eval mode


@pytest.mark.tensorflow("PyTorch has a mode; JAX equals TensorFlow")
@each(ROWS)
def test_training_is_off_by_default(row):
    layer, x = built(row), row.x()
    assert_same(row, to_numpy(layer(x)), to_numpy(layer(x, training=False)))


@pytest.mark.torch("PyTorch's state_dict and optimizers")
@each(ROWS)
def test_torch_state_dict_and_optimizer(row):
    import torch

    model = model_around(row, row.layer())
    x = torch.tensor(row.x())
    old = {name: value.clone() for name, value in model.state_dict().items()}
    parameters = [p for p in model.parameters() if p.requires_grad]
    assert len(parameters) == len(model.trainable_variables)
    model.train()
    optimizer = torch.optim.SGD(parameters, lr=0.01)
    start = to_numpy(model(x).detach())
    torch.nn.functional.mse_loss(model(x), torch.ones(BATCH, 1)).backward()
    assert all(torch.any(p.grad != 0) for p in parameters)
    optimizer.step()
    assert differ(model(x).detach(), start)

    keras.utils.clear_session()  # the same names again
    restored = model_around(row, row.layer())
    restored.train()
    restored.load_state_dict(old)
    np.testing.assert_array_equal(to_numpy(restored(x).detach()), start)


@each({name: row for name, row in ROWS.items() if row.has_time})
def test_a_missing_or_empty_time_axis_is_refused(row):
    missing = (BATCH, 4) if row.elementwise and row.keeps_time else (BATCH,)
    layer = row.layer()
    for call in (
        lambda: layer(np.ones(missing, "float32")),
        lambda: row.layer().compute_output_shape(missing),
        lambda: row.layer()(keras.KerasTensor(missing)),
    ):
        with pytest.raises(ValueError, match=r"\(batch, time, \.\.\.\)"):
            call()
    for call in (
        lambda: layer(np.ones((BATCH, 0, *UNITS), "float32")),
        lambda: built(row)(np.ones((BATCH, 0, *UNITS), "float32")),
        lambda: row.layer()(keras.Input((0, *UNITS))),
    ):
        with pytest.raises(ValueError, match=r"at least one time step|time axis, axis 1, is empty"):
            call()


@each(CELLS)
def test_bad_input_is_refused(row):
    x = row.x()
    for dt, error in [(0, ValueError), (-0.1, ValueError), (np.nan, ValueError), ("1", TypeError), (True, TypeError)]:
        with pytest.raises(error, match="`dt` must be a"):
            row.layer(dt=dt)
    with pytest.raises(ValueError, match=r"stateful=True needs a static batch size.*Input\(\.\.\., batch_size=n\)"):
        row.layer(stateful=True)(keras.Input((TIME, *UNITS)))
    with pytest.raises(ValueError, match=r"`initial_state` of .* must have the shapes .*, got \[\(1, "):
        built(row)(x, initial_state=[s[:1] for s in initial_states(built(row))])
    n_states = len(initial_states(built(row)))
    with pytest.raises(ValueError, match="`initial_state` of .* must have the shapes"):
        built(row)(x, initial_state=[np.zeros((BATCH, *UNITS), "float32")] * (n_states + 1))
    stateful = built(row, stateful=True)
    with pytest.raises(ValueError, match=f"was built for batches of {BATCH} samples.*received: 1"):
        stateful(x[:1])
    with pytest.raises(ValueError, match=f"`states` needs {n_states} values"):
        stateful.reset_states(states=[0.0] * (n_states + 1))
    with pytest.raises(AttributeError, match="it is not stateful"):
        built(row).reset_states()
    with pytest.raises(ValueError, match="has no states yet: build or call it first"):
        row.layer(stateful=True).reset_states()
    for shape in [(BATCH, TIME), (BATCH, TIME, 4), (BATCH, TIME, 1)]:
        with pytest.raises(ValueError, match="incompatible with the layer: expected"):
            built(row)(np.ones(shape, "float32"))
