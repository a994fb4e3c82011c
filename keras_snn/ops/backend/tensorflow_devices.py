"""Several devices on TensorFlow: ``MirroredStrategy``."""

import os

import tensorflow as tf

from keras_snn.ops.backend.devices import Devices, launcher, too_few, too_late


def start(n: int) -> Devices:
    """Prepare ``n`` devices of this machine: GPUs, or parts of the CPU.

    Raises:
        ValueError: For several processes, for too few GPUs, or after the first operation of TensorFlow.
    """
    name, n_processes = launcher()
    if n_processes > 1 or "TF_CONFIG" in os.environ:
        raise ValueError(
            f"`devices` on TensorFlow must be those of one process; got several processes of {name or 'TF_CONFIG'}. "
            "MultiWorkerMirroredStrategy fails in Keras 3.15. Set KERAS_BACKEND=jax or torch for several hosts."
        )
    gpus = tf.config.list_physical_devices("GPU")
    if 0 < len(gpus) < n:
        raise too_few(n, [gpu.name for gpu in gpus])
    if not gpus:
        (cpu,) = tf.config.list_physical_devices("CPU")
        try:
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * n)
        except RuntimeError as error:
            raise too_late(error) from error
    strategy = tf.distribute.MirroredStrategy([f"{'GPU' if gpus else 'CPU'}:{i}" for i in range(n)])
    return Devices(n, n_processes=1, process=0, scope=strategy.scope)
