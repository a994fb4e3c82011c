"""Settings of all tests: selection by backend, a fixed seed, figures without a screen."""

import gc
import os

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker has one core. By default, the libraries start a thread per core in each worker.
    os.environ |= {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:  # JAX's cache does not support several writers
        os.environ["JAX_COMPILATION_CACHE_DIR"] += os.sep + os.environ["PYTEST_XDIST_WORKER"]

import keras

import keras_snn

BACKENDS = ("tensorflow", "jax", "torch")


def pytest_addoption(parser):
    parser.addoption(
        "--everything", action="store_true", help="also run nightly tests, and backend_free tests on any backend"
    )


def pytest_configure(config):
    gc.set_threshold(20_000, 20, 20)  # tests create many objects; few of them become garbage
    keras_snn.default.compile_steps = False  # seconds for each kind of neuron; test_scan_torch.py compiles some
    if keras.config.backend() == "tensorflow" and not config.getoption("everything"):
        import tensorflow as tf

        # The optimizer of small graphs takes an eighth of the time. The nightly run keeps it.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def pytest_collection_modifyitems(config, items):
    """Skip tests of other backends; deselect tests that only run with --everything."""
    for item in items:
        for name in (*BACKENDS, "nightly"):
            mark = item.get_closest_marker(name)
            if mark is None:
                continue
            if not mark.args:
                raise pytest.UsageError(f"{item.nodeid}: the mark {name!r} needs a reason")
            if name in BACKENDS and keras.config.backend() != name:
                item.add_marker(pytest.mark.skip(reason=f"{name} only: {mark.args[0]}"))
    if not config.getoption("everything"):
        config.hook.pytest_deselected(items=[item for item in items if needs_everything(item)])
        items[:] = [item for item in items if not needs_everything(item)]

    # The longest test runs first. At the end, the other workers would wait for it.
    items.sort(key=lambda item: item.name != "test_readme")


def needs_everything(item):
    """Return whether a test only runs with --everything."""
    if item.get_closest_marker("nightly"):
        return True
    free = item.get_closest_marker("backend_free") and not item.get_closest_marker("every_backend")
    return bool(free) and keras.config.backend() != "tensorflow"


@pytest.fixture(autouse=True)
def _fixed_seed():
    """Reset the random numbers and Keras's layer names before each test."""
    keras.utils.clear_session(free_memory=False)  # a garbage collection per test takes longer than the tests
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="module", autouse=True)
def _only_new_objects_are_collected():
    """Freeze the objects of earlier modules, such as compiled functions: collections took a third of the time."""
    if keras.config.backend() == "tensorflow":
        _forget_gradients()
    gc.collect()
    gc.freeze()


def _forget_gradients():
    """Remove the gradients of earlier models from TensorFlow's registry.

    ``tf.custom_gradient`` registers one for each call in a graph, for ever, and each keeps its graph in memory: two
    workers took 24 GB.
    """
    from tensorflow.python.framework import ops

    registry = ops.gradient_registry._registry
    for name in [name for name in registry if name.startswith("CustomGradient-")]:
        del registry[name]


@pytest.fixture
def policy(request):
    """Set a dtype policy for one test."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)
