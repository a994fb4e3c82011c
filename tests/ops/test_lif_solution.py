"""The closed forms of the LIF, against hand-computed values and the layers."""

import math

import numpy as np
import pytest
from keras import ops
from reference.autodiff import COMPILED, results_and_gradients, run

from keras_snn.layers import LIF, LeakyIntegrator
from keras_snn.ops import lif_solution

TAU, T_REF, DT = 0.02, 0.002, 0.0001
#: A layer with this time constant in steps is exact at multiples of DT.
STEPS = 1 / -math.expm1(-DT / TAU)
DRIVES = np.array([0.5, 1.0, 1.1, 1.5, 2.0, 4.7], "float32")
N_STEPS = 2000


def test_rates_by_hand():
    rates = run(COMPILED, lambda x: lif_solution.rate(x, tau=1.0), np.array([-1, 1, 1.5, 2, 10], "float32"))
    # 1 / ln(x / (x - 1)); rtol: float32
    np.testing.assert_allclose(rates, [0, 0, 0.910239, 1.442695, 9.491222], rtol=2e-6)


def test_times_by_hand():
    times = run(COMPILED, lambda x: lif_solution.first_spike_time(x, 2.0, 3.0), np.array([2, 3, 4, 6], "float32"))
    np.testing.assert_allclose(times, [np.inf, np.inf, 2 * math.log(4), 2 * math.log(2)], rtol=1e-6)
    v = run(COMPILED, lambda t: lif_solution.membrane(t, 6.0, 2.0), np.array([0, 2 * math.log(2)], "float32"))
    np.testing.assert_allclose(v, [0, 3], rtol=1e-6)


def test_no_nan_from_just_above_the_threshold_to_large_drives():
    drives = np.array([1 - 2.0**-24, 1, 1 + 2.0**-23, 1.001, 1e6, 1e12], "float32")

    def forms(x):
        return lif_solution.first_spike_time(x, 1.0), lif_solution.rate(x, 1.0), lif_solution.rate(x, 1.0, 0.002)

    (times, rates, slow), _ = results_and_gradients(COMPILED, forms, drives)
    excess = drives.astype("float64") - 1
    expected = np.log1p(1 / excess[2:])
    np.testing.assert_allclose(times, [np.inf, np.inf, *expected], rtol=1e-6)
    np.testing.assert_allclose(rates, [0, 0, *1 / expected], rtol=1e-6)
    np.testing.assert_allclose(slow, [0, 0, *1 / (0.002 + expected)], rtol=1e-6)
    for form in (lambda x: lif_solution.rate(x, 1.0), lambda x: lif_solution.rate(x, 1.0, 0.002)):
        _, (grad,) = results_and_gradients(COMPILED, form, drives)
        assert grad[:2].tolist() == [0, 0] and np.isfinite(grad).all()


@pytest.mark.backend_free
def test_a_simulation_has_the_membrane_and_spikes_of_the_closed_forms():
    x = np.broadcast_to(DRIVES, (1, N_STEPS, len(DRIVES)))
    v = ops.convert_to_numpy(LeakyIntegrator(STEPS)(x))[0]
    times = DT * np.arange(1, N_STEPS + 1, dtype="float32")[:, None]
    # rtol: the leak of 0.005 per step multiplies float32 roundings by 200
    np.testing.assert_allclose(v, ops.convert_to_numpy(lif_solution.membrane(times, DRIVES, TAU)), rtol=2e-5)

    spikes = ops.convert_to_numpy(LIF(STEPS, refractory=round(T_REF / DT))(x))[0]
    forms = lif_solution.first_spike_time(DRIVES, TAU), lif_solution.rate(DRIVES, TAU, T_REF)
    for train, t1, f in zip(spikes.T, *map(ops.convert_to_numpy, forms), strict=True):
        steps = train.nonzero()[0] + 1  # the membrane after step n is that at time n DT
        if t1 == np.inf:
            assert len(steps) == 0
            continue
        assert steps[0] == math.ceil(t1 / DT)
        intervals = np.diff(steps) * DT
        assert len(intervals) >= 3 and np.all(intervals >= T_REF + t1) and np.all(intervals < T_REF + t1 + DT)
        duration = N_STEPS * DT
        assert abs(len(steps) / duration - f) < 1 / duration
