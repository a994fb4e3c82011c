"""Settings for all tests: the backend markers, a fixed seed, figures without a screen."""

import os

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras

BACKENDS = ("tensorflow", "jax", "torch")


def pytest_collection_modifyitems(items):
    """Skip a test that is marked for another backend; a mark without a reason is a mistake."""
    for item in items:
        for name in BACKENDS:
            mark = item.get_closest_marker(name)
            if mark is None:
                continue
            if not mark.args:
                raise pytest.UsageError(f"{item.nodeid}: the mark {name!r} needs a reason")
            if keras.config.backend() != name:
                item.add_marker(pytest.mark.skip(reason=f"{name} only: {mark.args[0]}"))


@pytest.fixture(autouse=True)
def _fixed_seed():
    """Give every test the same random numbers, and no layer names from the test before."""
    keras.utils.clear_session(free_memory=False)  # a garbage collection a test takes longer than the tests
    keras.utils.set_random_seed(0)
