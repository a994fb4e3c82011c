"""Several devices on PyTorch: ``DistributedDataParallel`` in the processes of torchrun."""

import contextlib
import os

import keras
import torch

from keras_snn.hints import Nest, Tensor
from keras_snn.ops.backend.devices import Devices, launcher


def start(n: int) -> Devices:
    """Connect the processes of torchrun, one for each device.

    Raises:
        ValueError: If the number of torchrun's processes is not ``n``.
    """
    name, n_processes = launcher()
    if name not in (None, "torchrun") or n_processes != n:
        raise ValueError(
            f"`devices` on PyTorch must be the number of torchrun's processes, one for each device; got {n}, and "
            f"{n_processes} process(es) of {name or 'no launcher'}. Start the command with "
            f"`torchrun --nproc_per_node {n} -m keras_snn run ...`; Keras has no engine for several devices on PyTorch."
        )
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group()
    return Devices(
        n,
        n_processes,
        torch.distributed.get_rank(),
        scope=contextlib.nullcontext,
        parallel=_Parallel,
        mean=_mean,
    )


class _Parallel(keras.Model):
    """A model that trains on a part of each batch. ``DistributedDataParallel`` averages the gradients."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        module = torch.nn.parallel.DistributedDataParallel(model)
        self.run = module.__call__  # the module as an attribute would be wrapped and tracked by Keras
        self.build(model.input_shape)

    def build(self, input_shape):
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        return self.run(x, training=training)

    def train_step(self, data: Nest) -> Nest:
        # All processes read the same batches, because they have the same seed.
        rank, n = torch.distributed.get_rank(), torch.distributed.get_world_size()
        return super().train_step(keras.tree.map_structure(lambda x: x.chunk(n)[rank], data))


def _mean(value):
    total = torch.tensor(value, dtype=torch.float64, device=keras.ops.zeros(()).device)
    torch.distributed.all_reduce(total)
    return float(total) / torch.distributed.get_world_size()
