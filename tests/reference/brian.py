"""Brian2, an independent simulator."""

import pytest


def import_brian2():
    """Return Brian2 with NumPy as its target. Skip the test if it is missing, or too old for the NumPy installed."""
    try:
        import brian2
    except (ImportError, AttributeError) as error:  # Brian2 2.9 reads ndarray.ptp, which NumPy 2.4 does not have
        pytest.skip(f"Brian2 cannot be imported: {error}")
    brian2.prefs.codegen.target = "numpy"
    return brian2
