"""Energy of an operation on several devices."""

from typing import Any

#: For each device: the energies in J of a multiply-accumulate (an analog input times a weight), of a synaptic operation
#: (a spike adds a weight) and of a neuron update, and whether the device computes only where a spike arrives.
#:
#: Sources: Degnan, Marr and Hasler 2016, IEEE Trans. VLSI Syst. 24 (cpu: Intel i7-4960X; gpu: Nvidia GTX Titan Black;
#: arm: ARM Cortex-A); Davies et al. 2018, IEEE Micro 38 (loihi); Hoeppner et al. 2019, arXiv:1911.02385 (spinnaker,
#: spinnaker2); Horowitz 2014, ISSCC, figure 1.1.9 (45nm: a 32-bit floating-point addition, 0.9 pJ, and a multiplication
#: with an addition, 3.7 + 0.9 pJ). Publications that use "45nm" count no neuron updates. Only "45nm" has separate costs
#: of a multiply-accumulate and of a synaptic operation. The sources of the other devices give one cost, which is used
#: for both.
#:
#: These are estimates: they exclude memory, transport of spikes and idle power.
DEVICES: dict[str, dict[str, Any]] = {}


def add_device(
    name: str, energy_per_synop: float, energy_per_neuron: float, spiking: bool, energy_per_mac: float | None = None
) -> None:
    """Add or replace a device. Its name is not case-sensitive."""
    DEVICES[name.lower()] = {
        "energy_per_mac": energy_per_synop if energy_per_mac is None else energy_per_mac,
        "energy_per_synop": energy_per_synop,
        "energy_per_neuron": energy_per_neuron,
        "spiking": spiking,
    }


add_device("cpu", 8.6e-9, 8.6e-9, spiking=False)
add_device("gpu", 0.3e-9, 0.3e-9, spiking=False)
add_device("arm", 0.9e-9, 0.9e-9, spiking=False)
add_device("loihi", 23.6e-12 + 3.5e-12, 81e-12, spiking=True)
add_device("spinnaker", 13.3e-9, 26e-9, spiking=True)
add_device("spinnaker2", 450e-12, 2.19e-9, spiking=True)
add_device("45nm", 0.9e-12, 0.0, spiking=True, energy_per_mac=4.6e-12)


def device_costs(name: str) -> dict[str, Any]:
    """Return the costs of a device as a dict. Its name is not case-sensitive.

    Raises:
        ValueError: If there is no such device.
    """
    costs = next((costs for device, costs in DEVICES.items() if device.lower() == str(name).lower()), None)
    if costs is None:
        raise ValueError(
            f"`device` must be one of {sorted(DEVICES)}, or be registered with ModelEnergy.register_device; got "
            f"{name!r}."
        )
    if missing := {"energy_per_synop", "energy_per_neuron", "spiking"} - set(costs):
        raise ValueError(
            f"The device {name!r} lacks {', '.join(map(repr, sorted(missing)))}. Add it with "
            "ModelEnergy.register_device."
        )
    return {"energy_per_mac": costs["energy_per_synop"], **costs}  # a user's dict may lack this key
