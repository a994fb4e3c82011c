"""What an operation costs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """Energy in joules of one synaptic operation and of one neuron update; whether only spikes cost."""

    energy_per_synop: float
    energy_per_neuron: float
    spiking: bool


#: Degnan, Marr and Hasler 2016, IEEE Trans. VLSI Syst. 24 (cpu: Intel i7-4960X; gpu: Nvidia GTX Titan Black; arm: ARM
#: Cortex-A); Davies et al. 2018, IEEE Micro 38 (loihi); Hoeppner et al. 2019, arXiv:1911.02385 (spinnaker, spinnaker2).
#: They are estimates: memory, transport of spikes and idle power are not in them.
DEVICES = {
    "cpu": Device(8.6e-9, 8.6e-9, spiking=False),
    "gpu": Device(0.3e-9, 0.3e-9, spiking=False),
    "arm": Device(0.9e-9, 0.9e-9, spiking=False),
    "loihi": Device(23.6e-12 + 3.5e-12, 81e-12, spiking=True),
    "spinnaker": Device(13.3e-9, 26e-9, spiking=True),
    "spinnaker2": Device(450e-12, 2.19e-9, spiking=True),
}


def device(name):
    """Return the device of that name, whatever its case.

    Raises:
        ValueError: If there is none.
    """
    try:
        return DEVICES[name.lower()]
    except KeyError:
        raise ValueError(
            f"`device` has to be one of {sorted(DEVICES)}, or be registered with ModelEnergy.register_device; got "
            f"{name!r}."
        ) from None
