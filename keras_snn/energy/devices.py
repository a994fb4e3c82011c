"""Energy of an operation on several devices, with the source and the range of each constant."""

import textwrap
from collections.abc import Mapping
from typing import Any

from keras_snn import text_table

#: Energies of operations, in J.
_CONSTANTS = ("energy_per_mac", "energy_per_synop", "energy_per_neuron")

#: For each device: the energies in J of a multiply-accumulate (an analog input times a weight), of a synaptic operation
#: (a spike adds a weight) and of a neuron update, and whether the device computes only where a spike arrives. "range"
#: has the smallest and the largest energy by the name of the constant, "source" the publications of both, "int8" the
#: energies with 8-bit weights. A dict that a user adds may lack the last three and "energy_per_mac".
DEVICES: dict[str, dict[str, Any]] = {}

#: Printed below tables of energies.
NOT_MODELED = (
    "Not modeled: transport of spikes and activations between cores and chips; caches and other levels of memory (the "
    "memory traffic is listed, and has no energy); idle and static power; sensors, host and input; control and "
    "instructions; the encoding of inputs; reuse of weights in a batch. All devices are assumed to skip weights of "
    "zero. The published constants of whole processors contain some of this. Only a measurement compares real devices."
)


def add_device(
    name: str,
    energy_per_synop: float,
    energy_per_neuron: float,
    spiking: bool,
    energy_per_mac: float | None = None,
    *,
    source: str | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    int8: Mapping[str, Any] | None = None,
) -> None:
    """Add or replace a device. Its name is not case-sensitive. Arguments as in ``ModelEnergy.register_device``."""
    optional = {"source": source, "range": ranges, "int8": int8}
    for key, bounds in (ranges or {}).items():
        if key not in _CONSTANTS or not 0 <= bounds[0] <= bounds[1]:
            raise ValueError(
                f"`ranges` must be a dict from names out of {_CONSTANTS} to pairs (smallest, largest) in J; got "
                f"{key!r}: {bounds!r}."
            )
    DEVICES[name.lower()] = {
        "energy_per_mac": energy_per_synop if energy_per_mac is None else energy_per_mac,
        "energy_per_synop": energy_per_synop,
        "energy_per_neuron": energy_per_neuron,
        "spiking": spiking,
        **{key: value for key, value in optional.items() if value is not None},
    }


def _add_published():
    """Add the devices with published constants. The range of a constant without a published range is the constant."""
    degnan = "Degnan, Marr and Hasler 2016, IEEE Trans. VLSI Syst. 24(1)"
    hoeppner = "Hoeppner et al. 2019, IEEE Trans. Circuits Syst. I 66(8), arXiv:1903.08941"
    horowitz = "Horowitz 2014, ISSCC, figure 1.1.9, 45 nm and 0.9 V"

    def of_one_operation(low, high):
        return dict.fromkeys(_CONSTANTS, (low, high))

    add_device(
        "cpu",
        8.6e-9,
        8.6e-9,
        spiking=False,
        source=f"{degnan}: Intel i7-4960X, one multiply-accumulate. No range published. Derived minimum: 130 W of the "
        "data sheet / (6 cores x 3.6 GHz x 8 multiply-accumulates in a cycle).",
        ranges=of_one_operation(0.75e-9, 8.6e-9),
    )
    add_device(
        "gpu",
        0.3e-9,
        0.3e-9,
        spiking=False,
        source=f"{degnan}: Nvidia GTX Titan Black, one multiply-accumulate in large batches. No range published. "
        "Derived minimum: 250 W of the data sheet / (2,880 cores x 889 MHz).",
        ranges=of_one_operation(0.098e-9, 0.3e-9),
    )
    add_device(
        "arm",
        0.9e-9,
        0.9e-9,
        spiking=False,
        source=f"{degnan}: ARM Cortex-A, one multiply-accumulate. No range published.",
    )
    add_device(
        "loihi",
        23.6e-12 + 3.5e-12,
        81e-12,
        spiking=True,
        source="Davies et al. 2018, IEEE Micro 38(1), estimates from before silicon at 0.75 V: at least 23.6 pJ for a "
        "synaptic operation; 3.0 pJ (east-west) or 4.0 pJ (north-south) for a hop between tiles, whose mean the "
        "constant contains; 81 pJ for the update of an active neuron, 52 pJ of an inactive one. Range: no hop to one "
        "north-south hop. No maximum published.",
        ranges={
            "energy_per_mac": (23.6e-12, 27.6e-12),
            "energy_per_synop": (23.6e-12, 27.6e-12),
            "energy_per_neuron": (52e-12, 81e-12),
        },
    )
    add_device(
        "spinnaker",
        13.3e-9,
        26e-9,
        spiking=True,
        source=f"{hoeppner}. Maximum: Sharp et al. 2012, J. Neurosci. Methods 210(1): 43 nJ for a postsynaptic "
        "potential, 100 nJ for a neuron in 1 ms.",
        ranges={
            "energy_per_mac": (13.3e-9, 43e-9),
            "energy_per_synop": (13.3e-9, 43e-9),
            "energy_per_neuron": (26e-9, 100e-9),
        },
    )
    add_device(
        "spinnaker2",
        450e-12,
        2.19e-9,
        spiking=True,
        source=f"{hoeppner}, test chip in 28 nm. Derived range: half to twice the constant, because dynamic voltage "
        "and frequency scaling halves these energies there.",
        ranges={
            "energy_per_mac": (225e-12, 900e-12),
            "energy_per_synop": (225e-12, 900e-12),
            "energy_per_neuron": (1.095e-9, 4.38e-9),
        },
    )
    # Publications that use these figures count no neuron updates.
    add_device(
        "45nm",
        0.9e-12,
        0.0,
        spiking=True,
        energy_per_mac=4.6e-12,
        source=f"{horowitz}, arithmetic only: 32-bit floating-point multiplication 3.7 pJ, addition 0.9 pJ. Range: 16 "
        "bits (1.1 and 0.4 pJ) to 32 bits. With 8-bit weights and activations: 8-bit multiplication 0.2 pJ, 32-bit "
        "integer addition 0.1 pJ. Range: 8-bit addition (0.03 pJ) to 32-bit addition. Neuron updates cost 0.",
        ranges={"energy_per_mac": (1.5e-12, 4.6e-12), "energy_per_synop": (0.4e-12, 0.9e-12)},
        int8={
            "energy_per_mac": 0.3e-12,
            "energy_per_synop": 0.1e-12,
            "range": {"energy_per_mac": (0.23e-12, 0.3e-12), "energy_per_synop": (0.03e-12, 0.1e-12)},
        },
    )


_add_published()


def device_costs(name: str, *, int8: bool = False, bound: str | None = None) -> dict[str, Any]:
    """Return the costs of a device as a dict. Its name is not case-sensitive.

    Args:
        name: String.
        int8: Boolean. True: with 8-bit weights, if the device has such costs. Default False.
        bound: "min" or "max" for the smallest or largest energies of the ranges. Default: the constants.

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
    costs = {"energy_per_mac": costs["energy_per_synop"], **costs}  # a user's dict may lack this key
    if int8:
        costs = {**costs, **costs.get("int8", {})}
    if bound is not None:
        index = ("min", "max").index(bound)
        costs = {**costs, **{key: bounds[index] for key, bounds in costs.get("range", {}).items()}}
    return costs


def device_table() -> str:
    """Return a text table of ``DEVICES``: each constant in pJ with its range, and the sources below.

    Example:

    ```python
    print(keras_snn.energy.device_table())
    ```
    """
    rows = [("device", "MAC (pJ)", "range", "AC (pJ)", "range", "neuron update (pJ)", "range")]
    for name, device in DEVICES.items():
        for int8 in [False, True] if "int8" in device else [False]:
            constant, low, high = (device_costs(name, int8=int8, bound=bound) for bound in (None, "min", "max"))
            cells = []
            for key in _CONSTANTS:
                bounds = f"{_picojoules(low[key])} to {_picojoules(high[key])}" if low[key] < high[key] else "-"
                cells += [_picojoules(constant[key]), bounds]
            rows.append((f"{name}, 8 bits" if int8 else name, *cells))
    sources = [f"{name}: {device.get('source', 'no source given.')}" for name, device in DEVICES.items()]
    lines = [line for source in sources for line in textwrap.wrap(source, 110, subsequent_indent="  ")]
    note = "MAC: multiply-accumulate. AC: accumulate, a synaptic operation."
    return "\n".join([*text_table.plain(rows), note, *lines])


def _picojoules(joules):
    return f"{1e12 * joules:.4g}" if joules < 1e-9 else f"{1e12 * joules:,.0f}"
