"""Rules for all encoders of values without a time axis: steps, range, dtypes, saving."""

import keras
import numpy as np
import pytest
from keras import ops
from reference.autodiff import COMPILED, STEP_BY_STEP, gradients, run, to_numpy
from reference.parts import over_parts

from keras_snn import probe
from keras_snn.layers import Interval, Latency, Phase, Poisson, Population, RankOrder, Resonance
from keras_snn.layers.encoding.still_encoder import StillEncoder
from keras_snn.ops import decoding, encoding

MAKE = {
    "Poisson": lambda n=6, **options: Poisson(n, seed=0, **options),
    "Latency": lambda n=6, **options: Latency(n, **options),
    "Latency-log": lambda n=6, **options: Latency(n, code="log", **options),
    "Phase": lambda n=6, **options: Phase(n, bits=3, **options),
    "Population": lambda n=6, **options: Population(n, 5, **options),
    "RankOrder": lambda n=6, **options: RankOrder(n, **options),
    "Interval": lambda n=6, **options: Interval(n, **options),
    "Resonance": lambda n=6, **options: Resonance(n, period=2, **options),
}
each = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE.keys())
RNG = np.random.default_rng(0)
X = RNG.uniform(size=(2, 3, 4)).astype("float32")


#: Layers, and the arguments that they must pass to code and decoder. tests/ops tests the arithmetic.
ARGUMENTS = [
    (Latency(7, code="log"), encoding.latency, (7, "log"), decoding.latency, ("log",)),
    (Latency(7), encoding.latency, (7, "linear"), decoding.latency, ("linear",)),
    (Phase(12, bits=4), encoding.phase, (12, 4), decoding.phase, (4,)),
    (Phase(16), encoding.phase, (16, 8), decoding.phase, (8,)),
    (Interval(20, shortest=2, longest=9), encoding.interval, (20, 2, 9), decoding.interval, (2, 9)),
    (Interval(12), encoding.interval, (12, 1, 12), decoding.interval, (1, 12)),
    (Resonance(12, period=3), encoding.resonance, (12, 3, 4), decoding.resonance, (4,)),
    (Resonance(30, max_spikes=3), encoding.resonance, (30, 8, 3), decoding.resonance, (3,)),
    (RankOrder(6), encoding.rank_order, (6,), decoding.rank_order, ()),
    (
        Population(11, 6, low=-1.0, high=2.0, beta=1.0, cutoff=0.2),
        *(encoding.population, (11, 6, -1.0, 2.0, 1.0, 0.2), decoding.population, (-1.0, 2.0, 1.0)),
    ),
    (Population(9, 5), encoding.population, (9, 5, 0.0, 1.0, 1.5, 0.1), decoding.population, (0.0, 1.0, 1.5)),
]


def test_arguments_are_passed_to_codes_and_decoders():
    def layers_and_codes(x):
        of_layers, of_codes = [], []
        for layer, encode, options, decode, decode_options in ARGUMENTS:
            spikes = encode(x, *options)
            of_layers.append((layer(x), layer.decode(spikes)))
            of_codes.append((spikes, decode(spikes, *decode_options)))
        return of_layers, of_codes

    for case, actual, expected in zip(ARGUMENTS, *run(STEP_BY_STEP, layers_and_codes, X), strict=True):
        for a, b in zip(actual, expected, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=f"{case[0].name} {case[2]}")


@each
def test_spikes_are_zeros_and_ones_over_the_steps(make):
    spikes = run(STEP_BY_STEP, make(), X)
    assert spikes.shape[:4] == (2, 6, 3, 4)
    assert spikes.dtype == "float32"
    assert set(np.unique(spikes)) == {0, 1}


@each
def test_a_scope_overrides_the_number_of_steps(make):
    layer = make()
    inputs = keras.Input((3, 4))
    model = keras.Model(inputs, layer(inputs))
    with probe.scope(n_steps=3) as scope:
        assert layer(X).shape[1] == model(X).shape[1] == layer.compute_output_shape((None, 3, 4))[1] == 3
        assert scope.makes_time
    assert layer(X).shape[1] == model(X).shape[1] == 6
    assert layer.get_config()["n_steps"] == 6


@pytest.mark.parametrize("name", ["Poisson", "Phase", "Interval", "Resonance"])
def test_first_steps_equal_a_shorter_run(name):
    layer = MAKE[name](9)
    longer = to_numpy(layer(X))
    with probe.scope(n_steps=3):
        np.testing.assert_array_equal(to_numpy(layer(X)), longer[:, :3])


@each
def test_parts_of_the_time_axis_equal_a_whole_run(make):
    layer, x = make(), X.copy()
    x[1, 2, 3] = np.nan
    parts = over_parts(layer, x, (2, 1, 3), still=True)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), to_numpy(layer(x)))


@each
@pytest.mark.parametrize("bad", [-0.01, 1.01, np.nan, np.inf])
def test_a_known_value_outside_the_range_is_refused(make, bad):
    x = X.copy()
    x[1, 2, 3] = bad
    layer = make(clip=False)
    with pytest.raises(ValueError, match=r"`inputs` of \w+ '\w+' must be in \[0.0, 1.0\]; .* clip=True"):
        layer(x)
    if np.isfinite(bad):
        with pytest.raises(ValueError, match=f"they range from {float(x.min())} to {float(x.max())}"):
            layer(x)
    layer(X)


def test_the_range_is_checked_in_an_eager_gradient():
    layer = Poisson(6, seed=0, clip=False)
    with pytest.raises(ValueError, match=r"they range from 0\.0 to 2\.0"):
        gradients("eager", lambda x: ops.sum(layer(x)), np.array([[0.0, 2.0]], "float32"))


@each
@pytest.mark.skipif(COMPILED == "eager", reason="values are always known in eager mode")
def test_an_unknown_value_outside_the_range_makes_its_unit_nan(make):
    x = X.copy()
    places = [(0, 0, 1), (0, 2, 3), (1, 1, 0), (1, 2, 2)]
    for place, value in zip(places, [-0.01, 1.01, np.nan, -np.inf], strict=True):
        x[place] = value
    layer = make(clip=False)
    spikes = run(COMPILED, layer, x)
    of_units = np.moveaxis(spikes, 1, -1)
    of_units = of_units.reshape(2, 3, 4, -1)
    expected = np.zeros((2, 3, 4), bool)
    expected[tuple(np.transpose(places))] = True
    np.testing.assert_array_equal(np.isnan(of_units).any(axis=-1), expected)
    np.testing.assert_array_equal(np.isnan(of_units).all(axis=-1), expected)
    if not isinstance(layer, RankOrder):  # the ranks of the other units change
        np.testing.assert_array_equal(of_units[~expected], to_units(layer(X))[~expected])


def to_units(spikes):
    return np.moveaxis(to_numpy(spikes), 1, -1).reshape(2, 3, 4, -1)


@each
def test_clip(make):
    assert_clipped(COMPILED, make)


def test_clip_in_an_eager_call():
    assert_clipped("eager", MAKE["Poisson"])


def assert_clipped(mode, make):
    x = X.copy()
    x[0, 0], x[1, 0] = [-0.5, 2.0, -np.inf, np.inf], [0, 0, 1, 1]
    with_nan = x.copy()
    with_nan[1, 2, 3] = np.nan
    clip, unclipped = make(), make(clip=False)  # clipping is the default
    spikes, expected, of_nan = run(
        mode, lambda *xs: [clip(xs[0]), unclipped(xs[1]), clip(xs[2])], x, np.clip(x, 0, 1), with_nan
    )
    np.testing.assert_array_equal(spikes, expected)
    of_nan = to_units(of_nan)
    assert np.isnan(of_nan[1, 2, 3]).all()
    assert np.isnan(of_nan).sum() == of_nan.shape[-1]


@each
@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool", "float64"])
def test_other_dtypes_of_the_inputs(make, dtype):
    x = RNG.integers(0, 2, size=(2, 3)).astype(dtype)
    layer = make()
    spikes, expected = run(STEP_BY_STEP, lambda *xs: [layer(x) for x in xs], x, x.astype("float32"))
    assert spikes.dtype == "float32"
    np.testing.assert_array_equal(spikes, expected)


@each
def test_half_precision_does_not_round_the_values(make):
    x = np.linspace(0, 1, 1001, dtype="float32")[None]
    half, full = make(200 * 3, dtype="mixed_float16"), make(200 * 3)
    spikes, expected = run(STEP_BY_STEP, lambda x: (half(x), full(x)), x)
    assert spikes.dtype == "float16"
    np.testing.assert_array_equal(spikes.astype("float32"), expected)


@each
def test_save_and_load(make, tmp_path):
    model = keras.Sequential([keras.Input((3, 4)), make(clip=False)])
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert type(restored.layers[0]) is type(model.layers[0])
    assert restored.layers[0].get_config() == model.layers[0].get_config()
    np.testing.assert_array_equal(to_numpy(restored(X)), to_numpy(model(X)))


@each
def test_decode_returns_the_shape_of_the_inputs(make):
    layer = make()
    whole, flat = run(STEP_BY_STEP, lambda x: [layer.decode(layer(x)) for x in (x, x[:, 0, 0])], X)
    assert whole.shape == X.shape
    assert flat.shape == (2,)


@each
def test_an_empty_batch(make):
    assert make()(X[:0]).shape[:2] == (0, 6)


@each
def test_bad_arguments_are_refused(make):
    for n_steps in [0, -1, 2.5, "3", None, True]:
        with pytest.raises(ValueError, match="`n_steps` must be an integer of at least 1, the number of time steps"):
            make(n_steps)
    with pytest.raises(ValueError, match="min_ndim=1"):
        make()(np.float32(0.5) * np.ones(()))


def test_a_subclass_must_override_encode():
    with pytest.raises(NotImplementedError, match=r"Mine must override `encode\(x, n_steps, steps\)`"):
        type("Mine", (StillEncoder,), {})(3)(X)
