"""Several devices on JAX: ``keras.distribution.DataParallel``."""

import contextlib
import math
import os

import jax
import keras
import numpy as np

from keras_snn.ops.backend.devices import Devices, launcher, too_few, too_late, whole_batches


def start(n: int) -> Devices:
    """Connect the processes, if there are several, and prepare ``n`` devices of all processes: accelerators or CPUs.

    Raises:
        ValueError: For torchrun, for a number of devices that the processes cannot share equally, for too few
            accelerators, for several CPU devices in each of several processes, or after the first operation of JAX.
    """
    name, n_processes = launcher()
    if name == "torchrun":
        raise ValueError(
            "Processes on JAX must be started by srun, mpirun or one by one with KERAS_DISTRIBUTION_JOB_ADDRESSES, "
            "KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID; got variables of torchrun, whose port "
            "JAX cannot use. Set KERAS_BACKEND=torch for torchrun."
        )
    if n % n_processes:
        raise ValueError(f"`devices` must be a multiple of the number of processes, {n_processes} ({name}); got {n}.")
    try:
        if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
            jax.config.update("jax_num_cpu_devices", n // n_processes)
        if n_processes > 1:
            number, process = os.environ.get("JAX_NUM_PROCESSES"), os.environ.get("JAX_PROCESS_ID")
            keras.distribution.initialize(num_processes=number and int(number), process_id=process and int(process))
    except RuntimeError as error:
        raise too_late(error) from error
    chosen = []
    for process_index in range(n_processes):
        local = [device for device in jax.devices() if device.process_index == process_index]
        if len(local) < n // n_processes:
            raise too_few(n, jax.devices())
        chosen += local[: n // n_processes]
    if 1 < n_processes < n and chosen[0].platform == "cpu":
        raise ValueError(
            f"`devices` must be the number of processes, {n_processes}, on CPUs; got {n}. Trainings with several CPU "
            "devices in each of several processes stopped for ever in tests."
        )
    batches = _parts_of_batches if n_processes > 1 else whole_batches
    return Devices(n, n_processes, jax.process_index(), scope=lambda: _data_parallel(chosen), batches=batches)


@contextlib.contextmanager
def _data_parallel(devices):
    names = [f"{device.platform}:{device.id}" for device in devices]
    # Each process reads the part of a batch for its devices.
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=names, auto_shard_dataset=False))
    try:
        yield
    finally:
        keras.distribution.set_distribution(None)


def _parts_of_batches(x, y, batch_size):
    return {"x": _Batches(x, y, batch_size), "shuffle": False}


class _Batches(keras.utils.PyDataset):
    """The part of each batch for this process. The order of the samples is that of ``fit`` with the whole arrays."""

    def __init__(self, x, y, batch_size):
        super().__init__()
        self.x, self.y, self.batch_size = x, y, batch_size
        self.on_epoch_end()

    def on_epoch_end(self):
        self.order = np.random.permutation(len(self.x))

    def __len__(self):
        return math.ceil(len(self.x) / self.batch_size)

    def __getitem__(self, index):
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        part = np.split(rows, jax.process_count())[jax.process_index()]
        return self.x[part], self.y[part]
