import itertools
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from reference import loops
from reference.autodiff import FEW_MODES, STEP_BY_STEP, run, to_numpy

from keras_snn.ops import random
from keras_snn.ops.random import uniform_by_index

modes = pytest.mark.parametrize("mode", FEW_MODES)


def draw(index, shape, seed):
    return run(STEP_BY_STEP, lambda index: uniform_by_index(index, shape, seed), np.asarray(index, "int32"))


@modes
def test_equals_the_hash_of_numpy(mode):
    """Draws equal the NumPy hash for every shape and seed."""
    index = np.array([0, 1, 2, 70_000, 2**31 - 1], "int32")
    cases = list(itertools.product([(), (5,), (2, 3)], [0, 1, 1009, 2**31 + 5]))
    results = run(mode, lambda index: [uniform_by_index(index, *case) for case in cases], index)
    for values, case in zip(results, cases, strict=True):
        assert values.dtype == "float32"
        np.testing.assert_array_equal(values, loops.uniform_by_index(index, *case), err_msg=str(case))


@modes
def test_seeds_may_be_tensors(mode):
    index = np.array([0, 1, 2**31 - 1], "int32")
    seeds = [(0, 0), (3, 4), (2**32 - 1, 2**32 - 1)]
    tensors = [np.array(seed, "uint32") for seed in seeds]
    results = run(
        mode, lambda index, *seeds: [uniform_by_index(index, (2, 3), seed) for seed in seeds], index, *tensors
    )
    for values, seed in zip(results, seeds, strict=True):
        np.testing.assert_array_equal(values, loops.uniform_by_index(index, (2, 3), seed))


def test_draws_at_single_steps_equal_those_of_all_steps():
    index, seed = np.array([5, 0, 7], "int32"), 3
    all_steps = draw(index, (9, 2, 3), seed)
    for steps in (np.array([[2, 3, 8]]), np.array([[0, 1], [4, 5], [7, 8]])):  # for all samples, and for each
        words = [random.seed_word(seed), ops.tile(ops.expand_dims(random.seed_word(seed), 0), (3,))]
        for word in words:
            values = random.uniform_at_steps(ops.convert_to_tensor(index), ops.convert_to_tensor(steps), (2, 3), word)
            expected = [row[s] for row, s in zip(all_steps, np.broadcast_to(steps, (3, steps.shape[1])), strict=True)]
            np.testing.assert_array_equal(to_numpy(values), expected)


def test_a_seed_generator_gives_seeds():
    generator = keras.random.SeedGenerator(5)
    index = ops.convert_to_tensor(np.arange(2, dtype="int32"))
    for seed in (to_numpy(keras.random.SeedGenerator(5).next()), (5, 1)):
        values = to_numpy(uniform_by_index(index, (3,), generator.next()))
        np.testing.assert_array_equal(values, loops.uniform_by_index(range(2), (3,), tuple(seed)))


@pytest.mark.backend_free
def test_the_finalizer_equals_that_of_murmurhash3():
    """The finalizer gives the published test vectors: the hash of an empty key is the finalizer of the seed."""
    np.testing.assert_array_equal(loops.finalize([0, 1, 0xFFFFFFFF]), [0, 0x514E28B7, 0x81F16F39])
    assert loops.finalize(1) == 0x514E28B7


def test_integers_of_other_widths():
    expected = draw([3, 4], (6,), 2)
    for dtype in ("int64", "uint8"):
        with_dtype = uniform_by_index(ops.convert_to_tensor(np.array([3, 4], dtype)), (6,), 2)
        np.testing.assert_array_equal(to_numpy(with_dtype), expected)


def test_a_sample_keeps_its_numbers_in_any_batch():
    all_samples = draw(np.arange(100), (7,), 3)
    order = np.random.default_rng(0).permutation(100)
    np.testing.assert_array_equal(draw(order, (7,), 3), all_samples[order])
    np.testing.assert_array_equal(draw([42], (7,), 3), all_samples[42:43])
    np.testing.assert_array_equal(draw([42, 42], (7,), 3), all_samples[[42, 42]])


def test_sample_indices_continue_from_replica_to_replica(monkeypatch):
    np.testing.assert_array_equal(to_numpy(random.sample_index(3)), [0, 1, 2])
    monkeypatch.setattr(random, "replica", lambda: 2)
    index = to_numpy(random.sample_index(3))
    np.testing.assert_array_equal(index, [6, 7, 8])
    assert index.dtype == "int32"


def test_uniform():
    values = np.sort(draw(np.arange(1000), (300,), 0).ravel())
    assert values[0] >= 0 and values[-1] < 1
    n = len(values)
    # Kolmogorov-Smirnov: sqrt(n) times the max distance of the distributions is above 1.95 once in 1,000 seeds.
    distance = np.abs(values - (np.arange(n) + 0.5) / n).max()
    assert distance * np.sqrt(n) < 1.95
    # Also per unit and per sample: one of these 1,300 values is above 2.7 once in 1,000 seeds.
    for axis in (0, 1):
        rows = np.sort(draw(np.arange(1000), (300,), 0), axis=axis)
        m = rows.shape[axis]
        grid = (np.arange(m) + 0.5) / m
        assert np.abs(rows - (grid[:, None] if axis == 0 else grid)).max() * np.sqrt(m) < 2.7


def test_uncorrelated():
    """Neighboring samples, units and seeds, and the seeds of the layers of a model, are uncorrelated."""
    values = draw(np.arange(1000), (300,), 0) - 0.5

    def draw_next(counter):
        seed = np.array([7, counter], "int32")
        return run(
            STEP_BY_STEP, lambda i, seed: uniform_by_index(i, (300,), seed), np.arange(1000, dtype="int32"), seed
        )

    others = {
        "next sample": draw(np.arange(1, 1001), (300,), 0),
        "next unit": np.roll(values, 1, axis=1) + 0.5,
        "far unit": np.roll(values, 150, axis=1) + 0.5,
        "next seed": draw(np.arange(1000), (300,), 1),
        "next layer": draw(np.arange(1000), (300,), 1009),
        "generator": draw_next(0),
    }
    pairs = {name: (values, other - 0.5) for name, other in others.items()}
    pairs["next call"] = (draw_next(0) - 0.5, draw_next(1) - 0.5)
    pairs["next call, next unit"] = (np.roll(draw_next(0), 1, axis=1) - 0.5, draw_next(1) - 0.5)
    pairs["next call, last unit"] = (np.roll(draw_next(0), -1, axis=1) - 0.5, draw_next(1) - 0.5)
    for name, (a, b) in pairs.items():
        # The correlation of n pairs is about normal with a deviation of 1 / sqrt(n): beyond 4 of it once in 16,000.
        assert abs(np.mean(a * b) * 12 * np.sqrt(a.size)) < 4, name
        assert np.mean(a == b) < 1e-4, name  # equal by chance once in 2^24


def test_samples_and_units_are_not_interchangeable():
    values = draw(np.arange(64), (64,), 0)
    assert np.mean(values == values.T) < 0.05  # the diagonal is 1 / 64
    assert len(np.unique(values)) > 64 * 64 - 5


@pytest.mark.tensorflow("only TensorFlow graphs have an unknown batch")
def test_unknown_batch():
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None,), "int32")])
    def draw_in_graph(index):
        values = uniform_by_index(index, (2, 3), 5)
        assert values.shape.as_list() == [None, 2, 3]
        return values

    np.testing.assert_array_equal(draw_in_graph(np.arange(4)), draw(np.arange(4), (2, 3), 5))


def test_draws_do_not_depend_on_the_global_seed():
    first = draw([1, 2], (3,), 0)
    keras.utils.set_random_seed(99)
    np.testing.assert_array_equal(draw([1, 2], (3,), 0), first)


# Several devices. test_scan_tensorflow.py has the test for TensorFlow.


def run_script(script, **environment):
    tests = Path(__file__).parents[1]
    paths = {"PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **paths, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.torch("DistributedDataParallel")
def test_two_ranks(tmp_path):
    """Draws of two ranks equal those on one device, before and after wrapping.

    Wrapping copies the parameters of the first rank, seeds included, to all ranks.
    """
    script = """
import datetime, os
import torch
from reference.models import COPIES, assert_draws_of_one_device, drawing_model

rank = 0 if os.fork() else 1  # after the slow imports, before PyTorch starts threads
torch.set_num_threads(1)
TIMEOUT = datetime.timedelta(seconds=60)  # if one rank fails, the other waits for it
x = torch.tensor(COPIES)
on_one_device = [y.detach() for y in drawing_model()(x)]
torch.distributed.init_process_group("gloo", init_method="file://GROUP", rank=rank, world_size=2, timeout=TIMEOUT)
model = drawing_model()
model.weight = torch.nn.Parameter(torch.zeros(1))  # wrapping needs a parameter with a gradient
seeds = model.non_trainable_variables
starts = [seed.numpy().copy() for seed in seeds]
for wraps in (False, True):
    if wraps:
        for seed, start in zip(seeds, starts):
            seed.assign([1, 1] if rank else start)
        torch.nn.parallel.DistributedDataParallel(model)
    gathered = []
    for y in model(x[32 * rank : 32 * rank + 32]):
        halves = [torch.empty_like(y) for _ in range(2)]
        torch.distributed.all_gather(halves, y.detach())
        gathered.append(torch.cat(halves))
    assert_draws_of_one_device(gathered, on_one_device)
torch.distributed.destroy_process_group()
if rank:
    os._exit(0)
assert os.wait()[1] == 0
print("2 ranks agree")
"""
    done = run_script(script.replace("GROUP", str(tmp_path / "group")))
    assert done.stdout.split("\n")[0] == "2 ranks agree", done.stderr[-2000:]


@pytest.mark.jax("devices of JAX")
@pytest.mark.nightly("true by construction: the batch of a JAX function is the global batch")
def test_two_devices_of_jax():
    script = """
import jax, keras
from reference.models import COPIES, assert_draws_of_one_device, drawing_model

on_one_device = drawing_model()(COPIES)
keras.distribution.set_distribution(keras.distribution.DataParallel())
model = drawing_model()
model.compile()
assert_draws_of_one_device(model.predict(COPIES, batch_size=64, verbose=0), on_one_device)
print(jax.device_count(), "devices agree")
"""
    done = run_script(script, XLA_FLAGS="--xla_force_host_platform_device_count=2")
    assert done.stdout.split("\n")[0] == "2 devices agree", done.stderr[-2000:]
