"""Convert report files of older versions to the newest version."""

from typing import Any

import numpy as np

#: Version of the files that ``Report.save`` writes.
VERSION = 3


def upgrade(values: dict[str, Any]) -> dict[str, Any]:
    """Convert the values of a report file of any version to the newest version."""
    results = values["results"]
    for version in range(values["version"], VERSION):
        results = [_STEPS[version](result) for result in results]
    unknown = dict.fromkeys(("model", "data", "date"))  # new in version 3
    return {**unknown, **values, "version": VERSION, "results": results}


def _to_2(result):
    """Version 1 has "synapses" instead of "work": without zero weights, and with the neurons of spiking layers only."""
    work = {name: {**counts, "dense_connections": counts["connections"]} for name, counts in result["synapses"].items()}
    for name, layer in result["layers"].items() if work else ():
        no_synapses = {"spikes": None, "operations": None, "connections": 0, "dense_connections": 0}
        work[name] = {**no_synapses, "neurons": np.size(layer["rate_per_unit_hz"]), "runs": layer["n_steps"]}
    return {**result, "work": work}


def _to_3(result):
    """Version 2 has values instead of dicts from output names to values, and other keys in its layers."""
    examples = result["examples"]
    if examples is not None:
        labels, outputs = (_by_output(examples[name], "dtype", str) for name in ("y", "outputs"))
        examples = {**examples, "labels": labels, "outputs": outputs}
    return {
        **result,
        "accuracies": _by_output(result["accuracy"]),
        "latencies": _by_output(result["latency"], "steps", list),
        "layers": {name: _layer(layer) for name, layer in result["layers"].items()},
        "examples": examples,
    }


def _layer(layer):
    known, per_unit = layer["dt"] is not None, layer["rate_per_unit_hz"]
    spikes = layer["rate_hz"]["mean"] * layer["dt"] * layer["n_steps"] * np.size(per_unit) if known else None
    return {
        **layer,
        "per_unit_hz": per_unit,
        "histogram": layer["spikes_per_step"],
        "spikes_per_inference": spikes,
    }


def _by_output(value, key=None, kind=None):
    """Return a dict from output names to values. A single value that is a dict has a ``key`` of type ``kind``."""
    if value is None:
        return {}
    return {"": value} if not isinstance(value, dict) or (key and isinstance(value.get(key), kind)) else value


_STEPS = {1: _to_2, 2: _to_3}
