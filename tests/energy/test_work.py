"""Operations, memory traffic and energy of hand-made ``Work``; the table of devices."""

import pytest

from keras_snn import ModelEnergy
from keras_snn.energy import DEVICES, Work, device_table, energy_range, joules
from keras_snn.energy.devices import device_costs

pytestmark = pytest.mark.backend_free

#: 50 connections with analog inputs in each of 4 runs; 30 synaptic operations of 6 spikes in 4 runs of 5 neurons.
ANALOG, SPIKING = Work(None, None, 50, 60, runs=4), Work(6.0, 30.0, 20, 20, neurons=5, runs=4)


@pytest.mark.every_backend
def test_multiply_accumulates_and_accumulates():
    assert (ANALOG.macs, ANALOG.accumulates, ANALOG.neuron_updates) == (200, 0, 0)
    assert (SPIKING.macs, SPIKING.accumulates, SPIKING.neuron_updates) == (0, 30, 20)


def test_memory_traffic():
    assert ANALOG.memory_traffic() == 200 * 4
    assert SPIKING.memory_traffic() == 30 * 4 + 20 * 8
    assert SPIKING.memory_traffic(weight_bytes=1) == 30 + 20 * 8


def test_energy_with_8_bit_weights():
    assert joules(ANALOG, "45nm") == pytest.approx((200 * 4.6e-12, 0))
    assert joules(ANALOG, "45nm", int8=True) == pytest.approx((200 * 0.3e-12, 0))
    assert joules(SPIKING, "45nm", int8=True) == pytest.approx((30 * 0.1e-12, 0))
    assert joules(SPIKING, "loihi", int8=True) == joules(SPIKING, "loihi")  # one cost for all its weights


def test_energy_range():
    synaptic, neural = (230, 230, 230), (20, 20, 20)
    costs = (27.1e-12, 23.6e-12, 27.6e-12), (81e-12, 52e-12, 81e-12)
    expected = [sum(n * c for n, c in zip(*pair, strict=True)) for pair in zip(zip(synaptic, neural), zip(*costs))]
    assert energy_range([ANALOG, SPIKING], "loihi") == pytest.approx(expected)
    assert energy_range([ANALOG], "arm") == pytest.approx([50 * 0.9e-9] * 3)  # no range; each layer runs once
    assert energy_range([ANALOG], "45nm", int8=True) == pytest.approx((200 * 0.3e-12, 200 * 0.23e-12, 200 * 0.3e-12))


def test_each_constant_is_in_its_range_and_has_a_source():
    for name, device in DEVICES.items():
        assert len(device["source"]) > 40, name
        for int8 in (False, True):
            low, constant, high = (device_costs(name, int8=int8, bound=bound) for bound in ("min", None, "max"))
            for key in ("energy_per_mac", "energy_per_synop", "energy_per_neuron"):
                assert low[key] <= constant[key] <= high[key], (name, key)


def test_device_table():
    lines = device_table().splitlines()
    assert lines[5].split() == [
        "loihi",
        "27.1",
        "23.6",
        "to",
        "27.6",
        "27.1",
        "23.6",
        "to",
        "27.6",
        "81",
        "52",
        "to",
        "81",
    ]
    assert lines[4].split() == ["arm", "900", "-", "900", "-", "900", "-"]
    assert lines[9].split()[:9] == ["45nm,", "8", "bits", "0.3", "0.23", "to", "0.3", "0.1", "0.03"]
    assert max(map(len, lines)) <= 110
    for name in DEVICES:
        assert any(line.startswith(f"{name}: ") for line in lines)


def test_a_new_device_with_source_and_range():
    constants = {"energy_per_synop": 2e-12, "energy_per_neuron": 0.0, "spiking": True}
    try:
        ModelEnergy.register_device("chip", **constants, source="A paper.", ranges={"energy_per_synop": (1e-12, 3e-12)})
        assert energy_range([SPIKING], "chip") == pytest.approx((60e-12, 30e-12, 90e-12))
        assert "chip: A paper." in device_table()
        DEVICES["own"] = constants  # without the optional keys
        assert "own: no source given." in device_table()
    finally:
        del DEVICES["chip"], DEVICES["own"]
    for ranges in ({"energy": (1, 2)}, {"energy_per_mac": (2, 1)}):
        with pytest.raises(ValueError, match="`ranges` must be .*; got 'energy"):
            ModelEnergy.register_device("bad", **constants, ranges=ranges)
    assert "bad" not in DEVICES
