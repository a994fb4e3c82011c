"""Cases of SpikingJelly and snnTorch, through their public interfaces; started by run.py."""

import importlib.metadata
import math

import snntorch
import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import nn
from worker import peak_memory, serve


def layer(library, shape):
    """A LIF with tau = 2, hard reset and arctan surrogate: outputs, and the gradient of the inputs.

    Time is on axis 0, as in both libraries.
    """
    batch, time, units = shape
    x, upstream = torch.randn(1, batch, units).repeat(time, 1, 1), torch.randn(1, batch, units).repeat(time, 1, 1)
    x.requires_grad_()
    run = {"spikingjelly": _spikingjelly, "snntorch": _snntorch}[library]()

    def step():
        x.grad = None
        run(x).backward(upstream)

    step()
    return step


def _spikingjelly():
    lif = neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan(alpha=2.0), step_mode="m")

    def run(x):
        functional.reset_net(lif)
        return lif(x)

    return run


def _snntorch():
    gradient = snntorch.surrogate.atan(alpha=2.0)
    lif = snntorch.Leaky(beta=0.5, spike_grad=gradient, reset_mechanism="zero", reset_delay=False)

    def run(x):
        membrane, spikes = lif.init_leaky(), []
        for current in x:
            spike, membrane = lif(current, membrane)
            spikes.append(spike)
        return torch.stack(spikes)

    return run


class Net(nn.Module):
    """Three spiking convolutions; the first one processes the still image once, as in `ours.py`."""

    def __init__(self):
        super().__init__()
        sizes = ((1, 32), (32, 32), (32, 32))
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in sizes)
        self.normalizations = nn.ModuleList(nn.BatchNorm2d(b) for _, b in sizes)
        atan = surrogate.ATan(alpha=2.0)
        self.neurons = nn.ModuleList(neuron.LIFNode(tau=2.0, surrogate_function=atan, step_mode="m") for _ in sizes)
        self.pool = nn.MaxPool2d(2)
        self.dense = nn.Linear(32 * 3 * 3, 10)

    def forward(self, x):
        """Return the scores."""
        x = self.normalizations[0](self.convolutions[0](x)).repeat(4, 1, 1, 1, 1)
        for i, lif in enumerate(self.neurons):
            if i:
                x = self.normalizations[i](self.convolutions[i](x.flatten(0, 1))).unflatten(0, (4, -1))
            x = self.pool(lif(x).flatten(0, 1)).unflatten(0, (4, -1))
        return self.dense(x.flatten(2)).mean(0)


def net(n_images):
    """An epoch of the network."""
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    images = torch.rand(n_images, 1, 28, 28)
    labels = nn.functional.one_hot(torch.randint(10, (n_images,)), 10).float()

    def run():
        for start in range(0, n_images, 32):
            functional.reset_net(model)
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(images[start : start + 32]), labels[start : start + 32])
            loss.backward()
            optimizer.step()
        return float(loss)

    run()
    return run


def network(network, work, library):
    """A training step, or a call, of a network of `ours.py`. The first product of a still image is computed once."""
    batch, n_steps = {"dense": (128, 25), "convolutional": (64, 8)}[network]
    if network == "dense":
        parts = [nn.Linear(784, 512), None, nn.Linear(512, 512), None, nn.Linear(512, 10)]
        images = torch.rand(batch, 784)
    else:
        parts = [nn.Conv2d(1, 16, 3, padding=1), None, nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), None]
        parts += [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 7 * 7, 10)]
        images = torch.rand(batch, 1, 28, 28)
    model = {"spikingjelly": SpikingJellyNet, "snntorch": SnnTorchNet}[library](parts, n_steps)
    optimizer, labels = torch.optim.Adam(model.parameters(), 1e-3), torch.randint(10, (batch,))

    def fit():
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    @torch.no_grad()
    def predict():
        model(images)

    run = {"fit": fit, "predict": predict}[work]
    run()
    return run


class SpikingJellyNet(nn.Module):
    """Layer by layer, each for all steps: SpikingJelly's multi-step mode. ``None`` stands for a LIF."""

    def __init__(self, parts, n_steps):
        super().__init__()
        self.n_steps = n_steps
        atan = surrogate.ATan(alpha=2.0)
        self.parts = nn.ModuleList(p or neuron.LIFNode(tau=2.0, surrogate_function=atan, step_mode="m") for p in parts)

    def forward(self, x):
        """Return the mean scores."""
        functional.reset_net(self)
        x = self.parts[0](x)
        x = x.unsqueeze(0).expand(self.n_steps, *x.shape)
        for part in self.parts[1:]:
            is_lif = isinstance(part, neuron.LIFNode)
            x = part(x) if is_lif else part(x.flatten(0, 1)).unflatten(0, (self.n_steps, -1))
        return x.mean(0)


class SnnTorchNet(nn.Module):
    """Step by step, as in snnTorch's tutorials. ``None`` stands for a LIF."""

    def __init__(self, parts, n_steps):
        super().__init__()
        self.n_steps = n_steps
        gradient = snntorch.surrogate.atan(alpha=2.0)
        self.parts = nn.ModuleList(part or snntorch.Leaky(beta=0.5, spike_grad=gradient) for part in parts)

    def forward(self, x):
        """Return the mean scores."""
        first, total = self.parts[0](x), 0
        membranes = {part: part.init_leaky() for part in self.parts if isinstance(part, snntorch.Leaky)}
        for _ in range(self.n_steps):
            x = first
            for part in self.parts[1:]:
                if part in membranes:
                    x, membranes[part] = part(x, membranes[part])
                else:
                    x = part(x)
            total = total + x
        return total / self.n_steps


def layer_memory(library, shape):
    """Growth of the peak memory in MB, and the size of five tensors of this shape."""
    layer(library, [shape[0], 10, *shape[2:]])
    before = peak_memory()
    layer(library, shape)
    return {"growth": peak_memory() - before, "tensors": 5 * 4 * math.prod(shape) / 2**20}


def versions():
    """Return the versions of the libraries in use."""
    return {name: importlib.metadata.version(name) for name in ("spikingjelly", "snntorch", "torch")}


if __name__ == "__main__":
    serve({"layer": layer, "net": net, "network": network}, {"versions": versions, "layer_memory": layer_memory})
