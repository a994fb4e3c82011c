"""Whole networks: training and inference, compared with relu networks and with other libraries."""

from bench import compare, times_as_much, times_faster

#: Name in the table, and the peers that have the network.
NETWORKS = {
    "dense": ("784-512-512-10, 25 steps, batches of 128", ("SpikingJelly", "snnTorch", "Spyx")),
    "frames": ("the same with 25 given frames", ("Spyx",)),
    "convolutional": ("conv(16)-pool-conv(32)-pool-10, 8 steps, batches of 64", ("SpikingJelly", "snnTorch")),
}
#: Maximum ratio to the network with relu.
BOUNDS = {"dense": 1.2, "frames": 1.2, "convolutional": 1.5}


def networks(bench):
    """A batch of `fit` and of `predict`, with LIF, on every backend, without the start and the end of the epoch."""
    for network, (what, peers) in NETWORKS.items():
        for work in ("fit", "predict"):
            with (
                bench.ours() as tensorflow,
                bench.ours("jax") as jax,
                bench.ours("torch") as torch,
                bench.peer("torch") as torch_peers,
                bench.peer("spyx") as spyx,
            ):
                request = {"network": network, "work": work}
                backends = {"tensorflow": tensorflow, "jax": jax, "torch": torch}
                others = {"SpikingJelly": torch_peers, "snnTorch": torch_peers, "Spyx": spyx}
                requests = {
                    (backend, neuron): (worker, {"case": "network_batch", **request, "neuron": neuron})
                    for backend, worker in backends.items()
                    for neuron in ("LIF", "relu")
                }
                requests |= {
                    peer: (others[peer], {"case": "network", **request, "library": peer.lower()}) for peer in peers
                }
                times = bench.interleave(requests)
            for backend in backends:
                mine, row = times[backend, "LIF"], f"{work}, {what}, {backend}"
                bound = BOUNDS[network] if work == "fit" else None
                yield compare(times_as_much, "networks", f"{row}; relu", mine, times[backend, "relu"], bound)
                for peer in peers:
                    bound = None if work == "predict" else 2 if backend == "tensorflow" else 1.2
                    yield compare(times_faster, "networks", f"{row}; {peer}", mine, times[peer], bound)


def health(bench, n_samples=60_000):
    """`SpikeHealth` on 64 samples, against the batches of one epoch of Fashion-MNIST."""
    for backend in ("tensorflow", "jax", "torch"):
        with bench.ours(backend) as ours:
            for network, (what, _) in NETWORKS.items():
                batch = {"case": "network_batch", "network": network, "neuron": "LIF", "work": "fit"}
                times = bench.interleave(
                    {"batch": (ours, batch), "health": (ours, {"case": "health", "network": network})}
                )
                batch_size = 64 if network == "convolutional" else 128
                row = f"SpikeHealth, {what}, {backend}; an epoch of {n_samples:,} samples"
                bound, scale = 0.03, batch_size / n_samples
                yield compare(times_as_much, "health", row, times["health"], times["batch"], bound, scale=scale)


ROWS = {"networks": networks, "health": health}
