"""Processes of a run on several devices, from the variables that their launchers set."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import keras

from keras_snn.hints import Tensor


def whole_batches(x: Tensor, y: Tensor, batch_size: int) -> dict[str, Any]:
    """Return the arguments of ``fit`` for data that it splits between the devices."""
    return {"x": x, "y": y, "batch_size": batch_size}


@dataclass(frozen=True)
class Devices:
    """The devices of a run.

    Attributes:
        n: Number of devices of all processes.
        n_processes: Number of processes.
        process: Number of this process, from 0.
        scope: Function that returns the context in which a model is built and trained.
        parallel: Function that returns a model for ``fit``, from the built one. The two share their variables.
        mean: Function that returns the mean of a metric over the processes.
        batches: Function of x, y and the batch size that returns the arguments of ``fit`` for the data.
    """

    n: int
    n_processes: int
    process: int
    scope: Callable[[], AbstractContextManager]
    parallel: Callable[[keras.Model], keras.Model] = lambda model: model
    mean: Callable[[float], float] = lambda value: value
    batches: Callable[[Tensor, Tensor, int], dict[str, Any]] = whole_batches


#: Variables with the number of processes, by the launcher that sets them.
_LAUNCHERS = {
    "WORLD_SIZE": "torchrun",
    "KERAS_DISTRIBUTION_NUM_PROCESSES": "keras.distribution",
    "JAX_NUM_PROCESSES": "jax.distributed",
    "SLURM_STEP_NUM_TASKS": "srun",
    "OMPI_COMM_WORLD_SIZE": "mpirun",
}


def launcher() -> tuple[str | None, int]:
    """Return the name of the launcher of this process and the number of its processes; None and 1 without one."""
    for variable, name in _LAUNCHERS.items():
        if int(os.environ.get(variable, "1")) > 1:
            return name, int(os.environ[variable])
    hosts = os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",")
    return ("a TPU pod", len(hosts)) if len(hosts) > 1 else (None, 1)


def too_late(error: RuntimeError) -> ValueError:
    """Return the error for devices that are chosen after the start of the backend."""
    return ValueError(
        "`devices` must be chosen before the first operation of the backend, which fixes the devices of a CPU. "
        f"Start a new process, as `keras-snn run NAME --devices N` does. ({error})"
    )


def too_few(n: int, found: list) -> ValueError:
    """Return the error for more devices than the machine has."""
    return ValueError(f"`devices` must be at most the number of devices, {len(found)}; got {n}. Found: {found}.")
